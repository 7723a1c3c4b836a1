"""Outputs are whole or absent, and a killed process leaves nothing behind for long."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.files import MARK, refuse_existing, refuse_inputs, remove_folder, replacing, write_bytes, write_text


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


def test_a_folder_of_other_files_is_not_replaced(tmp_path: Path) -> None:
    begun = False

    def write() -> None:
        nonlocal begun
        with replacing(tmp_path / "sheets", overwrite=True, ours=r"(deep/)?\d+\.png") as temporary:
            begun = True
            temporary.mkdir()
            (temporary / MARK).touch()
            (temporary / "2.png").write_text("drawn")

    photos = tmp_path / "sheets" / "deep"
    photos.mkdir(parents=True)
    (photos / "a1.png").write_text("kept")
    with pytest.raises(TrashkitError, match=r"holds deep.a1\.png, which this command did not write"):
        write()
    assert not begun
    assert (photos / "a1.png").read_text() == "kept"
    (photos / "a1.png").rename(photos / "1.png")
    (photos / ".DS_Store").write_text("of a file manager")
    with pytest.raises(TrashkitError, match="which this command did not write"):  # right names, but no mark
        write()
    (tmp_path / "sheets" / MARK).touch()
    write()
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {MARK, "2.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["sheets"]


def test_a_picture_is_replaced_by_pictures_alone(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0 first")
    with pytest.raises(TrashkitError, match="is a picture, so it is kept"):
        write_text(photo, "page", overwrite=True)
    assert photo.read_bytes().endswith(b"first")
    write_bytes(photo, b"\xff\xd8\xff\xe0 second", overwrite=True)
    assert photo.read_bytes().endswith(b"second")


def test_a_folder_comes_back_where_the_new_one_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_text("kept")
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".part") and ".old." not in self.name:
            raise PermissionError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PermissionError), replacing(tmp_path / "out", overwrite=True) as temporary:
        temporary.mkdir()
        (temporary / "b.png").write_text("new")
    assert (tmp_path / "out/a.png").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_what_was_moved_aside_comes_back_after_a_kill(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    aside = tmp_path / f".out.old.{ended.pid}.part"
    aside.mkdir()
    (aside / "a.png").write_text("kept")
    with pytest.raises(RuntimeError), replacing(tmp_path / "out", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out/a.png").read_text() == "kept"
    assert not aside.exists()


def test_a_removed_folder_is_whole_or_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "a").touch()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", interrupted)
        remove_folder(folder)
    assert not folder.exists()
    folder.mkdir()
    remove_folder(folder)
    assert list(tmp_path.iterdir()) == []


def interrupted(path: Path) -> None:
    raise KeyboardInterrupt


def test_devices_links_to_nothing_and_places_without_a_name_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for path, words in (
        (tmp_path / "pipe", "neither a file nor a folder"),
        (Path(os.devnull), "neither a file nor a folder"),
        (tmp_path / "link", "a link to nothing"),
        (tmp_path / "one", "a link to nothing"),
        (Path(), "no name of its own"),
        (tmp_path / "..", "no name of its own"),
    ):
        with pytest.raises(TrashkitError, match=words):
            refuse_existing(path, overwrite=True)
    refuse_inputs(tmp_path / "one", [tmp_path / "two"])
