"""No command overwrites its inputs, even with --overwrite."""

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
from trashkit.cli.groups import OUTPUTS, WORK_FOLDERS
from trashkit.errors import TrashkitError
from trashkit.runs.run import open_run

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


WRITING = {name: command for name, command in commands(app) if "overwrite" in parameters(command) and name != "init"}
"""Without init, which writes files with fixed names into its folder; tests/workflows holds what it replaces."""


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
            if "Path" in kind and other not in (*OUTPUTS, *WORK_FOLDERS):
                value = [given] if "list[" in kind else given
                with pytest.raises(TrashkitError, match="given is an input and would be overwritten"):
                    command(**{output: given, other: value, "overwrite": True})
                tried += 1
    assert tried or name in ("data synth", "data taco")


def test_inputs_are_recognised_by_other_spellings_and_links(tmp_path: Path) -> None:
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
    for out, words in (("a.json", "is an input"), ("a.jpg", "ends as a picture does")):
        line = ["audit", str(tmp_path / "a.json"), "--html", str(tmp_path / out), "--overwrite", "--fail-on", "never"]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 2
        assert words in done.stderr
    assert json.loads((tmp_path / "a.json").read_text()) == content
    assert len((tmp_path / "a.jpg").read_bytes()) == 4


def test_nothing_is_written_into_a_store_or_over_the_note_of_an_input(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/zarr.json").touch()
    with pytest.raises(TrashkitError, match="is part of the store"):
        WRITING["submit make"](out=tmp_path / "store/sub.csv", overwrite=True)
    for name in ("sub.csv", "sub.csv.json"):
        (tmp_path / name).touch()
    with pytest.raises(TrashkitError, match=r"sub\.csv\.json is an input"):
        WRITING["submit to-coco"](csv=tmp_path / "sub.csv", out=tmp_path / "sub.csv.json", overwrite=True)


def test_long_option_values_are_not_taken_for_file_names(tmp_path: Path) -> None:
    codes = ",".join(f"G{number:03}" for number in range(200))
    (tmp_path / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    done = CliRunner().invoke(app, ["fix", str(tmp_path / "a.json"), "--out", str(tmp_path / "b"), "--select", codes])
    assert done.exit_code == 2
    assert "no check" in done.stderr


@pytest.mark.parametrize("name", ["fix", "data synth", "split export", "demo"])
def test_the_current_folder_is_refused_as_output(name: str) -> None:
    command = dict(commands(app))[name]
    with pytest.raises(TrashkitError, match="--out is the current folder"):
        command(out=Path())


def test_resume_and_overwrite_exclude_each_other() -> None:
    both = [name for name, command in WRITING.items() if "resume" in parameters(command)]
    assert {"train", "predict", "pseudo", "sweep"} <= set(both)
    for name in both:
        with pytest.raises(TrashkitError, match="--resume and --overwrite cannot be combined"):
            WRITING[name](resume=True, overwrite=True)


def test_only_a_baseline_is_replaced_by_one(tmp_path: Path) -> None:
    content = '{"images": [], "annotations": [], "categories": []}'
    for name in ("a.json", "test.json"):
        (tmp_path / name).write_text(content)
    for name, code in (("a.json", 2), ("test.json", 2), ("new.json", 0), ("new.json", 0)):
        line = ["audit", str(tmp_path / "a.json"), "--baseline", str(tmp_path / name), "--write-baseline"]
        done = CliRunner().invoke(app, [*line, "--overwrite"])
        assert done.exit_code == code, done.output
    assert (tmp_path / "a.json").read_text() == (tmp_path / "test.json").read_text() == content


def test_photos_next_to_their_annotations_are_not_a_submission(tmp_path: Path) -> None:
    """``test/`` with photos next to ``test.json`` looks like a folder of label maps with its note."""
    from trashkit.submit.labels import submission_output

    (tmp_path / "test").mkdir()
    (tmp_path / "test/1.png").touch()
    (tmp_path / "test.json").write_text('{"images": []}')
    with pytest.raises(TrashkitError, match=r"test\.json is not a note of a submission"):
        submission_output(tmp_path / "test", overwrite=True).check()
    (tmp_path / "test.json").write_text('{"sha256": "0", "trashkit": "0.1"}')
    submission_output(tmp_path / "test", overwrite=True).check()
