"""Names of outputs whose suffix belongs to another form are refused before anything is read or written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.cli.help import OUTPUTS
from trashkit.cli.suffixes import FORMS, check_suffixes, command_key
from trashkit.errors import TrashkitError
from trashkit.outputs import check_suffix
from trashkit.submit.labels import submission_output


def commands(group: Any) -> Iterator[Any]:
    for command in group.commands.values():
        if hasattr(command, "commands"):
            yield from commands(command)
        else:
            yield command


ALL = {command_key(command.callback): command for command in commands(typer.main.get_command(app))}
CHECKED = [(key, name) for key, forms in FORMS.items() for name, form in forms.items() if form is not None]


def test_every_output_of_every_command_has_a_form() -> None:
    outputs = {
        (key, parameter.name)
        for key, command in ALL.items()
        for parameter in command.params
        if parameter.name in (*OUTPUTS, "write_edits")
    }
    named = {(key, name) for key, forms in FORMS.items() for name in forms}
    assert outputs <= named
    assert {key for key, _ in named} <= set(ALL)


@pytest.mark.parametrize(("key", "name"), CHECKED)
def test_a_suffix_of_another_form_is_refused(key: str, name: str) -> None:
    form = FORMS[key][name]
    assert form is not None
    what, suffixes = form
    for suffix in {".png", ".html", ".json", ".jsonl", ".csv", ".PNG", ".zip", ".onnx"} - set(suffixes):
        with pytest.raises(TrashkitError, match=f"but this writes {what}") as error:
            check_suffixes(ALL[key].callback, {name: Path("made/x").with_suffix(suffix), "write_baseline": True})
        assert error.value.hint == f"--{name.replace('_', '-')} made/x{suffixes[0] if suffixes else ''}"
    for suffix in (*suffixes, "", ".0", ".odd"):
        check_suffixes(ALL[key].callback, {name: Path(f"x{suffix}"), "write_baseline": True})


def test_no_page_is_written_as_a_picture(tmp_path: Path) -> None:
    ledger = tmp_path / "leaderboard.jsonl"
    for option in ("--out", "--html"):
        done = CliRunner().invoke(
            app, ["leaderboard", "plot", "--ledger", str(ledger), option, str(tmp_path / "x.png")]
        )
        assert done.exit_code == 2
        assert "x.png ends as a picture does (.png), but this writes an HTML page" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("form", "name"), [("voc", "x.csv"), ("predictions", "x.json")])
def test_imports_write_json_or_a_store(tmp_path: Path, form: str, name: str) -> None:
    done = CliRunner().invoke(app, ["data", "import", form, str(tmp_path), "--out", str(tmp_path / name)])
    assert done.exit_code == 2
    assert "but this writes" in done.stderr


@pytest.mark.parametrize(
    ("kind", "wrong", "right"),
    [
        ("csv", "a.json", "a.csv"),
        ("rle-csv", "a.png", "a.csv"),
        ("coco-results", "a.csv", "a.json"),
        ("png", "a.csv", "a"),
    ],
)
def test_submissions(kind: str, wrong: str, right: str) -> None:
    with pytest.raises(TrashkitError, match="but this writes") as error:
        submission_output(Path(wrong), overwrite=False, kind=kind)
    assert error.value.hint == f"--out {right}"
    submission_output(Path(right), overwrite=False, kind=kind)


def test_existing_logs_of_any_name_are_continued(tmp_path: Path) -> None:
    log = tmp_path / "log.json"
    with pytest.raises(TrashkitError, match="JSON Lines"):
        check_suffixes(ALL["fix"].callback, {"write_edits": log})
    log.write_text(json.dumps({}))
    check_suffixes(ALL["fix"].callback, {"write_edits": log})


def test_names_with_spaces_are_quoted_in_the_hint() -> None:
    with pytest.raises(TrashkitError) as error:
        check_suffix(Path("my page.png"), "an HTML page", (".html",), option="--html")
    assert error.value.hint == "--html 'my page.html'"
