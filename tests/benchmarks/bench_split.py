"""Split search compared with other splitters, on one core: deviations, seconds, candidate swaps per second.

    python tests/benchmarks/bench_split.py [--peer-seeds 100] [ANN.json ...]

Data sets: TACO in ten classes and household if TRASHKIT_REAL_DATA is set, then 3,272 synthetic images with the class
counts of a ten-class trash competition (26,240 annotations, Battery in 63), then the given files. Five folds. Worst and
mean are relative deviations in percent over classes in at least 25 images; the floor is a lower bound for any split
that gives every fold its images of each class. The row of another splitter is its best seed by mean deviation of pixel
share, and its time is for all seeds.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.split.make import make_split
from trashkit.split.peers import compare_peers
from trashkit.split.search import DEFAULT_TRIALS

COUNTS = {
    "General trash": 2782,
    "Paper": 9311,
    "Paper pack": 659,
    "Metal": 562,
    "Glass": 610,
    "Plastic": 3090,
    "Styrofoam": 1343,
    "Plastic bag": 7643,
    "Battery": 63,
    "Clothing": 177,
}


def large(images: int = 3272, seed: int = 0) -> Dataset:
    """Boxes on 512 x 512 images: long-tailed objects per image and sizes, images that prefer a few classes."""
    rng = np.random.default_rng(seed)
    crowd = rng.lognormal(0, 1, images)
    rows = [{"id": n, "file_name": f"{n:05}.jpg", "width": 512, "height": 512} for n in range(images)]
    annotations: list[dict[str, Any]] = []
    for number, count in enumerate(COUNTS.values(), 1):
        taste = crowd * rng.gamma(0.3, 1, images)
        for image in rng.choice(images, count, p=taste / taste.sum()):
            side = float(np.clip(rng.lognormal(3.8, 0.9), 4, 500))
            ring = [0.0, 0.0, side, 0.0, side, side, 0.0, side]
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": int(image),
                    "category_id": number,
                    "segmentation": [ring],
                    "area": side**2,
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(COUNTS, 1)]
    return read_dataset(Coco.of({"images": rows, "annotations": annotations, "categories": categories}))


def taco(folder: Path) -> Dataset:
    """TACO's file with its 60 categories as ten, and annotation ids made unique."""
    value, names = (json.loads((folder / name).read_text()) for name in ("annotations.json", "ten_classes.json"))
    number = {c["id"]: list(COUNTS).index(names[c["name"]]) + 1 for c in value["categories"]}
    rows = [{**a, "id": n, "category_id": number[a["category_id"]]} for n, a in enumerate(value["annotations"])]
    categories = [{"id": n, "name": name} for n, name in enumerate(COUNTS, 1)]
    return read_dataset(Coco.of({"images": value["images"], "annotations": rows, "categories": categories}))


def line(name: str, seconds: float, quality: Any, rate: str = "") -> None:
    cells = [f"{name:34} {seconds:7.1f} {rate:>8}"]
    for key in ("images", "pixel_share", "instances", "support"):
        row = quality["criteria"][key]
        cells.append(" ".join(f"{100 * row[what]:8.3f}" for what in ("worst", "mean", "joint_floor")))
    print(" | ".join(cells))


def bench(name: str, dataset: Dataset, peer_seeds: int) -> None:
    print(f"\n{name}: {len(dataset.images)} images, {len(dataset.annotations)} annotations")
    print(
        f"{'':34} {'seconds':>7} {'M/s':>8} | "
        + " | ".join(f"{n:^26}" for n in ("size", "pixels", "instances", "images"))
    )
    print(f"{'':51} | " + " | ".join(["   worst     mean    floor"] * 4))
    inputs = None
    for words, options in (
        ("trashkit, default", {"trials": DEFAULT_TRIALS}),
        ("trashkit, at most 2 s", {"trials": 10**15, "seconds": 2.0}),
        ("trashkit, at most 10 s", {"trials": 10**15, "seconds": 10.0}),
    ):
        made = make_split(dataset, jobs=1, starts=1, **options)
        inputs, found = made.inputs, made.searches[0]
        line(words, found.seconds, made.split.quality, f"{found.candidates / found.seconds / 1e6:.0f}")
    for peer in compare_peers(inputs, seeds=peer_seeds) if inputs else []:
        if peer.quality is None:
            print(f"{peer.name:34} {peer.missing}")
        else:
            line(f"{peer.name}, best of {peer.seeds}", peer.seconds, peer.quality)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer-seeds", type=int, default=100)
    parser.add_argument("annotations", nargs="*", type=Path)
    asked = parser.parse_args()
    real = os.environ.get("TRASHKIT_REAL_DATA")
    if real:
        bench("taco in ten classes", taco(Path(real) / "taco"), asked.peer_seeds)
        bench("household", read_dataset(Path(real) / "household/train.json"), asked.peer_seeds)
    else:
        print("TRASHKIT_REAL_DATA is not set: no real annotations")
    bench("made up, the competition's class counts", large(), asked.peer_seeds)
    for path in asked.annotations:
        bench(path.name, read_dataset(path), asked.peer_seeds)
