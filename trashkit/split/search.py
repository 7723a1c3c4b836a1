"""Assign units to folds: several local searches in parallel, and the best of their results.

Everything here works on arrays. A unit is a group of images that must stay together (usually one image). Row u of
`values` is what the unit holds of each feature, as a share of the data set, so that every column sums to 1.

Objective: ``sum over folds k and features f of weight_f * (sum_kf / share_k - 1) ** 2``, where ``sum_kf`` is what the
fold holds and ``share_k`` what it should hold. It guides the search; the result is chosen by
`trashkit.split.local_search.LocalSearch.rank`.
"""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from trashkit.errors import TrashkitError
from trashkit.progress import Progress
from trashkit.split.local_search import FOCUS, RESTART_JITTER, SCORE_STEP, STEP_COST, LocalSearch, Rank

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DEFAULT_TRIALS = 200_000_000


@dataclass(frozen=True)
class SearchResult:
    """The result of a search.

    fold: [U] fold of each unit. cost: the objective. missing: number of (fold, class) pairs without the class although
    there are enough units. candidates: swaps and moves evaluated by all starts. seconds: wall clock.
    interrupted: stopped by Ctrl-C; the result is the best so far. selection_score: the score that splits are compared
    by. ended: why the search stopped. restarts: greedy starts in total.
    """

    fold: Ints
    cost: float
    missing: int
    candidates: int
    seconds: float
    interrupted: bool
    selection_score: float
    ended: str
    restarts: int


def _checked(values: Floats, presence: NDArray[np.bool_], shares: Floats, weights: Floats) -> None:
    if len(values) < len(shares):
        raise TrashkitError(
            f"{len(values)} groups of images cannot fill {len(shares)} folds",
            hint="use fewer --folds, or finer --groups",
        )
    if values.ndim != 2 or presence.shape[0] != len(values) or weights.shape != (values.shape[1],):
        raise ValueError(
            f"shapes do not fit: values {values.shape}, presence {presence.shape}, weights {weights.shape}"
        )
    if not np.isfinite(values).all() or (values < 0).any() or (shares <= 0).any():
        raise ValueError("values must be finite and not negative, shares positive")


def search(
    values: Floats,
    presence: NDArray[np.bool_],
    shares: Floats,
    weights: Floats,
    *,
    floor: Floats | None = None,
    family: Ints | None = None,
    importance: Floats | None = None,
    seed: int | list[int] = 0,
    starts: int = 4,
    trials: int = DEFAULT_TRIALS,
    seconds: float | None = None,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> SearchResult:
    """Distribute U units over K folds so that every fold is representative of the data set.

    values: [U, F] what each unit holds of each feature; columns need not be normalised, all-zero columns are ignored.
    presence: [U, C] whether the unit holds the class, rarest class first. A class in at least K units is put into
    every fold, and no swap takes the last unit of a class out of a fold.
    shares: [K] share of the data set that each fold should hold; they sum to 1.
    weights: [F] of the features in the objective (see the module's docstring).
    floor: [F] finite for the deciding features, infinite for all others. Splits that the search finds are compared by
    the worst deviation above this floor and the mean deviation, summed over families (see `SCORE_STEP`). None: by the
    objective alone. family: [F] number of each feature's family; None: one family. importance: [F] factor of each
    feature's deviations in that comparison, 1 by default.
    trials: candidate swaps in total, divided among `starts`; a matrix counts as at least 20,000. The result depends
    only on `seed`, `starts` and `trials`, unless `seconds` limits the time: the search then ends at whichever comes
    first, and the result depends on the machine.
    jobs: starts that run in parallel; all cores by default. The result does not depend on it.

    Raises TrashkitError for fewer units than folds, ValueError for arrays that do not fit.
    """
    _checked(values, presence, shares, weights)
    begun = time.monotonic()
    halt = threading.Event()
    totals = values.sum(axis=0)
    used = totals > 0
    scaled = values[:, used] / totals[used]
    enough = presence.sum(axis=0) >= len(shares)
    presence = presence[:, enough]
    entropy = [seed] if isinstance(seed, int) else list(seed)
    bound = (np.full(len(weights), np.inf) if floor is None else floor)[used]
    integer_valued = np.asarray((values == np.round(values)).all(axis=0)[used])
    kinds = (np.zeros(len(weights), dtype=np.intp) if family is None else family)[used]
    work = [
        LocalSearch(
            scaled,
            presence,
            shares,
            weights[used],
            floor=bound,
            family=kinds,
            integer_valued=integer_valued,
            importance=None if importance is None else importance[used],
            focus=FOCUS if number % 2 and np.isfinite(bound).any() else 1.0,
            seed=[*entropy, number],
        )
        for number in range(starts)
    ]

    def run(number: int) -> tuple[Rank, Ints]:
        start = work[number]

        def stop() -> bool:
            late = seconds is not None and time.monotonic() - begun >= seconds
            return halt.is_set() or late or start.spent >= trials / starts

        return start.run(0.0 if number == 0 else RESTART_JITTER, stop)

    interrupted = False
    # Starts run in parallel; more BLAS threads below them would only wait for each other (10x slower).
    workers = max(1, min(starts, jobs or os.cpu_count() or 1))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(run, number) for number in range(starts)]
        pending = set(futures)
        while pending:
            try:
                _, pending = wait(pending, timeout=0.2)
                if progress is not None:
                    progress(*_progress(work, trials, time.monotonic() - begun, seconds))
            except KeyboardInterrupt:
                interrupted = True
                halt.set()
    results = [future.result() for future in futures]
    best = min(range(starts), key=lambda number: (*results[number][0], number))
    (missing, _, steps, cost), fold = results[best]
    took = time.monotonic() - begun
    return SearchResult(
        fold,
        cost,
        missing,
        sum(s.candidates for s in work),
        took,
        interrupted,
        steps * SCORE_STEP,
        _ended(work, trials, took, seconds, interrupted=interrupted),
        sum(s.restarts for s in work),
    )


def _progress(work: list[LocalSearch], trials: int, took: float, seconds: float | None) -> tuple[str, int, int]:
    """Progress in whichever ends the search first, trials or seconds."""
    spent = min(sum(start.spent for start in work), trials)
    if seconds is not None and took / seconds >= spent / trials:
        return "trying swaps, seconds", int(min(took, seconds)), max(1, int(np.ceil(seconds)))
    return "trying swaps", spent, trials


def _ended(work: list[LocalSearch], trials: int, took: float, seconds: float | None, *, interrupted: bool) -> str:
    if interrupted:
        return "stopped by Ctrl-C"
    if all(start.exact for start in work):
        return "every fold holds exactly its share"
    if seconds is not None and took >= seconds:
        return f"stopped after {seconds:g} seconds"
    return (
        f"ended after {trials / 1e6:g} million trials, where a swap counts as one and comparing two folds as at least "
        f"{STEP_COST:,}"
    )
