"""Shared options: declared once, and their choices are those of the library."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from typer.testing import CliRunner

from trashkit.cli import options
from trashkit.cli.app import app

CLI = Path(options.__file__).parent


def choices(option: Any) -> tuple[str, ...]:
    return get_args(get_args(option)[0])


def test_choices_are_those_of_the_library() -> None:
    from trashkit.nn.inference.tta import VIEWS
    from trashkit.predictions.header import StoreType
    from trashkit.raster import masks

    assert set(choices(options.PaintOrder)) == set(get_args(masks.PaintOrder))
    assert set(choices(options.Tta)) == set(VIEWS)
    assert set(choices(options.StoreType)) == set(get_args(StoreType))


def test_no_two_modules_declare_the_same_option_in_the_same_words() -> None:
    """What repeats belongs to `trashkit.cli.options`."""
    seen = Counter(
        ast.unparse(node)
        for path in sorted(CLI.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Option", "typer.Argument")
    )
    assert not [text for text, count in seen.items() if count > 1]


def commands(command: Any) -> list[Any]:
    """The command, or all commands of a group."""
    children = getattr(command, "commands", {})
    return [one for child in children.values() for one in commands(child)] if children else [command]


SHORT = {"--data": "-d", "--images": "-i", "--out": "-o", "--set": "-s", "--split": "-S", "--help": "-h"}


def test_short_options_are_the_same_everywhere() -> None:
    for one in commands(typer.main.get_command(app)):
        names = {name: param for param in one.params for name in param.opts}
        for long, short in SHORT.items():
            if long in names and not (one.name == "synth" and long == "--images"):  # a number of photos
                assert short in names[long].opts or long == "--help", f"{one.name} {long}"
        assert {name for name in names if not name.startswith("--") and name.startswith("-")} <= set(SHORT.values())


@pytest.mark.parametrize("words", [["score", "a"], ["compare", "a", "b"], ["leaderboard", "add", "a.csv"]])
def test_truth_is_a_hidden_name_of_data(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").touch()
    said = [CliRunner().invoke(app, [*words, name, "x.json"]) for name in ("--data", "--truth", "-d")]
    assert {(done.exit_code, done.stderr) for done in said} == {(2, said[0].stderr)}
    assert "no such option" not in said[0].stderr
    assert "--truth" not in CliRunner().invoke(app, [*words[:-1], "--help"]).output


def test_every_command_takes_json_and_shows_it_among_outputs() -> None:
    def walk(command: Any) -> list[Any]:
        children = getattr(command, "commands", {})
        return [child for one in children.values() for child in walk(one)] if children else [command]

    without = {one.name for one in walk(typer.main.get_command(app)) if "json" not in {p.name for p in one.params}}
    assert without <= {"review", "demo"}  # an App and a story: nothing to print
