"""Locks on files, and names of files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from trashkit.files import lock, open_lock, without_suffix


def test_a_lock_excludes_others_until_it_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "file.lock"
    with open_lock(path) as first, open_lock(path) as second:
        lock(first)
        with pytest.raises(BlockingIOError):
            lock(second, wait=False)
        with pytest.raises(BlockingIOError):
            lock(second, shared=True, wait=False)
    with open_lock(path) as first, open_lock(path) as second:
        lock(first, shared=True)
        lock(second, shared=True, wait=False)


def test_systems_without_locks_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with open_lock(tmp_path / "file.lock") as first, open_lock(tmp_path / "file.lock") as second:
        lock(first)
        lock(second, wait=False)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b.x.jpg", "a/b.x"), ("a.b/c", "a.b/c"), (".jpg", ".jpg"), (".", "."), ("", "."), ("/", "/"), ("a/..", "a/..")],
)
def test_any_name_has_a_part_without_suffix(name: str, expected: str) -> None:
    assert without_suffix(name).as_posix() == expected
