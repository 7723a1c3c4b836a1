"""Match the rows of two files: by id if ids can be trusted, else by name and geometry."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as pycoco

from trashkit.coco.dataset import is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.edits.edit import canonical
from trashkit.names import composed

Pairs = dict[int, int]
"""Row in the new file -> row in the old file."""

SAME_OBJECT = 0.3
"""Least IoU at which two shapes are considered the same object."""
SAME_AREA, SAME_CENTRE = 0.1, 0.1
"""Largest differences of a shape that was turned: share of its area, and distance as share of its longer side."""
TRUSTED = 0.8
"""Ids are trusted if at least this share of those in both files refer to the same object."""


def by_key(old: Sequence[Any], new: Sequence[Any], key: Callable[[Any], Any], pairs: Pairs) -> None:
    """Pair unpaired rows of equal key in their order; rows whose key is None are not paired."""
    taken = set(pairs.values())
    waiting: dict[Any, list[int]] = defaultdict(list)
    for row, record in enumerate(old):
        value = key(record)
        if row not in taken and value is not None:
            waiting[value].append(row)
    for queue in waiting.values():
        queue.reverse()
    for row, record in enumerate(new):
        value = key(record)
        if row not in pairs and value is not None and waiting.get(value):
            pairs[row] = waiting[value].pop()


def field(name: str) -> Callable[[Any], Any]:
    """A key function: one scalar field of a row, texts composed; None if the row has no usable value."""

    def key(record: Any) -> Any:
        value = record.get(name) if isinstance(record, dict) else None
        if not is_valid_id(value) or value == "":
            return None
        return composed(value) if isinstance(value, str) else value

    return key


def base_name(record: Any) -> Any:
    """An image's file name without folder, extension and case, which exporters change."""
    name = record.get("file_name") if isinstance(record, dict) else None
    if not isinstance(name, str):
        return None
    last = composed(name).replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0].casefold() or last.casefold() or None


def match_images(old: Sequence[Any], new: Sequence[Any]) -> Pairs:
    """Match images by file name, by base name if it is unique in both files, then by id.

    An id counts only if the base name is the same, or not in the old file (a file was renamed): other tools renumber
    images.
    """
    pairs: Pairs = {}
    by_key(old, new, _both(field("id"), field("file_name")), pairs)
    by_key(old, new, field("file_name"), pairs)
    once = _unique(base_name, old) & _unique(base_name, new)
    by_key(old, new, lambda record: base_name(record) if base_name(record) in once else None, pairs)
    by_key(old, new, _both(field("id"), base_name), pairs)
    names = {base_name(record) for record in old} - {None}
    renamed = [None if base_name(record) in names else record for record in new]
    by_key(old, renamed, field("id"), pairs)
    return pairs


def match_categories(old: Sequence[Any], new: Sequence[Any]) -> Pairs:
    """Match categories by name, then by id (a category was renamed)."""
    pairs: Pairs = {}
    by_key(old, new, _both(field("id"), field("name")), pairs)
    by_key(old, new, field("name"), pairs)
    by_key(old, new, field("id"), pairs)
    return pairs


def match_rows(old: Sequence[Any], new: Sequence[Any]) -> Pairs:
    """Match rows of any block: equal ones, then by id."""
    pairs: Pairs = {}
    by_key(old, new, canonical, pairs)
    by_key(old, new, field("id"), pairs)
    return pairs


def _both(one: Callable[[Any], Any], other: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def key(record: Any) -> Any:
        values = one(record), other(record)
        return None if None in values else values

    return key


def _unique(key: Callable[[Any], Any], records: Iterable[Any]) -> set[Any]:
    seen: dict[Any, int] = defaultdict(int)
    for record in records:
        seen[key(record)] += 1
    return {value for value, count in seen.items() if count == 1 and value is not None}


def match_annotations(
    old: Sequence[Any], new: Sequence[Any], sizes: dict[Any, tuple[int, int]], *, trust: bool | None = None
) -> tuple[Pairs, bool]:
    """Match annotations by id if ids are trusted, then by geometry within each image; and whether ids were trusted.

    By geometry: the best overlap; and of what is left, shapes that were turned, if no others could be meant.

    `new` must already refer to images and categories by the old file's ids. sizes: (height, width) by image id.
    trust: whether ids are trusted; None decides by TRUSTED.
    """
    pairs: Pairs = {}
    by_key(old, new, canonical, pairs)
    if trust is None:
        by_id: Pairs = {}
        by_key(old, new, field("id"), by_id)
        trust = _ids_hold(old, new, by_id, sizes)
    if trust:
        by_key(old, new, field("id"), pairs)
    for rows_old, rows_new, size in _left_by_image(old, new, pairs, sizes):
        overlap = iou([old[row] for row in rows_old], [new[row] for row in rows_new], size)
        for one, other in best_pairs(overlap, SAME_OBJECT):
            pairs[rows_new[other]] = rows_old[one]
    for rows_old, rows_new, _ in _left_by_image(old, new, pairs, sizes):
        fits = [(a, b) for a in rows_old for b in rows_new if was_turned(old[a], new[b])]
        olds, news = Counter(a for a, _ in fits), Counter(b for _, b in fits)
        pairs |= {b: a for a, b in fits if olds[a] == news[b] == 1}
    return pairs, trust


def was_turned(one: Any, other: Any) -> bool:
    """Whether two annotations may be one object that was turned about its centre, so that they hardly overlap.

    They have the same category and nearly the same area and centre; anything but finite numbers does not count.
    """
    first, second = _box(one), _box(other)
    areas = [record.get("area") for record in (one, other)]
    if first is None or second is None or not all(type(a) in (int, float) and 0 < a < 1e18 for a in areas):
        return False
    (x0, y0, w0, h0), (x1, y1, w1, h1) = first, second
    off = max(abs(x0 + w0 / 2 - x1 - w1 / 2), abs(y0 + h0 / 2 - y1 - h1 / 2))
    alike = abs(areas[0] - areas[1]) <= SAME_AREA * max(areas)
    category = canonical(one.get("category_id")) == canonical(other.get("category_id"))
    return bool(category and alike and off <= SAME_CENTRE * max(w0, h0, w1, h1))


def _ids_hold(old: Sequence[Any], new: Sequence[Any], by_id: Pairs, sizes: dict[Any, tuple[int, int]]) -> bool:
    """Whether rows of equal id are mostly the same object: they are in the same image and overlap."""
    if not by_id:
        return not new or not old
    same = 0
    for row, old_row in by_id.items():
        one, other = old[old_row], new[row]
        if canonical(one.get("segmentation")) == canonical(other.get("segmentation")):
            same += 1
        elif canonical(one.get("image_id")) == canonical(other.get("image_id")):
            same += bool(iou([one], [other], _size(one, sizes))[0, 0] > SAME_OBJECT) or was_turned(one, other)
    return same >= TRUSTED * len(by_id)


def _size(record: Any, sizes: dict[Any, tuple[int, int]]) -> tuple[int, int] | None:
    image_id = record.get("image_id")
    return sizes.get(image_id) if is_valid_id(image_id) else None


def _left_by_image(
    old: Sequence[Any], new: Sequence[Any], pairs: Pairs, sizes: dict[Any, tuple[int, int]]
) -> Iterable[tuple[list[int], list[int], tuple[int, int] | None]]:
    """Unpaired rows of both files, and the image size, image by image."""
    taken = set(pairs.values())
    waiting: dict[Any, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for side, (records, done) in enumerate(((old, taken), (new, set(pairs)))):
        for row, record in enumerate(records):
            if row not in done and isinstance(record, dict) and is_valid_id(record.get("image_id")):
                waiting[record["image_id"]][side].append(row)
    for image_id, (rows_old, rows_new) in waiting.items():
        if rows_old and rows_new:
            yield rows_old, rows_new, sizes.get(image_id)


def iou(old: Sequence[Any], new: Sequence[Any], size: tuple[int, int] | None) -> npt.NDArray[np.float64]:
    """IoU [len(old), len(new)] of annotations in one image of (height, width).

    Of boxes where a shape cannot be rasterised, or lies outside the image and covers no pixel of it. Annotations of the
    same category get 1e-6 more, which breaks ties.
    """
    found = np.zeros((len(old), len(new)))
    masks = [[_mask(record, size) for record in records] for records in (old, new)]
    boxes = [[_box(record) for record in records] for records in (old, new)]
    for i, one in enumerate(old):
        for j, other in enumerate(new):
            a, b = masks[0][i], masks[1][j]
            if a is None or b is None:
                a, b = boxes[0][i], boxes[1][j]
            if a is not None and b is not None:
                found[i, j] = float(pycoco.iou([a], [b], [0])[0, 0])
                found[i, j] += 1e-6 * (one.get("category_id") == other.get("category_id"))
    return found


def _mask(record: Any, size: tuple[int, int] | None) -> Any:
    """The RLE of an annotation; None if it cannot be rasterised or covers no pixel."""
    segmentation = record.get("segmentation")
    if size is None or check_segmentation(segmentation, *size):
        return None
    made = segmentation
    if isinstance(segmentation, list) or not isinstance(segmentation["counts"], str | bytes):
        made = pycoco.frPyObjects(segmentation, *size)
        made = pycoco.merge(made) if isinstance(made, list) else made
    return made if pycoco.area(made) else None


def _box(record: Any) -> list[float] | None:
    box = record.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) and abs(v) < 1e9 for v in box):
        return [float(value) for value in box]
    return None


def best_pairs(overlap: npt.NDArray[np.float64], least: float) -> list[tuple[int, int]]:
    """Pairs (row, column) of a matrix, best first, each row and column at most once, none below `least`."""
    order = np.argsort(-overlap, axis=None, kind="stable")
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in order:
        row, column = (int(n) for n in np.unravel_index(flat, overlap.shape))
        if overlap[row, column] < least:
            break
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
    return pairs
