"""An image that does not fit its photo, or a damaged file, is skipped with its shapes; the others are imported."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trashkit.errors import TrashkitError
from trashkit.interop.registry import ImportResult, import_annotations

RING = [[10, 10], [40, 10], [40, 30]]


def photo(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def label_map(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((height, width), np.uint8)
    pixels[10:20, 10:30] = 1
    Image.fromarray(pixels).save(path)


def cvat(folder: Path) -> Path:
    images = "".join(
        f'<image id="{n}" name="{name}.jpg" width="60" height="40">'
        '<polygon label="can" points="10,10;40,10;40,30" z_order="0"/></image>'
        for n, name in enumerate("ab")
    )
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{images}</annotations>")
    return folder / "annotations.xml"


def labelme(folder: Path) -> Path:
    for name in "ab":
        shape = {"label": "can", "points": RING, "shape_type": "polygon"}
        value = {"imagePath": f"{name}.jpg", "imageWidth": 60, "imageHeight": 40, "shapes": [shape]}
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder


def task(name: str, **more: Any) -> dict[str, Any]:
    points = [[x / 60 * 100, y / 40 * 100] for x, y in RING]
    value = {"points": points, "polygonlabels": ["can"]}
    region = {"id": "r", "type": "polygonlabels", "value": value, "original_width": 60, "original_height": 40}
    return {"data": {"image": f"{name}.jpg"}, "annotations": [{"result": [region]}], **more}


def label_studio(folder: Path) -> Path:
    (folder / "tasks.json").write_text(json.dumps([task("a"), task("b")]))
    return folder / "tasks.json"


def yolo(folder: Path) -> Path:
    (folder / "classes.txt").write_text("can\n")
    for name in "ab":
        (folder / f"{name}.txt").write_text("0 .2 .3 .6 .3 .6 .7\n")
    return folder


def masks(folder: Path) -> Path:
    (folder / "classes.txt").write_text("Background\ncan\n")
    for name in "ab":
        label_map(folder / f"{name}.png")
    return folder


def huggingface(folder: Path) -> Path:
    masks(folder)
    rows = [json.dumps({"file_name": f"{name}.jpg", "label_file_name": f"{name}.png"}) for name in "ab"]
    (folder / "metadata.jsonl").write_text("\n".join(rows))
    return folder


FORMATS: dict[str, Callable[[Path], Path]] = {
    "cvat": cvat, "labelme": labelme, "label-studio": label_studio, "masks": masks, "huggingface": huggingface
}  # fmt: skip


def imported(kind: str, folder: Path, source: Path, **options: Any) -> tuple[ImportResult, dict[str, Any]]:
    out = folder.parent / "out.json"
    made = import_annotations(kind, source, out, overwrite=True, **options)
    return made, json.loads(out.read_text())


@pytest.mark.parametrize("kind", FORMATS)
def test_an_image_that_does_not_fit_its_photo_is_skipped(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    photo(folder / "b.jpg", 33, 44)
    source = FORMATS[kind](folder)
    made, value = imported(kind, folder, source)
    assert [image["file_name"] for image in value["images"]] == ["a.jpg"]
    assert made.skipped == {"shapes of images that cannot be read": 1}
    assert "60x40" in made.warnings[0]
    with pytest.raises(TrashkitError, match="60x40"):
        imported(kind, folder, source, strict=True)
    photo(folder / "a.jpg", 33, 44)
    with pytest.raises(TrashkitError, match=r"there are no images to import: 2 shapes .*60x40"):
        imported(kind, folder, source)


def test_a_photo_that_cannot_be_read_costs_yolo_only_its_own_shapes(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    (folder / "b.jpg").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"
    )
    made, _ = imported("yolo", folder, yolo(folder))
    assert (made.annotations, sum(made.skipped.values())) == (1, 1)
    assert "Git LFS pointer" in made.warnings[0]


@pytest.mark.parametrize("kind", ["masks", "huggingface"])
def test_a_damaged_label_map_is_skipped(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    photo(folder / "b.jpg")
    source = FORMATS[kind](folder)
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) - 30])
    made, value = imported(kind, folder, source)
    assert (len(value["images"]), made.skipped) == (1, {"label maps that are damaged": 1})


def test_damaged_and_other_json_files_beside_those_of_labelme(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    photo(folder / "b.jpg")
    labelme(folder)
    (folder / "b.json").write_text('{"shapes": [')
    (folder / "settings.json").write_text('{"theme": "dark"}')
    made, _ = imported("labelme", folder, folder)
    assert (made.annotations, made.skipped) == (1, {"label files that cannot be read": 1})
    assert any("not of labelme" in line and "settings.json" in line for line in made.notes)


def test_two_tasks_of_one_photo(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    photo(folder / "a.jpg")
    (folder / "tasks.json").write_text(json.dumps([task("a"), task("a"), {**task("a"), "annotations": []}]))
    made, _ = imported("label-studio", folder, folder / "tasks.json")
    assert (made.annotations, sum(made.skipped.values())) == (1, 1)
    assert "two images are named a.jpg" in made.warnings[0]


def test_coco_keeps_what_cannot_be_drawn_and_warns(tmp_path: Path) -> None:
    rows = [
        {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[10, 10, 40, 10, 40, 30]]},
        {"id": 2, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]},
        {"id": 3, "image_id": 1, "category_id": 1, "segmentation": [[1, 2, 3]]},
        {"id": 4, "image_id": 9, "category_id": 1, "segmentation": [[10, 10, 40, 10, 40, 30]]},
    ]
    images = [{"id": 1, "file_name": "a.jpg", "width": 60, "height": 40}]
    source = tmp_path / "in.json"
    source.write_text(json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "can"}]}))
    made, value = imported("coco", source, source)
    assert value["annotations"] == rows
    assert made.undrawn == (
        "3 annotations that cannot be drawn are kept as they are, first annotations[1]: it has no segmentation",
    )


# ------------------------------------------------------------ layouts


def test_label_maps_in_masks_with_a_suffix(tmp_path: Path) -> None:
    photo(tmp_path / "in/images/a.jpg")
    photo(tmp_path / "in/images/b_mask.jpg")
    label_map(tmp_path / "in/masks/a_mask.png")
    label_map(tmp_path / "in/masks/b_mask.png")
    (tmp_path / "in/classes.txt").write_text("Background\ncan\n")
    made, value = imported("masks", tmp_path / "in", tmp_path / "in")
    assert [image["file_name"] for image in value["images"]] == ["a.jpg", "b_mask.jpg"]
    assert made.annotations == 2


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_data_sets_in_a_folder_of_their_own(depth: int, tmp_path: Path) -> None:
    inner = tmp_path.joinpath("in", *["unpacked"] * depth)
    photo(inner / "train/images/a.jpg")
    (inner / "train/labels").mkdir(parents=True)
    (inner / "train/labels/a.txt").write_text("0 .2 .3 .6 .3 .6 .7\n")
    (inner / "data.yaml").write_text("names: [can]\n")
    made, value = imported("yolo", tmp_path / "in", tmp_path / "in")
    assert [image["file_name"] for image in value["images"]] == ["train/a.jpg"] or made.photos == inner
    assert made.annotations == 1
    (tmp_path / "in/other").mkdir()
    (tmp_path / "in/other/data.yaml").write_text("names: [can]\n")
    with pytest.raises(TrashkitError, match=r"no data\.yaml"):
        imported("yolo", tmp_path / "in", tmp_path / "in")


def test_voc_in_a_folder_of_its_own_and_with_boxes_only(tmp_path: Path) -> None:
    inner = tmp_path / "in/VOCdevkit/VOC2012"
    photo(inner / "JPEGImages/a.jpg")
    label_map(inner / "SegmentationClass/a.png")
    assert imported("voc", tmp_path / "in", tmp_path / "in")[0].annotations == 1
    boxes = tmp_path / "boxes"
    photo(boxes / "JPEGImages/a.jpg")
    (boxes / "Annotations").mkdir()
    (boxes / "Annotations/a.xml").write_text("<annotation/>")
    with pytest.raises(TrashkitError, match="has only boxes"):
        imported("voc", boxes, boxes)


def test_metadata_of_hugging_face_as_csv(tmp_path: Path) -> None:
    photo(tmp_path / "in/train/a.jpg")
    label_map(tmp_path / "in/train/a_label.png")
    (tmp_path / "in/classes.txt").write_text("Background\ncan\n")
    (tmp_path / "in/train/metadata.csv").write_text("file_name,label_file_name,note\r\na.jpg,a_label.png,\r\n")
    made, value = imported("huggingface", tmp_path / "in", tmp_path / "in")
    assert (made.annotations, value["images"][0]["file_name"]) == (1, "train/a.jpg")


# ------------------------------------------------------------ messages


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        pytest.param("cvat", '{"images": []}', "it is JSON, not XML", id="json-for-cvat"),
        pytest.param("cvat", "a,b\n1,2\n", "it is text without XML", id="text-for-cvat"),
        pytest.param("cvat", "", "it is empty", id="nothing-for-cvat"),
        pytest.param("label-studio", '{"images": [], "annotations": []}', "is a COCO file", id="coco"),
        pytest.param("label-studio", '{"a1": {"filename": "a", "regions": []}}', "VGG Image Annotator", id="via"),
        pytest.param("label-studio", '{"shapes": [], "imagePath": "a"}', "is a labelme file", id="labelme"),
        pytest.param("labelme", "{}", "is a file, not a folder", id="file-for-folder"),
    ],
)
def test_the_wrong_file_is_named(kind: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "in.file").write_text(text)
    with pytest.raises(TrashkitError, match=said):
        imported(kind, tmp_path / "in.file", tmp_path / "in.file")
