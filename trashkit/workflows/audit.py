"""Audit an annotation file on disk with everything that belongs to it: photos, another file, waivers, a baseline."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.audit.baseline import read_baseline, without_known, without_waived
from trashkit.audit.engine import AuditResult, audit
from trashkit.audit.settings import Settings
from trashkit.audit.views.photo_folder import better_folder, wrong_folder
from trashkit.coco import Coco, read
from trashkit.progress import Progress, silent

if TYPE_CHECKING:
    from trashkit.images.near_duplicates import Matching


@dataclass(frozen=True)
class FileAudit:
    """An audited file.

    coco, against: the files. everything: all findings. result: findings that no waiver and no baseline accepts; its
    summary counts the accepted ones as ``waived`` and ``known``. warnings: messages about waivers and photos. folder:
    where most photos are missing, the folder that has them, or the one that was given if none has; else None.
    """

    coco: Coco
    against: Coco | None
    everything: AuditResult
    result: AuditResult
    warnings: tuple[str, ...] = ()
    folder: Path | None = None


def audit_file(
    annotations: Path,
    *,
    settings: Settings | None = None,
    images: Path | None = None,
    against: Path | None = None,
    near_duplicate_matching: Matching = "normal",
    predictions: Sequence[Path] = (),
    select: Collection[str] = (),
    ignore: Collection[str] = (),
    baseline: Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
) -> FileAudit:
    """Read and audit a COCO file, then leave out the findings that waivers or a baseline accept.

    annotations: the file, which may be damaged. against: another annotation file, such as the test set. baseline: a
    file written by `trashkit.audit.baseline.write_baseline`. Other arguments as in `trashkit.audit.audit`; waivers are
    in `settings`. Raises TrashkitError for files that cannot be read, unknown codes and invalid waivers.
    """
    settings = settings or Settings()
    coco = read(annotations)
    other = read(against) if against is not None else None
    everything = audit(
        coco,
        settings=settings,
        images=images,
        against=other,
        near_duplicate_matching=near_duplicate_matching,
        predictions=predictions,
        select=select,
        ignore=ignore,
        workers=workers,
        progress=progress,
    )
    result, warnings = _without_accepted(everything, settings, baseline)
    folder = None
    if images is not None:
        folder = better_folder(coco, images)
        missing, number, hint = wrong_folder(coco, images)
        if number and missing == number:
            warnings.append(f"none of the {number} photos is in {images}; {hint}")
    return FileAudit(coco, other, everything, result, tuple(warnings), folder)


def _without_accepted(result: AuditResult, settings: Settings, baseline: Path | None) -> tuple[AuditResult, list[str]]:
    """The result without waived and known findings, and warnings about waivers that accept nothing."""
    counts: dict[str, Any] = {}
    warnings = []
    findings = result.findings
    if settings.waivers:
        findings, waived, unused = without_waived(findings, settings.waivers)
        counts["waived"] = len(waived)
        codes = [settings.waivers[n].get("code") for n in unused]
        warnings = [
            f"waiver {n + 1} ({code}) no longer matches any finding" for n, code in zip(unused, codes, strict=True)
        ]
    if baseline is not None:
        new = without_known(findings, read_baseline(baseline))
        counts["known"] = len(findings) - len(new)
        findings = new
    return (result.with_findings(findings, **counts) if counts else result), warnings
