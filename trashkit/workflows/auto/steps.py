"""All steps of a plan, in order, as far as they are known: which optional steps are taken is decided on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trashkit.workflows.auto.options import OPTIONS, Option, Photos, Stores, Taken, predictions, speed_of
from trashkit.workflows.auto.plan import PAGE, Plan, Step

SHORT = 20.0
"""A budget of at most this many minutes is short."""
MOST_SHEETS = 500
"""Overlays of at most this many photos are drawn."""


def label_steps(plan: Plan) -> tuple[Step, ...]:
    """Audit, fix, split, train: what depends on the labels alone."""
    request, choices, speed = plan.request, plan.choices, speed_of(plan)
    images = ("--images", str(request.images))
    classes = ("--classes", request.classes) if request.classes else ()
    count, size, data = plan.inputs.labelled, plan.inputs.megapixels, str(request.data)
    against = ("--against", str(request.test)) if request.test is not None else ()
    settings, none = _project(plan)
    # The file would also give fix a test file, by which unsafe fixes depend on the photos to predict.
    fix_settings = none if request.unsafe else settings
    audit = Step(
        name="audit",
        why="what is wrong with labels and photos",
        seconds=speed.light(count + plan.inputs.unlabelled, start=2, each=0.004, megapixels=2 * size),
        words=("audit", data, *images, *against, "--html", str(plan.out / "audit.html"), *settings),
        makes=(plan.out / "audit.html",),
        reads=("labels", "unlabelled") if against else ("labels",),
        exits=(0, 1),
        keeps=("summary",),
    )
    fix = Step(
        name="fix",
        why="all fixes, unsafe ones too" if request.unsafe else "safe fixes, which hardly change a mask",
        seconds=speed.light(count, start=1.5, each=0.002),
        words=(
            "fix", data, *images, *(("--unsafe",) if request.unsafe else ()), "--out", str(plan.fixed),
            "--write-edits", str(plan.out / "edits.jsonl"), *fix_settings,
        ),
        makes=(plan.fixed, plan.out / "edits.jsonl"),
        reads=("labels",),
        keeps=("edits", "summary"),
    )  # fmt: skip
    groups = [word for one in request.groups for word in ("--groups", one)]
    # A quarter of the default, where time is short: a few seconds less, and hardly worse folds.
    trials = ("--trials", "50000000") if request.minutes <= SHORT else ()
    split = Step(
        name="split",
        why=f"{choices.folds} folds, near-duplicates kept together",
        seconds=speed.light(count, start=2, each=0.004, megapixels=size),
        words=(
            "split", str(plan.fixed), *images, "--folds", str(choices.folds), *trials, *groups, *classes,
            "--out", str(plan.split), *none,
        ),
        makes=(plan.split,),
        after=("fix",),
        reads=("labels",),
    )  # fmt: skip
    return audit, fix, split, _train(plan)


def _project(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Options for commands that would take values from a project file: its audit settings only, and nothing at all."""
    if plan.request.project is None:
        return (), ()
    return ("--project", plan.request.project), ("--project", "none")


def _train(plan: Plan) -> Step:
    request, choices = plan.request, plan.choices
    count = plan.inputs.labelled
    val = -(-count // choices.folds)
    extra = [word for text in request.extra for word in ("--extra", text)]
    recipes = [word for recipe in choices.recipes for word in ("--recipe", recipe)]
    settings = [word for one in (*choices.settings, f"epochs={choices.epochs}") for word in ("--set", one)]
    how = [*(["--device", request.device] if request.device != "auto" else [])]
    how += ["--jobs", str(choices.jobs or "auto")] if not request.launch else []
    classes = ("--classes", request.classes) if request.classes else ()
    runs = len(choices.recipes) * choices.folds
    speed = speed_of(plan)
    return Step(
        name="train",
        why=f"{runs} networks, one for each fold{' and recipe' if len(choices.recipes) > 1 else ''}, "
        f"{choices.epochs} epochs",
        seconds=speed.train(choices.epochs, runs, choices.jobs or 1, train=count - val + plan.inputs.extra, val=val),
        words=(
            "train", "--data", str(plan.fixed), "--images", str(request.images), "--split", str(plan.split),
            "--fold", "all", *recipes, *settings, *extra, *classes, *how, "--out", str(plan.out), "--resume",
        ),
        makes=tuple(plan.networks(recipe) for recipe in choices.recipes),
        after=("fix", "split"),
        reads=("labels",),
        keeps=("runs",),
        resumes=True,
        launched=True,
    )  # fmt: skip


def labelled_photos(plan: Plan) -> Photos:
    """The labelled photos, predicted out of fold."""
    return Photos("oof", plan.fixed, plan.request.images, plan.inputs.labelled, ("labels",), ("fix",))


def unlabelled_photos(plan: Plan) -> Photos | None:
    """The photos to predict; None if there are none."""
    if not plan.inputs.unlabelled:
        return None
    request = plan.request
    after = () if request.test is not None else ("list",)
    data = request.test or plan.out / "photos.json"
    return Photos("test", data, request.unlabelled_folder, plan.inputs.unlabelled, ("unlabelled",), after)


def baseline(plan: Plan) -> tuple[Stores, tuple[Step, ...]]:
    """Out-of-fold predictions without any optional step, and the steps that make and score them."""
    stores = predictions(plan, labelled_photos(plan), {})
    score = Step(
        name="score",
        why="out of fold, before the optional steps",
        seconds=speed_of(plan).light(plan.inputs.labelled, each=0.002),
        words=("score", str(stores.paths[0]), "--data", str(plan.fixed), *_classes(plan), *_project(plan)[1]),
        after=("fix", *_made_by(stores)),
        keeps=("miou", "interval", "definitions", "per_class"),
    )
    return stores, (*stores.steps, score)


def _made_by(stores: Stores) -> tuple[str, ...]:
    """Names of the steps that make these predictions; training itself makes the first ones."""
    return tuple(step.name for step in stores.steps) or ("train",)


def _classes(plan: Plan) -> tuple[str, ...]:
    return ("--classes", plan.request.classes) if plan.request.classes else ()


def trial(plan: Plan, option: Option, taken: Taken) -> tuple[Step, ...]:
    """The steps that try an option on top of those that are taken; the last one judges it."""
    photos = labelled_photos(plan)
    base = predictions(plan, photos, taken)
    tried = [predictions(plan, photos, {**taken, option.name: value}) for value in option.values]
    known = {step.name for step in base.steps}
    steps = list({step.name: step for one in tried for step in one.steps if step.name not in known}.values())
    if option.fitted:
        return tuple(steps)
    stores = [one.paths[0] for one in tried]
    judge = Step(
        name=f"judge {option.name}",
        why=f"{option.title}: chosen on all folds but one, judged on that one, in turn",
        seconds=speed_of(plan).light((1 + len(stores)) * plan.inputs.labelled, each=0.002),
        words=(
            "compare", str(base.paths[0]), *map(str, stores), "--data", str(plan.fixed), "--split", str(plan.split),
            *_classes(plan), *_project(plan)[1],
        ),
        after=("split", *_made_by(base), *(step.name for step in steps)),
        keeps=("a", "candidates", "best", "chosen_by_fold", "gain", "interval", "evidence"),
    )  # fmt: skip
    return (*steps, judge)


def verdict(option: Option, result: Mapping[str, Any]) -> dict[str, Any]:
    """What a trial found: value (of the best), gain, interval, taken. result: JSON of its last step."""
    if not option.fitted:
        names = [one["path"] for one in result["candidates"]]
        return {
            "value": option.values[names.index(result["best"])],
            "gain": result["gain"],
            "interval": result["interval"],
            "taken": bool(result["evidence"]),
            "candidates": [one["miou"] for one in result["candidates"]],
            "base": result["a"]["miou"],
        }
    fit = result["fit"]
    mixes = [one for one in fit["candidates"] if one["mix"] is not None]
    best = next((one for one in mixes if one["name"] == fit["chosen"] and one["name"] != "mean"), None)
    shown = best or max(mixes[1:], key=lambda one: one["miou"])
    return {
        "value": option.values[0],
        "gain": shown["gain"],
        "interval": shown["interval"],
        "taken": best is not None,
        "candidates": [shown["miou"]],
        "base": mixes[0]["miou"],
    }


def delivery(plan: Plan, taken: Taken) -> tuple[Step, ...]:
    """Predict the photos without labels, draw them, and write the submission where there is a sample of one."""
    photos = unlabelled_photos(plan)
    if photos is None:
        return ()
    request, speed = plan.request, speed_of(plan)
    steps: list[Step] = []
    if request.test is None:
        without = ("--without", str(request.data)) if request.photos is None else ()
        steps.append(
            Step(
                name="list",
                why=f"{photos.count} photos without labels",
                seconds=speed.light(photos.count, each=0.002),
                words=("data", "list", str(photos.folder), *without, "--out", str(photos.data)),
                makes=(photos.data,),
                reads=("unlabelled",),
            )
        )
    stores = predictions(plan, photos, taken)
    steps += stores.steps
    final, last = str(stores.paths[0]), stores.steps[-1].name
    overlays = plan.out / "overlays"
    where = ("--data", str(photos.data), "--images", str(photos.folder), "--most", str(MOST_SHEETS))
    draw = Step(
        name="overlays",
        why="each photo next to its prediction",
        seconds=speed.light(min(MOST_SHEETS, photos.count), each=0.02, megapixels=2 * plan.inputs.megapixels),
        words=("sheets", final, *where, "--out", str(overlays), *_classes(plan), *_project(plan)[1]),
        makes=(overlays,),
        after=(last, *photos.after),
        reads=photos.reads,
    )
    steps.append(draw)
    if request.test is not None and request.sample is not None:
        steps += _submission(plan, request.test, request.sample, final, last)
    return tuple(steps)


def _submission(plan: Plan, test: Path, sample: Path, store: str, last: str) -> list[Step]:
    csv = plan.out / "submission.csv"
    known = ("--data", str(test), "--sample", str(sample), *_classes(plan))
    seconds = speed_of(plan).light(plan.inputs.unlabelled, each=0.003)
    return [
        Step(
            name="submit",
            why="the most probable class of each pixel",
            seconds=seconds,
            words=("submit", "make", store, *known, "--train", str(plan.fixed), "--out", str(csv), *_project(plan)[1]),
            makes=(csv, plan.out / "submission.csv.json"),
            after=(last, "fix"),
            reads=("unlabelled", "sample"),
            keeps=("rows", "warnings"),
        ),
        Step(
            name="check",
            why="the submission, as the competition will read it",
            seconds=seconds,
            words=("submit", "check", str(csv), *known, *_project(plan)[1]),
            after=("submit",),
            reads=("unlabelled", "sample"),
            keeps=("rows", "warnings", "failures"),
        ),
    ]


def page_step(plan: Plan, before: tuple[str, ...]) -> Step:
    """The page about everything."""
    return Step(
        name="page",
        why="all of this on one page",
        seconds=speed_of(plan).light(2 * plan.inputs.labelled, start=2, each=0.004),
        words=("report", str(plan.out)),
        makes=(plan.out / PAGE,),
        after=before,
        keeps=("miou", "miou_in_truth", "miou_without_background", "interval"),
    )


def all_steps(plan: Plan, decided: Mapping[str, str | None]) -> tuple[Step, ...]:
    """All steps, in order. decided: value of each option that was judged, None where it was not taken; options that are
    not judged yet count as not taken."""
    steps = [*label_steps(plan), *baseline(plan)[1]]
    taken: dict[str, str] = {}
    for option in OPTIONS:
        if option.name in plan.skipped:
            continue
        steps += trial(plan, option, taken)
        if value := decided.get(option.name):
            taken[option.name] = value
    steps += delivery(plan, taken)
    steps.append(page_step(plan, tuple(step.name for step in steps)))
    return tuple({step.name: step for step in steps}.values())
