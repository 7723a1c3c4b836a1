"""What mends which finding: one function per kind of cure, one table from the checks' names to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trashkit.audit.repair import (
    SAFE_OUTSIDE,
    clip_rings,
    drop_broken_rings,
    drop_repeated_vertices,
    make_rings_valid,
    unite_rings,
)
from trashkit.audit.workbench import Workbench
from trashkit.coco.edit import canonical
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


def _has_sound_rings(record: Any) -> bool:
    rings = record.get("segmentation") if isinstance(record, dict) else None
    return isinstance(rings, list) and bool(rings) and drop_broken_rings(rings) == rings


def clip(bench: Workbench, finding: Finding) -> None:
    """Cut off what lies outside the image: safe up to SAFE_OUTSIDE pixels; deleted where nothing lies inside."""
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    size = bench.size(record)
    if size is None or not _has_sound_rings(record):
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


def measure(bench: Workbench, finding: Finding) -> None:
    """Put area and box right where they are off or missing, and ``iscrowd`` to 0 where it is missing."""
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    if finding.block != "annotations" or not isinstance(record, dict):
        return
    crowd = {} if "iscrowd" in record else {"iscrowd": 0}
    bench.set(finding, {**bench.measures(record), **crowd})


def remeasure_area(bench: Workbench, finding: Finding) -> None:
    """Compute ``area`` anew from the union of the polygons."""
    _measured(bench, finding, "area")


def remeasure_box(bench: Workbench, finding: Finding) -> None:
    """Compute ``bbox`` anew from the polygons."""
    _measured(bench, finding, "bbox")


def _measured(bench: Workbench, finding: Finding, field: str) -> None:
    assert finding.row is not None
    record = bench.record("annotations", finding.row)
    if isinstance(record, dict):
        bench.set(finding, {key: value for key, value in bench.measures(record).items() if key == field})


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


def remove_exact_double(bench: Workbench, finding: Finding) -> None:
    """Delete an annotation that repeats an earlier one in all but its id."""
    _remove_double(bench, finding, exact=True)


def remove_double(bench: Workbench, finding: Finding) -> None:
    """Delete an annotation that repeats an earlier one nearly; unsafe unless they are equal in all but their id."""
    _remove_double(bench, finding, exact=False)


def _remove_double(bench: Workbench, finding: Finding, *, exact: bool) -> None:
    assert finding.row is not None
    earlier = [row for row in sorted(finding.related) if row < finding.row and bench.has(finding.block, row)]
    if not earlier:
        return
    mine = _without_id(bench.record(finding.block, finding.row))
    equal = any(_without_id(bench.record(finding.block, row)) == mine for row in earlier)
    if equal or not exact:
        bench.remove(finding, kind="safe" if equal else "unsafe")


def _without_id(record: Any) -> str:
    return canonical(
        {key: value for key, value in record.items() if key != "id"} if isinstance(record, dict) else record
    )


def write_anew(bench: Workbench, finding: Finding) -> None:
    """Write a row anew that gives a key twice: parsers take the last value, and that is what stays."""
    assert finding.row is not None
    if isinstance(bench.record(finding.block, finding.row), dict):
        bench.set(finding, {}, rewrite=True)


STAGES: tuple[dict[str, Fixer], ...] = (
    {"duplicate-annotation": remove_exact_double, "near-duplicate": remove_double},
    {"duplicate-annotation-id": renumber},
    {"too-few-points": drop_broken, "repeated-vertices": _step(drop_repeated_vertices)},
    {"invalid-ring": _step(make_rings_valid)},
    {"out-of-bounds": clip},
    {"sibling-overlap": _step(unite_rings)},
    {"area-mismatch": remeasure_area, "bbox-mismatch": remeasure_box},
)
"""The fixer of each check that has one, by the check's name; a later stage sees what the earlier ones made."""

FIXERS: dict[str, Fixer] = {name: fixer for stage in STAGES for name, fixer in stage.items()}
"""All stages in one table."""
