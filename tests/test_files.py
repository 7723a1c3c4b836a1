"""Outputs are whole or absent, and a killed process leaves nothing behind for long."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.files import replacing, write_text


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f".out [1].{ended.pid}.part.json"
    kept = [tmp_path / name for name in (
        f".out [1].{os.getppid()}.part.json", f".other.{ended.pid}.part.json", ".out [1].x.part.json",
        f".out 1.{ended.pid}.part.json",
    )]  # fmt: skip
    for path in (left, *kept):
        path.write_text("half")
    folder = tmp_path / f".store.{ended.pid}.part"
    folder.mkdir()
    (folder / "0").write_text("half")
    with replacing(tmp_path / "out [1].json") as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert all(path.exists() for path in kept)
    with replacing(tmp_path / "store") as temporary:
        temporary.mkdir()
    assert not folder.exists()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with pytest.raises(RuntimeError), replacing(tmp_path / "out", overwrite=True) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "out").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_files_and_folders_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/a").write_text("kept")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(TrashkitError, match="is a folder"):
        write_text(tmp_path / "folder", "page", overwrite=True)
    with pytest.raises(TrashkitError, match="is a file"), replacing(tmp_path / "file", overwrite=True) as temporary:
        temporary.mkdir()
    assert (tmp_path / "folder/a").read_text() == (tmp_path / "file").read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 2
