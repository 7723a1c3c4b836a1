"""Photos: speed of the checks, and near-duplicates compared with the usual perceptual hash.

    python tests/benchmarks/bench_photos.py [NUMBER OF PHOTOS]

Scenes are drawn at 128 px; every third photo repeats another one: moved, zoomed, rotated, relit and recompressed.
The usual way is a 64-bit DCT hash, all with all, at up to 6 and up to 12 bits.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.audit import audit
from trashkit.coco import Coco
from trashkit.images.hashes import phash
from trashkit.images.near_duplicates import (
    PhotoFeatures,
    candidate_pairs,
    connected_groups,
    near_duplicate_groups,
    photo_features,
)

Pixels = NDArray[np.uint8]


def scene(rng: np.random.Generator, side: int) -> Pixels:
    """A textured picture with shapes."""
    base = cv2.resize(rng.integers(30, 226, (9, 9, 3), dtype=np.uint8), (side, side), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        corners = rng.integers(0, side, (1, 2)) + rng.integers(-side // 10, side // 10, (4, 2))
        cv2.fillPoly(base, [corners.astype(np.int32)], rng.integers(0, 256, 3).tolist())
    return np.asarray(base, np.uint8)


def again(rng: np.random.Generator, photo: Pixels) -> Pixels:
    """The same scene, photographed again."""
    side = photo.shape[0]
    camera = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(-2.5, 2.5), rng.uniform(1, 1.1))
    camera[:, 2] += rng.uniform(-0.035, 0.035, 2) * side
    lit = cv2.warpAffine(photo, camera, (side, side), borderMode=cv2.BORDER_REFLECT) * rng.uniform(0.75, 1.2)
    _, data = cv2.imencode(".jpg", lit.clip(0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def score(group: NDArray[np.intp], truth: NDArray[np.intp]) -> tuple[float, float]:
    """Recall and precision over pairs, from group sizes."""

    def pairs(labels: NDArray[np.intp]) -> int:
        counts = np.unique(labels, return_counts=True)[1]
        return int((counts * (counts - 1) // 2).sum())

    both = pairs(group.astype(np.int64) * (int(truth.max()) + 1) + truth)
    return both / max(pairs(truth), 1), both / max(pairs(group), 1)


def search(count: int) -> None:
    """Near-duplicates among `count` photos."""
    rng = np.random.default_rng(0)
    features: list[PhotoFeatures] = []
    hashes: list[int] = []
    truth: list[int] = []
    seconds = 0.0
    last = scene(rng, 128)
    for n in range(count):
        photo = again(rng, last) if n % 3 == 2 else scene(rng, 128)
        truth.append(truth[-1] if n % 3 == 2 else n)
        last = photo if n % 3 == 1 else last
        start = time.perf_counter()
        features.append(photo_features(photo))
        seconds += time.perf_counter() - start
        hashes.append(int(phash([photo])[0]))
    print(f"{count} photos of 128 px\n{'':34}{'seconds':>9}{'recall':>9}{'precision':>11}")
    print(f"{'features of all photos, one thread':34}{seconds:9.1f}")
    start = time.perf_counter()
    number = len(candidate_pairs(np.stack([one.grid for one in features])))
    print(f"{f'{number:,} candidates':34}{time.perf_counter() - start:9.1f}")
    start = time.perf_counter()
    recall, precision = score(near_duplicate_groups(features), np.array(truth))
    print(f"{'groups, registered':34}{time.perf_counter() - start:9.1f}{recall:9.3f}{precision:11.3f}")
    codes = np.array(hashes, np.uint64)
    for bits in (6, 12):
        start = time.perf_counter()
        found: list[tuple[int, int]] = []
        for n in range(count):
            near = np.flatnonzero(np.bitwise_count(codes[n + 1 :] ^ codes[n]) <= bits)
            found += [(n, n + 1 + int(k)) for k in near]
        recall, precision = score(connected_groups(count, found), np.array(truth))
        print(f"{f'DCT hash within {bits} bits':34}{time.perf_counter() - start:9.1f}{recall:9.3f}{precision:11.3f}")


def checks(count: int, side: int) -> None:
    """All checks on photos on disk."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for n in range(count):
            grain = rng.integers(-12, 13, (side, side, 3))
            photo = (scene(rng, side).astype(int) + grain).clip(0, 255).astype(np.uint8)
            cv2.imwrite(f"{folder}/{n}.jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 90])
            rows.append({"id": n, "file_name": f"{n}.jpg", "width": side, "height": side})
        coco = Coco.of({"images": rows, "annotations": [], "categories": []})
        start = time.perf_counter()
        audit(coco, images=Path(folder), select=["I"])
        seconds = time.perf_counter() - start
    print(f"all checks on {count} photos of {side} px: {seconds:.1f} s, {count / seconds:.0f} photos a second")


if __name__ == "__main__":
    search(int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
    checks(300, 512)
