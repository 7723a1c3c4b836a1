"""Label maps on disk: round trips, and files that are not label maps."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Image
from trashkit.errors import TrashkitError
from trashkit.raster.label_maps import HEADER, IGNORE, open_label_maps, write_label_maps

CLASSES = ("Background", "Paper", "Glass")
IMAGES = tuple(Image(9 - n, f"id {n}", f"사진/{n}.jpg", 40 + n, 30) for n in range(3))


def write(path, seed=0, **options):
    maps = np.random.default_rng(seed).choice(np.array([0, 1, 2, IGNORE], np.uint8), (3, 7, 11))
    write_label_maps(
        path, zip(IMAGES, maps, strict=True), classes=CLASSES, size=(7, 11), manifest={"by": "test"}, **options
    )
    return maps


@settings(max_examples=20)
@given(seed=st.integers(0, 1000))
def test_written_label_maps_are_read_back(tmp_path_factory, seed):
    path = tmp_path_factory.mktemp("maps") / "labels"
    maps = write(path, seed)
    found = open_label_maps(path)
    assert all(np.array_equal(found.read(n), maps[n]) for n in range(3))
    assert [(one.row, one.id, one.file_name, one.width, one.height) for one in found.images] == [
        (n, one.id, one.file_name, one.width, one.height) for n, one in enumerate(IMAGES)
    ]
    assert (found.classes, found.size, found.manifest) == (CLASSES, (7, 11), {"by": "test"})


def test_the_fingerprint_follows_the_pixels(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    write(tmp_path / "c", seed=1)
    first, second, third = (open_label_maps(tmp_path / name).fingerprint for name in "abc")
    assert first == second != third


def test_values_outside_the_classes_and_other_sizes_are_refused(tmp_path):
    for labels in (np.full((7, 11), 3, np.uint8), np.zeros((7, 12), np.uint8), np.zeros((7, 11), np.int32)):
        with pytest.raises(ValueError, match="label map"):
            write_label_maps(tmp_path / "x", [(IMAGES[0], labels)], classes=CLASSES, size=(7, 11), manifest={})
        assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_kept(tmp_path):
    maps = write(tmp_path / "labels")
    with pytest.raises(TrashkitError, match="already exists"):
        write(tmp_path / "labels", seed=5)
    assert np.array_equal(open_label_maps(tmp_path / "labels").read(0), maps[0])


def test_damage_is_reported_by_name(tmp_path):
    path = tmp_path / "labels"
    write(path)
    whole = (path / "000001.png").read_bytes()
    for damaged in (b"", whole[:40], (path / "000000.png").read_bytes()[:8] + b"x" * 50):
        (path / "000001.png").write_bytes(damaged)
        with pytest.raises(TrashkitError, match=r"000001\.png is not a label map"):
            open_label_maps(path).read(1)
    (path / "000001.png").unlink()
    with pytest.raises(TrashkitError, match="cannot be read"):
        open_label_maps(path).read(1)
    header = json.loads((path / HEADER).read_text())
    header["images"][0]["map"] = "../outside.png"
    (path / HEADER).write_text(json.dumps(header))
    with pytest.raises(TrashkitError, match="outside its folder"):
        open_label_maps(path)
    with pytest.raises(TrashkitError, match="contains no label maps"):
        open_label_maps(tmp_path)
