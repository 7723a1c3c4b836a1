"""``trashkit runs``: the runs below a folder, best first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.options import Json
from trashkit.cli.output import command, show, stacked, table, unused, warn
from trashkit.cli.training.finished import example_photo, nothing_found
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.runs.run import Run

MOST_STOPPED = 5
"""Stopped runs of which `runs` says how they are continued."""

_KEYS = (
    "path", "status", "state", "miou", "miou_without_background", "finds_almost_nothing", "recipe", "fold", "epochs",
    "wanted_epochs", "seconds", "started", "data",
)  # fmt: skip


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Folder to search, including its subfolders.")] = Path(
        "runs"
    ),
    json: Json = False,
) -> None:
    """List runs, best validation mIoU first, and damaged ones last.

    mIoU figures of different data sets, folds or validation images cannot be compared: see the column "data".

    Examples:

      trashkit runs

      trashkit runs experiments --json
    """
    from trashkit.metrics.summary import finds_almost_nothing, without_background
    from trashkit.runs.run import search_runs

    if not folder.is_dir():
        raise TrashkitError(f"there is no folder {folder}", hint="trashkit runs DIR searches another folder")
    searched = search_runs(folder)
    found = searched.runs
    for error in searched.damaged.values():
        warn(error.message)
    result: list[dict[str, Any]] = [
        {
            "path": run.path,
            "status": run.status,
            "state": run.state,
            "miou": run.miou,
            "miou_without_background": without_background(run.iou.values()),
            "finds_almost_nothing": finds_almost_nothing(run.iou.values()),
            "recipe": run.manifest.get("recipe"),
            "fold": run.manifest.get("fold"),
            "epochs": run.epochs,
            "wanted_epochs": run.wanted,
            "seconds": run.manifest.get("seconds"),
            "started": run.manifest.get("started"),
            "data": Path(str(run.inputs.get("data", ""))).name,
        }
        for run in found
    ]
    rows = [
        [
            r["path"],
            r["miou"],
            r["miou_without_background"],
            r["data"],
            r["recipe"],
            r["fold"],
            f"{r['epochs']}/{r['wanted_epochs']}",
            r["state"],
            str(r["started"] or "")[:16].replace("T", " "),  # UTC, as --json has it to the second
        ]
        for r in result
    ]
    for place, error in searched.damaged.items():
        result.append(
            {**dict.fromkeys(_KEYS), "path": place, "status": "damaged", "state": "damaged", "reason": error.message}
        )
        rows.append([place, None, None, "", None, None, "", "damaged", ""])
    columns: list[Any] = [
        "run",
        stacked("validation", "mIoU"),
        stacked("without", "background"),
        "data",
        "recipe",
        "fold",
        "epochs",
        "status",
        "started",
    ]
    human: Any = (
        [table(columns, rows), *nothing_found(found), *_stopped(found)] if rows else f"no runs in or below {folder}"
    )
    best = next(((run, photo) for run in found if run.status == "complete" and (photo := example_photo(run))), None)
    next_ = command("predict", best[0].path, best[1], "--overlay", unused("overlays")) if best else ""
    show({"runs": result}, json=json, human=human, next=next_)


def _stopped(found: Sequence[Run]) -> list[str]:
    """How each of the first stopped runs is continued: with the command that started it."""
    lines = []
    for run in found:
        started = str(run.manifest.get("command") or "")
        if run.state == "stopped" and started:
            again = " ".join(word for word in started.split(" ") if word not in ("--overwrite", "--resume"))
            lines.append(
                f"{run.path} was stopped after {run.epochs} of {run.wanted} epochs; continue: {again} --resume"
            )
    return lines[:MOST_STOPPED]
