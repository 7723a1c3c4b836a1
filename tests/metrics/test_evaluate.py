"""Predictions in any file format give the same score, and the score is scikit-learn's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, jaccard_score

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.metrics.evaluate import evaluate, evaluate_parts, require_labels
from trashkit.predictions import submission_csv
from trashkit.predictions.reading import open_predictions, out_of_fold
from trashkit.predictions.store import create_store, open_store
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.raster.masks import dataset_label_map

NAMES = ["Bottle", "Cup", "Can"]
SIZE = (32, 32)
LAYOUT = CsvLayout(height=32, width=32, classes=4)


def truth(count: int = 5, seed: int = 0) -> Coco:
    rng = np.random.default_rng(seed)
    images, annotations = [], []
    for n in range(count):
        width, height = 64 + 8 * n, 96 - 4 * n
        images.append({"id": f"i{n}", "file_name": f"{n}.jpg", "width": width, "height": height})
        for _ in range(4):
            x, y, w, h = rng.uniform(0, 40), rng.uniform(0, 40), rng.uniform(8, 30), rng.uniform(8, 30)
            ring = [x, y, x + w, y, x + w, y + h, x, y + h]
            annotations.append(
                {"id": len(annotations), "image_id": f"i{n}", "category_id": int(rng.choice([3, 5])),
                 "segmentation": [ring], "area": w * h, "bbox": [x, y, w, h]}
            )  # fmt: skip
    categories = [{"id": index, "name": name} for index, name in zip((3, 5, 9), NAMES, strict=True)]
    return Coco.of({"images": images, "annotations": annotations, "categories": categories})


def shifted(data: Dataset, size: tuple[int, int] = SIZE) -> dict[int, NDArray[np.uint8]]:
    """Predictions that are mostly right, with a class (Can) that the truth lacks in one image."""
    found = {}
    for image in data.images:
        found[image.row] = np.roll(dataset_label_map(data, image.row, size=size), 2, axis=0)
    found[1][:3] = 3
    return found


def write_store(path: Path, data: Dataset, maps: dict[int, NDArray[np.uint8]], rows: list[int], **changes: Any) -> Path:
    images = [data.images[row] for row in rows]
    options: dict[str, Any] = {
        "image_ids": [image.id for image in images],
        "file_names": [image.file_name for image in images],
        "native_sizes": [(image.height, image.width) for image in images],
        "classes": data.classes.names,
        "size": maps[rows[0]].shape,
        "manifest": {},
    }
    with create_store(path, **{**options, **changes}) as writer:
        for row, image in enumerate(images):
            values = np.full((4, *maps[image.row].shape), 0.1, dtype=np.float32)
            np.put_along_axis(values, maps[image.row][None].astype(np.int64), 0.7, axis=0)
            writer.write(row, values)
    return path


def write_csv(path: Path, data: Dataset, maps: dict[int, NDArray[np.uint8]], rows: list[int]) -> Path:
    submission_csv.write(path, [(data.images[row].file_name, maps[row]) for row in rows], LAYOUT)
    return path


def test_store_and_csv_score_alike_in_any_order_and_as_scikit_learn_scores(tmp_path: Path) -> None:
    data = read_dataset(truth())
    maps = shifted(data)
    stored = write_store(tmp_path / "store", data, maps, [3, 0, 4, 1, 2])
    written = write_csv(tmp_path / "s.csv", data, maps, [1, 2, 4, 0, 3])
    results = [evaluate(open_predictions(path, data, layout=LAYOUT), size=SIZE) for path in (stored, written)]
    wanted = np.stack([dataset_label_map(data, image.row, size=SIZE) for image in data.images])
    guessed = np.stack([maps[image.row] for image in data.images])
    for result in results:
        assert result.images == (0, 1, 2, 3, 4)
        for row in range(5):
            expected = confusion_matrix(wanted[row].ravel(), guessed[row].ravel(), labels=range(4))
            np.testing.assert_array_equal(result.per_image[row], expected)
        ious = jaccard_score(wanted.ravel(), guessed.ravel(), average=None, labels=range(4), zero_division=0)
        assert set(np.unique(wanted)) | set(np.unique(guessed)) == {0, 1, 2, 3}
        np.testing.assert_allclose(result.confusion.iou(), ious)
        assert result.definitions()["pooled"] == pytest.approx(np.nanmean(ious))


def test_native_size_scales_probabilities_up(tmp_path: Path) -> None:
    data = read_dataset(truth())
    maps = shifted(data)
    store = open_store(write_store(tmp_path / "s", data, maps, [0, 1, 2, 3, 4]))
    found = evaluate(open_predictions(store.path, data), size=None)
    for row, image in enumerate(data.images):
        planes = store.read(row)
        large = np.stack([cv2.resize(plane, (image.width, image.height)) for plane in planes]).argmax(axis=0)
        native = dataset_label_map(data, image.row)
        np.testing.assert_array_equal(
            found.per_image[row], confusion_matrix(native.ravel(), large.ravel(), labels=range(4))
        )


def test_truth_scored_against_itself_is_perfect_in_every_form(tmp_path: Path) -> None:
    data = read_dataset(truth())
    exact = {image.row: dataset_label_map(data, image.row, size=SIZE) for image in data.images}
    (tmp_path / "truth.json").write_bytes(b"".join(bytes(piece) for piece in truth().pieces()))
    paths = [
        tmp_path / "truth.json",
        write_csv(tmp_path / "s.csv", data, exact, [0, 1, 2, 3, 4]),
        write_store(tmp_path / "s", data, exact, [0, 1, 2, 3, 4]),
    ]
    for path in paths:
        result = evaluate(open_predictions(path, data, layout=LAYOUT), size=SIZE)
        assert result.definitions()["mean_over_images"] == 1.0
    assert evaluate(open_predictions(paths[0], data), size=None).definitions()["pooled"] == 1.0


def test_a_coco_prediction_may_number_and_order_its_classes_differently(tmp_path: Path) -> None:
    data = read_dataset(truth())
    other = json.loads(b"".join(bytes(piece) for piece in truth().pieces()))
    other["categories"] = [{"id": 10 * c["id"], "name": c["name"]} for c in reversed(other["categories"])]
    for annotation in other["annotations"]:
        annotation["category_id"] *= 10
    other["images"].reverse()
    (tmp_path / "p.json").write_text(json.dumps(other))
    assert evaluate(open_predictions(tmp_path / "p.json", data), size=SIZE).definitions()["pooled"] == 1.0


def test_missing_images_are_named_or_left_out_by_choice(tmp_path: Path) -> None:
    data = read_dataset(truth())
    maps = shifted(data)
    opened = open_predictions(write_store(tmp_path / "s", data, maps, [1, 3]), data)
    with pytest.raises(TrashkitError, match=r"lacks 3 of 5 images of the truth, first 0\.jpg") as caught:
        evaluate(opened, size=SIZE)
    assert "--partial" in caught.value.hint
    found = evaluate(opened, size=SIZE, partial=True)
    assert (found.images, found.left_out) == ((1, 3), 3)
    half = data.subset([1, 3])
    whole = open_predictions(write_store(tmp_path / "t", data, maps, [0, 1, 2, 3, 4]), half)
    assert whole.extra == 3
    np.testing.assert_array_equal(evaluate(whole, size=SIZE).per_image, found.per_image)


def test_predictions_of_other_images_are_refused_with_an_explanation(tmp_path: Path) -> None:
    data = read_dataset(truth())
    maps = shifted(data)
    rows = [0, 1, 2, 3, 4]
    foreign = write_store(tmp_path / "ids", data, maps, rows, image_ids=[10, 11, 12, 13, 14])
    with pytest.raises(TrashkitError, match="has none of the 5 images"):
        open_predictions(foreign, data)
    renamed = write_store(tmp_path / "names", data, maps, rows, file_names=list("abcde"))
    with pytest.raises(TrashkitError, match=r"id i0 is a there, and 0\.jpg in"):
        open_predictions(renamed, data)
    classes = write_store(tmp_path / "classes", data, maps, rows, classes=["Background", "Bottle", "Cup", "Fork"])
    with pytest.raises(TrashkitError, match="has the class 'Fork'"):
        open_predictions(classes, data)
    with pytest.raises(TrashkitError, match="there is no"):
        open_predictions(tmp_path / "nothing", data)
    with pytest.raises(TrashkitError, match="not a probability store"):
        open_predictions(tmp_path, data)
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(TrashkitError, match="line 1: a submission begins with image_id"):
        open_predictions(tmp_path / "x.csv", data)
    (tmp_path / "x.json").write_text("[1]")
    with pytest.raises(TrashkitError, match="not a list of COCO results"):
        open_predictions(tmp_path / "x.json", data)
    (tmp_path / "y.json").write_text("[{")
    with pytest.raises(TrashkitError, match="is not JSON"):
        open_predictions(tmp_path / "y.json", data)


def test_a_wrong_csv_row_is_reported_with_its_line(tmp_path: Path) -> None:
    data = read_dataset(truth())
    path = write_csv(tmp_path / "s.csv", data, shifted(data), [0, 1, 2, 3, 4])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:-2], *lines[4:]]))
    with pytest.raises(TrashkitError, match=r"s\.csv, line 4: 2\.jpg: it has 1023 values|1,023"):
        evaluate(open_predictions(path, data, layout=LAYOUT), size=SIZE)
    path.write_text("\n".join([*lines, lines[2]]))
    with pytest.raises(TrashkitError, match=r"line 7: 1\.jpg already has a row, in line 3"):
        open_predictions(path, data, layout=LAYOUT)


def test_a_file_without_annotations_is_refused_as_truth() -> None:
    with pytest.raises(TrashkitError, match="no annotations"):
        require_labels(read_dataset(truth().replace("annotations", dict.fromkeys(range(20)))))


def test_folds_are_scored_as_one(tmp_path: Path) -> None:
    data = read_dataset(truth())
    maps = shifted(data)
    whole = evaluate(open_predictions(write_store(tmp_path / "s", data, maps, [0, 1, 2, 3, 4]), data), size=SIZE)
    for fold, rows in enumerate([[4, 1], [2, 0], [3]]):
        (tmp_path / f"run/fold-{fold}").mkdir(parents=True)
        write_store(tmp_path / f"run/fold-{fold}/oof", data, maps, rows)
    paths = out_of_fold(tmp_path / "run")
    assert paths == [tmp_path / f"run/fold-{fold}/oof" for fold in range(3)]
    parts = [open_predictions(path, data) for path in paths]
    pooled = evaluate_parts(parts, size=SIZE)
    assert pooled.images == whole.images
    np.testing.assert_array_equal(pooled.per_image, whole.per_image)
    assert evaluate_parts(parts[:2], size=SIZE, partial=True).left_out == 1
    with pytest.raises(TrashkitError, match=r"together lack 1 of 5 images of the truth, first 3\.jpg"):
        evaluate_parts(parts[:2], size=SIZE)
    with pytest.raises(TrashkitError, match=r"both predict 1\.jpg"):
        evaluate_parts([*parts, parts[0]], size=SIZE)
    assert out_of_fold(tmp_path / "s") == [tmp_path / "s"]


def test_a_joined_store_replaces_those_of_its_folds(tmp_path: Path) -> None:
    for name in ("run/tiny/fold-0/oof", "run/tiny/fold-1/oof", "run/tiny/oof", "run/other/fold-0/oof"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "zarr.json").write_text("{}")
    assert out_of_fold(tmp_path / "run") == [tmp_path / "run/other/fold-0/oof", tmp_path / "run/tiny/oof"]
    assert out_of_fold(tmp_path / "run/tiny/fold-1") == [tmp_path / "run/tiny/fold-1/oof"]
