"""Choose recipe, size, folds and epochs that fit into a budget, by the data, the device and a few timed steps."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from trashkit.errors import TrashkitError
from trashkit.progress import Log, discard
from trashkit.settings.training import read_recipe, resolve
from trashkit.workflows.auto.plan import Choice, Choices
from trashkit.workflows.auto.speed import VALIDATE_EVERY, Speed


@dataclass(frozen=True)
class Rung:
    """A way to train, of which the first that fits is chosen.

    recipes: one network of each for each fold. size: side in pixels. least: photos that each network has to see, over
    all epochs, to be worth more than the next rung; None if all epochs have to fit. cost: of a photo, relative to the
    other rungs of the ladder. why: in a few words.
    """

    recipes: tuple[str, ...]
    size: int
    least: int | None
    cost: float
    why: str


CPU = (
    Rung(("cpu-medium",), 256, None, 1.85, "the budget allows more than 192 px"),
    Rung(
        ("cpu-medium",), 192, 3500, 1.0, "the largest encoder with installed weights, where it is trained long enough"
    ),
    Rung(("cpu-small",), 192, 2000, 0.75, "a smaller encoder learns faster where time is short"),
    Rung(("cpu-small",), 128, 1200, 0.38, "a smaller encoder and smaller photos, since time is short"),
    Rung(("tiny",), 96, 300, 0.25, "the fastest network, since time is very short"),
)
GPU = (
    Rung(("upernet-swin", "fpn-efficientnetv2-l"), 512, None, 2.0, "two kinds of networks, since all epochs fit"),
    Rung(("fpn-efficientnetv2-l",), 512, 6000, 1.0, "a strong network for a GPU"),
    Rung(("deeplabv3plus-resnest50",), 512, 4000, 0.5, "a smaller network for a GPU"),
    Rung(("cpu-medium",), 384, 2000, 0.2, "its weights come from an installed package"),
    Rung(("tiny",), 96, 300, 0.02, "the fastest network, since time is very short"),
)
FOLDS = (4, 3, 2)
"""Numbers of folds, the best first: each network learns from three quarters of the photos, and four are averaged."""
EPOCHS = (30, 150)
"""Fewest and most epochs that a network is trained for, where time allows."""
SEEN = 6500
"""Photos that a network should see over all epochs: 30 epochs of the data set that these numbers were found on."""
AS_ASKED = "as asked for"
SPARE = 0.95
"""Share of the time that is planned."""

Measure = Callable[[Sequence[str], Sequence[str], int], Speed]
"""Called with recipes, settings and the number of trainings side by side; returns the measured speed."""


@dataclass(frozen=True)
class Task:
    """What has to fit. labelled, extra: photos to train on. deadline: `time.monotonic` at which all should be done.
    others: seconds of all steps but training, by choices. gpus: number of GPUs. launched: whether a launcher starts
    trainings, one after the other."""

    labelled: int
    extra: int
    deadline: float
    others: Callable[[Choices], float]
    gpus: int = 0
    launched: bool = False
    recipes: tuple[str, ...] = ()

    def train(self, folds: int) -> tuple[int, int]:
        """Photos to train on and to validate on, of each fold."""
        val = -(-self.labelled // folds)
        return self.labelled - val + self.extra, val

    def wanted(self, folds: int) -> int:
        """Epochs that each network should be trained for."""
        return max(EPOCHS[0], min(EPOCHS[1], math.ceil(SEEN / self.train(folds)[0])))


def choose(task: Task, measure: Measure, *, log: Log = discard) -> Choices:
    """Choose the first rung that fits, by really timing it; what a timed rung says about others saves time.

    Raises TrashkitError if no rung fits, with the minutes that would.
    """
    if task.labelled < 2 * FOLDS[-1]:
        raise TrashkitError(
            f"{task.labelled} labelled photos are too few for {FOLDS[-1]} folds",
            hint=f"label at least {2 * FOLDS[-1]} photos",
        )
    ladder = _own_rungs(task.recipes) if task.recipes else GPU if task.gpus else CPU
    least = math.inf
    known: dict[Rung, Speed] = {}

    def timed(rung: Rung) -> Speed:
        if rung not in known:
            names, jobs = " and ".join(rung.recipes), _jobs(task, FOLDS[0] * len(rung.recipes))
            log(f"timing {names} at {rung.size} px")
            known[rung] = measure(rung.recipes, _settings(rung, task, jobs), jobs)
            log(f"{known[rung].rate:.1f} photos per second")
        return known[rung]

    if ladder is CPU:  # the fastest network tells in seconds which others are worth timing
        timed(ladder[-1])
    for rung in ladder:
        if known and rung is not ladder[-1] and _fitting(task, rung, _estimated(rung, known)) is None:
            continue
        try:
            speed = timed(rung)
        except TrashkitError as error:
            if rung is ladder[-1] or ladder is not GPU:
                raise
            log(f"{' and '.join(rung.recipes)} cannot be trained here: {error.message}")
            continue
        if (found := _fitting(task, rung, speed)) is not None:
            return found
        least = min(least, _needed(task, rung, speed))
    raise TrashkitError(
        f"the budget is too small: even {' and '.join(ladder[-1].recipes)} with {FOLDS[-1]} folds takes about "
        f"{least / 60:.0f} minutes on this machine",
        hint=f"--minutes {math.ceil(least / 60 * 1.1)}",
    )


def _estimated(rung: Rung, known: Mapping[Rung, Speed]) -> Speed:
    """What the speed of the last rung that was timed says about another, a little too fast."""
    timed = list(known)[-1]
    return Speed(1.2 * known[timed].rate * timed.cost / rung.cost, known[timed].start)


def _own_rungs(recipes: tuple[str, ...]) -> tuple[Rung, ...]:
    """Recipes that were asked for are used, for however few epochs."""
    return (Rung(recipes, max(_own_size(recipe) for recipe in recipes), 0, 1.0, AS_ASKED),)


def _own_size(recipe: str) -> int:
    return resolve(read_recipe(recipe)).data.size


def _jobs(task: Task, runs: int) -> int:
    """Trainings side by side; 0 for one per GPU."""
    if task.launched or task.gpus == 1:
        return 1
    return 0 if task.gpus else min(runs, cores())


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _settings(rung: Rung, task: Task, jobs: int) -> tuple[str, ...]:
    same = all(_own_size(recipe) == rung.size for recipe in rung.recipes) or rung.why == AS_ASKED
    size = () if same else (f"data.size={rung.size}",)
    return size if task.gpus or task.launched else (*size, f"threads={max(1, cores() // jobs)}")


def _fitting(task: Task, rung: Rung, speed: Speed) -> Choices | None:
    """The choices of a rung with the most folds that fit; None if none does."""
    for folds in FOLDS:
        if folds > task.labelled // 2 or (folds < FOLDS[1] and not _is_last(rung)):
            continue
        train, val = task.train(folds)
        runs = folds * len(rung.recipes)
        jobs = _jobs(task, runs)
        made = _choices(task, rung, speed, folds=folds, epochs=1)
        left = (task.deadline - time.monotonic() - task.others(made)) * SPARE
        wanted = task.wanted(folds)
        epochs = min(wanted, speed.epochs_within(left, runs, jobs or task.gpus, train=train, val=val))
        if epochs >= _least_epochs(rung, train, wanted):
            return _choices(task, rung, speed, folds=folds, epochs=epochs)
    return None


def _is_last(rung: Rung) -> bool:
    """Whether a rung is the last of its ladder, so that even two folds are better than nothing."""
    return rung in (CPU[-1], GPU[-1]) or rung.why == AS_ASKED


def _least_epochs(rung: Rung, train: int, wanted: int) -> int:
    if rung.least is None:
        return wanted
    return max(1, min(math.ceil(rung.least / train), -(-wanted // 2)))


def _needed(task: Task, rung: Rung, speed: Speed) -> float:
    """Seconds that the whole job takes with this rung, the fewest folds and epochs."""
    folds = min(FOLDS[-1], task.labelled // 2)
    train, val = task.train(folds)
    runs = folds * len(rung.recipes)
    epochs = _least_epochs(rung, train, task.wanted(folds))
    made = _choices(task, rung, speed, folds=folds, epochs=epochs)
    training = speed.train(epochs, runs, _jobs(task, runs) or task.gpus, train=train, val=val)
    return training / SPARE + task.others(made) + 60


def _choices(task: Task, rung: Rung, speed: Speed, *, folds: int, epochs: int) -> Choices:
    train, _ = task.train(folds)
    wanted, runs = task.wanted(folds), folds * len(rung.recipes)
    jobs = _jobs(task, runs)
    enough = "as many as help" if epochs >= wanted else f"as many as fit into the budget; {wanted} would be better"
    together = "one per GPU" if not jobs else f"one on each of {cores()} CPU cores" if jobs > 1 else "the launcher's"
    reasons = [
        Choice("recipe", f"{' + '.join(rung.recipes)} at {rung.size} px", rung.why),
        Choice("folds", str(folds), f"each network learns from {train} photos, and {folds} are averaged"),
        Choice("epochs", str(epochs), f"{enough}; each network sees {epochs * train} photos"),
    ]
    if jobs != 1:
        reasons.append(Choice("side by side", str(jobs or "auto"), together))
    reasons.append(Choice("speed", f"{speed.rate:.1f} photos/s", "measured in a few training steps"))
    timed = _settings(rung, task, _jobs(task, FOLDS[0] * len(rung.recipes)))
    settings = (*timed, f"validate_every={VALIDATE_EVERY}")
    return Choices(rung.recipes, settings, rung.size, folds, epochs, jobs, speed.rate, speed.start, tuple(reasons))
