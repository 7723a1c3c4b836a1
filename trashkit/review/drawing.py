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


def picture(room: Room, n: int, side: int = SIDE) -> Pixels | None:
    """RGB uint8 [H, W, 3] of a finding's surroundings; None where there is nothing that could be drawn.

    Red is the row as it came, green what the proposed fix or the review makes of it, blue what it is related to.
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
            (after(room, n), AFTER),
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
    crop = seen[top:bottom, left:right]
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
    """The outlines with room around them; the whole picture where there are none inside."""
    if rings:
        points = np.concatenate(rings)
        low, high = points.min(axis=0), points.max(axis=0)
        margin = 0.35 * float((high - low).max()) + 12
        left, top = (int(v) for v in np.clip(np.floor(low - margin), 0, (width, height)))
        right, bottom = (int(v) for v in np.clip(np.ceil(high + margin), 0, (width, height)))
        if right - left >= 4 and bottom - top >= 4:
            return left, top, right, bottom
    return 0, 0, width, height


def data_url(pixels: Pixels, quality: int = 80) -> str:
    """An RGB picture as the address that a browser shows without loading anything."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
