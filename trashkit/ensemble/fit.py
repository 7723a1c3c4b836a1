"""Fit the weights of an ensemble to the pooled mIoU of out-of-fold stores, and score them on held-out images.

The fit uses a sample of pixels, which is in memory; the scores count every pixel, image by image. The reported gain is
nested: images are divided into folds, each fold is scored by a mix fitted on the others, and the confusion matrices are
pooled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.ensemble.combine import REST, Join, Method, Mix, join_stores, mean, read_members, tempered, with_rest
from trashkit.errors import TrashkitError
from trashkit.metrics.scores import bootstrap_miou_difference, confusion, interval, iou
from trashkit.metrics.summary import finds_almost_nothing, miou_text
from trashkit.predictions.reading import check_native_sizes, class_lookup
from trashkit.predictions.store import Probabilities, from_stored
from trashkit.progress import Progress, silent
from trashkit.raster import masks

FITTED: dict[str, str] = {
    "greedy": "weighted mean, greedy selection with replacement",
    "geometric": "geometric mean, greedy selection with replacement",
    "class-weighted": "weighted mean with one weight per store and class",
}
"""Mixes that `fit` tries, in addition to the plain mean."""

PIXELS = 300_000
"""Pixels of all images together that the fit uses."""
_FOLDS = 5
_ROUNDS = 12
_TEMPERATURES = np.round(np.geomspace(0.5, 3.0, 15), 3)
_STEPS = (0.0, 0.5, 2.0)

Sample = tuple[list[NDArray[np.float32]], NDArray[np.uint8]]
"""Probabilities of each store [C, M], and the true classes [M], of the sampled pixels."""


@dataclass(frozen=True)
class Candidate:
    """One way to combine the stores, with its score.

    name: "mean", a store's path, or one of FITTED. mix: fitted on all images; None for a single store. miou: pooled
    over held-out images. iou: [C] by class, the same way. gain: over the plain mean; low, high: its interval (paired
    bootstrap). in_sample: mIoU on the
    images that the mix was fitted on, which is too high.
    """

    name: str
    mix: Mix | None
    miou: float
    iou: tuple[float, ...]
    gain: float
    low: float
    high: float
    in_sample: float

    @property
    def evidence(self) -> bool:
        """Whether the interval of the gain excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class MemberScore:
    """One store of the ensemble: its own mIoU, and the loss of the plain mean without it (with its interval)."""

    name: str
    miou: float
    iou: tuple[float, ...]
    contribution: float
    low: float
    high: float

    @property
    def conclusion(self) -> str:
        """ "helps", "hurts", or "no evidence"."""
        return "helps" if self.low > 0 else "hurts" if self.high < 0 else "no evidence"


@dataclass(frozen=True)
class Fit:
    """Result of `fit`.

    candidates: the plain mean first, then single stores, then fitted mixes. chosen: the best fitted mix with
    evidence of a gain over the plain mean, else the plain mean. disagreement: float64 [S, S], share of pixels to
    which two stores give different classes.
    """

    candidates: tuple[Candidate, ...]
    members: tuple[MemberScore, ...]
    disagreement: NDArray[np.float64]
    chosen: Candidate
    images: int

    @property
    def conclusion(self) -> str:
        """The result as a sentence; no mix that finds almost nothing is called better."""
        if finds_almost_nothing(self.chosen.iou):
            return f"{self.chosen.name}: mIoU {miou_text(self.chosen.miou, self.chosen.iou)}; train better models first"
        best = max(self.candidates[1 + len(self.members) :], key=lambda one: one.miou)
        if self.chosen.name == "mean":
            span = f"between {best.low:+.4f} and {best.high:+.4f}"
            result = f"no evidence that any fitted mix beats the plain mean: {best.name} gains {span} on these images"
        else:
            span = f"between {self.chosen.low:+.4f} and {self.chosen.high:+.4f}"
            result = f"{self.chosen.name} beats the plain mean by {self.chosen.gain:+.4f} mIoU, {span}"
        alone = self.better_alone
        if alone is None:
            return result
        span = f"between {alone.low:+.4f} and {alone.high:+.4f}"
        return f"{result}; {alone.name} alone beats the plain mean, by {alone.gain:+.4f} mIoU, {span}: use it alone"

    @property
    def better_alone(self) -> Candidate | None:
        """The best single store, if it beats the plain mean with evidence and the chosen mix is not better."""
        singles = [one for one in self.candidates if one.mix is None and one.low > 0]
        best = max(singles, key=lambda one: one.miou, default=None)
        return best if best is not None and best.miou >= self.chosen.miou else None


def fit(
    stores: Sequence[Probabilities],
    dataset: Dataset,
    *,
    order: masks.PaintOrder = "area",
    seed: int = 0,
    pixels: int = PIXELS,
    progress: Progress = silent,
) -> Fit:
    """Find how to combine finished stores of out-of-fold predictions of `dataset`.

    All stores are of the same images; those in `dataset` are used. Memory: `pixels` times stores times classes times
    four bytes, and one image of each store. Two passes over the stores for the fit, a third for the scores.
    Raises TrashkitError as `ensemble.ensemble` does, for images that the data lacks, and for fewer than 5 images.
    """
    joins = join_stores(stores)
    rows = _images(stores[0], dataset)
    if len(stores) < 2 or len(rows) < _FOLDS:
        raise TrashkitError(
            f"{len(stores)} stores of {len(rows)} annotated images are too few to fit an ensemble",
            hint="give at least two stores of five images",
        )
    folds = np.random.default_rng(seed).permutation(len(rows)) % _FOLDS
    pool = _Pool(stores, joins, dataset, rows, order, _to_store(dataset, stores[0]))
    sample, origin = _sample(pool, seed, pixels, progress)
    mixes: list[dict[str, Mix]] = []
    for fold in range(_FOLDS + 1):
        mixes.append(_fitted(*_part(sample, folds[origin] != fold)))
        progress("fitting", fold + 1, _FOLDS + 1)
    return _evaluate(pool, folds, mixes, progress)


def _images(store: Probabilities, dataset: Dataset) -> list[tuple[int, int]]:
    """(row of the store, row of the image) of every image that both have."""
    known = {(image.id, image.file_name): image for image in dataset.images}
    found = enumerate(zip(store.image_ids, store.file_names, strict=True))
    pairs = [(known[pair], n) for n, pair in found if pair in known]
    check_native_sizes(store, pairs)
    return [(n, image.row) for image, n in pairs]


@dataclass(frozen=True)
class _Pool:
    """Stores and truth, image by image. rows: see `_images`. lookup: see `_to_store`."""

    stores: Sequence[Probabilities]
    joins: Sequence[Join]
    dataset: Dataset
    rows: Sequence[tuple[int, int]]
    order: masks.PaintOrder
    lookup: NDArray[np.uint8]

    def truth(self, n: int) -> NDArray[np.uint8]:
        """Label map of an image at the stores' size, in the first store's classes."""
        size = self.stores[0].size
        labels = masks.dataset_label_map(self.dataset, self.rows[n][1], order=self.order, size=size)
        return np.asarray(self.lookup[labels])

    def members(self, n: int) -> list[NDArray[np.float32]]:
        """Probabilities of an image in each store."""
        return read_members(self.stores, self.joins, self.rows[n][0])


def _to_store(dataset: Dataset, store: Probabilities) -> NDArray[np.uint8]:
    """Table [256] from the data set's classes to the store's."""
    forth = class_lookup(store.classes, dataset, str(store.path))
    back = np.full(256, masks.IGNORE, np.uint8)
    for index in range(len(store.classes)):
        back[forth[index]] = index
    return back


def _sample(pool: _Pool, seed: int, pixels: int, progress: Progress) -> tuple[Sample, NDArray[np.int64]]:
    """The same random pixels of every store, with their truth and the position of their image."""
    size = pool.stores[0].size[0] * pool.stores[0].size[1]
    each = max(1, min(size, pixels // len(pool.rows)))
    kept: list[list[NDArray[np.float32]]] = [[] for _ in pool.stores]
    truth, origin = [], []
    for n, (row, _) in enumerate(pool.rows):
        chosen = np.random.default_rng([seed, n]).choice(size, each, replace=False)
        labels = pool.truth(n).ravel()[chosen]
        known = labels != masks.IGNORE
        for s, (store, (theirs, classes)) in enumerate(zip(pool.stores, pool.joins, strict=True)):
            stored = store.stored(theirs[row])
            flat = stored.reshape(len(stored), -1)[classes][:, chosen[known]]
            kept[s].append(from_stored(flat[:, :, None])[:, :, 0])
        truth.append(labels[known])
        origin.append(np.full(int(known.sum()), n))
        progress("sampling pixels", n + 1, len(pool.rows))
    members = [np.concatenate(parts, axis=1) for parts in kept]
    return (members, np.concatenate(truth)), np.concatenate(origin)


def _part(sample: Sample, chosen: NDArray[np.bool_]) -> Sample:
    members, truth = sample
    return (members, truth) if chosen.all() else ([values[:, chosen] for values in members], truth[chosen])


# --- fitting on the sample -------------------------------------------------------------------------------------------


def _miou(values: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Pooled mIoU of the argmax of [C, M]."""
    return _mean_iou(confusion(truth, values.argmax(axis=0).astype(np.uint8), len(values)))


def _mean_iou(matrix: NDArray[np.int64]) -> float:
    return float(np.nanmean(iou(matrix)))


def temperature(values: NDArray[np.float32], truth: NDArray[np.uint8]) -> float:
    """Return the temperature at which probabilities [C, M] give the true classes [M] the highest likelihood.

    C. Guo et al., "On calibration of modern neural networks", 2017; one of fifteen from 0.5 to 3.
    """
    logs = np.log(np.maximum(values, np.float32(0.5 / 255)))
    own = np.take_along_axis(logs, truth[None].astype(np.int64), axis=0)[0]
    loss = [float((np.log(np.exp(logs / t).sum(axis=0)) - own / t).mean()) for t in _TEMPERATURES.astype(np.float32)]
    return float(_TEMPERATURES[int(np.argmin(loss))])


def greedy(
    members: Sequence[NDArray[np.float32]], truth: NDArray[np.uint8], rounds: int = _ROUNDS
) -> tuple[float, ...]:
    """Return weights that sum to 1, by greedy selection with replacement for pooled mIoU.

    members: values of each store that are added up, [C, M]. Starts from every store once and adds, `rounds` times, the
    store that raises the sum's mIoU most; the best sum on the way is kept. R. Caruana et al., "Ensemble selection
    from libraries of models", 2004.
    """
    counts = np.ones(len(members), np.int64)
    total: NDArray[np.float32] = np.asarray(np.sum(members, axis=0), np.float32)
    best, kept = _miou(total, truth), counts.copy()
    for _ in range(rounds):
        tried = [_miou(np.asarray(total + values), truth) for values in members]
        winner = int(np.argmax(tried))
        counts[winner] += 1
        total = np.asarray(total + members[winner])
        if tried[winner] > best:
            best, kept = tried[winner], counts.copy()
    return tuple((kept / kept.sum()).tolist())


def class_weights(
    members: Sequence[NDArray[np.float32]], truth: NDArray[np.uint8], start: Sequence[float]
) -> tuple[tuple[float, ...], ...]:
    """Return one weight per store and class, summing to 1 over the stores: `start`, then one pass over all weights.

    Each weight in turn is tried at 0, half and twice its value, with the class's weights rescaled; a change is kept if
    it raises pooled mIoU.
    """
    channels = len(members[0])
    weights = np.repeat(np.asarray(start, np.float64)[:, None], channels, axis=1)
    total = mean(members, with_rest(start))
    best = _miou(total, truth)
    for c in range(channels):
        for s in range(len(members)):
            for step in _STEPS:
                tried = weights[:, c].copy()
                tried[s] = step * tried[s] if tried[s] > 0 else 0.25 * step
                if tried.sum() <= 0:
                    continue
                tried /= tried.sum()
                old = total[c].copy()
                rest = REST / len(members)
                total[c] = sum(np.float32(w + rest) * values[c] for w, values in zip(tried, members, strict=True))
                found = _miou(total, truth)
                if found > best:
                    best, weights[:, c] = found, tried
                else:
                    total[c] = old
    return tuple(tuple(row) for row in weights.tolist())


def _fitted(members: Sequence[NDArray[np.float32]], truth: NDArray[np.uint8]) -> dict[str, Mix]:
    """Every mix of FITTED, fitted on a sample."""
    heat = tuple(temperature(values, truth) for values in members)
    warm = [tempered(values, t) for values, t in zip(members, heat, strict=True)]
    by_mean = greedy(warm, truth)
    logs = [np.log(np.maximum(values, np.float32(0.5 / 255))) for values in warm]
    return {
        "greedy": Mix("weighted", by_mean, heat),
        "geometric": Mix("geometric", greedy(logs, truth), heat),
        "class-weighted": Mix("weighted", class_weights(warm, truth, by_mean), heat),
    }


# --- scores on whole images -----------------------------------------------------------------------------------------


def _evaluate(pool: _Pool, folds: NDArray[np.int64], mixes: Sequence[dict[str, Mix]], progress: Progress) -> Fit:
    stores, rows = pool.stores, pool.rows
    count, classes = len(stores), len(stores[0].classes)
    names = ["mean", *(str(store.path) for store in stores), *FITTED]
    matrices = {name: np.zeros((len(rows), classes, classes), np.int64) for name in names}
    in_sample = {name: np.zeros((classes, classes), np.int64) for name in FITTED}
    without = np.zeros((count, len(rows), classes, classes), np.int64)
    differ = np.zeros((count, count))
    plain = mean_mix(count)
    for n in range(len(rows)):
        members, truth = pool.members(n), pool.truth(n)
        count_in = _counter(truth, classes)
        guesses = [values.argmax(axis=0).astype(np.uint8) for values in members]
        total = np.sum(members, axis=0, dtype=np.float32)
        matrices["mean"][n] = count_in(plain(members))
        for s, (store, guess) in enumerate(zip(stores, guesses, strict=True)):
            matrices[str(store.path)][n] = confusion(truth, guess, classes)
            without[s, n] = count_in(total - members[s])
            differ[s] += [float((guess != other).mean()) for other in guesses]
        for name in FITTED:
            matrices[name][n] = count_in(mixes[folds[n]][name](members))
            in_sample[name] += count_in(mixes[-1][name](members))
        progress("scoring", n + 1, len(rows))
    base = matrices["mean"]
    candidates = []
    for name in names:
        low, high = interval(bootstrap_miou_difference(base, matrices[name]))
        miou = _mean_iou(matrices[name].sum(axis=0))
        inside = _mean_iou(in_sample[name]) if name in FITTED else miou
        mix = plain if name == "mean" else mixes[-1].get(name)
        by_class = _iou(matrices[name])
        candidates.append(Candidate(name, mix, miou, by_class, miou - _mean_iou(base.sum(axis=0)), low, high, inside))
    members_found = tuple(
        _member(str(store.path), matrices[str(store.path)], base, without[s]) for s, store in enumerate(stores)
    )
    evident = [one for one in candidates if one.name in FITTED and one.low > 0]
    chosen = max(evident, key=lambda one: one.miou, default=candidates[0])
    return Fit(tuple(candidates), members_found, differ / len(rows), chosen, len(rows))


def _counter(truth: NDArray[np.uint8], classes: int) -> Callable[[NDArray[np.float32]], NDArray[np.int64]]:
    return lambda values: confusion(truth, values.argmax(axis=0).astype(np.uint8), classes)


def _member(name: str, own: NDArray[np.int64], base: NDArray[np.int64], without: NDArray[np.int64]) -> MemberScore:
    low, high = interval(bootstrap_miou_difference(without, base))
    contribution = _mean_iou(base.sum(axis=0)) - _mean_iou(without.sum(axis=0))
    return MemberScore(name, _mean_iou(own.sum(axis=0)), _iou(own), contribution, low, high)


def _iou(matrices: NDArray[np.int64]) -> tuple[float, ...]:
    """IoU of each class, pooled over the images of [N, C, C]."""
    return tuple(iou(matrices.sum(axis=0)).tolist())


def mean_mix(count: int, method: Method = "mean") -> Mix:
    """Equal weights for `count` stores."""
    return Mix(method, (1 / count,) * count, (1.0,) * count)
