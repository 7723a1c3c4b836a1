"""Fitting an ensemble: no member may have been trained on the images that it is fitted on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.predictions.store import create_store, open_store
from trashkit.workflows.ensemble import fit_ensemble

NAMES = ("Background", "Bottle", "Can", "Bag")


def values(seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).random((4, 5, 6), dtype=np.float32) ** 3
    return drawn / drawn.sum(axis=0)


def test_fitting_on_images_that_a_member_was_trained_on_is_refused(tmp_path: Path) -> None:
    """The run's manifest names its training images; a store without runs is listed as unknown."""
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 6, "height": 5} for n in range(6)]
    ring = [0, 0, 3, 0, 3, 3, 0, 3]
    annotations = [
        {
            "id": n,
            "image_id": n,
            "category_id": 1,
            "segmentation": [ring],
            "bbox": [0, 0, 3, 3],
            "area": 9,
            "iscrowd": 0,
        }
        for n in range(6)
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES) if n]
    truth = tmp_path / "train.json"
    truth.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    run = tmp_path / "run"
    run.mkdir()
    identity = {"data": "d", "training images": [1, 2, 3]}
    (run / "manifest.json").write_text(json.dumps({"format": "trashkit run", "version": 1, "identity": identity}))
    manifests = {
        "clean": {"kind": "out-of-fold", "weights": "a"},
        "leaky": {"runs": [{"run": str(run), "checkpoint_sha256": "b"}], "data_sha256": "d"},
        "unknown": {"seed": 1},
    }
    for n, (name, manifest) in enumerate(manifests.items()):
        with create_store(
            tmp_path / name,
            image_ids=range(6),
            file_names=[f"{k}.jpg" for k in range(6)],
            native_sizes=[(5, 6)] * 6,
            classes=NAMES,
            size=(5, 6),
            manifest=manifest,
        ) as writer:
            for k in range(6):
                writer.write(k, values(10 * n + k))
    clean, leaky, unknown = (open_store(tmp_path / name) for name in manifests)
    with pytest.raises(TrashkitError, match=r"leaky was predicted by models that were trained on 3 of these images"):
        fit_ensemble([clean, leaky], truth)
    found = fit_ensemble([clean, unknown], truth)
    assert found.unknown == (tmp_path / "unknown",)
    assert found.fit.images == 6
    equal = fit_ensemble([clean, unknown], truth, method="mean").mix
    assert equal.weights == (0.5, 0.5)
    with pytest.raises(TrashkitError, match="--fit has no method median"):
        fit_ensemble([clean, unknown], truth, method="median")
