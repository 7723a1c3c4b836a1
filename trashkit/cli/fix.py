"""`trashkit fix`: mend an annotation file, or apply an edit log to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.output import Json, Overwrite, command, note, progress, show, table, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco.dataset import Coco
    from trashkit.coco.edit import Edit


def fix(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file. It is not changed.")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FIXED.json", help="Where to write the result.")] = None,
    unsafe: Annotated[
        bool, typer.Option("--unsafe", help="Also fix what changes masks or deletes annotations; look at --diff first.")
    ] = False,
    select: Annotated[
        list[str] | None, typer.Option("--select", metavar="CODES", help="Fix only these checks.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="CODES", help="Leave these checks' findings alone.")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", metavar="DIR", help="Folder of the photos; --unsafe takes missing and damaged ones out."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", metavar="TEST.json", help="Another file; --unsafe takes out what leaked into it."),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions", metavar="STORE", help="Out-of-fold predictions; --unsafe mends label errors they show."
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option("--edits", metavar="LOG.jsonl", help="Apply this edit log (of a review, say) and nothing else."),
    ] = None,
    respect: Annotated[
        Path | None,
        typer.Option("--respect", metavar="LOG.jsonl", help="Leave alone what this log rejects to have fixed."),
    ] = None,
    write_edits: Annotated[
        Path | None, typer.Option("--write-edits", metavar="LOG.jsonl", help="Append what was done to this edit log.")
    ] = None,
    despeckle: Annotated[
        int | None,
        typer.Option(
            "--despeckle",
            metavar="3|5",
            help="Instead: fill pin-holes between annotations by a 3x3 or 5x5 mode filter.",
        ),
    ] = None,
    fill_holes: Annotated[
        int | None,
        typer.Option(
            "--fill-holes", metavar="PIXELS", help="Instead: fill holes of up to so many pixels inside annotations."
        ),
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show each change, before and after; write nothing.")] = False,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="trashkit.toml", help="Thresholds of the checks.")
    ] = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Fix what can be fixed without changing masks, and record every change.

    A fix is safe when the rasterised mask stays the same but for a few pixels on its outline. Annotations that need
    nothing keep their exact text. Fixing the result again changes nothing, and `trashkit edits invert` takes it back.

    Examples:

      trashkit fix ANN.json --diff

      trashkit fix ANN.json --out FIXED.json --write-edits edits.jsonl

      trashkit fix ANN.json --out FIXED.json --unsafe --select G,S013

      trashkit fix ANN.json --out FIXED.json --unsafe --images PHOTOS --against TEST.json

      trashkit fix ANN.json --predictions runs/folds --unsafe --select P001 --diff

      trashkit fix ANN.json --out REVIEWED.json --edits review.jsonl

      trashkit fix ANN.json --out FILLED.json --despeckle 3 --fill-holes 25 --write-edits despeckle.jsonl
    """
    from trashkit.coco import read, write
    from trashkit.coco.edit_log import append_log, log_to_go_on, to_record
    from trashkit.files import refuse_existing

    if out is None and not diff:
        raise TrashkitError(
            "there is nowhere to write the fixed file", hint="add --out FIXED.json, or --diff to look at the changes"
        )
    if out is not None and not diff:
        refuse_existing(out, overwrite=overwrite)
    coco = read(annotations)
    if edits is not None:
        fixed, made, summary = _apply(coco, edits)
    elif despeckle is not None or fill_holes is not None:
        fixed, made, summary = _fill(coco, despeckle, fill_holes)
    else:
        fixed, made, summary = _fix(
            coco,
            respect,
            config,
            unsafe=unsafe,
            select=_codes(select or []),
            ignore=_codes(ignore or []),
            images=images,
            against=read(against) if against is not None else None,
            predictions=_stores(predictions),
        )
    summary = {"edits": len(made), **summary}
    if diff:
        shown = {"summary": summary, "edits": [to_record(edit) for edit in made]}
        show(shown, json=json, human=[*_described(made), _sentence(summary)])
        return
    assert out is not None
    if write_edits is not None:
        refuse_existing(write_edits, overwrite=True)
        log_to_go_on(write_edits, made)
    write(fixed, out, overwrite=overwrite)
    if write_edits is not None:
        append_log(write_edits, made)
        note(f"edits in {write_edits}")
    result = {"out": out, "log": write_edits, "edits": len(made), "summary": summary}
    show(result, json=json, human=_report(made, summary), wrote=out, next=command("audit", out))


def _apply(coco: Coco, log: Path) -> tuple[Coco, list[Edit], dict[str, Any]]:
    from trashkit.coco.edit_log import read_log
    from trashkit.coco.edits import apply

    edits, torn = read_log(log)
    if torn:
        warn(torn)
    return apply(coco, edits), [edit for edit in edits if not edit.is_decision], {"kept_back": 0}


def _fix(
    coco: Coco, respect: Path | None, config: Path | None, **options: Any
) -> tuple[Coco, list[Edit], dict[str, Any]]:
    from trashkit.audit.fix import fix as run
    from trashkit.audit.settings import FILE_NAME, read_settings
    from trashkit.coco.edit_log import read_log

    if config is None and Path(FILE_NAME).exists():
        config = Path(FILE_NAME)
        note(f"thresholds from {config}")
    decisions = read_log(respect).edits if respect is not None else []
    with progress() as report:
        result = run(
            coco,
            settings=read_settings(config),
            decisions=decisions,
            progress=report,
            **options,
        )
    for message in result.told:
        warn(message)
    summary: dict[str, Any] = {"kept_back": result.kept_back, "rejected": result.rejected}
    if options.get("predictions"):
        summary["without_fix"] = result.without
    return result.coco, result.edits, summary


def _stores(given: list[Path] | None) -> list[Path]:
    if not given:
        return []
    from trashkit.predictions import out_of_fold

    return [path for one in given for path in out_of_fold(one)]


def _codes(options: Sequence[str]) -> list[str]:
    return [code.strip() for option in options for code in option.split(",") if code.strip()]


def _fill(coco: Coco, despeckle: int | None, fill_holes: int | None) -> tuple[Coco, list[Edit], dict[str, Any]]:
    from trashkit.audit.pinholes import fill
    from trashkit.coco.edits import apply

    with progress() as report:
        filled = fill(coco, despeckle=despeckle, fill_holes=fill_holes or 0, progress=report)
    if filled.skipped:
        said = "; ".join(filled.skipped[:10])
        more = f"; and {len(filled.skipped) - 10} more" if len(filled.skipped) > 10 else ""
        note(f"left alone, since they cannot be drawn (`trashkit audit` tells more): {said}{more}")
    summary = {"kept_back": 0, "classes": filled.classes, "skipped": list(filled.skipped)}
    return apply(coco, filled.edits), filled.edits, summary


def _described(edits: Sequence[Edit]) -> list[str]:
    from trashkit.coco.edit_text import describe

    return [line for edit in edits for line in describe(edit)]


def _sentence(summary: dict[str, Any]) -> str:
    text = f"{summary['edits']} edits"
    if summary.get("kept_back"):
        text += f", {summary['kept_back']} more with --unsafe"
    if summary.get("rejected"):
        text += f", {summary['rejected']} rejected by a reviewer"
    if summary.get("without_fix"):
        by_code = ", ".join(f"{number} of {code}" for code, number in summary["without_fix"].items())
        text += f"; findings without a fix, left as they are: {by_code} (`trashkit audit` says why for each)"
    return text


def _report(edits: Sequence[Edit], summary: dict[str, Any]) -> list[Any]:
    from collections import Counter

    counts = Counter((edit.author, edit.reason, edit.kind) for edit in edits)
    shown: list[Any] = []
    if counts:
        shown.append(
            table(["by", "reason", "kind", "edits"], [[*key, number] for key, number in sorted(counts.items())])
        )
    if summary.get("classes"):
        columns = ["class", "pixels before", "after", "parts before", "after", "holes before", "after"]
        shown.append(table(columns, [[name, *counts.values()] for name, counts in summary["classes"].items()]))
    return [*shown, _sentence(summary)]
