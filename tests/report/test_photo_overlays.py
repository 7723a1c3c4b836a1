"""Photos are found in folders and subfolders, among other files, and keep their folders in what is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trashkit.coco import ClassMap
from trashkit.errors import TrashkitError
from trashkit.report import photo_overlays
from trashkit.report.photo_overlays import (
    PhotoOverlay,
    SkippedPhoto,
    check_headers,
    count_skipped,
    find_photos,
    photos_in,
    write_overlays,
)

CLASSES = ClassMap(("Background", "캔"), ((0, 0, 0), (200, 0, 0)), {})


def test_folders_are_searched_recursively_without_hidden_files(tmp_path: Path) -> None:
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
    with pytest.raises(TrashkitError, match=r"there are no photos in .*empty") as error:
        photos_in([tmp_path / "empty"])
    assert ".jpg" in error.value.hint


def test_overlays_among_the_photos_are_not_drawn_again(tmp_path: Path) -> None:
    for name in ("a.jpg", "seen/a.overlay.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert photos_in([tmp_path], but=tmp_path / "x" / ".." / "seen") == [tmp_path / "a.jpg"]


def photo(path: Path, shade: int = 90, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (shade, shade, shade)).save(path, **options)
    return path


def drawn(paths: list[Path], out: Path) -> tuple[list[PhotoOverlay], list[SkippedPhoto]]:
    def predict(pixels: Any) -> Any:
        labels = np.zeros(pixels.shape[:2], np.uint8)
        labels[4:20, 5:25] = 1
        return labels, np.ones(labels.shape, np.float32)

    return write_overlays(predict, CLASSES, find_photos(paths, but=out), out, label_maps=True)


def names_of(out: Path) -> list[str]:
    content = json.loads((out / "annotations.json").read_text(encoding="utf-8"))
    return [image["file_name"] for image in content["images"]]


def test_photos_keep_their_folders(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("x.jpg", "한글/x.jpg", "한글/deep/x.jpg"):
        photo(folder / name)
    drawn([folder], tmp_path / "out")
    assert sorted(names_of(tmp_path / "out")) == ["x.jpg", "한글/deep/x.jpg", "한글/x.jpg"]
    for stem in ("x", "한글/x", "한글/deep/x"):
        assert (tmp_path / "out" / f"{stem}.overlay.jpg").is_file()
        assert (tmp_path / "out" / f"{stem}.labels.png").is_file()
    with pytest.raises(TrashkitError, match="already exists"):
        drawn([folder], tmp_path / "out")
    write_overlays(
        lambda pixels: (np.zeros(pixels.shape[:2], np.uint8), np.zeros(pixels.shape[:2], np.float32)),
        CLASSES, find_photos([folder], but=tmp_path / "out"), tmp_path / "out", overwrite=True,
    )  # fmt: skip


@pytest.mark.parametrize("folders", [True, False])
def test_equal_names_in_several_inputs_are_different_names(tmp_path: Path, folders: bool) -> None:
    given = [photo(tmp_path / part / "x.jpg") for part in ("a", "b", "b/c")]
    found = find_photos([tmp_path / "a", tmp_path / "b"] if folders else [*given, tmp_path / "a" / ".." / "a/x.jpg"])
    assert sorted(found.names) == ["a/x.jpg", "b/c/x.jpg", "b/x.jpg"]
    assert len(found.paths) == 3


def test_names_that_differ_in_suffix_or_case_get_pictures_of_their_own(tmp_path: Path) -> None:
    for name in ("x.jpg", "x.png", "X.webp"):
        photo(tmp_path / "in" / name)
    made, _ = drawn([tmp_path / "in"], tmp_path / "out")
    assert len({one.overlay.name.casefold() for one in made}) == 3
    assert sorted(names_of(tmp_path / "out")) == ["X.webp", "x.jpg", "x.png"]


def test_skipped_files_are_counted_by_reason(tmp_path: Path) -> None:
    photo(tmp_path / "whole.avif")
    for name, data in {
        "a.jpg": b"",
        "b/c.png": b"",
        "phone.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "page.jpg": b"<!doctype html><html>",
        "labels.json": b"{}",
        "notes.txt": b"x",
        "clip.mp4": b"x",
        "README": b"x",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    checked = check_headers(find_photos([tmp_path]))
    assert checked.found.names == ("whole.avif",)
    lines = count_skipped(checked)
    assert lines[0] == "2 photos are skipped: each is empty"
    assert any("HEIC" in line and "pip install pi-heif" in line for line in lines)
    assert any("Git LFS pointer" in line for line in lines)
    assert any("web page" in line for line in lines)
    assert lines[-1].startswith("4 other files are skipped, by suffix: ")
    assert all(word in lines[-1] for word in ("1 .json", "1 .txt", "1 .mp4", "1 without suffix"))


def test_where_no_photo_can_be_read_the_first_reason_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (tmp_path / "b.jpg").write_bytes(b"")
    with pytest.raises(TrashkitError, match=r"HEIC photo.*none of the other 1 can be read") as error:
        check_headers(find_photos([tmp_path]))
    assert error.value.hint == "pip install pi-heif"


def test_legend_and_table_show_the_same_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (1000, 1000)).save(tmp_path / "a.png")
    legends: list[list[tuple[int, float]]] = []
    draw = photo_overlays.with_legend
    monkeypatch.setattr(
        photo_overlays,
        "with_legend",
        lambda picture, classes, shares: legends.append(shares) or draw(picture, classes, shares),
    )

    def predict(pixels: Any) -> Any:
        labels = np.zeros(pixels.shape[:2], np.uint8)
        labels.ravel()[:123_480] = 1  # 12.348 %: 12.3 %, but 12.4 % where it is first rounded to 12.35 %
        return labels, np.ones(labels.shape, np.float32)

    made, _ = write_overlays(predict, CLASSES, find_photos([tmp_path / "a.png"]), tmp_path / "out")
    assert [share for _, share in legends[0]] == list(made[0].shares.values())
