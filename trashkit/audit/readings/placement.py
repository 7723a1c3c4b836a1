"""Whether a row's own box says that its shape is somewhere else, and how the shape would fit the box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from trashkit.audit.readings.evidence import Evidence, area_agrees, box_agrees

SHARED = 0.5
"""A box that shares at least this much (IoU) with that of the shape is merely inexact."""
_CLIPPED = 0.8
"""So is one that shares this much with the part of a shape inside the image, if the shape leaves the image."""
_SPECK = 2.0
"""A box that is no larger than this many pixels stands for a missing box, unless the shape is nearly as small: tools
write [0, 0, 1, 1] there."""
_CLOSER = 0.5
"""A reading that fits a box this many pixels better than another one is the likelier, whatever its kind."""
FEW_PIXELS = 5.0
"""A shape or a box that reaches further out of its image than this many pixels is not inside of it: clipping is a safe
fix up to this distance; beyond it the whole outline may be wrong."""
_UNITS = {1: "in 0..1", 100: "in percent", 1000: "in 0..1000"}

Box = Sequence[float]


class Placement(NamedTuple):
    """How a shape would fit the box that its row states: x becomes ``fx * u + dx`` and y becomes ``fy * v + dy``.

    u, v: x and y of the shape as it is, or y and x where they are `exchanged`. how: for messages, empty if no such
    reading is known. proven: whether area or image size show that the shape is what is wrong.
    """

    how: str
    exchanged: bool = False
    fx: float = 1.0
    fy: float = 1.0
    dx: float = 0.0
    dy: float = 0.0
    proven: str = ""

    def box(self, box: Box) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of a shape with this box, as it would be."""
        left, top, right, bottom = (box[1], box[0], box[3], box[2]) if self.exchanged else box
        xs = sorted((self.fx * left + self.dx, self.fx * right + self.dx))
        ys = sorted((self.fy * top + self.dy, self.fy * bottom + self.dy))
        return xs[0], ys[0], xs[1], ys[1]

    @property
    def said(self) -> str:
        """For messages: how the shape would fit, and what proves it."""
        if not self.how:
            return "one of the two is wrong, and area and image size do not show which"
        if self.proven:
            return f"the shape fits its bbox {self.how}; {self.proven}"
        return f"the shape would fit its bbox {self.how}, or the bbox is wrong"

    def rings(self, rings: list[list[float]]) -> list[list[float]]:
        """Rings as they would be, with three decimals."""
        out = []
        for ring in rings:
            us, vs = (ring[1::2], ring[0::2]) if self.exchanged else (ring[0::2], ring[1::2])
            points = zip(us, vs, strict=True)
            out.append([round(side, 3) for u, v in points for side in (self.fx * u + self.dx, self.fy * v + self.dy)])
        return out


def contradiction(  # noqa: PLR0911 - each step returns as soon as it is clear which of them is wrong
    evidence: Evidence, box: Box, area: float, size: tuple[float, float] | None
) -> Placement | None:
    """How a row's box contradicts its shape, so that nobody may overwrite either of them; None if it does not.

    box: left, top, right, bottom of the shape; area: in pixels²; size: (height, width) of the image in pixels, None if
    it is unknown. A box is merely wrong, and can be measured anew, if it is near that of the shape, if it is the
    shape's in another notation, if it is outside the image, or if the area is that of the shape and the box has other
    sides, so that no shape that was moved or turned can have both.
    """
    if evidence.box is None or not all(map(math.isfinite, (*box, area))) or is_notation(evidence.box, box, size):
        return None
    left, top, width, height = evidence.box
    if max(width, height) <= _SPECK and max(box[2] - box[0], box[3] - box[1]) > 2 * _SPECK:
        return None
    stated = (left, top, left + width, top + height)
    if size is not None and distance_outside(stated, size) > FEW_PIXELS >= distance_outside(box, size):
        return None
    leaves = size is not None and distance_outside(box, size) > FEW_PIXELS
    fits = not leaves and evidence.area is not None and area_agrees(evidence.area, area, box)
    fitting = [reading for reading in _readings(evidence.box, box, size) if box_agrees(evidence.box, reading.box(box))]
    near = overlap(stated, _clipped(box, size)) >= (_CLIPPED if leaves else SHARED)
    if not fitting:
        return None if near or fits else Placement("")
    off = [_distance(evidence.box, reading.box(box)) for reading in fitting]
    reading = next(one for one, pixels in zip(fitting, off, strict=True) if pixels <= min(off) + _CLOSER)
    scaled = area * abs(reading.fx * reading.fy)
    fits_then = evidence.area is not None and area_agrees(evidence.area, scaled, reading.box(box))
    if fits and not fits_then:
        return None
    if fits_then and not fits:
        return reading._replace(proven="its bbox and area agree")
    if leaves and (fits_then or evidence.area is None):
        return reading._replace(proven="its bbox agrees, and as it is it leaves the image")
    return None if near and reading.how.startswith("moved") else reading


def _readings(stated: Box, box: Box, size: tuple[float, float] | None) -> Iterator[Placement]:
    """Mistakes that tools make, those with the fewest free numbers first: the first one that fits is the likeliest."""
    if size is not None:
        height, width = size
        for unit, name in _UNITS.items():
            if min(box) >= -0.01 * unit and max(box) <= 1.01 * unit:
                yield Placement(f"if it is {name}", fx=width / unit, fy=height / unit)
    yield from turned(size)
    sides = (box[2] - box[0]) * (box[3] - box[1])
    if sides > 0:
        factor = math.sqrt(stated[2] * stated[3] / sides)
        yield Placement(f"multiplied by {factor:.4g}", fx=factor, fy=factor)
    dx = stated[0] + stated[2] / 2 - (box[0] + box[2]) / 2
    dy = stated[1] + stated[3] / 2 - (box[1] + box[3]) / 2
    dx, dy = round(dx, 1) + 0.0, round(dy, 1) + 0.0
    yield Placement(f"moved by ({dx:.4g}, {dy:.4g})", dx=dx, dy=dy)


def turned(size: tuple[float, float] | None) -> Iterator[Placement]:
    """Shapes with x and y exchanged, mirrored, or turned within an image (height, width)."""
    yield Placement("with x and y exchanged", exchanged=True)
    if size is not None:
        height, width = size
        yield Placement("mirrored horizontally", fx=-1.0, dx=width)
        yield Placement("mirrored vertically", fy=-1.0, dy=height)
        yield Placement("turned upside down", fx=-1.0, fy=-1.0, dx=width, dy=height)
        yield Placement("turned by 90 degrees", exchanged=True, fx=-1.0, dx=width)
        yield Placement("turned by 270 degrees", exchanged=True, fy=-1.0, dy=height)


def _clipped(box: Box, size: tuple[float, float] | None) -> tuple[float, float, float, float]:
    """The part of a box that is inside an image (height, width)."""
    left, top, right, bottom = box
    height, width = size or (math.inf, math.inf)
    return max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)


def is_notation(stated: Box, box: Box, size: tuple[float, float] | None) -> bool:
    """Whether a stated box is that of the shape, also clipped to the image or in the notation of another tool."""
    one, two, three, four = stated
    boxes = [
        (one, two, three, four),
        (one - three / 2, two - four / 2, three, four),  # centre, width, height
        (two, one, four - two, three - one),  # top, left, bottom, right
        (one, three, two - one, four - three),  # left, right, top, bottom
    ]
    shape = [box]
    if size is not None:
        height, width = size
        boxes.append((one * width, two * height, three * width, four * height))
        centre = boxes[1]
        boxes.append((centre[0] * width, centre[1] * height, three * width, four * height))
        clipped = _clipped(box, size)
        if clipped != (0.0, 0.0, width, height):  # so is any shape that is too large
            shape.append(clipped)
    return any(box_agrees(way, which) for way in boxes for which in shape)


def distance_outside(box: Box, size: tuple[float, float]) -> float:
    """By how many pixels a box reaches out of an image (height, width)."""
    return max(-box[0], -box[1], box[2] - size[1], box[3] - size[0])


def _distance(stated: Box, box: Box) -> float:
    """By how many pixels a stated box is off that of a shape at its worst edge."""
    left, top, width, height = stated
    edges = (left, top, left + width, top + height)
    return max(abs(one - other) for one, other in zip(edges, box, strict=True))


def overlap(one: Box, other: Box) -> float:
    """IoU of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    both = max(width, 0.0) * max(height, 0.0)
    area = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other))
    return both / max(area - both, 1e-9)
