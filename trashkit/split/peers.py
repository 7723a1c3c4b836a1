"""The splitters that others use, measured by the same report. They need packages that trashkit does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.progress import Progress, silent
from trashkit.split.make import Plan
from trashkit.split.objective import deviations
from trashkit.split.quality import quality

Ints = NDArray[np.intp]
Splitter = Callable[[Plan, int, int], Ints]

INSTALL = "pip install 'trashkit[peers]'"
STOPPED = "stopped before it was tried"


@dataclass(frozen=True)
class Peer:
    """What a splitter reached.

    quality: of its best seed, None where its package is missing or it was stopped, and `missing` then says so.
    seeds: that were tried. seconds: for all of them.
    """

    name: str
    quality: dict[str, Any] | None
    seeds: int
    seconds: float
    missing: str = ""


def _random(plan: Plan, folds: int, seed: int) -> Ints:
    """Whole groups at random, each into the smallest fold."""
    rng = np.random.default_rng(seed)
    sizes, fold_sizes = np.bincount(plan.group), np.zeros(folds)
    home = np.zeros(len(sizes), dtype=np.intp)
    for unit in rng.permutation(len(sizes)):
        home[unit] = int(fold_sizes.argmin())
        fold_sizes[home[unit]] += sizes[unit]
    return home[plan.group]


def _filled(parts: Iterator[tuple[Any, Any]], count: int) -> Ints:
    fold = np.zeros(count, dtype=np.intp)
    for number, (_, inside) in enumerate(parts):
        fold[inside] = number
    return fold


def _sklearn(plan: Plan, folds: int, seed: int) -> Ints:
    """Stratified by the rarest class of each image, one label being all that it takes."""
    from sklearn.model_selection import StratifiedGroupKFold

    support = plan.features.support
    label = np.where(support.any(axis=1), support.argmax(axis=1), support.shape[1])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return _filled(splitter.split(np.zeros(len(label)), label, plan.group), len(label))


def _iterstrat(plan: Plan, folds: int, seed: int) -> Ints:
    """Stratified by the classes of each image; it knows no groups."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    support = plan.features.support.astype(int)
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    return _filled(splitter.split(np.zeros(len(support)), support), len(support))


SPLITTERS: dict[str, Splitter] = {
    "random": _random,
    "StratifiedGroupKFold": _sklearn,
    "MultilabelStratifiedKFold": _iterstrat,
}


def compare_peers(plan: Plan, *, seeds: int = 100, seed: int = 0, progress: Progress = silent) -> list[Peer]:
    """The best of `seeds` splits of each peer, judged by the mean deviation of pixel share (the least favours it).

    The seeds are ``seed, seed + 1, ...``. For a holdout each peer makes about ``1 / share`` folds, of which the first
    is held out. Ctrl-C ends it: the seeds tried so far count, and later splitters are `missing` as stopped.
    """
    import warnings

    holdout = len(plan.report) < len(plan.shares)
    folds = max(2, round(1 / plan.shares[1])) if holdout else len(plan.shares)
    columns = plan.features.columns("pixel_share")
    peers: list[Peer] = []
    stopped = False
    for name, splitter in SPLITTERS.items():
        begun, best, kept, tried = time.monotonic(), np.inf, None, 0
        if stopped:
            peers.append(Peer(name, None, 0, 0.0, STOPPED))
            continue
        try:
            for n in range(seeds):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # of classes rarer than folds, which the report tells anyway
                    fold = splitter(plan, folds, seed + n)
                if holdout:
                    fold = (fold == 0).astype(np.intp)
                off = deviations(plan.features.values[:, columns], fold, plan.shares)[list(plan.report)]
                if np.abs(off).mean() < best:
                    best, kept = float(np.abs(off).mean()), fold
                tried = n + 1
                progress(f"trying {name}", tried, seeds)
        except ModuleNotFoundError:
            peers.append(Peer(name, None, 0, 0.0, INSTALL))
            continue
        except KeyboardInterrupt:
            stopped = True
        if kept is None:
            peers.append(Peer(name, None, 0, 0.0, STOPPED))
            continue
        report = quality(plan.features, plan.group, kept, plan.shares, plan.report)
        peers.append(Peer(name, report, tried, time.monotonic() - begun))
    return peers
