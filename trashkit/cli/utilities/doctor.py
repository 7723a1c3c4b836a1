"""``trashkit doctor``: check the installation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli import output
from trashkit.cli.options import Json

if TYPE_CHECKING:
    from trashkit.doctor import Check

LABELS = {"ok": "ok", "missing": "–", "problem": "problem", "skipped": "skipped"}


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Skip network checks.")] = False,
    json: Json = False,
) -> None:
    """Check the installation: what is installed, what is missing, and how to install it.

    The exit code is 0 if audit, fix, split, submit and score work, else 1.

    Examples:

      trashkit doctor

      trashkit doctor --offline --json
    """
    import os

    from trashkit.doctor import examine

    with output.progress() as progress:
        diagnosis = examine(
            folder=Path.cwd(),
            database_uri=os.environ.get("FIFTYONE_DATABASE_URI", ""),
            offline=offline,
            progress=progress,
        )
    rows = [[check.group, check.name, LABELS[check.status], check.detail] for check in diagnosis.checks]
    output.show(
        diagnosis.as_json(),
        json=json,
        human=[output.table(["part", "what", "state", "found"], rows), *_advice(diagnosis.checks)],
        next=output.command("demo") if diagnosis.ok else "",
    )
    if not diagnosis.ok:
        raise typer.Exit(1)


def _advice(checks: tuple[Check, ...]) -> list[str]:
    hints: dict[str, list[str]] = {}
    for check in checks:
        if check.hint and check.status in ("missing", "problem"):
            hints.setdefault(check.hint, []).append(check.name)
    return [f"{', '.join(names)}: {hint}" for hint, names in hints.items()]
