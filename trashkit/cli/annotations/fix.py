"""`trashkit fix`: fix an annotation file, or apply an edit log to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Annotations, Config, Ignore, Json, NearDuplicateMatching, Overwrite, Select
from trashkit.cli.output import command, note, progress, show, table, unused, warn
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.edits.edit import Edit


def fix(
    annotations: Annotations,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FIXED.json", help="Annotation file to write.")
    ] = None,
    unsafe: Annotated[
        bool,
        typer.Option(
            "--unsafe",
            help="Also apply fixes that change masks by more, restore damaged ones where other values prove what was "
            "meant, or delete what nothing can restore; check --diff first.",
        ),
    ] = False,
    delete: Annotated[
        bool,
        typer.Option(
            "--delete",
            help="With --unsafe: delete more than a tenth of the annotations if so many cannot be restored, and those "
            "that only a person could restore.",
        ),
    ] = False,
    select: Select = None,
    ignore: Ignore = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            "-i",
            metavar="DIR",
            help="Folder of the photos; --unsafe removes images whose photo is missing or damaged.",
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against",
            metavar="TEST.json",
            help="Another annotation file; --unsafe removes images that are also in it.",
        ),
    ] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            "--predictions",
            metavar="STORE",
            help="Out-of-fold predictions; --unsafe fixes the label errors they reveal.",
        ),
    ] = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            "--edits", metavar="LOG.jsonl", help="Apply this edit log, for example from a review, and nothing else."
        ),
    ] = None,
    respect: Annotated[
        Path | None,
        typer.Option("--respect", metavar="LOG.jsonl", help="Skip fixes that this edit log rejects."),
    ] = None,
    write_edits: Annotated[
        Path | None, typer.Option("--write-edits", metavar="LOG.jsonl", help="Append the changes to this edit log.")
    ] = None,
    despeckle: Annotated[
        int | None,
        typer.Option(
            "--despeckle",
            metavar="3|5",
            help="Instead of fixing findings: fill pinholes between annotations with a 3x3 or 5x5 mode filter.",
        ),
    ] = None,
    fill_holes: Annotated[
        int | None,
        typer.Option(
            "--fill-holes",
            metavar="PIXELS",
            help="Instead of fixing findings: fill holes of up to this many pixels inside annotations.",
        ),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="Show every change before and after, without writing anything.")
    ] = False,
    near_duplicate_matching: NearDuplicateMatching = "normal",
    config: Config = None,
    json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Apply fixes to an annotation file, and log every change.

    A fix is safe if it changes at most 4 pixels of the rasterised mask, or 5 % of the pixels of its outline, all within
    2 pixels of that outline; each edit of a shape says how many pixels it changes. Annotations that need no fix keep
    their exact text. Fixing the result again changes nothing, and `trashkit edits invert` undoes it.

    Examples:

      trashkit fix ANN.json --diff

      trashkit fix ANN.json --out FIXED.json --write-edits edits.jsonl

      trashkit fix ANN.json --out FIXED.json --unsafe --select G,S013

      trashkit fix ANN.json --out FIXED.json --unsafe --images PHOTOS --against TEST.json

      trashkit fix ANN.json --predictions runs/folds --unsafe --select P001 --diff

      trashkit fix ANN.json --out REVIEWED.json --edits review.jsonl

      trashkit fix ANN.json --out FILLED.json --despeckle 3 --fill-holes 25 --write-edits despeckle.jsonl
    """
    from trashkit.audit.settings import read_settings
    from trashkit.coco import read
    from trashkit.edits.log import to_record
    from trashkit.outputs import Output
    from trashkit.workflows import fix as workflow

    if out is None and not diff:
        raise TrashkitError("no output file given", hint="add --out FIXED.json, or --diff to see the changes")
    if delete and not unsafe:
        raise TrashkitError("--delete needs --unsafe", hint="add --unsafe; without it nothing is deleted but repeats")
    if out is not None and not diff:
        Output(out, overwrite=overwrite).check()
    coco = read(annotations)
    if edits is not None:
        fixed = workflow.apply_edit_log(coco, edits)
    else:
        settings = read_settings(config) if despeckle is None and fill_holes is None else None
        with progress() as report:
            if settings is None:
                fixed = workflow.fill_holes(coco, despeckle=despeckle, max_pixels=fill_holes or 0, progress=report)
            else:
                fixed = workflow.fix_findings(
                    coco,
                    settings=settings,
                    select=list(filter(str.strip, select or ())),
                    ignore=list(filter(str.strip, ignore or ())),
                    unsafe=unsafe,
                    delete=delete,
                    rejections=respect,
                    images=images,
                    against=read(against) if against is not None else None,
                    near_duplicate_matching=near_duplicate_matching,
                    predictions=predictions or (),
                    progress=report,
                )
    for message in fixed.warnings:
        warn(message)
    if not diff:
        workflow.refuse_many_deletions(fixed)
    for message in fixed.notes:
        note(message)
    if diff:
        shown = {"summary": fixed.summary, "edits": [to_record(edit) for edit in fixed.edits]}
        wanted = unused(out or annotations.with_name(f"{annotations.stem}-fixed{annotations.suffix}"))
        matching = None if near_duplicate_matching == "normal" else near_duplicate_matching
        flags = _flags(
            unsafe=unsafe, delete=delete, select=select, ignore=ignore, edits=edits, respect=respect, images=images,
            against=against, predictions=predictions, despeckle=despeckle, fill_holes=fill_holes,
            near_duplicate_matching=matching, config=_elsewhere(config),
        )  # fmt: skip
        show(
            shown,
            json=json,
            human=[*_report(fixed.edits, fixed.summary), *_described(fixed.edits)],
            next=command("fix", annotations, *flags, "--out", wanted) if fixed.edits else "",
            pager=True,
        )
        return
    assert out is not None
    workflow.write_fixed(fixed, out, log=write_edits, overwrite=overwrite)
    if write_edits is not None:
        note(f"edits in {write_edits}")
    result = {"out": out, "log": write_edits, "edits": len(fixed.edits), "summary": fixed.summary}
    show(
        result,
        json=json,
        human=_report(fixed.edits, fixed.summary),
        wrote=out,
        next=command("audit", out, *_flags(images=images, against=against, config=_elsewhere(config))),
    )


def _elsewhere(config: Path | None) -> Path | None:
    """The settings file, unless the next command finds it itself: next to or above the current folder."""
    from trashkit.files import real_path

    here = real_path(Path.cwd())
    return None if config is not None and real_path(config).parent in (here, *here.parents) else config


def _flags(**given: Any) -> list[object]:
    """Options of this call by parameter, as words of a command: what the next command needs, too."""
    words: list[object] = []
    for name, value in given.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None and one is not False:
                words += [f"--{name.replace('_', '-')}", *([] if one is True else [one])]
    return words


def _described(edits: Sequence[Edit]) -> list[str]:
    from trashkit.edits.describe import describe

    return [line for edit in edits for line in describe(edit)]


def _sentence(summary: dict[str, Any]) -> str:
    text = f"{summary['edits']} edits"
    if summary.get("kept_back"):
        text += f", {summary['kept_back']} more with --unsafe"
    if summary.get("rejected"):
        text += f", {summary['rejected']} rejected by a reviewer"
    if summary.get("most_changed_pixels"):
        text += f"; repairs change at most {summary['most_changed_pixels']} pixels of a mask"
    if summary.get("without_fix"):
        by_code = ", ".join(f"{number} of {code}" for code, number in summary["without_fix"].items())
        text += f"; no fix for these findings: {by_code} (`trashkit audit` gives the reasons)"
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
