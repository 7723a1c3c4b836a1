"""Usage errors give one line and a hint, in every part of the command line."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app


@pytest.mark.parametrize(
    ("words", "part", "hint"),
    [
        ("predict run --zoom 99", "'--zoom'", "trashkit predict --help"),
        ("predict run --batch-size many", "'--batch-size'", "trashkit predict --help"),
        ("predict run --tta", "'--tta' requires an argument", "trashkit predict --help"),
        ("train --fold", "'--fold' requires an argument", "trashkit train --help"),
        ("split ann.json --folds", "'--folds' requires an argument", "trashkit split --help"),
        ("submit check --data", "'--data' requires an argument", "trashkit submit check --help"),
        ("predict", "missing argument", "trashkit predict --help"),
        ("train --foo", "no such option: --foo", "trashkit train --help"),
        ("nonsense", "no such command 'nonsense'", "trashkit --help"),
        ("data nonsense", "no such command 'nonsense'", "trashkit data --help"),
        ("--bar", "no such option: --bar", "trashkit --help"),
    ],
)
def test_a_usage_error_is_one_line_and_a_hint(words: str, part: str, hint: str) -> None:
    done = CliRunner().invoke(app, words.split(), prog_name="trashkit")
    assert done.exit_code == 2 and done.stdout == ""
    first, second = done.stderr.splitlines()
    assert first.startswith("error: ") and part in first
    assert second.startswith("  ") and hint in second


@pytest.mark.parametrize("words", ["", "--help", "predict --help", "data", "split --help"])
def test_help_is_complete(words: str) -> None:
    done = CliRunner().invoke(app, words.split(), prog_name="trashkit")
    assert "Usage: trashkit" in done.output and "--help" in done.output
    assert "error:" not in done.output
    assert done.exit_code == (0 if "--help" in words else 2)


@pytest.mark.parametrize("words", ["Connection closed by peer", "[gloo] readv: Connection reset by peer"])
def test_a_failed_child_process_is_not_reported_as_a_bug(words: str) -> None:
    from trashkit.cli.failures import explain

    message, hint = explain(RuntimeError(f"[../gloo/tcp/pair.cc:534] {words}"))
    assert "another process of this training ended" in message
    assert "--resume" in hint
