"""Fix an annotation file by its findings, an edit log or filling holes, and write it with a log of the changes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trashkit.audit.fixes.fix_file import fix
from trashkit.audit.fixes.pinholes import fill_pinholes
from trashkit.audit.settings import Settings
from trashkit.coco import Coco, write
from trashkit.edits.apply import apply
from trashkit.edits.edit import Edit
from trashkit.edits.log import append_log, check_log_continues, read_log
from trashkit.errors import TrashkitError
from trashkit.images.near_duplicates import Matching
from trashkit.outputs import Output
from trashkit.progress import Progress, silent

MOST_DELETED = 0.1
"""Largest share of the annotations that a fix may delete without being told to."""
LISTED = 10
"""Most skipped images and annotations that a message names."""


@dataclass(frozen=True)
class FixedFile:
    """A fixed annotation file.

    coco: the file. edits: what was changed, about rows of the source file. summary: counts, as `trashkit fix --json`
    gives them. warnings, notes: messages for the user. too_many_deletions: see `refuse_many_deletions`.
    """

    coco: Coco
    edits: list[Edit]
    summary: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    too_many_deletions: bool = False


def fix_findings(
    coco: Coco,
    *,
    settings: Settings | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    unsafe: bool = False,
    delete: bool = False,
    rejections: Path | None = None,
    images: Path | None = None,
    against: Coco | None = None,
    near_duplicate_matching: Matching = "normal",
    predictions: Sequence[Path] = (),
    progress: Progress = silent,
) -> FixedFile:
    """Fix what the audit finds, see `trashkit.audit.fix`.

    rejections: an edit log whose rejected fixes are not applied. predictions: stores or run folders. delete: delete
    any number of annotations, and those that only a person could restore, see `trashkit.audit.fix`.
    """
    result = fix(
        coco,
        settings=settings,
        select=select,
        ignore=ignore,
        unsafe=unsafe,
        delete=delete,
        decisions=read_log(rejections).edits if rejections is not None else [],
        images=images,
        against=against,
        near_duplicate_matching=near_duplicate_matching,
        predictions=predictions,
        progress=progress,
    )
    summary: dict[str, Any] = {"kept_back": result.kept_back, "rejected": result.rejected}
    if result.lost:
        summary["deleted"] = result.lost
    if result.most_changed:
        summary["most_changed_pixels"] = result.most_changed
    if predictions:
        summary["without_fix"] = result.without_fix
    lost = sum(result.lost.values())
    notes: tuple[str, ...] = ()
    if lost:
        named = ", ".join(f"{number} {name}" for name, number in result.lost.items())
        notes = (f"deletes {lost} of {coco.count('annotations')} annotations that cannot be restored: {named}",)
    too_many = not delete and lost > MOST_DELETED * coco.count("annotations")
    if too_many:
        notes = (f"{notes[0]}; that is more than a tenth, so writing the file needs --delete",)
    return FixedFile(
        result.coco, result.edits, _summary(result.edits, summary), result.prediction_notes, notes, too_many
    )


def refuse_many_deletions(fixed: FixedFile) -> None:
    """Raise TrashkitError where a fix deletes so many annotations that the reading of the file is probably wrong."""
    if fixed.too_many_deletions:
        raise TrashkitError(
            f"--unsafe {fixed.notes[0]}",
            hint="look at them with --diff or `trashkit audit`; if they have to go, add --delete",
        )


def apply_edit_log(coco: Coco, log: Path) -> FixedFile:
    """Apply the edits of a log, such as that of a review."""
    edits, torn = read_log(log)
    changes = [edit for edit in edits if not edit.is_decision]
    return FixedFile(apply(coco, edits), changes, _summary(changes, {"kept_back": 0}), (torn,) if torn else ())


def fill_holes(
    coco: Coco, *, despeckle: int | None = None, max_pixels: int = 0, progress: Progress = silent
) -> FixedFile:
    """Fill tiny holes of the ground truth, see `trashkit.audit.fixes.pinholes.fill_pinholes`."""
    filled = fill_pinholes(coco, despeckle=despeckle, fill_holes=max_pixels, progress=progress)
    notes: tuple[str, ...] = ()
    if filled.skipped:
        named = "; ".join(filled.skipped[:LISTED])
        more = f"; and {len(filled.skipped) - LISTED} more" if len(filled.skipped) > LISTED else ""
        notes = (f"skipped, since they cannot be rasterised (see `trashkit audit`): {named}{more}",)
    summary = {"kept_back": 0, "classes": filled.classes, "skipped": list(filled.skipped)}
    return FixedFile(apply(coco, filled.edits), filled.edits, _summary(filled.edits, summary), (), notes)


def _summary(edits: Sequence[Edit], more: dict[str, Any]) -> dict[str, Any]:
    return {"edits": len(edits), **more}


def write_fixed(fixed: FixedFile, out: Path, *, log: Path | None = None, overwrite: bool = False) -> None:
    """Write the fixed file, and append its edits to a log.

    Raises TrashkitError, before anything is written, if the log is about another file.
    """
    if log is not None:
        Output(log, overwrite=True).check()
        check_log_continues(log, fixed.edits)
    write(fixed.coco, out, overwrite=overwrite)
    if log is not None:
        append_log(log, fixed.edits)
