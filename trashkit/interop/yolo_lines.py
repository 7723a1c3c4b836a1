"""Lines of YOLO label files: a class number, then a box or an outline, and what trackers and detectors append.

Ultralytics writes the confidence (``save_conf``) and the track id after the coordinates. A line does not say which of
its columns are coordinates, so that all lines of a data set are looked at first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trashkit.errors import TrashkitError
from trashkit.interop.coco_builder import CocoBuilder, number
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.geometry.shapes import Ring
from trashkit.interop.names.table import ClassTable

_DECIMALS = 5
_REACH = 0.5
"""How far coordinates may lie outside 0 to 1: outlines may reach over the border, but not that far."""


@dataclass(frozen=True, slots=True)
class Survey:
    """What the lines of a data set have in common.

    numbers: of classes. tracked: whether lines end in track ids. turned: whether the number after a box may be an
    angle, since one of them is not a confidence.
    """

    numbers: frozenset[int]
    tracked: bool
    turned: bool = False


def survey(lines: Iterable[str], place: str, *, exported: bool = False) -> Survey:
    """Look at all lines of a data set.

    place: how messages refer to it. exported: whether trashkit wrote it, whose lines have no further columns. Raises
    TrashkitError where all lines may be triangles as well as boxes with confidence and track id.
    """
    numbers: set[int] = set()
    tracked = unclear = clear = turned = False
    for line in lines:
        first, *rest = line.split()
        if re.fullmatch(r"[0-9]{1,9}(\.0*)?", first) and all(map(is_number, rest)):
            numbers.add(int(float(first)))
        ends = _ends_in_id(rest)
        tracked |= ends and int(rest[-1]) > 1
        six = ends and len(rest) == 6 and _is_box([float(value) for value in rest[:4]])
        unclear |= six
        clear |= not six
        turned |= len(rest) == 5 and _is_angle(rest[4])
    if unclear and not clear and not tracked and not exported:
        raise TrashkitError(
            f"{place}: each line has six numbers after the class, which may be a triangle, or a box with confidence "
            "and track id",
            hint="delete the columns of confidence and track id, or write 1.0 instead of 1 in triangles",
        )
    return Survey(frozenset(numbers), tracked, turned)


def is_number(text: str) -> bool:
    """Whether a word of a label file is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_angle(text: str) -> bool:
    """Whether the number after a box is neither a confidence nor a track id."""
    return is_number(text) and not 0 <= float(text) <= 1 and not re.fullmatch(r"[0-9]{1,9}", text)


def _ends_in_id(values: list[str]) -> bool:
    """Whether an even number of columns may end in a confidence and a track id: in 0.87 7, but not in 0.87 0.7."""
    if len(values) < 6 or len(values) % 2 or not re.fullmatch(r"[0-9]{1,9}", values[-1]):
        return False
    try:
        rest = [float(value) for value in values[:-1]]
    except ValueError:
        return False
    return 0 <= rest[-1] <= 1 and "." in values[-2] and all(-_REACH <= value <= 1 + _REACH for value in rest)


def _is_box(values: list[float]) -> bool:
    x, y, w, h = values
    return min(w, h) > 0 and min(x - w / 2, y - h / 2) >= -0.01 and max(x + w / 2, y + h / 2) <= 1.01


def read_line(
    text: str, size: tuple[int, int], place: str, *, table: ClassTable, found: Survey, builder: CocoBuilder
) -> tuple[str, Ring] | None:
    """Class name and outline in pixels of a line; None for background, which is noted.

    size: (width, height) of the photo. Raises TrashkitError or SkippedShapeError for lines that cannot be read.
    """
    first, *rest = text.split()
    index = number(first, place, "the class")
    if index != int(index) or index < 0:
        raise TrashkitError(f"{place}: there is no class {first[:40]}", hint="classes are whole numbers from 0")
    values = _coordinates(rest, place, found, builder)
    name = table.names.get(int(index))
    if int(index) in table.background:
        builder.note("shapes of background, left out", place)
        return None
    if int(index) in table.ignored:
        raise SkippedShapeError(f"shapes of {table.ignored[int(index)]}, which COCO does not have")
    if name is None:
        raise SkippedShapeError(f"shapes of class {int(index)}, which has no name")
    return name, [round(value * size[n % 2], _DECIMALS) for n, value in enumerate(values)]


def _coordinates(rest: list[str], place: str, found: Survey, builder: CocoBuilder) -> Ring:
    """The vertices of a line, from 0 to 1, without confidence and track id."""
    values = [number(value, place, "a coordinate") for value in rest]
    more = 2 if found.tracked and _ends_in_id(rest) else len(values) % 2
    if len(values) - more < 4 or (more and len(values) == 1):
        raise TrashkitError(
            f"{place}: {len(values)} numbers after the class are not an outline",
            hint="give x and y of at least three vertices",
        )
    if found.turned and len(values) == 5:
        raise SkippedShapeError(
            "boxes with a fifth number, which may be an angle, since one of these is not a confidence"
        )
    if more == 1 and not (0 <= values[-1] <= 1 or re.fullmatch(r"[0-9]{1,9}", rest[-1])):
        raise SkippedShapeError("lines that end neither in a vertex nor in a confidence or track id")
    if more:
        builder.note("lines with a confidence or track id after the coordinates, which are left out", place)
        values = values[:-more]
    if not all(-_REACH <= value <= 1 + _REACH for value in values):
        raise SkippedShapeError("shapes with coordinates outside 0 to 1, perhaps in pixels")
    if len(values) != 4:
        return values
    builder.note("boxes read as rectangles", place)
    x, y, w, h = values
    if min(w, h) <= 0:
        raise SkippedShapeError("boxes without area")
    left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
    return [left, top, right, top, right, bottom, left, bottom]
