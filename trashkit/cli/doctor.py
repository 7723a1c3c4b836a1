"""``trashkit doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli import output

if TYPE_CHECKING:
    from trashkit.doctor import Check

SIGNS = {"ok": "ok", "missing": "–", "problem": "problem", "skipped": "skipped"}


def doctor(
    offline: Annotated[bool, typer.Option("--offline", help="Do not try the network.")] = False,
    json: output.Json = False,
) -> None:
    """Say what is installed, what the machine offers, what is missing and what to type to have it.

    Exit code 0 where audit, fix, split, submit and score work, 1 where something they need is broken.

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
    rows = [[check.group, check.name, SIGNS[check.status], check.detail] for check in diagnosis.checks]
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
