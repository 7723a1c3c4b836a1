"""Suggested training settings for a data set, each with the measurement behind it.

Nothing here trains or needs torch. Audit findings, photos and out-of-fold errors are optional inputs, and suggestions
that need them are left out without them. The thresholds are constants below: rules of thumb.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.images.photos import photo_path, read_photo
from trashkit.metrics.scores import Confusion
from trashkit.nn.data.copy_paste import class_probabilities
from trashkit.nn.data.sampler import classes_present
from trashkit.progress import Progress, silent
from trashkit.raster.masks import pixel_area
from trashkit.settings.training import Recipe, TrainConfig, resolve

RARE_SHARE = 0.1
"""A class in a smaller share of the photos is rare and should be shown more often."""
BOOST = 2.0
"""If a class is rare, photos of the rarest one should be shown at least this many times as often."""
FEW_OBJECTS = 100
"""A class with fewer annotations benefits from copy-paste."""
FEWEST_TO_MEASURE = 10
"""A class in fewer photos has an IoU that depends on chance."""
SMALL_SIDE = 8
"""An object with fewer pixels than the square of this, at network size, is small for the finest feature maps."""
MUCH = 0.15
"""Share of small objects, of dark photos or of confused pixels from which a setting is suggested."""
LARGEST_SIZE = 512
SIZE_STEP = 32
FEW_STEPS = 1500
"""With fewer steps a randomly initialised decoder is not fully trained."""
MOST_EPOCHS = 200
PHOTOS = 200
"""Number of photos, evenly spaced in the file, whose brightness is measured."""
DARK, BRIGHT = 70, 200
"""Mean grey values, 0 to 255, below and above which a photo is dark or bright."""
CONTRADICTIONS = ("conflicting-labels", "near-duplicate-annotation", "cross-class-overlap")
"""Audit findings about annotations of which at most one can be correct."""
FEW_PIXELS = 20_000
"""Classes with fewer true pixels in the out-of-fold images (at 256 px) are not assessed."""


@dataclass(frozen=True)
class Suggestion:
    """A suggestion. topic: a short title. reason: the measurement. settings: assignments for ``--set``; if no setting
    helps they are empty, and `instead` is a command line or an action."""

    topic: str
    reason: str
    settings: tuple[str, ...] = ()
    instead: str = ""


@dataclass(frozen=True)
class Brightness:
    """Of the measured photos: mean grey value [N], and standard deviation within each photo [N]."""

    means: NDArray[np.float64]
    contrasts: NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """The measurements that `suggest` uses. audited: number of findings by check name, None without an audit."""

    dataset: Dataset
    config: TrainConfig
    audited: Mapping[str, int] | None = None
    brightness: Brightness | None = None
    errors: Confusion | None = None
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Pixels of each annotation as a share of its photo's, [annotations]."""


def collect_facts(
    dataset: Dataset,
    config: TrainConfig,
    *,
    findings: Sequence[Finding] | None = None,
    images: Path | None = None,
    errors: Confusion | None = None,
    progress: Progress = silent,
) -> Facts:
    """Measure what `suggest` needs. images: folder of the photos; without it brightness is not measured."""
    audited: dict[str, int] | None = None
    if findings is not None:
        audited = {}
        for finding in findings:
            audited[finding.name] = audited.get(finding.name, 0) + 1
    brightness = measure_brightness(dataset, images, progress) if images is not None else None
    return Facts(dataset, config, audited, brightness, errors, area_shares(dataset))


def area_shares(dataset: Dataset) -> NDArray[np.float64]:
    """Pixels of each annotation as a share of its photo's, float [annotations]."""
    found = []
    for annotation in dataset.annotations:
        image = dataset.image_by_row[annotation.image_row]
        found.append(pixel_area(annotation.segmentation, image.height, image.width) / (image.height * image.width))
    return np.array(found, np.float64)


def measure_brightness(dataset: Dataset, folder: Path, progress: Progress = silent) -> Brightness:
    """Brightness and contrast of at most `PHOTOS` photos. Unreadable photos are skipped."""
    step = max(1, len(dataset.images) // PHOTOS)
    chosen = dataset.images[::step][:PHOTOS]
    values = []
    for done, image in enumerate(chosen):
        try:
            photo = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
        except TrashkitError:
            continue
        grey = cv2.cvtColor(cv2.resize(photo, (64, 64), interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        values.append((float(grey.mean()), float(grey.std())))
        progress("measuring brightness", done + 1, len(chosen))
    table = np.array(values, np.float64).reshape(-1, 2)
    return Brightness(table[:, 0], table[:, 1])


def suggest(facts: Facts) -> list[Suggestion]:
    """Suggestions about classes, sizes, photos, errors and labels, in this order.

    Settings that the configuration has already are left out. An empty list means that nothing stands out.
    """
    rules = (
        _missing,
        _unmeasurable,
        _rare,
        _pasted,
        _small,
        _background,
        _size_range,
        _brightness,
        _few,
        _errors,
        _labels,
    )
    found = []
    current = Recipe("", "", "", "", facts.config.model_dump(), "")
    for suggestion in (one for rule in rules for one in rule(facts)):
        new = tuple(one for one in suggestion.settings if resolve(current, [one]) != facts.config)
        if new or suggestion.instead:
            found.append(replace(suggestion, settings=new))
    return found


def merged_settings(suggestions: Sequence[Suggestion]) -> list[str]:
    """The settings of all suggestions; of several values for one setting, the first."""
    found: dict[str, str] = {}
    for suggestion in suggestions:
        for assignment in suggestion.settings:
            found.setdefault(assignment.partition("=")[0], assignment)
    return list(found.values())


# --- classes ---------------------------------------------------------------------------------------------------------


def _class_table(facts: Facts) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Annotations and photos of each class, both [C]."""
    names = facts.dataset.classes.names
    counts = np.bincount([a.class_index for a in facts.dataset.annotations], minlength=len(names))
    return counts, classes_present(facts.dataset, facts.dataset.images).sum(axis=0)


def _number(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _missing(facts: Facts) -> list[Suggestion]:
    counts, _ = _class_table(facts)
    names = [name for n, name in enumerate(facts.dataset.classes.names) if n and not counts[n]]
    if not names:
        return []
    reason = f"{', '.join(names)}: no annotations, so it cannot be learned, and every prediction of it lowers the score"
    return [
        Suggestion("absent classes", reason, instead="--extra OTHER.json:IMAGES_DIR:0.5 adds a data set that has them")
    ]


def _unmeasurable(facts: Facts) -> list[Suggestion]:
    counts, photos = _class_table(facts)
    few = [n for n in range(1, len(counts)) if 0 < photos[n] < FEWEST_TO_MEASURE]
    if not few:
        return []
    names = facts.dataset.classes.names
    shown = ", ".join(f"{names[n]} ({counts[n]} in {_number(photos[n], 'photo')})" for n in few)
    reason = f"{shown}: too few to measure, so mIoU varies by chance; do not choose settings by it"
    instead = "compare runs on all folds together (train --fold all) and by the IoU of the other classes"
    return [Suggestion("unmeasurable classes", reason, instead=instead)]


def _rare(facts: Facts) -> list[Suggestion]:
    _, photos = _class_table(facts)
    total = len(facts.dataset.images)
    rare = sorted((n for n in range(1, len(photos)) if 0 < photos[n] < RARE_SHARE * total), key=lambda n: photos[n])
    if not rare:
        return []
    # smallest threshold, in hundredths, that reaches the boost: sqrt(threshold / share) = BOOST
    threshold = max(RARE_SHARE, math.ceil(100 * BOOST**2 * photos[rare[0]] / total) / 100)
    oversample = facts.config.data.oversample
    if oversample.threshold >= threshold:
        return []
    factor = min(oversample.most, math.sqrt(threshold * total / photos[rare[0]]))
    shown = ", ".join(f"{facts.dataset.classes.names[n]} in {photos[n]} of {total} photos" for n in rare[:4])
    more = f" and {len(rare) - 4} more" if len(rare) > 4 else ""
    reason = (
        f"{shown}{more}: below {RARE_SHARE:.0%}; photos of {facts.dataset.classes.names[rare[0]]} would be shown "
        f"{factor:.1f} times as often as common ones"
    )
    return [Suggestion("rare classes", reason, (f"data.oversample.threshold={threshold:g}",))]


def _pasted(facts: Facts) -> list[Suggestion]:
    counts, _ = _class_table(facts)
    present = counts > 0
    present[0] = False
    few = [n for n in np.flatnonzero(present).tolist() if counts[n] < FEW_OBJECTS]
    ratio = counts[present].max() / counts[present].min() if present.any() else 1.0
    if not few or ratio < 3:
        return []
    names = facts.dataset.classes.names
    rarest = min(few, key=lambda n: counts[n])
    shares = {b: class_probabilities(counts, present, b, np.ones(len(counts)))[rarest] for b in ("sqrt", "uniform")}
    balance = "sqrt" if shares["sqrt"] <= 0.35 else "uniform"
    reason = (
        f"{names[rarest]} has {_number(counts[rarest], 'annotation')}, the commonest class {counts.max()} "
        f"({ratio:.0f} times as many); balance {balance} pastes {names[rarest]} in {shares[balance]:.0%} of cases"
    )
    if balance == "uniform":
        reason += f", sqrt in {shares['sqrt']:.0%}, which repeats the same few objects too often"
    return [Suggestion("few objects", reason, ("data.copy_paste.p=0.5", f"data.copy_paste.balance={balance}"))]


# --- sizes -----------------------------------------------------------------------------------------------------------


def _small(facts: Facts) -> list[Suggestion]:
    size, sides = facts.config.data.size, np.sqrt(facts.areas)
    if not len(sides):
        return []
    share = float((sides * size < SMALL_SIDE).mean())
    if share < MUCH:
        return []
    native = min(min(image.height, image.width) for image in facts.dataset.images)
    most = min(LARGEST_SIZE, native, 2 * size)
    sizes = [side for side in range(SIZE_STEP, most + 1, SIZE_STEP) if side > size]
    better = next((side for side in sizes if (sides * side < SMALL_SIDE).mean() < MUCH), sizes[-1] if sizes else size)
    left = float((sides * better < SMALL_SIDE).mean())
    reason = f"{share:.0%} of the objects cover less than {SMALL_SIDE}x{SMALL_SIDE} pixels at {size} px"
    settings = ["data.focus.p=0.5"]
    if better > size:
        reason += f", {left:.0%} at {better} px (each step then costs {(better / size) ** 2:.1f} times as much)"
        settings.insert(0, f"data.size={better}")
    return [Suggestion("small objects", reason + "; crops on objects show them larger", tuple(settings))]


def _background(facts: Facts) -> list[Suggestion]:
    if not len(facts.areas):
        return []
    covered = float(facts.areas.sum()) / len(facts.dataset.images)
    if covered >= 0.1:
        return []
    reason = f"objects cover {covered:.1%} of the pixels, so most of a random crop is background"
    return [Suggestion("much background", reason, ("data.focus.p=0.5", 'loss="ce + dice"'))]


def _size_range(facts: Facts) -> list[Suggestion]:
    if len(facts.areas) < 20:
        return []
    low, middle, high = np.quantile(np.sqrt(facts.areas), [0.1, 0.5, 0.9]).tolist()
    if high < 4 * max(low, 1e-6):
        return []
    reason = (
        f"object sizes range from {low:.0%} to {high:.0%} of the photo's side (10th and 90th percentile, "
        f"median {middle:.0%}): {high / max(low, 1e-6):.0f} times; training at several sizes covers more of it"
    )
    return [Suggestion("varying sizes", reason, ("data.multi_scale=0.25",))]


# --- photos ----------------------------------------------------------------------------------------------------------


def _brightness(facts: Facts) -> list[Suggestion]:
    brightness = facts.brightness
    if brightness is None or len(brightness.means) < 10:
        return []
    dark, bright = float((brightness.means < DARK).mean()), float((brightness.means > BRIGHT).mean())
    spread = float(brightness.means.std())
    if facts.config.data.augment not in ("none", "light") or (dark + bright < MUCH and spread < 40):
        return []
    reason = (
        f"of {len(brightness.means)} photos {dark:.0%} are dark and {bright:.0%} bright, mean grey values "
        f"{brightness.means.mean():.0f} with standard deviation {spread:.0f}; strong varies it more than light does"
    )
    return [Suggestion("varying brightness", reason, ("data.augment=strong",))]


def _few(facts: Facts) -> list[Suggestion]:
    config, total = facts.config, len(facts.dataset.images)
    batch = config.data.batch_size if config.data.batch_size != "auto" else 8
    steps = max(1, round(0.8 * total / batch))
    found = []
    if total < 1000 and config.data.augment in ("none", "light"):
        reason = f"{total} photos are seen {config.epochs} times each, so the network may overfit to them"
        found.append(Suggestion("few photos", reason, ("data.augment=strong",)))
    if steps * config.epochs < FEW_STEPS:
        epochs = min(MOST_EPOCHS, -(-FEW_STEPS // steps))
        total_steps = f"{config.epochs} epochs of {steps} steps are {steps * config.epochs}"
        reason = f"{total_steps}; a new decoder needs about {FEW_STEPS}"
        found.append(Suggestion("few steps", reason, (f"epochs={epochs}",)))
    return found


# --- errors and labels -----------------------------------------------------------------------------------------------


def _errors(facts: Facts) -> list[Suggestion]:
    if facts.errors is None:
        return []
    matrix, names = facts.errors.matrix.astype(np.float64), facts.errors.names
    truth = matrix.sum(axis=1)
    iou = facts.errors.iou()
    judged = [n for n in range(1, len(names)) if truth[n] >= FEW_PIXELS]
    found = []
    missed = [(matrix[n, 0] / truth[n], n) for n in judged if matrix[n, 0] / truth[n] > MUCH]
    if missed:
        shown = ", ".join(f"{share:.0%} of {names[n]}" for share, n in sorted(missed, reverse=True)[:4])
        reason = (
            f"out-of-fold, {shown} is predicted as background; Tversky penalises missed pixels more than false ones"
        )
        found.append(Suggestion("missed objects", reason, ('loss="ce + tversky"', "data.focus.p=0.5")))
    pairs = [(matrix[a, b] / truth[a], a, b) for a in judged for b in range(1, len(names)) if a != b]
    confused = [one for one in sorted(pairs, reverse=True) if one[0] > MUCH][:3]
    if confused:
        shown = ", ".join(f"{share:.0%} of {names[a]} is predicted as {names[b]}" for share, a, b in confused)
        factors = ", ".join(f'"{name}" = 2.0' for name in dict.fromkeys(names[a] for _, a, _ in confused))
        reason = f"out-of-fold, {shown}; on new backgrounds only the object itself tells the class"
        found.append(
            Suggestion("confused classes", reason, ("data.copy_paste.p=0.5", f"data.copy_paste.classes={{{factors}}}"))
        )
    if len(judged) > 2:
        middle = float(np.median(iou[judged]))
        weak = [n for n in judged if iou[n] < middle - 0.15]
        if weak:
            shown = ", ".join(f"{names[n]} {iou[n]:.2f}" for n in weak)
            reason = f"out-of-fold IoU {shown} against a median of {middle:.2f}"
            found.append(Suggestion("weak classes", reason, ('class_weights="inverse(power=0.5)"',)))
    return found


def _labels(facts: Facts) -> list[Suggestion]:
    audited, total = facts.audited, max(1, len(facts.dataset.annotations))
    if audited is None:
        return []
    found = []
    path = facts.dataset.coco.path or "ANN.json"
    count = sum(audited.get(name, 0) for name in CONTRADICTIONS)
    if count / total > 0.02:
        reason = f"{count} findings on {total} annotations are contradictions (duplicates, overlapping classes)"
        found.append(
            Suggestion(
                "contradicting labels", reason, ('loss="smooth-ce + dice"',), f"trashkit audit {path} lists them"
            )
        )
    rough = audited.get("box-as-mask", 0) + audited.get("coarse-outline", 0)
    if rough / total > 0.1:
        reason = (
            f"{rough} of {total} outlines are boxes or coarse, so losses on borders (boundary, lovasz) will not help"
        )
        found.append(Suggestion("rough outlines", reason, instead=f"trashkit audit {path} --select G050,G051"))
    if audited.get("near-duplicate-photo", 0):
        reason = f"{audited['near-duplicate-photo']} photos have a near-duplicate: in different folds they leak"
        instead = f"trashkit split {path} --images DIR --out split.json, then train --split split.json"
        found.append(Suggestion("near-duplicate photos", reason, instead=instead))
    blurred = audited.get("blurred-photo", 0)
    if blurred / len(facts.dataset.images) > 0.05 and facts.config.data.augment in ("none", "light"):
        reason = f"{blurred} of {len(facts.dataset.images)} photos are blurred; strong also blurs and compresses photos"
        found.append(Suggestion("blurred photos", reason, ("data.augment=strong",)))
    return found
