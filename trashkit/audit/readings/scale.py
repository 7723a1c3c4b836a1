"""Coordinates of a whole file in another unit or order: fractions, percent, off by one factor, x and y exchanged."""

# ruff: noqa: PLR0911 - each step returns as soon as it is clear that something does not apply.

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from trashkit.audit.readings.evidence import box_agrees
from trashkit.audit.readings.placement import (
    FEW_PIXELS,
    SHARED,
    Placement,
    distance_outside,
    is_notation,
    overlap,
    turned,
)
from trashkit.coco.dataset import RawRows
from trashkit.raster.measures import ring_area

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Target = Literal["shape", "box"]
Which = Literal["each", "boxed", "all"]

UNITS = {1: "0..1 (normalised: fractions of width and height)", 100: "percent of width and height"}
UNITS |= {1000: "0..1000 (thousandths of width and height)"}
_SAMPLE = 256
_MOST = 0.9
"""Share of the annotations with evidence that have to agree."""
_OFF = 0.05
"""A factor is one if it differs from 1 by more than this share."""
_NEAR = 0.02
_EVEN = 0.015
_FAR = 1e7
_FEW = 3
_ROUNDING = 3.0
"""Boxes that are off by the same distance everywhere are merely rounded in another way, up to this many pixels."""


class Scale(NamedTuple):
    """What the coordinates of a file have to be multiplied by.

    unit: largest coordinate of x and y, so that x is multiplied by width / unit and y by height / unit; 0 if both are
    multiplied by `factor`, which is 0 where it is not known. target: "shape" for segmentations (and boxes that fit
    them), "box" for boxes alone. proven: whether it is certain what is wrong. rows: annotations that it is about.
    what: for messages. which: "boxed" for those only whose bbox fits then, "each" for all but those whose bbox fits
    now, "all" for all. move: what has to be done instead of multiplying, to those whose bbox fits then.
    """

    unit: int
    factor: float
    target: Target
    proven: bool
    rows: Ints
    what: str
    which: Which = "each"
    move: Placement | None = None

    @property
    def proposal(self) -> dict[str, Any] | None:
        """The same for `rescaled`, as plain values; None where the factor is not known."""
        if self.move is not None:
            return {"move": list(self.move), "target": self.target}
        if not self.unit and not self.factor:
            return None
        return {"unit": self.unit, "factor": self.factor, "target": self.target, "which": self.which}


class _Columns(NamedTuple):
    """Measured polygons with what their rows state: boxes as left, top, width, height; NaN where nothing is stated."""

    rows: Ints
    shape: Floats
    measured: Floats
    box: Floats
    area: Floats
    size: Floats

    def where(self, mask: Bools) -> _Columns:
        return _Columns(
            self.rows[mask], self.shape[mask], self.measured[mask], self.box[mask], self.area[mask], self.size[mask]
        )


class _Polygons(msgspec.Struct, gc=False):
    segmentation: list[list[float]]


def find_scale(raws: RawRows, image_row: Ints, size: Floats, box: Floats, area: Floats) -> Scale | None:
    """The scale of a file's annotations; None if they are in pixels, or if nothing shows the contrary.

    image_row: [N] row of each annotation's image, negative if unknown. size: [images, 2] width and height in pixels.
    box: [N, 4] and area: [N] as the file states them, NaN where it does not. A sample of the annotations is looked at
    first, so that usual files take no time.
    """
    known = np.flatnonzero(image_row >= 0)
    known = known[np.isfinite(size[image_row[known]]).all(axis=1)]
    sample = known[np.unique(np.linspace(0, len(known) - 1, _SAMPLE).astype(np.int64))] if len(known) else known
    for rows in (sample, known):
        found = _judge(_columns(raws, rows, image_row=image_row, size=size, box=box, area=area)) if len(rows) else None
        if found is None or len(rows) == len(known):
            return found
    return None


def _columns(raws: RawRows, rows: Ints, *, image_row: Ints, size: Floats, box: Floats, area: Floats) -> _Columns:
    """Measure the polygons of some rows; rows without well-formed polygons are left out."""
    decode = msgspec.json.Decoder(_Polygons).decode
    shape, measured = np.full((len(rows), 4), math.nan), np.full(len(rows), math.nan)
    for n, row in enumerate(rows.tolist()):
        try:
            rings = decode(raws[row]).segmentation
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if not rings or any(len(ring) < 6 or len(ring) % 2 for ring in rings):
            continue
        left, right = min(min(r[0::2]) for r in rings), max(max(r[0::2]) for r in rings)
        top, bottom = min(min(r[1::2]) for r in rings), max(max(r[1::2]) for r in rings)
        shape[n] = left, top, right - left, bottom - top
        if len(rings) == 1 and max(right, bottom, -left, -top) < _FAR:
            measured[n] = ring_area(rings[0])
    columns = _Columns(rows, shape, measured, box[rows], area[rows], size[image_row[rows]])
    return columns.where(
        np.isfinite(shape).all(axis=1) & (np.abs(shape) < _FAR).all(axis=1) & (shape[:, 2:] > 0).all(axis=1)
    )


def _judge(columns: _Columns) -> Scale | None:
    if not len(columns.rows):
        return None
    with np.errstate(all="ignore"):
        found = _normalised(columns) or _of_unit(columns) or _by_boxes(columns) or _by_moves(columns)
        found = found or _by_areas(columns)
        return found if found is not None and found.proven else _by_sizes(columns) or found


def _close(one: Floats, other: Floats) -> Bools:
    """[n] whether two boxes are the same, up to rounding."""
    limit = np.maximum(0.02 * np.maximum(other[:, 2:].max(axis=1), 1e-9), 1.5)[:, None]
    limit = np.minimum(limit, 0.25 * np.maximum(other[:, 2:].max(axis=1), 1e-9)[:, None])
    return np.asarray((np.abs(one - other) <= limit).all(axis=1))


def _inside(boxes: Floats, unit: Floats | float) -> Bools:
    """[n] whether boxes are within 0 .. unit."""
    far = boxes[:, :2] + boxes[:, 2:]
    return np.asarray((boxes[:, :2] >= -0.01 * unit).all(axis=1) & (far <= 1.01 * np.asarray(unit)).all(axis=1))


def _times(boxes: Floats, factors: Floats) -> Floats:
    return np.asarray(boxes * np.tile(factors, 2))


def _normalised(columns: _Columns) -> Scale | None:
    """All polygons are in 0..1, or those that then have their bbox."""
    large = (columns.size > 4).all(axis=1)
    inside = _inside(columns.shape, 1.0) & large
    then = _times(columns.shape, columns.size)
    boxed = inside & _close(then, columns.box)
    if inside.all() and (len(inside) > 1 or boxed.all() or (columns.shape != np.round(columns.shape)).any()):
        what = f"all {len(inside)} polygons are in {UNITS[1]}"
        in_pixels = np.isfinite(columns.box).all(axis=1) & (columns.box[:, 2:] > FEW_PIXELS).all(axis=1)
        against = in_pixels & ~_alike(then, columns.box, columns.size)
        if against.sum() > in_pixels.sum() / 2:
            what = f"all {len(inside)} polygons are in 0..1, but times width and height {against.sum()} miss their bbox"
            return _by_boxes(columns) or Scale(1, 0.0, "shape", False, columns.rows, what, "all")
        return Scale(1, 0.0, "shape", True, columns.rows, what, "all")
    if boxed.any():
        what = f"{boxed.sum()} of {len(inside)} polygons are in {UNITS[1]}, as their bbox shows"
        return Scale(1, 0.0, "shape", True, columns.rows[boxed], what, "boxed")
    return None


def _alike(shape: Floats, box: Floats, size: Floats) -> Bools:
    """[n] whether boxes are those of shapes, inexact ones and those in another notation included."""
    found = _close(shape, box)
    for row in np.flatnonzero(~found).tolist():
        one, other = (np.concatenate((side[row, :2], side[row, :2] + side[row, 2:])).tolist() for side in (shape, box))
        width, height = size[row].tolist()
        found[row] = overlap(one, other) >= SHARED or is_notation(box[row].tolist(), one, (height, width))
    return found


def _of_unit(columns: _Columns) -> Scale | None:
    """Polygons or boxes in percent or the like, where bbox or area prove it."""
    for unit, name in {**UNITS, **_units_of_boxes(columns)}.items():
        factors = columns.size / unit
        if (np.abs(factors - 1) <= _OFF).all():
            continue
        ratio = columns.area / columns.measured
        of_box = np.abs(ratio * factors.prod(axis=1) - 1) <= 2 * _OFF
        of_box |= np.abs(columns.area / columns.box[:, 2:].prod(axis=1) - 1) <= _NEAR
        scaled = _times(columns.box, factors)
        fits = _close(scaled, columns.shape) & ((unit == 1) | ~of_box)
        if _even(scaled, columns.shape, fits) and _shared(columns, fits, _inside(columns.box, unit)):
            rows = columns.rows
            return Scale(unit, 0.0, "box", True, rows, f"the boxes of {len(rows)} annotations are in {name}")
        if unit == 1 or not _inside(columns.shape, unit).all():
            continue
        scaled = _times(columns.shape, factors)
        boxed = _close(scaled, columns.box) & ~_close(columns.shape, columns.box) & ~(np.abs(ratio - 1) <= _NEAR)
        boxed &= _even(scaled, columns.box, boxed)
        by_area = (np.abs(ratio / factors.prod(axis=1) - 1) <= _NEAR) & (np.abs(ratio - 1) > _OFF)
        for proof, witness, least in ((boxed, "bbox", 1), (by_area, "area", 2)):
            if _shared(columns, proof, np.ones(len(proof), bool), least=least, witness=witness):
                what = f"all {len(proof)} polygons are in {name}, as their {witness} shows"
                which: Which = "each" if witness == "bbox" else "all"
                return Scale(unit, 0.0, "shape", True, columns.rows, what, which)
    return None


def _even(one: Floats, other: Floats, rows: Bools) -> bool:
    """Whether boxes that are the same up to rounding are, taken together, of one size: 0.5 is not 1 / 1.95."""
    sides = one[rows, 2:].prod(axis=1) / other[rows, 2:].prod(axis=1)
    return bool(len(sides)) and abs(math.sqrt(float(np.median(sides))) - 1) <= _EVEN


def _units_of_boxes(columns: _Columns) -> dict[int, str]:
    """Sides of the square that polygons or boxes were drawn on, if the others are in pixels, such as 640."""
    have = np.isfinite(columns.box).all(axis=1) & (columns.box[:, 2:] > 0).all(axis=1)
    some, found = columns.where(np.asarray(have)), {}
    for one, other in ((some.shape, some.box), (some.box, some.shape)):
        sides = some.size * one[:, 2:] / other[:, 2:]
        unit = round(float(np.median(sides))) if len(sides) else 0
        factors = some.size / max(unit, 1)
        even = bool(unit) and np.ptp(factors) > _OFF * factors.mean()  # else one factor says it, too
        if even and (np.abs(sides / unit - 1) <= _NEAR).all(axis=1).mean() >= _MOST:
            found[unit] = UNITS.get(unit, f"0..{unit} along both width and height")
    return found


def _shared(columns: _Columns, agrees: Bools, possible: Bools, *, least: int = 1, witness: str = "bbox") -> bool:
    """Whether nearly all annotations that have the witness agree."""
    have = np.isfinite(columns.box).all(axis=1) if witness == "bbox" else np.isfinite(columns.area)
    number = int((have & agrees & possible).sum())
    return number >= least and number >= _MOST * int(have.sum())


def _by_boxes(columns: _Columns) -> Scale | None:
    """Polygons and boxes differ by one factor; the area or the image's size tells which of them are wrong."""
    have = np.asarray(np.isfinite(columns.box).all(axis=1) & (columns.box[:, 2:] > 0).all(axis=1))
    if not have.any():
        return None
    some = columns.where(have)
    factor = float(np.median(np.sqrt(some.box[:, 2:].prod(axis=1) / some.shape[:, 2:].prod(axis=1))))
    if not math.isfinite(factor) or abs(factor - 1) <= _OFF or factor <= 0:
        return None
    agree = _close(some.shape * factor, some.box) & ~_close(some.shape, some.box)
    if agree.sum() < _MOST * len(agree):
        return None
    ratio = some.area / some.measured
    by_area = _most(np.abs(ratio / factor**2 - 1) <= _NEAR, np.isfinite(ratio))
    against = _most(np.abs(ratio - 1) <= _NEAR, np.isfinite(ratio))
    shapes_fit, boxes_fit = _inside(some.shape, some.size), _inside(some.box, some.size)
    count = len(some.rows)
    if by_area or (not against and boxes_fit.all() and shapes_fit.mean() < 0.6):
        what = f"all polygons are {_said(1 / factor)}, as bbox and {'area show' if by_area else 'image size show'}"
        return Scale(0, factor, "shape", True, columns.rows, what)
    seen = "area" if against else "image size"
    if against or (shapes_fit.all() and boxes_fit.mean() < 0.6):
        what = f"the boxes of {count} annotations are {_said(factor)}, as polygons and {seen} show"
        return Scale(0, 1 / factor, "box", True, some.rows, what)
    if count < 2:
        return None
    what = (
        f"the boxes of {count} annotations are {factor:.4g} times as large as their polygons; which of them are wrong"
    )
    return Scale(0, factor, "shape", False, some.rows, f"{what} is not proven")


def _by_moves(columns: _Columns) -> Scale | None:
    """Polygons fit their boxes only with x and y exchanged, mirrored, or moved, all in the same way."""
    have = np.asarray(np.isfinite(columns.box).all(axis=1) & (columns.box[:, 2:] > 0).all(axis=1))
    some = columns.where(have & ~_close(columns.shape, columns.box))
    if len(some.rows) < max(_FEW, _MOST * have.sum()):
        return None
    dx, dy = (round(float(side), 1) for side in np.median(some.box[:, :2] - some.shape[:, :2], axis=0))
    moved = [Placement(f"moved by ({dx:.5g}, {dy:.5g})", dx=dx, dy=dy)] if max(abs(dx), abs(dy)) > _ROUNDING else []
    fitting: dict[str, tuple[Placement, list[int]]] = {}
    shapes_leave = boxes_leave = notations = 0
    for row, shape, box, (width, height) in zip(some.rows.tolist(), some.shape, some.box, some.size, strict=True):
        here, there = (np.concatenate((one[:2], one[:2] + one[2:])).tolist() for one in (shape, box))
        size = (float(height), float(width))
        shapes_leave += distance_outside(here, size) > FEW_PIXELS
        boxes_leave += distance_outside(there, size) > FEW_PIXELS
        notations += is_notation(box.tolist(), here, size)
        for way in (*turned(size), *moved):
            if box_agrees(box.tolist(), way.box(here)):
                fitting.setdefault(way.how, (way, []))[1].append(row)
    for how, (way, rows) in fitting.items():
        if len(rows) < _MOST * len(some.rows) or notations > len(rows) / 2:
            continue
        what = f"{len(rows)} polygons fit their boxes only {how}"
        if shapes_leave and not boxes_leave and (way.exchanged or way in moved):
            what += ", and as they are they leave their images"
            return Scale(0, 0.0, "shape", True, np.array(rows), what, move=way)
        if boxes_leave and not shapes_leave:
            what += ", and the boxes leave their images"
            return Scale(0, 0.0, "box", True, np.array(rows), what, move=way)
        return Scale(0, 0.0, "shape", False, np.array(rows), f"{what}; which of the two are wrong is not proven")
    return None


def _by_areas(columns: _Columns) -> Scale | None:
    """The areas are those of polygons that are larger or smaller by one factor."""
    ratio = columns.area / columns.measured
    have = np.isfinite(ratio) & (ratio > 0)
    if have.sum() < 3:
        return None
    square = float(np.median(ratio[have]))
    if abs(square - 1) <= 2 * _OFF or any(abs(square / bug - 1) <= _NEAR for bug in (2, 0.5)):
        return None  # twice the area is a usual mistake of its own
    if not _most(np.abs(ratio / square - 1) <= _NEAR / 2, have):
        return None
    factor = math.sqrt(square)
    if _most(np.sqrt(ratio * columns.shape[:, 2:].prod(axis=1)) < 1, have):
        return None  # each object would be below a pixel: it is the areas that are in another unit
    fits = _inside(columns.shape, columns.size)
    then = _inside(columns.shape * factor, columns.size)
    if then.all() and fits.mean() < 0.6:
        what = f"all polygons are {_said(1 / factor)}, as area and image size show"
        return Scale(0, factor, "shape", True, columns.rows, what, "all")
    what = (
        f"the areas of all annotations are {square:.4g} times those of their polygons: these may be {_said(1 / factor)}"
    )
    return Scale(0, factor, "shape", False, columns.rows, what)


def _by_sizes(columns: _Columns) -> Scale | None:
    """Most polygons lie outside their images, and no bbox or area says otherwise.

    Of a unit and a factor that both fit, the one that leaves less of the images empty is the likelier; how large a
    factor is, is not known, since objects need not reach the border.
    """
    fits, count = _inside(columns.shape, columns.size), len(columns.rows)
    exchanged = fits | _inside(columns.shape, columns.size[:, ::-1])
    if count < 3 or fits.mean() >= 0.6 or exchanged.mean() >= _MOST or (columns.shape[:, :2] < -2).any():
        return None
    far = columns.shape[:, :2] + columns.shape[:, 2:]
    factor = float((far / columns.size).max())
    room = float(np.log(columns.size * factor).sum(axis=1).mean())
    perhaps = ""
    for unit, name in UNITS.items():
        if not _inside(columns.shape, unit).all() or (far.max(axis=0) < 0.7 * unit).any():
            continue
        if 2 * math.log(unit) <= room:
            what = f"all {count} polygons are in {name}, as the images' sizes show"
            return Scale(unit, 0.0, "shape", True, columns.rows, what, "all")
        perhaps = f", or in {name}"
    what = f"all {count} polygons are at least {factor:.4g} times too large{perhaps}, as the images' sizes show"
    return Scale(0, 0.0, "shape", True, columns.rows, f"{what}, or these sizes are wrong", "all")


def _most(agrees: Bools, have: Bools) -> bool:
    return bool(have.any() and (agrees & have).sum() >= _MOST * have.sum())


def _said(factor: float) -> str:
    return f"{factor:.4g} times too large" if factor > 1 else f"{1 / factor:.4g} times too small"
