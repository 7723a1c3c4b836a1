"""A round of pseudo-labelling as one page: what was kept of each class, what changed, and pictures to judge it by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import ClassMap, Image
from trashkit.label_maps import LabelMaps
from trashkit.masks import resize_nearest
from trashkit.photos import photo_path, read_photo
from trashkit.pseudo.labels import Count, Members
from trashkit.pseudo.selection import IGNORE, STEPS, Selection, select
from trashkit.report.html import Card, Html, bars, gallery, heading, join, page, paragraph, picture, rgb, table
from trashkit.report.overlay import overlay, side_by_side

Pixels = NDArray[np.uint8]

TARGETS = {
    "hard": "Taught: the class of each kept pixel.",
    "soft": "Taught: the teachers' probabilities, on each picture as the student sees it, over the kept pixels.",
    "online": "Taught: what the moving average of the student's own weights is certain of while it learns; the labels "
    "below are those of the teachers before, whose thresholds it takes.",
}

SHOWN = 24
"""Images on the page: a third of them those that keep least, the others spread over the file."""


def shown_images(count: Count, images: Sequence[Image], most: int = SHOWN) -> list[int]:
    """Positions of the images to show: the least kept first, then others spread evenly in file order."""
    order = sorted(range(len(images)), key=lambda n: (count.kept_share[images[n].file_name], n))
    least = order[: most // 3]
    rest = sorted(order[most // 3 :])
    room = most - len(least)
    if len(rest) > room:
        rest = [rest[round(k * (len(rest) - 1) / max(1, room - 1))] for k in range(room)]
    return [*least, *dict.fromkeys(rest)]


def cards(
    members: Members,
    folder: Path,
    classes: ClassMap,
    count: Count,
    chosen: NDArray[np.int32],
    *,
    selection: Selection,
    title: str = "",
    earlier: LabelMaps | None = None,
    most: int = SHOWN,
) -> list[Card]:
    """One card per shown image: the photo with its pseudo-labels, ignored pixels dark, beside its certainty.

    chosen: the step that each class's pixels must reach, as from `trashkit.pseudo.selection.thresholds`. earlier: the
    label maps of the round before; what changed since is drawn as a third picture.
    """
    before = {image.file_name: image.row for image in earlier.images} if earlier is not None else {}
    made = []
    for n in shown_images(count, members.images, most):
        image = members.images[n]
        look = members.look(n, selection)
        labels = select(look.labels, look.steps, chosen, look.agree, selection.agreement)
        height, width = members.size
        whole = read_photo(photo_path(folder, image.file_name), (image.width, image.height))
        photo = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
        share = count.kept_share[image.file_name]
        left = image.file_name in count.left_out
        facets = {"image": "left out" if left else "kept", **({"fold": title} if title else {})}
        shown = drawn(photo, labels, look.steps, classes)
        if earlier is not None and image.file_name in before:
            old = resize_nearest(earlier.read(before[image.file_name]), members.size)
            shown = side_by_side([shown, changed_pixels(photo, old, labels)])
        body = join([picture(shown), paragraph(f"{share:.0%} of its pixels kept")])
        made.append(Card(image.file_name, body, facets))
    return made


def drawn(photo: Pixels, labels: Pixels, steps: NDArray[np.int32], classes: ClassMap) -> Pixels:
    """Labels on the photo, ignored pixels dark, and beside it certainty from dark (0) to yellow (1)."""
    shown = overlay(photo, labels, classes)
    shown[labels == IGNORE] //= 3
    heat = cv2.applyColorMap((steps * 255 // STEPS).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    return side_by_side([shown, np.asarray(cv2.cvtColor(heat, cv2.COLOR_BGR2RGB), np.uint8)])


def changed_pixels(photo: Pixels, before: Pixels, after: Pixels) -> Pixels:
    """The photo, dark, with pixels of another class than before in pink, gained ones in green, lost ones in red."""
    shown = photo // 3
    kept_before, kept_after = before != IGNORE, after != IGNORE
    for pixels, color in (
        (kept_before & kept_after & (before != after), (255, 40, 220)),
        (kept_after & ~kept_before, (60, 220, 90)),
        (kept_before & ~kept_after, (220, 60, 60)),
    ):
        shown[pixels] = color
    return shown


def class_rows(count: Count) -> list[list[object]]:
    """Rows (class, predicted, kept, share kept, images, threshold, mix predicted, mix kept, mix in training)."""
    predicted, kept = max(1, sum(count.predicted)), max(1, sum(count.kept))
    return [
        [
            name,
            count.predicted[n],
            count.kept[n],
            count.kept[n] / count.predicted[n] if count.predicted[n] else None,
            count.images[n],
            count.thresholds[n],
            count.predicted[n] / predicted,
            count.kept[n] / kept,
            count.training_mix[n],
        ]
        for n, name in enumerate(count.names)
    ]


CLASS_COLUMNS = (
    "class", "pixels predicted", "pixels kept", "share kept", "images", "threshold", "mix predicted", "mix kept",
    "mix in training",
)  # fmt: skip


def group_pieces(title: str, count: Count, changed: Mapping[str, Any] | None, classes: ClassMap) -> list[Html]:
    """One student's labels: images and pixels kept, class mix, and change since the round before."""
    stay = len(count.kept_share) - len(count.left_out)
    pixels = sum(count.kept) / max(1, sum(count.predicted))
    pieces = [heading(title or "Labels")]
    pieces.append(
        paragraph(f"{stay} of {len(count.kept_share)} images stay, with {pixels:.1%} of all pixels.", css="lead")
    )
    pieces.append(table(CLASS_COLUMNS, class_rows(count)))
    colors = [rgb(color) for color in classes.colors]
    kept = max(1, sum(count.kept))
    # Background would leave no room for the others.
    for name, values in (
        ("Class mix of the pseudo-labels, without background", [value / kept for value in count.kept]),
        ("Class mix of the training labels, without background", list(count.training_mix)),
    ):
        whole = sum(values[1:]) or 1.0
        rows = [
            (label, value / whole, colors[n]) for n, (label, value) in enumerate(zip(count.names, values, strict=True))
        ]
        pieces.append(bars(name, rows[1:], form="{:.1%}"))
    if changed:
        share = changed["relabelled_share"]
        pieces.append(heading("Since the round before", 3))
        pieces.append(
            paragraph(
                f"Of {changed['both']} pixels kept in both rounds {changed['relabelled']} have another class"
                + (f" ({share:.2%})" if share is not None else "")
                + f"; {changed['gained']} were gained and {changed['lost']} lost. {changed['only_after']} images came "
                f"in, {changed['only_before']} went out."
            )
        )
        columns = ["class", "pixels before", "pixels now", "went to another class", "came from another class"]
        pieces.append(table(columns, [[name, *row.values()] for name, row in changed["by_class"].items()]))
    if count.left_out:
        pieces.append(paragraph(f"Left out: {', '.join(count.left_out[:50])}", css="note"))
    return pieces


def round_page(
    record: Mapping[str, Any],
    groups: Sequence[tuple[str, Count, Mapping[str, Any] | None]],
    pictures: Sequence[Card],
    classes: ClassMap,
) -> str:
    """The whole page. groups: title, count and change of each student; record: as `pseudo.json` holds it."""
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
    for title, count, changed in groups:
        pieces += group_pieces(title, count, changed, classes)
    pieces.append(heading("Pictures"))
    pieces.append(
        paragraph(
            "Left: pseudo-labels on the photo, ignored pixels dark. Beside it: certainty, yellow is sure. In later "
            "rounds also what changed: pink has another class, green was gained, red was lost.",
            css="note",
        )
    )
    pieces.append(gallery(pictures))
    return page("Pseudo-labels", pieces)
