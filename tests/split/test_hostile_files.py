"""Splits and groups of strangers: a result or one line, and nothing in between."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import Coco, Dataset, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.split.files import load_split, open_split
from trashkit.split.groups import group_file_warnings
from trashkit.workflows.split import check_split_file, split_quality

FIXTURE = Path(__file__).parents[1] / "fixtures/v0_1/split.json"
DIGITS = "9" * 5000


@pytest.fixture
def data() -> Dataset:
    images = [{"id": n, "file_name": f"p/{n}.jpg", "width": 20, "height": 20} for n in range(1, 5)]
    shape = [[1, 1, 9, 1, 9, 9]]
    annotations = [{"id": n, "image_id": n, "category_id": 1, "segmentation": shape} for n in range(1, 5)]
    return read_dataset(
        Coco.of({"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "Paper"}]})
    )


FILES = {
    "empty": b"",
    "null bytes": b"\0\0\0",
    "not UTF-8": b"\xff\xff",
    "deep": b"[" * 100_000,
    "150 levels": b'{"a": ' + b"[" * 150 + b"]" * 150 + b"}",
    "5,000 digits": b'{"1": ' + DIGITS.encode() + b"}",
    "list": b"[1]",
    "half": b'{"a": "b',
}


@pytest.mark.parametrize("name", FILES)
def test_hostile_splits(tmp_path: Path, name: str) -> None:
    path = tmp_path / "split.json"
    path.write_bytes(FILES[name])
    with pytest.raises(TrashkitError) as error:
        load_split(path)
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("name", [name for name in FILES if name not in ("empty", "list")])
def test_hostile_groups(tmp_path: Path, data: Dataset, name: str) -> None:
    path = tmp_path / "groups.json"
    path.write_bytes(FILES[name])
    with pytest.raises(TrashkitError) as error:
        group_file_warnings(data, f"file:{path}")
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("group", [True, None, 1.5, [], {}])
def test_groups_of_wrong_types(tmp_path: Path, data: Dataset, group: Any) -> None:
    path = tmp_path / "groups.json"
    path.write_text(json.dumps({"p/1.jpg": group}))
    with pytest.raises(TrashkitError, match="not a string or integer"):
        group_file_warnings(data, f"file:{path}")


@pytest.mark.parametrize("suffix", ["csv", "txt"])
@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"\xff", b'"' * 5, b"image_id,fold\n" + b"x" * 200_000, b"image_id,fold\n1", b"\xef\xbb\xbf,"],
    ids=["empty", "null byte", "not UTF-8", "quotes", "long field", "short row", "byte order mark"],
)
def test_hostile_splits_of_other_tools(tmp_path: Path, data: Dataset, suffix: str, content: bytes) -> None:
    path = tmp_path / f"folds.{suffix}"
    path.write_bytes(content)
    with pytest.raises(TrashkitError) as error:
        open_split(path, data)
    assert str(path) in error.value.message and "\n" not in error.value.message


@pytest.mark.parametrize("names", [[DIGITS, "1"], ["²", "1"], ["0010", "9"]])
def test_folds_of_any_name_are_ordered(tmp_path: Path, data: Dataset, names: list[str]) -> None:
    path = tmp_path / "folds.csv"
    path.write_text("image_id,fold\n" + "".join(f"{n},{names[n % 2]}\n" for n in range(1, 5)), encoding="utf-8")
    assert len(open_split(path, data).folds) == 2


def test_folders_and_pipes(tmp_path: Path, data: Dataset) -> None:
    for name in ("pipe.json", "pipe.csv", "pipe.txt"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(TrashkitError, match="it is a pipe or a device"):
            open_split(tmp_path / name, data)
        with pytest.raises(TrashkitError, match="it is a pipe or a device"):
            group_file_warnings(data, f"file:{tmp_path / name}")
    with pytest.raises(TrashkitError, match="it is a folder"):
        group_file_warnings(data, f"file:{tmp_path}")


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (["folds"], {}),
        (["folds", 0], []),
        (["folds", 0, "images"], -1),
        (["folds", 0, "images"], 2**70),
        (["folds", 0, "expected_miou_sd"], "x"),
        (["groups"], 3),
        (["warnings"], 3),
        (["explained"], [1]),
        (["criteria"], []),
        (["criteria", "instances"], 5),
        (["criteria", "instances", "worst"], [1]),
        (["per_class"], []),
        (["per_class", "Paper"], {}),
        (["per_class", "Paper", "support"], [1]),
        (["per_class", "Paper", "instances_off"], 0),
        (["per_class", "Paper", "pixel_share"], [10**400] * 6),
        (["repeats"], {"size": 1}),
        (["test_likeness"], {"words": "x", "auc": [], "auc_sd": 0.1}),
        (["test_likeness"], {"words": "x", "auc": 0.5, "auc_sd": 0.1, "most_foreign_test": {}}),
    ],
)
def test_damaged_quality_reports(tmp_path: Path, place: list[Any], value: Any) -> None:
    split = json.loads(FIXTURE.read_bytes())
    inside = split["quality"]
    for key in place[:-1]:
        inside = inside[key]
    inside[place[-1]] = value
    path = tmp_path / "split.json"
    path.write_text(json.dumps(split))
    with pytest.raises(TrashkitError, match="damaged quality report"):
        split_quality(path)
    assert split_quality(FIXTURE)


@pytest.mark.parametrize(
    "source",
    [
        {"notes": 5, "form": "x"},
        {"settings": {"groups": 7, "images": 3}},
        {"settings": 1},
        {"settings": {"groups": ["file:" + DIGITS, "file:\0"], "near_duplicates": True, "images": DIGITS}},
    ],
)
def test_what_a_split_says_about_itself_may_be_anything(tmp_path: Path, data: Dataset, source: Any) -> None:
    folds = [{"train": [1, 2], "val": [3, 4]}, {"train": [3, 4], "val": [1, 2]}]
    (tmp_path / "split.json").write_text(json.dumps({"folds": folds, "source": source}))
    write(data.coco, tmp_path / "data.json")
    assert check_split_file(tmp_path / "split.json", tmp_path / "data.json").split.folds
