"""Errors of the machine and crashes: one line that says what to do, exit code 2."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.cli.failures import HINTS, RESOURCES, explain, explain_known
from trashkit.errors import TrashkitError

ROOT = Path(__file__).parents[2]
CONTENT = {"images": [{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}], "annotations": [], "categories": []}


def big_array() -> object:
    return np.zeros((1 << 50,), np.uint8)


def caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize("number", sorted(HINTS))
def test_each_error_of_the_system_says_what_to_do(number: int) -> None:
    message, hint = explain(OSError(number, os.strerror(number), "a/b.csv"))
    assert message == f"{os.strerror(number)} (a/b.csv)"
    assert hint == HINTS[number] != ""
    if number in RESOURCES:  # also where a library wraps it or only quotes it
        assert explain(caused(RuntimeError("cannot write"), OSError(number, os.strerror(number))))[1] == hint
        assert explain(RuntimeError(f"I/O error: {os.strerror(number)} (os error {number})"))[1] == hint
        known = caused(TrashkitError("a.jpg is damaged", "export it again"), OSError(number, os.strerror(number)))
        assert isinstance(known, TrashkitError)
        assert explain_known(known) == (f"a.jpg is damaged: {message_of(number)}", hint)


def test_a_long_name_is_shortened_in_the_message() -> None:
    message, hint = explain(OSError(errno.ENAMETOOLONG, "File name too long", f"a/{'x' * 5000}.jpg"))
    assert message.startswith("File name too long (a/xx")
    assert message.endswith("xx.jpg)")
    assert len(message) < 500 and hint


def message_of(number: int) -> str:
    text = os.strerror(number)
    return text[0].lower() + text[1:]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "out of memory"),
        (ImportError("libopenblas.so: failed to map segment from shared object"), "out of memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (RuntimeError("can't start new thread"), "no more threads"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no more threads"),
        (UnicodeEncodeError("ascii", "사진", 0, 1, "ordinal not in range"), "encoding ascii"),
        (
            UnicodeEncodeError("utf-8", "a\ud800b", 1, 2, "surrogates not allowed"),
            r"'a\ud800b' cannot be written as text",
        ),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x"), "No such file or directory (x)"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_what_runs_out_is_not_a_bug(error: Exception, words: str) -> None:
    message, hint = explain(error)
    assert words in message and hint
    assert "bug" not in hint


def test_libraries_without_memory_are_recognised() -> None:
    with pytest.raises(MemoryError) as raised:
        big_array()
    assert explain(raised.value)[0] == "out of memory"
    error = cv2.error("OpenCV(4.11.0) alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes")
    assert explain(error)[0] == "out of memory"
    known = caused(TrashkitError("a.jpg cannot be decoded: it is damaged", "export it again"), error)
    assert isinstance(known, TrashkitError)
    assert explain_known(known)[0] == "a.jpg cannot be decoded: out of memory"


def test_other_causes_leave_a_message_as_it_is() -> None:
    known = caused(TrashkitError("a is wrong", "fix it"), ValueError("x"))
    assert isinstance(known, TrashkitError)
    assert explain_known(known) == ("a is wrong", "fix it")


def crash(*_arguments: object, **_options: object) -> None:
    raise ZeroDivisionError("in\n::error::a\x1b[2J")


def crashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr("trashkit.workflows.audit.audit_file", crash)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    done = CliRunner().invoke(app, ["audit", str(tmp_path / "a.json")])
    assert done.exit_code == 2 and done.stdout == ""
    return done.stderr.splitlines()


def test_a_crash_is_one_line_and_keeps_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    first, second = crashed(tmp_path, monkeypatch)
    assert first.startswith("error: trashkit crashed at test_limits.py:")
    assert first.endswith(r"ZeroDivisionError: in ::error::a\x1b[2J")
    (kept,) = (tmp_path / "temporary").iterdir()
    assert second == f"  this is a bug: report it with the traceback in {kept}"
    assert kept.read_text().startswith("Traceback") and "in crash" in kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0


def test_a_crash_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = crashed(tmp_path, monkeypatch)  # the folder for temporary files does not exist
    assert first.startswith("error: trashkit crashed at test_limits.py:")
    assert second == "  this is a bug: run it again with TRASHKIT_DEBUG=1 and report what it prints"


def limited(folder: Path, limit: str, line: str) -> subprocess.CompletedProcess[str]:
    (folder / "a.json").write_text(json.dumps(CONTENT))
    return subprocess.run(
        ["bash", "-c", f'ulimit {limit} && exec "{sys.executable}" -m trashkit {line}'],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")


@needs_limits
@pytest.mark.parametrize("kib", [200_000, 400_000, 1_000_000])
def test_too_little_address_space_is_one_line(tmp_path: Path, kib: int) -> None:
    """OpenBLAS and OpenCV end with a segmentation fault there."""
    done = limited(tmp_path, f"-v {kib}", "audit a.json")
    assert done.returncode == 2, done.stderr
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: the limit on address space is {kib >> 10} MiB") and "ulimit -v" in second


@needs_limits
@pytest.mark.parametrize("limit", ["-v 1200000", "-n 16", "-n 10"])
def test_small_limits_are_enough_for_an_audit(tmp_path: Path, limit: str) -> None:
    photo = np.full((9, 9, 3), 99, np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), photo)
    done = limited(tmp_path, limit, "audit a.json --images . --fail-on never")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@needs_limits
def test_a_file_that_does_not_fit_is_named(tmp_path: Path) -> None:
    done = limited(tmp_path, "-f 4", "audit a.json --html page.html --fail-on never")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-2] == "error: File too large (page.html)"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@needs_limits
@pytest.mark.parametrize("limit", ["-n 3", "-n 5", "-n 7"])
def test_no_files_at_all(tmp_path: Path, limit: str) -> None:
    done = limited(tmp_path, limit, "audit a.json")
    if not done.stderr.startswith("error:"):
        pytest.skip("Python itself does not start, or it was enough")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
