"""A fitted mix for other stores: weights follow models and class names in any order; what cannot fit is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.ensemble import Mix, ensemble, repeat
from trashkit.errors import TrashkitError
from trashkit.store import Probabilities, create_store, open_store

NAMES = ("Background", "Bottle", "Can", "Bag")


def values(seed: int) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).random((4, 5, 6), dtype=np.float32) ** 3
    return drawn / drawn.sum(axis=0)


def store(path: Path, seed: int, manifest: dict[str, Any], names: tuple[str, ...] = NAMES) -> Probabilities:
    with create_store(
        path,
        image_ids=[1],
        file_names=["1.jpg"],
        native_sizes=[(5, 6)],
        classes=names,
        size=(5, 6),
        dtype="float16",
        manifest=manifest,
    ) as writer:
        drawn = values(seed)
        planes = [drawn[NAMES.index(name)] if name in NAMES else np.zeros_like(drawn[0]) for name in names]
        writer.write(0, np.stack(planes))
    return open_store(path)


def oof(*hashes: str) -> dict[str, Any]:
    """As the store that joins the folds of a training says it."""
    parts = [{"kind": "out-of-fold", "weights": one, "tta": "none", "data_sha256": "d"} for one in hashes]
    return {"kind": "out-of-fold", "stores": [f"store {one}" for one in hashes], "sources": parts}


def predicted(*hashes: str) -> dict[str, Any]:
    """As `predict` says it."""
    return {"runs": [{"run": f"runs/{one}", "checkpoint_sha256": one} for one in hashes], "data_sha256": "t"}


MIX = Mix("weighted", ((0.5, 1.0, 0.0, 0.2), (0.25, 0.0, 0.7, 0.2), (0.25, 0.0, 0.3, 0.6)), (0.8, 1.0, 1.3))


def fitted(folder: Path, known: bool = True) -> Probabilities:
    parts = [
        store(folder / f"{name}-oof", n, oof(f"{name}0", f"{name}1") if known else {"seed": n})
        for n, name in enumerate("abc")
    ]
    ensemble(parts, folder / "mix", mix=MIX)
    return open_store(folder / "mix")


def test_classes_in_another_order_keep_their_weights(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    names = ("Bag", "Background", "Bottle", "Can")
    stores = [store(tmp_path / name, 7 + n, predicted(f"{name}0", f"{name}1"), names) for n, name in enumerate("abc")]
    found = repeat(fit, stores)
    assert (found.order, found.doubts) == ((0, 1, 2), ())
    ensemble(stores, tmp_path / "out", mix=found.mix, dtype="float16")
    mixed = open_store(tmp_path / "out").read(0)
    expected = MIX([values(7), values(8), values(9)])
    np.testing.assert_allclose(mixed[[names.index(name) for name in NAMES]], expected, atol=3e-3)


@pytest.mark.parametrize("order", ["abc", "cab", "bac", "cba"])
def test_stores_in_another_order_keep_the_weights_of_their_models(tmp_path: Path, order: str) -> None:
    fit = fitted(tmp_path)
    stores = [store(tmp_path / name, "abc".index(name), predicted(f"{name}1", f"{name}0")) for name in order]
    found = repeat(fit, stores)
    assert found.order == tuple("abc".index(name) for name in order) and not found.doubts
    assert found.mix.temperatures == tuple(MIX.temperatures["abc".index(name)] for name in order)
    ensemble(stores, tmp_path / "out", mix=found.mix, dtype="float16")
    expected = MIX([values(0), values(1), values(2)])
    np.testing.assert_allclose(open_store(tmp_path / "out").read(0), expected, atol=3e-3)


def test_a_retrained_model_takes_the_place_that_is_left_and_is_named(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    stores = [store(tmp_path / name, 1, predicted(f"{name}0")) for name in ("x", "a", "b")]
    found = repeat(fit, stores)
    assert found.order == (2, 0, 1)
    assert len(found.doubts) == 1 and "x is of none of the models" in found.doubts[0] and "c-oof" in found.doubts[0]


def test_models_that_are_not_named_leave_the_order_and_a_doubt(tmp_path: Path) -> None:
    fit = fitted(tmp_path, known=False)
    stores = [store(tmp_path / name, 1, predicted(f"{name}0")) for name in "bca"]
    found = repeat(fit, stores)
    assert found.order == (0, 1, 2) and found.mix == MIX
    assert "taken as given" in found.doubts[0] and "b for" in found.doubts[0]


def test_what_does_not_fit_is_refused_by_name(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    five = (*NAMES, "Box")
    other = [store(tmp_path / f"{name}5", 1, predicted(f"{name}0"), five) for name in "abc"]
    with pytest.raises(TrashkitError, match=r"a5 has other classes than .*mix, which was fitted: 'Box'"):
        repeat(fit, other)
    twice = [store(tmp_path / f"{n}{name}", 1, predicted(f"{name}0")) for n, name in enumerate("aac")]
    with pytest.raises(TrashkitError, match="1a is of a model that another"):
        repeat(fit, twice)
    with pytest.raises(TrashkitError, match="of 3 stores, given are 2"):
        repeat(fit, twice[1:])
    with pytest.raises(TrashkitError, match="does not say how it was combined"):
        repeat(twice[0], twice)


def test_fitting_on_images_that_a_member_was_trained_on_is_refused(tmp_path: Path) -> None:
    """The run's manifest says what it saw; a store that names no run is doubted aloud."""
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
    words = ["ensemble", str(tmp_path / "clean"), "--fit", str(truth)]
    shown = CliRunner().invoke(app, [*words, str(tmp_path / "leaky"), "--out", str(tmp_path / "no")])
    assert shown.exit_code == 2 and "trained on 3 of these images" in " ".join(shown.output.split())
    assert not (tmp_path / "no").exists()
    shown = CliRunner().invoke(app, [*words, str(tmp_path / "unknown"), "--out", str(tmp_path / "yes")])
    assert shown.exit_code == 0 and "the gain below is not real" in " ".join(shown.output.split())
    assert (tmp_path / "unknown").name in shown.output and "leaky" not in shown.output
