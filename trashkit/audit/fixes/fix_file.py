"""Edits that fix findings, and a whole file fixed until no fix is left to apply."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trashkit.audit.engine import audit
from trashkit.audit.fixes.by_check import FIXES, MISPLACED, PREDICTION_CHECKS, SHAPELESS, STAGES, UNPROVEN
from trashkit.audit.fixes.fix_run import FixRun
from trashkit.audit.registry import Check, checks, chosen
from trashkit.audit.settings import Settings
from trashkit.audit.views.photo_folder import refuse_wrong_folder
from trashkit.coco.dataset import Coco
from trashkit.edits.apply import apply
from trashkit.edits.edit import Edit, fingerprint
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, RowFinding, about_row
from trashkit.images.near_duplicates import Matching
from trashkit.progress import Progress, silent

MAX_ROUNDS = 6
"""Maximum number of rounds of audit and fix. One fix may uncover another finding; every file so far needed fewer."""

ABOUT_PREDICTIONS = ("P009", "P010")
"""Checks that say how far the predictions can be relied on."""


@dataclass(frozen=True)
class FixResult:
    """What `fix` did.

    coco: the fixed file. edits: what was changed, about rows of the source file. kept_back: how many fixes were not
    applied because they are unsafe. rejected: how many were not applied because a reviewer rejected them.
    lost: annotations that are deleted because nothing can restore them, counted by the name of the finding.
    most_changed: the most pixels of one mask that repairs of its rings changed.
    without_fix: by code, how many findings of the chosen checks on predictions propose no fix.
    prediction_notes: messages about how far the predictions can be relied on.
    """

    coco: Coco
    edits: list[Edit]
    kept_back: int
    rejected: int
    lost: dict[str, int] = field(default_factory=dict)
    most_changed: int = 0
    without_fix: dict[str, int] = field(default_factory=dict)
    prediction_notes: tuple[str, ...] = ()


def propose(
    coco: Coco, findings: Iterable[Finding], *, unsafe: bool = False, settings: Settings | None = None
) -> list[Edit]:
    """Edits that fix those findings that have a fix, in the order in which they apply.

    Only safe fixes unless `unsafe`. Findings must be about `coco`. The same findings give the same edits.
    """
    run = FixRun(coco, unsafe=unsafe, settings=settings)
    _fix_findings(run, findings)
    return run.rows.edits


def _fix_findings(run: FixRun, findings: Iterable[Finding], wanted: Collection[str] = FIXES) -> None:
    """Record the edits of all findings of the wanted checks, given by name; others may tell what to be careful with."""
    findings = list(findings)
    run.set_misplaced(finding for finding in findings if finding.name in MISPLACED)
    run.set_of_other_size(findings)
    fixable = [f for f in findings if f.fix is not None and f.name in FIXES and f.name in wanted]
    for stage in STAGES:
        for finding in sorted((f for f in fixable if f.name in stage), key=lambda f: (f.block, f.row or 0, f.code)):
            for one in _by_row(run, finding):
                if run.rows.has(*one.place):
                    stage[one.name](run, one)


def _by_row(run: FixRun, finding: Finding) -> Iterator[RowFinding]:
    """The finding itself; one that is about a whole block applies to all of its rows."""
    if isinstance(finding, RowFinding):
        yield finding
    else:
        for row in range(run.rows.coco.count(finding.block)):
            yield about_row(finding, row)


def fix(
    coco: Coco,
    *,
    settings: Settings | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    unsafe: bool = False,
    delete: bool = False,
    decisions: Sequence[Edit] = (),
    images: Path | None = None,
    against: Coco | None = None,
    near_duplicate_matching: Matching = "normal",
    predictions: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> FixResult:
    """Apply all safe fixes to a file, or all fixes with `unsafe`; `coco` itself is not changed.

    select, ignore: codes, beginnings of codes, or names of checks. decisions: an edit of kind reject protects its row
    from the fix of the check whose code or name is the edit's reason. images, against: the folder of photos and another
    file (the test set), as `audit` takes them: with `unsafe`, images whose photo is missing, damaged or leaked are
    deleted with everything that refers to them. near_duplicate_matching: how sure a leaked near-duplicate must be, see
    `trashkit.images.near_duplicates.near_duplicate_pairs`. predictions: stores whose label errors are fixed too, with
    `unsafe`; in the first round only, since predictions are about the file as it was given. delete: with `unsafe`,
    annotations that cannot be drawn are deleted even if a person could restore them. The file is audited again after
    each round, until no fix is left to apply, so fixing the result changes nothing.
    Raises TrashkitError if most photos are missing from `images` and their images would be deleted.
    """
    coco.require_unique_keys()
    wanted = [check for check in chosen(select, ignore) if check.name in FIXES]
    if not _runnable(wanted, images):
        return FixResult(coco, [], 0, 0)
    if unsafe and images is not None and any(check.name == "missing-photo" for check in wanted):
        refuse_wrong_folder(coco, images)
    run = FixRun(coco, unsafe=unsafe, settings=settings, images=images)
    protected = _rejections(coco, decisions)
    rejected: set[tuple[str, int, str]] = set()
    fixed, edits = coco, 0
    without_fix: dict[str, int] = {}
    notes: tuple[str, ...] = ()
    for _ in range(MAX_ROUNDS):
        found = audit(
            fixed,
            settings=settings,
            images=images,
            against=against,
            near_duplicate_matching=near_duplicate_matching,
            predictions=predictions,
            select=_codes(wanted, images, predictions),
            workers=workers,
            progress=progress,
        ).findings
        if predictions:
            wrong = [finding for finding in found if finding.name in PREDICTION_CHECKS]
            without_fix = dict(sorted(Counter(finding.code for finding in wrong if finding.fix is None).items()))
            notes = tuple(finding.message for finding in found if finding.code in ABOUT_PREDICTIONS)
        findings = []
        for finding in _in_source(run, found):
            if {(finding.block, finding.row, finding.code), (finding.block, finding.row, finding.name)} & protected:
                rejected.add((finding.block, finding.row or 0, finding.code))
            else:
                findings.append(finding)
        _fix_findings(run, findings, {check.name for check in wanted})
        if len(run.rows.edits) == edits and unsafe and delete:
            _delete_unproven(run, findings)
        if len(run.rows.edits) == edits:
            break
        # Fixes do not change photos or predictions, so these are checked only once.
        edits, images, predictions = len(run.rows.edits), None, ()
        fixed = apply(coco, run.rows.edits)
    lost = dict(sorted(Counter(run.lost.values()).items()))
    return FixResult(
        fixed, run.rows.edits, len(run.kept_back), len(rejected), lost, run.most_changed, without_fix, notes
    )


def _delete_unproven(run: FixRun, findings: Iterable[Finding]) -> None:
    """Delete annotations that no command can draw and no reading restores; when no other fix is left."""
    for finding in findings:
        if not isinstance(finding, RowFinding) or finding.fix is not None or not run.rows.has(*finding.place):
            continue
        if finding.name in UNPROVEN or (finding.name in SHAPELESS and _has_no_shape(run, finding)):
            run.remove(finding)


def _has_no_shape(run: FixRun, finding: RowFinding) -> bool:
    """Whether a finding is about an annotation whose segmentation is missing, null, a text or a number."""
    record = run.rows.record(*finding.place)
    value = record.get("segmentation") if isinstance(record, dict) else None
    return finding.block == "annotations" and not isinstance(value, list | dict)


def _runnable(wanted: Iterable[Check], images: Path | None) -> list[str]:
    """Codes of the checks that can run with or without photos."""
    return [check.code for check in wanted if check.on != "photos" or images is not None]


CAREFUL = ("photo-size", "no-outlines")
"""Further checks whose findings say which fixes to be careful with."""


def _codes(wanted: Iterable[Check], images: Path | None, predictions: Sequence[Path]) -> list[str]:
    """Codes to audit: the wanted checks, and those that tell which images and predictions to be careful with."""
    misplaced = [check for check in checks().values() if check.name in {*MISPLACED, *CAREFUL}]
    return [*_runnable(wanted, images), *_runnable(misplaced, images), *(ABOUT_PREDICTIONS if predictions else ())]


def _in_source(run: FixRun, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings about the file as the edits leave it, with their rows as the source file counts them."""
    rows_of: dict[str, list[int]] = {}
    for finding in findings:
        if not run.rows.has_deletions or not isinstance(finding, RowFinding):
            yield finding
            continue
        if finding.block not in rows_of:
            rows_of[finding.block] = run.rows.remaining_rows(finding.block)
        rows = rows_of[finding.block]
        # Related rows may belong to another file.
        related = tuple(rows[row] for row in finding.related if row < len(rows))
        yield replace(finding, row=rows[finding.row], related=related)


def _rejections(coco: Coco, decisions: Iterable[Edit]) -> set[tuple[str, int | None, str]]:
    """(block, row, reason) of rejected fixes. Raises TrashkitError if a rejected row has changed since."""
    found: set[tuple[str, int | None, str]] = set()
    for edit in decisions:
        if edit.kind != "reject" or edit.row is None:
            continue
        if edit.row >= coco.count(edit.block) or fingerprint(coco.record(edit.block, edit.row)) != edit.fingerprint:
            raise TrashkitError(
                f"{edit.place} has changed since the reviewer rejected the fix of {edit.reason}",
                hint="fix the file that was reviewed, or review this one",
            )
        found.add((edit.block, edit.row, edit.reason))
    return found
