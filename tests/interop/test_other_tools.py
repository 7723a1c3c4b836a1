"""What other tools export in odd forms: tables of names, drafts, renamed photos, archives, and parts with one name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samples import dataset_of, value_of, write_photos

from trashkit.coco import read
from trashkit.errors import TrashkitError
from trashkit.interop.folders import PhotoNames, files_in, find_photo
from trashkit.interop.names.lists import read_names
from trashkit.interop.registry import export, import_annotations
from trashkit.workflows.project.init import init_project

SQUARE = [[2, 2, 10, 2, 10, 8, 2, 8]]


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.zeros((20, 40, 3), np.uint8))[1].tobytes())


def label_map(path: Path, *values: int) -> None:
    """A label map with a row of pixels of each value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((20, 40), np.uint8)
    for row, value in enumerate(values):
        pixels[2 * row] = value
    path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def coco(path: Path, *names: str) -> Path:
    value = {
        "images": [{"id": n, "file_name": name, "width": 40, "height": 20} for n, name in enumerate(names)],
        "categories": [{"id": 1, "name": "can"}],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "segmentation": SQUARE, "area": 48, "bbox": [2, 2, 8, 6]}
            for n, _ in enumerate(names)
        ],
    }
    return text(path, json.dumps(value, ensure_ascii=False))


def imported(kind: str, source: Path, **options: Any) -> tuple[Any, list[tuple[str, str]]]:
    """The result, and file name and class of each object."""
    out = source.parent / "imported.json"
    made = import_annotations(kind, source, out, overwrite=True, **options)
    found = read(out)
    files = {one["id"]: one["file_name"] for one in found.records("images")}
    names = {one["id"]: one["name"] for one in found.records("categories")}
    return made, [(files[one["image_id"]], names[one["category_id"]]) for one in found.records("annotations")]


def test_a_table_of_names_may_have_other_columns(tmp_path: Path) -> None:
    found = read_names(
        text(tmp_path / "a.txt", "Idx\tRatio\tStuff\tName\n2\t0.1\t1\tsky\n1\t0.2\t1\twall, partition\n")
    )
    assert (found.names, found.numbers) == (("wall, partition", "sky"), (1, 2))
    with pytest.raises(TrashkitError, match="header of a table"):
        read_names(text(tmp_path / "b.csv", "id,name\n1,can\n1,bag\n"))


def test_labels_that_differ_in_spaces_are_one_class(tmp_path: Path) -> None:
    labels = "".join(f"<box label='{label}' xtl='1' ytl='1' xbr='9' ybr='9'/>" for label in ("can", "can ", " can"))
    text(
        tmp_path / "s/annotations.xml",
        "<annotations><meta><labels><label><name>can </name></label></labels></meta>"
        f"<image id='0' name='a.jpg' width='40' height='20'>{labels}</image></annotations>",
    )
    assert len({name for _, name in imported("cvat", tmp_path / "s")[1]}) == 1


@pytest.mark.parametrize(("values", "cause"), [((255, 255, 3, 90, 170), "smoothed"), ((1, 9), "class 9")])
def test_numbers_without_a_name_are_explained(tmp_path: Path, values: tuple[int, ...], cause: str) -> None:
    photo(tmp_path / "images/a.jpg")
    label_map(tmp_path / "masks/a.png", *values, *values[:1] * 3)
    with pytest.raises(TrashkitError, match=cause):
        imported("masks", tmp_path, names="background,can")
    (tmp_path / "masks/a.png").rename(tmp_path / "masks/a.jpg")
    with pytest.raises(TrashkitError, match="JPEG changes"):
        imported("masks", tmp_path, names="background,can")


@pytest.mark.parametrize(
    ("photos", "labels", "name"),
    [
        ("images/a.jpg", "masks/a.jpg.png", "a.jpg"),
        ("train/images/a.jpg", "train/masks/a.png", "train/images/a.jpg"),
        ("train/images/a.png", "train/masks/a_mask.png", "train/images/a.png"),
    ],
)
def test_label_maps_are_found_in_parts_and_by_the_whole_name(
    tmp_path: Path, photos: str, labels: str, name: str
) -> None:
    for part in ("train", "val"):
        photo(tmp_path / "s" / photos.replace("train", part))
        label_map(tmp_path / "s" / labels.replace("train", part), 1)
    assert (name, "can") in imported("masks", tmp_path / "s", names="background,can")[1]


def test_regions_of_drafts_are_counted(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    value = {"points": [[10, 10], [50, 10], [50, 60]], "polygonlabels": ["can"]}
    region = {"type": "polygonlabels", "original_width": 40, "original_height": 20, "value": value}
    tasks = [
        {"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}], "drafts": [{"result": [region, region]}]}
    ]
    made, found = imported("label-studio", text(tmp_path / "p.json", json.dumps(tasks)))
    assert found == [("a.jpg", "can")]
    assert made.skipped == {"regions in drafts, which were not submitted": 2}
    single = text(tmp_path / "one.json", json.dumps(tasks[0]))  # as the API gives it
    assert imported("label-studio", single)[1] == found


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("/data/upload/1/3f2a1b9c-a_b_2.jpg", "a b (2).jpg"),
        ("/data/upload/1/3f2a1b9c-한글_병.jpg", "한글 병.jpg"),
        ("/data/local-files/?d=sub%5Ca.jpg", "sub/a.jpg"),
        ("what?.jpg", "what?.jpg"),
        ("/data/local-files/?d=what?.jpg", "what?.jpg"),
        ("https://example.org/a.jpg?size=1/2", "a.jpg"),
    ],
)
def test_photos_are_found_by_the_names_that_tools_give_them(tmp_path: Path, written: str, name: str) -> None:
    photo(tmp_path / name)
    known = PhotoNames(files_in(tmp_path, [".jpg"]))
    assert find_photo(written, tmp_path, known) == name


@pytest.mark.parametrize("kind", ["yolo", "labelme", "masks", "huggingface"])
def test_an_archive_in_place_of_a_folder_is_named(tmp_path: Path, kind: str) -> None:
    photo(tmp_path / "images/a.jpg")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04" + bytes(40))
    with pytest.raises(TrashkitError, match="ZIP archive") as caught:
        imported(kind, tmp_path / "a.zip", names="a,b")
    assert "give the folder" in str(caught.value.hint)


def test_yolo_without_label_files_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "images/a.jpg")
    text(tmp_path / "data.yaml", "names: [can]\n")
    with pytest.raises(TrashkitError, match=r"no label files of its photos, such as a\.txt"):
        imported("yolo", tmp_path)


def test_yolo_photos_may_be_named_like_lists(tmp_path: Path) -> None:
    for name in ("labels", "train", "README"):
        photo(tmp_path / f"s/images/{name}.jpg")
        text(tmp_path / f"s/labels/{name}.txt", "0 0.5 0.5 0.25 0.5\n")
    text(tmp_path / "s/train.txt", "images/train.jpg\n")
    text(tmp_path / "s/data.yaml", "names: [can]\n")
    assert [name for name, _ in imported("yolo", tmp_path / "s")[1]] == ["README.jpg", "labels.jpg", "train.jpg"]


def test_other_xml_and_datumaro_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="of Pascal VOC or LabelMe, not of CVAT"):
        imported("cvat", text(tmp_path / "xml/a.xml", "<annotation><object/></annotation>"))
    datumaro = text(tmp_path / "s/default.json", json.dumps({"info": {}, "categories": {}, "items": []}))
    with pytest.raises(TrashkitError, match="is a Datumaro file"):
        imported("coco", datumaro)
    photo(tmp_path / "s/a.jpg")
    with pytest.raises(TrashkitError, match=r"no labels that are known: .*is a Datumaro file"):
        init_project(tmp_path / "s")


def test_windows_paths_of_hugging_face_tables(tmp_path: Path) -> None:
    photo(tmp_path / "s/train/a.jpg")
    label_map(tmp_path / "s/train/m/a.png", 1)
    text(tmp_path / "s/classes.txt", "background\ncan\n")
    text(tmp_path / "s/train/metadata.csv", "\ufefffile_name,mask_file_name\r\na.jpg,m\\a.png\r\n")
    assert imported("huggingface", tmp_path / "s")[1] == [("train/a.jpg", "can")]


def test_a_copy_of_a_label_file_does_not_replace_it(tmp_path: Path) -> None:
    photo(tmp_path / "s/a.jpg")
    for file, label in (("a.json", "can"), ("a (1).json", "bag")):
        shape = {"label": label, "points": [[2, 2], [10, 2], [10, 8]], "shape_type": "polygon"}
        value = {"shapes": [shape], "imagePath": "a.jpg", "imageWidth": 40, "imageHeight": 20}
        text(tmp_path / "s" / file, json.dumps(value))
    made, found = imported("labelme", tmp_path / "s")
    assert found == [("a.jpg", "can")]
    assert sum(made.skipped.values()) == 1 and "a (1).json" in made.warnings[0]


def test_annotations_of_unknown_categories_are_counted(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", "a.jpg")
    text(path, path.read_text().replace('"category_id": 1', '"category_id": 7'))
    made = import_annotations("coco", path, tmp_path / "b.json")
    assert "its category is not in the file" in made.undrawn[0]


@pytest.mark.parametrize("photos", ["images/{}/x/a.jpg", "{}/x/a.jpg"])
def test_parts_of_coco_with_the_same_names_keep_their_photos(tmp_path: Path, photos: str) -> None:
    for part in ("Train", "Validation"):
        photo(tmp_path / "s" / photos.format(part))
        coco(tmp_path / f"s/annotations/instances_{part}.json", "x/a.jpg")
    names = [name for name, _ in imported("coco", tmp_path / "s")[1]]
    assert names == [photos.format(part) for part in ("Train", "Validation")]
    made = init_project(tmp_path / "s")
    files = [one["file_name"] for one in read(tmp_path / "s/train.json").records("images")]
    assert files == ["Train/x/a.jpg", "Validation/x/a.jpg"]
    assert all((tmp_path / "s" / made.values["images"] / name).is_file() for name in files)


def test_roboflow_parts_with_the_same_names_keep_their_photos(tmp_path: Path) -> None:
    for part in ("train", "valid", "test"):
        photo(tmp_path / f"p/{part}/0001.jpg")
        coco(tmp_path / f"p/{part}/_annotations.coco.json", "0001.jpg")
    made = init_project(tmp_path)
    assert made.values["images"] == "p"
    assert [one["file_name"] for one in read(tmp_path / "train.json").records("images")] == [
        "train/0001.jpg",
        "valid/0001.jpg",
    ]


@pytest.mark.parametrize("kind", ["voc", "masks", "cityscapes", "huggingface", "mmsegmentation", "ade20k"])
def test_init_says_how_to_import_label_maps(tmp_path: Path, kind: str) -> None:
    data = dataset_of(value_of([(20, 24)], [(0, 1, [[0, 0, 9, 0, 9, 9]], None)]))
    out = tmp_path / "out"
    export(kind, data, out, images=write_photos(tmp_path / "photos", data))
    with pytest.raises(TrashkitError, match="label maps") as caught:
        init_project(out)
    assert str(caught.value.hint).startswith(f"trashkit data import {kind} {out} --out {out}/train.json")
    import_annotations(kind, out, out / "train.json", restore=False)
    made = init_project(out)
    names = [one["file_name"] for one in read(out / "train.json").records("images")]
    assert all((out / made.values["images"] / name).is_file() for name in names)


@pytest.mark.parametrize("kind", ["masks", "labelme", "label-studio", "yolo", "cvat"])
@pytest.mark.parametrize("names", [["names:", "a"], ["item { id: 1", "b"], ["x ", " y"], ["id,name", "1,can"]])
def test_class_names_that_look_like_other_forms_come_back(tmp_path: Path, kind: str, names: list[str]) -> None:
    value = value_of([(20, 24)], [(0, 1, [[0, 0, 9, 0, 9, 9]], None), (0, 2, [[10, 10, 19, 10, 19, 19]], None)])
    value["categories"] = [{"id": n, "name": name} for n, name in enumerate(names, start=1)]
    data = dataset_of(value)
    export(kind, data, tmp_path / kind, images=write_photos(tmp_path / "photos", data))
    _, found = imported(kind, tmp_path / kind)
    assert sorted(name for _, name in found) == sorted(names)
