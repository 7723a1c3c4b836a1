"""Combining stores: streamed, against the usual way of holding every member in memory.

    python tests/benchmarks/bench_ensemble.py [IMAGES [SIDE [MEMBERS]]]

40 images of 11 x 256 x 256 and five members by default. The usual way adds up float32 arrays [N, C, H, W] that were
loaded whole. Times are wall clock, memory is the peak of each process above what it started with.
"""

from __future__ import annotations

import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trashkit.ensemble import ensemble
from trashkit.store import create_store, open_store


def member(path: Path, count: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"class {n}" for n in range(11)]
    with create_store(
        path, image_ids=range(count), file_names=[f"{n}.jpg" for n in range(count)],
        native_sizes=[(side, side)] * count, classes=names, size=(side, side), manifest={"seed": seed},
    ) as writer:  # fmt: skip
        for row in range(count):
            coarse = rng.normal(0, 4, (11, 12, 12)).astype(np.float32)
            logits = np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse])
            values = np.exp(logits - logits.max(axis=0))
            writer.write(row, values / values.sum(axis=0))


def streamed(paths: list[Path], out: Path, method: Any) -> None:
    ensemble([open_store(path) for path in paths], out, method=method)


def whole(paths: list[Path], out: Path, _: Any) -> None:
    stores = [open_store(path) for path in paths]
    members = [np.stack([store.read(row) for row in range(len(store))]) for store in stores]
    np.save(out, np.mean(members, axis=0).argmax(axis=1).astype(np.uint8))


def measured(work: Callable[..., None], *given: Any) -> tuple[float, float]:
    here, there = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        work(*given)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        there.send((time.perf_counter() - start, (after - before) / 1024))

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found = here.recv()
    process.join()
    return found


def main() -> None:
    count, side, members = (int(word) for word in (*sys.argv[1:], *("40", "256", "5")[len(sys.argv) - 1 :]))
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"member {n}" for n in range(members)]
        for n, path in enumerate(paths):
            member(path, count, side, n)
        print(f"{members} stores of {count} images, 11 x {side} x {side}")
        for method in ("mean", "geometric", "vote"):
            seconds, memory = measured(streamed, paths, Path(folder) / method, method)
            print(f"  trashkit {method:10} {seconds:6.1f} s {memory:7.0f} MiB")
        seconds, memory = measured(whole, paths, Path(folder) / "whole.npy", None)
        print(f"  all in memory       {seconds:6.1f} s {memory:7.0f} MiB (label maps alone, no store)")


if __name__ == "__main__":
    main()
