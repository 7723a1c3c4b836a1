"""Writing and reading a submission, compared with the usual ways in one run.

    python tests/benchmarks/bench_submission.py [ROWS]

819 rows of 256x256 by default, drawn label maps. The pandas rows need pandas. One process, CPU seconds.
"""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Coco, read_dataset
from trashkit.predictions import submission_csv
from trashkit.submit import check

try:
    import pandas as pd
except ImportError:
    pd = None


def label_maps(count: int, seed: int = 0) -> list[np.ndarray]:
    """Blobs of all eleven classes, half of it background."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 11, (count, 16, 16)) * (rng.random((count, 16, 16)) < 0.5)
    return list(coarse.repeat(16, 1).repeat(16, 2).astype(np.uint8))


def names(count: int) -> list[str]:
    return [f"batch_01_vt/{n:04d}.jpg" for n in range(count)]


def by_join(path: Path, maps: list[np.ndarray]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image_id", "PredictionString"])
        for name, label_map in zip(names(len(maps)), maps, strict=True):
            writer.writerow([name, " ".join(str(value) for value in label_map.ravel().tolist())])


def by_append(path: Path, maps: list[np.ndarray]) -> None:
    frame = pd.DataFrame({"image_id": [], "PredictionString": []}, dtype=object)
    for name, label_map in zip(names(len(maps)), maps, strict=True):
        row = {"image_id": name, "PredictionString": " ".join(str(value) for value in label_map.ravel().tolist())}
        frame = pd.concat([frame, pd.DataFrame([row])], ignore_index=True)
    frame.to_csv(path, index=False)


def ours(path: Path, maps: list[np.ndarray]) -> None:
    submission_csv.write(path, zip(names(len(maps)), maps, strict=True), overwrite=True)


def read_split(path: Path) -> Iterator[np.ndarray]:
    csv.field_size_limit(1 << 30)
    with path.open(newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for _, values in rows:
            yield np.array(values.split(), dtype=np.uint8).reshape(256, 256)


def read_pandas(path: Path) -> Iterator[np.ndarray]:
    for values in pd.read_csv(path)["PredictionString"]:
        yield np.array(values.split(" "), dtype=np.uint8).reshape(256, 256)


def read_ours(path: Path) -> Iterator[np.ndarray]:
    for row in submission_csv.read(path):
        yield submission_csv.require(row, path)


def all_equal(reader: Callable[[Path], Iterator[np.ndarray]], path: Path, maps: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(reader(path), maps, strict=True))


def seconds(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def main(count: int) -> None:
    maps = label_maps(count)
    print(f"{count} rows of 256x256\n\n| work | CPU seconds | |\n| --- | ---: | --- |")
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.csv" for number in range(3)]
        ways = [("write: join of str, csv", by_join), ("write: trashkit", ours)]
        if pd is not None:
            ways.insert(0, ("write: row append, pandas", by_append))
        slowest = 0.0
        for (words, call), path in zip(ways, files, strict=False):
            took, _ = seconds(partial(call, path, maps))
            slowest = slowest or took
            same = path.read_bytes() == files[0].read_bytes()
            print(f"| {words} | {took:.2f} | {slowest / took:.1f}x{'' if same else ', OTHER BYTES'} |")
        path = files[0]
        readers = [("read: csv, split, numpy", read_split), ("read: trashkit", read_ours)]
        if pd is not None:
            readers.insert(0, ("read: pandas, split, numpy", read_pandas))
        slowest = 0.0
        for words, reader in readers:
            took, same = seconds(partial(all_equal, reader, path, maps))
            slowest = slowest or took
            print(f"| {words} | {took:.2f} | {slowest / took:.1f}x{'' if same else ', OTHER VALUES'} |")
        images = [{"id": n, "file_name": name, "width": 512, "height": 512} for n, name in enumerate(names(count))]
        data = read_dataset(Coco.of({"images": images}), labels=False)
        took, report = seconds(lambda: check(path, data))
        print(f"| trashkit submit check | {took:.2f} | {'passes' if report.ok else 'FAILS'} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 819)
