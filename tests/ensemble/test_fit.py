"""Fitted ensembles: good members get most weight, noise gives no gain, and the reported gain is on unseen images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.ensemble import Mix, ensemble, geometric, tempered
from trashkit.ensemble.fit import class_weights, fit, greedy, temperature
from trashkit.errors import TrashkitError
from trashkit.predictions.store import Probabilities, create_store, open_store
from trashkit.raster.masks import dataset_label_map

SIDE, IMAGES = 24, 20
NAMES = ("Background", "Bottle", "Can", "Bag")


def dataset() -> Dataset:
    rng = np.random.default_rng(0)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": SIDE, "height": SIDE} for n in range(IMAGES)]
    annotations = []
    for n in range(IMAGES):
        for k in range(3):
            x, y = (int(v) for v in rng.integers(0, SIDE - 8, 2))
            ring = [x, y, x + 8, y, x + 8, y + 8, x, y + 8]
            record = {"id": len(annotations) + 1, "image_id": n, "category_id": k + 1}
            annotations.append({**record, "segmentation": [ring], "area": 64.0, "bbox": [x, y, 8, 8], "iscrowd": 0})
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES) if n]
    return read_dataset(Coco.of({"images": images, "annotations": annotations, "categories": categories}))


def model(data: Dataset, path: Path, noise: float, seed: int, order: list[int] | None = None) -> Probabilities:
    """Predictions whose logits are the truth plus noise, their classes in any order."""
    rng = np.random.default_rng(seed)
    order = order or [0, 1, 2, 3]
    with create_store(
        path,
        image_ids=[image.id for image in data.images],
        file_names=[image.file_name for image in data.images],
        native_sizes=[(SIDE, SIDE)] * len(data),
        classes=[NAMES[n] for n in order],
        size=(SIDE, SIDE),
        dtype="float16",
        manifest={"kind": "out-of-fold", "seed": seed},
    ) as writer:
        for row, image in enumerate(data.images):
            labels = dataset_label_map(data, image.row)
            logits = np.eye(4, dtype=np.float32)[labels].transpose(2, 0, 1) * 2
            logits += rng.normal(0, noise, logits.shape).astype(np.float32)
            values = np.exp(logits) / np.exp(logits).sum(axis=0)
            writer.write(row, values[order])
    return open_store(path)


def test_good_members_outweigh_a_bad_one(tmp_path: Path) -> None:
    data = dataset()
    stores = [model(data, tmp_path / "a", 0.8, 1), model(data, tmp_path / "b", 0.8, 2, [2, 0, 3, 1])]
    stores.append(model(data, tmp_path / "bad", 6.0, 3))
    found = fit(stores, data)
    by_name = {one.name: one for one in found.candidates}
    assert found.chosen.name != "mean" and found.chosen.low > 0
    assert by_name["greedy"].mix is not None
    weights = by_name["greedy"].mix.weights
    assert weights[2] < min(weights[:2])
    assert [one.conclusion for one in found.members][2] == "hurts"
    assert found.disagreement[0, 2] > found.disagreement[0, 1] > 0
    assert np.array_equal(found.disagreement, found.disagreement.T) and not found.disagreement.diagonal().any()


def test_a_gain_within_the_noise_is_not_reported_as_a_gain(tmp_path: Path) -> None:
    """Three copies of the same predictions: there is nothing to gain, so the plain mean is kept and reported."""
    data = dataset()
    found = fit([model(data, tmp_path / str(n), 2.0, 5) for n in range(3)], data)
    assert found.chosen.name == "mean" and found.conclusion.startswith("no evidence")
    assert not found.disagreement.any()
    assert {one.conclusion for one in found.members} == {"no evidence"}


def test_a_single_store_that_beats_every_mix_is_named(tmp_path: Path) -> None:
    """Weights only shrink what the two bad members add; the good one alone is better than any mix."""
    data = dataset()
    stores = [model(data, tmp_path / "good", 0.5, 1), *(model(data, tmp_path / f"bad{n}", 9.0, 2) for n in range(2))]
    found = fit(stores, data)
    assert found.better_alone is not None and found.better_alone.name == str(tmp_path / "good")
    assert f"{tmp_path / 'good'} alone beats the plain mean" in found.conclusion
    equal = fit([model(data, tmp_path / f"equal{n}", 1.5, n) for n in range(3)], data)
    assert equal.better_alone is None and "alone" not in equal.conclusion


def test_the_reported_score_is_not_the_fitted_one(tmp_path: Path) -> None:
    """Weights per class fit the noise of their own images: there they look better than on images left out."""
    data = dataset()
    found = fit([model(data, tmp_path / str(n), 2.5, n) for n in range(3)], data)
    fitted = next(one for one in found.candidates if one.name == "class-weighted")
    assert fitted.in_sample > fitted.miou


def test_reported_scores_are_those_of_the_stores(tmp_path: Path) -> None:
    from trashkit.metrics.evaluate import evaluate
    from trashkit.predictions.reading import open_predictions

    data = dataset()
    stores = [model(data, tmp_path / "a", 1.5, 1), model(data, tmp_path / "b", 2.0, 2)]
    found = fit(stores, data)
    ensemble(stores, tmp_path / "mean", dtype="float16")
    for name, path in ((str(tmp_path / "a"), tmp_path / "a"), ("mean", tmp_path / "mean")):
        scored = evaluate(open_predictions(path, data), size=(SIDE, SIDE)).definitions()["pooled"]
        assert next(one.miou for one in found.candidates if one.name == name) == pytest.approx(scored, abs=2e-3)


def test_temperature_undoes_overconfidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1.5, (4, 6000)).astype(np.float32)
    right: NDArray[Any] = np.exp(logits) / np.exp(logits).sum(axis=0)
    truth = np.array([rng.choice(4, p=column / column.sum()) for column in right.T.astype(np.float64)], np.uint8)
    assert temperature(tempered(right, 0.5), truth) == pytest.approx(2.0, rel=0.15)
    assert temperature(right, truth) == pytest.approx(1.0, rel=0.15)


def test_greedy_and_class_weights_never_fall_below_where_they_start() -> None:
    from trashkit.ensemble.fit import _miou

    rng = np.random.default_rng(1)
    truth = rng.integers(0, 4, 3000).astype(np.uint8)
    members = []
    for noise in (1.0, 2.0, 3.0):
        logits = np.eye(4, dtype=np.float32)[truth].T + rng.normal(0, noise, (4, 3000)).astype(np.float32)
        members.append(np.exp(logits) / np.exp(logits).sum(axis=0))
    weights = greedy(members, truth)
    assert sum(weights) == pytest.approx(1) and weights[0] > weights[2]
    plain = _miou(sum(members), truth)
    mixed = _miou(Mix("weighted", weights, (1.0,) * 3)(members), truth)
    assert mixed >= plain - 1e-6
    by_class = class_weights(members, truth, weights)
    np.testing.assert_allclose(np.sum(by_class, axis=0), 1, atol=1e-9)
    total = sum(np.asarray(w, np.float32)[:, None] * values for w, values in zip(by_class, members, strict=True))
    assert _miou(total, truth) >= mixed - 1e-6


def test_geometric_mean_is_the_softmax_of_mean_logits() -> None:
    rng = np.random.default_rng(2)
    logits = [rng.normal(0, 1, (5, 7, 6)).astype(np.float32) for _ in range(2)]
    members = [np.exp(one) / np.exp(one).sum(axis=0) for one in logits]
    mixed = np.exp(0.3 * logits[0] + 0.7 * logits[1])
    np.testing.assert_allclose(geometric(members, (0.3, 0.7)), mixed / mixed.sum(axis=0), atol=1e-5)


def test_a_mix_round_trips_through_json_and_reports_errors() -> None:
    mix = Mix("weighted", ((0.25, 0.5), (0.75, 0.5)), (1.0, 1.2))
    assert Mix.of(json.loads(json.dumps(mix.as_json()))) == mix
    with pytest.raises(ValueError, match="do not fit"):
        Mix.of({"method": "mean", "weights": [0.5, 0.5], "temperatures": [1.0]})


def test_too_few_images_to_fit_are_refused(tmp_path: Path) -> None:
    data = dataset()
    with pytest.raises(TrashkitError, match="too few"):
        fit([model(data, tmp_path / "a", 1, 1)], data)


def test_fit_and_like_from_the_command(tmp_path: Path) -> None:
    data = dataset()
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({name: data.coco.records(name) for name in ("images", "annotations", "categories")}))
    stores = [str(model(data, tmp_path / str(n), 1.0 + n, n).path) for n in range(2)]
    words = ["ensemble", *stores, "--fit", str(truth), "--method", "geometric", "--out", str(tmp_path / "mix")]
    shown = CliRunner().invoke(app, [*words, "--json"])
    assert shown.exit_code == 0, shown.output
    result = json.loads(shown.stdout)
    assert result["method"] == "geometric" and result["fit"]["chosen"] in (
        "mean",
        "greedy",
        "geometric",
        "class-weighted",
    )
    again = CliRunner().invoke(
        app, ["ensemble", *stores, "--like", str(tmp_path / "mix"), "--out", str(tmp_path / "b")]
    )
    assert again.exit_code == 0, again.output
    first, second = open_store(tmp_path / "mix"), open_store(tmp_path / "b")
    assert all(np.array_equal(first.stored(row), second.stored(row)) for row in range(IMAGES))
    assert Mix.of(second.manifest) == Mix.of(first.manifest)
