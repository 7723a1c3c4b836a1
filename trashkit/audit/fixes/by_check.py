"""The fix of each check: one function per kind of fix, and one table from check names to them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from trashkit.audit.fixes.fix_run import FixRun
from trashkit.audit.fixes.proposals import take_proposal
from trashkit.audit.fixes.repair import (
    SAFE_OUTSIDE,
    clip_rings,
    drop_broken_rings,
    drop_repeated_vertices,
    make_rings_valid,
    unite_rings,
)
from trashkit.audit.fixes.specks import without_new_specks, without_pin_holes, without_specks
from trashkit.audit.readings.rescale import rescaled
from trashkit.coco.segmentation import check_segmentation
from trashkit.edits.edit import canonical, id_of
from trashkit.finding import RowFinding

FixFunction = Callable[[FixRun, RowFinding], object]
"""Records the edits that fix one finding."""


def _change_rings(step: Callable[[Any], Any]) -> FixFunction:
    """A fix that does one thing to the rings of an annotation; whether that is safe is measured."""

    def fix(run: FixRun, finding: RowFinding) -> None:
        record = run.rows.record("annotations", finding.row)
        if run.rows.size_of(record) and _has_sound_rings(record):
            after = step(record["segmentation"])
            if after:
                run.reshape(finding, after)

    return fix


def repair_rings(run: FixRun, finding: RowFinding) -> None:
    """Make rings valid, and drop the specks that this cuts off where that is safe: they would be new findings."""
    record = run.rows.record("annotations", finding.row)
    size = run.rows.size_of(record)
    if size and _has_sound_rings(record):
        old = record["segmentation"]
        run.reshape(finding, without_new_specks(old, make_rings_valid(old), *size, run.settings))


def _has_sound_rings(record: Any) -> bool:
    rings = record.get("segmentation") if isinstance(record, dict) else None
    return isinstance(rings, list) and bool(rings) and drop_broken_rings(rings) == rings


def clip(run: FixRun, finding: RowFinding) -> None:
    """Clip to the image: safe up to SAFE_OUTSIDE pixels. Delete the annotation if nothing is inside."""
    record = run.rows.record("annotations", finding.row)
    size = run.rows.size_of(record)
    if size is None or not _has_sound_rings(record):
        return
    if record["image_id"] in run.misplaced or record["image_id"] in run.of_other_size:
        return
    inside = clip_rings(record["segmentation"], *size)
    if not inside:
        run.remove(finding)
    else:
        run.reshape(finding, inside, kind="unsafe" if run.distance_outside(record) > SAFE_OUTSIDE else None)


def restore_or_remove(run: FixRun, finding: RowFinding) -> None:
    """Set the fields that the finding proposes; if it proposes none, delete the row."""
    if not restore(run, finding):
        run.remove(finding)


def restore(run: FixRun, finding: RowFinding) -> bool:
    """Set the fields that the finding proposes, which other values of the file prove; whether it proposes any."""
    proposal: Any = finding.proposal
    fields = proposal.get("set") if isinstance(proposal, dict) else None
    if not isinstance(fields, dict):
        return False
    run.set(finding, fields, kind=finding.fix or "unsafe", retype=True)
    return True


def rescale(run: FixRun, finding: RowFinding) -> None:
    """Multiply an annotation's coordinates, or correct its box, as the finding about the whole file says."""
    proposal: Any = finding.proposal
    record = run.rows.record(*finding.place)
    if finding.block == "annotations" and isinstance(proposal, dict) and isinstance(proposal.get("scale"), dict):
        fields = rescaled(record, run.rows.size_of(record), proposal["scale"])
        if fields:
            run.set(finding, fields, kind="unsafe")


def cut_or_unite(run: FixRun, finding: RowFinding) -> None:
    """Cut out a ring that is a hole, else merge it with the ring around it."""
    if not restore(run, finding):
        _change_rings(unite_rings)(run, finding)


def correct_types(run: FixRun, finding: RowFinding) -> None:
    """Set fields whose value is clear to the right type; else correct area and box."""
    if not restore(run, finding):
        fill_in_measures(run, finding)


def remove(run: FixRun, finding: RowFinding) -> None:
    """Delete the row."""
    run.remove(finding)


def swap_width_and_height(run: FixRun, finding: RowFinding) -> None:
    """Exchange an image's width and height, where its annotations fit the exchanged ones; not against its photo."""
    image = run.rows.record("images", finding.row)
    sizes = run.photo_sizes(image)
    size = (image["width"], image["height"])
    if size in sizes and size[::-1] not in sizes:
        return
    run.set(finding, {"width": image["height"], "height": image["width"]}, kind="unsafe")


def rename_or_remove_image(run: FixRun, finding: RowFinding) -> None:
    """Give an image the file name that the finding proposes; if it proposes none, delete the image."""
    if not restore(run, finding):
        remove_image(run, finding)


def remove_image(run: FixRun, finding: RowFinding) -> None:
    """Delete an image, and the rows of all blocks that refer to it."""
    run.remove_image(finding)


def fill_in_measures(run: FixRun, finding: RowFinding) -> None:
    """Correct area and box where they are off or missing, and set a missing ``iscrowd`` to 0."""
    record = run.rows.record(*finding.place)
    if finding.block != "annotations" or not isinstance(record, dict):
        return
    crowd = {} if "iscrowd" in record else {"iscrowd": 0}
    measures = run.wrong_measures(record)
    if id_of({"id": record.get("image_id")}) in run.misplaced:
        # Existing values there show what is wrong with the image; only add missing ones.
        measures = {key: value for key, value in measures.items() if not _is_measure(record.get(key))}
    run.set(finding, {**measures, **crowd})


def _is_measure(value: Any) -> bool:
    numbers = value if isinstance(value, list) else [value]
    return all(type(one) in (int, float) and math.isfinite(one) for one in numbers)


def remeasure(run: FixRun, finding: RowFinding) -> None:
    """Recompute the field that the finding is about: ``area``, of the union of the polygons, or ``bbox``."""
    record = run.rows.record("annotations", finding.row)
    name = "area" if finding.name == "area-mismatch" else "bbox"
    misplaced = finding.image_id is not None and finding.image_id in run.misplaced
    if isinstance(record, dict) and not misplaced:
        # With half of the check's tolerance, the check is silent afterwards whatever it is set to.
        new = run.wrong_measures(record, share=run.settings.area_share / 2, off=run.settings.bbox_edge / 2)
        run.set(finding, {key: value for key, value in new.items() if key == name})


def restore_or_remeasure(run: FixRun, finding: RowFinding) -> None:
    """Correct a segmentation that its box and area prove to be wrong; else recompute the box."""
    if not restore(run, finding):
        remeasure(run, finding)


def renumber(run: FixRun, finding: RowFinding) -> None:
    """Give a repeated annotation id a new number; the first row keeps it, so that references to it still hold."""
    rows = sorted({finding.row, *finding.related})
    wanted = run.rows.record(*finding.place).get("id")
    left = [row for row in rows if run.rows.has(finding.block, row)]
    same = [row for row in left if run.rows.record(finding.block, row).get("id") == wanted]
    if finding.row in same[1:]:
        run.set(finding, {"id": run.rows.fresh_id(finding.block)})


def remove_duplicate(run: FixRun, finding: RowFinding) -> None:
    """Delete an annotation that repeats an earlier one; safe where only ids, areas and boxes differ."""
    earlier = [row for row in sorted(finding.related) if row < finding.row and run.rows.has(finding.block, row)]
    own = _without_measures(run.rows.record(*finding.place))
    equal = any(_without_measures(run.rows.record(finding.block, row)) == own for row in earlier)
    if earlier:
        run.remove(finding, kind="safe" if equal else "unsafe", lost=False)


def _without_measures(record: Any) -> str:
    if not isinstance(record, dict):
        return canonical(record)
    return canonical({key: value for key, value in record.items() if key not in ("id", "area", "bbox")})


def drop_specks(run: FixRun, finding: RowFinding) -> None:
    """Drop tiny parts of an annotation, by the check's thresholds."""
    _clean(run, finding, specks=True)


def fill_pin_holes(run: FixRun, finding: RowFinding) -> None:
    """Fill tiny holes of an annotation, by the check's thresholds."""
    _clean(run, finding, specks=False)


def _clean(run: FixRun, finding: RowFinding, *, specks: bool) -> None:
    record = run.rows.record("annotations", finding.row)
    size = run.rows.size_of(record)
    if size is None or check_segmentation(record.get("segmentation"), *size):
        return
    clean = without_specks if specks else without_pin_holes
    after = clean(record["segmentation"], *size, run.settings)
    if after:
        run.reshape(finding, after, kind="unsafe")


STAGES: tuple[dict[str, FixFunction], ...] = (
    {
        "missing-photo": rename_or_remove_image,
        "unreadable-photo": remove_image,
        "truncated-photo": remove_image,
        "photo-outside-folder": rename_or_remove_image,
        "photo-leak": remove_image,
        "file-name-in-both-files": remove_image,
        "row-is-no-object": remove,
    },
    {"file-at-other-scale": rescale},
    {"axes-swapped": swap_width_and_height},
    {
        "dangling-image-id": restore_or_remove,
        "dangling-category-id": restore_or_remove,
        "empty-segmentation": remove,
        "wrong-type": correct_types,
    },
    {"rle-size": restore, "rle-counts": restore, "x-and-y-apart": restore},
    {"duplicate-annotation": remove_duplicate},
    {"duplicate-annotation-id": renumber},
    {"malformed-ring": restore_or_remove, "coordinate-not-finite": restore_or_remove},
    {"repeated-vertex": _change_rings(drop_repeated_vertices)},
    {"invalid-ring": repair_rings},
    {"out-of-bounds": clip, "ring-outside": clip},
    {"zero-area": remove, "tiny-area": remove},
    {"sibling-rings-overlap": _change_rings(unite_rings), "ring-inside-ring": cut_or_unite},
    {"speck": drop_specks, "pin-hole": fill_pin_holes},
    {"near-duplicate-annotation": remove_duplicate},
    {"missing-measure": fill_in_measures, "field-not-finite": fill_in_measures},
    {"area-mismatch": remeasure, "bbox-mismatch": restore_or_remeasure},
    {
        "wrong-class": take_proposal,
        "shifted-outline": take_proposal,
        "coarse-outline-seen": take_proposal,
        "merged-objects": take_proposal,
        "missing-object": take_proposal,
        "no-object": take_proposal,
    },
)
"""Fix functions by check name, in the order in which they run: a later stage sees what the earlier ones made."""

FIXES: dict[str, FixFunction] = {name: fix for stage in STAGES for name, fix in stage.items()}
"""All stages in one table."""

PREDICTION_CHECKS = frozenset(STAGES[-1])
"""Checks on predictions whose findings may propose a fix."""

UNPROVEN = frozenset(
    {"dangling-image-id", "dangling-category-id", "malformed-ring", "coordinate-not-finite", "rle-size", "rle-counts"}
)
"""Checks whose findings without a fix are about annotations that no command can draw, and only a person can restore."""

SHAPELESS = frozenset({"missing-field", "wrong-type"})
"""Checks whose findings without a fix may be about annotations without any segmentation, as those of `UNPROVEN`."""

MISPLACED = frozenset({"file-at-other-scale", "axes-swapped", "annotated-at-other-scale", "x-and-y-exchanged"})
"""Checks whose findings say that an image and its annotations do not fit each other. Nothing is clipped there, and
areas and boxes stay, since they show what is wrong."""
