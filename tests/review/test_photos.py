"""Photos in the App: colours, a test set, leaks, and predictions and pseudo-labels of the test set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trashkit.coco import read, read_dataset, write
from trashkit.coco.dataset import Coco
from trashkit.images.photos import read_photo
from trashkit.predictions.store import create_store
from trashkit.predictions.submission_csv import CsvLayout, write_to
from trashkit.raster.label_maps import write_label_maps
from trashkit.review.comparison import drawable, open_comparisons
from trashkit.review.photo_statistics import photo_statistics
from trashkit.review.session import ReviewSession

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
SYNTH = ROOT / "data" / "synth"


def test_measured_colours_of_plain_photos_are_those_painted(tmp_path: Path) -> None:
    grey, red = np.full((80, 80, 3), 100, np.uint8), np.zeros((80, 80, 3), np.uint8)
    red[..., 2] = 200
    for name, pixels in (("grey.png", grey), ("red.png", red)):
        cv2.imwrite(str(tmp_path / name), pixels)
    measured = photo_statistics([tmp_path / "grey.png", tmp_path / "red.png", tmp_path / "missing.png"])
    assert measured[0] is not None
    assert measured[0].colors == pytest.approx((100, 0, 0))
    assert measured[1] is not None
    assert measured[1].colors.brightness == pytest.approx(0.299 * 200, abs=1)
    assert measured[1].colors.saturation == 255
    assert measured[2] is None


@pytest.fixture
def test_set(tmp_path: Path) -> ReviewSession:
    """Two images: one is the first photo of the synthetic set, recompressed and brighter; the other is new."""
    folder = tmp_path / "test"
    folder.mkdir()
    first = read(SYNTH / "train.json").records("images")[0]["file_name"]
    photo = cv2.cvtColor(read_photo(SYNTH / "images" / first), cv2.COLOR_RGB2BGR)
    leak = np.clip(photo.astype(float) * 1.2 + 5, 0, 255).astype(np.uint8)
    new = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    images = []
    for n, pixels in enumerate((leak, cv2.resize(new, (128, 128), interpolation=cv2.INTER_CUBIC)), start=1):
        cv2.imwrite(str(folder / f"{n}.jpg"), pixels)
        images.append({"id": n, "width": pixels.shape[1], "height": pixels.shape[0], "file_name": f"{n}.jpg"})
    categories = read(SYNTH / "train.json").records("categories")
    path = tmp_path / "test.json"
    write(Coco.of({"images": images, "annotations": [], "categories": categories}), path)
    return ReviewSession(read(path), [], {}, tmp_path / "none.jsonl", reviewer="", images=folder)


@pytest.mark.usefixtures("home")
def test_a_leak_is_grouped_with_its_original(session: ReviewSession, test_set: ReviewSession, home: Path) -> None:
    from trashkit.review.fiftyone_app.app import open_review

    opened = open_review(session, home, test=test_set)
    dataset = opened.dataset
    view = dataset.load_saved_view("leaks: alike in both files")
    assert set(view.values("file")) == {"train.json", "test.json"}
    assert "1.jpg" in view.values("file_name")
    assert session.image_records[0]["file_name"] in view.values("file_name")
    assert "1 of them across both files" in opened.notes[0]
    assert len(dataset.load_saved_view("test set")) == 2
    assert len(dataset.load_saved_view("with a note")) == 0
    dark = [
        value for value in dataset.load_saved_view("photos: darkest first").values("brightness") if value is not None
    ]
    assert dark == sorted(dark)
    counted = dict(zip(dataset.values("row"), dataset.values("objects"), strict=True))
    assert counted[0] == len(session.annotations_of[0])
    _charts(dataset, session, test_set)
    again = open_review(session, home, test=test_set)
    assert (again.built, len(again.dataset)) == (False, len(dataset))
    without = open_review(session, home)
    assert len(without.dataset) == len(session.image_records)
    assert "leaks: alike in both files" not in without.dataset.list_saved_views()


def _charts(dataset: Any, session: ReviewSession, test_set: ReviewSession) -> None:
    from trashkit.review.fiftyone_app.controller import ReviewController
    from trashkit.review.fiftyone_app.statistics_panel import all_charts

    dataset.reload()
    made = all_charts(ReviewController(dataset, session))
    traces, _ = made["Brightness of photos"]
    assert len(traces) == 2
    assert all(sum(trace["y"]) == pytest.approx(1, abs=0.01) for trace in traces)
    json.dumps(made)
    assert test_set.coco.path is not None


def _store(path: Path, dataset: Any, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    made = create_store(
        path,
        image_ids=[image.id for image in dataset.images],
        file_names=[image.file_name for image in dataset.images],
        native_sizes=[(image.height, image.width) for image in dataset.images],
        classes=dataset.classes.names,
        size=(64, 64),
        manifest={},
    )
    with made as store:
        for row in range(len(dataset)):
            logits = rng.random((len(dataset.classes), 64, 64)).astype(np.float32) ** (row + 1)
            store.write(row, logits / logits.sum(axis=0))
    return path


def test_predictions_of_the_test_set(
    session: ReviewSession, test_set: ReviewSession, home: Path, tmp_path: Path
) -> None:
    from trashkit.review.fiftyone_app.app import open_review
    from trashkit.review.fiftyone_app.label_map_fields import add_comparisons

    dataset = open_review(session, home, test=test_set).dataset
    parts = [drawable(session.coco)[0], read_dataset(test_set.coco)]
    truth = parts[1]
    store = _store(tmp_path / "store", truth, 1)
    round_ = tmp_path / "round"
    _store(round_ / "probabilities", truth, 2)
    kept = np.zeros((64, 64), np.uint8)
    kept[:16] = 255
    write_label_maps(
        round_ / "labels", [(truth.images[0], kept)], classes=truth.classes.names, size=(64, 64), manifest={}
    )
    csv = tmp_path / "sub.csv"
    layout = CsvLayout(classes=len(truth.classes))
    zeros = np.zeros((layout.height, layout.width), np.uint8)
    with csv.open("wb") as file:
        write_to(file, ((image.file_name, zeros) for image in truth.images), layout)
    comparisons = [one for path in (store, round_, csv) for one in open_comparisons(path, parts)]
    found = [(one.kind, one.dataset_index, len(one.images)) for one in comparisons]
    assert found == [("store", 1, 2), ("pseudo", 1, 1), ("csv", 1, 2)]
    names = [name for name, _ in add_comparisons(dataset, parts, comparisons, tmp_path / "maps")]
    assert names == ["store", "round", "sub"]
    first = dataset.match({"file_name": "1.jpg", "of_test": True}).first()
    assert first["round_kept"] == 0.75
    assert 0 < first["round_confidence"] < 1
    assert first["round_certainty"].get_map().shape == (64, 64)
    assert 0 < first["sub_changed"] < 1
    assert not dataset.has_sample_field("sub_iou"), "a test set has nothing to score with"
    assert dataset.load_saved_view("store: least certain first").values("row") == [None, None]
    assert "truth" in dataset.get_field_schema(), "the annotations are drawn beside them"
    assert dataset.exists("truth").count() == len(parts[0])
    stamps = dict(dataset.info["compared"])
    assert [name for name, _ in add_comparisons(dataset, parts, comparisons, tmp_path / "maps")] == names
    assert dict(dataset.info["compared"]) == stamps


def test_reshaped_relabelled_and_deleted_annotations_are_shown(
    home: Path, tmp_path: Path, session: ReviewSession
) -> None:
    from trashkit.review.fiftyone_app.app import open_review
    from trashkit.review.fiftyone_app.label_map_fields import add_comparisons

    dataset = open_review(session, home).dataset
    row = session.annotations_of[1][0]
    record = dict(session.coco.record("annotations", row))
    other = next(key for key in session.category_names if key != record["category_id"])
    gone, renamed = session.annotations_of[2][0], session.annotations_of[3][0]
    record["segmentation"] = [[value + 3 for value in ring] for ring in record["segmentation"]]
    category = {**session.coco.record("annotations", renamed), "category_id": other}
    old = session.coco.replace("annotations", {row: record, gone: None, renamed: category})
    write(old, tmp_path / "old.json")
    parts = [drawable(session.coco)[0]]
    assert len(parts[0].annotations) == session.coco.count("annotations") - drawable(session.coco)[1]
    add_comparisons(dataset, parts, open_comparisons(tmp_path / "old.json", parts), tmp_path / "maps")
    edits = dict(zip(dataset.values("row"), dataset.values("old_edits"), strict=True))
    assert {image: number for image, number in edits.items() if number} == {1: 1, 2: 1, 3: 1}
    changes = dataset.match({"row": {"$in": [1, 3]}}).values("old_outlines.polylines.change", unwind=True)
    assert changes[0] == "reshaped"
    assert changes[1].startswith("now ")
