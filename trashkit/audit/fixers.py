"""What mends which finding: one function per kind of cure, one table from the checks' names to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trashkit.audit.label_fixes import take_proposal
from trashkit.audit.repair import (
    SAFE_OUTSIDE,
    clip_rings,
    drop_broken_rings,
    drop_repeated_vertices,
    make_rings_valid,
    unite_rings,
)
from trashkit.audit.specks import without_pin_holes, without_specks, without_splinters
from trashkit.audit.workbench import Workbench
from trashkit.coco.edit import canonical, id_of
from trashkit.coco.segmentation import check_segmentation
from trashkit.finding import Finding

Fixer = Callable[[Workbench, Finding], None]


def _step(step: Callable[[Any], Any]) -> Fixer:
    """A fixer that does one thing to the rings of an annotation; whether that is safe is measured."""

    def fixer(bench: Workbench, finding: Finding) -> None:
        assert finding.row is not None
        record = bench.record("annotations", finding.row)
        if bench.size(record) and _has_sound_rings(record):
            after = step(record["segmentation"])
            if after:
                bench.reshape(finding, after)

    return fixer


def mend_rings(bench: Workbench, finding: Finding) -> None:
    """Make rings valid; splinters that this cuts off, specks by the check's thresholds, go where that is safe.

    Else the cure would earn a finding that the file did not have.
    """
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    size = bench.size(record)
    if size and _has_sound_rings(record):
        old = record["segmentation"]
        mended = make_rings_valid(old)
        bench.reshape(finding, without_splinters(old, mended, *size, bench.settings))


def _has_sound_rings(record: Any) -> bool:
    rings = record.get("segmentation") if isinstance(record, dict) else None
    return isinstance(rings, list) and bool(rings) and drop_broken_rings(rings) == rings


def clip(bench: Workbench, finding: Finding) -> None:
    """Cut off what lies outside the image: safe up to SAFE_OUTSIDE pixels; deleted where nothing lies inside."""
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    size = bench.size(record)
    if size is None or record["image_id"] in bench.misplaced or not _has_sound_rings(record):
        return
    inside = clip_rings(record["segmentation"], *size)
    if not inside:
        bench.remove(finding)
    else:
        bench.reshape(finding, inside, kind="unsafe" if bench.outside(record) > SAFE_OUTSIDE else None)


def drop_broken(bench: Workbench, finding: Finding) -> None:
    """Take out what is no coordinate, and rings that are none; delete the annotation where none is left."""
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    if not isinstance(record, dict) or not isinstance(record.get("segmentation"), list):
        bench.remove(finding)
        return
    left = drop_broken_rings(record["segmentation"])
    if not left:
        bench.remove(finding)
    else:
        bench.reshape(finding, left, kind="unsafe")


def remove(bench: Workbench, finding: Finding) -> None:
    """Delete the row."""
    bench.remove(finding)


def swap_sides(bench: Workbench, finding: Finding) -> None:
    """Change an image's width for its height, which its annotations fit."""
    assert finding.row is not None
    image = bench.record("images", finding.row)
    bench.set(finding, {"width": image["height"], "height": image["width"]}, kind="unsafe")


def remove_image(bench: Workbench, finding: Finding) -> None:
    """Delete an image, and the rows of all blocks that refer to it."""
    bench.remove_image(finding)


def measure(bench: Workbench, finding: Finding) -> None:
    """Put area and box right where they are off or missing, and ``iscrowd`` to 0 where it is missing.

    A finding about all annotations (row None) mends each.
    """
    if finding.block != "annotations":
        return
    count = bench.coco.count("annotations")
    for row in range(count) if finding.row is None else (finding.row,):
        if bench.has("annotations", row):
            record = bench.record("annotations", row)
            if isinstance(record, dict):
                crowd = {} if "iscrowd" in record else {"iscrowd": 0}
                measures = bench.measures(record)
                if (
                    id_of({"id": record.get("image_id")}) in bench.misplaced
                ):  # what the row says there tells what is wrong
                    measures = {key: value for key, value in measures.items() if not _is_measure(record.get(key))}
                bench.set(replace(finding, row=row), {**measures, **crowd})


def _is_measure(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(type(one) in (int, float) and math.isfinite(one) for one in numbers)


def remeasure(bench: Workbench, finding: Finding) -> None:
    """Compute the field that the finding is about anew: ``area`` of the union of the polygons, or ``bbox``."""
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    name = "area" if finding.name == "area-mismatch" else "bbox"
    misplaced = finding.image_id is not None and finding.image_id in bench.misplaced
    if isinstance(record, dict) and not misplaced:
        # half of what the check lets pass, so that it is silent afterwards whatever it is set to
        new = bench.measures(record, share=bench.settings.area_share / 2, off=bench.settings.bbox_edge / 2)
        bench.set(finding, {key: value for key, value in new.items() if key == name})


def renumber(bench: Workbench, finding: Finding) -> None:
    """Give a repeated annotation id a new number; the first row keeps it, and with it whatever refers to it."""
    assert finding.row is not None
    rows = sorted({finding.row, *finding.related})
    wanted = bench.record(finding.block, finding.row).get("id")
    alive = [
        row for row in rows if bench.has(finding.block, row) and bench.record(finding.block, row).get("id") == wanted
    ]
    if finding.row in alive[1:]:
        bench.set(finding, {"id": bench.fresh_id(finding.block)})


def remove_double(bench: Workbench, finding: Finding) -> None:
    """Delete an annotation that repeats an earlier one; safe where only ids, areas and boxes differ."""
    assert finding.row is not None
    earlier = [row for row in sorted(finding.related) if row < finding.row and bench.has(finding.block, row)]
    mine = _without_measures(bench.record(finding.block, finding.row))
    equal = any(_without_measures(bench.record(finding.block, row)) == mine for row in earlier)
    if earlier:
        bench.remove(finding, kind="safe" if equal else "unsafe")


def _without_measures(record: Any) -> str:
    if not isinstance(record, dict):
        return canonical(record)
    return canonical({key: value for key, value in record.items() if key not in ("id", "area", "bbox")})


def drop_specks(bench: Workbench, finding: Finding) -> None:
    """Take tiny parts of an annotation away, by the thresholds of the check."""
    _clean(bench, finding, specks=True)


def fill_pin_holes(bench: Workbench, finding: Finding) -> None:
    """Fill tiny holes of an annotation, by the thresholds of the check."""
    _clean(bench, finding, specks=False)


def _clean(bench: Workbench, finding: Finding, *, specks: bool) -> None:
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    size = bench.size(record)
    if size is None or check_segmentation(record.get("segmentation"), *size):
        return
    clean = without_specks if specks else without_pin_holes
    after = clean(record["segmentation"], *size, bench.settings)
    if after:
        bench.reshape(finding, after, kind="unsafe")


STAGES: tuple[dict[str, Fixer], ...] = (
    {
        "missing-photo": remove_image,
        "unreadable-photo": remove_image,
        "truncated-photo": remove_image,
        "photo-outside-folder": remove_image,
        "photo-leak": remove_image,
        "file-name-in-both-files": remove_image,
        "row-is-no-object": remove,
    },
    {"axes-swapped": swap_sides},
    {"dangling-image-id": remove, "dangling-category-id": remove, "empty-segmentation": remove},
    {"duplicate-annotation": remove_double},
    {"duplicate-annotation-id": renumber},
    {"malformed-ring": drop_broken, "coordinate-not-finite": drop_broken},
    {"repeated-vertex": _step(drop_repeated_vertices)},
    {"invalid-ring": mend_rings},
    {"out-of-bounds": clip, "ring-outside": clip},
    {"zero-area": remove, "tiny-area": remove},
    {"sibling-rings-overlap": _step(unite_rings), "ring-inside-ring": _step(unite_rings)},
    {"speck": drop_specks, "pin-hole": fill_pin_holes},
    {"near-duplicate-annotation": remove_double},
    {"missing-measure": measure, "field-not-finite": measure, "wrong-type": measure},
    {"area-mismatch": remeasure, "bbox-mismatch": remeasure},
    {
        "wrong-class": take_proposal,
        "shifted-outline": take_proposal,
        "coarse-outline-seen": take_proposal,
        "merged-objects": take_proposal,
        "missing-object": take_proposal,
        "no-object": take_proposal,
    },
)
"""The fixer of each check that has one, by the check's name; a later stage sees what the earlier ones made."""

PREDICTED = frozenset(STAGES[-1])
"""Checks on predictions whose findings may propose a fix."""

MISPLACED = frozenset({"axes-swapped", "annotated-at-other-scale", "x-and-y-exchanged"})
"""Checks whose findings say that an image and its annotations do not belong together: nothing is clipped there,
and areas and boxes stay, since they tell what is wrong."""

FIXERS: dict[str, Fixer] = {name: fixer for stage in STAGES for name, fixer in stage.items()}
"""All stages in one table."""
