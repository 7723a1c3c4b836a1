"""Rasterising and photo decoding, compared with the usual ways in one run.

    python tests/benchmarks/bench_masks.py [ANN.json [IMAGES_DIR]]

Without a file: drawn polygons, 8 per image, 60 to 90 points each, at 512 px and at 3000 x 2250. One thread.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from pycocotools import mask as pycoco

from trashkit.images import photos
from trashkit.raster import masks

cv2.setNumThreads(1)
Scene = tuple[list, list, list, int, int]


def drawn(height: int, width: int, images: int, seed: int = 0) -> list[Scene]:
    """Star-shaped polygons: segmentations, classes, areas, height, width for each image."""
    generator = np.random.default_rng(seed)
    scenes = []
    for _ in range(images):
        segmentations = []
        for _ in range(8):
            points = int(generator.integers(60, 90))
            angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
            radius = generator.uniform(0.05, 0.25) * height * generator.uniform(0.8, 1.2, points)
            center = generator.uniform(0, [width, height])
            ring = np.stack([center[0] + radius * np.cos(angle), center[1] + radius * np.sin(angle)], 1)
            segmentations.append([ring.round(1).ravel().tolist()])
        areas = [float(masks.pixel_area(segmentation, height, width)) for segmentation in segmentations]
        scenes.append((segmentations, generator.integers(1, 11, 8).tolist(), areas, height, width))
    return scenes


def from_file(path: Path, longest: int | None) -> list[Scene]:
    """The first 100 annotated images of a COCO file, scaled so that the longest side is `longest`."""
    content = json.loads(path.read_text())
    rows: dict[object, list] = {}
    for row in content["annotations"]:
        rows.setdefault(row["image_id"], []).append(row)
    scenes = []
    for image in content["images"]:
        scale = 1.0 if longest is None else longest / max(image["height"], image["width"])
        own = rows.get(image["id"], [])
        segmentations = [[[value * scale for value in ring] for ring in row["segmentation"]] for row in own]
        size = round(image["height"] * scale), round(image["width"] * scale)
        scenes.append((segmentations, [row["category_id"] % 200 for row in own], [row["area"] for row in own], *size))
    return [scene for scene in scenes if scene[0]][:100]


def peers(scene: Scene) -> np.ndarray:
    """``annToMask`` per annotation, painted in order."""
    segmentations, classes, areas, height, width = scene
    labels = np.zeros((height, width), np.uint8)
    for number in sorted(range(len(areas)), key=lambda number: areas[number], reverse=True):
        found = pycoco.decode(pycoco.merge(pycoco.frPyObjects(segmentations[number], height, width)))
        labels[found == 1] = classes[number]
    return labels


def ours(scene: Scene) -> np.ndarray:
    segmentations, classes, areas, height, width = scene
    return masks.label_map(segmentations, classes, height, width, areas=areas)


def opencv(scene: Scene) -> np.ndarray:
    segmentations, classes, areas, height, width = scene
    labels = np.zeros((height, width), np.uint8)
    for number in sorted(range(len(areas)), key=lambda number: areas[number], reverse=True):
        rings = [np.asarray(ring).reshape(-1, 2).round().astype(np.int32) for ring in segmentations[number]]
        cv2.fillPoly(labels, rings, classes[number])
    return labels


def milliseconds(calls: list[Callable], items: list, repeats: int = 15) -> list[float]:
    """Mean over items of each call's best time.

    Each call passes over all items, as it would over a data set, and the calls take turns, so that other load on the
    machine affects all of them.
    """
    best = np.full((len(calls), len(items)), np.inf)
    for _ in range(repeats):
        for row, call in enumerate(calls):
            for column, item in enumerate(items):
                start = time.perf_counter()
                call(item)
                best[row, column] = min(best[row, column], time.perf_counter() - start)
    return (best.mean(axis=1) * 1000).tolist()


def rasterising(name: str, scenes: list[Scene]) -> None:
    exact = all(np.array_equal(peers(scene), ours(scene)) for scene in scenes)
    wrong = np.mean([(peers(scene) != opencv(scene)).sum() / max(1, (peers(scene) > 0).sum()) for scene in scenes])
    slow, quick, loose = milliseconds([peers, ours, opencv], scenes)
    print(f"| {name}: annToMask per annotation | {slow:.2f} | 1.0x | exact |")
    print(f"| {name}: trashkit label_map | {quick:.2f} | {slow / quick:.1f}x | {'exact' if exact else 'DIFFERS'} |")
    print(f"| {name}: cv2.fillPoly | {loose:.2f} | {slow / loose:.1f}x | {wrong:.1%} of object pixels differ |")


def peers_photo(path: Path) -> np.ndarray:
    """OpenCV, then RGB, then float32 in 0 .. 1, as the competition's loaders do."""
    photo = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(np.float32)  # type: ignore[arg-type]
    photo /= 255.0
    return photo


def decoding(name: str, files: list[Path]) -> None:
    ways: dict[str, Callable] = {
        "cv2.imread, RGB, float32 / 255": peers_photo,
        "Pillow": lambda path: np.asarray(Image.open(path).convert("RGB")),
        "trashkit read_photo": photos.read_photo,
        "trashkit thumbnail, 128 px": lambda path: photos.thumbnail(path, 128),
    }
    spent = milliseconds(list(ways.values()), files)
    for words, time_each in zip(ways, spent, strict=True):
        print(f"| {name}: {words} | {time_each:.2f} | {spent[0] / time_each:.1f}x | |")


def main() -> None:
    arguments = [Path(argument) for argument in sys.argv[1:]]
    print("| work | ms an image | against the first | pixels |\n|---|---|---|---|")
    if arguments:
        rasterising(f"{arguments[0].name}, longest side 512", from_file(arguments[0], 512))
        rasterising(f"{arguments[0].name}, native size", from_file(arguments[0], None))
    else:
        rasterising("drawn, 512 px", drawn(512, 512, 40))
        rasterising("drawn, 3000x2250", drawn(2250, 3000, 3))
    if len(arguments) > 1:
        decoding("JPEG", sorted(arguments[1].rglob("*.jpg"))[:60])
        return
    with tempfile.TemporaryDirectory() as folder:
        generator = np.random.default_rng(0)
        files = [Path(folder) / f"{number}.jpg" for number in range(20)]
        for file in files:
            small = generator.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            cv2.imwrite(str(file), cv2.resize(small, (512, 512), interpolation=cv2.INTER_CUBIC))
        decoding("drawn JPEG, 512 px", files)


if __name__ == "__main__":
    main()
