"""Findings as workflow commands, which GitHub shows as annotations of a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from trashkit.coco import Coco
from trashkit.finding import Finding, Severity
from trashkit.names import printable

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}


def github_lines(coco: Coco, findings: Iterable[Finding], *, limit: int = 50) -> Iterator[str]:
    """One ``::error file=...,line=...::message`` for each of the worst findings, at most `limit` of them.

    GitHub shows at most ten of each level per step. Lines of the annotation file count from 1.
    """
    chosen = sorted(findings, key=lambda finding: finding.severity.rank)[:limit]
    lines = _lines(coco, {(finding.block, finding.row) for finding in chosen if finding.row is not None})
    for finding in chosen:
        place = [f"file={_property(str(coco.path or ''))}"]
        line = lines.get((finding.block, finding.row)) if finding.row is not None else None
        if line is not None:
            place.append(f"line={line}")
        place.append(f"title={_property(f'{finding.code} {finding.name}')}")
        about = f"{finding.file_name}: " if finding.file_name else ""
        if finding.annotation_id is None and not finding.file_name and finding.row is not None:
            about = f"{finding.block}[{finding.row}]: "
        about += f"annotation {finding.annotation_id}: " if finding.annotation_id is not None else ""
        yield f"::{LEVELS[finding.severity]} {','.join(place)}::{_data(about + finding.message)}"


def _lines(coco: Coco, wanted: set[tuple[str, int | None]]) -> dict[tuple[str, int | None], int]:
    """The line at which each wanted row starts in the source file."""
    found: dict[tuple[str, int | None], int] = {}
    source = coco.source
    if source is None:
        return found
    for block in coco.blocks():
        rows = sorted(row for name, row in wanted if name == block and row is not None)
        if not rows:
            continue
        # Rows are in file order, so each search starts where the last one ended.
        position = max(source.find(f'"{block}"'.encode()), 0)
        for row, raw in enumerate(coco.rows(block)[: rows[-1] + 1]):
            text = bytes(raw)
            at = source.find(text, position)
            if at < 0:
                break
            position = at + len(text)
            if (block, row) in wanted:
                found[block, row] = source.count(b"\n", 0, at) + 1
    return found


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
