"""Python files in the folder of the data, which may be a stranger's, are never imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trashkit.workflows.auto.commands import run_command

NAMES = ("csv.py", "random.py", "pickle.py", "trashkit/__init__.py", "multiprocessing/__init__.py")


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with Python files that leave a file ``ran``."""
    folder = tmp_path / "hostile"
    for name in NAMES:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"open({str(folder / 'ran')!r}, 'a').write({name!r})\nraise SystemExit\n")
    monkeypatch.chdir(folder)
    return folder


def test_steps_of_auto_import_nothing_of_the_folder(hostile: Path) -> None:
    (hostile / "a.json").write_text('{"images": [], "annotations": [], "categories": []}')
    assert run_command(["audit", "a.json"], exits=(0, 1))["findings"] == []
    assert not (hostile / "ran").exists()


def test_parallel_processes_import_nothing_of_the_folder(hostile: Path, tmp_path: Path) -> None:
    script = tmp_path / "trashkit-script.py"  # as pip writes it: the folder is not in its path, but in its children's
    script.write_text("from trashkit.__main__ import main\nif __name__ == '__main__':\n    main()\n")
    words = ["data", "synth", "--out", "drawn", "--images", "20", "--size", "64", "--noise", "none", "--workers", "2"]
    done = subprocess.run(
        [sys.executable, script, *words], env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not (hostile / "ran").exists()
