"""What the data asks of training: settings, each with the measured reason for it.

Nothing here trains or knows torch. Findings of an audit, photos and out-of-fold errors are given where there are any;
what is not given is not spoken of. The thresholds are plain constants below: rules of thumb, not theorems.
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
from trashkit.config import Recipe, TrainConfig, resolve
from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.masks import pixel_area
from trashkit.nn.paste import class_weights
from trashkit.nn.sampler import classes_present
from trashkit.photos import photo_path, read_photo
from trashkit.progress import Progress, silent
from trashkit.scores import Confusion

RARE_SHARE = 0.1
"""A class in a smaller share of the photos is rare, and shown more often."""
BOOST = 2.0
"""At least so many times as often are photos of the rarest class shown, where one is rare."""
FEW_OBJECTS = 100
"""A class with fewer annotations gains by copy-paste."""
FEWEST_TO_MEASURE = 10
"""With fewer annotations than this a class's IoU is a matter of luck, whatever is trained."""
SMALL_SIDE = 8
"""An object with fewer pixels than the square of this, at network size, is small: finest maps are coarser."""
MUCH = 0.15
"""A share of small objects, of dark photos or of confused pixels that is worth a setting."""
LARGEST_SIZE = 512
SIZE_STEP = 32
FEW_STEPS = 1500
"""Fewer steps than this leave a fresh decoder half trained."""
MOST_EPOCHS = 200
PHOTOS = 200
"""So many photos, spread over the file, are measured."""
DARK, BRIGHT = 70, 200
"""Mean grey value, 0 to 255, below or above which a photo is dark or bright."""
CONTRADICTIONS = ("conflicting-labels", "near-duplicate-annotation", "cross-class-overlap")
"""Findings of an audit about annotations that cannot both be right."""
FEW_PIXELS = 20_000
"""A class with fewer true pixels than this among the out-of-fold images (at 256 px) is not judged by them."""


@dataclass(frozen=True)
class Suggestion:
    """One piece of advice. topic: what was seen, in a word or two. reason: the numbers. settings: assignments for
    ``--set``, empty where no setting helps; then `instead` is a command line or what to do."""

    topic: str
    reason: str
    settings: tuple[str, ...] = ()
    instead: str = ""


@dataclass(frozen=True)
class Light:
    """Of the photos that were measured: mean grey value [N] and its standard deviation inside each photo [N]."""

    means: NDArray[np.float64]
    contrasts: NDArray[np.float64]


@dataclass(frozen=True)
class Facts:
    """What is known. audited: number of findings by check name, None where no audit was made."""

    dataset: Dataset
    config: TrainConfig
    audited: Mapping[str, int] | None = None
    light: Light | None = None
    errors: Confusion | None = None
    areas: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    """Pixels of each annotation as a share of its photo's, [annotations]."""


def gather(
    dataset: Dataset,
    config: TrainConfig,
    *,
    findings: Sequence[Finding] | None = None,
    images: Path | None = None,
    errors: Confusion | None = None,
    progress: Progress = silent,
) -> Facts:
    """Measure what `suggest` needs. images: the folder of the photos; without it their light is not looked at."""
    audited: dict[str, int] | None = None
    if findings is not None:
        audited = {}
        for finding in findings:
            audited[finding.name] = audited.get(finding.name, 0) + 1
    light = measure_light(dataset, images, progress) if images is not None else None
    return Facts(dataset, config, audited, light, errors, area_shares(dataset))


def area_shares(dataset: Dataset) -> NDArray[np.float64]:
    """Pixels of each annotation as a share of its photo's, float [annotations]."""
    found = []
    for annotation in dataset.annotations:
        image = dataset.image_by_row[annotation.image_row]
        found.append(pixel_area(annotation.segmentation, image.height, image.width) / (image.height * image.width))
    return np.array(found, np.float64)


def measure_light(dataset: Dataset, folder: Path, progress: Progress = silent) -> Light:
    """Brightness and contrast of at most `PHOTOS` photos. Photos that cannot be read are passed over."""
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
        progress("measuring light", done + 1, len(chosen))
    table = np.array(values, np.float64).reshape(-1, 2)
    return Light(table[:, 0], table[:, 1])


def suggest(facts: Facts) -> list[Suggestion]:
    """Suggestions about classes, sizes, photos, errors and labels, in this order.

    Settings that the run has already are left out. An empty list says that nothing stands out.
    """
    rules = (_missing, _unmeasurable, _rare, _pasted, _small, _background, _spread, _light, _few, _errors, _labels)
    found = []
    own = Recipe("", "", "", "", facts.config.model_dump(), "")
    for suggestion in (one for rule in rules for one in rule(facts)):
        new = tuple(one for one in suggestion.settings if resolve(own, [one]) != facts.config)
        if new or suggestion.instead:
            found.append(replace(suggestion, settings=new))
    return found


def together(suggestions: Sequence[Suggestion]) -> list[str]:
    """The settings of all suggestions, each name once: the first that was given."""
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
    reason = f"{', '.join(names)}: no annotation, so it cannot be learned, and predicting it anywhere costs score"
    return [
        Suggestion("absent classes", reason, instead="--extra OTHER.json:IMAGES_DIR:0.5 adds a data set that has them")
    ]


def _unmeasurable(facts: Facts) -> list[Suggestion]:
    counts, photos = _class_table(facts)
    few = [n for n in range(1, len(counts)) if 0 < photos[n] < FEWEST_TO_MEASURE]
    if not few:
        return []
    names = facts.dataset.classes.names
    said = ", ".join(f"{names[n]} ({counts[n]} in {_number(photos[n], 'photo')})" for n in few)
    reason = f"{said}: too few to measure, so mIoU moves with their luck; choose no setting by it"
    instead = "compare runs by folds pooled (train --fold all) and by the IoU of the other classes"
    return [Suggestion("classes beyond measure", reason, instead=instead)]


def _rare(facts: Facts) -> list[Suggestion]:
    _, photos = _class_table(facts)
    total = len(facts.dataset.images)
    rare = sorted((n for n in range(1, len(photos)) if 0 < photos[n] < RARE_SHARE * total), key=lambda n: photos[n])
    if not rare:
        return []
    # the least threshold, in hundredths, that shows the rarest class so often: sqrt(threshold / share) = BOOST
    threshold = max(RARE_SHARE, math.ceil(100 * BOOST**2 * photos[rare[0]] / total) / 100)
    oversample = facts.config.data.oversample
    if oversample.threshold >= threshold:
        return []
    factor = min(oversample.most, math.sqrt(threshold * total / photos[rare[0]]))
    said = ", ".join(f"{facts.dataset.classes.names[n]} in {photos[n]} of {total} photos" for n in rare[:4])
    more = f" and {len(rare) - 4} more" if len(rare) > 4 else ""
    reason = (
        f"{said}{more}: below {RARE_SHARE:.0%}; this shows photos of {facts.dataset.classes.names[rare[0]]} "
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
    shares = {b: class_weights(counts, present, b, np.ones(len(counts)))[rarest] for b in ("sqrt", "uniform")}
    balance = "sqrt" if shares["sqrt"] <= 0.35 else "uniform"
    reason = (
        f"{names[rarest]} has {_number(counts[rarest], 'annotation')}, the commonest class {counts.max()} "
        f"({ratio:.0f} times as many); balance {balance} pastes {names[rarest]} in {shares[balance]:.0%} of cases"
    )
    if balance == "uniform":
        reason += f", sqrt in {shares['sqrt']:.0%}, too often the same few objects"
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
    return [Suggestion("small objects", reason + "; crops placed on objects show them larger", tuple(settings))]


def _background(facts: Facts) -> list[Suggestion]:
    if not len(facts.areas):
        return []
    covered = float(facts.areas.sum()) / len(facts.dataset.images)
    if covered >= 0.1:
        return []
    reason = f"objects cover {covered:.1%} of the pixels, so most of a random crop is background"
    return [Suggestion("much background", reason, ("data.focus.p=0.5", 'loss="ce + dice"'))]


def _spread(facts: Facts) -> list[Suggestion]:
    if len(facts.areas) < 20:
        return []
    low, middle, high = np.quantile(np.sqrt(facts.areas), [0.1, 0.5, 0.9]).tolist()
    if high < 4 * max(low, 1e-6):
        return []
    reason = (
        f"objects' sides go from {low:.0%} to {high:.0%} of the photo's (10th and 90th percentile, "
        f"median {middle:.0%}): {high / max(low, 1e-6):.0f} times; batches of several sizes teach more of them"
    )
    return [Suggestion("sizes far apart", reason, ("data.multi_scale=0.25",))]


# --- photos ----------------------------------------------------------------------------------------------------------


def _light(facts: Facts) -> list[Suggestion]:
    light = facts.light
    if light is None or len(light.means) < 10:
        return []
    dark, bright = float((light.means < DARK).mean()), float((light.means > BRIGHT).mean())
    spread = float(light.means.std())
    if facts.config.data.augment not in ("none", "light") or (dark + bright < MUCH and spread < 40):
        return []
    reason = (
        f"of {len(light.means)} photos {dark:.0%} are dark and {bright:.0%} bright, mean grey values "
        f"{light.means.mean():.0f} with standard deviation {spread:.0f}; strong changes them more than light does"
    )
    return [Suggestion("changing light", reason, ("data.augment=strong",))]


def _few(facts: Facts) -> list[Suggestion]:
    config, total = facts.config, len(facts.dataset.images)
    batch = config.data.batch_size if config.data.batch_size != "auto" else 8
    steps = max(1, round(0.8 * total / batch))
    found = []
    if total < 1000 and config.data.augment in ("none", "light"):
        reason = f"{total} photos are seen {config.epochs} times each, and would be learned by heart"
        found.append(Suggestion("few photos", reason, ("data.augment=strong",)))
    if steps * config.epochs < FEW_STEPS:
        epochs = min(MOST_EPOCHS, -(-FEW_STEPS // steps))
        reason = (
            f"{config.epochs} epochs of {steps} steps are {steps * config.epochs}; a fresh decoder wants {FEW_STEPS}"
        )
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
        said = ", ".join(f"{share:.0%} of {names[n]}" for share, n in sorted(missed, reverse=True)[:4])
        reason = f"out-of-fold, {said} is taken for background; Tversky weighs missed pixels above false ones"
        found.append(Suggestion("missed objects", reason, ('loss="ce + tversky"', "data.focus.p=0.5")))
    pairs = [(matrix[a, b] / truth[a], a, b) for a in judged for b in range(1, len(names)) if a != b]
    confused = [one for one in sorted(pairs, reverse=True) if one[0] > MUCH][:3]
    if confused:
        said = ", ".join(f"{share:.0%} of {names[a]} is called {names[b]}" for share, a, b in confused)
        factors = ", ".join(f'"{name}" = 2.0' for name in dict.fromkeys(names[a] for _, a, _ in confused))
        reason = f"out-of-fold, {said}; seen on other backgrounds, the object has to tell it and not its surroundings"
        found.append(
            Suggestion("confused classes", reason, ("data.copy_paste.p=0.5", f"data.copy_paste.classes={{{factors}}}"))
        )
    if len(judged) > 2:
        middle = float(np.median(iou[judged]))
        weak = [n for n in judged if iou[n] < middle - 0.15]
        if weak:
            said = ", ".join(f"{names[n]} {iou[n]:.2f}" for n in weak)
            reason = f"out-of-fold IoU {said} against a median of {middle:.2f}"
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
        reason = f"{count} findings about {total} annotations contradict each other (duplicates, overlaps of classes)"
        found.append(
            Suggestion(
                "contradicting labels", reason, ('loss="smooth-ce + dice"',), f"trashkit audit {path} shows them"
            )
        )
    rough = audited.get("box-as-mask", 0) + audited.get("coarse-outline", 0)
    if rough / total > 0.1:
        reason = f"{rough} of {total} outlines are boxes or coarse: no loss on borders (boundary, lovasz) will help"
        found.append(Suggestion("rough outlines", reason, instead=f"trashkit audit {path} --select G050,G051"))
    if audited.get("near-duplicate-photo", 0):
        reason = f"{audited['near-duplicate-photo']} photos are nearly the same as another: in two folds they leak"
        instead = f"trashkit split {path} --images DIR --out split.json, then train --split split.json"
        found.append(Suggestion("repeated photos", reason, instead=instead))
    blurred = audited.get("blurred-photo", 0)
    if blurred / len(facts.dataset.images) > 0.05 and facts.config.data.augment in ("none", "light"):
        reason = f"{blurred} of {len(facts.dataset.images)} photos are blurred; strong blurs and compresses some"
        found.append(Suggestion("blurred photos", reason, ("data.augment=strong",)))
    return found
