"""Photo statistics, near-duplicates and adversarial validation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.images.near_duplicates import near_duplicate_groups
from trashkit.split.adversarial_validation import (
    COMPONENTS,
    _auc,
    _components,
    _standard,
    adversarial_validation,
    compare_features,
)
from trashkit.split.photo_statistics import STATISTICS, PhotoStatistics, photo_statistics


def scene(seed: int) -> NDArray[np.uint8]:
    """A smooth random picture."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (7, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (240, 240), interpolation=cv2.INTER_CUBIC), np.uint8)


def dataset(folder: Path, photos: dict[str, NDArray[np.uint8]], quality: dict[str, int]) -> Dataset:
    rows = []
    for n, (name, photo) in enumerate(photos.items()):
        cv2.imwrite(str(folder / name), photo, [cv2.IMWRITE_JPEG_QUALITY, quality.get(name, 95)])
        rows.append({"id": n, "file_name": name, "width": photo.shape[1], "height": photo.shape[0]})
    return read_dataset(Coco.of({"images": rows, "annotations": [], "categories": []}), labels=False)


def test_recompressed_scaled_and_brightened_copies_are_one_group(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": scene(n) for n in range(12)}
    photos["worse.jpg"] = scene(3)
    photos["small.jpg"] = np.asarray(cv2.resize(scene(3), (150, 150), interpolation=cv2.INTER_AREA), np.uint8)
    photos["bright.jpg"] = np.clip(scene(5).astype(int) + 6, 0, 255).astype(np.uint8)
    group = near_duplicate_groups(
        photo_statistics(dataset(tmp_path, photos, {"worse.jpg": 40}), tmp_path).features
    ).tolist()
    names = list(photos)
    assert group[names.index("worse.jpg")] == group[3] == group[names.index("small.jpg")]
    assert group[names.index("bright.jpg")] == group[5]
    assert len(set(group)) == 12


def test_flat_photos_of_different_colour_are_not_duplicates(tmp_path: Path) -> None:
    photos = {f"{v}.jpg": np.full((64, 64, 3), v, np.uint8) for v in (10, 90, 200)}
    assert near_duplicate_groups(photo_statistics(dataset(tmp_path, photos, {}), tmp_path).features).tolist() == [
        0,
        1,
        2,
    ]


def test_brighter_test_photos_are_distinguished_and_similar_ones_weigh_more(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    dark = {f"{n}.jpg": (scene(n) // 2).astype(np.uint8) for n in range(30)}
    dark |= {f"b{n}.jpg": (scene(100 + n) // 2 + 120).astype(np.uint8) for n in range(6)}
    bright = {f"{n}.jpg": (scene(200 + n) // 2 + 120).astype(np.uint8) for n in range(30)}
    train = photo_statistics(dataset(tmp_path / "train", dark, {}), tmp_path / "train")
    test = photo_statistics(dataset(tmp_path / "test", bright, {}), tmp_path / "test")
    assert train.statistics.shape == (36, len(STATISTICS))
    found = adversarial_validation(train, test)
    assert found.auc > 0.85
    assert found.weights[30:].min() > found.weights[:30].max()
    assert found.weights.mean() == pytest.approx(1)
    assert found.effective < 36
    assert "differ" in found.summary


def test_the_same_distribution_cannot_be_distinguished() -> None:
    rng = np.random.default_rng(0)
    inside = [compare_features(rng.normal(size=(120, 8)), rng.normal(size=(90, 8)), seed=n) for n in range(20)]
    assert np.mean([one.auc for one in inside]) == pytest.approx(0.5, abs=0.04)
    assert sum("cannot" in one.summary for one in inside) >= 17
    # The error is of the right size: cross-validation shakes a little more than the formula says.
    spread = np.std([one.auc for one in inside])
    assert 0.5 < spread / np.mean([one.auc_sd for one in inside]) < 2.0


def test_auc_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    low, high = rng.integers(0, 12, 50).astype(float), rng.integers(3, 15, 70).astype(float)
    label, score = np.repeat([0, 1], [50, 70]), np.concatenate([low, high])
    assert _auc(low, high) == pytest.approx(roc_auc_score(label, score))


def test_near_duplicates_do_not_leak_between_folds() -> None:
    rng = np.random.default_rng(0)
    base = rng.normal(size=(20, 30))
    train = np.repeat(base, 5, axis=0)
    test = rng.normal(size=(100, 30))
    group = np.repeat(np.arange(20), 5)
    assert compare_features(train, test, group=group).auc < compare_features(train, test).auc - 0.1


def test_weights_are_one_where_the_two_cannot_be_distinguished() -> None:
    rng = np.random.default_rng(0)
    for n in range(10):
        found = compare_features(rng.normal(size=(60, 6)), rng.normal(size=(50, 6)), seed=n)
        assert found.distinguishable == (found.auc > 0.5 + 2 * found.auc_sd)
        assert found.distinguishable or ((found.weights == 1).all() and found.effective == 60)
    apart = compare_features(rng.normal(size=(60, 6)), rng.normal(size=(50, 6)) + 1, seed=0)
    assert apart.distinguishable
    assert apart.weights.std() > 0.1


def test_encoder_features_distinguish_photos_that_statistics_cannot(tmp_path: Path) -> None:
    photos = {f"{n}.jpg": scene(n) for n in range(60)}
    seen = photo_statistics(dataset(tmp_path, photos, {}), tmp_path)
    rng = np.random.default_rng(0)
    half = [PhotoStatistics(seen.features[part], seen.statistics[part]) for part in (slice(30), slice(30, 60))]
    kind = np.repeat([0.0, 1.0], 30)[:, None]
    features = rng.normal(size=(60, 200)) + 1.5 * kind * rng.normal(size=200)
    plain = adversarial_validation(*half)
    found = adversarial_validation(*half, encoded=(features[:30], features[30:]))
    assert plain.auc < 0.7
    assert found.auc > 0.8
    flat = adversarial_validation(*half, encoded=(np.zeros((30, 5)), np.zeros((30, 5))))
    assert flat.auc == pytest.approx(plain.auc)


def test_components_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(80, 60)) @ rng.normal(size=(60, 60))
    found = _components(values)
    expected = PCA(COMPONENTS).fit_transform(_standard(values))
    assert found.shape == (80, COMPONENTS)
    correlation = np.corrcoef(found.T, expected.T)[:COMPONENTS, COMPONENTS:]
    assert np.allclose(np.abs(np.diag(correlation)), 1, atol=1e-6)
    assert _components(rng.normal(size=(10, 60))).shape[1] <= 10
