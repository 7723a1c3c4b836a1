"""A list of photos without labels."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from trashkit.coco import Coco, read_dataset
from trashkit.errors import TrashkitError
from trashkit.images.photos import check_photos
from trashkit.interop.photo_list import list_photos


def photo(path: Path, size: tuple[int, int], orientation: int = 1) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", size, (90, 120, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photo(tmp_path / "photos/b.jpg", (40, 30))
    photo(tmp_path / "photos/sub/a.jpg", (20, 30))
    photo(tmp_path / "photos/phone.jpg", (40, 20), orientation=6)
    return tmp_path / "photos"


LABELLED = Coco.of(
    {
        "images": [{"id": 9, "file_name": "b.jpg", "width": 40, "height": 30}],
        "annotations": [],
        "categories": [{"id": 1, "name": "Glass"}],
    }
)


def test_all_photos_are_listed_with_their_size_after_rotation(folder: Path) -> None:
    dataset = read_dataset(list_photos(folder), labels=False)
    found = {image.file_name: (image.width, image.height) for image in dataset.images}
    assert found == {"b.jpg": (40, 30), "phone.jpg": (20, 40), "sub/a.jpg": (20, 30)}
    check_photos(dataset.images, folder)


def test_labelled_photos_are_left_out_and_their_categories_are_taken_over(folder: Path) -> None:
    found = list_photos(folder, labelled=LABELLED)
    assert [image["file_name"] for image in found.records("images")] == ["phone.jpg", "sub/a.jpg"]
    assert found.records("categories") == LABELLED.records("categories")


def test_no_photo_left_is_a_mistake(tmp_path: Path) -> None:
    photo(tmp_path / "b.jpg", (40, 30))
    with pytest.raises(TrashkitError, match="all 1 photos"):
        list_photos(tmp_path, labelled=LABELLED)
