"""The search: laws of partitions, agreement with brute force, determinism."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.errors import TrashkitError
from trashkit.split import local_search as searching
from trashkit.split.objective import deviations
from trashkit.split.search import SearchResult, search

QUICK = 3_000_000


def cost(values: np.ndarray, fold: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> float:
    """An independent implementation of the objective."""
    return float((weights * np.nan_to_num(deviations(values, fold, shares)) ** 2).sum())


def run(values: np.ndarray, shares: np.ndarray, weights: np.ndarray | None = None, **options: object) -> SearchResult:
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


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
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
    start = searching.LocalSearch(
        values,
        np.zeros((60, 0), dtype=bool),
        shares,
        weights,
        floor=np.full(7, np.inf),
        family=np.zeros(7, dtype=np.intp),
        integer_valued=np.zeros(7, dtype=bool),
        seed=[1],
    )
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


def selection_scores(values: np.ndarray, fold: np.ndarray, shares: np.ndarray) -> tuple[float, float]:
    """An independent implementation of the score of splits: features 0 to 2 are counts, 3 to 5 shares; floors are 0."""
    off = np.abs(deviations(values, fold, shares))
    counted = off[:, :3].max()
    return counted, counted + sum(
        off[:, part].max() + off[:, part].mean(axis=0).mean() for part in ([0, 1, 2], [3, 4, 5])
    )


@pytest.mark.parametrize("seed", range(3))
def test_more_trials_or_more_starts_never_end_worse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.poisson(0.4, (60, 3)), rng.random((60, 5)) ** 4], axis=1)
    shares, weights = np.full(4, 0.25), np.linspace(4, 0.1, 8)
    floor = np.where(np.arange(8) < 6, 0.0, np.inf)
    family = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    ladder = [(1, 2), (2, 2), (4, 2), (8, 2), (16, 2), (32, 4), (80, 10)]
    counted, every = [], []
    for trials, starts in ladder:
        found = run(values, shares, weights, floor=floor, family=family, trials=trials * 10**6, starts=starts, seed=1)
        assert found.cost == pytest.approx(cost(values, found.fold, shares, weights))
        one, two = selection_scores(values, found.fold, shares)
        assert found.selection_score == pytest.approx(two, abs=2 * searching.SCORE_STEP)
        counted.append(np.ceil(one / searching.COUNT_STEP - 1e-6))
        every.append(two)
    rank = list(zip(counted, every, strict=True))
    for before, after in itertools.pairwise(rank):
        assert after <= (before[0], before[1] + searching.SCORE_STEP)
    assert rank[-1] < rank[0]


def test_the_budget_is_used_and_the_end_is_explained() -> None:
    values = np.random.default_rng(4).random((12, 5))
    found = run(values, np.full(3, 1 / 3), trials=200_000_000, starts=2)
    assert found.restarts > 2  # nothing more is found from one start, so others follow
    assert "after 200 million trials" in found.ended
    even = run(np.ones((12, 2)), np.full(3, 1 / 3), trials=10**12)
    assert even.cost < 1e-12
    assert even.ended == "every fold holds exactly its share"
    assert run(values, np.full(3, 1 / 3), trials=10**15, seconds=0.3).ended == "stopped after 0.3 seconds"


def test_progress_counts_whatever_ends_the_search() -> None:
    values = np.random.default_rng(0).random((100, 8))
    told: list[tuple[str, int, int]] = []
    run(values, np.full(5, 0.2), trials=10**15, seconds=1.0, progress=lambda *one: told.append(one))
    assert told
    assert {(what, total) for what, _, total in told} == {("trying swaps, seconds", 1)}
    told.clear()
    run(values, np.full(5, 0.2), trials=40_000_000, progress=lambda *one: told.append(one))
    assert {(what, total) for what, _, total in told} == {("trying swaps", 40_000_000)}
    assert all(done <= total for _, done, total in told)


def test_large_folds_are_sampled_and_still_improve(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).random((300, 4))
    monkeypatch.setattr(searching, "MAX_UNITS", 20)
    shares = np.full(2, 0.5)
    found = run(values, shares)
    assert np.abs(deviations(values, found.fold, shares)).max() < 1e-3


def test_stops_by_time_and_reports_it() -> None:
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


def test_more_folds_than_groups_is_reported() -> None:
    with pytest.raises(TrashkitError, match="3 groups of images cannot fill 5 folds"):
        run(np.ones((3, 1)), np.full(5, 0.2))
