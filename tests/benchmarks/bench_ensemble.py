"""Combining stores: streamed, compared with the usual way of keeping every member in memory.

    python tests/benchmarks/bench_ensemble.py [IMAGES [SIDE [MEMBERS [METHODS]]]]

40 images of 11 x 256 x 256, five members, and mean,geometric,vote by default. Each member has DISTINCT drawn images,
repeated. The usual way adds up float32 arrays [N, C, H, W] that were loaded at once; it is skipped if these would
take more than half of the free memory. Times are CPU time and wall-clock time; memory is the peak of each process above
its initial memory.
"""

from __future__ import annotations

import multiprocessing
import os
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
from trashkit.predictions.store import create_store, open_store

DISTINCT = 16


def member(path: Path, count: int, side: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"class {n}" for n in range(11)]
    with create_store(
        path, image_ids=range(count), file_names=[f"{n}.jpg" for n in range(count)],
        native_sizes=[(side, side)] * count, classes=names, size=(side, side), manifest={"seed": seed},
    ) as writer:  # fmt: skip
        for row in range(min(count, DISTINCT)):
            coarse = rng.normal(0, 4, (11, 12, 12)).astype(np.float32)
            logits = np.stack([cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC) for plane in coarse])
            values = np.exp(logits - logits.max(axis=0))
            writer.write(row, values / values.sum(axis=0))
    for row in range(DISTINCT, count):
        os.link(path / f"c.{row % DISTINCT}.0.0.0", path / f"c.{row}.0.0.0")


def streamed(paths: list[Path], out: Path, method: Any) -> None:
    ensemble([open_store(path) for path in paths], out, method=method)


def whole(paths: list[Path], out: Path, _: Any) -> None:
    stores = [open_store(path) for path in paths]
    members = [np.stack([store.read(row) for row in range(len(store))]) for store in stores]
    np.save(out, np.mean(members, axis=0).argmax(axis=1).astype(np.uint8))


def measured(work: Callable[..., None], *given: Any) -> str:
    here, there = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        work(*given)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime
        there.send(f"{cpu:6.1f} s CPU {wall:6.1f} s wall {(after.ru_maxrss - before) / 1024:7.0f} MiB")

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    found = here.recv()
    process.join()
    return found


def main() -> None:
    given = (*sys.argv[1:], *("40", "256", "5", "mean,geometric,vote")[len(sys.argv) - 1 :])
    count, side, members = (int(word) for word in given[:3])
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"member {n}" for n in range(members)]
        for n, path in enumerate(paths):
            member(path, count, side, n)
        print(f"{members} stores of {count} images, 11 x {side} x {side}", flush=True)
        for method in given[3].split(","):
            print(f"  trashkit {method:10} {measured(streamed, paths, Path(folder) / method, method)}", flush=True)
        needed = (members + 1) * count * 11 * side * side * 4
        if needed > os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2:
            print(f"  all in memory       would take {needed / 2**30:.0f} GiB")
        else:
            print(f"  all in memory       {measured(whole, paths, Path(folder) / 'whole.npy', None)} (no store)")


if __name__ == "__main__":
    main()
