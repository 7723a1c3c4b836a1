"""A small clean COCO file as plain values: what the checks' examples break."""

from __future__ import annotations

import math
from typing import Any

NAMES = ("Bottle", "Can", "Bag")


def octagon(x: float, y: float, radius: float) -> list[float]:
    """A ring of eight corners around a centre, in pixels with one decimal."""
    ring = []
    for corner in range(8):
        angle = math.pi * (corner + 0.5) / 4
        ring += [round(x + radius * math.cos(angle), 1), round(y + radius * math.sin(angle), 1)]
    return ring


def annotation(number: int, image: int, category: int, ring: list[float]) -> dict[str, Any]:
    """A sound annotation with one ring; area and box follow from it."""
    xs, ys = ring[0::2], ring[1::2]
    cross = sum(xs[n - 1] * ys[n] - xs[n] * ys[n - 1] for n in range(len(xs)))
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": [ring],
        "area": round(abs(cross) / 2, 2),
        "bbox": [round(side, 1) for side in box],
        "iscrowd": 0,
    }


def clean_file() -> dict[str, Any]:
    """Twelve images of 640x480 pixels, each with three objects of each of three classes, on which no check speaks."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in range(1, 13):
        images.append({"id": image, "file_name": f"photo_{image:02}.jpg", "width": 640, "height": 480, "license": 1})
        for place in range(9):
            x, y = 110 + 200 * (place % 3) + image, 90 + 140 * (place // 3) + image
            ring = octagon(x, y, 40 + image % 5 + place % 3)
            annotations.append(annotation(len(annotations) + 1, image, 1 + place % 3, ring))
    return {
        "info": {"description": "an example"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)],
    }
