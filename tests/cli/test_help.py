"""Help fits a terminal of 80 columns: grouped options, one line for each command, examples that can be copied."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache

import pytest
import typer.main
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.cli.help import PANELS, example, layout

TOP = ("Start here", "Annotations", "Training", "Predictions", "Scores and submissions", "Utilities")


def commands() -> Iterator[tuple[str, ...]]:
    def walk(words: tuple[str, ...], command: object) -> Iterator[tuple[str, ...]]:
        yield words
        for name, child in getattr(command, "commands", {}).items():
            yield from walk((*words, name), child)

    yield from walk((), typer.main.get_command(app))


@cache
def help_of(words: tuple[str, ...]) -> str:
    done = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "80", "TERM": "dumb"}, terminal_width=80)
    assert done.exit_code == 0, done.output
    return done.output


def panels(text: str) -> dict[str, list[str]]:
    """The lines of each panel by its title."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if title := re.match(r"╭─ (.+?) ─+╮", line):
            found[title[1]] = []
        elif line.startswith("│"):
            list(found.values())[-1].append(line.strip("│").rstrip())
    return found


def test_the_program_lists_its_commands_in_small_panels_one_line_each() -> None:
    found = panels(help_of(()))
    assert tuple(found)[1:] == TOP
    for title in TOP:
        assert 1 <= len(found[title]) <= 8
        assert all(re.match(r" [a-z]+ +\S", line) for line in found[title]), found[title]


@pytest.mark.parametrize("words", list(commands()), ids=" ".join)
def test_help_fits_80_columns(words: tuple[str, ...]) -> None:
    text = help_of(words)
    assert max(map(len, text.splitlines())) <= 80
    assert not re.search(r"<(str|bool|int|float|path)\b", re.sub(r"╭─ Arguments[^╰]*╰", "", text))
    titles = [title for title in panels(text) if title in PANELS]
    assert titles == [title for title in PANELS if title in titles]


def test_examples_break_between_options_and_stay_one_command() -> None:
    line = "trashkit train --data train.json --images photos --set data.copy_paste.p=0.5 --preview sheet.png"
    broken = example(line)
    assert all(len(part) <= 78 for part in broken.splitlines())
    assert re.sub(r"\s*\\\n\s*", " ", broken).strip() == line
    assert (
        layout(f"Does it.\n\nOne\nparagraph.\n\nExamples:\n\n  {line}\n")
        == f"Does it.\n\nOne paragraph.\n\nExamples:\n\n{broken}"
    )


@pytest.mark.parametrize("words", [words for words in commands() if words], ids=" ".join)
def test_examples_are_not_wrapped_by_the_terminal(words: tuple[str, ...]) -> None:
    text = help_of(words).partition("╭")[0]
    _, _, examples = text.partition("Examples:")
    lines = [line.rstrip() for line in examples.splitlines() if line.strip()]
    for before, line in zip(["", *lines], lines, strict=False):
        assert line.strip().startswith("trashkit ") or before.endswith("\\"), line


def test_a_real_terminal_width_is_used() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trashkit", "--help"],
        env={**os.environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert max(map(len, done.stdout.splitlines())) <= 80
