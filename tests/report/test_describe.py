"""Photos named by folder, as a user keeps them: in folders of folders, between other files."""

from __future__ import annotations

from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.report.describe import photos_in


def test_folders_are_searched_to_the_bottom_but_not_what_is_hidden(tmp_path: Path) -> None:
    wanted = ["a.JPG", "batch 1/b.png", "batch 1/deep/c.webp"]
    for name in [*wanted, "notes.txt", ".thumbnails/a.jpg", "batch 1/._b.png", "batch 1/labels.json"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "odd.jpg").mkdir()
    assert photos_in([tmp_path]) == [tmp_path / name for name in wanted]
    alone = tmp_path / "notes.txt"
    assert photos_in([alone, tmp_path / "batch 1/deep"]) == [alone, tmp_path / wanted[2]]


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty/inner").mkdir(parents=True)
    with pytest.raises(TrashkitError, match=r"no photo lies in .*empty") as error:
        photos_in([tmp_path / "empty"])
    assert ".jpg" in error.value.hint


def test_overlays_among_the_photos_are_not_drawn_again(tmp_path: Path) -> None:
    for name in ("a.jpg", "seen/a.overlay.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert photos_in([tmp_path], but=tmp_path / "x" / ".." / "seen") == [tmp_path / "a.jpg"]
