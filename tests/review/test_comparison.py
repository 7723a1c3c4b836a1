"""Comparisons with other versions, predictions and submissions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trashkit.coco import read_dataset, write
from trashkit.coco.dataset import Coco
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import open_predictions
from trashkit.predictions.store import create_store
from trashkit.raster.masks import dataset_label_map
from trashkit.review.comparison import comparison_of
from trashkit.review.session import ReviewSession


def square(x: float, side: float = 20) -> list[list[float]]:
    return [[x, 10, x + side, 10, x + side, 10 + side, x, 10 + side]]


def version(path: Path, moved: dict[int, float]) -> Path:
    """Four images of 64 pixels with one square each; `moved` shifts some."""
    images = [{"id": n + 1, "width": 64, "height": 64, "file_name": f"{n}.jpg"} for n in range(4)]
    annotations = [
        {
            "id": n + 1,
            "image_id": n + 1,
            "category_id": 1 + n % 2,
            "segmentation": square(10 + moved.get(n, 0)),
            "area": 400.0,
            "bbox": [10 + moved.get(n, 0), 10, 20, 20],
            "iscrowd": 0,
        }
        for n in range(4)
    ]
    categories = [{"id": 1, "name": "Glass"}, {"id": 2, "name": "Plastic bag"}]
    write(Coco.of({"images": images, "annotations": annotations, "categories": categories}), path)
    return path


@pytest.fixture
def opened(tmp_path: Path, home: Path) -> Any:
    from trashkit.coco import read
    from trashkit.review.fiftyone_app.app import open_review

    coco = read(version(tmp_path / "new.json", {}))
    session = ReviewSession(coco, [], {}, tmp_path / "log.jsonl", reviewer="ann", images=tmp_path)
    return open_review(session, home).dataset, session


def test_two_versions_large_changes_first(opened: Any, tmp_path: Path) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import refresh
    from trashkit.review.fiftyone_app.label_map_fields import add_comparison

    dataset, session = opened
    truth = read_dataset(session.coco, classes="own")
    other = version(tmp_path / "old.json", {1: 5.0, 2: 15.0})
    add_comparison(dataset, comparison_of(open_predictions(other, truth, classes="own")), "old", tmp_path / "maps")
    view = dataset.load_saved_view("old: large changes first")
    assert view.values("row")[:2] == [2, 1]
    changed = dict(zip(view.values("row"), view.values("old_changed"), strict=True))
    assert changed[0] == 0
    a, b = (dataset_label_map(read_dataset(path, classes="own"), 2) for path in (session.coco.path, other))
    assert changed[2] == pytest.approx(float((a != b).mean()))
    refresh(dataset, session, [2])
    assert dataset.load_saved_view("old: large changes first").first()["old_changed"] == pytest.approx(changed[2])


def test_a_store_worst_first_in_all_and_by_class(opened: Any, tmp_path: Path) -> None:
    from trashkit.review.fiftyone_app.label_map_fields import add_comparison

    dataset, session = opened
    truth = read_dataset(session.coco, classes="own")
    path = tmp_path / "store"
    made = create_store(
        path,
        image_ids=[image.id for image in truth.images],
        file_names=[image.file_name for image in truth.images],
        native_sizes=[(64, 64)] * 4,
        classes=truth.classes.names,
        size=(64, 64),
        manifest={},
    )
    with made as store:
        for row in range(4):
            label_map = dataset_label_map(truth, row)
            probabilities = np.full((3, 64, 64), 0.05, np.float32)
            wrong = np.roll(label_map, 3 * row, axis=1)
            np.put_along_axis(probabilities, wrong[None].astype(np.int64), 0.9, axis=0)
            store.write(row, probabilities)
    add_comparison(dataset, comparison_of(open_predictions(path, truth)), "store", tmp_path / "maps")
    assert dataset.load_saved_view("store: worst first").values("row") == [3, 2, 1, 0]
    assert dataset.load_saved_view("store: worst Plastic bag").values("row") == [3, 1]
    assert dataset.load_saved_view("store: least certain first").first()["store_confidence"] == pytest.approx(
        0.9, abs=0.01
    )
    assert dataset.mask_targets["store"] == {1: "Glass", 2: "Plastic bag", 255: "left out"}


def test_versions_with_other_ids_are_matched_by_file_name(tmp_path: Path) -> None:
    from trashkit.coco import read
    from trashkit.review.comparison import open_other_version
    from trashkit.review.fiftyone_app.version_changes import change_fields, match_versions

    now = read_dataset(version(tmp_path / "new.json", {}), classes="own")
    old = read(version(tmp_path / "old.json", {2: 15.0}))
    images = {row: {**one, "id": 100 - row} for row, one in enumerate(old.records("images"))}
    rows = {row: {**one, "id": 50 - row, "image_id": 100 - row} for row, one in enumerate(old.records("annotations"))}
    write(old.replace("images", images).replace("annotations", rows), tmp_path / "renumbered.json")
    comparison = open_other_version(tmp_path / "renumbered.json", now, classes="own")
    assert comparison.other_rows == {0: 0, 1: 1, 2: 2, 3: 3}
    assert comparison.other is not None
    pairs = match_versions(now, comparison.other, comparison.other_rows)
    edits = [
        change_fields(now, comparison.other, "old", pair, pairs)["old_edits"] for pair in comparison.other_rows.items()
    ]
    assert edits[0] == edits[1] == edits[3] == 0
    assert edits[2] > 0
    strange = [{**one, "file_name": f"other/{row}-x.jpg", "id": 900 + row} for row, one in images.items()]
    write(old.replace("images", dict(enumerate(strange))), tmp_path / "foreign.json")
    with pytest.raises(TrashkitError, match="by name and size"):
        open_other_version(tmp_path / "foreign.json", now, classes="own")


def test_fields_never_take_a_name_twice() -> None:
    from trashkit.review.fiftyone_app.label_map_fields import field_name

    assert field_name(Path("a/Run 1.csv"), ["run_1", "run_1_2"]) == "run_1_3"
    assert field_name(Path("배치.csv"), []).isascii()
