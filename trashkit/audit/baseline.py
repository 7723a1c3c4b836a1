"""Accepted findings: those recorded in a baseline file, and those that waivers in trashkit.toml accept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.finding import Finding
from trashkit.outputs import write_text
from trashkit.readers import ContentError, decode_json, read_bytes

FORMAT = "trashkit audit baseline"
WAIVER_KEYS = ("code", "annotation_id", "image_id", "file_name", "reason")


def key(finding: Finding) -> str:
    """The identity of a finding in a baseline: its code and the ids it is about, which do not change when rows move.

    The row is used only if the finding has no id; the message is not used, since numbers in it may change.
    """
    about = [finding.annotation_id, finding.image_id, finding.file_name]
    where = about if any(value is not None for value in about) else [finding.row]
    return json.dumps([finding.code, finding.block, *where], ensure_ascii=False)


def write_baseline(findings: Iterable[Finding], path: Path, *, overwrite: bool = False) -> int:
    """Write a baseline and return the number of findings. With `overwrite`, only an existing baseline is replaced."""
    if overwrite and path.exists():
        read_baseline(path)
    counts = Counter(key(finding) for finding in findings)
    content = {"format": FORMAT, "version": 1, "known": dict(sorted(counts.items()))}
    write_text(path, json.dumps(content, ensure_ascii=False, indent=0) + "\n", overwrite=overwrite)
    return sum(counts.values())


def read_baseline(path: Path) -> Counter[str]:
    """Known findings and their counts. Raises TrashkitError for a missing file and for files of another kind."""
    try:
        content = decode_json(read_bytes(path))
    except OSError as error:
        hint = "create it: trashkit audit ANN.json --baseline FILE --write-baseline"
        raise TrashkitError(f"the baseline {path} cannot be read: {read_error_reason(error)}", hint=hint) from error
    except ContentError as error:
        raise TrashkitError(
            f"the baseline {path} is not JSON: {error}", hint="give a baseline, or the name of a new file"
        ) from error
    known = content.get("known") if isinstance(content, dict) and content.get("format") == FORMAT else None
    if not isinstance(known, dict) or not all(type(count) is int for count in known.values()):
        raise TrashkitError(f"{path} is not a baseline of trashkit audit", hint="use a new file with --write-baseline")
    return Counter(known)


def without_known(findings: Iterable[Finding], known: Counter[str]) -> list[Finding]:
    """Findings that are not in the baseline, or more often than there."""
    left = Counter(known)
    new = []
    for finding in findings:
        name = key(finding)
        if left[name] > 0:
            left[name] -= 1
        else:
            new.append(finding)
    return new


def without_waived(
    findings: Sequence[Finding], waivers: Sequence[Mapping[str, Any]]
) -> tuple[list[Finding], list[Finding], list[int]]:
    """Findings that no waiver accepts, findings that a waiver accepts, and positions of waivers that accept none.

    A waiver has ``code``, ``reason`` and at least one of ``annotation_id``, ``image_id`` and ``file_name``, where
    ``*`` in a file name matches anything. All of these must match.
    Raises TrashkitError for waivers without code, reason or place, and with unknown keys.
    """
    for n, waiver in enumerate(waivers, 1):
        unknown = [name for name in waiver if name not in WAIVER_KEYS]
        places = [name for name in WAIVER_KEYS[1:4] if name in waiver]
        if unknown or not places or not waiver.get("code") or not str(waiver.get("reason", "")).strip():
            problem = f"has the unknown key {unknown[0]!r}" if unknown else "needs code, reason, and an id or file name"
            raise TrashkitError(
                f"waiver {n} {problem}",
                hint='[[audit.waivers]] code = "G003", annotation_id = 17, reason = "drawn like this on purpose"',
            )
    kept: list[Finding] = []
    accepted: list[Finding] = []
    used: set[int] = set()
    by_code: dict[str, list[int]] = {}
    for n, waiver in enumerate(waivers):
        by_code.setdefault(str(waiver["code"]), []).append(n)
    for finding in findings:
        fitting = [n for n in by_code.get(finding.code, []) if _fits(finding, waivers[n])]
        used.update(fitting)
        (accepted if fitting else kept).append(finding)
    return kept, accepted, [n for n in range(len(waivers)) if n not in used]


def _fits(finding: Finding, waiver: Mapping[str, Any]) -> bool:
    for name in ("annotation_id", "image_id"):
        if name in waiver and waiver[name] != getattr(finding, name):
            return False
    return "file_name" not in waiver or fnmatchcase(finding.file_name or "", str(waiver["file_name"]))
