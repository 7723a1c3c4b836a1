"""A fitted mix for other stores: weights follow models and class names in any order; what cannot fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.ensemble import Mix, ensemble, transfer_mix
from trashkit.errors import TrashkitError
from trashkit.predictions.store import Probabilities, create_store, open_store

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
    found = transfer_mix(fit, stores)
    assert (found.order, found.warnings) == ((0, 1, 2), ())
    ensemble(stores, tmp_path / "out", mix=found.mix, dtype="float16")
    mixed = open_store(tmp_path / "out").read(0)
    expected = MIX([values(7), values(8), values(9)])
    np.testing.assert_allclose(mixed[[names.index(name) for name in NAMES]], expected, atol=3e-3)


@pytest.mark.parametrize("order", ["abc", "cab", "bac", "cba"])
def test_stores_in_another_order_keep_the_weights_of_their_models(tmp_path: Path, order: str) -> None:
    fit = fitted(tmp_path)
    stores = [store(tmp_path / name, "abc".index(name), predicted(f"{name}1", f"{name}0")) for name in order]
    found = transfer_mix(fit, stores)
    assert found.order == tuple("abc".index(name) for name in order) and not found.warnings
    assert found.mix.temperatures == tuple(MIX.temperatures["abc".index(name)] for name in order)
    ensemble(stores, tmp_path / "out", mix=found.mix, dtype="float16")
    expected = MIX([values(0), values(1), values(2)])
    np.testing.assert_allclose(open_store(tmp_path / "out").read(0), expected, atol=3e-3)


def test_a_retrained_model_gets_the_remaining_weight_and_is_named(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    stores = [store(tmp_path / name, 1, predicted(f"{name}0")) for name in ("x", "a", "b")]
    found = transfer_mix(fit, stores)
    assert found.order == (2, 0, 1)
    assert (
        len(found.warnings) == 1
        and "x comes from none of the fitted models" in found.warnings[0]
        and "c-oof" in found.warnings[0]
    )


def test_unnamed_models_keep_the_order_with_a_warning(tmp_path: Path) -> None:
    fit = fitted(tmp_path, known=False)
    stores = [store(tmp_path / name, 1, predicted(f"{name}0")) for name in "bca"]
    found = transfer_mix(fit, stores)
    assert found.order == (0, 1, 2) and found.mix == MIX
    assert "matched in the given order" in found.warnings[0] and "b for" in found.warnings[0]


def test_stores_that_do_not_fit_are_refused_by_name(tmp_path: Path) -> None:
    fit = fitted(tmp_path)
    five = (*NAMES, "Box")
    other = [store(tmp_path / f"{name}5", 1, predicted(f"{name}0"), five) for name in "abc"]
    with pytest.raises(TrashkitError, match=r"a5 has different classes than the fitted .*mix: 'Box'"):
        transfer_mix(fit, other)
    twice = [store(tmp_path / f"{n}{name}", 1, predicted(f"{name}0")) for n, name in enumerate("aac")]
    with pytest.raises(TrashkitError, match="1a comes from the same model as another"):
        transfer_mix(fit, twice)
    with pytest.raises(TrashkitError, match="is for 3 stores, not 2"):
        transfer_mix(fit, twice[1:])
    with pytest.raises(TrashkitError, match="does not say how it was combined"):
        transfer_mix(twice[0], twice)
