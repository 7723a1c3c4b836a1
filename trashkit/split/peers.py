"""Compare with other splitters by the same quality report. They need packages that trashkit itself does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.progress import Progress, silent
from trashkit.split.make import SearchInput
from trashkit.split.objective import deviations
from trashkit.split.quality import QualityReport, measure_quality

Ints = NDArray[np.intp]
Splitter = Callable[[SearchInput, int, int], Ints]

INSTALL = "pip install 'trashkit[peers]'"
STOPPED = "stopped before any split was made"


@dataclass(frozen=True)
class PeerResult:
    """Result of another splitter.

    quality: of its best seed, None if its package is missing or it was stopped; `missing` then gives the reason.
    seeds: number of seeds tried. seconds: for all of them.
    """

    name: str
    quality: QualityReport | None
    seeds: int
    seconds: float
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """The record in SPLIT.json."""
        if self.quality is None:
            return {"missing": self.missing}
        quality = self.quality
        kept = {"criteria": quality["criteria"], "folds": quality["folds"], "groups": quality["groups"]}
        return {"seeds": self.seeds, **kept}


def _random(inputs: SearchInput, folds: int, seed: int) -> Ints:
    """Whole groups in random order, each into the smallest fold."""
    rng = np.random.default_rng(seed)
    sizes, fold_sizes = np.bincount(inputs.group), np.zeros(folds)
    home = np.zeros(len(sizes), dtype=np.intp)
    for unit in rng.permutation(len(sizes)):
        home[unit] = int(fold_sizes.argmin())
        fold_sizes[home[unit]] += sizes[unit]
    return home[inputs.group]


def _filled(parts: Iterator[tuple[Any, Any]], count: int) -> Ints:
    fold = np.zeros(count, dtype=np.intp)
    for number, (_, inside) in enumerate(parts):
        fold[inside] = number
    return fold


def _sklearn(inputs: SearchInput, folds: int, seed: int) -> Ints:
    """Stratified by the rarest class of each image, since it takes only one label per image."""
    from sklearn.model_selection import StratifiedGroupKFold

    support = inputs.features.support
    label = np.where(support.any(axis=1), support.argmax(axis=1), support.shape[1])
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return _filled(splitter.split(np.zeros(len(label)), label, inputs.group), len(label))


def _iterstrat(inputs: SearchInput, folds: int, seed: int) -> Ints:
    """Stratified by the classes of each image; it does not support groups."""
    from iterstrat.ml_stratifiers import MultilabelStratifiedKFold

    support = inputs.features.support.astype(int)
    splitter = MultilabelStratifiedKFold(n_splits=folds, shuffle=True, random_state=seed)
    return _filled(splitter.split(np.zeros(len(support)), support), len(support))


SPLITTERS: dict[str, Splitter] = {
    "random": _random,
    "StratifiedGroupKFold": _sklearn,
    "MultilabelStratifiedKFold": _iterstrat,
}


def compare_peers(
    inputs: SearchInput, *, seeds: int = 100, seed: int = 0, progress: Progress = silent
) -> list[PeerResult]:
    """Run each splitter with `seeds` seeds and keep its split with the lowest mean deviation of pixel share.

    The seeds are ``seed, seed + 1, ...``. For a holdout, each splitter makes about ``1 / share`` folds, and the first
    is held out. Ctrl-C ends the comparison: the seeds tried so far count, and the remaining splitters are `missing`.
    """
    import warnings

    holdout = len(inputs.val_folds) < len(inputs.shares)
    folds = max(2, round(1 / inputs.shares[1])) if holdout else len(inputs.shares)
    columns = inputs.features.columns("pixel_share")
    peers: list[PeerResult] = []
    stopped = False
    for name, splitter in SPLITTERS.items():
        begun, best, kept, tried = time.monotonic(), np.inf, None, 0
        if stopped:
            peers.append(PeerResult(name, None, 0, 0.0, STOPPED))
            continue
        try:
            for n in range(seeds):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # about classes rarer than folds, which the report mentions anyway
                    fold = splitter(inputs, folds, seed + n)
                if holdout:
                    fold = (fold == 0).astype(np.intp)
                off = deviations(inputs.features.values[:, columns], fold, inputs.shares)[list(inputs.val_folds)]
                if np.abs(off).mean() < best:
                    best, kept = float(np.abs(off).mean()), fold
                tried = n + 1
                progress(f"trying {name}", tried, seeds)
        except ModuleNotFoundError:
            peers.append(PeerResult(name, None, 0, 0.0, INSTALL))
            continue
        except KeyboardInterrupt:
            stopped = True
        if kept is None:
            peers.append(PeerResult(name, None, 0, 0.0, STOPPED))
            continue
        report = measure_quality(inputs.features, inputs.group, kept, inputs.shares, inputs.val_folds)
        peers.append(PeerResult(name, report, tried, time.monotonic() - begun))
    return peers
