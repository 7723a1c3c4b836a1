"""JSON files that are no COCO data set with outlines are named as what they are."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions import open_predictions

IMAGES = [{"id": n, "file_name": f"사진{n}.jpg", "width": 40, "height": 30} for n in (1, 2)]
CATEGORIES = [{"id": 1, "name": "유리병"}, {"id": 2, "name": "캔"}]
RING = [[4, 4, 20, 4, 20, 18, 4, 18]]


def annotation(**fields: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, **fields}


def coco(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {"images": IMAGES, "annotations": list(annotations), "categories": CATEGORIES}


OTHERS = {
    "panoptic": (coco({"image_id": 1, "segments_info": [], "file_name": "1.png"}), "panoptic"),
    "captions": (coco({"id": 3, "image_id": 1, "caption": "두 병"}), "captions"),
    "captions without categories": ({"images": IMAGES, "annotations": [{"image_id": 1, "caption": "x"}]}, "captions"),
    "keypoints": (coco(annotation(keypoints=[1, 2, 2], num_keypoints=1, bbox=[1, 1, 5, 5])), "keypoints"),
    "results": ([{"image_id": 1, "category_id": 1, "segmentation": RING, "score": 0.4}], "COCO results"),
    "results of boxes": ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.4}], "boxes only"),
    "results of keypoints": ([{"image_id": 1, "category_id": 1, "keypoints": [1, 1, 2], "score": 1}], "keypoints"),
    "results of captions": ([{"image_id": 1, "caption": "캔"}], "captions"),
    "panoptic list": ([{"image_id": 1, "segments_info": []}], "panoptic"),
    "label studio": ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "Label Studio"),
    "labelme": ({"shapes": [], "imagePath": "a.jpg", "imageHeight": 3}, "labelme"),
    "split": ({"folds": [], "seed": 0, "quality": {}, "source": {}}, "split"),
    "server": ({"message": "Not Found", "documentation_url": "x"}, "error message of a server"),
    "via": ({"a.jpg12": {"filename": "a.jpg", "size": 12, "regions": []}}, "VGG Image Annotator"),
    "supervisely": ({"description": "", "tags": [], "size": {}, "objects": []}, "Supervisely"),
    "list": ([1, 2], "holds a list"),
    "value": (3, "holds the value 3"),
    "null": (None, "holds the value null"),
}


def written(tmp_path: Path, value: Any, name: str = "given.json") -> Path:
    path = tmp_path / name
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", OTHERS)
def test_other_files_are_named(name: str, tmp_path: Path) -> None:
    value, cause = OTHERS[name]
    path = written(tmp_path, value)
    for reader in (read, read_dataset):
        with pytest.raises(TrashkitError, match=cause) as found:
            reader(path)
        assert found.value.hint
        assert "{path}" not in found.value.hint
        assert "trashkit audit" not in found.value.hint


@pytest.mark.parametrize(
    "value",
    [
        coco(annotation(keypoints=[1, 2, 2], segmentation=RING)),
        coco(annotation(bbox=[1, 1, 5, 5]), annotation(id=2, caption="x")),
        coco({"image_id": 1, "segments_info": []}, annotation(segmentation=RING)),
        {"images": IMAGES, "message": "none"},
        {},
        coco(),
    ],
)
def test_damaged_coco_files_are_read(value: dict[str, Any], tmp_path: Path) -> None:
    assert read(written(tmp_path, value)).blocks() is not None


@pytest.mark.parametrize("outline", [None, [], {}])
def test_boxes_only(outline: Any, tmp_path: Path) -> None:
    path = written(tmp_path, coco(annotation(bbox=[1, 1, 5, 5], segmentation=outline)))
    assert read(path).count("annotations") == 1
    with pytest.raises(TrashkitError, match=r"boxes only \(bbox\) and no outlines") as found:
        read_dataset(path)
    assert "trashkit" not in found.value.hint
    assert len(read_dataset(path, labels=False)) == 2


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"<html><title>Sign in</title>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS"),
        (b'{"id": 1}\n{"id": 2}\n', "JSON Lines"),
        (json.dumps(coco(), ensure_ascii=False).replace("사진", "").encode("cp949"), '"유리병" in CP949'),
        (json.dumps(coco(), ensure_ascii=False).encode("utf-16")[:-1], "not valid UTF-16"),
    ],
)
def test_bytes_are_named(data: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(data)
    with pytest.raises(TrashkitError, match=cause):
        read(path)


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_unicode_is_read(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_bytes(json.dumps(coco(), ensure_ascii=False).encode(codec))
    assert read(path).record("categories", 0)["name"] == "유리병"


RESULT = {"image_id": 1, "category_id": 1, "segmentation": RING, "score": 0.5}


@pytest.mark.parametrize(
    ("results", "cause"),
    [
        ([{"image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5], "score": 0.4}], "boxes only"),
        ([{"image_id": 1, "caption": "캔"}], "captions"),
        ([{**RESULT, "image_id": 7, "score": 0.9}, RESULT], "result 0: image_id 7 does not exist"),
        ([{**RESULT, "score": 0.9}, {**RESULT, "segmentation": []}], "result 1: segmentation is empty"),
    ],
)
def test_results_are_named_and_lead_to_no_dead_end(results: list[Any], cause: str, tmp_path: Path) -> None:
    truth = read_dataset(written(tmp_path, coco(annotation(segmentation=RING)), "truth.json"))
    with pytest.raises(TrashkitError, match=cause) as found:
        open_predictions(written(tmp_path, results), truth)
    assert "trashkit audit" not in found.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> b\n", "conflicts of a merge", id="merge-conflict"),
        pytest.param("{'images': [], 'annotations': []}", "Python value", id="python-value"),
        pytest.param("// by me\n{}", "begins with a comment", id="comment"),
        pytest.param("names:\n  - can\n", "it is YAML", id="yaml"),
        pytest.param("image,x,y\na.jpg,1,2\n", "it is CSV", id="csv"),
        pytest.param('{"images": [', "is not JSON: it is truncated", id="truncated"),
        pytest.param('{"images": [{"file_name": "a.j', "is not JSON: it is truncated", id="truncated-text"),
        pytest.param('{"images": [],}', "a comma before a closing bracket at line 1", id="trailing-comma"),
        pytest.param('{"images": [1, ]}', "a comma before a closing bracket at line 1", id="trailing-comma-in-list"),
    ],
)
def test_text_that_is_not_json_is_named(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "given.json"
    path.write_text(text)
    with pytest.raises(TrashkitError, match=said):
        read(path)
