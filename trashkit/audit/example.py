"""A small clean COCO file as plain values, which the examples of the checks break."""

from __future__ import annotations

import math
from typing import Any

from trashkit.raster.measures import ring_area

NAMES = ("Bottle", "Can", "Bag")


def octagon(x: float, y: float, radius: float) -> list[float]:
    """A ring of eight corners around a centre, in pixels with one decimal."""
    ring = []
    for corner in range(8):
        angle = math.pi * (corner + 0.5) / 4
        ring += [round(x + radius * math.cos(angle), 1), round(y + radius * math.sin(angle), 1)]
    return ring


def circle(x: float, y: float, radius: float) -> list[float]:
    """A ring of 48 corners around a centre, as a careful annotator would draw it."""
    angles = [math.tau * corner / 48 for corner in range(48)]
    return [round(side, 1) for a in angles for side in (x + radius * math.cos(a), y + radius * math.sin(a))]


def traced(x: float, y: float, radius: float) -> list[float]:
    """The outline of the pixels of a disc, as tracing a mask gives it: whole numbers, each edge along one axis."""
    left, top, size = int(x - radius), int(y - radius), int(radius)
    half = [round(math.sqrt(size**2 - (row + 0.5 - size) ** 2)) for row in range(2 * size)]
    right_side = [(left + size + half[row], top + row + end) for row in range(2 * size) for end in (0, 1)]
    left_side = [(left + size - half[row], top + row + end) for row in reversed(range(2 * size)) for end in (1, 0)]
    corners = right_side + left_side
    ring: list[float] = []
    for n, corner in enumerate(corners):  # without points in the middle of an edge
        before, after = corners[n - 1], corners[(n + 1) % len(corners)]
        if not (before[0] == corner[0] == after[0] or before[1] == corner[1] == after[1]):
            ring += corner
    return ring


def annotation(number: int, image: int, category: int, ring: list[float]) -> dict[str, Any]:
    """A valid annotation with one ring and its area and box."""
    xs, ys = ring[0::2], ring[1::2]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": [ring],
        "area": round(ring_area(ring), 2),
        "bbox": [round(side, 1) for side in box],
        "iscrowd": 0,
    }


def clean_file() -> dict[str, Any]:
    """Twelve images of 640x480 pixels with three objects of each of three classes, for which no check has findings."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image in range(1, 13):
        images.append({"id": image, "file_name": f"photo_{image:02}.jpg", "width": 640, "height": 480, "license": 1})
        for place in range(9):
            x, y = 110 + 200 * (place % 3) + image, 90 + 140 * (place // 3) + image
            draw = (octagon, circle, traced)[(image + place - 1) % 3]
            ring = draw(x, y, 40 + image % 5 + place % 3)
            annotations.append(annotation(len(annotations) + 1, image, 1 + place % 3, ring))
    return {
        "info": {"description": "an example"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "images": images,
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)],
    }
