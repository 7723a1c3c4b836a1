"""Findings on disk: the output of ``audit --json``, and a cache of the audits that reviews have made."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict

import trashkit
from trashkit.coco import Coco
from trashkit.coco.dataset import encode
from trashkit.edits.edit import Edit
from trashkit.edits.log import from_record, to_record
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.finding import Finding, Severity, finding_type
from trashkit.outputs import write_bytes
from trashkit.readers import LARGE, ContentError, checked, decode_json, read_bytes, read_json
from trashkit.review.session import ProposedFix

CACHED_AUDITS = 20
"""Audits that are kept; the oldest is deleted first."""


class _Proposal(TypedDict, total=False):
    delete: bool
    set: dict[str, Any]
    add: list[dict[str, Any]]


class _FindingRecord(TypedDict):
    """Types of a finding in a file, see `trashkit.finding.Finding`."""

    code: str
    name: str
    severity: Literal["error", "warning", "info"]
    block: str
    row: int | None
    message: str
    annotation_id: NotRequired[int | float | str | None]
    image_id: NotRequired[int | float | str | None]
    file_name: NotRequired[str | None]
    score: NotRequired[float | None]
    fix: NotRequired[Literal["safe", "unsafe"] | None]
    related: NotRequired[list[Any] | None]
    related_count: NotRequired[int]
    proposal: NotRequired[_Proposal | None]


_NAMES = {field.name for field in dataclasses.fields(Finding)}
_NEEDED = ("code", "name", "severity", "block", "row", "message")
HINT = "trashkit audit ANN.json --json > F.json"


def read_finding(record: Any) -> Finding:
    """A finding from its JSON object, as `audit --json` writes it. Raises ValueError for anything else."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    missing = next((name for name in _NEEDED if name not in record), None)
    if missing is not None:
        raise ValueError(f'has no "{missing}"')
    try:
        checked(record, _FindingRecord)
    except ContentError as error:
        raise ValueError(f"is not a finding: {error}") from error
    known = {key: value for key, value in record.items() if key in _NAMES}
    row = known["row"]
    if row is not None and row < 0:
        raise ValueError('has a "row" that is not a row number')
    related = tuple(one for one in known.get("related") or () if type(one) is int and one >= 0)
    return finding_type(row)(**{**known, "severity": Severity(known["severity"]), "related": related})


def read_findings(path: Path, blocks: dict[str, int]) -> list[Finding]:
    """Findings from the JSON that `audit --json` prints.

    blocks: how many rows each block of the annotation file has. Raises TrashkitError, naming the entry, for entries
    that are not findings and for rows that the file lacks.
    """
    value = read_json(path, hint=HINT, most=LARGE)
    records = value.get("findings") if isinstance(value, dict) else value
    if not isinstance(records, list):
        raise TrashkitError(f"{path} does not contain findings", hint=HINT)
    found = []
    for n, record in enumerate(records):
        try:
            finding = read_finding(record)
            check_rows(finding, blocks)
        except ValueError as error:
            hint = f"audit this annotation file: {HINT}"
            raise TrashkitError(f"{path}: findings[{n}] {error}", hint=hint) from error
        found.append(finding)
    return found


def check_rows(finding: Finding, blocks: Mapping[str, int]) -> None:
    """Raise ValueError for a finding about a row that the annotation file lacks. blocks: numbers of rows."""
    for row in (finding.row, *finding.related):
        if row is not None and row >= blocks.get(finding.block, 0):
            raise ValueError(f"is about {finding.block}[{row}], which the annotation file does not have")


def as_value(findings: Iterable[Finding], fixes: Mapping[int, ProposedFix]) -> dict[str, Any]:
    """Findings and fixes as JSON values."""
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "fixes": [
            [n, *([to_record(edit) for edit in some] for some in (fix.edits, fix.row_edits, fix.additions))]
            for n, fix in fixes.items()
        ],
    }


class _Value(TypedDict):
    findings: list[Any]
    fixes: list[tuple[int, list[Any], list[Any], list[Any]]]


def from_value(value: Any) -> tuple[list[Finding], dict[int, ProposedFix]]:
    """The inverse of `as_value`. Raises ValueError for anything else."""
    found: _Value = checked(value, _Value)
    findings = [read_finding(record) for record in found["findings"]]
    if not all(0 <= n < len(findings) for n, *_ in found["fixes"]):
        raise ValueError("has a fix of a finding that it lacks")
    return findings, {n: ProposedFix(*map(_edits, parts)) for n, *parts in found["fixes"]}


def _edits(records: list[Any]) -> tuple[Edit, ...]:
    return tuple(from_record(record) for record in records)


def audit_key(
    coco: Coco,
    settings: str,
    *,
    images: Path | None,
    names: Sequence[Any],
    against: Path | None,
    stores: Sequence[Path],
) -> str:
    """A key that changes with everything an audit depends on: files, photos by size and time, settings, checks.

    names: file names of the photos in `images`.
    """
    package = Path(trashkit.__file__).parent
    checks = sorted(file for part in ("audit", "label_errors") for file in (package / part).rglob("*.py"))
    parts: list[Any] = [trashkit.__version__, coco.sha256, settings, images and str(real_path(images))]
    parts += map(time_and_size, checks)
    if images is not None:
        parts += [time_and_size(images / name) for name in names if isinstance(name, str) and "\0" not in name]
    parts += [str(against and real_path(against)), time_and_size(against) if against else None]
    for store in stores:
        parts += [str(real_path(store)), *(time_and_size(file) for file in sorted(store.iterdir()))]
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:24]


def time_and_size(path: Path) -> tuple[int, int] | None:
    """(time of the last change in ns, size in bytes) of a file; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def read_cached_audit(path: Path) -> tuple[list[Finding], dict[int, ProposedFix]] | None:
    """Findings and fixes that `cache_audit` wrote; None if there is no readable file."""
    try:
        return from_value(decode_json(read_bytes(path, most=LARGE)))
    except (OSError, ValueError):
        return None


def cache_audit(path: Path, findings: Iterable[Finding], fixes: Mapping[int, ProposedFix]) -> None:
    """Write findings and fixes to the cache, and delete the oldest ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, bytes(encode(as_value(findings, fixes))), overwrite=True)
    for old in sorted(path.parent.glob("*.json"), key=lambda one: time_and_size(one) or (0, 0))[:-CACHED_AUDITS]:
        old.unlink(missing_ok=True)
