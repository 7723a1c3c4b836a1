"""The edit log between a file and a version of it that was edited in another tool (CVAT, Label Studio, labelme ...)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from trashkit.coco.dataset import Coco, is_number, is_valid_id
from trashkit.edits.edit import Edit, add, changed_fields, delete, same_value, with_fields
from trashkit.edits.edit import change as change_row
from trashkit.edits.match import Pairs, base_name, match_annotations, match_categories, match_images, match_rows

ROUNDING = 0.05
"""Differences of coordinates in pixels that are taken for rounding by an exporter."""
BOX_ROUNDING, AREA_ROUNDING = 1.0, 0.01
"""Differences of `bbox` (pixels) and `area` (share) that are ignored where the segmentation is the same."""
OWN_BLOCKS = ("images", "categories", "annotations")


@dataclass(frozen=True)
class Difference:
    """The result of `diff`.

    edits: from the old file to the new one. renumbered: by block, how many rows have another id in the new file, which
    is not an edit. left_alone: by block, fields that all rows of the new file lack, or have in addition. trusted:
    whether annotation ids refer to the same objects in both files.
    """

    edits: list[Edit]
    renumbered: dict[str, int] = field(default_factory=dict)
    left_alone: dict[str, tuple[str, ...]] = field(default_factory=dict)
    trusted: bool = True


@dataclass
class _Side:
    old: Coco
    reason: str
    author: str
    exact: bool
    part: bool
    edits: list[Edit] = field(default_factory=list)


def diff(
    old: Coco,
    new: Coco,
    *,
    exact: bool = False,
    part: bool = False,
    reason: str = "edited-elsewhere",
    author: str = "diff",
) -> Difference:
    """Edits that turn `old` into `new`.

    Images are matched by file name, categories by name, annotations by id if ids refer to the same objects, else by
    geometry within their image. New ids, rounding of coordinates up to ROUNDING, fields that are missing from (or added
    to) every row of a block, and other folders or extensions of file names are not edits. Other top-level lists are not
    compared.
    part: `new` has only some of the images; the others are kept with their annotations.
    exact: every difference is an edit and rows match by id, so that applying the log gives all rows of `new`.
    """
    for coco in (old, new):
        coco.require_unique_keys()
    side = _Side(old, reason, author, exact, part)
    rows = {block: (old.records(block), new.records(block)) for block in OWN_BLOCKS}
    if exact:
        for block in dict.fromkeys((*old.blocks(), *new.blocks())):
            before, after = old.records(block), new.records(block)
            _block(side, block, before, after, match_rows(before, after))
        return Difference(side.edits)
    return _lenient(side, rows)


def _lenient(side: _Side, rows: dict[str, tuple[list[Any], list[Any]]]) -> Difference:
    left_alone = {block: _foreign_fields(*rows[block]) for block in OWN_BLOCKS}
    renumbered: dict[str, int] = {}
    before, after = rows["images"]
    pairs = match_images(before, after)
    after, renumbered["images"], images = _with_old_ids(before, after, pairs)
    after = _with_old_fields(before, _with_old_folders(before, after, pairs), pairs, left_alone["images"])
    absent = set(range(len(before))) - set(pairs.values())
    gone = {record.get("id") for record in (before[row] for row in absent) if isinstance(record, dict)}
    _block(side, "images", before, after, pairs, kept=absent if side.part else ())
    before, after = rows["categories"]
    pairs = match_categories(before, after)
    after, renumbered["categories"], categories = _with_old_ids(before, after, pairs)
    unused = set(range(len(before))) if side.part else ()
    _block(
        side,
        "categories",
        before,
        _with_old_fields(before, after, pairs, left_alone["categories"]),
        pairs,
        kept=unused,
    )
    before, after = rows["annotations"]
    after = [_referring(record, images, categories) for record in after]
    pairs, trusted = match_annotations(before, after, _sizes(rows["images"][0]))
    if not trusted:
        after, renumbered["annotations"], _ = _with_old_ids(before, after, pairs)
    after = _with_old_fields(before, after, pairs, left_alone["annotations"])
    after = [_as_drawn(before[pairs[n]], record) if n in pairs else record for n, record in enumerate(after)]
    of_absent = {row for row, record in enumerate(before) if isinstance(record, dict) and _image(record) in gone}
    _block(side, "annotations", before, after, pairs, kept=of_absent if side.part else ())
    return Difference(
        side.edits,
        {block: count for block, count in renumbered.items() if count},
        {block: names for block, names in left_alone.items() if names},
        trusted,
    )


def _image(record: dict[str, Any]) -> Any:
    value = record.get("image_id")
    return value if is_valid_id(value) else None


def _block(
    side: _Side, block: str, before: Sequence[Any], after: Sequence[Any], pairs: Pairs, *, kept: Collection[int] = ()
) -> None:
    """Edits of one block: changes and deletions in the old order, then additions. kept: old rows not to delete."""
    match_of = {old_row: new_row for new_row, old_row in pairs.items()}
    for row, record in enumerate(before):
        if row not in match_of:
            if row not in kept:
                side.edits.append(delete(side.old, block, row, reason=side.reason, author=side.author))
            continue
        new = after[match_of[row]]
        if isinstance(record, dict) and isinstance(new, dict):
            side.edits += _changes(side, block, row, record, new)
        elif not same_value(record, new):
            side.edits += [
                delete(side.old, block, row, reason=side.reason, author=side.author),
                add(side.old, block, new, reason=side.reason, author=side.author),
            ]
    order = [pairs[row] for row in sorted(pairs)]
    in_order = order == sorted(order)
    for row, record in enumerate(after):
        if row not in pairs:
            at = row if side.exact and in_order else None
            side.edits.append(add(side.old, block, record, at=at, reason=side.reason, author=side.author))


GROUPS = (("id",), ("category_id",), ("segmentation", "area", "bbox"))
"""Fields of an annotation that change together; each group is a separate edit, so that logs can be filtered."""


def _changes(side: _Side, block: str, row: int, record: dict[str, Any], new: dict[str, Any]) -> Iterator[Edit]:
    before, after = changed_fields(record, new)
    names = {*before, *after}
    grouped = GROUPS if block == "annotations" else ()
    rest = names - {name for group in grouped for name in group}
    current = record
    for group in (*grouped, sorted(rest)):
        old = {name: before[name] for name in group if name in before}
        given = {name: after[name] for name in group if name in after}
        if not old and not given:
            continue
        yield change_row(
            side.old,
            block,
            row,
            given,
            reason=side.reason,
            author=side.author,
            current=None if current is record else current,
            remove=set(old) - set(given),
        )
        current = with_fields(current, old, given)


def _foreign_fields(before: Sequence[Any], after: Sequence[Any]) -> tuple[str, ...]:
    """Fields that every row of a block has in one file, and no row in the other: a tool dropped or added them."""
    if not before or not after:
        return ()
    names = [[set(record) for record in records if isinstance(record, dict)] for records in (before, after)]
    if not all(names):
        return ()
    some = [set.union(*sets) for sets in names]
    every = [set.intersection(*sets) for sets in names]
    return tuple(sorted((some[0] - some[1]) | (every[1] - some[0])))


def _with_old_ids(before: Sequence[Any], after: Sequence[Any], pairs: Pairs) -> tuple[list[Any], int, dict[Any, Any]]:
    """New rows with the old file's ids, how many of them had other ids, and the mapping from new to old ids.

    A row without match keeps its id if that is free, else it gets the next free number.
    """
    ids = [record.get("id") if isinstance(record, dict) else None for record in before]
    taken = {value for value in ids if is_valid_id(value)}
    highest = max((value for value in taken if isinstance(value, int)), default=0)
    renamed: list[Any] = []
    mapping: dict[Any, Any] = {}
    changed = 0
    for row, record in enumerate(after):
        own = record.get("id") if isinstance(record, dict) else None
        if not is_valid_id(own):
            renamed.append(record)
            continue
        if row in pairs and is_valid_id(ids[pairs[row]]):
            wanted = ids[pairs[row]]
        elif own not in taken:
            wanted = own
        else:
            highest += 1
            wanted = highest
        taken.add(wanted)
        changed += row in pairs and not same_value(own, wanted)
        mapping.setdefault(own, wanted)
        renamed.append({**record, "id": wanted})
    return renamed, changed, mapping


def _with_old_fields(before: Sequence[Any], after: Sequence[Any], pairs: Pairs, names: Sequence[str]) -> list[Any]:
    """New rows with the old file's values of these fields."""
    filled = []
    for row, record in enumerate(after):
        if row in pairs and names and isinstance(record, dict) and isinstance(before[pairs[row]], dict):
            old = before[pairs[row]]
            kept = {key: value for key, value in record.items() if key not in names}
            filled.append({**kept, **{name: old[name] for name in names if name in old}})
        else:
            filled.append(record)
    return filled


def _with_old_folders(before: Sequence[Any], after: Sequence[Any], pairs: Pairs) -> list[Any]:
    """New images with the old file names where only folder, extension or case differ."""
    same = {
        row for row, old in pairs.items() if base_name(after[row]) and base_name(after[row]) == base_name(before[old])
    }
    return [
        {**record, "file_name": before[pairs[row]]["file_name"]} if row in same else record
        for row, record in enumerate(after)
    ]


def _referring(record: Any, images: dict[Any, Any], categories: dict[Any, Any]) -> Any:
    if not isinstance(record, dict):
        return record
    new = dict(record)
    for name, mapping in (("image_id", images), ("category_id", categories)):
        if is_valid_id(record.get(name)) and record[name] in mapping:
            new[name] = mapping[record[name]]
    return new


def _sizes(images: Sequence[Any]) -> dict[Any, tuple[int, int]]:
    found: dict[Any, tuple[int, int]] = {}
    for image in images:
        if isinstance(image, dict) and is_valid_id(image.get("id")):
            height, width = image.get("height"), image.get("width")
            if type(height) is int and type(width) is int and 0 < height < 2**31 and 0 < width < 2**31:
                found.setdefault(image["id"], (height, width))
    return found


def _as_drawn(old: Any, new: Any) -> Any:
    """The new row with the old shape's exact numbers if both have the same outline."""
    if not isinstance(old, dict) or not isinstance(new, dict) or "segmentation" not in old:
        return new
    if "segmentation" not in new or not _same_outline(old.get("segmentation"), new.get("segmentation")):
        return new
    same = {**new, "segmentation": old.get("segmentation")}
    area, other = old.get("area"), new.get("area")
    if is_number(area) and is_number(other) and abs(area - other) <= AREA_ROUNDING * abs(area) + ROUNDING:
        same["area"] = area
    box, other = old.get("bbox"), new.get("bbox")
    if _numbers(box) and _numbers(other) and len(box) == len(other):
        same["bbox"] = box if all(abs(a - b) <= BOX_ROUNDING for a, b in zip(box, other, strict=True)) else other
    return same


def _same_outline(old: Any, new: Any) -> bool:
    """Whether two polygons have the same vertices in the same order, except for ROUNDING and closing points."""
    if same_value(old, new):
        return True
    if not isinstance(old, list) or not isinstance(new, list) or len(old) != len(new):
        return False
    for one, other in zip(old, new, strict=True):
        if not _numbers(one) or not _numbers(other):
            return False
        first, second = _open(one), _open(other)
        if len(first) != len(second) or any(abs(a - b) > ROUNDING for a, b in zip(first, second, strict=True)):
            return False
    return True


def _open(ring: list[float]) -> list[float]:
    return ring[:-2] if len(ring) > 6 and ring[:2] == ring[-2:] else ring


def _numbers(value: Any) -> TypeGuard[list[float]]:
    return isinstance(value, list) and all(map(is_number, value))
