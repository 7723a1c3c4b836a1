"""Writing and reading stores of probabilities, and what quantisation changes.

    python tests/benchmarks/bench_store.py [IMAGES [SIDE]]

60 images of 11 x 256 x 256 by default: smooth drawn probabilities. Compared with float32 arrays in one .npy file.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trashkit.predictions.store import create_store, open_store, to_stored


def probabilities(side: int, seed: int) -> np.ndarray:
    """Softmax of smooth fields, float32 [11, side, side]."""
    coarse = np.random.default_rng(seed).normal(0, 4, (11, 12, 12)).astype(np.float32)
    logits = np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse])
    values = np.exp(logits - logits.max(axis=0))
    return values / values.sum(axis=0)


def rate(count: int, start: float) -> str:
    return f"{count / (time.perf_counter() - start):.0f}"


def store(folder: Path, count: int, side: int, dtype: Any) -> None:
    kept = [probabilities(side, seed) for seed in range(8)]
    path = folder / dtype
    writer = create_store(
        path,
        image_ids=range(count),
        file_names=[f"{n}.jpg" for n in range(count)],
        native_sizes=[(512, 512)] * count,
        classes=[f"class {n}" for n in range(11)],
        size=(side, side),
        dtype=dtype,
        manifest={},
    )
    start = time.perf_counter()
    for row in range(count):
        writer.write(row, kept[row % 8])
    writes = rate(count, start)
    reader = open_store(path)
    start = time.perf_counter()
    for row in range(count):
        reader.read(row)
    reads = rate(count, start)
    wanted = [values.argmax(axis=0) for values in kept]
    start = time.perf_counter()
    changed = sum(int(np.count_nonzero(reader.label_map(row) != wanted[row % 8])) for row in range(count))
    maps = rate(count, start)
    size = sum(file.stat().st_size for file in path.iterdir()) / count / 1e6
    plain = np.mean([(np.rint(p * 255).astype(np.uint8) if dtype == "uint8" else p.astype(np.float16)).argmax(axis=0)
                     != p.argmax(axis=0) for p in kept])  # fmt: skip
    share = changed / (count * side * side)
    print(f"| trashkit {dtype} | {writes} | {reads} | {maps} | {size:.2f} | {share:.4%} (plain rounding {plain:.4%}) |")


def plain(folder: Path, count: int, side: int) -> None:
    kept = [probabilities(side, seed) for seed in range(8)]
    start = time.perf_counter()
    array = np.lib.format.open_memmap(folder / "plain.npy", mode="w+", dtype=np.float32, shape=(count, 11, side, side))
    for row in range(count):
        array[row] = kept[row % 8]
    array.flush()
    writes = rate(count, start)
    start = time.perf_counter()
    for row in range(count):
        np.array(array[row])
    reads = rate(count, start)
    start = time.perf_counter()
    for row in range(count):
        array[row].argmax(axis=0)
    print(f"| float32 .npy | {writes} | {reads} | {rate(count, start)} | {11 * side * side * 4 / 1e6:.2f} | 0 |")


def main(count: int, side: int) -> None:
    print(f"{count} images of 11 x {side} x {side}\n")
    print("| store | written a second | read a second | label maps a second | MB an image | argmax changed |")
    print("| --- | ---: | ---: | ---: | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        plain(Path(folder), count, side)
        for dtype in ("uint8", "float16"):
            store(Path(folder), count, side, dtype)
    values = probabilities(side, 0)
    start = time.perf_counter()
    for _ in range(20):
        to_stored(values)
    print(f"\nquantising one image: {(time.perf_counter() - start) * 50:.1f} ms")


if __name__ == "__main__":
    main(*(int(number) for number in (sys.argv[1:] + ["60", "256"][len(sys.argv) - 1 :])))
