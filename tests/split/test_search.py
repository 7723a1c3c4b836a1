"""The search: laws of partitions, agreement with brute force, determinism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.errors import TrashkitError
from trashkit.split import search as searching
from trashkit.split.objective import deviations
from trashkit.split.search import Found, search

QUICK = 3_000_000


def cost(values: np.ndarray, fold: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> float:
    """The objective, written down anew."""
    return float((weights * np.nan_to_num(deviations(values, fold, shares)) ** 2).sum())


def run(values: np.ndarray, shares: np.ndarray, weights: np.ndarray | None = None, **options: object) -> Found:
    presence = options.pop("presence", np.zeros((len(values), 0), dtype=bool))
    weights = np.ones(values.shape[1]) if weights is None else weights
    return search(values, presence, shares, weights, **{"trials": QUICK, **options})  # type: ignore[arg-type]


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(5, 40), st.integers(1, 6), st.integers(0, 10**6))
def test_every_unit_has_one_fold_and_the_cost_is_true(folds: int, units: int, features: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.ones((units, 1)), rng.random((units, features)) ** 4], axis=1)
    weights = rng.random(features + 1) + 0.1
    shares = rng.dirichlet(np.full(folds, 20.0))
    found = run(values, shares, weights, seed=seed)
    assert found.fold.shape == (units,)
    assert set(found.fold.tolist()) <= set(range(folds))
    assert found.cost == pytest.approx(cost(values, found.fold, shares, weights), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shares", [np.full(3, 1 / 3), np.array([0.75, 0.25])])
def test_finds_the_optimum_of_tiny_sets(seed: int, shares: np.ndarray) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([np.ones((9, 1)), rng.integers(0, 5, (9, 2)), rng.random((9, 2))], axis=1)
    values[0, 1:] = 1
    every = (np.array(fold) for fold in itertools.product(range(len(shares)), repeat=9))
    best = min(cost(values, fold, shares, np.ones(5)) for fold in every)
    assert run(values, shares, seed=seed).cost == pytest.approx(best, rel=1e-9)


def test_finds_a_planted_perfect_split() -> None:
    rng = np.random.default_rng(5)
    quarter = rng.integers(1, 50, (12, 3)).astype(float)
    values = np.tile(quarter, (4, 1))[rng.permutation(48)]
    assert run(values, np.full(4, 0.25), trials=40_000_000).cost < 1e-4


def test_an_improving_swap_is_taken_only_when_it_improves() -> None:
    rng = np.random.default_rng(2)
    values = rng.random((60, 7))
    values /= values.sum(axis=0)
    shares, weights = np.array([0.5, 0.3, 0.2]), rng.random(7) + 0.1
    start = searching._Start(values, np.zeros((60, 0), dtype=bool), shares, weights, floor=np.full(7, np.inf), seed=[1])
    for unit in range(60):
        start.place(unit, unit % 3)
    taken = 0
    for _ in range(200):
        a, b = (int(k) for k in start.rng.choice(3, 2, replace=False))
        before = cost(values, start.fold, shares, weights)
        moved = start.fold.copy()
        if start.step(a, b):
            taken += 1
            assert cost(values, start.fold, shares, weights) < before
            # No swap or move between these two folds would have been better.
            best = np.inf
            for left in [*np.flatnonzero(moved == a), None]:
                for right in [*np.flatnonzero(moved == b), None]:
                    tried = moved.copy()
                    tried[[n for n in [left] if n is not None]] = b
                    tried[[n for n in [right] if n is not None]] = a
                    best = min(best, cost(values, tried, shares, weights))
            assert cost(values, start.fold, shares, weights) == pytest.approx(best, rel=1e-9)
        else:
            assert (start.fold == moved).all()
    assert taken > 3


def test_same_seed_same_split_whatever_the_number_of_threads() -> None:
    values = np.random.default_rng(0).random((80, 6)) ** 3
    shares = np.full(5, 0.2)
    first = run(values, shares, seed=7, jobs=1)
    assert (run(values, shares, seed=7, jobs=4).fold == first.fold).all()
    assert (run(values, shares, seed=8, jobs=1).fold != first.fold).any()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5))
def test_a_class_in_enough_units_is_in_every_fold(seed: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    presence = np.zeros((60, 4), dtype=bool)
    for number in range(4):
        presence[rng.choice(60, folds + 2 * number, replace=False), number] = True
    values = np.concatenate([np.ones((60, 1)), rng.random((60, 3)), presence], axis=1)
    found = run(values, np.full(folds, 1 / folds), presence=presence, seed=seed)
    assert found.missing == 0
    for fold in range(folds):
        assert presence[found.fold == fold].any(axis=0).all()


def test_a_longer_search_shows_no_worse_headline() -> None:
    rng = np.random.default_rng(5)
    values = rng.random((90, 8)) ** 4
    shares, weights = np.full(4, 0.25), np.linspace(4, 0.1, 8)
    floor = np.where(np.arange(8) < 3, 0.0, np.inf)
    worst = []
    for trials in (2, 4, 8, 16, 32):
        found = run(values, shares, weights, floor=floor, trials=trials * 1_000_000, starts=2, seed=1)
        worst.append(np.abs(deviations(values[:, :3], found.fold, shares)).max())
        assert found.cost == pytest.approx(cost(values, found.fold, shares, weights))
    assert (np.diff(worst) <= searching.STEP).all()
    assert worst[-1] < worst[0]
    plain = run(values, shares, weights, trials=32_000_000, starts=2, seed=1)
    assert worst[-1] <= np.abs(deviations(values[:, :3], plain.fold, shares)).max() + searching.STEP


def test_large_folds_are_sampled_and_still_improve(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((300, 4))
    monkeypatch.setattr(searching, "ROWS", 20)
    shares = np.full(2, 0.5)
    found = run(values, shares)
    assert np.abs(deviations(values, found.fold, shares)).max() < 1e-3


def test_stops_by_time_and_tells_what_it_did() -> None:
    values = np.random.default_rng(0).random((500, 8))
    found = run(values, np.full(5, 0.2), trials=10**15, seconds=0.3)
    assert found.seconds < 5
    assert found.candidates > 100_000
    assert not found.interrupted


def test_ctrl_c_keeps_the_best_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((200, 8))
    calls = []

    def interrupt(what: str, done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 1:
            raise KeyboardInterrupt

    found = run(values, np.full(5, 0.2), trials=10**12, progress=interrupt)
    assert found.interrupted
    assert np.bincount(found.fold, minlength=5).sum() == 200
    assert np.abs(deviations(values, found.fold, np.full(5, 0.2))).max() < 0.05


def test_more_folds_than_groups_is_said() -> None:
    with pytest.raises(TrashkitError, match="3 groups of images cannot fill 5 folds"):
        run(np.ones((3, 1)), np.full(5, 0.2))
