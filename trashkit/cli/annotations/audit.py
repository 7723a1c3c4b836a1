"""`trashkit audit`: find what is wrong with a COCO file and its photos."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Config, Html, Ignore, Json, NearDuplicateMatching, Overwrite, Select
from trashkit.cli.output import command, note, progress, show, table, unused, used_project, warn, write_json
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.audit import AuditResult
    from trashkit.coco import Coco
    from trashkit.finding import Finding
    from trashkit.workflows.audit import FileAudit


class FailOn(StrEnum):
    """The lowest severity at which the command exits with code 1."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class Format(StrEnum):
    """How findings are shown on stdout."""

    TABLE = "table"
    GITHUB = "github"


def audit(
    annotations: Annotated[
        Path | None, typer.Argument(metavar="ANN.json", help="COCO annotation file, valid or damaged. Never modified.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option("--images", "-i", help="Folder of the photos; checks them too.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="TEST.json", help="Another annotation file; reports what is in both."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            metavar="STORE",
            help="Out-of-fold predictions, or a run that has them; reports label errors. Repeatable.",
        ),
    ] = None,
    select: Select = None,
    ignore: Ignore = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="Exit with code 1 for findings of this severity or worse.")
    ] = FailOn.ERROR,
    html: Html = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Hide findings recorded in this file.")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Record all current findings in --baseline.")
    ] = False,
    config: Config = None,
    near_duplicate_matching: NearDuplicateMatching = "normal",
    format: Annotated[
        Format, typer.Option("--format", help="A table, or annotations for GitHub Actions.")
    ] = Format.TABLE,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain", metavar="CODE", help="Explain what a check finds and how to fix it; 'all' for every check."
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Number of processes; default: one per core for large files.")
    ] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Find what is wrong with annotations and photos, with a code, a severity and a fix.

    The exit code is 1 if there are findings of the severity --fail-on or worse. Thresholds, allow-lists and waivers
    come from the project file, trashkit.toml in the current folder or above.

    Examples:

      trashkit audit data/train.json

      trashkit audit data/train.json --images data --html audit.html

      trashkit audit data/train.json --against data/test.json --select S,L --fail-on warning

      trashkit audit data/train.json --predictions runs/folds --select P --fail-on never

      trashkit audit data/train.json --baseline known.json --write-baseline

      trashkit audit --explain G003
    """
    if explain is not None:
        _explain(explain, json)
        return
    if annotations is None:
        raise TrashkitError("no annotation file given", hint="trashkit audit ANN.json, or --explain all")
    if write_baseline and baseline is None:
        raise TrashkitError("--write-baseline needs --baseline", hint="add --baseline FILE")
    from trashkit.audit.settings import read_settings
    from trashkit.outputs import Output
    from trashkit.workflows.audit import audit_file

    if html is not None:
        Output(html, overwrite=overwrite).check()
    with progress() as report:
        audited = audit_file(
            annotations,
            settings=read_settings(config),
            images=images,
            against=against,
            near_duplicate_matching=near_duplicate_matching,
            predictions=predictions or (),
            select=list(filter(str.strip, select or ())),
            ignore=list(filter(str.strip, ignore or ())),
            baseline=None if write_baseline else baseline,
            workers=workers,
            progress=report,
        )
    if write_baseline and baseline is not None:
        _write_baseline(audited.everything, baseline, overwrite)
    for message in audited.warnings:
        warn(message)
    if html is not None:
        _write_page(audited, html, images, overwrite)
    given = [*(("--images", images) if images is not None else ()), *(("--against", against) if against else ())]
    result = audited.result
    _report(audited.coco, result, html, format, json, _next(audited, annotations, given))
    if result.fails("never" if write_baseline else fail_on.value):
        raise typer.Exit(1)


def _explain(wanted: str, json: bool) -> None:
    from trashkit.audit.reference import explain
    from trashkit.audit.registry import checks, find

    text = explain(wanted)
    found = checks().values() if wanted.strip().lower() == "all" else find(wanted)
    pages = [{"code": c.code, "name": c.name, "severity": c.severity.value, "page": c.page} for c in found]
    show({"checks": pages}, json=json, human=text.split("\n"))


def _write_baseline(result: AuditResult, path: Path, overwrite: bool) -> None:
    from trashkit.audit.baseline import write_baseline

    number = write_baseline(result.findings, path, overwrite=overwrite)
    note(f"wrote {path} with {number} known findings")


def _write_page(audited: FileAudit, path: Path, images: Path | None, overwrite: bool) -> None:
    from trashkit.audit.output.page import audit_page
    from trashkit.outputs import write_text

    with progress() as report:
        page = audit_page(audited.coco, audited.result, images=images, against=audited.against, progress=report)
    write_text(path, page, overwrite=overwrite)


def _next(audited: FileAudit, path: Path, given: list[object]) -> str:
    """The next command: a fix if there is one, an explanation of the worst error without a fix, or else the split.

    `trashkit fix` refuses files with repeated keys, and folders without the photos.
    """
    fixes = {finding.fix for finding in audited.result.findings}
    errors = [finding for finding in audited.result.findings if finding.severity == "error"]
    if audited.folder is not None and audited.folder not in given:
        return command("audit", path, "--images", audited.folder, *given[2:])
    if audited.coco.duplicate_keys or audited.folder is not None:
        return command("audit", "--explain", "S002" if audited.coco.duplicate_keys else "I001")
    if "safe" in fixes:
        return command("fix", path, "--diff", *given)
    if errors and "unsafe" in fixes:
        return command("fix", path, "--unsafe", "--diff", *given)
    if errors:
        return command("audit", "--explain", errors[0].code)
    photos = given[:2] if "--images" in given else []
    return command("split", path, *photos, "--out", unused("split.json"))


def _report(coco: Coco, result: AuditResult, html: Path | None, format: Format, json: bool, next: str) -> None:
    if json:
        from trashkit.audit.output.findings_json import json_pieces

        write_json(piece.decode() for piece in json_pieces(result, used_project()))
        for line in (_sentence(result), *([f"wrote {html}"] if html else []), f"next: {next}"):
            note(line)
        return
    if format is Format.GITHUB:
        from trashkit.audit.output.github import github_lines

        for line in github_lines(coco, result.findings):
            sys.stdout.write(line + "\n")  # names in it are escaped, but not the command itself
        note(_sentence(result))
        return
    show(None, human=_summary(result), wrote=html, next=next)


def _sentence(result: AuditResult) -> str:
    summary = result.summary
    severities = ", ".join(f"{number} {severity}" for severity, number in summary["by_severity"].items())
    left_out = "".join(f", {summary[word]} {word}" for word in ("waived", "known") if word in summary)
    return (
        f"{summary['images']} images, {summary['annotations']} annotations, {summary['categories']} categories: "
        f"{summary['findings']} finding{'' if summary['findings'] == 1 else 's'} ({severities}{left_out})"
    )


def _summary(result: AuditResult) -> list[Any]:
    """A table with a line for each code, worst first: the count and the worst case."""
    worst: dict[str, Finding] = {}
    for finding in result.findings:
        kept = worst.get(finding.code)
        if kept is None or (finding.score or 0.0) > (kept.score or 0.0):
            worst[finding.code] = finding
    rows = [
        (one.code, one.name, one.severity.value, result.summary["by_code"][one.code], one.fix or "", _case(one))
        for one in sorted(worst.values(), key=lambda one: (one.severity.rank, one.code))
    ]
    if not rows:
        return [_sentence(result), "no findings"]
    shown = table(("code", "name", "severity", "count", "fix", "worst case"), rows)
    return [_sentence(result), shown, "trashkit audit --explain CODE describes a check and how to fix what it finds."]


def _case(finding: Finding) -> str:
    if finding.annotation_id is not None:
        return f"annotation {finding.annotation_id}: {finding.message}"
    if finding.block == "images" and finding.row is not None:
        return f"{finding.file_name or f'images[{finding.row}]'}: {finding.message}"
    return str(finding.message)
