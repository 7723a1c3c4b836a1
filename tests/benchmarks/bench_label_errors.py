"""Find planted label errors with out-of-fold predictions: trashkit and cleanlab on the same probabilities.

    python tests/benchmarks/bench_label_errors.py FOLDER... [--limit 60]

Each FOLDER is made by plant_label_errors.py. Annotations: average precision (AP) and precision at k (k = number of
planted errors) of the probability of each kind; for cleanlab, of the share of an annotation's pixels that
`find_label_issues` marks (stopped after --limit seconds). Images: AP of "this image has any error" for trashkit's
probability, its softmin and cleanlab's softmin, which has one score for all types of error. Missing objects: regions
matched with planted ones at IoU 0.3, missed ones counted. CPU and wall time, and peak memory of each process.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trashkit.coco import read
from trashkit.label_errors.search import KINDS, LabelErrors, find_label_errors
from trashkit.predictions.store import open_store
from trashkit.raster import masks

KIND_OF = {
    "swap": "wrong-class",
    "spurious": "no-object",
    "shift": "shifted-outline",
    "coarsen": "coarse-outline",
    "merge": "merged-objects",
}


def average_precision(wanted: np.ndarray, score: np.ndarray, total: int | None = None) -> float:
    """Mean precision at each hit, ties in file order; `total` counts hits that are not in the list at all."""
    ranked = wanted[np.argsort(-score, kind="stable")]
    hits = np.flatnonzero(ranked)
    number = int(wanted.sum()) if total is None else total
    return float(((np.arange(len(hits)) + 1) / (hits + 1)).sum() / number) if number else float("nan")


def precision_at(wanted: np.ndarray, score: np.ndarray, k: int) -> float:
    return float(wanted[np.argsort(-score, kind="stable")[:k]].sum() / k) if k else float("nan")


def measured(work: Callable[..., Any], *given: Any, limit: float | None = None) -> tuple[Any, str]:
    """Result (None where `limit` seconds were not enough), and the cost of a call in its own process, as text."""
    here, there = multiprocessing.get_context("fork").Pipe(duplex=False)

    def run() -> None:
        before, start = time.process_time(), time.perf_counter()
        result = work(*given)
        cpu, wall = time.process_time() - before, time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        there.send((result, f"{cpu:6.1f} s CPU {wall:6.1f} s wall {peak:6.0f} MiB"))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found = here.recv() if here.poll(limit) else (None, f"not done after {limit:.0f} s")
    process.kill()
    process.join()
    return found


def ours(folder: Path) -> LabelErrors:
    return find_label_errors(read(folder / "noisy.json"), [open_store(folder / "run/tiny/oof")])


def softmin(folder: Path) -> np.ndarray:
    from cleanlab.segmentation.rank import get_label_quality_scores

    labels, probabilities = arrays_of(folder)
    scores, _ = get_label_quality_scores(labels, probabilities, method="softmin", verbose=False)
    return scores


def issues(folder: Path) -> np.ndarray:
    from cleanlab.segmentation.filter import find_label_issues

    labels, probabilities = arrays_of(folder)
    return find_label_issues(labels, probabilities, downsample=1, n_jobs=1, verbose=False)


def arrays_of(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    from trashkit.label_errors.prediction_set import open_prediction_set

    predictions = open_prediction_set(read(folder / "noisy.json"), [open_store(folder / "run/tiny/oof")])
    views = [predictions.view(predicted) for predicted in predictions.images]
    return np.stack([s.label_map() for s in views]).astype(int), np.stack([s.probabilities for s in views])


def marked_share(found: LabelErrors, marked: np.ndarray) -> np.ndarray:
    """Share of each annotation's visible pixels that cleanlab marks."""
    shares = []
    for n, predicted in enumerate(found.predictions.images):
        view = found.predictions.view(predicted)
        inside = view.instance_map >= 0
        hits = np.bincount(view.instance_map[inside], marked[n][inside], minlength=view.count)
        shares.append(hits / np.maximum(view.areas(), 1))
    return np.concatenate(shares)


def image_shares(marked: np.ndarray) -> np.ndarray:
    return marked.mean(axis=(1, 2))


def dropped(found: LabelErrors, ledger: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, int]:
    """Which candidate regions are planted drops, their scores, and how many drops there are."""
    position = {predicted.image.id: n for n, predicted in enumerate(found.predictions.images)}
    hit = np.zeros(len(found.missing), bool)
    planted = [entry for entry in ledger if entry["type"] == "drop"]
    for entry in planted:
        n = position[entry["image_ids"][0]]
        image, size = found.predictions.images[n].image, found.predictions.images[n].store.size
        gone = masks.mask(entry["detail"]["segmentation"], image.height, image.width).astype(np.uint8)
        small = masks.resize_nearest(gone, size) > 0
        best, at = 0.3, -1
        for k, one in enumerate(found.missing):
            if one.image_index == n:
                region = one.region.pixels(size)
                iou = (region & small).sum() / (region | small).sum()
                best, at = (iou, k) if iou > best else (best, at)
        if at >= 0:
            hit[at] = True
    return hit, np.array([one.probability for one in found.missing]), len(planted)


def bench(folder: Path, limit: float) -> None:
    ledger = json.loads((folder / "planted.json").read_text())
    found, our_cost = measured(ours, folder)
    theirs, their_cost = measured(softmin, folder)
    marked, mark_cost = measured(issues, folder, limit=limit)
    share = None if marked is None else marked_share(found, marked)
    print(
        f"\n{folder.name}: {len(found.predictions.images)} images, {len(found.rows)} annotations, {len(ledger)} errors"
    )
    print(f"{'type':10} {'planted':>7} {'AP':>6} {'P@k':>6}   {'issues AP':>9} {'P@k':>6}   {'chance':>6}")
    everything = np.zeros(len(found.rows), bool)
    for kind, name in KIND_OF.items():
        wanted = np.isin(found.rows, [row for entry in ledger if entry["type"] == kind for row in entry["rows"]])
        everything |= wanted
        line(kind, wanted, found.probability[:, KINDS.index(name)], share)
    line("any", everything, found.probability.sum(axis=1), share)
    hit, score, total = dropped(found, ledger)
    print(f"{'drop':10} {total:7} {average_precision(hit, score, total):6.3f} {precision_at(hit, score, total):6.2f}")
    position = {predicted.image.id: n for n, predicted in enumerate(found.predictions.images)}
    for kind in (*KIND_OF, "drop", "any"):
        wrong = np.zeros(len(position), bool)
        for entry in ledger:
            if kind in ("any", entry["type"]):
                wrong[[position[image] for image in entry["image_ids"]]] = True
        own = by_image(found, kind)
        rows = {"trashkit": own, "softmin": -found.quality, "cleanlab softmin": -theirs}
        if marked is not None:
            rows["cleanlab issues"] = image_shares(marked)
        text = ", ".join(f"{name} {average_precision(wrong, values):.3f}" for name, values in rows.items())
        print(f"  images with {kind:9} {int(wrong.sum()):4}: AP {text}, chance {wrong.mean():.3f}")
    expected, right = found.probability.sum(), everything.sum()
    print(f"  errors expected by trashkit's probabilities {expected:.0f}, planted {right}")
    same = np.abs(found.quality - theirs).max()
    print(f"  softmin differs from cleanlab's by at most {same:.1e}")
    print(f"  trashkit, everything     {our_cost}")
    print(f"  cleanlab softmin         {their_cost}")
    print(f"  cleanlab issues          {mark_cost}", flush=True)


def line(kind: str, wanted: np.ndarray, score: np.ndarray, share: np.ndarray | None) -> None:
    k = int(wanted.sum())
    text = f"{kind:10} {k:7} {average_precision(wanted, score):6.3f} {precision_at(wanted, score, k):6.2f}"
    if share is not None:
        text += f"   {average_precision(wanted, share):9.3f} {precision_at(wanted, share, k):6.2f}"
    print(f"{text}   {wanted.mean():6.3f}")


def by_image(found: LabelErrors, kind: str) -> np.ndarray:
    """The largest probability of a kind of error in each image; of "any", that there is one."""
    if kind == "any":
        return found.image_scores()
    best = np.zeros(len(found.predictions.images))
    if kind == "drop":
        np.maximum.at(best, [one.image_index for one in found.missing], [one.probability for one in found.missing])
    else:
        np.maximum.at(best, found.image_index, found.probability[:, KINDS.index(KIND_OF[kind])])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--limit", type=float, default=60.0)
    given = parser.parse_args()
    cv2.setNumThreads(1)
    for folder in given.folders:
        bench(folder, given.limit)


if __name__ == "__main__":
    main()
