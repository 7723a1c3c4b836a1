"""The HTML page of a pseudo-label round: pixels kept by class, changes since the last round, and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Image
from trashkit.images.photos import photo_path, read_photo
from trashkit.metrics.summary import NOTHING_FOUND
from trashkit.pseudo.labels import LabelChange, LabelCounts, TeacherPredictions
from trashkit.pseudo.record import RoundRecord
from trashkit.pseudo.selection import IGNORE, STEPS, Selection, select
from trashkit.raster.label_maps import LabelMaps
from trashkit.raster.masks import resize_nearest
from trashkit.report.html import Card, Html, bars, gallery, heading, join, page, paragraph, picture, rgb, table
from trashkit.report.overlay import overlay, side_by_side

Pixels = NDArray[np.uint8]

TARGETS = {
    "hard": "Targets: the class of each kept pixel.",
    "soft": "Targets: the teachers' probabilities for the augmented image, over the kept pixels.",
    "online": "Targets: certain predictions of the moving average of the student's own weights; the labels below are "
    "the teachers', whose thresholds it uses.",
}

SHOWN = 24
"""Images on the page: a third are those that keep least, the others are spread over the file."""


def shown_images(counts: LabelCounts, images: Sequence[Image], most: int = SHOWN) -> list[int]:
    """Return positions of the images to show: those that keep least first, then others spread evenly in file order."""
    order = sorted(range(len(images)), key=lambda n: (counts.kept_share[images[n].file_name], n))
    least = order[: most // 3]
    rest = sorted(order[most // 3 :])
    free = most - len(least)
    if len(rest) > free:
        rest = [rest[round(k * (len(rest) - 1) / max(1, free - 1))] for k in range(free)]
    return [*least, *dict.fromkeys(rest)]


def cards(
    predictions: TeacherPredictions,
    folder: Path,
    classes: ClassMap,
    counts: LabelCounts,
    chosen: NDArray[np.int32],
    *,
    selection: Selection,
    title: str = "",
    earlier: LabelMaps | None = None,
    most: int = SHOWN,
) -> list[Card]:
    """Return one card per shown image: the photo with its pseudo-labels, ignored pixels dark, next to its certainty.

    chosen: the step that each class's pixels must reach, as from `trashkit.pseudo.selection.thresholds`. earlier: label
    maps of the round before; a third picture shows what changed.
    """
    before = {image.file_name: image.row for image in earlier.images} if earlier is not None else {}
    made = []
    for n in shown_images(counts, predictions.images, most):
        image = predictions.images[n]
        found = predictions.read(n, selection)
        labels = select(found.labels, found.steps, chosen, found.agree, selection.agreement)
        height, width = predictions.size
        whole = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
        photo = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        share = counts.kept_share[image.file_name]
        left = image.file_name in counts.left_out
        facets = {"image": "left out" if left else "kept", **({"fold": title} if title else {})}
        shown = drawn(photo, labels, found.steps, classes)
        if earlier is not None and image.file_name in before:
            old = resize_nearest(earlier.read(before[image.file_name]), predictions.size)
            shown = side_by_side([shown, changed_pixels(photo, old, labels)])
        body = join([picture(shown), paragraph(f"{share:.0%} of its pixels kept")])
        made.append(Card(image.file_name, body, facets))
    return made


def drawn(photo: Pixels, labels: Pixels, steps: NDArray[np.int32], classes: ClassMap) -> Pixels:
    """Return the photo with its labels, ignored pixels dark, next to its certainty from dark (0) to yellow (1)."""
    shown = overlay(photo, labels, classes)
    shown[labels == IGNORE] //= 3
    heat = cv2.applyColorMap((steps * 255 // STEPS).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return side_by_side([shown, np.asarray(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB), np.uint8)])


def changed_pixels(photo: Pixels, before: Pixels, after: Pixels) -> Pixels:
    """Return the photo, darkened, with relabelled pixels in pink, gained ones in green and lost ones in red."""
    shown = photo // 3
    kept_before, kept_after = before != IGNORE, after != IGNORE
    for pixels, color in (
        (kept_before & kept_after & (before != after), (255, 40, 220)),
        (kept_after & ~kept_before, (60, 220, 90)),
        (kept_before & ~kept_after, (220, 60, 60)),
    ):
        shown[pixels] = color
    return shown


def class_rows(counts: LabelCounts) -> list[list[object]]:
    """Return rows of class, pixels predicted and kept, share kept, images, threshold, and three class mixes."""
    predicted, kept = max(1, sum(counts.predicted)), max(1, sum(counts.kept))
    return [
        [
            name,
            counts.predicted[n],
            counts.kept[n],
            counts.kept[n] / counts.predicted[n] if counts.predicted[n] else None,
            counts.images[n],
            counts.thresholds[n],
            counts.predicted[n] / predicted,
            counts.kept[n] / kept,
            counts.training_mix[n],
        ]
        for n, name in enumerate(counts.names)
    ]


CLASS_COLUMNS = (
    "class", "pixels predicted", "pixels kept", "share kept", "images", "threshold", "mix predicted", "mix kept",
    "mix in training",
)  # fmt: skip


def group_pieces(title: str, counts: LabelCounts, changed: LabelChange | None, classes: ClassMap) -> list[Html]:
    """Return one student's labels: images and pixels kept, class mix, and changes since the round before."""
    stay = len(counts.kept_share) - len(counts.left_out)
    pixels = sum(counts.kept) / max(1, sum(counts.predicted))
    pieces = [heading(title or "Labels")]
    pieces.append(
        paragraph(f"{stay} of {len(counts.kept_share)} images are kept, with {pixels:.1%} of all pixels.", css="lead")
    )
    pieces.append(table(CLASS_COLUMNS, class_rows(counts)))
    colors = [rgb(color) for color in classes.shown_colors]
    kept = max(1, sum(counts.kept))
    # Background would leave no room for the others.
    for name, values in (
        ("Class mix of the pseudo-labels, without background", [value / kept for value in counts.kept]),
        ("Class mix of the training labels, without background", list(counts.training_mix)),
    ):
        whole = sum(values[1:]) or 1.0
        rows = [
            (label, value / whole, colors[n]) for n, (label, value) in enumerate(zip(counts.names, values, strict=True))
        ]
        pieces.append(bars(name, rows[1:], form="{:.1%}"))
    if changed:
        share = changed["relabelled_share"]
        pieces.append(heading("Changes since the previous round", 3))
        pieces.append(
            paragraph(
                f"Of {changed['both']} pixels kept in both rounds {changed['relabelled']} have another class"
                + (f" ({share:.2%})" if share is not None else "")
                + f"; {changed['gained']} were gained and {changed['lost']} lost. {changed['only_after']} images are "
                f"new, {changed['only_before']} are gone."
            )
        )
        columns = ["class", "pixels before", "pixels now", "went to another class", "came from another class"]
        pieces.append(table(columns, [[name, *row.values()] for name, row in changed["by_class"].items()]))
    if counts.left_out:
        pieces.append(paragraph(f"Left out: {', '.join(counts.left_out[:50])}", css="note"))
    return pieces


def _run_pieces(record: RoundRecord) -> list[Html]:
    """What was trained, with scores. A round of an earlier version is shown without what it did not record."""
    rows: list[list[object]] = []
    nothing: list[Html] = []
    for group in record.get("groups", ()):
        for run in group["runs"]:
            rows.append(
                [
                    run["path"],
                    group["fold"],
                    run["stage"],
                    run["miou"],
                    run.get("miou_without_background"),
                    run["epochs"],
                ]
            )
            if run.get("finds_almost_nothing"):
                nothing.append(paragraph(f"{run['path']}: {NOTHING_FOUND}.", css="warning"))
    if not rows:
        return []
    columns = ["run", "fold", "stage", "validation mIoU", "without background", "epochs"]
    return [heading("What was trained"), table(columns, rows), *nothing]


def round_page(
    record: RoundRecord,
    groups: Sequence[tuple[str, LabelCounts, LabelChange | None]],
    pictures: Sequence[Card],
    classes: ClassMap,
) -> str:
    """Return the whole page. groups: title, counts and changes of each student. record: as `pseudo.json` holds it."""
    parent = f", after round {record['parent']['round']} in {record['parent']['folder']}" if record["parent"] else ""
    pieces: list[Html] = [
        paragraph(f"Round {record['round']}{parent}. Strategy {record['strategy']}.", css="lead"),
        paragraph(f"Teachers: {', '.join(record['teachers'])}"),
        paragraph(", ".join(f"{key} {value}" for key, value in record["selection"].items()), css="note"),
        paragraph(TARGETS[record.get("targets", "hard")], css="note"),
        table(
            ["stage", "data", "starts from", "epochs", "rate", "weight", "ramp"],
            [
                [
                    one["name"],
                    "annotated + pseudo-labelled" if one["pseudo"] else "annotated",
                    one["start"],
                    one["epochs"],
                    one["rate"],
                    one["weight"] if one["pseudo"] else None,
                    one["ramp"] if one["pseudo"] else None,
                ]
                for one in record["stages"]
            ],
        ),
    ]
    pieces += _run_pieces(record)
    for title, counts, changed in groups:
        pieces += group_pieces(title, counts, changed, classes)
    pieces.append(heading("Pictures"))
    pieces.append(
        paragraph(
            "Left: pseudo-labels on the photo, ignored pixels dark. Right: certainty, from dark (0) to yellow (1). "
            "Later rounds also show what changed: pink pixels changed class, green ones were gained, red ones lost.",
            css="note",
        )
    )
    pieces.append(gallery(pictures))
    return page("Pseudo-labels", pieces)
