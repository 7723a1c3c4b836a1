"""Outputs are written atomically, replace only earlier outputs, and leave nothing behind for long when killed."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.files import append_bytes, is_empty, open_lock, remove_folder
from trashkit.outputs import Output, OutputKind, folder_kind, write_bytes, write_text


def test_only_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
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
    with Output(tmp_path / "out [1].json").writing() as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert all(path.exists() for path in kept)
    with Output(tmp_path / "store").writing() as temporary:
        temporary.mkdir()
    assert not folder.exists()


def test_an_error_keeps_the_existing_output(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("before")
    with pytest.raises(RuntimeError), Output(tmp_path / "out", overwrite=True).writing() as temporary:
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
    with (
        pytest.raises(TrashkitError, match="is a file"),
        Output(tmp_path / "file", overwrite=True).writing() as temporary,
    ):
        temporary.mkdir()
    assert (tmp_path / "folder/a").read_text() == (tmp_path / "file").read_text() == "kept"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_other_files_is_not_replaced(tmp_path: Path) -> None:
    begun = False
    sheets = folder_kind("folder of sheets", marker=r"\.mark", files=r"(deep/)?\d+\.png")

    def write() -> None:
        nonlocal begun
        with Output(tmp_path / "sheets", overwrite=True, kind=sheets).writing() as temporary:
            begun = True
            temporary.mkdir()
            (temporary / ".mark").touch()
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
    with pytest.raises(TrashkitError, match="is not a folder of sheets"):  # its names fit, but no marker
        write()
    (tmp_path / "sheets" / ".mark").touch()
    write()
    assert {path.name for path in (tmp_path / "sheets").iterdir()} == {".mark", "2.png"}
    assert [path.name for path in tmp_path.iterdir()] == ["sheets"]


def test_a_picture_is_replaced_only_by_a_picture(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"\xff\xd8\xff\xe0 first")
    with pytest.raises(TrashkitError, match="is an image, so it is not replaced"):
        write_text(photo, "page", overwrite=True)
    assert photo.read_bytes().endswith(b"first")
    write_bytes(photo, b"\xff\xd8\xff\xe0 second", overwrite=True)
    assert photo.read_bytes().endswith(b"second")


def test_a_folder_is_restored_if_it_cannot_be_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.png").write_text("kept")
    rename = Path.rename

    def fails(self: Path, target: Path) -> Path:
        if self.name.endswith(".part") and ".old." not in self.name:
            raise PermissionError
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(PermissionError), Output(tmp_path / "out", overwrite=True).writing() as temporary:
        temporary.mkdir()
        (temporary / "b.png").write_text("new")
    assert (tmp_path / "out/a.png").read_text() == "kept"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_output_that_was_moved_aside_is_restored_after_a_kill(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    aside = tmp_path / f".out.old.{ended.pid}.part"
    aside.mkdir()
    (aside / "a.png").write_text("kept")
    with pytest.raises(RuntimeError), Output(tmp_path / "out", overwrite=True).writing():
        raise RuntimeError
    assert (tmp_path / "out/a.png").read_text() == "kept"
    assert not aside.exists()


def test_a_folder_is_removed_completely_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_devices_dangling_links_and_paths_without_a_name_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (tmp_path / "one").symlink_to(tmp_path / "two")
    (tmp_path / "two").symlink_to(tmp_path / "one")
    for path, words in (
        (tmp_path / "pipe", "neither a file nor a folder"),
        (Path(os.devnull), "neither a file nor a folder"),
        (tmp_path / "link", "broken symbolic link"),
        (tmp_path / "one", "broken symbolic link"),
        (Path(), "does not name a file"),
        (tmp_path / "..", "does not name a file"),
    ):
        with pytest.raises(TrashkitError, match=words):
            Output(path, overwrite=True).check()
    Output(tmp_path / "one").check_inputs([tmp_path / "two"])


def test_loops_and_pipes_among_the_folders_of_an_output_are_refused(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("nothing")
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("loop", "broken symbolic link"), ("gone", "broken symbolic link"), ("pipe", "is a file")):
        for inside in ("page.html", "deep/page.html"):
            with pytest.raises(TrashkitError, match=words):
                Output(tmp_path / name / inside, overwrite=True).check()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO])
def test_a_full_disk_names_the_output(tmp_path: Path, number: int) -> None:
    out = Output(tmp_path / "store")
    for name in (None, "inside", ""):
        with pytest.raises(OSError) as raised, out.writing() as temporary:
            temporary.mkdir()
            raise OSError(number, "full", None if name is None else str(temporary / name))
        assert raised.value.filename == str(tmp_path / "store" / (name or ""))
    with pytest.raises(FileNotFoundError) as missing, out.writing():
        raise FileNotFoundError(errno.ENOENT, "missing", "photo.jpg")
    assert missing.value.filename == "photo.jpg"
    assert list(tmp_path.iterdir()) == []


def test_what_grows_is_not_left_half_written_on_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"a" * 4000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with path.open("r+b", buffering=0) as file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # the first 96 bytes would fit
        try:
            with pytest.raises(OSError, match="File too large") as raised:
                append_bytes(file, b"b" * 200, path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert raised.value.filename == str(path)
    assert path.read_bytes() == b"a" * 4000
    with path.open("r+b", buffering=0) as file:
        append_bytes(file, b"b" * 200, path)
    assert path.read_bytes() == b"a" * 4000 + b"b" * 200


NOTES = OutputKind(
    "folder of notes",
    is_one=lambda path: (path / "notes").is_file(),
    foreign=lambda path: "a.jpg, which is not a note" if (path / "a.jpg").exists() else "",
    is_free=is_empty,
    is_resumable=lambda path: (path / "notes").is_file(),
    owns=lambda folder, name: name == "notes" and (folder / "notes").is_file(),
)


def test_an_earlier_output_of_its_kind_is_replaced_or_resumed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    Output(out, kind=NOTES).check()  # an empty folder is free
    (out / "other").touch()
    for flags in ({"overwrite": True}, {"resume": True}):
        with pytest.raises(TrashkitError, match="is not a folder of notes, so it is not replaced"):
            Output(out, kind=NOTES, **flags).check()
    (out / "notes").touch()
    with pytest.raises(TrashkitError, match="already exists") as error:
        Output(out, kind=NOTES).check()
    assert "--resume" in error.value.hint
    with pytest.raises(TrashkitError, match="already exists") as error:
        Output(out, kind=NOTES, resumable=False).check()
    assert "--resume" not in error.value.hint
    (out / "a.jpg").touch()
    Output(out, kind=NOTES, resume=True).check()
    with pytest.raises(TrashkitError, match=r"holds a\.jpg, which is not a note, so it is not replaced"):
        Output(out, kind=NOTES, overwrite=True).check()
    (out / "a.jpg").unlink()
    Output(out, kind=NOTES, overwrite=True).remove()
    assert not out.exists()


def test_nothing_is_written_into_a_part_of_another_output(tmp_path: Path) -> None:
    (tmp_path / "notes").touch()
    with pytest.raises(TrashkitError, match="is part of the folder of notes"):
        Output(tmp_path / "notes").check_outside([NOTES])
    Output(tmp_path / "page.html").check_outside([NOTES])


def test_parts_are_checked_with_their_output(tmp_path: Path) -> None:
    (tmp_path / "a.csv.json").touch()
    note = Output(tmp_path / "a.csv.json")
    with pytest.raises(TrashkitError, match=r"a\.csv\.json already exists"):
        Output(tmp_path / "a.csv", parts=(note,)).check()


def test_a_lock_is_never_opened_through_a_link(tmp_path: Path) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("kept")
    (tmp_path / "lock").symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links"):
        open_lock(tmp_path / "lock")
    for _ in range(2):
        open_lock(tmp_path / "another").close()
    open_lock(precious).close()
    assert precious.read_text() == "kept" and (tmp_path / "another").exists()
