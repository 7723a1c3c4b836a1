"""How long a review takes to open, compared with FiftyOne's own COCO importer.

    python tests/benchmarks/bench_review.py

Times are wall-clock times after importing FiftyOne. CPU seconds, which depend less on the machine's load, and peak
memory are those of the process without its database. The large data set is generated: polygons on blank photos.
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
    """A file with this many annotations, whose polygons have as many vertices as the competition's."""
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
    """A small JPEG for every image, since FiftyOne's importer takes no image without a photo."""
    import cv2
    import numpy as np

    data = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8))[1].tobytes()
    for image in json.loads(path.read_bytes())["images"]:
        made = folder / image["file_name"]
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(data)
    return folder


def ours(path: Path, images: Path, home: Path) -> None:
    """Time to audit and propose fixes, to fill the App, and to reopen it."""

    from trashkit.coco import read
    from trashkit.review.fiftyone_app.app import open_review
    from trashkit.review.fiftyone_app.database import fiftyone_ready
    from trashkit.review.session import ReviewSession
    from trashkit.workflows.review_findings import findings_from_audit

    with fiftyone_ready(home):
        start, busy = time.monotonic(), time.process_time()
        coco = read(path)
        # Without photos, which are not real ones here.
        findings, fixes = findings_from_audit(coco)
        audited = time.monotonic() - start
        session = ReviewSession(coco, findings, fixes, home / "log.jsonl", reviewer="bench", images=images)
        filled = open_review(session, home).seconds
        again = open_review(session, home).seconds
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"ours       audit {audited:6.1f} s   fill {filled:6.1f} s   reopen {again:6.1f} s   "
        f"CPU {time.process_time() - busy:6.1f} s   peak {peak:6.0f} MiB"
    )


def theirs(path: Path, images: Path, home: Path) -> None:
    """Time of FiftyOne's importer on the same file, with polylines."""
    from trashkit.review.fiftyone_app.database import fiftyone_ready

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
    parser.add_argument("--file", type=Path, help="a COCO file; default: a large generated data set")
    parser.add_argument("--images", type=Path, help="default: small generated photos")
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
