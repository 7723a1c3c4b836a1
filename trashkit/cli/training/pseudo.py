"""``trashkit pseudo``: train with labels that trained models made."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trashkit.cli.options import Classes, Data, Device, DryRun, Images, Json, Overwrite, Resume, Tta
from trashkit.cli.output import command, note, progress, show, table
from trashkit.pseudo.strategies import STRATEGIES

if TYPE_CHECKING:
    from trashkit.pseudo.record import RoundRecord
    from trashkit.workflows.pseudo_plan import RoundPlan

_STRATEGIES = "; ".join(f"{name} {strategy.about}" for name, strategy in STRATEGIES.items())


def pseudo(
    teachers: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Trained runs, a folder of fold runs, or probability stores."),
    ],
    data: Data,
    images: Images,
    unlabeled: Annotated[
        Path, typer.Option("--unlabeled", metavar="TEST.json", help="COCO file that lists the unlabelled images.")
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="RUN", help="Folder for the labels, the runs and the HTML page.")
    ],
    strategy: Annotated[
        str, typer.Option("--strategy", metavar="|".join(STRATEGIES), help=f"Training strategy: {_STRATEGIES}.")
    ] = "joint-then-clean",
    unlabeled_images: Annotated[
        Path | None,
        typer.Option(
            "--unlabeled-images", metavar="DIR", help="Folder of the unlabelled photos, if it is not --images."
        ),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Ignore pixels whose certainty is lower; 0 keeps all.")
    ] = 0.9,
    at_least: Annotated[
        float,
        typer.Option("--at-least", help="Keep at least this share of each class's pixels, even below the threshold."),
    ] = 0.0,
    balance: Annotated[
        bool, typer.Option("--balance", help="Limit each class to its share in the training labels.")
    ] = False,
    measure: Annotated[
        Literal["confidence", "margin", "entropy"], typer.Option("--measure", help="Measure of certainty.")
    ] = "confidence",
    agreement: Annotated[
        float, typer.Option("--agreement", help="Share of models or views that must agree on a pixel; 0 for no limit.")
    ] = 0.0,
    min_kept: Annotated[
        float, typer.Option("--min-kept", help="Skip images that keep a smaller share of their pixels.")
    ] = 0.1,
    tta: Tta = "none",
    weight: Annotated[
        float, typer.Option("--weight", help="Loss weight of a pseudo-labelled image relative to an annotated one.")
    ] = 1.0,
    ramp: Annotated[
        float, typer.Option("--ramp", help="Share of a stage's steps over which --weight ramps up from 0.")
    ] = 0.0,
    targets: Annotated[
        Literal["hard", "soft", "online"],
        typer.Option(
            "--targets",
            help="Targets of pseudo-labelled pixels: hard (their class), soft (the teachers' probabilities) or "
            "online (confident predictions of the student's moving average).",
        ),
    ] = "hard",
    stage: Annotated[
        list[str] | None,
        typer.Option(
            "--stage", metavar="NAME.KEY=NUMBER", help="Change a stage's epochs, rate, weight or ramp. Repeatable."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe", metavar="NAME|FILE.toml", help="Recipe of the student; default: the teacher's settings."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change one setting of the student. Repeatable."),
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="RUN", help="Trained run that finetune starts from.")
    ] = None,
    near_duplicates: Annotated[
        Literal["leave-out", "refuse", "keep"],
        typer.Option(
            "--near-duplicates",
            help="What to do with unlabelled photos that are near-duplicates of validation images.",
        ),
    ] = "leave-out",
    all_data: Annotated[
        bool, typer.Option("--all-data", help="Train one student of all teachers on all images, without validation.")
    ] = False,
    size: Annotated[int, typer.Option("--size", min=8, help="Side of the label maps in pixels.")] = 256,
    device: Device = "auto",
    dry_run: DryRun = False,
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a student with pseudo-labels that trained models predict for unlabelled images.

    Uncertain pixels are ignored, and images with few certain pixels are skipped. The run of each fold
    teaches the student of that fold. Anything that would leak a validation image's label into training is refused, and
    the images are listed.

    Examples:

      trashkit pseudo runs/first --data train.json --images photos --unlabeled test.json --out runs/pseudo --dry-run

      trashkit pseudo runs/folds --data train.json --images photos --unlabeled test.json --at-least 0.5 --out runs/2

      trashkit pseudo runs/pseudo --data train.json --images photos --unlabeled test.json --out runs/pseudo-2
    """
    from trashkit.pseudo.leak_guard import list_names
    from trashkit.pseudo.selection import Selection
    from trashkit.pseudo.strategies import stages
    from trashkit.workflows.pseudo_plan import RoundRequest, plan_round
    from trashkit.workflows.pseudo_round import run_round

    request = RoundRequest(
        teachers=tuple(teachers),
        data=data,
        images=images,
        unlabeled=unlabeled,
        unlabeled_images=unlabeled_images or images,
        out=out,
        strategy=strategy,
        stages=stages(strategy, stage or [], weight=weight, ramp=ramp),
        selection=Selection(measure, threshold, at_least, balance, agreement, min_kept),
        tta=tta,
        size=size,
        recipe=recipe,
        assignments=tuple(set_ or ()),
        start=start,
        all_data=all_data,
        classes=classes,
        device=device,
        command=shlex.join(["trashkit", *sys.argv[1:]]),
        targets=targets,
        near_duplicates=near_duplicates,
    )
    with progress() as report:
        plan = plan_round(request, progress=report)
    for group, _ in plan.work:
        if group.near:
            pairs = list_names([f"{name} (as {', '.join(same)})" for name, same in group.near.items()])
            note(
                f"note: {len(group.near)} unlabelled images are near-duplicates of validation images{group.where} "
                f"and are left out there: {pairs}"
            )
    if dry_run:
        _show_plan(plan, json=json)
        return
    with progress() as report:
        record = run_round(plan, resume=resume, overwrite=overwrite, log=note, progress=report)
    if record is not None:
        _show_result(plan, record, json=json)


def _plan_rows(plan: RoundPlan) -> list[dict[str, Any]]:
    return [
        {
            "fold": group.fold,
            "stage": step.stage.name,
            "annotated_images": len(group.train),
            "pseudo_images": len(plan.unlabeled) - len(group.near) if step.stage.pseudo else 0,
            "validation_images": len(group.val),
            "weight": step.stage.weight if step.stage.pseudo else None,
            "starts_from": step.stage.start,
            "start": step.start if step.start is not None else step.config.model.weights,
            "epochs": step.config.epochs,
            "lr": step.config.optimiser.lr,
            "out": step.out,
        }
        for group, steps in plan.work
        for step in steps
    ]


def _start(one: dict[str, Any]) -> str:
    """Where a stage's weights come from."""
    named = {"recipe": f"recipe ({one['start']})", "teacher": f"teacher {Path(one['start']).name}"}
    return named.get(one["starts_from"], f"stage {one['starts_from']}")


def _checked(plan: RoundPlan) -> str:
    """What the leak guard checked."""
    if not any(group.val for group, _ in plan.work):
        return (
            "checked by decoded pixels: the teachers, and the models they come from, have seen no label of the images "
            "to label; there are no validation images"
        )
    near = {name for group, _ in plan.work for name in group.near}
    near_duplicates = (
        f"{len(near)} near-duplicates of them are left out" if near else "no near-duplicates of them were found"
    )
    if plan.request.near_duplicates == "keep":
        near_duplicates = "near-duplicates were not searched for (--near-duplicates keep)"
    return (
        "checked by decoded pixels: no validation image is among the images to label, and the teachers, and the models "
        f"they come from, have seen no label of either; {near_duplicates}"
    )


def _show_plan(plan: RoundPlan, *, json: bool) -> None:
    rows = _plan_rows(plan)
    record = plan.summary
    shown = [
        [
            one["fold"],
            one["stage"],
            f"{one['annotated_images']} annotated"
            + (f" + up to {one['pseudo_images']} pseudo-labelled" if one["pseudo_images"] else ""),
            one["validation_images"],
            one["weight"],
            _start(one),
            one["epochs"],
            f"{one['lr']:g}",
        ]
        for one in rows
    ]
    human: list[Any] = [
        f"round {record['round']}, strategy {record['strategy']}, teachers: {', '.join(record['teachers'])}",
        "labels: " + ", ".join(f"{key} {value}" for key, value in record["selection"].items()),
        f"targets: {record['targets']}",
        table(["fold", "stage", "data", "validate", "weight", "starts from", "epochs", "lr"], shown),
        _checked(plan),
        "nothing was trained or written (--dry-run)",
    ]
    result = {key: record[key] for key in ("round", "parent", "strategy", "teachers", "selection", "targets")}
    show({**result, "stages": rows}, json=json, human=human)


def _show_result(plan: RoundPlan, record: RoundRecord, *, json: bool) -> None:
    human: list[Any] = []
    for one in record["groups"]:
        count = one["labels"]
        kept = len(count["kept_share"]) - len(count["left_out"])
        share = sum(count["kept"]) / max(1, sum(count["predicted"]))
        fold = f"fold {one['fold']}: " if one["fold"] is not None else ""
        human.append(f"{fold}{kept} of {len(count['kept_share'])} images keep {share:.1%} of all pixels")
    rows = [
        [run["path"], one["fold"], run["stage"], run["miou"], run.get("miou_without_background"), run["epochs"]]
        for one in record["groups"]
        for run in one["runs"]
    ]
    human.append(table(["run", "fold", "stage", "validation mIoU", "without background", "epochs"], rows))
    human += [f"{run['path']} finds almost nothing" for one in record["groups"] for run in one["runs"]
              if run.get("finds_almost_nothing")]  # fmt: skip
    shown = record["groups"][0].get("annotations")
    if shown:  # rounds of earlier versions have none
        looking = command("review", shown, "--images", plan.request.unlabeled_images, "--edits", "pseudo-edits.jsonl")
        human.append(f"the labels are drawn in {record['page']}; all of them: {looking}")
    result = {
        key: record[key]
        for key in ("round", "parent", "strategy", "teachers", "selection", "targets", "stages", "groups", "page")
        if key in record
    }
    request = plan.request
    following = command(
        "predict", request.out, "--data", request.unlabeled, "--images", request.unlabeled_images,
        "--out", request.out / "test",
    )  # fmt: skip
    show(result, json=json, human=human, wrote=request.out, next=following)
