"""Findings on disk: from what ``audit --json`` printed, and those that an earlier review of the same files made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trashkit
from trashkit.coco import Coco
from trashkit.coco.dataset import decode, encode
from trashkit.coco.edit import Edit
from trashkit.coco.edit_log import from_record, to_record
from trashkit.errors import TrashkitError
from trashkit.files import write_bytes
from trashkit.finding import Finding, Severity
from trashkit.review.room import Fix

KEPT = 20
"""Audits that are kept; the oldest goes first."""


def read_finding(record: Any) -> Finding:
    """A finding from its JSON object, as `audit --json` writes it. Raises ValueError for what is none."""
    if not isinstance(record, dict):
        raise ValueError("is not an object")
    names = {field.name for field in dataclasses.fields(Finding)}
    missing = [name for name in ("code", "name", "severity", "block", "row", "message") if name not in record]
    if missing:
        raise ValueError(f'has no "{missing[0]}"')
    known = {key: value for key, value in record.items() if key in names}
    row = known["row"]
    if row is not None and (type(row) is not int or row < 0):
        raise ValueError('has a "row" that is no row number')
    related = tuple(one for one in known.get("related") or () if type(one) is int)
    return Finding(**{**known, "severity": Severity(known["severity"]), "related": related})


def read_findings(path: Path, blocks: dict[str, int]) -> list[Finding]:
    """Findings from the JSON that `audit --json` prints.

    blocks: how many rows each block of the annotation file has. TrashkitError, with the place, for what is no finding
    and for rows that the file lacks.
    """
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise TrashkitError(
            f"{path} cannot be read: {error}", hint="trashkit audit ANN.json --json > F.json"
        ) from error
    records = value.get("findings") if isinstance(value, dict) else value
    if not isinstance(records, list):
        raise TrashkitError(f"{path} has no findings", hint="trashkit audit ANN.json --json > F.json")
    found = []
    for n, record in enumerate(records):
        try:
            finding = read_finding(record)
            if finding.row is not None and finding.row >= blocks.get(finding.block, 0):
                raise ValueError(f"is about {finding.block}[{finding.row}], which the annotation file lacks")
        except ValueError as error:
            hint = "make the findings from this annotation file: trashkit audit ANN.json --json > F.json"
            raise TrashkitError(f"{path}: findings[{n}] {error}", hint=hint) from error
        found.append(finding)
    return found


def as_value(findings: Iterable[Finding], fixes: Mapping[int, Fix]) -> dict[str, Any]:
    """Findings and fixes as JSON values."""
    return {
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "fixes": [
            [n, *([to_record(edit) for edit in some] for some in (fix.alone, fix.together, fix.added))]
            for n, fix in fixes.items()
        ],
    }


def from_value(value: Mapping[str, Any]) -> tuple[list[Finding], dict[int, Fix]]:
    """What `as_value` made values of."""
    findings = [read_finding(record) for record in value["findings"]]
    return findings, {n: Fix(*map(_edits, parts)) for n, *parts in value["fixes"]}


def _edits(records: list[Any]) -> tuple[Edit, ...]:
    return tuple(from_record(record) for record in records)


def stamp(
    coco: Coco,
    settings: str,
    *,
    images: Path | None,
    names: Sequence[Any],
    against: Path | None,
    stores: Sequence[Path],
) -> str:
    """Changes with anything that an audit's result depends on: files, photos by size and time, thresholds, checks."""
    checks = sorted((Path(trashkit.__file__).parent / "audit").rglob("*.py"))
    parts: list[Any] = [trashkit.__version__, coco.sha256, settings, images and str(images.resolve())]
    parts += map(time_of, checks)
    if images is not None:
        parts += [time_of(images / name) for name in names if isinstance(name, str) and "\0" not in name]
    parts += [str(against and against.resolve()), time_of(against) if against else None]
    for store in stores:
        parts += [str(store.resolve()), *(time_of(file) for file in sorted(store.iterdir()))]
    return hashlib.sha256(repr(parts).encode(errors="surrogatepass")).hexdigest()[:24]


def time_of(path: Path) -> tuple[int, int] | None:
    """(time of the last change, size) of a file; None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def kept_found(path: Path) -> tuple[list[Finding], dict[int, Fix]] | None:
    """Findings and fixes that `keep_found` wrote; None where there are none that can be read."""
    try:
        return from_value(decode(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep_found(path: Path, findings: Iterable[Finding], fixes: Mapping[int, Fix]) -> None:
    """Keep findings and fixes for the next time, in place of the oldest ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, bytes(encode(as_value(findings, fixes))), overwrite=True)
    for old in sorted(path.parent.glob("*.json"), key=lambda one: one.stat().st_mtime)[:-KEPT]:
        old.unlink(missing_ok=True)
