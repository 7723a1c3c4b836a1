"""shapely operations on unchecked polygons: where they fail, the result is an empty geometry or NaN."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import shapely

_POLYGON, _MULTI_POLYGON, _COLLECTION = 3, 6, 7


def attempt(operation: Callable[..., Any], *values: Any) -> Any:
    """The result of a shapely operation, or an empty polygon if it fails."""
    try:
        return operation(*values)
    except shapely.errors.GEOSException:
        return shapely.Polygon()


def areal(geometry: Any) -> Any:
    """The polygons of a geometry, without the points and lines that make_valid may leave."""
    kind = shapely.get_type_id(geometry)
    if kind in (_POLYGON, _MULTI_POLYGON):
        return geometry
    if kind != _COLLECTION:
        return shapely.Polygon()
    parts = shapely.get_parts(geometry)
    kinds = shapely.get_type_id(parts)
    polygons = [*parts[kinds == _POLYGON], *shapely.get_parts(parts[kinds == _MULTI_POLYGON])]
    if len(polygons) == 1:
        return polygons[0]
    return attempt(shapely.union_all, polygons)


def intersection_areas(first: npt.NDArray[np.object_], second: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """Shared areas of pairs of valid geometries in pixels²; NaN where shapely fails or a geometry is None."""
    try:
        return np.asarray(shapely.area(shapely.intersection(first, second)))
    except shapely.errors.GEOSException:
        areas = np.full(len(first), math.nan)
        for pair, (a, b) in enumerate(zip(first, second, strict=True)):
            areas[pair] = shapely.area(attempt(shapely.intersection, a, b))
        return areas
