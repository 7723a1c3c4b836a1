"""Compare ways to validate: 40 simulated models and a hidden test set, over many repetitions.

    python tests/benchmarks/bench_simulation.py [--repetitions 200] [--jobs 2] [--submitted 8] [ANN.json]

Objects are those of TACO in ten classes if TRASHKIT_REAL_DATA is set, of ANN.json if given, else of a synthetic set
with the class counts of a trash competition. Each repetition draws scenes for a hidden test set (a third, with a public
and a private half by scene) and 40 new models (see simulated_models.py), validates them in five folds, and reveals the
public scores of eight. Reported against the private scores of all 40: Kendall's tau, mean absolute error, and regret,
the loss of the chosen model against the best. Means with 95 % intervals over repetitions.

"one fold" is what most teams do. "all folds" is the mean of five folds' scores. "nearest to the leaderboard" takes the
random fold whose scores are closest to the public scores. The rows of trashkit follow its steps: image weights come
from its adversarial validation on noisy features of the kind of a photo's scene and its classes.

Three settings: a test set like the training set; scenes with some classes more likely in the test set (--shift); scenes
of some kind more likely in it (--kind), where the kind of a scene is part of its difficulty.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

# One thread each: repetitions run in parallel, and more threads for small matrix products only slow them down.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from bench_split import large, taco
from simulated_models import KINDS, Floats, Ints, World, kinds, matrices, photo_features, population, training, world

from trashkit.coco import Dataset, read_dataset
from trashkit.leaderboard.proxy import estimate, final_two
from trashkit.leaderboard.subset_validation import validate_subset
from trashkit.metrics.scores import iou
from trashkit.split.adversarial_validation import compare_features
from trashkit.split.groups import number_groups
from trashkit.split.make import SearchInput, search_input
from trashkit.split.objective import Features, attainable_weights, sum_by_group
from trashkit.split.peers import SPLITTERS
from trashkit.split.search import search

MODELS, FOLDS, TEST_SHARE = 40, 5, 1 / 3
SEARCH_TRIALS = 20_000_000
COLUMNS = ("tau", "error", "regret")
NAMES = {"random": "random", "StratifiedGroupKFold": "StratifiedGroupKFold", "MultilabelStratifiedKFold": "iterative"}


def miou(found: Any) -> Any:
    """Pooled mIoU of [..., images, C, C] over the images: [...]."""
    return np.nanmean(iou(found.sum(axis=-3, dtype=np.float64)), axis=-1)


def kendall(first: Any, second: Any) -> float:
    """Kendall's tau-b; ties of simulated scores practically do not occur."""
    upper = np.triu_indices(len(first), 1)
    a, b = (np.sign(v[:, None] - v[None])[upper] for v in (first, second))
    return float((a * b).sum() / np.sqrt(np.abs(a).sum() * np.abs(b).sum()))


def draw_test(
    data: World, rng: np.random.Generator, shift: float, kind: Floats | None = None, kind_shift: float = 0.0
) -> tuple[Ints, Ints, Ints]:
    """Rows of training, public and private images; whole scenes.

    shift: standard deviation of the classes' tilt; kind_shift: length of the tilt of the scenes' kinds.
    """
    scenes = int(data.scene.max()) + 1
    has = np.zeros((scenes, data.classes))
    np.add.at(has, (data.scene[data.image], data.label), 1)
    tilt = shift * rng.standard_normal(data.classes)
    # Sampling without replacement in proportion to exp(sum of the tilts of its classes), by the Gumbel trick.
    key = (has > 0) @ tilt + rng.gumbel(size=scenes)
    if kind is not None:
        way = rng.standard_normal(KINDS)
        key += kind_shift * kind @ way / np.linalg.norm(way)
    rank = (-key).argsort().argsort()
    size = np.bincount(data.scene, minlength=scenes)
    taken = np.zeros(scenes)
    taken[rank] = size
    inside = (np.cumsum(taken) <= TEST_SHARE * data.images)[rank]
    half = rng.random(scenes) < 0.5
    test = inside[data.scene]
    side = half[data.scene]
    return np.flatnonzero(~test), np.flatnonzero(test & side), np.flatnonzero(test & ~side)


def fold_sets(whole: SearchInput, rows: Ints, seed: int) -> dict[str, Ints]:
    """Folds of the training images by each splitter: [len(rows)] of 0..4."""
    features = whole.features
    part = Features(features.values[rows], features.criteria, features.names, features.weights, features.classes,
                    features.support[rows])  # fmt: skip
    shares = np.full(FOLDS, 1 / FOLDS)
    inputs = SearchInput(
        tuple(range(len(rows))), part, number_groups(list(range(len(rows)))), shares, tuple(range(FOLDS))
    )
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, words in NAMES.items():
            found[words] = SPLITTERS[name](inputs, FOLDS, seed)
    units = sum_by_group(part.values, inputs.group)
    ours = search(units, part.support, shares, attainable_weights(part.weights, units, shares), seed=seed, starts=1,
                  trials=SEARCH_TRIALS, jobs=1)  # fmt: skip
    found["trashkit"] = ours.fold
    return found


def repetition(
    seed: int, data: World, whole: SearchInput, shift: tuple[float, float], submitted: int, luck: float
) -> dict[str, list[float]]:
    """One hidden test set, 40 models, all ways to validate them: {way: tau, error, regret}."""
    rng = np.random.default_rng([seed, round(1000 * shift[0]), round(1000 * shift[1])])
    kind = kinds(data, rng)
    models = population(data, rng, models=MODELS, kind=kind)
    train, public_rows, private_rows = draw_test(data, rng, shift[0], kind, shift[1])
    seen_photos = photo_features(data, kind, rng)
    seen_photos = (seen_photos - seen_photos.mean(axis=0)) / seen_photos.std(axis=0)
    alike = compare_features(seen_photos[train], seen_photos[np.concatenate([public_rows, private_rows])], seed=seed)
    on_public, on_private = (matrices(data, models, rows) for rows in (public_rows, private_rows))
    public, private = miou(on_public), miou(on_private)
    shown = (on_public.sum(axis=1, dtype=np.float64) + on_private.sum(axis=1, dtype=np.float64)).sum(axis=1)
    trained = training(rng, MODELS, FOLDS, data.classes, luck=luck)
    known = rng.permutation(MODELS)[:submitted]
    scores: dict[str, Any] = {}
    ours = None
    for name, fold in fold_sets(whole, train, seed).items():
        found = matrices(data, models, train, fold=fold, luck=trained)
        each = np.stack([miou(found[:, fold == k]) for k in range(FOLDS)])
        scores[f"{name}, one fold"] = each[0]
        scores[f"{name}, all folds"] = each.mean(axis=0)
        if name == "random":
            nearest = np.abs(each - public)[:, known].mean(axis=1).argmin()
            scores["nearest to the leaderboard"] = each[nearest]
        if name == "trashkit":
            ours = (found, fold)
            scores["trashkit, out of fold"] = miou(found)
    assert ours is not None
    seen = np.full(MODELS, np.nan)
    seen[known] = public[known]
    estimated = partial(estimate, shown=shown, public_images=len(public_rows), private_images=len(private_rows))
    flat = estimated(ours[0], public=seen)
    proxy = estimated(ours[0], public=seen, weights=alike.weights) if alike.distinguishable else flat
    scores["trashkit, class mix"] = flat.weighted
    scores["trashkit, test similarity and class mix"] = proxy.weighted
    scores["trashkit, both, shrunk"] = proxy.proxy
    scores["trashkit, proxy without test similarity"] = flat.expected
    scores["trashkit, proxy"] = proxy.expected

    def judged(chosen: Any, public_scores: Any) -> Any:
        weights = alike.weights[chosen] if alike.distinguishable else None
        return estimated(ours[0][:, chosen], public=public_scores, weights=weights)

    simple = min(proxy.errors["plain_offset"], proxy.errors["mean"])
    trial = validate_subset(ours[0], seen, judged, fold=ours[1], simple=simple)
    assert trial is not None
    forced = judged(trial.subset.images, seen)
    scores["trashkit, validation subset, forced"] = forced.expected
    scores["trashkit, validation subset, if used"] = forced.expected if trial.used else proxy.expected
    first, second, _ = final_two(proxy)
    apart = np.abs(private[:, None] - private[None])[np.triu_indices(MODELS, 1)]
    result = {
        name: [kendall(score, private), float(np.abs(score - private).mean()),
               float(private.max() - private[score.argmax()])]
        for name, score in scores.items()
    }  # fmt: skip
    inside_interval = (proxy.low <= private) & (private <= proxy.high)
    result["_other"] = [
        float(inside_interval.mean()), float((proxy.high - proxy.low).mean()), float(trial.used),
        float(private.max() - max(private[first], private[second])), float(private.std()), float(np.median(apart)),
        kendall(public, private), float(private.max() - private[known[public[known].argmax()]]),
        float(private.max() - private[known].max()), alike.auc, float(alike.distinguishable),
        alike.effective / len(train), *proxy.errors.values(),
    ]  # fmt: skip
    return result


def report(found: list[dict[str, list[float]]]) -> None:
    print(f"{'':44}{'Kendall tau':>20}{'mean abs. error':>22}{'regret':>22}")
    best = [max, min, min]
    rows = {name: np.array([one[name] for one in found]) for name in found[0] if not name.startswith("_")}
    means = {name: values.mean(axis=0) for name, values in rows.items()}

    def leader(n: int) -> str:
        return best[n](means, key=lambda name: means[name][n])

    leaders = [leader(n) for n in range(len(best))]
    order = [name for name in rows if not name.startswith("trashkit")] + [n for n in rows if n.startswith("trashkit")]
    for name in order:
        cells = []
        for n in range(3):
            half = 1.96 * rows[name][:, n].std(ddof=1) / np.sqrt(len(found))
            mark = "*" if name == leaders[n] else " "
            cells.append(f"{means[name][n]:.4f} ± {half:.4f}{mark}")
        print(f"{name:44}{cells[0]:>20}{cells[1]:>22}{cells[2]:>22}")
    print("* best mean. Differences of trashkit's proxy from each, over the same repetitions (95 %):")
    for name in order:
        if name != "trashkit, proxy":
            gap = rows["trashkit, proxy"] - rows[name]
            half = 1.96 * gap.std(axis=0, ddof=1) / np.sqrt(len(found))
            parts = [f"{m:+.4f} ± {h:.4f}" for m, h in zip(gap.mean(axis=0), half, strict=True)]
            print(f"{name:44}{parts[0]:>20}{parts[1]:>22}{parts[2]:>22}")
    other = np.array([one["_other"] for one in found]).mean(axis=0)
    print(f"95 % intervals of the proxy hold {other[0]:.1%} of private scores, width {other[1]:.3f}; "
          f"better of its final two: regret {other[3]:.4f}")  # fmt: skip
    print(f"private scores: standard deviation {other[4]:.3f}, median distance {other[5]:.3f}; tau of the public half "
          f"with the private half {other[6]:.3f}")  # fmt: skip
    print(f"choosing the submitted model with the best public score: regret {other[7]:.4f} (best submitted: "
          f"{other[8]:.4f})")  # fmt: skip
    print(f"a validation subset was used in {other[2]:.1%} of repetitions")
    told = f"distinguished in {other[10]:.0%}, effective part of the images {other[11]:.2f}"
    print(f"test similarity: AUC {other[9]:.3f}, {told}")
    names = ("proxy", "plain score and mean offset", "plain score", "mean of the others")
    errors = ", ".join(f"{name} {value:.4f}" for name, value in zip(names, other[12:], strict=True))
    print(f"error of a left-out submission's public score: {errors}")


def run(name: str, dataset: Dataset, asked: Any) -> None:
    data, whole = world(dataset, np.random.default_rng(0)), search_input(dataset)
    order = np.argsort(whole.order)  # the input sorts images by id
    features = whole.features
    features = replace(features, values=features.values[order], support=features.support[order])
    whole = replace(whole, features=features, group=whole.group[order])
    print(f"\n{name}: {data.images} images, {len(data.label)} objects, {data.classes} classes with background")
    for shift in [(0.0, 0.0)] * asked.none + [(s, 0.0) for s in asked.shift] + [(0.0, s) for s in asked.kind]:
        begun = time.monotonic()
        once = partial(repetition, data=data, whole=whole, shift=shift, submitted=asked.submitted, luck=asked.luck)
        if asked.jobs == 1:
            found = [once(seed) for seed in range(asked.repetitions)]
        else:
            with ProcessPoolExecutor(asked.jobs) as pool:
                found = list(pool.map(once, range(asked.repetitions), chunksize=4))
        words = f"classes tilted by {shift[0]:g}" if shift[0] else f"kinds of photos tilted by {shift[1]:g}"
        words = words if any(shift) else "no shift"
        print(f"\n{words}, {asked.repetitions} repetitions, {asked.submitted} public scores known "
              f"({time.monotonic() - begun:.0f} s)")  # fmt: skip
        report(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--submitted", type=int, default=8)
    parser.add_argument("--none", type=int, default=1, help="0 leaves the setting without shift out")
    parser.add_argument("--shift", type=float, nargs="*", default=[0.7], help="of classes, 0.7 by default")
    parser.add_argument("--kind", type=float, nargs="*", default=[1.0], help="of kinds of photos, 1 by default")
    parser.add_argument("--luck", type=float, default=1.0, help="scale of the noise of trainings")
    parser.add_argument("annotations", nargs="?", type=Path)
    chosen = parser.parse_args()
    real = os.environ.get("TRASHKIT_REAL_DATA")
    if chosen.annotations:
        run(chosen.annotations.name, read_dataset(chosen.annotations), chosen)
    elif real:
        run("taco in ten classes", taco(Path(real) / "taco"), chosen)
    else:
        print("TRASHKIT_REAL_DATA is not set: made-up objects")
        run("made up, the competition's class counts", large(1500), chosen)
