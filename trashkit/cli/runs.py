"""``trashkit runs``: the runs below a folder, best first."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from trashkit.cli.output import Json, command, show, table, warn
from trashkit.errors import TrashkitError


def runs(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to look, all folders below included.")] = Path(
        "runs"
    ),
    json: Json = False,
) -> None:
    """List runs, best validation mIoU first.

    mIoU figures of different data sets, folds or validation images do not compare: look at the column "data".

    Examples:

      trashkit runs

      trashkit runs experiments --json
    """
    from trashkit.run import find_runs
    from trashkit.run_folder import MANIFEST, SETTINGS, is_damaged

    if not folder.is_dir():
        raise TrashkitError(f"there is no folder {folder}", hint="trashkit runs DIR looks elsewhere")
    found = find_runs(folder)
    for place in sorted(file.parent for file in folder.rglob(SETTINGS)):
        if is_damaged(place):
            warn(f"{place} is a run with a lost or damaged {MANIFEST}")
    result = [
        {
            "path": run.path,
            "status": run.status,
            "miou": run.miou,
            "recipe": run.manifest.get("recipe"),
            "fold": run.manifest.get("fold"),
            "epochs": run.epochs,
            "wanted_epochs": run.wanted,
            "seconds": run.manifest.get("seconds"),
            "started": run.manifest.get("started"),
            "data": Path(str((run.manifest.get("inputs") or {}).get("data", ""))).name,
        }
        for run in found
    ]
    rows = [
        [
            r["path"],
            r["miou"],
            r["data"],
            r["recipe"],
            r["fold"],
            f"{r['epochs']}/{r['wanted_epochs']}",
            run.state,
            str(r["started"] or "")[:16].replace("T", " "),  # UTC, as --json has it to the second
        ]
        for run, r in zip(found, result, strict=True)
    ]
    columns = ["run", "validation mIoU", "data", "recipe", "fold", "epochs", "status", "started"]
    human = table(columns, rows) if rows else f"no run in or below {folder}"
    best = next((run.path for run in found if run.status == "complete"), None)
    next_ = command("predict", best, "PHOTO.jpg", "--overlay", "overlays") if best else ""
    show({"runs": result}, json=json, human=human, next=next_)
