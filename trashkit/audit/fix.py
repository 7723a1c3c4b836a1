"""Fixes proposed for findings, and a file fixed until nothing is left to do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from trashkit.audit.engine import audit
from trashkit.audit.fixers import FIXERS, MISPLACED, PREDICTED, STAGES
from trashkit.audit.photo_folder import refuse_wrong_folder
from trashkit.audit.registry import checks, chosen
from trashkit.audit.settings import Settings
from trashkit.audit.workbench import Workbench
from trashkit.coco.dataset import Coco
from trashkit.coco.edit import Edit, fingerprint
from trashkit.coco.edits import apply
from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.progress import Progress, silent

MAX_ROUNDS = 5
"""One fix may uncover another finding; this many audits settle every file seen so far."""

ABOUT_PREDICTIONS = ("P009", "P010")
"""Checks that say how far the predictions can be relied on."""


@dataclass(frozen=True)
class FixResult:
    """What `fix` came to.

    coco: the fixed file. edits: what was done, about rows of the source file. kept_back: how many fixes were left
    undone because they are unsafe. rejected: how many because a reviewer rejected them. without: by code, how many
    findings of the chosen checks on predictions propose nothing. told: what is to be known of the predictions.
    """

    coco: Coco
    edits: list[Edit]
    kept_back: int
    rejected: int
    without: dict[str, int] = field(default_factory=dict)
    told: tuple[str, ...] = ()


def propose(
    coco: Coco, findings: Iterable[Finding], *, unsafe: bool = False, settings: Settings | None = None
) -> list[Edit]:
    """Edits that cure the findings that have a cure, in the order in which they apply.

    Safe fixes alone unless `unsafe`. Findings must be about `coco`. The same findings give the same edits.
    """
    bench = Workbench(coco, unsafe=unsafe, settings=settings)
    _cure(bench, findings)
    return bench.edits


def _cure(bench: Workbench, findings: Iterable[Finding]) -> None:
    findings = list(findings)
    bench.set_misplaced(finding.row for finding in findings if finding.name in MISPLACED)
    listed = [f for f in findings if f.fix is not None and f.name in FIXERS]
    for stage in STAGES:
        for finding in sorted((f for f in listed if f.name in stage), key=lambda f: (f.block, f.row or 0, f.code)):
            if finding.row is None or bench.has(finding.block, finding.row):
                stage[finding.name](bench, finding)


def fix(
    coco: Coco,
    *,
    settings: Settings | None = None,
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    unsafe: bool = False,
    decisions: Sequence[Edit] = (),
    images: Path | None = None,
    against: Coco | None = None,
    predictions: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress = silent,
) -> FixResult:
    """A file with all safe fixes done, or all fixes with `unsafe`; `coco` itself is not changed.

    select, ignore: codes, beginnings of codes or names of checks. decisions: edits of kind reject leave the row they
    name alone, for the check whose code or name is their reason. images, against: the folder of photos and another file
    (the test set), as `audit` takes them: with `unsafe`, images whose photo is missing, damaged or leaked are deleted
    with all that refers to them. predictions: stores whose label errors are mended too, with `unsafe`; once, since they
    speak of the file as it came. Audits again after fixing, until nothing is left that a fix would change, so fixing
    the result changes nothing. Raises TrashkitError where `images` lacks most of the photos and they would be deleted.
    """
    coco.refuse_repeated()
    wanted = [check for check in chosen(select, ignore) if check.name in FIXERS]
    if not any(check.on != "photos" or images is not None for check in wanted):
        return FixResult(coco, [], 0, 0)
    if unsafe and images is not None and any(check.name == "missing-photo" for check in wanted):
        refuse_wrong_folder(coco, images)
    guards = [check.code for check in checks().values() if check.name in MISPLACED]
    bench = Workbench(coco, unsafe=unsafe, settings=settings)
    spared = _rejections(coco, decisions)
    rejected: set[tuple[str, int, str]] = set()
    fixed, edits = coco, 0
    without: dict[str, int] = {}
    told: tuple[str, ...] = ()
    for _ in range(MAX_ROUNDS):
        found = audit(
            fixed,
            settings=settings,
            images=images,
            against=against,
            predictions=predictions,
            select=[check.code for check in wanted if check.on != "photos" or images is not None]
            + guards
            + (list(ABOUT_PREDICTIONS) if predictions else []),
            workers=workers,
            progress=progress,
        ).findings
        if predictions:
            wrong = [finding for finding in found if finding.name in PREDICTED]
            without = dict(sorted(Counter(finding.code for finding in wrong if finding.fix is None).items()))
            told = tuple(finding.message for finding in found if finding.code in ABOUT_PREDICTIONS)
        findings = []
        for finding in _in_source(bench, found):
            if {(finding.block, finding.row, finding.code), (finding.block, finding.row, finding.name)} & spared:
                rejected.add((finding.block, finding.row or 0, finding.code))
            else:
                findings.append(finding)
        _cure(bench, findings)
        if len(bench.edits) == edits:
            break
        # Photos and predictions stay as they are: one look is enough.
        edits, images, predictions = len(bench.edits), None, ()
        fixed = apply(coco, bench.edits)
    return FixResult(fixed, bench.edits, len(bench.kept_back), len(rejected), without, told)


def _in_source(bench: Workbench, findings: Iterable[Finding]) -> Iterable[Finding]:
    """Findings about the file as the edits leave it, with rows as the source file counts them."""
    kept: dict[str, list[int]] = {}
    for finding in findings:
        if not bench.deleted or finding.row is None:
            yield finding
            continue
        if finding.block not in kept:
            count = bench.coco.count(finding.block)
            kept[finding.block] = [row for row in range(count) if (finding.block, row) not in bench.deleted]
        rows = kept[finding.block]
        # related rows may be another file's
        related = tuple(rows[row] for row in finding.related if row < len(rows))
        yield replace(finding, row=rows[finding.row], related=related)


def _rejections(coco: Coco, decisions: Iterable[Edit]) -> set[tuple[str, int, str]]:
    """(block, row, reason) of rejected fixes. Raises TrashkitError for a rejection of a row that has changed since."""
    found = set()
    for edit in decisions:
        if edit.kind != "reject" or edit.row is None:
            continue
        if edit.row >= coco.count(edit.block) or fingerprint(coco.record(edit.block, edit.row)) != edit.fingerprint:
            raise TrashkitError(
                f"{edit.place} is no longer as the reviewer saw it when rejecting {edit.reason}",
                hint="fix the file that was reviewed, or review this one",
            )
        found.add((edit.block, edit.row, edit.reason))
    return found
