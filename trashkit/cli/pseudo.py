"""``trashkit pseudo``: train with labels that trained models made."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from trashkit.cli.output import Classes, Json, Overwrite, Resume, command, note, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.cli.pseudo_round import Round


def pseudo(
    teachers: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Trained runs, a folder of folds, or stores of probabilities."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="TRAIN.json", help="COCO file with annotations.")],
    images: Annotated[Path, typer.Option("--images", metavar="DIR", help="Folder that its file names start from.")],
    unlabeled: Annotated[
        Path, typer.Option("--unlabeled", metavar="TEST.json", help="COCO file of the images to make labels for.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="RUN", help="Folder to write labels, runs and the page to.")],
    strategy: Annotated[
        str, typer.Option("--strategy", help="joint, finetune or joint-then-clean.")
    ] = "joint-then-clean",
    unlabeled_images: Annotated[
        Path | None, typer.Option("--unlabeled-images", metavar="DIR", help="Its photos, where they lie elsewhere.")
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Pixels less certain than this are ignored; 0 keeps all.")
    ] = 0.9,
    at_least: Annotated[
        float, typer.Option("--at-least", help="Keep this share of each class's pixels, though below the threshold.")
    ] = 0.0,
    balance: Annotated[
        bool, typer.Option("--balance", help="Let no class keep more than its share in the training labels.")
    ] = False,
    measure: Annotated[
        str, typer.Option("--measure", help="What certainty is: confidence, margin or entropy.")
    ] = "confidence",
    agreement: Annotated[
        float, typer.Option("--agreement", help="Share of models or views that must agree on a pixel; 0 asks for none.")
    ] = 0.0,
    min_kept: Annotated[
        float, typer.Option("--min-kept", help="Leave out images that keep a smaller share of their pixels.")
    ] = 0.1,
    tta: Annotated[str, typer.Option("--tta", help="Views the teachers look from: none, flip, flips or d4.")] = "none",
    weight: Annotated[
        float, typer.Option("--weight", help="Of a pseudo-labelled image against an annotated one.")
    ] = 1.0,
    ramp: Annotated[
        float, typer.Option("--ramp", help="Share of a stage's steps in which that weight rises from 0.")
    ] = 0.0,
    targets: Annotated[
        Literal["hard", "soft", "online"],
        typer.Option(
            "--targets",
            help="What pseudo-labelled pixels teach: their class; the teachers' probabilities; or what the moving "
            "average of the student is certain of while it learns.",
        ),
    ] = "hard",
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="NAME.KEY=NUMBER", help="Change a stage: epochs, rate, weight or ramp."),
    ] = None,
    recipe: Annotated[
        str | None, typer.Option("--recipe", metavar="NAME|FILE.toml", help="The student; like the teacher by default.")
    ] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change one setting of the student.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option("--start", metavar="RUN", help="Trained run that finetune continues.")
    ] = None,
    near_duplicates: Annotated[
        Literal["leave-out", "refuse", "keep"],
        typer.Option(
            "--near-duplicates",
            help="What becomes of unlabelled photos that show the same picture as a validation image in other pixels.",
        ),
    ] = "leave-out",
    all_data: Annotated[
        bool, typer.Option("--all-data", help="One student of all teachers, on all images, without validation.")
    ] = False,
    size: Annotated[int, typer.Option("--size", min=8, help="Side of the label maps in pixels.")] = 256,
    device: Annotated[str, typer.Option("--device", metavar="auto|cpu", help="cpu leaves a GPU alone.")] = "auto",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything, print the stages, stop.")] = False,
    classes: Classes = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Train a student with labels that trained models make for unlabelled images.

    joint trains on annotated and pseudo-labelled images together; finetune continues a trained model on both;
    joint-then-clean trains on both, then on the annotated images alone. Pixels that are not certain enough are
    ignored, images with too little left are left out. Runs of several folds each teach the student of their own fold.
    Refused, naming the images, is whatever would let the label of a validation image reach training.

    Examples:

      trashkit pseudo runs/first --data train.json --images photos --unlabeled test.json --out runs/pseudo --dry-run

      trashkit pseudo runs/folds --data train.json --images photos --unlabeled test.json --at-least 0.5 --out runs/2

      trashkit pseudo runs/pseudo --data train.json --images photos --unlabeled test.json --out runs/pseudo-2
    """
    from trashkit.pseudo.selection import MEASURES, Selection
    from trashkit.pseudo.stages import stages

    if device not in ("auto", "cpu"):
        raise TrashkitError(f'there is no device "{device}"', hint="choose auto or cpu")
    known = {name: name for name in MEASURES}
    if measure not in known:
        raise TrashkitError(f'there is no measure "{measure}"', hint=f"choose from: {', '.join(MEASURES)}")
    selection = Selection(known[measure], threshold, at_least, balance, agreement, min_kept)
    planned = stages(strategy, stage or [], weight=weight, ramp=ramp)

    from trashkit.cli.pseudo_round import Asked, look_ahead
    from trashkit.cli.pseudo_work import carry_out
    from trashkit.pseudo.guard import named

    asked = Asked(
        teachers=tuple(teachers),
        data=data,
        images=images,
        unlabeled=unlabeled,
        unlabeled_images=unlabeled_images or images,
        out=out,
        strategy=strategy,
        stages=planned,
        selection=selection,
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
        near=near_duplicates,
    )
    with progress() as report:
        found = look_ahead(asked, progress=report)
    for group, _ in found.work:
        if group.near:
            pairs = named([f"{name} (as {', '.join(same)})" for name, same in group.near.items()])
            note(
                f"note: {len(group.near)} unlabelled images show the same picture as validation images{group.where} "
                f"and are left out there: {pairs}"
            )
    if dry_run:
        _show_plan(found, json=json)
        return
    with progress() as report:
        result = carry_out(found, resume=resume, overwrite=overwrite, say=note, progress=report)
    if result is not None:
        _show_result(found, result, json=json)


def _plan_rows(found: Round) -> list[dict[str, Any]]:
    return [
        {
            "fold": group.fold,
            "stage": step.stage.name,
            "annotated_images": len(group.train),
            "pseudo_images": len(found.unlabeled) - len(group.near) if step.stage.pseudo else 0,
            "validation_images": len(group.val),
            "weight": step.stage.weight if step.stage.pseudo else None,
            "starts_from": step.stage.start,
            "start": step.start if step.start is not None else step.config.model.weights,
            "epochs": step.config.epochs,
            "lr": step.config.optimiser.lr,
            "out": step.out,
        }
        for group, steps in found.work
        for step in steps
    ]


def _start(one: dict[str, Any]) -> str:
    """Where a stage's weights come from, in few words."""
    named = {"recipe": f"recipe ({one['start']})", "teacher": f"teacher {Path(one['start']).name}"}
    return named.get(one["starts_from"], f"stage {one['starts_from']}")


def _checked(found: Round) -> str:
    """What the leak guard looked at, and no more than that."""
    if not any(group.val for group, _ in found.work):
        return (
            "checked by decoded pixels: no image to label has a label that its teachers, or the models they come from, "
            "have seen; there are no validation images"
        )
    near = {name for group, _ in found.work for name in group.near}
    like = f"{len(near)} near-duplicates of them are left out" if near else "no near-duplicates of them were found"
    if found.asked.near == "keep":
        like = "near-duplicates were not looked for (--near-duplicates keep)"
    return (
        "checked by decoded pixels: no validation image is among the images to label, and no teacher, nor any model it "
        f"comes from, has seen the label of either; {like}"
    )


def _show_plan(found: Round, *, json: bool) -> None:
    rows = _plan_rows(found)
    record = found.record
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
        _checked(found),
        "nothing was trained or written (--dry-run)",
    ]
    result = {key: record[key] for key in ("round", "parent", "strategy", "teachers", "selection", "targets")}
    show({**result, "stages": rows}, json=json, human=human)


def _show_result(found: Round, record: dict[str, Any], *, json: bool) -> None:
    human: list[Any] = []
    for one in record["groups"]:
        count = one["labels"]
        stay = len(count["kept_share"]) - len(count["left_out"])
        share = sum(count["kept"]) / max(1, sum(count["predicted"]))
        fold = f"fold {one['fold']}: " if one["fold"] is not None else ""
        human.append(f"{fold}{stay} of {len(count['kept_share'])} images keep {share:.1%} of all pixels")
    rows = [
        [run["path"], one["fold"], run["stage"], run["miou"], run["epochs"]]
        for one in record["groups"]
        for run in one["runs"]
    ]
    human.append(table(["run", "fold", "stage", "validation mIoU", "epochs"], rows))
    shown = record["groups"][0].get("annotations")
    if shown:  # rounds of earlier versions have none
        looking = command("review", shown, "--images", found.asked.unlabeled_images, "--edits", "pseudo-edits.jsonl")
        human.append(f"the labels are drawn in {record['page']}; all of them: {looking}")
    result = {
        key: record[key]
        for key in ("round", "parent", "strategy", "teachers", "selection", "targets", "stages", "groups", "page")
        if key in record
    }
    asked = found.asked
    following = command(
        "predict", asked.out, "--data", asked.unlabeled, "--images", asked.unlabeled_images, "--out", asked.out / "test"
    )
    show(result, json=json, human=human, wrote=asked.out, next=following)
