"""Overlapping annotations of one image and their shared areas, computed once for all checks on labels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import shapely
from pycocotools import mask as coco_mask

from trashkit.audit.views.box_pairs import overlapping_boxes
from trashkit.audit.views.safe_shapely import intersection_areas
from trashkit.audit.views.shapes import Geometries, Shapes
from trashkit.audit.views.table import Floats, Ints
from trashkit.coco.segmentation import MAX_COORDINATE, check_segmentation


class Overlaps(NamedTuple):
    """Pairs [p] of annotations of a `Shapes`, first before second in the file. shared: their common pixels²."""

    first: Ints
    second: Ints
    shared: Floats
    first_area: Floats
    second_area: Floats

    @property
    def iou(self) -> Floats:
        """[p] shared area over united area, 0 to 1."""
        union = self.first_area + self.second_area - self.shared
        return np.asarray(self.shared / np.where(union > 0, union, np.nan))

    @property
    def share_of_smaller(self) -> Floats:
        """[p] shared area over the area of the smaller of the two."""
        return np.asarray(self.shared / np.minimum(self.first_area, self.second_area))


def overlaps(shapes: Shapes) -> Overlaps:
    """Pairs in one image that share at least the smallest share that any check needs; computed once and cached."""
    kept = shapes.cache.get("overlaps")
    if isinstance(kept, Overlaps):
        return kept
    settings = shapes.table.settings
    least = min(settings.contested_share, settings.overlap_iou, settings.contained_share)
    area, box = shapes.area, shapes.box
    usable = (shapes.image >= 0) & (area > 0) & (np.abs(box) <= MAX_COORDINATE).all(axis=1)
    usable &= ~shapes.table.crowd[shapes.rows]  # crowds overlap single objects on purpose
    use = np.flatnonzero(usable)
    first, second = overlapping_boxes(box[use], shapes.image[use], area[use], least)
    first, second = use[first], use[second]
    shared = _shared(shapes, first, second)
    large = shared >= least * np.minimum(area[first], area[second])
    first, second, shared = first[large], second[large], shared[large]
    found = Overlaps(first, second, shared, area[first], area[second])
    shapes.cache["overlaps"] = found
    return found


def _shared(shapes: Shapes, first: Ints, second: Ints) -> Floats:
    """Shared areas: of polygons if both are polygons, else of pixels as pycocotools rasterises them."""
    shared = np.zeros(len(first))
    is_mask = np.zeros(len(shapes), bool)
    is_mask[list(shapes.masks)] = True
    pixels = is_mask[first] | is_mask[second]
    alike = (
        ~pixels & (shapes.area[first] == shapes.area[second]) & (shapes.box[first] == shapes.box[second]).all(axis=1)
    )
    for pair in np.flatnonzero(alike).tolist():  # intersecting a polygon with its copy is the slowest case
        alike[pair] = same_shape(shapes, int(first[pair]), int(second[pair]))
    shared[alike] = shapes.area[first[alike]]
    exact = np.flatnonzero(~pixels & ~alike)
    geometries = _geometries(shapes, np.unique(np.concatenate((first[exact], second[exact]))))
    shared[exact] = intersection_areas(geometries[first[exact]], geometries[second[exact]])
    runs: dict[int, Any] = {}
    for pair in np.flatnonzero(pixels).tolist():
        a, b = (_run_lengths(shapes, int(one), runs) for one in (first[pair], second[pair]))
        if a is not None and b is not None and a["size"] == b["size"]:
            shared[pair] = float(coco_mask.area(coco_mask.merge([a, b], intersect=True)))
    return np.asarray(np.nan_to_num(shared))


def _geometries(shapes: Shapes, annotations: Ints) -> Geometries:
    """[n] valid geometries of these annotations, None for all others."""
    found = np.full(len(shapes), None, object)
    single = annotations[shapes.ring_count[annotations] == 1]
    found[single] = shapes.parts[shapes.first_ring[single]]
    for annotation in annotations[shapes.ring_count[annotations] != 1].tolist():
        found[annotation] = shapes.geometry(annotation)
    shapely.prepare(found)
    return found


def _run_lengths(shapes: Shapes, annotation: int, kept: dict[int, Any]) -> Any:
    """RLE of a mask or of polygons for pycocotools; None if it cannot be rasterised."""
    if annotation not in kept:
        kept[annotation] = None
        height, width = shapes.height[annotation], shapes.width[annotation]
        segmentation = shapes.table.coco.record("annotations", int(shapes.rows[annotation]))["segmentation"]
        if not np.isnan(height + width) and check_segmentation(segmentation, int(height), int(width)) is None:
            rle = segmentation
            if isinstance(segmentation, list):
                rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, int(height), int(width)))
            elif isinstance(segmentation["counts"], list):
                rle = coco_mask.frPyObjects(segmentation, int(height), int(width))
            kept[annotation] = {"size": [int(height), int(width)], "counts": rle["counts"]}
    return kept[annotation]


def same_shape(shapes: Shapes, first: int, second: int) -> bool:
    """Whether two annotations have exactly the same segmentation."""
    if first in shapes.masks or second in shapes.masks:
        if not (first in shapes.masks and second in shapes.masks):
            return False
        a, b = shapes.masks[first], shapes.masks[second]
        return (
            a.size == b.size
            and a.lengths is not None
            and b.lengths is not None
            and np.array_equal(a.lengths, b.lengths)
        )
    mine, theirs = shapes.rings_of(first), shapes.rings_of(second)
    if len(mine) != len(theirs) or not len(mine):
        return False
    a_start, a_end = shapes.ring_start[mine.start], shapes.ring_start[mine.stop]
    b_start, b_end = shapes.ring_start[theirs.start], shapes.ring_start[theirs.stop]
    same_points = np.array_equal(
        shapes.ring_points[mine.start : mine.stop], shapes.ring_points[theirs.start : theirs.stop]
    )
    return same_points and np.array_equal(shapes.xy[a_start:a_end], shapes.xy[b_start:b_end])
