"""``trashkit audit``: what is wrong with a COCO file, and with its photos."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Json, Overwrite, command, note, printable, progress, show, table, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.audit import AuditResult, Settings
    from trashkit.coco import Coco

SETTINGS_FILE = "trashkit.toml"


class FailOn(StrEnum):
    """The mildest severity at which the command exits with 1."""

    ERROR = "error"
    WARNING = "warning"
    NEVER = "never"


class Format(StrEnum):
    """How findings are shown on stdout."""

    TABLE = "table"
    GITHUB = "github"


def audit(
    annotations: Annotated[
        Path | None, typer.Argument(metavar="ANN.json", help="COCO annotation file, sound or damaged. Not changed.")
    ] = None,
    images: Annotated[Path | None, typer.Option("--images", help="Folder of the photos: checks them too.")] = None,
    against: Annotated[
        Path | None, typer.Option("--against", metavar="TEST.json", help="Another file: finds what is in both.")
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions", metavar="STORE", help="Out-of-fold predictions, or the run that has them: label errors."
        ),
    ] = None,
    select: Annotated[
        list[str] | None,
        typer.Option("--select", metavar="CODES", help="Only these checks: G003, G or invalid-ring; commas between."),
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODES", help="Leave these checks out.")
    ] = None,
    fail_on: Annotated[
        FailOn, typer.Option("--fail-on", help="Exit with 1 at findings this bad or worse.")
    ] = FailOn.ERROR,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write one self-contained page.")] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="Leave out findings that this file knows.")
    ] = None,
    write_baseline: Annotated[
        bool, typer.Option("--write-baseline", help="Write all findings of today to --baseline as known.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar=SETTINGS_FILE, help="Thresholds, allow-lists and waivers.")
    ] = None,
    format: Annotated[
        Format, typer.Option("--format", help="Table for people, or annotations for GitHub Actions.")
    ] = Format.TABLE,
    explain: Annotated[
        str | None, typer.Option("--explain", metavar="CODE", help="Say what a check finds and how to cure it; or all.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes; default: one for each core, for large files.")
    ] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """List what is wrong with a COCO file, by row, with a code, a severity and a cure.

    Exit code 1 when there are findings at least as bad as --fail-on. Thresholds, allow-lists and waivers come from
    trashkit.toml in the current folder, or --config.

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
        raise TrashkitError("there is no file to audit", hint="trashkit audit ANN.json, or --explain all")
    if write_baseline and baseline is None:
        raise TrashkitError("--write-baseline needs to know where", hint="add --baseline FILE")
    from trashkit.audit import audit as run_audit
    from trashkit.audit import read_settings
    from trashkit.coco import read
    from trashkit.files import refuse_existing

    if html is not None:
        refuse_existing(html, overwrite=overwrite)
    settings = read_settings(_settings_file(config))
    coco = read(annotations)
    other = read(against) if against is not None else None
    with progress() as report:
        result = run_audit(
            coco,
            settings=settings,
            images=images,
            against=other,
            predictions=_stores(predictions),
            select=_codes(select),
            ignore=_codes(ignore),
            workers=workers,
            progress=report,
        )
    if write_baseline and baseline is not None:
        _write_baseline(result, baseline, overwrite)
    result = _accepted(result, settings, None if write_baseline else baseline)
    if html is not None:
        _write_page(coco, result, html, images, other, overwrite)
    if images is not None:
        _note_wrong_folder(coco, images)
    given = [*(("--images", images) if images is not None else ()), *(("--against", against) if against else ())]
    _report(coco, result, html, format, json, _next(coco, result, annotations, given))
    if result.fails("never" if write_baseline else fail_on.value):
        raise typer.Exit(1)


def _note_wrong_folder(coco: Coco, images: Path) -> None:
    from trashkit.audit.photo_folder import wrong_folder

    missing, number, hint = wrong_folder(coco, images)
    if number and missing == number:
        warn(f"none of the {number} photos is in {images}; {hint}")


def _codes(options: list[str] | None) -> list[str]:
    return [code for option in options or () for code in option.split(",") if code.strip()]


def _stores(given: list[Path] | None) -> list[Path]:
    """Stores named by option, a run folder standing for its out-of-fold stores."""
    if not given:
        return []
    from trashkit.predictions import out_of_fold

    return [path for one in given for path in out_of_fold(one)]


def _settings_file(config: Path | None) -> Path | None:
    here = Path(SETTINGS_FILE)
    return config if config is not None else (here if here.is_file() else None)


def _explain(wanted: str, json: bool) -> None:
    from trashkit.audit.reference import explain
    from trashkit.audit.registry import checks, find

    text = explain(wanted)
    found = checks().values() if wanted.strip().lower() == "all" else find(wanted)
    pages = [{"code": c.code, "name": c.name, "severity": c.severity.value, "page": c.page} for c in found]
    show({"checks": pages}, json=json, human=text)


def _write_baseline(result: AuditResult, path: Path, overwrite: bool) -> None:
    from trashkit.audit.baseline import write_baseline

    number = write_baseline(result.findings, path, overwrite=overwrite)
    note(f"wrote {path}: {number} findings are known from now on")


def _accepted(result: AuditResult, settings: Settings, baseline: Path | None) -> AuditResult:
    """The result without findings that a waiver or the baseline accepts."""
    from trashkit.audit.baseline import read_baseline, without_known, without_waived

    more: dict[str, Any] = {}
    findings = result.findings
    if settings.waivers:
        findings, waived, unused = without_waived(findings, settings.waivers)
        more["waived"] = len(waived)
        for n in unused:
            warn(f"waiver {n + 1} ({settings.waivers[n].get('code')}) accepts nothing any more")
    if baseline is not None:
        new = without_known(findings, read_baseline(baseline))
        more["known"] = len(findings) - len(new)
        findings = new
    return result.with_findings(findings, **more) if more else result


def _write_page(
    coco: Coco, result: AuditResult, path: Path, images: Path | None, other: Coco | None, overwrite: bool
) -> None:
    from trashkit.audit.page import audit_page
    from trashkit.files import write_text

    with progress() as report:
        page = audit_page(coco, result, images=images, against=other, progress=report)
    write_text(path, page, overwrite=overwrite)


def _next(coco: Coco, result: AuditResult, path: Path, given: list[object]) -> str:
    """What to type next: a fix where there is one; with errors that have none what the worst means, else the split."""
    fixes = {finding.fix for finding in result.findings}
    errors = [finding for finding in result.findings if finding.severity == "error"]
    if coco.repeated:  # which no fix takes
        return command("audit", "--explain", "S002")
    if "safe" in fixes:
        return command("fix", path, "--diff")
    if errors and "unsafe" in fixes:
        return command("fix", path, "--unsafe", "--diff", *given)
    if errors:
        return command("audit", "--explain", errors[0].code)
    return command("split", path, "--out", "split.json")


def _report(coco: Coco, result: AuditResult, html: Path | None, format: Format, json: bool, next: str) -> None:
    if json:
        from trashkit.audit.findings_json import json_pieces

        sys.stdout.flush()
        for piece in json_pieces(result):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
        note(f"{_sentence(result)}\n" + (f"wrote {html}\n" if html else "") + f"next: {next}")
        return
    if format is Format.GITHUB:
        from trashkit.audit.github import github_lines

        for line in github_lines(coco, result.findings):
            sys.stdout.write(printable(line) + "\n")
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
    """For people: a line for each code, worst first, with how many and the worst case."""
    worst: dict[str, Any] = {}
    for finding in result.findings:
        kept = worst.get(finding.code)
        if kept is None or (finding.score or 0.0) > (kept.score or 0.0):
            worst[finding.code] = finding
    rows = [
        (one.code, one.name, one.severity.value, result.summary["by_code"][one.code], one.fix or "", _case(one))
        for one in sorted(worst.values(), key=lambda one: (one.severity.rank, one.code))
    ]
    if not rows:
        return [_sentence(result), "nothing to report"]
    shown = table(("code", "name", "severity", "count", "fix", "worst case"), rows)
    return [_sentence(result), shown, "trashkit audit --explain CODE says what a check finds and how to cure it."]


def _case(finding: Any) -> str:
    if finding.annotation_id is not None:
        return f"annotation {finding.annotation_id}: {finding.message}"
    if finding.block == "images" and finding.row is not None:
        return f"{finding.file_name or f'images[{finding.row}]'}: {finding.message}"
    return str(finding.message)
