"""Names and ids of before the export: restored by the export's own list, or from the file that was exported."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from samples import KINDS, NAMES, write_photos
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Coco, Dataset, read, read_dataset, write
from trashkit.coco.edit_diff import diff
from trashkit.errors import TrashkitError
from trashkit.interop.formats import export, import_annotations
from trashkit.interop.origins import LIST

FILES = ["a b#1.jpg", "sub dir/ünï&<x>.jpg", "sub dir/a b#1.png", "배치,1.JPG", "x.y.z.png", "train/a b#1.jpg"]
SHAPED = ["labelme", "cvat", "yolo", "label-studio"]


def original(folder: Path) -> tuple[Path, Dataset, Path]:
    """A file with odd names and ids, its photos, and annotations whose ids are no plain count."""
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
    assert any("6 images have the names and ids of before" in line for line in made.notes)
    assert len(read_dataset(tmp_path / "back.json")) == 6


@pytest.mark.parametrize("kind", KINDS)
def test_like_brings_all_ids_back_without_the_list(kind: str, tmp_path: Path) -> None:
    path, data, photos = original(tmp_path)
    export(kind, data, tmp_path / "out", images=photos)
    (tmp_path / "out" / LIST).unlink()
    source = tmp_path / "out/train.json" if kind == "coco" else tmp_path / "out"
    import_annotations(kind, source, tmp_path / "back.json", like=path)
    before, after = read(path), read(tmp_path / "back.json")
    assert after.records("images") == before.records("images")
    assert after.records("categories") == before.records("categories")
    assert sorted((r["id"], r["image_id"], r["category_id"]) for r in after.records("annotations")) == sorted(
        (r["id"], r["image_id"], r["category_id"]) for r in before.records("annotations")
    )
    if kind in SHAPED:
        assert diff(before, after).edits == []


def test_an_edit_made_in_cvat_becomes_that_one_edit(tmp_path: Path) -> None:
    """CVAT gives back an annotations.xml alone: the photos are ours, and the list is not there."""
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


def test_images_that_are_not_the_originals_are_refused_by_name(tmp_path: Path) -> None:
    path, data, photos = original(tmp_path)
    export("labelme", data, tmp_path / "out", images=photos)
    value = json.loads(path.read_text(encoding="utf-8"))
    value["images"][4]["file_name"] = "other.png"
    (tmp_path / "other.json").write_text(json.dumps(value))
    with pytest.raises(TrashkitError, match=r"no image that became x\.y\.z\.png"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json", like=tmp_path / "other.json")
    value["images"][4] |= {"file_name": "x.y.z.png", "width": 7}
    (tmp_path / "other.json").write_text(json.dumps(value))
    with pytest.raises(TrashkitError, match="another size"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json", like=tmp_path / "other.json")
    assert not (tmp_path / "back.json").exists()


def test_photos_that_came_later_keep_their_names_and_take_free_ids(tmp_path: Path) -> None:
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


def test_a_damaged_list_is_told_by_line(tmp_path: Path) -> None:
    _, data, photos = original(tmp_path)
    export("labelme", data, tmp_path / "out", images=photos)
    (tmp_path / "out" / LIST).write_text('{"photo": 1}\n')
    with pytest.raises(TrashkitError, match="line 1 is damaged"):
        import_annotations("labelme", tmp_path / "out", tmp_path / "back.json")
