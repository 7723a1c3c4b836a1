"""What a fix of photos and file names leaves alone: annotations of photos that only need something else to be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trashkit.audit import audit
from trashkit.audit.fixes.fix_file import fix
from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.workflows.fix import fix_findings, refuse_many_deletions

RING = [10, 20, 60, 20, 60, 50, 30, 60]
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def file(*names: str, width: int = 80, height: int = 64) -> Coco:
    images = [{"id": n, "file_name": name, "width": width, "height": height} for n, name in enumerate(names, 1)]
    annotations = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [RING]} | {"bbox": [10, 20, 50, 40], "iscrowd": 0}
        for n in range(1, len(names) + 1)
    ]
    return Coco.of({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "can"}]})


def photo(path: Path, width: int = 80, height: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def found(coco: Coco, folder: Path, code: str) -> list[Any]:
    return audit(coco, images=folder, select=[code], workers=1).findings


@pytest.mark.parametrize(
    ("data", "said"),
    [
        pytest.param(LFS, "git lfs pull", id="git-lfs"),
        pytest.param(HEIC, "pip install pi-heif", id="heic"),
        pytest.param(b"\xff\x0a" + bytes(40), "JPEG XL", id="jpeg-xl"),
        pytest.param(b"8BPS\0\1" + bytes(40), "Photoshop", id="photoshop"),
        pytest.param(b"II*\0\x10\0\0\0CR\x02\0" + bytes(60), "raw picture", id="camera-raw"),
    ],
)
def test_an_image_whose_photo_only_needs_something_else_is_kept(
    data: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trashkit.images.photos.HEIF_PACKAGES", ())
    photo(tmp_path / "a.jpg")
    (tmp_path / "b.jpg").write_bytes(data)
    coco = file("a.jpg", "b.jpg")
    (finding,) = found(coco, tmp_path, "I002")
    assert said in finding.message
    assert finding.fix is None
    assert fix(coco, unsafe=True, delete=True, select=["I"], images=tmp_path, workers=1).edits == []


def test_annotations_of_images_that_are_deleted_count_as_lost(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        photo(tmp_path / name)
    (tmp_path / "d.jpg").write_bytes(b"<html><body>log in</body></html>")
    fixed = fix_findings(file("a.jpg", "b.jpg", "c.jpg", "d.jpg"), unsafe=True, images=tmp_path)
    assert fixed.too_many_deletions
    with pytest.raises(TrashkitError, match=r"deletes 1 of 4 annotations.*1 unreadable-photo"):
        refuse_many_deletions(fixed)


def test_images_that_are_in_the_other_file_are_not_lost() -> None:
    fixed = fix_findings(file("a.jpg", "b.jpg"), unsafe=True, against=file("b.jpg"), select=["S036"])
    assert fixed.coco.count("images") == 1
    assert not fixed.too_many_deletions


@pytest.mark.parametrize(
    ("name", "there"),
    [
        pytest.param("C:\\Users\\kim\\photos\\a.jpg", "photos/a.jpg", id="windows-path"),
        pytest.param("photos\\a.jpg", "photos/a.jpg", id="backslash"),
        pytest.param("/home/me/photos/a.jpg", "photos/a.jpg", id="absolute-path"),
        pytest.param("../data/a.jpg", "a.jpg", id="path-that-leaves"),
        pytest.param("Photos/A.JPG", "photos/a.jpg", id="case"),
        pytest.param("a.jpeg", "a.jpg", id="suffix"),
    ],
)
def test_file_names_are_corrected_where_the_photo_that_is_meant_is_there(name: str, there: str, tmp_path: Path) -> None:
    photo(tmp_path / there)
    result = fix(file(name), unsafe=True, images=tmp_path, workers=1)
    assert result.coco.record("images", 0)["file_name"] == there
    assert result.coco.count("annotations") == 1
    assert result.lost == {}


def test_file_names_are_not_corrected_to_a_photo_of_another_size_or_of_another_image(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", 64, 64)
    assert fix(file("/x/a.jpg"), unsafe=True, images=tmp_path, workers=1).coco.count("images") == 0
    photo(tmp_path / "b.jpg")
    result = fix(file("b.jpg", "/x/b.jpg", "/y/B.jpg"), unsafe=True, images=tmp_path, workers=1)
    assert [image["file_name"] for image in result.coco.records("images")] == ["b.jpg"]


def test_nothing_is_clipped_where_the_photo_has_another_size(tmp_path: Path) -> None:
    photo(tmp_path / "a.jpg", 80, 64)
    coco = file("a.jpg", width=57, height=64)
    assert found(coco, tmp_path, "G010")
    assert fix(coco, unsafe=True, select=["G010"], images=tmp_path, workers=1).edits == []
    assert fix(coco, unsafe=True, select=["G010"], workers=1).edits, (
        "without the photo, nothing contradicts the file's size"
    )
