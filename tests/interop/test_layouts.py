"""Layouts of folders that other tools write: Roboflow, Darknet, CVAT's YOLO, and labels without photos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trashkit.coco import read, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.registry import import_annotations

BOX = "0 0.5 0.5 0.25 0.5\n"
OUTLINE = "1 0.1 0.1 0.6 0.1 0.6 0.7\n"


def photo(path: Path, width: int = 40, height: int = 20) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes())


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def imported(source: Path, **options: Any) -> tuple[Any, dict[str, list[str]]]:
    """The result, and the classes of the objects of each image, by file name."""
    out = source.parent / "imported.json"
    made = import_annotations("yolo", source, out, overwrite=True, **options)
    coco = read(out)
    names = {record["id"]: record["name"] for record in coco.records("categories")}
    found: dict[str, list[str]] = {record["file_name"]: [] for record in coco.records("images")}
    files = {record["id"]: record["file_name"] for record in coco.records("images")}
    for record in coco.records("annotations"):
        found[files[record["image_id"]]].append(names[record["category_id"]])
    assert made.photos is not None
    assert all((made.photos / name).is_file() for name in found)
    return made, found


def roboflow(folder: Path, *, parts: tuple[str, ...] = ("train", "valid", "test")) -> Path:
    for part in parts:
        for name in ("bin_1_jpg.rf.0a", "cup"):
            photo(folder / part / "images" / f"{name}.jpg")
            text(folder / part / "labels" / f"{name}.txt", BOX + OUTLINE)
    yaml = "".join(f"{part}: ../{part}/images\n" for part in parts)
    text(folder / "data.yaml", f"{yaml}nc: 2\nnames: ['can', 'paper cup']\n")
    text(folder / "README.dataset.txt", "Litter > 2026\nhttps://example.org\n")
    return folder


def test_roboflow_folders_keep_their_part_in_file_names(tmp_path: Path) -> None:
    made, found = imported(roboflow(tmp_path / "rf"))
    parts = ("train", "valid", "test")
    assert set(found) == {f"{part}/images/{name}.jpg" for part in parts for name in ("bin_1_jpg.rf.0a", "cup")}
    assert all(classes == ["can", "paper cup"] for classes in found.values())
    assert made.photos == tmp_path / "rf"
    assert not made.skipped
    assert imported(tmp_path / "rf/data.yaml")[1] == found


def test_one_part_of_a_roboflow_folder_has_the_class_names_around_it(tmp_path: Path) -> None:
    roboflow(tmp_path / "rf")
    _, found = imported(tmp_path / "rf/valid")
    assert found == {f"{name}.jpg": ["can", "paper cup"] for name in ("bin_1_jpg.rf.0a", "cup")}


@pytest.mark.parametrize("names", ["obj.names", "data/obj.names", "classes.txt", "obj.data", "other.data"])
def test_darknet_folders_have_labels_next_to_photos(tmp_path: Path, names: str) -> None:
    folder = tmp_path / "dark"
    for name in ("a", "b.c", "empty"):
        photo(folder / f"obj_train_data/{name}.jpg")
    text(folder / "obj_train_data/a.txt", OUTLINE)
    text(folder / "obj_train_data/b.c.txt", BOX + BOX)
    text(folder / "train.txt", "data/obj_train_data/a.jpg\ndata/obj_train_data/b.c.jpg\n")
    source = folder
    if names.endswith(".data"):
        text(folder / names, "classes = 2\ntrain = data/train.txt\nnames = data/litter.names\nbackup = backup/\n")
        text(folder / "litter.names", "can\ncup\n")
        source = folder if names == "obj.data" else folder / names
    else:
        text(folder / names, "can\ncup\n")
    _, found = imported(source)
    assert found == {
        "obj_train_data/a.jpg": ["cup"], "obj_train_data/b.c.jpg": ["can", "can"], "obj_train_data/empty.jpg": [],
    }  # fmt: skip


def test_photos_apart_from_cvat_labels_are_found_by_name(tmp_path: Path) -> None:
    photo(tmp_path / "photos/deep/a.jpg")
    photo(tmp_path / "photos/b.jpg")
    text(tmp_path / "in/obj_train_data/a.txt", OUTLINE)
    text(tmp_path / "in/obj_train_data/b.txt", BOX)
    text(tmp_path / "in/obj.names", "can\ncup\n")
    made, _ = imported(tmp_path / "in", images=tmp_path / "photos")[0], None
    assert made.annotations == 2
    assert made.images == 2


@pytest.mark.parametrize("layout", ["ultralytics", "roboflow", "darknet"])
def test_labels_without_a_photo_are_counted_and_never_taken_for_another(tmp_path: Path, layout: str) -> None:
    folder = tmp_path / "in"
    places = {
        "ultralytics": ("images/train", "labels/train", "labels/val"),
        "roboflow": ("train/images", "train/labels", "val/labels"),
        "darknet": ("one", "one", "two"),
    }[layout]
    photo(folder / places[0] / "a.jpg")
    photo(folder / places[0] / "lost.jpg")
    text(folder / places[1] / "a.txt", OUTLINE)
    text(folder / places[2] / "lost.txt", BOX + BOX)
    text(folder / places[2] / "words.txt", "these lines are not labels\n")
    text(folder / "data.yaml", "names: [can, cup]\n")
    made, found = imported(folder)
    assert {Path(name).name: classes for name, classes in found.items()} == {"a.jpg": ["cup"], "lost.jpg": []}
    assert dict(made.skipped) == {"shapes in label files without a photo": 2}
    assert "lost.txt" in "\n".join(made.warnings)
    with pytest.raises(TrashkitError, match=r"lost\.txt"):
        imported(folder, strict=True)
    (folder / places[1] / "a.txt").unlink()
    (folder / places[0] / "lost.jpg").unlink()
    with pytest.raises(TrashkitError, match=r"lost\.txt has no photo"):
        imported(folder)


def test_case_of_names_is_ignored_where_it_is_clear(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "images/DSC_1.JPG")
    photo(folder / "images/x.jpg")
    photo(folder / "images/X.JPG")
    text(folder / "labels/dsc_1.txt", OUTLINE)
    text(folder / "labels/x.txt", BOX)
    text(folder / "data.yaml", "names: [can, cup]\n")
    assert imported(folder)[1] == {"DSC_1.JPG": ["cup"], "X.JPG": [], "x.jpg": ["can"]}


def coco_part(folder: Path, name: str, first: int) -> None:
    value = {
        "images": [{"id": n, "file_name": f"{name}{n}.jpg", "width": 40, "height": 20} for n in (0, 1)],
        "categories": [{"id": 0, "name": "litter", "supercategory": "none"}, {"id": first, "name": "can"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": first, "segmentation": [[1, 1, 9, 1, 9, 9]]} for n in (0, 1)
        ],
    }
    text(folder / name / "_annotations.coco.json", json.dumps(value))
    for n in (0, 1):
        photo(folder / name / f"{name}{n}.jpg")


def test_roboflow_coco_folders_are_merged_with_their_part(tmp_path: Path) -> None:
    for name, first in (("train", 1), ("valid", 2), ("test", 1)):
        coco_part(tmp_path / "rf", name, first)
    made = import_annotations("coco", tmp_path / "rf", tmp_path / "out.json")
    coco = read(tmp_path / "out.json")
    files = {record["id"]: record["file_name"] for record in coco.records("images")}
    assert sorted(files.values()) == sorted(f"{p}/{p}{n}.jpg" for p in ("train", "valid", "test") for n in (0, 1))
    assert made.photos == tmp_path / "rf"
    assert made.per_class == {"litter": 0, "can": 6}
    assert sorted(files[record["image_id"]] for record in coco.records("annotations")) == sorted(files.values())
    made = import_annotations("coco", tmp_path / "rf/valid", tmp_path / "valid.json")
    assert (made.images, made.photos) == (2, tmp_path / "rf/valid")
    made = import_annotations("coco", tmp_path / "rf/valid/_annotations.coco.json", tmp_path / "file.json")
    assert (made.images, made.photos) == (2, tmp_path / "rf/valid")


@pytest.mark.parametrize("more", ["", " 0.9"])
def test_boxes_with_key_points_are_no_outlines(tmp_path: Path, more: str) -> None:
    photo(tmp_path / "in/images/a.jpg")
    text(tmp_path / "in/labels/a.txt", f"0 0.5 0.5 0.25 0.5 0.4 0.4 2 0.6 0.6 1{more}\n")
    text(tmp_path / "in/data.yaml", "kpt_shape: [2, 3]\nnames: [can]\n")
    made, found = imported(tmp_path / "in")
    assert found == {"a.jpg": ["can"]}
    assert read(tmp_path / "imported.json").record("annotations", 0)["bbox"] == [15, 5, 10, 10]
    assert any("key points" in line for line in made.notes)


def test_parts_of_a_folder_become_a_split(tmp_path: Path) -> None:
    from trashkit.split.files import read_split

    folder = roboflow(tmp_path / "rf")
    import_annotations("yolo", folder, tmp_path / "all.json")
    with pytest.raises(TrashkitError, match=r"2 images of .* are in a test folder"):
        read_split(folder, read_dataset(tmp_path / "all.json"))
    with pytest.raises(TrashkitError, match="no image is in a folder val") as caught:
        import_annotations("yolo", folder, tmp_path / "none.json", parts=["train", "val"])
    assert "valid" in (caught.value.hint or "")
    made = import_annotations("yolo", folder, tmp_path / "two.json", parts=["train", "Valid"])
    assert (made.images, made.annotations) == (4, 8)
    data = read_dataset(tmp_path / "two.json")
    (fold,) = read_split(folder, data).folds
    names = {image.id: image.file_name for image in data.images}
    assert {names[one].split("/")[0] for one in fold.train} == {"train"}
    assert {names[one].split("/")[0] for one in fold.val} == {"valid"}
    for name, first in (("train", 1), ("val", 1)):
        coco_part(tmp_path / "coco", name, first)
    import_annotations("coco", tmp_path / "coco", tmp_path / "coco.json")
    (fold,) = read_split(tmp_path / "coco", read_dataset(tmp_path / "coco.json")).folds
    assert (len(fold.train), len(fold.val)) == (2, 2)


@pytest.mark.parametrize("above", ["", "images/"])
def test_coco_folders_have_annotations_apart_from_photos(tmp_path: Path, above: str) -> None:
    for part in ("train", "val"):
        coco_part(tmp_path / "coco", part, 1)
        source = tmp_path / "coco" / part / "_annotations.coco.json"
        value = json.loads(source.read_text())
        for record in value["images"]:
            record["file_name"] = record["file_name"].replace(part, "p")
        source.unlink()
        text(tmp_path / f"coco/annotations/instances_{part}2017.json", json.dumps(value))
        for n in (0, 1):
            photo(tmp_path / f"coco/{above}{part}2017/p{n}.jpg")
            (tmp_path / f"coco/{part}/{part}{n}.jpg").unlink()
    text(tmp_path / "coco/annotations/captions_val2017.json", "{}")
    made = import_annotations("coco", tmp_path / "coco", tmp_path / "out.json")
    names = [record["file_name"] for record in read(tmp_path / "out.json").records("images")]
    assert names == [f"{above}{part}2017/p{n}.jpg" for part in ("train", "val") for n in (0, 1)]
    assert made.photos == tmp_path / "coco"
    assert made.annotations == 4
