"""Clean label maps in named steps, each with a report of what it changed; `compare` says whether one helps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.predictions.class_presence import ClassPresence, reweight
from trashkit.predictions.quantisation import argmax
from trashkit.predictions.store import Probabilities, create_store
from trashkit.progress import Progress, silent
from trashkit.raster.masks import IGNORE, despeckle

LabelMap = NDArray[np.uint8]


def min_area(labels: LabelMap, least: int | Mapping[int, int]) -> LabelMap:
    """Return a label map [H, W] in which regions (8 neighbours) of fewer than `least` pixels are background.

    least: for all classes, or by class index; classes without an entry stay. 0 and 255 (ignore) stay.
    """
    cleaned = labels.copy()
    for index in np.unique(labels).tolist():
        wanted = least if isinstance(least, int) else least.get(index, 0)
        if index in (0, IGNORE) or wanted <= 1:
            continue
        count, regions, stats, _ = cv2.connectedComponentsWithStats((labels == index).astype(np.uint8), connectivity=8)
        small = stats[:, cv2.CC_STAT_AREA] < wanted
        small[0] = False
        if count > 1 and small.any():
            cleaned[small[regions]] = 0
    return cleaned


def fill_holes(labels: LabelMap, largest: int) -> LabelMap:
    """Return a label map [H, W] in which holes of at most `largest` pixels (4 neighbours) take the class around them.

    Holes between classes and at the border of the image stay.
    """
    filled = labels.copy()
    count, regions, stats, _ = cv2.connectedComponentsWithStats((labels == 0).astype(np.uint8), connectivity=4)
    height, width = labels.shape
    for number in range(1, count):
        left, top, wide, high, area = (int(value) for value in stats[number])
        if area > largest or left == 0 or top == 0 or left + wide == width or top + high == height:
            continue
        crop = np.s_[top - 1 : top + high + 1, left - 1 : left + wide + 1]
        hole = (regions[crop] == number).astype(np.uint8)
        ring = (cv2.dilate(hole, np.ones((3, 3), np.uint8)) > 0) & (hole == 0)
        around = np.unique(labels[crop][ring])
        if len(around) == 1 and around[0] != IGNORE:
            filled[crop][hole > 0] = around[0]
    return filled


def one_class(labels: LabelMap, share: int) -> LabelMap:
    """Return a label map [H, W] in which each connected region of objects takes its most common class.

    A region is what touches (8 neighbours), of whatever class; 0 and 255 (ignore) are not objects and stay. share:
    percent of the region that the most common class must have; regions without such a class stay. Of equally common
    classes the lower one is taken.
    """
    voted = labels.copy()
    objects = ((labels != 0) & (labels != IGNORE)).astype(np.uint8)
    count, regions = cv2.connectedComponents(objects, connectivity=8)
    votes = np.bincount(regions.ravel() * 256 + labels.ravel(), minlength=count * 256).reshape(count, 256)
    winners = votes.argmax(axis=1).astype(np.uint8)
    certain = votes.max(axis=1) * 100 >= share * votes.sum(axis=1)
    certain[0] = False
    chosen = certain[regions]
    voted[chosen] = winners[regions[chosen]]
    return voted


@dataclass(frozen=True)
class CleaningStep:
    """One step: its name and value as typed, and the function that it applies to a label map [H, W]."""

    name: str
    run: Callable[[LabelMap], LabelMap]


@dataclass
class StepReport:
    """What one step did to all images.

    erased, added: pixels that lost and that got each class. regions: how many connected regions (8 neighbours) there
    are fewer than before. images: how many it changed.
    """

    name: str
    erased: dict[str, int]
    added: dict[str, int]
    regions: int = 0
    images: int = 0


STEPS: dict[str, str] = {
    "despeckle": "3 or 5: fill pinholes of up to 1 or 3 pixels across with the class around them",
    "fill-holes": "pixels of the largest hole that is filled, if a single class surrounds it",
    "min-area": "pixels of the smallest region that is kept; CLASS:PIXELS for one class",
    "one-class": "percent, 1 to 100: touching objects take the class that at least this share of them has",
}
"""Names of the steps, and the meaning of their values."""


def parse_steps(texts: Sequence[str], classes: Sequence[str]) -> list[CleaningStep]:
    """Return the steps of texts such as ``despeckle=3``, ``fill-holes=20``, ``min-area=Battery:10``, ``one-class=50``.

    Raises TrashkitError for unknown names, values that are out of range or change nothing, and unknown classes.
    """
    steps = []
    for text in texts:
        name, _, value = text.partition("=")
        chosen, _, number = value.rpartition(":")
        if name not in STEPS or not number.isdigit() or (chosen and name != "min-area"):
            raise TrashkitError(
                f"{text!r} is not a step", hint="; ".join(f"{key}=N ({what})" for key, what in STEPS.items())
            )
        if chosen and chosen not in classes[1:]:
            raise TrashkitError(f"there is no class {chosen!r}", hint=f"classes are {', '.join(classes[1:])}")
        if name == "despeckle" and number not in ("3", "5"):
            raise TrashkitError(f"despeckle cannot be {number}", hint="choose despeckle=3 or despeckle=5")
        if name == "one-class" and int(number) > 100:
            raise TrashkitError(
                f"{text} is more than 100 percent", hint="as in one-class=50, half of the touching pixels"
            )
        if int(number) < (2 if name == "min-area" else 1):
            raise TrashkitError(
                f"{text} changes nothing", hint=f"{name}={2 if name == 'min-area' else 1} or more, or leave it out"
            )
        steps.append(CleaningStep(text, _function(name, int(number), classes.index(chosen) if chosen else None)))
    return steps


def _function(name: str, value: int, class_index: int | None) -> Callable[[LabelMap], LabelMap]:
    if name == "despeckle":
        return lambda labels: despeckle(labels, 3 if value == 3 else 5)
    if name == "fill-holes":
        return lambda labels: fill_holes(labels, value)
    if name == "one-class":
        return lambda labels: one_class(labels, value)
    return lambda labels: min_area(labels, value if class_index is None else {class_index: value})


def clean(
    labels: LabelMap, steps: Sequence[CleaningStep], reports: Sequence[StepReport], classes: Sequence[str]
) -> LabelMap:
    """Return a label map after all steps, in their order; each adds to its report what it did."""
    for step, report in zip(steps, reports, strict=True):
        after = step.run(labels)
        _count(report, labels, after, classes)
        labels = after
    return labels


def _count(report: StepReport, labels: LabelMap, after: LabelMap, classes: Sequence[str]) -> None:
    """Add the changes of one label map to a report."""
    changed = after != labels
    if not changed.any():
        return
    report.images += 1
    before, now = (np.bincount(one[changed], minlength=256) for one in (labels, after))
    for index, name in enumerate(classes):
        report.erased[name] = report.erased.get(name, 0) + int(before[index])
        report.added[name] = report.added.get(name, 0) + int(now[index])
    report.regions += _regions(labels) - _regions(after)


def _regions(labels: LabelMap) -> int:
    present = [index for index in np.unique(labels).tolist() if index not in (0, IGNORE)]
    return sum(cv2.connectedComponents((labels == index).astype(np.uint8), connectivity=8)[0] - 1 for index in present)


def postprocess(
    store: Probabilities,
    out: Path,
    steps: Sequence[CleaningStep],
    *,
    presence: ClassPresence | None = None,
    power: float = 1.0,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[StepReport]:
    """Write a store whose label maps are those of `store` after the steps; return what each step did.

    presence: reweights the store first, with this `power` (see `trashkit.predictions.class_presence.reweight`), and has
    the first report. Where a step changes a pixel's class, the probabilities of the old and the new class are swapped;
    all others stay. With `resume` the reports count only the images written now. One image is in memory at a time.
    Raises TrashkitError where nothing would change, and for a presence of other images or classes.
    """
    store.require_complete()
    if not steps and presence is None:
        raise TrashkitError("no step is given", hint="add one, such as --step min-area=50")
    if real_path(out) == real_path(store.path):
        raise TrashkitError(f"{out} is the input store", hint="choose another --out")
    reports = [StepReport(step.name, {}, {}) for step in steps]
    reweighted = StepReport(f"presence, to the power of {power:g}", {}, {})
    shares = None if presence is None else presence.of(store.image_ids, store.file_names, store.classes[1:])
    with create_store(
        out,
        image_ids=store.image_ids,
        file_names=store.file_names,
        native_sizes=store.native_sizes,
        classes=store.classes,
        size=store.size,
        dtype=store.dtype,
        manifest={
            "made_by": "postprocess",
            "steps": [step.name for step in steps],
            **({} if shares is None else {"presence": sha256(shares.tobytes()).hexdigest(), "power": power}),
            "members": [{"path": str(store.path), "fingerprint": store.fingerprint}],
            "sources": [store.manifest],
        },
        resume=resume,
        overwrite=overwrite,
        keep_part=False,
    ) as writer:
        for row in np.flatnonzero(~writer.done).tolist():
            values, before = store.read(row), store.label_map(row)
            if shares is not None:
                values = reweight(values, shares[row], power)
                _count(reweighted, before, argmax(values), store.classes)
                before = argmax(values)
            after = clean(before, steps, reports, store.classes)
            writer.write(row, _swapped(values, before, after))
            progress("cleaning", row + 1, len(store))
    return reports if shares is None else [reweighted, *reports]


def _swapped(values: NDArray[np.float32], before: LabelMap, after: LabelMap) -> NDArray[np.float32]:
    """Probabilities [C, H, W] with those of the old and the new class swapped where a label map changed."""
    rows, columns = np.nonzero(before != after)
    old, new = before[rows, columns], after[rows, columns]
    one, other = values[old, rows, columns], values[new, rows, columns]
    # One step of uint8 more, so that a third class which tied with the old one does not win.
    values[new, rows, columns] = one + np.float32(1 / 255)
    values[old, rows, columns] = other
    return values
