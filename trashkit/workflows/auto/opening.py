"""From a request to a plan: a new one, or the one of an earlier call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.names import quoted
from trashkit.progress import Log, Progress, discard, silent
from trashkit.workflows.auto.inputs import AutoInputs, AutoRequest, photos_not_listed, read_auto_inputs
from trashkit.workflows.auto.make import make_plan
from trashkit.workflows.auto.plan import EARLIER, Plan, has_plan, read_plan, write_plan
from trashkit.workflows.auto.record import LOCK, Record, decided_options, next_aside, set_aside
from trashkit.workflows.auto.steps import all_steps


def request_to_resume(out: Path, given: Mapping[str, Any]) -> AutoRequest:
    """The request of the plan in a folder, with other photos to predict where they are given.

    given: values by the name of a field of `AutoRequest`, None where nothing is given. Raises TrashkitError where one
    differs that networks depend on, for a launcher that is not given again (a plan may come from anywhere, and must not
    decide which program is started), and as `read_plan` does.
    """
    before = read_plan(out).request
    if before.launch and given.get("launch") is None:
        raise TrashkitError(
            f"the plan in {out} starts trainings with another program: {before.launch}",
            hint=f"if you trust it: --launch {quoted(before.launch)}",
        )
    changes: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == ():
            continue
        if name in ("test", "photos", "sample", "project"):
            changes[name] = value
            continue
        known = getattr(before, name)
        same = real_path(value) == real_path(known) if isinstance(value, Path) else value == known
        if not same:
            shown = " ".join(known) if isinstance(known, tuple) else known
            option = {"recipes": "recipe"}.get(name, name)
            raise TrashkitError(
                f"the plan in {out} was made with {f'--{option} {shown}' if shown else f'no --{option}'}",
                hint=f"leave out --{option} to continue it, or start again with --overwrite",
            )
    return replace(before, **changes)


def open_plan(
    request: AutoRequest,
    *,
    resume: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    started: float | None = None,
    log: Log = discard,
    progress: Progress = silent,
) -> Plan:
    """The plan of a request: a new one, or with `resume` the one in its folder.

    With newer labels a plan that is resumed is made anew, and what it led to is kept below ``earlier/``; with other
    photos to predict it stays, but for these. dry_run: nothing is written. Raises TrashkitError for an `out` that
    exists without `resume` or `overwrite`, for a labelled photo that changed, and as `make_plan` does.
    """
    out = request.out
    if has_plan(out) and not (resume or overwrite):
        raise TrashkitError(
            f"{out} has a plan already",
            hint="--resume continues it, --overwrite starts again, --out names another folder",
        )
    if out.exists() and not has_plan(out) and (not out.is_dir() or any(one.name != LOCK for one in out.iterdir())):
        raise TrashkitError(f"{out} exists and is not a folder of trashkit auto", hint="choose another --out")
    inputs = read_auto_inputs(request, progress=progress)
    if request.test is not None and (new := photos_not_listed(request)):
        folder = "" if (place := request.test.parent) == Path() else f"{quoted(str(place))} "
        log(
            f"photos that came after `trashkit init` are left out: {new} in {request.images}; `trashkit init "
            f"{folder}--overwrite` lists them"
        )
    if has_plan(out) and resume:
        plan = read_plan(out)
        if plan.inputs.roles["labels"] == inputs.roles["labels"]:
            plan = plan.with_inputs(request, inputs)
            if not dry_run:
                write_plan(plan, all_steps(plan, decided_options(Record(out).steps)))
            return plan
        _refuse_changed_photos(plan, inputs, request)
        log("the labels have changed since the plan was made: split and training are made anew")
    plan = make_plan(request, inputs, started=started, log=log, progress=progress)
    if dry_run:
        return plan
    if has_plan(out):
        kept = next_aside(out)
        set_aside([one for one in out.iterdir() if one.name not in (EARLIER, LOCK)], kept)
        log(f"earlier results are now in {kept}")
    out.mkdir(parents=True, exist_ok=True)
    write_plan(plan, all_steps(plan, {}))
    return plan


def _refuse_changed_photos(plan: Plan, inputs: AutoInputs, request: AutoRequest) -> None:
    """Raise TrashkitError where photos have changed, but not the annotations that describe them."""
    known = plan.inputs.photos
    changed = [name for name in known if name in inputs.photos and inputs.photos[name] != known[name]]
    gone = [name for name in known if name in inputs.missing]
    for what, names in (("changed", changed), ("gone", gone)):
        if names:
            others = f", and {len(names) - 1} more" if len(names) > 1 else ""
            raise TrashkitError(
                f"the photo {request.images / names[0]} is {what} since the plan was made{others}"
                if what == "gone"
                else f"the photo {request.images / names[0]} has changed since the plan was made{others}",
                hint="put it back, or start again with --overwrite, which keeps earlier results below earlier/",
            )
