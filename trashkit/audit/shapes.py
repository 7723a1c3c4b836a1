"""Rings and polygons of some images as arrays: what all checks of geometry and overlaps look at."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import shapely

from trashkit.audit.boxes import overlapping_boxes
from trashkit.audit.polygons import areal, attempt, intersection_areas
from trashkit.audit.rle import RunLengths, run_length_mask
from trashkit.audit.rows import number, value_of
from trashkit.audit.table import Floats, Ints, Table
from trashkit.coco.segmentation import MAX_COORDINATE

Bools = npt.NDArray[np.bool_]
Geometries = npt.NDArray[np.object_]


class RingDefect(NamedTuple):
    """A ring that is no ring, and so stands in no array. ring: its position, -1 for the whole segmentation."""

    annotation: int
    ring: int
    kind: str
    message: str


class Shapes:
    """Segmentations of whole images. Annotations count from 0 here; `rows` has their rows in the source file.

    rows: [n] ordered by image and file order. image: [n] image row, negative where unknown. width, height: [n] pixels
    of the image, NaN where unknown. xy: [points, 2]; ring_start: [rings + 1] where each ring begins in it; ring_owner:
    [rings] annotation; ring_number: [rings] position in its segmentation. defects: rings that are none.
    not_finite: annotations with a coordinate that is NaN or infinite. masks: RLE by annotation. cache: what checks
    share.
    """

    def __init__(self, table: Table, rows: Ints) -> None:
        self.table = table
        self.rows = rows
        self.image = table.image_row[rows]
        known = self.image >= 0
        self.width, self.height = np.full(len(rows), math.nan), np.full(len(rows), math.nan)
        self.width[known] = table.width[self.image[known]]
        self.height[known] = table.height[self.image[known]]
        self.defects: list[RingDefect] = []
        self.masks: dict[int, RunLengths] = {}
        self.cache: dict[str, object] = {}
        self._read()

    def __len__(self) -> int:
        return len(self.rows)

    def _read(self) -> None:
        raws = self.table.coco.rows("annotations")
        sound = msgspec.json.Decoder(_Polygons).decode
        rings: list[list[float]] = []
        owners: list[int] = []
        numbers: list[int] = []
        for annotation, row in enumerate(self.rows.tolist()):
            try:
                parts: list[Any] = sound(raws[row]).segmentation
                checked = True
            except (msgspec.MsgspecError, ValueError, RecursionError):
                parts, checked = self._slow(annotation, raws[row]), False
            for position, part in enumerate(parts):
                ring = part if checked else self._numbers(annotation, position, part)
                if ring is None:
                    continue
                if len(ring) < 6 or len(ring) % 2:
                    self._malformed(annotation, position, len(ring))
                    continue
                rings.append(ring)
                owners.append(annotation)
                numbers.append(position)
            if checked and not parts:
                self.defects.append(RingDefect(annotation, -1, "empty", "segmentation is empty"))
        lengths = np.fromiter(map(len, rings), np.int64, len(rings))
        flat = np.fromiter(chain.from_iterable(rings), np.float64, int(lengths.sum()))
        self._keep_finite(flat.reshape(-1, 2), lengths // 2, np.array(owners, np.int64), np.array(numbers, np.int64))

    def _keep_finite(self, xy: Floats, points: Ints, owner: Ints, ring_number: Ints) -> None:
        start = np.concatenate(([0], np.cumsum(points)))
        finite = np.ones(len(points), bool)
        if len(points):
            finite = np.logical_and.reduceat(np.isfinite(xy).all(axis=1), start[:-1])
        self.not_finite = np.unique(owner[~finite])
        if not finite.all():
            xy = xy[np.repeat(finite, points)]
            points, owner, ring_number = points[finite], owner[finite], ring_number[finite]
            start = np.concatenate(([0], np.cumsum(points)))
        self.xy, self.ring_start, self.ring_owner, self.ring_number = xy, start, owner, ring_number

    def _slow(self, annotation: int, raw: msgspec.Raw) -> list[Any]:
        """Parts of a segmentation that is not plainly a list of lists of numbers."""
        record = value_of(raw)
        segmentation = record.get("segmentation") if isinstance(record, dict) else None
        if isinstance(segmentation, dict):
            self.masks[annotation] = run_length_mask(segmentation, self.height[annotation], self.width[annotation])
            return []
        if not isinstance(segmentation, list):
            return []
        if not segmentation:
            self.defects.append(RingDefect(annotation, -1, "empty", "segmentation is empty"))
        elif all(number(value) is not None for value in segmentation):
            message = "segmentation is one list of numbers, but it must be a list of such lists"
            self.defects.append(RingDefect(annotation, -1, "type", message))
            return []
        return segmentation

    def _numbers(self, annotation: int, position: int, part: Any) -> list[float] | None:
        if not isinstance(part, list):
            self.defects.append(RingDefect(annotation, position, "type", f"ring {position} is not a list of numbers"))
            return None
        ring = []
        for value in part:
            if isinstance(value, bool) or not isinstance(value, int | float):
                message = f"ring {position} holds something that is not a number"
                self.defects.append(RingDefect(annotation, position, "type", message))
                return None
            made = number(value)
            ring.append(math.inf if made is None else made)
        return ring

    def _malformed(self, annotation: int, position: int, length: int) -> None:
        if length % 2:
            message = f"ring {position} has {length} numbers, which is odd"
        else:
            message = f"ring {position} has {length // 2} points, but a ring needs 3"
        self.defects.append(RingDefect(annotation, position, "odd" if length % 2 else "points", message))

    @cached_property
    def ring_points(self) -> Ints:
        """[rings] points as written."""
        return np.diff(self.ring_start)

    @cached_property
    def closed(self) -> Bools:
        """[rings] whether the last point repeats the first."""
        first, last = self.xy[self.ring_start[:-1]], self.xy[self.ring_start[1:] - 1]
        return np.asarray((first == last).all(axis=1))

    @cached_property
    def ring_box(self) -> Floats:
        """[rings, 4] left, top, right, bottom."""
        if not len(self.ring_owner):
            return np.zeros((0, 4))
        start = self.ring_start[:-1]
        return np.hstack((np.minimum.reduceat(self.xy, start), np.maximum.reduceat(self.xy, start)))

    @cached_property
    def repeated_points(self) -> Ints:
        """[rings] points that equal the one before; the closing point does not count."""
        same = np.zeros(len(self.xy), np.int64)
        same[1:] = (self.xy[1:] == self.xy[:-1]).all(axis=1)
        same[self.ring_start[:-1]] = 0
        return _sums(same, self.ring_start)

    @cached_property
    def ring_area(self) -> Floats:
        """[rings] area by the shoelace formula, positive: what crossing parts add and subtract."""
        origin = np.repeat(self.xy[self.ring_start[:-1]], self.ring_points, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            here = self.xy - origin
            after = np.roll(here, -1, axis=0)
            after[self.ring_start[1:] - 1] = 0.0  # back at the ring's first point, which is the origin
            cross = here[:, 0] * after[:, 1] - here[:, 1] * after[:, 0]
            return np.asarray(np.abs(_sums(cross, self.ring_start)) / 2)

    @cached_property
    def bounded(self) -> Bools:
        """[rings] whether all coordinates are small enough for geometry."""
        return np.asarray((np.abs(self.ring_box) <= MAX_COORDINATE).all(axis=1))

    @cached_property
    def polygons(self) -> Geometries:
        """[rings] each ring as a polygon, valid or not; None where it is not bounded."""
        found = np.full(len(self.ring_owner), None, object)
        use = np.flatnonzero(self.bounded)
        if len(use):
            points = np.repeat(self.bounded, self.ring_points)
            index = np.repeat(np.arange(len(use)), self.ring_points[use])
            found[use] = shapely.polygons(shapely.linearrings(self.xy[points], indices=index))
        return found

    @cached_property
    def valid(self) -> Bools:
        """[rings] whether shapely finds the ring valid; False where it is not bounded."""
        return np.asarray(shapely.is_valid(self.polygons))

    @cached_property
    def parts(self) -> Geometries:
        """[rings] polygons, the invalid ones as `make_valid` mends them (its linework method)."""
        mended = self.polygons.copy()
        for ring in np.flatnonzero(self.bounded & ~self.valid):
            mended[ring] = areal(attempt(shapely.make_valid, mended[ring]))
        return mended

    @cached_property
    def sibling_pairs(self) -> tuple[Ints, Ints, Floats]:
        """Rings of one annotation that overlap: first, second, area shared in pixels²."""
        several = np.bincount(self.ring_owner, minlength=len(self))[self.ring_owner] > 1
        use = np.flatnonzero(several & self.bounded)
        first, second = overlapping_boxes(self.ring_box[use], self.ring_owner[use])
        first, second = use[first], use[second]
        shared = intersection_areas(self.parts[first], self.parts[second])
        touching = shared > 0
        return first[touching], second[touching], shared[touching]

    @cached_property
    def area(self) -> Floats:
        """[n] pixels² of the union of an annotation's parts; NaN where it has none, or one beyond all bounds."""
        ring_area = np.where(self.valid, self.ring_area, 0.0)
        mended = np.flatnonzero(self.bounded & ~self.valid)
        ring_area[mended] = shapely.area(self.parts[mended])
        area = np.bincount(self.ring_owner, weights=ring_area, minlength=len(self)).astype(np.float64)
        first, _, _ = self.sibling_pairs
        for annotation in np.unique(self.ring_owner[first]):
            area[annotation] = shapely.area(self.geometry(int(annotation)))
        area[self.ring_count == 0] = math.nan
        area[np.unique(self.ring_owner[~self.bounded])] = math.nan
        for annotation, mask in self.masks.items():
            area[annotation] = mask.area
        return area

    @cached_property
    def ring_count(self) -> Ints:
        """[n] rings in the arrays."""
        return np.bincount(self.ring_owner, minlength=len(self))

    @cached_property
    def sized(self) -> Bools:
        """[n] whether the image's size is known and whole."""
        return np.asarray((self.width == np.floor(self.width)) & (self.height == np.floor(self.height)))

    @cached_property
    def measurable(self) -> Bools:
        """[n] whether the whole segmentation rasterises on an image of known size, without which no fix touches it."""
        sound = self.sized & ((self.ring_count > 0) | np.isin(np.arange(len(self)), list(self.masks)))
        bad = [defect.annotation for defect in self.defects]
        bad += [annotation for annotation, mask in self.masks.items() if mask.size_problem or mask.counts_problem]
        sound[bad] = False
        sound[self.not_finite] = False
        sound[self.ring_owner[~self.bounded]] = False
        return np.asarray(sound)

    @cached_property
    def first_ring(self) -> Ints:
        """[n] first ring of each annotation (rings of one annotation follow each other)."""
        return np.searchsorted(self.ring_owner, np.arange(len(self)))

    def rings_of(self, annotation: int) -> range:
        """Rings of one annotation."""
        first = int(self.first_ring[annotation])
        return range(first, first + int(self.ring_count[annotation]))

    def geometry(self, annotation: int) -> Any:
        """Union of an annotation's parts as a valid geometry; empty where it has none."""
        parts = [self.parts[ring] for ring in self.rings_of(annotation) if self.parts[ring] is not None]
        if len(parts) == 1:
            return parts[0]
        return areal(attempt(shapely.union_all, parts))

    @cached_property
    def box(self) -> Floats:
        """[n, 4] left, top, right, bottom of each annotation; NaN where it has no shape."""
        box = np.full((len(self), 4), math.nan)
        owners = np.flatnonzero(self.ring_count)
        if len(owners):
            start = self.first_ring[owners]
            box[owners, :2] = np.minimum.reduceat(self.ring_box[:, :2], start)
            box[owners, 2:] = np.maximum.reduceat(self.ring_box[:, 2:], start)
        for annotation, mask in self.masks.items():
            box[annotation] = mask.box
        return box

    @cached_property
    def vertices(self) -> Floats:
        """[n] corners, closing and repeated points not counted; NaN where it has no rings."""
        corners = self.ring_points - self.closed - self.repeated_points
        total = np.bincount(self.ring_owner, weights=corners, minlength=len(self)).astype(np.float64)
        total[self.ring_count == 0] = math.nan
        return total


class _Polygons(msgspec.Struct, gc=False):
    segmentation: list[list[float]]


def _sums(values: npt.NDArray[Any], start: Ints) -> npt.NDArray[Any]:
    return np.add.reduceat(values, start[:-1]) if len(start) > 1 else np.zeros(0, values.dtype)
