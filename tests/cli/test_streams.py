"""Terminals with another encoding, closed streams, closed pipes and full disks behind stdout and stderr."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FULL = Path("/dev/full")
CONTENT = {
    "images": [{"id": 1, "file_name": "사진 é \ud800.jpg", "width": 10, "height": 10}],
    "annotations": [{"id": "é", "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 5, 0, 5, 5]], "area": 99}],
    "categories": [{"id": 1, "name": "플라스틱"}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "사진.json").write_text(json.dumps(CONTENT))
    return tmp_path


def shell(folder: Path, line: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    """Run a line of bash in which ``trashkit`` is the command."""
    script = f'trashkit() {{ "{sys.executable}" -m trashkit "$@"; }}; {line}'
    return subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )


ENCODINGS = ["ascii", "latin-1", "cp949", "utf-16"]
LINES = {
    "table": "trashkit audit 사진.json",
    "json": "trashkit audit 사진.json --json",
    "explain": "trashkit audit --explain all",
    "page": "trashkit audit 사진.json --html 사진.html",
    "plain json": "trashkit edits diff 사진.json 사진.json --out log.jsonl --json",
    "missing": "trashkit audit 없음.json",
    "help": "trashkit fix --help",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoding", "line"), [*(("ascii", line) for line in LINES), *((one, "json") for one in ENCODINGS[1:])]
)
def test_other_encodings_of_the_terminal(folder: Path, encoding: str, line: str) -> None:
    done = shell(folder, LINES[line], PYTHONIOENCODING=encoding)
    said, result = done.stderr.decode(encoding), done.stdout.decode(encoding)
    assert done.returncode == (2 if line == "missing" else 0 if line in ("explain", "help", "plain json") else 1), said
    assert "crash" not in said and "Traceback" not in said
    if "json" in line:
        assert json.loads(result)
    if line == "json":
        assert {finding["file_name"] for finding in json.loads(result)["findings"]} >= {"사진 é \ud800.jpg"}
    if line == "page":
        assert "플라스틱" in (folder / "사진.html").read_text(encoding="utf-8")
    if line == "missing":
        assert said.startswith(r"error: \uc5c6\uc74c.json")


def test_other_encodings_of_the_system(folder: Path) -> None:
    """Without UTF-8 mode, files are still written as UTF-8, and names that the system cannot take are one line."""
    settings = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(folder, "trashkit audit 사진.json --html page.html --images . --fail-on never", **settings)
    said = done.stderr.decode("ascii")
    assert "crash" not in said and "Traceback" not in said
    assert done.returncode == 0, said
    assert "플라스틱" in (folder / "page.html").read_text(encoding="utf-8")


needs_full = pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")


@needs_full
@pytest.mark.parametrize("line", ["audit 사진.json", "audit 사진.json --json", "--help", "recipes list", "--version"])
def test_a_full_disk_behind_stdout_is_one_line(folder: Path, line: str) -> None:
    done = shell(folder, f"trashkit {line} >/dev/full")
    assert done.returncode == 2
    said = [text for text in done.stderr.decode().splitlines() if text.startswith("error")]
    assert said == ["error: the result cannot be written to stdout: no space left on device"]
    assert "Exception ignored" not in done.stderr.decode()


@pytest.mark.slow
@needs_full
@pytest.mark.parametrize("way", ["2>/dev/full", "2>&-", "2> >(true)"])
@pytest.mark.parametrize(("line", "code"), [("audit 사진.json --json", 1), ("audit none.json", 2), ("nonsense", 2)])
def test_a_lost_stderr_changes_nothing(folder: Path, line: str, code: int, way: str) -> None:
    done = shell(folder, f"trashkit {line} {way}")
    assert done.returncode == code
    assert done.stderr == b""
    if code == 1:
        assert json.loads(done.stdout)["summary"]["images"] == 1


def test_closed_streams_are_not_taken_by_files(folder: Path) -> None:
    done = shell(folder, "trashkit audit 사진.json --html page.html >&- 2>&- <&-")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page.endswith("</html>\n")


@pytest.mark.parametrize(
    "line", ["audit --explain all", "recipes list --json", "audit 사진.json --json --fail-on never"]
)
def test_a_pipe_that_closes_early_ends_quietly(folder: Path, line: str) -> None:
    done = shell(folder, f"trashkit {line} | head -c 1 >/dev/null; exit ${{PIPESTATUS[0]}}")
    said = done.stderr.decode()
    assert "error" not in said.replace("0 error", "").replace("1 error", "") and "Broken" not in said
    assert done.returncode == 0


@pytest.mark.slow
def test_a_long_diff_is_paged_on_a_terminal_and_begins_with_its_summary(folder: Path) -> None:
    """The pager is a command that marks what goes through it."""
    (one,) = CONTENT["annotations"]
    content = {**CONTENT, "annotations": [{**one, "id": n, "area": 20 + n * n} for n in range(1, 60)]}
    (folder / "many.json").write_text(json.dumps(content))
    script = f"{sys.executable} -m trashkit fix many.json --diff --select G022"
    line = f"script -qec '{script}' /dev/null"
    for terminal in (line, f"{script} | cat"):
        done = shell(folder, terminal, PAGER="sed s/^/paged:/", TERM="xterm")
        lines = [one for one in done.stdout.decode().splitlines() if one.strip() and "warning" not in one]
        paged = [one for one in lines if one.startswith("paged:")]  # what else a terminal shows is progress
        assert bool(paged) == (terminal == line)
        first = (paged or lines)[:4]
        assert any("by" in one and "reason" in one for one in first), first
