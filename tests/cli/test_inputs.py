"""No command writes over what it was given to read, whatever --overwrite says."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.cli.groups import OUTPUTS
from trashkit.errors import TrashkitError
from trashkit.run import open_run

Command = Callable[..., Any]


def commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, Command]]:
    for info in group.registered_commands:
        assert info.callback is not None
        yield f"{before}{info.name or info.callback.__name__}", info.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, f"{before}{inner.name} ")


def parameters(command: Command) -> dict[str, str]:
    """Names and types, as text."""
    return {name: repr(one.annotation) for name, one in inspect.signature(command, eval_str=True).parameters.items()}


WRITING = {name: command for name, command in commands(app) if "overwrite" in parameters(command)}


def test_these_are_the_commands_that_replace_files() -> None:
    assert {"audit", "fix", "train", "predict", "submit make", "edits apply", "data export"} <= WRITING.keys()
    for name, command in WRITING.items():
        assert set(OUTPUTS) & parameters(command).keys(), f"what does {name} write?"


@pytest.mark.parametrize("name", WRITING)
def test_an_input_is_not_replaced(name: str, tmp_path: Path) -> None:
    command, tried = WRITING[name], 0
    given = tmp_path / "given"
    given.write_text("kept")
    known = parameters(command)
    for output in set(OUTPUTS) & known.keys():
        for other, kind in known.items():
            if "Path" in kind and other not in OUTPUTS:
                value = [given] if "list[" in kind else given
                with pytest.raises(TrashkitError, match="given is an input and would be overwritten"):
                    command(**{output: given, other: value, "overwrite": True})
                tried += 1
    assert tried or name in ("data synth", "data taco")


def test_other_spellings_links_and_parts_of_words_are_seen(tmp_path: Path) -> None:
    file = tmp_path / "extra.json"
    file.write_text("kept")
    (tmp_path / "link.json").symlink_to(file)
    presence = WRITING["presence"]
    for out in (file, tmp_path / "link.json", tmp_path / "none" / ".." / "extra.json"):
        with pytest.raises(TrashkitError, match="is an input"):
            presence(out=out, extra=[f"{file}:{tmp_path}:0.5"], overwrite=True)
    with pytest.raises(TrashkitError, match="is an input"):
        WRITING["split search"](out=file, groups=[f"file:{file}"], overwrite=True)
    with pytest.raises(TrashkitError, match="holds the input"):
        WRITING["data export"](out=tmp_path, annotations=file, overwrite=True)
    assert file.read_text() == "kept"


def test_parts_of_a_run_are_not_replaced(tmp_path: Path) -> None:
    run = open_run(tmp_path / "run", {}, {}, resume=False, overwrite=False)
    for name in ("audit", "review", "submit make"):
        output = next(iter(set(OUTPUTS) & parameters(WRITING[name]).keys()))
        with pytest.raises(TrashkitError, match="is part of the run"):
            WRITING[name](**{output: run.path / "manifest.json", "overwrite": True})


def test_an_audit_page_does_not_replace_the_file_or_a_photo(tmp_path: Path) -> None:
    content = {"images": [], "annotations": [], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    for out, words in (("a.json", "is an input"), ("a.jpg", "is a picture")):
        line = ["audit", str(tmp_path / "a.json"), "--html", str(tmp_path / out), "--overwrite", "--fail-on", "never"]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 2
        assert words in done.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == content
    assert len((tmp_path / "a.jpg").read_bytes()) == 4
