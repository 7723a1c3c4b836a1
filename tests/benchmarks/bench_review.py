"""How long a review takes to open, beside FiftyOne's own COCO importer: python tests/benchmarks/bench_review.py.

Times are on the clock, after FiftyOne's import. CPU seconds, which a busy machine changes less, and peak memory are of
the process alone, without its database. The large set is drawn here: polygons on blank photos.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def large(folder: Path, images: int, annotations: int) -> Path:
    """A file with so many annotations, as many-sided as the competition's."""
    rng = random.Random(0)
    rows = []
    for number in range(annotations):
        x, y, corners = rng.uniform(30, 400), rng.uniform(30, 400), rng.randint(8, 60)
        turns = [2 * math.pi * n / corners for n in range(corners)]
        reach = [rng.uniform(15, 28) for _ in turns]
        ring = [
            round(v, 1) for t, r in zip(turns, reach, strict=True) for v in (x + r * math.cos(t), y + r * math.sin(t))
        ]
        xs, ys = ring[0::2], ring[1::2]
        area = abs(sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(corners))) / 2
        rows.append(
            {
                "id": number + 1,
                "image_id": number % images + 1,
                "category_id": 1 + number % 10,
                "segmentation": [ring],
                "area": area,
                "bbox": [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)],
                "iscrowd": 0,
            }
        )
    file = {
        "images": [{"id": n + 1, "width": 512, "height": 512, "file_name": f"{n:04}.jpg"} for n in range(images)],
        "categories": [{"id": n + 1, "name": f"class {n + 1}"} for n in range(10)],
        "annotations": rows,
    }
    path = folder / "large.json"
    path.write_text(json.dumps(file))
    return path


def photos(path: Path, folder: Path) -> Path:
    """A small JPEG under the name of every image, since FiftyOne's importer takes no image without photo."""
    import cv2
    import numpy as np

    data = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    for image in json.loads(path.read_bytes())["images"]:
        made = folder / image["file_name"]
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(data)
    return folder


def ours(path: Path, images: Path, home: Path) -> None:
    """Time of this process: audit and fixes, filling, and opening again."""
    from trashkit.cli.review_findings import Asked, findings_of
    from trashkit.coco import read
    from trashkit.review.app import open_review
    from trashkit.review.database import fiftyone_ready
    from trashkit.review.room import Room

    with fiftyone_ready(home):
        start, busy = time.monotonic(), time.process_time()
        coco = read(path)
        # Without photos: what they hold is the audit's matter, and they are not real ones here.
        findings, fixes = findings_of(coco, Asked())
        audited = time.monotonic() - start
        room = Room(coco, findings, fixes, home / "log.jsonl", reviewer="bench", images=images)
        filled = open_review(room, home).seconds
        again = open_review(room, home).seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"ours       audit {audited:6.1f} s   fill {filled:6.1f} s   reopen {again:6.1f} s   "
        f"CPU {time.process_time() - busy:6.1f} s   peak {peak:6.0f} MiB"
    )


def theirs(path: Path, images: Path, home: Path) -> None:
    """FiftyOne's importer of the same file, with polylines."""
    from trashkit.review.database import fiftyone_ready

    with fiftyone_ready(home):
        import fiftyone as fo

        start, busy = time.monotonic(), time.process_time()
        fo.Dataset.from_dir(
            dataset_type=fo.types.COCODetectionDataset,
            data_path=str(images),
            labels_path=str(path),
            label_types=["segmentations"],
            use_polylines=True,
            include_id=True,
        )
        seconds = time.monotonic() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"FiftyOne   import {seconds:6.1f} s   CPU {time.process_time() - busy:6.1f} s   peak {peak:6.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--file", type=Path, help="a COCO file; default: the large set drawn here")
    parser.add_argument("--images", type=Path, help="default: small photos drawn here, too small for the file")
    parser.add_argument("--count", type=int, nargs=2, default=(3272, 26240))
    parser.add_argument("--one", choices=("ours", "theirs"))
    parser.add_argument("--home", type=Path)
    options = parser.parse_args()
    if options.one:
        (ours if options.one == "ours" else theirs)(options.file, options.images, options.home)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = options.file or large(Path(folder), *options.count)
        print(f"{path.name}: load average {os.getloadavg()[0]:.1f}", flush=True)
        images = options.images or photos(path, Path(folder) / "photos")
        for one in ("ours", "theirs"):
            words = ["--file", path, "--images", images, "--one", one, "--home", Path(folder) / one]
            subprocess.run([sys.executable, __file__, *map(str, words)], check=True)


if __name__ == "__main__":
    main()
