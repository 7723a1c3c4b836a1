"""What a review is about: findings of the audit, from a file or made now, and the fix that each proposes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note, progress

if TYPE_CHECKING:
    from trashkit.audit import Settings
    from trashkit.coco import Coco
    from trashkit.coco.edit import Edit
    from trashkit.finding import Finding
    from trashkit.review.room import Fix

Found = tuple[list["Finding"], dict[int, "Fix"]]


@dataclass(frozen=True)
class Asked:
    """What findings are made of. file: findings that were made before, in place of an audit now. against: the test
    set, for leaks. stores: out-of-fold probabilities, for label errors. cache: folder to keep the audit's result in,
    so that opening the review again does not wait for it."""

    images: Path | None = None
    file: Path | None = None
    config: Path | None = None
    against: Path | None = None
    stores: tuple[Path, ...] = ()
    cache: Path | None = None


def findings_of(coco: Coco, asked: Asked) -> Found:
    """Findings and their proposed fixes, by position."""
    from trashkit.audit import read_settings
    from trashkit.audit.settings import FILE_NAME
    from trashkit.review.findings_file import read_findings

    config = asked.config if asked.config is not None else (Path(FILE_NAME) if Path(FILE_NAME).is_file() else None)
    settings = read_settings(config)
    if asked.file is not None:
        blocks = {block: coco.count(block) for block in coco.blocks()}
        found: list[Finding] = read_findings(asked.file, blocks)
        with progress() as report:
            return found, fixes_of(coco, found, settings, report)
    return _audited(coco, asked, settings)


def _audited(coco: Coco, asked: Asked, settings: Settings) -> Found:
    """An audit made now, or the one that was made of the same files before."""
    from trashkit.audit import audit
    from trashkit.coco import read
    from trashkit.review.findings_file import keep_found, kept_found, stamp

    kept = None
    if asked.cache is not None:
        names = [image.get("file_name") for image in coco.records("images") if isinstance(image, dict)]
        key = stamp(coco, repr(settings), images=asked.images, names=names, against=asked.against, stores=asked.stores)
        kept = asked.cache / f"{key}.json"
        there = kept_found(kept)
        if there is not None:
            note("the audit of these very files was kept: it is not made again")
            return there
    against = read(asked.against) if asked.against is not None else None
    with progress() as report:
        found = audit(
            coco,
            settings=settings,
            images=asked.images,
            against=against,
            predictions=asked.stores,
            progress=report,
        ).findings
        fixes = fixes_of(coco, found, settings, report)
    if kept is not None:
        keep_found(kept, found, fixes)
        return kept_found(kept) or (found, fixes)  # the same values whether made now or kept
    return found, fixes


def fixes_of(coco: Coco, findings: Sequence[Finding], settings: Settings, report: Any) -> dict[int, Fix]:
    """The proposed fix of each finding that has one: alone, and together with the others of its row."""
    from trashkit.audit.fix import propose
    from trashkit.review.room import Fix

    fixable = {n: finding for n, finding in enumerate(findings) if finding.fix is not None and finding.row is not None}
    together: dict[tuple[str, int | None], list[Edit]] = defaultdict(list)
    added: dict[tuple[str, str, Any], list[Edit]] = defaultdict(list)
    for edit in propose(coco, fixable.values(), unsafe=True, settings=settings):
        if edit.row is None:
            added[edit.author, edit.note, edit.after.get("image_id")].append(edit)
        else:
            together[edit.block, edit.row].append(edit)
    crowd = Counter((finding.block, finding.row) for finding in fixable.values())
    alone = _alone(coco, [f for f in fixable.values() if crowd[f.block, f.row] > 1], settings, report)
    fixes: dict[int, Fix] = {}
    for n, finding in fixable.items():
        chain = tuple(together[finding.block, finding.row])
        single = tuple(alone[finding.code, finding.block, finding.row])
        more = tuple(added[finding.code, finding.message, _image_id(coco, finding)])
        if chain or single or more:
            # What only adds changes nothing of its row: the row's chain is that of other findings.
            fixes[n] = Fix(single if more and crowd[finding.block, finding.row] > 1 else single or chain, chain, more)
    return {n: fix for n, fix in fixes.items() if fix.alone or fix.added}


def _alone(
    coco: Coco, findings: Sequence[Finding], settings: Settings, report: Any
) -> Mapping[tuple[str, str, int | None], list[Edit]]:
    """Edits that cure findings of one check each, by code and row."""
    from trashkit.audit.fix import propose

    by_code: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_code[finding.code].append(finding)
    alone: dict[tuple[str, str, int | None], list[Edit]] = defaultdict(list)
    for done, (code, some) in enumerate(by_code.items()):
        report("proposing fixes", done, len(by_code))
        for edit in propose(coco, some, unsafe=True, settings=settings):
            alone[code, edit.block, edit.row].append(edit)
    return alone


def _image_id(coco: Coco, finding: Finding) -> Any:
    """The image that annotations of a finding's proposal belong to."""
    record = coco.record(finding.block, finding.row or 0)
    key = "id" if finding.block == "images" else "image_id"
    return record.get(key) if isinstance(record, dict) else None
