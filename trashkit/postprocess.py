"""Named steps on label maps, each saying what it changed: whether one helps is for `compare` to decide."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.masks import IGNORE, despeckle
from trashkit.presence import Presence, weigh
from trashkit.progress import Progress, silent
from trashkit.store import Probabilities, create_store
from trashkit.store_values import argmax

LabelMap = NDArray[np.uint8]


def min_area(labels: LabelMap, least: int | Mapping[int, int]) -> LabelMap:
    """A label map [H, W] in which regions (8 neighbours) of fewer than `least` pixels are background.

    least: for all classes, or by class index; classes that it lacks stay. 0 and 255 (ignore) are left alone.
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
    """A label map [H, W] in which background of at most `largest` pixels (4 neighbours) inside one class takes it.

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
    """A label map [H, W] in which each connected region of objects takes the class that most of its pixels have.

    A region is what touches (8 neighbours), of whatever class; 0 and 255 (ignore) are no objects and stay. share: in
    percent of the region, what the commonest class must have for that; regions without such a class stay. Of equally
    common classes the lower one is taken.
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
class Step:
    """One step: its name and value as typed, and what it does to a label map [H, W]."""

    name: str
    run: Callable[[LabelMap], LabelMap]


@dataclass
class Report:
    """What one step did to all images.

    erased: by class, pixels that are no longer of it. added: by class, pixels that are now. regions: how many connected
    regions (8 neighbours) there are fewer than before. images: how many it changed.
    """

    name: str
    erased: dict[str, int]
    added: dict[str, int]
    regions: int = 0
    images: int = 0


STEPS: dict[str, str] = {
    "despeckle": "3 or 5: fill pin-holes that fit in 1 or 3 pixels with the class around them",
    "fill-holes": "largest hole in pixels, filled where one class lies all around",
    "min-area": "smallest region in pixels; smaller ones become background. CLASS:PIXELS for one class",
    "one-class": "percent, 1 to 100: touching objects become one of the class that so much of them has",
}
"""Names of the steps, and what their value means."""


def parse_steps(texts: Sequence[str], classes: Sequence[str]) -> list[Step]:
    """Steps from texts such as ``despeckle=3``, ``fill-holes=20``, ``min-area=Battery:10``, ``one-class=50``.

    Raises TrashkitError for unknown names, values that are none or change nothing, and classes that are not in
    `classes`.
    """
    steps = []
    for text in texts:
        name, _, value = text.partition("=")
        chosen, _, number = value.rpartition(":")
        if name not in STEPS or not number.isdigit() or (chosen and name != "min-area"):
            raise TrashkitError(
                f"{text!r} is no step", hint="; ".join(f"{key}=N ({what})" for key, what in STEPS.items())
            )
        if chosen and chosen not in classes[1:]:
            raise TrashkitError(f"there is no class {chosen!r}", hint=f"classes are {', '.join(classes[1:])}")
        if name == "despeckle" and number not in ("3", "5"):
            raise TrashkitError(f"despeckle={number} is not to be had", hint="despeckle=3 or despeckle=5")
        if name == "one-class" and int(number) > 100:
            raise TrashkitError(f"{text} asks for more than all", hint="one-class=50: half of the pixels that touch")
        if int(number) < (2 if name == "min-area" else 1):
            raise TrashkitError(
                f"{text} changes nothing", hint=f"{name}={2 if name == 'min-area' else 1} or more, or leave it out"
            )
        steps.append(Step(text, _function(name, int(number), classes.index(chosen) if chosen else None)))
    return steps


def _function(name: str, value: int, class_index: int | None) -> Callable[[LabelMap], LabelMap]:
    if name == "despeckle":
        return lambda labels: despeckle(labels, 3 if value == 3 else 5)
    if name == "fill-holes":
        return lambda labels: fill_holes(labels, value)
    if name == "one-class":
        return lambda labels: one_class(labels, value)
    return lambda labels: min_area(labels, value if class_index is None else {class_index: value})


def clean(labels: LabelMap, steps: Sequence[Step], reports: Sequence[Report], classes: Sequence[str]) -> LabelMap:
    """A label map after all steps, in their order; each adds what it did to its report."""
    for step, report in zip(steps, reports, strict=True):
        after = step.run(labels)
        _tell(report, labels, after, classes)
        labels = after
    return labels


def _tell(report: Report, labels: LabelMap, after: LabelMap, classes: Sequence[str]) -> None:
    """Add to a report what became of a label map."""
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
    steps: Sequence[Step],
    *,
    presence: Presence | None = None,
    power: float = 1.0,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> list[Report]:
    """Write a store whose label maps are those of `store` after the steps; says what each step did.

    presence: which classes each photo shows; the store is weighed by it first, to that `power` (see
    `trashkit.presence.weigh`), and the first report is its. Where a step changes a pixel's class, the probabilities of
    the old and the new class change places; all others stay. With `resume` the reports count the images that this run
    makes. One image is in memory at a time.
    Raises TrashkitError where nothing would change anything, and for a presence of other images or classes.
    """
    store.require_complete()
    if not steps and presence is None:
        raise TrashkitError("no step is named", hint="--step min-area=50, say")
    if out.resolve() == store.path.resolve():
        raise TrashkitError(f"{out} is the store to clean", hint="choose another --out")
    reports = [Report(step.name, {}, {}) for step in steps]
    weighed = Report(f"presence, to the power of {power:g}", {}, {})
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
    ) as writer:
        for row in np.flatnonzero(~writer.done).tolist():
            values, before = store.read(row), store.label_map(row)
            if shares is not None:
                values = weigh(values, shares[row], power)
                _tell(weighed, before, argmax(values), store.classes)
                before = argmax(values)
            after = clean(before, steps, reports, store.classes)
            writer.write(row, _swapped(values, before, after))
            progress("cleaning", row + 1, len(store))
    return reports if shares is None else [weighed, *reports]


def _swapped(values: NDArray[np.float32], before: LabelMap, after: LabelMap) -> NDArray[np.float32]:
    """Probabilities [C, H, W] with those of the old and the new class exchanged where a label map changed."""
    rows, columns = np.nonzero(before != after)
    old, new = before[rows, columns], after[rows, columns]
    one, other = values[old, rows, columns], values[new, rows, columns]
    # One step of uint8 more, so that a third class which tied with the old one does not win.
    values[new, rows, columns] = one + np.float32(1 / 255)
    values[old, rows, columns] = other
    return values
