"""A finding as a picture: the outline before in red, the one after its fix in green, on top of each other."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import photos
from trashkit.errors import TrashkitError
from trashkit.review.documents import photo_of
from trashkit.review.outlines import outline
from trashkit.review.room import Room, same_addition

Pixels = NDArray[np.uint8]

BEFORE, AFTER, RELATED = (229, 57, 53), (0, 200, 83), (60, 130, 235)
SIDE = 420
"""Longest side of a picture in pixels."""
BLANK = 58
REACH = 1.0
"""How far beyond a picture outlines are shown, in its sides."""


def picture(room: Room, n: int, side: int = SIDE) -> Pixels | None:
    """RGB uint8 [H, W, 3] of a finding's surroundings; None where there is nothing that could be drawn.

    Red is the row as it came, green what the proposed fix or the review makes of it (in the new class's colour where
    that is the change), blue what it is related to.
    """
    finding = room.findings[n]
    image_row = room.image_row_of(finding)
    if image_row is None or finding.row is None:
        return None
    seen = _photo(room, image_row, 4 * side)
    size = room.size(image_row)
    if seen is None:
        return None
    outlines = [(record, AFTER) for record in additions(room, n)]
    if finding.block == "annotations":
        related = [room.coco.record("annotations", row) for row in finding.related[:5]]
        outlines = [
            *((record, RELATED) for record in related if room.image_of(record) == image_row),
            (room.coco.record("annotations", finding.row), BEFORE),
            (after(room, n), new_color(room, n) or AFTER),
            *outlines,
        ]
    if not outlines or size is None:
        return photos.shrink(seen, side)
    scale = np.array(seen.shape[1::-1])
    drawn = [
        (np.array(ring, float) * scale, color) for record, color in outlines for ring in outline(record, size).rings
    ]
    mine = [ring for ring, color in drawn if color != RELATED]
    left, top, right, bottom = _window(mine, *seen.shape[1::-1])
    crop = _cut(seen, left, top, right, bottom)
    zoom = side / max(crop.shape[:2])
    shape = (max(1, round(crop.shape[1] * zoom)), max(1, round(crop.shape[0] * zoom)))
    canvas = np.ascontiguousarray(
        cv2.resize(crop, shape, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    )
    for ring, color in drawn:
        points = np.clip((ring - (left, top)) * zoom * 16, -(2**24), 2**24).round().astype(np.int32)
        cv2.polylines(canvas, [points], True, color, 3 if color == BEFORE else 1, cv2.LINE_AA, 4)
    return canvas.astype(np.uint8)


def after(room: Room, n: int) -> Any:
    """The finding's row as the review has it, or with the proposed fix where nothing is decided; None if deleted."""
    finding = room.findings[n]
    assert finding.row is not None
    place = (finding.block, finding.row)
    record = room.record(*place)
    if n in room.fixes and room.status(n) == "open" and isinstance(record, dict):
        for edit in room.fixes[n].alone:
            if (edit.block, edit.row) == place:
                record = None if edit.kind == "delete" else {**(record or {}), **edit.after}
    return record


def new_color(room: Room, n: int) -> tuple[int, int, int] | None:
    """The colour of the class that the fix of a finding gives its annotation; None where the class stays."""
    finding = room.findings[n]
    if finding.block != "annotations" or finding.row is None:
        return None
    record, now = room.coco.record("annotations", finding.row), after(room, n)
    if not isinstance(record, dict) or not isinstance(now, dict):
        return None
    if now.get("category_id") == record.get("category_id"):
        return None
    return room.colors.get(room.class_name(now), AFTER)


def additions(room: Room, n: int) -> list[Any]:
    """Annotations that the fix of a finding adds, as proposed or as the log has them."""
    fix = room.fixes.get(n)
    if fix is None or room.status(n) in ("rejected", "unusable"):
        return []
    made = [edit.after for edit in room.standing().added for one in fix.added if same_addition(edit, one)]
    return made or ([edit.after for edit in fix.added] if room.status(n) == "open" else [])


def _photo(room: Room, image_row: int, longest: int) -> Pixels | None:
    size = room.size(image_row)
    try:
        return np.asarray(photos.thumbnail(Path(photo_of(room, image_row)), longest, size), np.uint8)
    except TrashkitError:
        if size is None or max(size) / min(size) > 100:
            return None
        scale = min(1.0, longest / max(size))
        return np.full((max(1, round(size[1] * scale)), max(1, round(size[0] * scale)), 3), BLANK, np.uint8)


def _window(rings: Sequence[NDArray[np.float64]], width: int, height: int) -> tuple[int, int, int, int]:
    """The outlines with room around them; with some of the picture, or all of it where they are beside it.

    An outline that leaves the picture is shown as far as REACH times the picture's sides beyond it.
    """
    sides = np.array([width, height], float)
    if not rings:
        return 0, 0, width, height
    points = np.clip(np.concatenate(rings), -REACH * sides, (1 + REACH) * sides)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.35 * float((high - low).max()) + 12
    rim = np.where((low < 0) | (high > sides), 0.05 * float((high - low).max()) + 4, 0)
    left_top = np.minimum(np.clip(low - margin, 0, sides), low - rim)
    right_bottom = np.maximum(np.clip(high + margin, 0, sides), high + rim)
    seen = np.minimum(right_bottom, sides) - np.maximum(left_top, 0)
    if (seen < 4).any():  # nothing of the picture would show where the outline is
        left_top, right_bottom = np.minimum(left_top, 0), np.maximum(right_bottom, sides)
    (left, top), (right, bottom) = np.floor(left_top).astype(int), np.ceil(right_bottom).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _cut(seen: Pixels, left: int, top: int, right: int, bottom: int) -> Pixels:
    """A window of a picture, chequered grey where it reaches beyond."""
    height, width = seen.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return seen[top:bottom, left:right]
    rows, columns = np.arange(top, bottom)[:, None], np.arange(left, right)[None]
    square = max(4, (right - left) // 40)
    beyond = np.where((rows // square + columns // square) % 2, BLANK, BLANK + 20).astype(np.uint8)
    canvas = np.repeat(beyond[:, :, None], 3, axis=2)
    x, y, x_end, y_end = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    canvas[y - top : y_end - top, x - left : x_end - left] = seen[y:y_end, x:x_end]
    return canvas


def data_url(pixels: Pixels, quality: int = 80) -> str:
    """An RGB picture as the address that a browser shows without loading anything."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
