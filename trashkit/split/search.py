"""Which unit goes to which fold: several starts of a local search side by side, the best of what they found.

Everything here works on arrays. A unit is a group of images that must stay together (mostly one image); a row of
`values` is what the unit holds of each feature, as a share of the whole, so that every column sums to 1.

Objective: ``sum over folds k and features f of weight_f * (sum_kf / share_k - 1) ** 2``, where ``sum_kf`` is what the
fold holds and ``share_k`` what it should hold. It leads the search; what is kept is chosen by the headline (see
`trashkit.split.local_search.Start.standing`).
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
from trashkit.split.local_search import AGAIN, FOCUS, STEP, STEP_COST, Standing, Start

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

DEFAULT_TRIALS = 200_000_000


@dataclass(frozen=True)
class Found:
    """The result of a search.

    fold: [U] fold of each unit. cost: the objective. missing: (fold, class) pairs without the class although there
    are enough units. candidates: swaps and moves evaluated, over all starts. seconds: wall clock.
    interrupted: stopped by Ctrl-C; the best until then is kept. headline: the sum that splits are compared by.
    ended: why the search stopped, in words. rounds: greedy starts in all, those begun anew included.
    """

    fold: Ints
    cost: float
    missing: int
    candidates: int
    seconds: float
    interrupted: bool
    headline: float
    ended: str
    rounds: int


def _checked(values: Floats, presence: NDArray[np.bool_], shares: Floats, weights: Floats) -> None:
    if len(values) < len(shares):
        raise TrashkitError(
            f"{len(values)} groups of images cannot fill {len(shares)} folds",
            hint="ask for fewer --folds, or for finer --groups",
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
) -> Found:
    """Distribute U units over K folds so that every fold looks like the whole.

    values: [U, F] what each unit holds of each feature; columns need not be normalised, all-zero columns are ignored.
    presence: [U, C] whether the unit holds the class, rarest class first. A class in at least K units is put into
    every fold, and no swap takes the last unit of a class out of a fold.
    shares: [K] what part of the whole each fold should be; they sum to 1.
    weights: [F] of the features in the objective (see the module's text).
    floor: [F] finite for the headline features, whose deviations decide between splits that the search comes by: of
    each family the worst above this floor and the mean, summed (see `STEP`); infinite for all others. None: the
    objective alone decides. family: [F] number of each feature's family; None: all are one. importance: [F]
    factor of each feature's deviations there, 1 by default.
    trials: candidate swaps in all, divided among `starts`; a matrix counts as at least 20,000. The result depends on
    `seed`, `starts` and `trials` alone, unless `seconds` limits the time (then it ends at whichever comes first when
    trials > 0, and the result depends on the machine).
    jobs: starts that run at once; all cores by default. The result does not depend on it.

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
    whole = np.asarray((values == np.round(values)).all(axis=0)[used])
    kinds = (np.zeros(len(weights), dtype=np.intp) if family is None else family)[used]
    work = [
        Start(
            scaled,
            presence,
            shares,
            weights[used],
            floor=bound,
            family=kinds,
            whole=whole,
            importance=None if importance is None else importance[used],
            focus=FOCUS if number % 2 and np.isfinite(bound).any() else 1.0,
            seed=[*entropy, number],
        )
        for number in range(starts)
    ]

    def run(number: int) -> tuple[Standing, Ints]:
        start = work[number]

        def stop() -> bool:
            late = seconds is not None and time.monotonic() - begun >= seconds
            return halt.is_set() or late or start.spent >= trials / starts

        return start.run(0.0 if number == 0 else AGAIN, stop)

    interrupted = False
    # Starts run side by side; threads of the matrix product below them would only wait for each other (10x slower).
    workers = max(1, min(starts, jobs or os.cpu_count() or 1))
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(max_workers=workers) as pool:
        futures = [pool.submit(run, number) for number in range(starts)]
        pending = set(futures)
        while pending:
            try:
                _, pending = wait(pending, timeout=0.2)
                if progress is not None:
                    progress(*_told(work, trials, time.monotonic() - begun, seconds))
            except KeyboardInterrupt:
                interrupted = True
                halt.set()
    results = [future.result() for future in futures]
    best = min(range(starts), key=lambda number: (*results[number][0], number))
    (missing, _, steps, cost), fold = results[best]
    took = time.monotonic() - begun
    return Found(
        fold,
        cost,
        missing,
        sum(s.candidates for s in work),
        took,
        interrupted,
        steps * STEP,
        _ended(work, trials, took, seconds, interrupted=interrupted),
        sum(s.rounds for s in work),
    )


def _told(work: list[Start], trials: int, took: float, seconds: float | None) -> tuple[str, int, int]:
    """Progress in whatever ends the search first: the trials spent, or the seconds."""
    spent = min(sum(start.spent for start in work), trials)
    if seconds is not None and took / seconds >= spent / trials:
        return "trying swaps, seconds", int(min(took, seconds)), max(1, int(np.ceil(seconds)))
    return "trying swaps", spent, trials


def _ended(work: list[Start], trials: int, took: float, seconds: float | None, *, interrupted: bool) -> str:
    if interrupted:
        return "stopped by Ctrl-C"
    if all(start.exact for start in work):
        return "every fold holds exactly its share"
    if seconds is not None and took >= seconds:
        return f"the {seconds:g} seconds are over"
    return f"all of {trials / 1e6:g} million trials are spent, a look at two folds counting as {STEP_COST:,} at least"
