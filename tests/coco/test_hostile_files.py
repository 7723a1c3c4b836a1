"""Annotation files and class maps of strangers: a result or one line, and nothing in between."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trashkit.audit import audit, fix
from trashkit.coco import read
from trashkit.coco.classes import class_map
from trashkit.edits.describe import describe
from trashkit.edits.diff import diff
from trashkit.errors import TrashkitError

CATEGORIES = [{"id": 1, "name": "Paper"}]


@pytest.mark.parametrize("levels", [102, 500, 950, 990, 100_000])
@pytest.mark.parametrize("text", ['{"images": [%s]}', '{"info": %s}', '{"images": [{"a": NaN}, %s]}', "%s"])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}"), ("[\n[", "]]")])
def test_deep_files(tmp_path: Path, levels: int, text: str, opening: str, closing: str) -> None:
    path = tmp_path / "deep.json"
    path.write_text(text % (opening * levels + "1" + closing * levels))
    with pytest.raises(TrashkitError) as error:
        read(path)
    assert str(path) in error.value.message and "\n" not in error.value.message


def test_what_can_be_read_can_be_audited(tmp_path: Path) -> None:
    path = tmp_path / "deep.json"
    deep = "[" * 99 + "]" * 99
    path.write_text(f'{{"images": [{deep}, {{"id": {deep[:-1]}]}}], "annotations": [{deep}], "categories": [{deep}]}}')
    assert audit(read(path), workers=1).findings


@pytest.mark.parametrize("digits", [25, 400, 4299, 4300, 5000, 100_000])
@pytest.mark.parametrize("field", ["id", "width", "area", "category_id", "image_id"])
def test_long_integers(tmp_path: Path, digits: int, field: str) -> None:
    row = {"id": 1, "image_id": 1, "category_id": 1, "width": 9, "height": 9, "file_name": "a", "area": 5.0}
    value = {"images": [{**row, field: "@"}], "annotations": [{**row, field: "@"}], "categories": CATEGORIES}
    path, other = tmp_path / "long.json", tmp_path / "other.json"
    path.write_text(json.dumps(value).replace('"@"', "9" * digits))
    other.write_text(json.dumps(value).replace('"@"', "1"))
    coco = read(path)
    assert audit(coco, workers=1).findings
    diff(coco, read(other))
    diff(read(other), coco)


def test_folders_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrashkitError, match="it is a pipe or a device"):
        read(tmp_path / "pipe")
    with pytest.raises(TrashkitError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(TrashkitError, match="does not exist"):
        read(tmp_path / "a\0b")
    for name in ("pipe", ".", "a\0b"):
        with pytest.raises(TrashkitError, match="or a readable file"):
            class_map(CATEGORIES, str(tmp_path / name))


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\xff", b"[" * 100_000, b'{"Paper": ' + b"[" * 150 + b"]" * 150 + b"}", b"[1]", b'{"Paper": 1}',
     b'{"Paper": ' + b"9" * 5000 + b"}"],
    ids=["empty", "null", "not UTF-8", "deep", "150 levels", "list", "number for a name", "5,000 digits"],
)  # fmt: skip
def test_hostile_class_maps(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "map.json"
    path.write_bytes(content)
    with pytest.raises(TrashkitError) as error:
        class_map(CATEGORIES, str(path))
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("digits", [25, 400, 4000])
@pytest.mark.parametrize("field", ["segmentation", "bbox", "area"])
def test_long_integers_in_shapes_are_fixed_and_shown(tmp_path: Path, digits: int, field: str) -> None:
    good = {"segmentation": [[1, 1, 9, 1, 9, 9, 1, 9]], "bbox": [1, 1, 8, 8], "area": 64.0}
    damaged = {"segmentation": [[1, 1, "@", 1, 9, 9, 1, 9]], "bbox": ["@", 1, 8, 8], "area": "@"}
    image = {"id": 1, "width": 20, "height": 20, "file_name": "a"}
    row = {"id": 1, "image_id": 1, "category_id": 1, **good, field: damaged[field]}
    value = {"images": [image], "annotations": [row, {**row, **good, "id": 2}], "categories": CATEGORIES}
    path = tmp_path / "long.json"
    path.write_text(json.dumps(value).replace('"@"', "9" * digits))
    result = fix(read(path), unsafe=True)
    assert result.edits and [line for edit in result.edits for line in describe(edit)]
    for edit in diff(read(path), result.coco).edits:
        assert describe(edit)
