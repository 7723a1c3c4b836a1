"""HTML page of a split's quality report, and the table rows that the terminal shows too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trashkit.report.html import Html, bars, block, heading, page, paragraph, table

COLORS = ("#2f7ed8", "#e4572e", "#3a9d5d", "#8e44ad", "#c98b00", "#16a2b8", "#555555", "#d6336c")


CRITERIA_COLUMNS = ("criterion", "worst %", "mean %", "floor %", "joint floor %")
FLOORS = (
    "The floor is a lower bound for any split with these groups, the joint floor for any that also gives every fold "
    "its images of each class."
)


def criteria_rows(quality: Mapping[str, Any]) -> list[list[object]]:
    """Rows (criterion, worst deviation, mean deviation, floor of the worst, joint floor), in percent."""
    keys = ("worst", "mean", "floor", "joint_floor")
    return [
        [name.replace("_", " "), *(None if row.get(key) is None else round(100 * row[key], 2) for key in keys)]
        for name, row in quality["criteria"].items()
    ]


def class_rows(quality: Mapping[str, Any]) -> list[list[object]]:
    """Rows (class, images, then per fold "images (pixels, percent off their share)"), rarest class first."""
    return [
        [name, row["images"], *map(_off, row["support"], row["pixel_share"])]
        for name, row in quality["per_class"].items()
    ]


def instance_rows(quality: Mapping[str, Any]) -> list[list[object]]:
    """Rows (class, instances, then per fold "instances (percent off their share)"); empty for older reports."""
    return [
        [name, row["instances"], *map(_off, row["instances_held"], row["instances_off"])]
        for name, row in quality["per_class"].items()
        if "instances_held" in row
    ]


def _off(count: int, share: float | None) -> str:
    if share is None:
        return str(count)
    # + 0.0 turns -0.0 into 0.0
    return f"{count} ({round(100 * share, 1) + 0.0:+.1f})" if abs(share) < 0.0995 else f"{count} ({100 * share:+.0f})"


def outlier_rows(alike: Mapping[str, Any], most: int) -> list[list[object]]:
    """Rows (rank, training photo least like the test photos, test photo least like the training photos)."""
    sides = [[str(name) for name in alike.get(f"most_foreign_{side}", [])[:most]] for side in ("train", "test")]
    longest = max(map(len, sides))
    train, test = ([*side, *[""] * (longest - len(side))] for side in sides)
    return [[n + 1, one, other] for n, (one, other) in enumerate(zip(train, test, strict=True))]


def split_page(quality: Mapping[str, Any], *, title: str) -> str:
    """A self-contained HTML page of a quality report (`trashkit.split.quality.QualityReport`)."""
    folds = range(len(quality["folds"]))
    color = [COLORS[k % len(COLORS)] for k in folds]
    repeats = len(quality.get("repeats") or [quality])
    several = f": {repeats} repeats, one after another; deviations are the worst of them" if repeats > 1 else ""
    pieces: list[Html] = [paragraph(f"{quality['images']} images in {len(folds)} folds{several}", css="lead")]
    pieces += [paragraph(f"Warning: {line}") for line in quality["warnings"]]
    pieces.append(heading("Deviation of the folds from the data set"))
    pieces.append(
        paragraph(
            f"Relative deviation in percent. {FLOORS} Classes in fewer than 5 images per fold are not counted here.",
            css="note",
        )
    )
    rows = [
        ["–" if v is None else v if isinstance(v, str) else f"{v:.2f}" for v in row] for row in criteria_rows(quality)
    ]
    pieces.append(table(CRITERIA_COLUMNS, rows))
    pieces += [paragraph(line) for line in quality.get("explained", [])]
    pieces.append(heading("Folds"))
    pieces.append(
        bars("Images", [(f"fold {k}", float(quality["folds"][k]["images"]), color[k]) for k in folds], form="{:.0f}")
    )
    noise = [quality["folds"][k]["expected_miou_sd"] for k in folds]
    pieces.append(
        bars(
            "Expected standard deviation of the mIoU",
            [(f"fold {k}", float("nan") if noise[k] is None else noise[k], color[k]) for k in folds],
        )
    )
    pieces.append(paragraph(f"Assumed: {quality['expected_sd_assumes']}.", css="note"))
    groups = quality["groups"]
    pieces.append(
        paragraph(f"{groups['groups']} groups, the largest with {groups['largest']} images; {groups['broken']} broken.")
    )
    pieces.append(heading("Classes, rarest first"))
    for name, row in quality["per_class"].items():
        whole = [1 + share if share is not None else float("nan") for share in row["pixel_share"]]
        charts = [("images", row["support"], "{:.0f}"), ("pixels, 1 is its share", whole, "{:.3f}")]
        if "instances_held" in row:  # absent in older reports
            charts.append(("instances", row["instances_held"], "{:.0f}"))
        pieces.append(
            block(
                name,
                [
                    bars(words, [(f"fold {k}", float(values[k]), color[k]) for k in folds], form=form)
                    for words, values, form in charts
                ],
            )
        )
    pieces += [*_numbers(quality), *_test_photos(quality)]
    return page(title, pieces)


def _numbers(quality: Mapping[str, Any]) -> list[Html]:
    names = [f"fold {k}" for k in range(len(quality["folds"]))]
    made = [heading("Numbers"), paragraph("Images (pixels, percent off their share).")]
    made.append(table(["class", "images", *names], class_rows(quality)))
    if instance_rows(quality):
        made.append(paragraph("Instances (percent off their share)."))
        made.append(table(["class", "instances", *names], instance_rows(quality)))
    return made


def _test_photos(quality: Mapping[str, Any]) -> list[Html]:
    """Comparison of training and test photos, if the split was made with them."""
    alike = quality.get("test_likeness")
    if not alike:
        return []
    text = f"{alike['words']}: AUC {alike['auc']:.3f} ± {alike['auc_sd']:.3f}."
    columns = ["", "training photos least like the test photos", "test photos least like the training photos"]
    return [heading("Test photos"), paragraph(text), table(columns, outlier_rows(alike, 20))]
