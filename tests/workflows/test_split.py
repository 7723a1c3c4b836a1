"""Splits made and checked from files by library functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trashkit.errors import TrashkitError
from trashkit.split.files import write_split
from trashkit.workflows.split import SplitOptions, check_split_file, make_split_from_files, split_quality


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    """Thirty images of two classes in five folders."""
    images, records = [], []
    for n in range(30):
        images.append({"id": n, "file_name": f"set{n % 5}/{n}.jpg", "width": 40, "height": 30})
        ring = [2.0, 2.0, 12.0 + n % 7, 2.0, 12.0 + n % 7, 20.0]
        records.append({"id": n, "image_id": n, "category_id": n % 2, "segmentation": [ring], "area": 90.0})
    categories = [{"id": 0, "name": "Paper"}, {"id": 1, "name": "Metal"}]
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({"images": images, "annotations": records, "categories": categories}))
    return path


def test_a_split_is_made_and_checked_with_its_recorded_groups(annotations: Path, tmp_path: Path) -> None:
    options = SplitOptions(folds=2, groups=["folder"], trials=50_000, peers=True, peer_seeds=2)
    made = make_split_from_files(annotations, options)
    assert made.split.quality["groups"]["broken"] == 0
    assert made.split.quality["peers"].keys() == {peer.name for peer in made.peers}
    assert made.test is None
    path = tmp_path / "split.json"
    write_split(made.split, path)
    messages: list[str] = []
    done = check_split_file(path, annotations, log=messages.append)
    assert done.check.passed and done.grouped
    assert messages == ["groups: folder, as recorded in the split"]
    shown, measured = split_quality(path), split_quality(path, annotations)
    assert [fold["images"] for fold in shown["folds"]] == [fold["images"] for fold in measured["folds"]]


def test_warnings_and_mistakes_are_reported(annotations: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.txt"
    groups.write_text("set0/0.jpg,a\nother.jpg,a\n")
    warnings: list[str] = []
    options = SplitOptions(folds=2, groups=[f"file:{groups}"], trials=50_000)
    made = make_split_from_files(annotations, options, warn=warnings.append)
    assert any("other.jpg" in line for line in warnings)
    path = tmp_path / "split.json"
    write_split(made.split, path)
    groups.unlink()
    warnings.clear()
    assert not check_split_file(path, annotations, warn=warnings.append).grouped
    assert any(str(groups) in line for line in warnings)
    for wrong in (SplitOptions(test=annotations), SplitOptions(folds=2, holdout=0.2), SplitOptions(seconds=0)):
        with pytest.raises(TrashkitError):
            make_split_from_files(annotations, wrong)
