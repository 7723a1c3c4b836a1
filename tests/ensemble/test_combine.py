"""Ensembles: joined by image and class, streamed, resumable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from trashkit.ensemble import Mix, ensemble, mean, vote
from trashkit.errors import TrashkitError
from trashkit.predictions.store import Probabilities, create_store, open_store

CLASSES = ("Background", "Paper", "Glass", "Metal")


def probabilities(seed: int) -> NDArray[np.float32]:
    values = np.random.default_rng(seed).random((4, 6, 5), dtype=np.float32) ** 3
    return values / values.sum(axis=0)


def member(path: Path, seed: int, order: list[int] | None = None, **changes: Any) -> Probabilities:
    order = order or [0, 1, 2]
    classes = changes.pop("classes", CLASSES)
    leave = changes.pop("leave", 0)
    options: dict[str, Any] = {
        "image_ids": [f"id{n}" for n in order],
        "file_names": [f"{n}.jpg" for n in order],
        "native_sizes": [(12, 10)] * len(order),
        "classes": classes,
        "size": (6, 5),
        "dtype": "float16",
        "manifest": {"seed": seed},
    }
    with create_store(path, **{**options, **changes}) as writer:
        for row, image in enumerate(order[: len(order) - leave]):
            writer.write(
                row,
                probabilities(100 * seed + image)[[CLASSES.index(name.replace("Fork", "Metal")) for name in classes]],
            )
    return open_store(path)


def test_mean_joins_images_and_classes_by_name(tmp_path: Path) -> None:
    a = member(tmp_path / "a", 1)
    b = member(tmp_path / "b", 2, [2, 0, 1], classes=("Glass", "Metal", "Background", "Paper"))
    ensemble([a, b], tmp_path / "out", dtype="float16")
    out = open_store(tmp_path / "out")
    out.require_complete()
    assert (out.image_ids, out.classes) == (a.image_ids, CLASSES)
    for row in range(3):
        expected = (probabilities(100 + row) + probabilities(200 + row)) / 2
        np.testing.assert_allclose(out.read(row), expected, atol=2e-3)


def test_weights_are_scaled_and_kept_in_the_manifest(tmp_path: Path) -> None:
    stores = [member(tmp_path / name, seed) for seed, name in enumerate("abc")]
    made = ensemble(stores, tmp_path / "out", method="weighted", weights=[2, 1, 1], dtype="float16")
    assert made.weights == (0.5, 0.25, 0.25)
    expected = 0.5 * probabilities(0) + 0.25 * probabilities(100) + 0.25 * probabilities(200)
    np.testing.assert_allclose(open_store(tmp_path / "out").read(0), expected, atol=2e-3)
    manifest = open_store(tmp_path / "out").manifest
    assert manifest["weights"] == [0.5, 0.25, 0.25]
    assert [source["seed"] for source in manifest["sources"]] == [0, 1, 2]


softmaxes = hnp.arrays(np.float32, (3, 4, 2, 2), elements=st.floats(0.015625, 1, width=32)).map(
    lambda values: values / values.sum(axis=1, keepdims=True)
)


@given(softmaxes)
@settings(max_examples=200, deadline=None)
def test_vote_is_the_majority_and_ties_go_to_the_mean(values: NDArray[np.float32]) -> None:
    result = vote(list(values), [1 / 3] * 3)
    np.testing.assert_allclose(result.sum(axis=0), 1, atol=1e-5)
    average = mean(list(values), [1 / 3] * 3)
    for place in np.ndindex(2, 2):
        ballots = values[(slice(None), slice(None), *place)]
        cast = np.where(ballots[:, 0] > ballots[:, 1:].max(axis=1), 0, ballots[:, 1:].argmax(axis=1) + 1)
        votes = np.bincount(cast, minlength=4)
        tied = np.flatnonzero(votes == votes.max())
        at = average[(slice(None), *place)]
        winner = result[(slice(None), *place)].argmax()
        assert winner in tied
        assert at[winner] >= at[tied].max() - 1e-4


def test_ties_do_not_go_to_the_background() -> None:
    unsure = np.array([0.4, 0.3, 0.2, 0.1], dtype=np.float32)[:, None, None]
    sure = np.array([0.0, 0.1, 0.9, 0.0], dtype=np.float32)[:, None, None]
    assert vote([unsure, sure], [0.5, 0.5]).argmax() == 2


def test_full_ties_are_not_background() -> None:
    """Votes and summed confidence are both tied, once exactly and once but for rounding; so is a single ballot."""
    for one, other in ((0.6, 0.4), (0.7, 0.3), (0.55, 0.45)):
        first = np.array([one, other, 0, 0], dtype=np.float32)[:, None, None]
        second = np.array([other, one, 0, 0], dtype=np.float32)[:, None, None]
        for members in ([first, second], [second, first], [first, second, second, first]):
            assert vote(members, [1 / len(members)] * len(members)).argmax() == 1
    torn = np.array([0.5, 0.0, 0.5, 0.0], dtype=np.float32)[:, None, None]
    assert vote([torn, torn], [0.5, 0.5]).argmax() == 2
    sure = np.array([0.61, 0.39, 0, 0], dtype=np.float32)[:, None, None]
    unsure = np.array([0.4, 0.6, 0, 0], dtype=np.float32)[:, None, None]
    assert vote([sure, unsure], [0.5, 0.5]).argmax() == 0


def test_a_pixel_that_no_class_weight_reaches_takes_the_plain_mean() -> None:
    """The first store has a weight for Glass only and predicts Paper; the second one the reverse."""
    paper, glass = (np.eye(4, dtype=np.float32)[index][:, None, None] for index in (1, 2))
    weights = ((0.5, 0.0, 1.0, 0.5), (0.5, 1.0, 0.0, 0.5))
    for method in ("weighted", "vote"):
        mix = Mix.of({"method": method, "weights": [list(row) for row in weights], "temperatures": [1.0, 1.0]})
        np.testing.assert_allclose(mix([paper, glass])[:, 0, 0], [0, 0.5, 0.5, 0], atol=1e-5)
        np.testing.assert_allclose(mix([glass, paper])[:, 0, 0], [0, 0.5, 0.5, 0], atol=1e-5)
    mixed = Mix("weighted", weights, (1.0, 1.0))([probabilities(1), probabilities(2)])
    weighted = sum(
        np.asarray(row, np.float32)[:, None, None] * probabilities(n) for n, row in enumerate(weights, start=1)
    )
    np.testing.assert_allclose(mixed, weighted / weighted.sum(axis=0), atol=1e-4)


@pytest.mark.parametrize("weights", [[0.5, 0.4], [1.5, -0.5], [[1.0, 0.0], [0.0, 0.5]], [float("nan"), 1.0]])
def test_invalid_weights_are_refused(weights: Any) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        Mix.of({"method": "weighted", "weights": weights})


def test_resume_continues_and_refuses_other_members(tmp_path: Path) -> None:
    stores = [member(tmp_path / name, seed) for seed, name in enumerate("abc")]
    ensemble(stores[:2], tmp_path / "whole")

    def stop(what: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensemble(stores[:2], tmp_path / "out", progress=stop)
    with pytest.raises(TrashkitError, match="exists"):
        ensemble(stores[:2], tmp_path / "out")
    with pytest.raises(TrashkitError, match="cannot be continued"):
        ensemble(stores[1:], tmp_path / "out", resume=True)
    assert ensemble(stores[:2], tmp_path / "out", resume=True).reused == 2
    for row in range(3):
        whole, resumed = (open_store(tmp_path / name).stored(row) for name in ("whole", "out"))
        np.testing.assert_array_equal(whole, resumed)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"order": [0, 1, 3]}, r"b was predicted for other images than .*a: it lacks 2\.jpg \(id id2\)"),
        ({"order": [0, 1, 2, 3]}, r"b was predicted for other images than .*a, which lacks 3\.jpg"),
        ({"file_names": ["0.jpg", "1.jpg", "x.jpg"]}, r"lacks 2\.jpg"),
        ({"classes": ("Background", "Paper", "Glass", "Fork")}, "'Fork' is only in one"),
        ({"leave": 1}, r"b is unfinished: 1 of 3 images are missing, first 2\.jpg"),
    ],
)
def test_other_images_classes_or_unfinished_stores_are_named(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(TrashkitError, match=words):
        ensemble([member(tmp_path / "a", 1), member(tmp_path / "b", 2, **changes)], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_meaningless_arguments_are_refused(tmp_path: Path) -> None:
    a, b = member(tmp_path / "a", 1), member(tmp_path / "b", 2)
    cases: list[tuple[list[Probabilities], dict[str, Any], str]] = [
        ([a], {}, "at least two"),
        ([a, b], {"method": "weighted"}, "needs weights"),
        ([a, b], {"weights": [1, 2]}, "takes no weights"),
        ([a, b], {"method": "weighted", "weights": [1]}, "2 stores need 2 weights"),
        ([a, b], {"method": "vote", "weights": [1, 0]}, "above 0"),
        ([a, b], {"method": "median"}, "no ensemble method"),
    ]
    for stores, options, words in cases:
        with pytest.raises(TrashkitError, match=words):
            ensemble(stores, tmp_path / "out", **options)
    with pytest.raises(TrashkitError, match="one of the stores"):
        ensemble([a, b], tmp_path / "a", overwrite=True)
    assert open_store(tmp_path / "a").done.all()
