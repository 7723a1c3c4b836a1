"""Original names and ids are restored from the export's image list, or from the exported file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from samples import KINDS, NAMES, ONE_ANNOTATION, write_photos
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Coco, Dataset, read, read_dataset, write
from trashkit.edits.diff import diff
from trashkit.edits.match import match_annotations
from trashkit.errors import TrashkitError
from trashkit.interop.origins import IMAGE_LIST
from trashkit.interop.registry import export, import_annotations

FILES = ["a b#1.jpg", "sub dir/ünï&<x>.jpg", "sub dir/a b#1.png", "배치,1.JPG", "x.y.z.png", "train/a b#1.jpg"]


def original(folder: Path) -> tuple[Path, Dataset, Path]:
    """A file with unusual file names and ids, and its photos."""
    images = [
        {"id": 100 - 7 * n, "file_name": name, "width": 40 + n, "height": 30, "license": n}
        for n, name in enumerate(FILES)
    ]
    shapes = [[[2.0, 2.0, 20.0, 2.5, 19.0, 20.0, 3.0, 18.0]], [[24.0, 4.0, 36.0, 4.0, 36.0, 16.0, 24.0, 16.0]]]
    annotations: list[dict[str, Any]] = [
        {
            "id": 500 + 3 * (2 * n + k), "image_id": image["id"], "category_id": 30 + 10 * k, "segmentation": shape,
            "area": 300.0, "iscrowd": 0,
        }
        for n, image in enumerate(images[:-1])
        for k, shape in enumerate(shapes)
    ]  # fmt: skip
    categories = [{"id": 30 + 10 * n, "name": name} for n, name in enumerate(NAMES)]
    coco = Coco.of({"images": images, "annotations": annotations, "categories": categories})
    write(coco, folder / "ann.json")
    data = read_dataset(folder / "ann.json")
    return folder / "ann.json", data, write_photos(folder / "photos", data)


def names_and_ids(path: Path) -> set[tuple[str, int, int]]:
    return {(r["file_name"], r["id"], r["width"]) for r in read(path).records("images")}


@pytest.mark.parametrize("parts", [None, {"train": [100, 86, 79], "val": [93, 72, 65]}])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"coco"}))
def test_an_import_of_our_own_export_has_its_names_and_ids(
    kind: str, parts: dict[str, list[int]] | None, tmp_path: Path
) -> None:
    path, data, photos = original(tmp_path)
    export(kind, data, tmp_path / "out", images=photos, parts=parts)
    made = import_annotations(kind, tmp_path / "out", tmp_path / "back.json")
    assert names_and_ids(tmp_path / "back.json") == names_and_ids(path)
    assert any("6 images have their original names and ids" in line for line in made.notes)
    assert len(read_dataset(tmp_path / "back.json")) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_like_restores_all_ids_without_the_list(kind: str, tmp_path: Path) -> None:
    path, data, photos = original(tmp_path)
    export(kind, data, tmp_path / "out", images=photos)
    (tmp_path / "out" / IMAGE_LIST).unlink()
    source = tmp_path / "out/train.json" if kind == "coco" else tmp_path / "out"
    import_annotations(kind, source, tmp_path / "back.json", like=path)
    before, after = read(path), read(tmp_path / "back.json")
    assert after.records("images") == before.records("images")
    assert after.records("categories") == before.records("categories")
    assert sorted((r["id"], r["image_id"], r["category_id"]) for r in after.records("annotations")) == sorted(
        (r["id"], r["image_id"], r["category_id"]) for r in before.records("annotations")
    )
    if kind in ONE_ANNOTATION:
        assert diff(before, after).edits == []


@pytest.mark.parametrize("kind", ONE_ANNOTATION)
def test_parts_that_a_format_cannot_store_are_not_edits(kind: str, tmp_path: Path) -> None:
    path, _, photos = original(tmp_path)
    value = json.loads(path.read_text(encoding="utf-8"))
    value["annotations"][0]["segmentation"] = [[2, 2, 9, 2, 9, 9, 2, 9], [12, 12, 18, 12, 18, 18, 12, 18]]
    path.write_text(json.dumps(value), encoding="utf-8")
    export(kind, read_dataset(path), tmp_path / "out", images=photos)
    (tmp_path / "out" / IMAGE_LIST).unlink()
    import_annotations(kind, tmp_path / "out", tmp_path / "back.json", like=path)
    assert diff(read(path), read(tmp_path / "back.json")).edits == []


def test_annotations_outside_of_their_image_keep_their_ids(tmp_path: Path) -> None:
    """They cover no pixel, so only their boxes overlap."""
    path, _, photos = original(tmp_path)
    value = json.loads(path.read_text(encoding="utf-8"))
    for n in (0, 1):
        left = 70 + 40 * n
        value["annotations"][n] |= {"segmentation": [[left, 2, left + 20, 2, left + 20, 9]], "bbox": [left, 2, 20, 7]}
    path.write_text(json.dumps(value), encoding="utf-8")
    export("cvat", read_dataset(path), tmp_path / "out", images=photos)
    (tmp_path / "out" / IMAGE_LIST).unlink()
    import_annotations("cvat", tmp_path / "out", tmp_path / "back.json", like=path)
    assert diff(read(path), read(tmp_path / "back.json")).edits == []


def test_an_edit_made_in_cvat_becomes_that_one_edit(tmp_path: Path) -> None:
    """CVAT exports only an annotations.xml, without photos and image list."""
    path, data, photos = original(tmp_path)
    export("cvat", data, tmp_path / "out", images=photos)
    text = (tmp_path / "out/annotations.xml").read_text(encoding="utf-8")
    assert text.count('points="2.0,2.0;') == 5
    theirs = tmp_path / "theirs.xml"
    theirs.write_text(text.replace('label="General trash"', 'label="Plastic bag"', 1), encoding="utf-8")
    line = ["data", "import", "cvat", str(theirs), "--images", str(tmp_path / "out/images"), "--like", str(path)]
    done = CliRunner().invoke(app, [*line, "--out", str(tmp_path / "back.json")])
    assert done.exit_code == 0, done.output
    assert f"next: trashkit edits diff {path}" in done.output
    edits = diff(read(path), read(tmp_path / "back.json"), part=True).edits
    assert [(edit.kind, edit.block) for edit in edits] == [("relabel", "annotations")]
    assert edits[0].id == 500


def test_unknown_images_are_refused_by_name(tmp_path: Path) -> None:
    path, data, photos = original(tmp_path)
    export("labelme", data, tmp_path / "out", images=photos)
    value = json.loads(path.read_text(encoding="utf-8"))
    value["images"][4]["file_name"] = "other.png"
    (tmp_path / "other.json").write_text(json.dumps(value))
    with pytest.raises(TrashkitError, match=r"no image that was exported as x\.y\.z\.png"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json", like=tmp_path / "other.json")
    value["images"][4] |= {"file_name": "x.y.z.png", "width": 7}
    (tmp_path / "other.json").write_text(json.dumps(value))
    with pytest.raises(TrashkitError, match="another size"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json", like=tmp_path / "other.json")
    assert not (tmp_path / "back.json").exists()


def test_new_photos_keep_their_names_and_get_free_ids(tmp_path: Path) -> None:
    path, data, photos = original(tmp_path)
    export("labelme", data, tmp_path / "out", images=photos)
    for end in ("json", "jpg"):
        shutil.copy(tmp_path / f"out/train/a b#1.{end}", tmp_path / f"out/train/new.{end}")
    label = tmp_path / "out/train/new.json"
    label.write_text(label.read_text(encoding="utf-8").replace("a b#1.jpg", "new.jpg"), encoding="utf-8")
    made = import_annotations("labelme", tmp_path / "out", tmp_path / "back.json")
    found = names_and_ids(tmp_path / "back.json")
    assert names_and_ids(path) < found
    assert {name for name, _, _ in found - names_and_ids(path)} == {"train/new.jpg"}
    assert len({number for _, number, _ in found}) == 7
    assert any("1 are not in that list" in line for line in made.notes)
    read_dataset(tmp_path / "back.json")


def test_a_damaged_list_is_reported_with_its_line(tmp_path: Path) -> None:
    _, data, photos = original(tmp_path)
    export("labelme", data, tmp_path / "out", images=photos)
    (tmp_path / "out" / IMAGE_LIST).write_text('{"photo": 1}\n')
    with pytest.raises(TrashkitError, match=r"line 1: at photo: expected str, got int"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json")
    line = '{"photo": "a.jpg", "file_name": "%s.jpg", "id": 1, "width": 40, "height": 30}\n'
    (tmp_path / "out" / IMAGE_LIST).write_text(line % "a" + line % "b")
    with pytest.raises(TrashkitError, match=r"line 2: an earlier line has the id 1, too"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json")


@pytest.mark.parametrize(
    ("block", "change"),
    [
        ("annotations", 5),
        ("annotations", {"id": {}}),
        ("annotations", {"image_id": [[1]]}),
        ("categories", {"name": []}),
        ("categories", 5),
    ],
)
def test_a_damaged_original_is_refused_with_the_row(block: str, change: Any, tmp_path: Path) -> None:
    path, _, _ = original(tmp_path)
    value = json.loads(path.read_text(encoding="utf-8"))
    value[block][0] = {**value[block][0], **change} if isinstance(change, dict) else change
    (tmp_path / "like.json").write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(TrashkitError, match=rf"like\.json: {block}\[0\] "):
        import_annotations("coco", path, tmp_path / "back.json", like=tmp_path / "like.json")
    assert not (tmp_path / "back.json").exists()


@pytest.mark.parametrize("degrees", [8, 45, 90, 120])
def test_boxes_turned_elsewhere_are_reshapes(degrees: int, tmp_path: Path) -> None:
    """Long boxes hardly overlap with themselves once they are turned."""
    value: dict[str, Any] = {
        "images": [{"id": 4, "file_name": "a.jpg", "width": 90, "height": 80}],
        "categories": [{"id": 7, "name": "straw"}, {"id": 8, "name": "can"}],
        "annotations": [
            {
                "id": 50 + n, "image_id": 4, "category_id": 7 + n, "iscrowd": 0, "area": 600.0, "bbox": [x, y, 60, 10],
                "segmentation": [[x, y, x + 60, y, x + 60, y + 10, x, y + 10]],
            }
            for n, (x, y) in enumerate([(10, 35), (25, 60)])
        ],
    }  # fmt: skip
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(value))
    lines = "".join(
        f'<box label="{name}" xtl="{x}" ytl="{y}" xbr="{x + 60}" ybr="{y + 10}" {turn}/>'
        for name, x, y, turn in (("straw", 10, 35, f'rotation="{degrees}"'), ("can", 25, 60, ""))
    )
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image name="a.jpg" width="90" height="80">{lines}</image></annotations>'
    )
    import_annotations("cvat", tmp_path / "annotations.xml", tmp_path / "back.json", like=path)
    found = diff(read(path), read(tmp_path / "back.json"), part=True).edits
    assert [(edit.kind, edit.id) for edit in found] == [("reshape", 50)]


def test_turned_shapes_match_only_where_no_others_could_be_meant() -> None:
    def shape(box: list[float], category: int = 1) -> dict[str, Any]:
        x, y, w, h = box
        ring = [x, y, x + w, y, x + w, y + h, x, y + h]
        own = {"image_id": 1, "category_id": category, "bbox": box, "area": w * h}
        return {**own, "segmentation": [ring]}

    def pairs(old: list[Any], new: list[Any]) -> dict[int, int]:
        return match_annotations(old, new, {1: (90, 90)}, trust=False)[0]

    flat, upright = shape([10, 40, 60, 10]), shape([35, 15, 10, 60])
    assert pairs([flat], [upright]) == {0: 0}
    assert pairs([flat], [upright, shape([35, 16, 10, 60])]) == {}
    assert pairs([flat, shape([10, 42, 60, 10])], [upright]) == {}
    assert pairs([flat], [shape([35, 15, 10, 60], category=2)]) == {}
    assert pairs([flat], [shape([35, 15, 20, 60])]) == {}
    assert pairs([flat], [shape([50, 15, 10, 60])]) == {}
    assert pairs([{**flat, "area": None}], [upright]) == {}
    assert pairs([{**flat, "bbox": "x"}], [upright]) == {}


def test_an_original_with_damaged_shapes_still_gives_names_and_ids(tmp_path: Path) -> None:
    path, _, _ = original(tmp_path)
    value = json.loads(path.read_text(encoding="utf-8"))
    for row, shape in enumerate([[["2", 2, 20, 2.5, 19, 20]], [2, 2, 20, 2.5], [[[2, 2], [20, 2]]], "no", None]):
        value["annotations"][row]["segmentation"] = shape
    (tmp_path / "like.json").write_text(json.dumps(value), encoding="utf-8")
    import_annotations("coco", path, tmp_path / "back.json", like=tmp_path / "like.json")
    assert names_and_ids(tmp_path / "back.json") == names_and_ids(path)
