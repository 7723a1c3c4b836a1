"""Findings to review: from a file or from an audit, each with the fix that it proposes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trashkit.audit import Settings, audit, read_settings
from trashkit.audit.fixes.fix_file import propose
from trashkit.coco import Coco, read
from trashkit.edits.edit import Edit
from trashkit.finding import Finding, RowFinding
from trashkit.images.near_duplicates import Matching
from trashkit.progress import Progress, silent
from trashkit.review.comparison import Comparison
from trashkit.review.findings_file import audit_key, cache_audit, read_cached_audit, read_findings
from trashkit.review.session import ProposedFix

ReviewFindings = tuple[list[Finding], dict[int, ProposedFix]]
"""Findings, and the proposed fixes by position in that list."""


def findings_from_file(
    coco: Coco, path: Path, *, settings: Settings | None = None, progress: Progress = silent
) -> ReviewFindings:
    """Findings of a file that `trashkit audit --json` wrote, with their proposed fixes.

    settings: thresholds for the fixes. Raises TrashkitError if the findings are not about `coco`.
    """
    findings = read_findings(path, {block: coco.count(block) for block in coco.blocks()})
    return findings, proposed_fixes(coco, findings, settings=settings, progress=progress)


def findings_from_audit(
    coco: Coco,
    *,
    settings: Settings | None = None,
    images: Path | None = None,
    against: Path | None = None,
    near_duplicate_matching: Matching = "normal",
    stores: Sequence[Path] = (),
    cache: Path | None = None,
    on_cached: Callable[[], None] = lambda: None,
    progress: Progress = silent,
) -> ReviewFindings:
    """Audit a file, and propose fixes for its findings.

    images: folder of the photos. against: the test set, to find leaks. near_duplicate_matching: see
    `trashkit.images.near_duplicates.near_duplicate_pairs`. stores: out-of-fold probabilities, to find label
    errors. cache: folder for the results; an audit of the same files and settings is read from it instead of being
    made again. on_cached: called if so.
    """
    settings = settings if settings is not None else read_settings(None)
    cached = None
    if cache is not None:
        names = [image.get("file_name") for image in coco.records("images") if isinstance(image, dict)]
        matching = "" if near_duplicate_matching == "normal" else near_duplicate_matching
        key = audit_key(coco, repr(settings) + matching, images=images, names=names, against=against, stores=stores)
        cached = cache / f"{key}.json"
        known = read_cached_audit(cached)
        if known is not None:
            on_cached()
            return known
    findings = audit(
        coco,
        settings=settings,
        images=images,
        against=read(against) if against is not None else None,
        near_duplicate_matching=near_duplicate_matching,
        predictions=stores,
        progress=progress,
    ).findings
    fixes = proposed_fixes(coco, findings, settings=settings, progress=progress)
    if cached is not None:
        cache_audit(cached, findings, fixes)
        return read_cached_audit(cached) or (findings, fixes)  # the same values whether cached before or not
    return findings, fixes


def proposed_fixes(
    coco: Coco, findings: Sequence[Finding], *, settings: Settings | None = None, progress: Progress = silent
) -> dict[int, ProposedFix]:
    """The proposed fix of each finding that has one, by position in `findings`.

    A fix is worked out alone, and together with those of the other findings of its row, where they may build on each
    other.
    """
    settings = settings if settings is not None else read_settings(None)
    fixable = {
        n: finding for n, finding in enumerate(findings) if finding.fix is not None and isinstance(finding, RowFinding)
    }
    together: dict[tuple[str, int | None], list[Edit]] = defaultdict(list)
    added: dict[tuple[str, str, Any], list[Edit]] = defaultdict(list)
    for edit in propose(coco, fixable.values(), unsafe=True, settings=settings):
        if edit.row is None:
            added[edit.author, edit.note, edit.after.get("image_id")].append(edit)
        else:
            together[edit.block, edit.row].append(edit)
    per_row = Counter((finding.block, finding.row) for finding in fixable.values())
    alone = _edits_per_check(
        coco, [one for one in fixable.values() if per_row[one.block, one.row] > 1], settings, progress
    )
    fixes: dict[int, ProposedFix] = {}
    for n, finding in fixable.items():
        row_edits = tuple(together[finding.block, finding.row])
        edits = tuple(alone[finding.code, finding.block, finding.row])
        additions = tuple(added[finding.code, finding.message, _image_id(coco, finding)])
        if not (additions and per_row[finding.block, finding.row] > 1):
            # A fix that only adds annotations does not change its row: the row's edits are those of other findings.
            edits = edits or row_edits
        if edits or additions:
            fixes[n] = ProposedFix(edits, row_edits, additions)
    return fixes


def _edits_per_check(
    coco: Coco, findings: Iterable[Finding], settings: Settings, progress: Progress
) -> Mapping[tuple[str, str, int | None], list[Edit]]:
    """Edits that fix the findings of one check only, by code, block and row."""
    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    found: dict[tuple[str, str, int | None], list[Edit]] = defaultdict(list)
    for done, (code, some) in enumerate(by_code.items()):
        progress("proposing fixes", done, len(by_code))
        for edit in propose(coco, some, unsafe=True, settings=settings):
            found[code, edit.block, edit.row].append(edit)
    return found


def _image_id(coco: Coco, finding: RowFinding) -> Any:
    """The id of the image that a finding's added annotations belong to."""
    record = coco.record(*finding.place)
    key = "id" if finding.block == "images" else "image_id"
    return record.get(key) if isinstance(record, dict) else None


def label_error_stores(comparisons: Iterable[Comparison]) -> tuple[Path, ...]:
    """The stores to search for label errors, of those that predict the images under review.

    The first path wins: later stores that predict any of the same images again are left out, since each image must be
    predicted once, as the out-of-fold stores of one training do.
    """
    seen: set[int] = set()
    chosen: list[Path] = []
    for one in comparisons:
        if one.dataset_index == 0 and one.kind == "store" and not seen & set(one.images):
            seen |= set(one.images)
            chosen.append(one.path)
    return tuple(chosen)
