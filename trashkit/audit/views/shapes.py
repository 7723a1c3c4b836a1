"""Rings and polygons of some images as arrays, for all checks of geometry and overlaps."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import shapely

from trashkit.audit.readings.columns import Reordered, reordered
from trashkit.audit.readings.evidence import BOX_OFF, Evidence
from trashkit.audit.readings.masks import pixel_rows
from trashkit.audit.readings.placement import Placement, contradiction
from trashkit.audit.views.box_pairs import overlapping_boxes
from trashkit.audit.views.fields import number, value_of
from trashkit.audit.views.run_lengths import RunLengths, run_length_mask
from trashkit.audit.views.safe_shapely import areal, attempt, intersection_areas
from trashkit.audit.views.table import Floats, Ints, Table
from trashkit.coco.segmentation import MAX_COORDINATE
from trashkit.raster.measures import repaired

Bools = npt.NDArray[np.bool_]
Geometries = npt.NDArray[np.object_]


class RingDefect(NamedTuple):
    """A malformed ring, which is in none of the arrays. ring: its position, -1 for the whole segmentation."""

    annotation: int
    ring: int
    kind: str
    message: str


class Shapes:
    """Segmentations of whole images. Annotations count from 0 here; `rows` gives their rows in the source file.

    rows: [n] ordered by image and file order. image: [n] image row, negative if unknown. width, height: [n] size of the
    image in pixels, NaN if unknown. xy: [points, 2]; ring_start: [rings + 1] index of each ring's first point;
    ring_owner: [rings] annotation; ring_number: [rings] position in its segmentation. defects: malformed rings.
    not_finite: annotations with a coordinate that is NaN, infinite, or further than MAX_COORDINATE from 0. masks: RLE
    by annotation. cache: results that checks share.
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
            if len(parts) == self.height[annotation] and self._are_pixels(annotation, parts):
                continue
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
            finite = np.logical_and.reduceat((np.abs(xy) <= MAX_COORDINATE).all(axis=1), start[:-1])
        self.not_finite = np.unique(owner[~finite])
        if not finite.all():
            xy = xy[np.repeat(finite, points)]
            points, owner, ring_number = points[finite], owner[finite], ring_number[finite]
            start = np.concatenate(([0], np.cumsum(points)))
        self.xy, self.ring_start, self.ring_owner, self.ring_number = xy, start, owner, ring_number

    def _slow(self, annotation: int, raw: msgspec.Raw) -> list[Any]:
        """Parts of a segmentation that is not a list of lists of numbers."""
        record = value_of(raw)
        segmentation = record.get("segmentation") if isinstance(record, dict) else None
        if segmentation == {}:
            self.defects.append(RingDefect(annotation, -1, "empty", "segmentation is empty"))
            return []
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

    def _are_pixels(self, annotation: int, parts: list[Any]) -> bool:
        """Whether the parts are rows of pixels; they look like rings, but are kept as a defect."""
        found = pixel_rows(parts, self.height[annotation], self.width[annotation]) is not None
        if found:
            message = "segmentation is a list of rows of pixels, but it must be a list of rings or an RLE"
            self.defects.append(RingDefect(annotation, -1, "type", message))
        return found

    def _numbers(self, annotation: int, position: int, part: Any) -> list[float] | None:
        if not isinstance(part, list):
            self.defects.append(RingDefect(annotation, position, "type", f"ring {position} is not a list of numbers"))
            return None
        ring = []
        for value in part:
            if isinstance(value, bool) or not isinstance(value, int | float):
                message = f"ring {position} contains a value that is not a number"
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
        """[rings] number of points, closing and repeated ones included."""
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
        """[rings] number of points that equal the one before; the closing point does not count."""
        same = np.zeros(len(self.xy), np.int64)
        same[1:] = (self.xy[1:] == self.xy[:-1]).all(axis=1)
        same[self.ring_start[:-1]] = 0
        return _sums(same, self.ring_start)

    @cached_property
    def ring_area(self) -> Floats:
        """[rings] area by the shoelace formula, not negative; parts of crossing rings may cancel each other out."""
        origin = np.repeat(self.xy[self.ring_start[:-1]], self.ring_points, axis=0)
        with np.errstate(over="ignore", invalid="ignore"):
            here = self.xy - origin
            after = np.roll(here, -1, axis=0)
            after[self.ring_start[1:] - 1] = 0.0  # back at the ring's first point, which is the origin
            cross = here[:, 0] * after[:, 1] - here[:, 1] * after[:, 0]
            return np.asarray(np.abs(_sums(cross, self.ring_start)) / 2)

    @cached_property
    def bounded(self) -> Bools:
        """[rings] whether all coordinates are within MAX_COORDINATE."""
        return np.asarray((np.abs(self.ring_box) <= MAX_COORDINATE).all(axis=1))

    @cached_property
    def polygons(self) -> Geometries:
        """[rings] each ring as a polygon, valid or not; None if it is not bounded."""
        found = np.full(len(self.ring_owner), None, object)
        use = np.flatnonzero(self.bounded)
        if len(use):
            points = np.repeat(self.bounded, self.ring_points)
            index = np.repeat(np.arange(len(use)), self.ring_points[use])
            found[use] = shapely.polygons(shapely.linearrings(self.xy[points], indices=index))
        return found

    @cached_property
    def valid(self) -> Bools:
        """[rings] whether the polygon is valid; False if it is not bounded."""
        return np.asarray(shapely.is_valid(self.polygons))

    @cached_property
    def parts(self) -> Geometries:
        """[rings] valid geometries: the polygons, or what `repaired` makes of invalid ones."""
        parts = self.polygons.copy()
        for ring in np.flatnonzero(self.bounded & ~self.valid):
            parts[ring] = areal(attempt(repaired, parts[ring]))
        return parts

    @cached_property
    def sibling_pairs(self) -> tuple[Ints, Ints, Floats]:
        """Overlapping rings of one annotation: first, second, shared area in pixels²."""
        several = np.bincount(self.ring_owner, minlength=len(self))[self.ring_owner] > 1
        use = np.flatnonzero(several & self.bounded)
        first, second = overlapping_boxes(self.ring_box[use], self.ring_owner[use])
        first, second = use[first], use[second]
        shared = intersection_areas(self.parts[first], self.parts[second])
        touching = shared > 0
        return first[touching], second[touching], shared[touching]

    @cached_property
    def area(self) -> Floats:
        """[n] pixels² of the union of an annotation's parts; NaN if it has no parts, or one that is not bounded."""
        ring_area = np.where(self.valid, self.ring_area, 0.0)
        invalid = np.flatnonzero(self.bounded & ~self.valid)
        ring_area[invalid] = shapely.area(self.parts[invalid])
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
        """[n] number of well-formed rings."""
        return np.bincount(self.ring_owner, minlength=len(self))

    @cached_property
    def sized(self) -> Bools:
        """[n] whether the image's size is known and an integer."""
        return np.asarray((self.width == np.floor(self.width)) & (self.height == np.floor(self.height)))

    @cached_property
    def measurable(self) -> Bools:
        """[n] whether the whole segmentation can be rasterised on an image of known size, which fixes require."""
        sound = self.sized & ((self.ring_count > 0) | np.isin(np.arange(len(self)), list(self.masks)))
        bad = [defect.annotation for defect in self.defects]
        bad += [annotation for annotation, mask in self.masks.items() if mask.size_problem or mask.counts_problem]
        sound[bad] = False
        sound[self.not_finite] = False
        sound[self.ring_owner[~self.bounded]] = False
        sound[list(self.apart)] = False
        return np.asarray(sound)

    @cached_property
    def apart(self) -> dict[int, Reordered]:
        """The rings that are meant, by annotation, where x and y are in separate lists or points have three numbers.

        They look like rings, but only those of the numbers in the other order have the bbox and area of the row.
        """
        found: dict[int, Reordered] = {}
        stated = self.table.bbox[self.rows]
        corners = np.hstack((stated[:, :2], stated[:, :2] + stated[:, 2:]))
        off = np.abs(corners - self.box).max(axis=1) > BOX_OFF
        off |= np.abs(self.table.area[self.rows] - self.area) > 0.02 * self.area
        for annotation in np.flatnonzero(off & (self.ring_count > 0)).tolist():
            record = self.table.coco.record("annotations", int(self.rows[annotation]))
            sound = len(record["segmentation"]) == self.ring_count[annotation]
            meant = reordered(record) if sound else None
            if meant is not None:
                found[annotation] = meant
        return found

    @cached_property
    def contradicted(self) -> dict[int, Placement]:
        """Annotations whose own bbox says that their shape is somewhere else, so that no fix overwrites either."""
        stated, area = self.table.bbox[self.rows], self.table.area[self.rows]
        usable = self.measurable & np.isfinite(stated).all(axis=1) & (stated[:, 2:] > 0).all(axis=1)
        corners = np.hstack((stated[:, :2], stated[:, :2] + stated[:, 2:]))
        found: dict[int, Placement] = {}
        for one in np.flatnonzero(usable & (np.abs(corners - self.box).max(axis=1) > 1)).tolist():
            left, top, width, height = stated[one].tolist()
            evidence = Evidence((left, top, width, height), float(area[one]) if area[one] > 0 else None)
            size = (float(self.height[one]), float(self.width[one]))
            placement = contradiction(evidence, self.box[one].tolist(), float(self.area[one]), size)
            if placement is not None:
                found[one] = placement
        return found

    @cached_property
    def readable(self) -> Bools:
        """[n] whether a repair may change the outline: not where its bbox says that its numbers mean something else."""
        sound = self.measurable.copy()
        sound[[one for one, placement in self.contradicted.items() if not placement.how]] = False
        return sound

    @cached_property
    def first_ring(self) -> Ints:
        """[n] first ring of each annotation (rings of one annotation follow each other)."""
        return np.searchsorted(self.ring_owner, np.arange(len(self)))

    def rings_of(self, annotation: int) -> range:
        """Rings of one annotation."""
        first = int(self.first_ring[annotation])
        return range(first, first + int(self.ring_count[annotation]))

    def geometry(self, annotation: int) -> Any:
        """Union of an annotation's parts as a valid geometry; empty if it has none."""
        parts = [self.parts[ring] for ring in self.rings_of(annotation) if self.parts[ring] is not None]
        if len(parts) == 1:
            return parts[0]
        return areal(attempt(shapely.union_all, parts))

    @cached_property
    def box(self) -> Floats:
        """[n, 4] left, top, right, bottom of each annotation; NaN if it has no shape."""
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
        """[n] number of corners, without closing and repeated points; NaN if it has no rings."""
        corners = self.ring_points - self.closed - self.repeated_points
        total = np.bincount(self.ring_owner, weights=corners, minlength=len(self)).astype(np.float64)
        total[self.ring_count == 0] = math.nan
        return total


class _Polygons(msgspec.Struct, gc=False):
    segmentation: list[list[float]]


def _sums(values: npt.NDArray[Any], start: Ints) -> npt.NDArray[Any]:
    return np.add.reduceat(values, start[:-1]) if len(start) > 1 else np.zeros(0, values.dtype)
