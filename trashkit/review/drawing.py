"""Pictures of findings: the outline before in red and after the fix in green, drawn on the photo."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.images import photos
from trashkit.review.outlines import outline
from trashkit.review.session import ReviewSession, same_addition

Pixels = NDArray[np.uint8]

BEFORE, AFTER, RELATED = (229, 57, 53), (0, 200, 83), (60, 130, 235)
SIDE = 420
"""Longest side of a picture in pixels."""
BLANK = 58
"""Grey level shown in place of a missing photo."""
REACH = 1.0
"""How far beyond the photo outlines are shown, as a multiple of its sides."""


def picture(session: ReviewSession, n: int, side: int = SIDE) -> Pixels | None:
    """RGB uint8 [H, W, 3] of a finding and its surroundings; None if nothing can be drawn.

    Red is the row as the file has it, green the row after the proposed fix or the review's edits (in the new class's
    colour if the class changes), blue the related annotations. side: longest side of the picture in pixels.
    """
    finding = session.findings[n]
    image_row = session.image_row_of(finding)
    if image_row is None or finding.row is None:
        return None
    photo = _photo(session, image_row, 4 * side)
    size = session.image_size(image_row)
    if photo is None:
        return None
    outlines = [(record, AFTER) for record in additions(session, n)]
    if finding.block == "annotations":
        related = [session.coco.record("annotations", row) for row in finding.related[:5]]
        outlines = [
            *((record, RELATED) for record in related if session.image_of(record) == image_row),
            (session.coco.record("annotations", finding.row), BEFORE),
            (after(session, n), new_color(session, n) or AFTER),
            *outlines,
        ]
    if not outlines or size is None:
        return photos.shrink(photo, side)
    scale = np.array(photo.shape[1::-1])
    drawn = [
        (np.array(ring, float) * scale, color) for record, color in outlines for ring in outline(record, size).rings
    ]
    mine = [ring for ring, color in drawn if color != RELATED]
    left, top, right, bottom = _window(mine, *photo.shape[1::-1])
    crop = _cut(photo, left, top, right, bottom)
    zoom = side / max(crop.shape[:2])
    shape = (max(1, round(crop.shape[1] * zoom)), max(1, round(crop.shape[0] * zoom)))
    canvas = np.ascontiguousarray(
        cv2.resize(crop, shape, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    )
    for ring, color in drawn:
        points = np.clip((ring - (left, top)) * zoom * 16, -(2**24), 2**24).round().astype(np.int32)
        cv2.polylines(canvas, [points], True, color, 3 if color == BEFORE else 1, cv2.LINE_AA, 4)
    return canvas.astype(np.uint8)


def after(session: ReviewSession, n: int) -> Any:
    """The finding's row as the log leaves it, with the proposed fix if it is still open; None if deleted."""
    place = session.row_finding(n).place
    record = session.record(*place)
    if n in session.fixes and session.status(n) == "open" and isinstance(record, dict):
        for edit in session.fixes[n].edits:
            if (edit.block, edit.row) == place:
                record = None if edit.kind == "delete" else {**(record or {}), **edit.after}
    return record


def new_color(session: ReviewSession, n: int) -> tuple[int, int, int] | None:
    """The colour of the class that a fix gives to the annotation; None if the class stays."""
    finding = session.findings[n]
    if finding.block != "annotations" or finding.row is None:
        return None
    record, now = session.coco.record("annotations", finding.row), after(session, n)
    if not isinstance(record, dict) or not isinstance(now, dict):
        return None
    if now.get("category_id") == record.get("category_id"):
        return None
    return session.class_colors.get(session.class_name(now), AFTER)


def additions(session: ReviewSession, n: int) -> list[Any]:
    """Annotations that the fix of a finding adds, as the log has them or, while it is open, as proposed."""
    fix = session.fixes.get(n)
    if fix is None or session.status(n) in ("rejected", "unusable"):
        return []
    made = [edit.after for edit in session.working_copy().added for one in fix.additions if same_addition(edit, one)]
    return made or ([edit.after for edit in fix.additions] if session.status(n) == "open" else [])


def _photo(session: ReviewSession, image_row: int, longest: int) -> Pixels | None:
    size = session.image_size(image_row)
    try:
        width_height = (size[1], size[0]) if size is not None else None
        return np.asarray(photos.thumbnail(session.photo_path(image_row), longest, width_height), np.uint8)
    except TrashkitError:
        if size is None or max(size) / min(size) > 100:
            return None
        scale = min(1.0, longest / max(size))
        return np.full((max(1, round(size[0] * scale)), max(1, round(size[1] * scale)), 3), BLANK, np.uint8)


def _window(rings: Sequence[NDArray[np.float64]], width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the crop: the outlines with a margin.

    Outlines that lie outside the photo are shown up to REACH times its sides beyond it, together with part of the
    photo, or all of it if they lie entirely outside.
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
    visible = np.minimum(right_bottom, sides) - np.maximum(left_top, 0)
    if (visible < 4).any():  # nothing of the photo would be visible
        left_top, right_bottom = np.minimum(left_top, 0), np.maximum(right_bottom, sides)
    (left, top), (right, bottom) = np.floor(left_top).astype(int), np.ceil(right_bottom).astype(int)
    return int(left), int(top), int(right), int(bottom)


def _cut(photo: Pixels, left: int, top: int, right: int, bottom: int) -> Pixels:
    """A window of a photo, with a grey checkerboard where it reaches beyond."""
    height, width = photo.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return photo[top:bottom, left:right]
    rows, columns = np.arange(top, bottom)[:, None], np.arange(left, right)[None]
    square = max(4, (right - left) // 40)
    beyond = np.where((rows // square + columns // square) % 2, BLANK, BLANK + 20).astype(np.uint8)
    canvas = np.repeat(beyond[:, :, None], 3, axis=2)
    x, y, x_end, y_end = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    canvas[y - top : y_end - top, x - left : x_end - left] = photo[y:y_end, x:x_end]
    return canvas


def data_url(pixels: Pixels, quality: int = 80) -> str:
    """An RGB picture as a JPEG data URL."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("the picture could not be encoded")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
