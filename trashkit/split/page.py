"""A split as a page: what it holds by class and fold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trashkit.report.html import Html, bars, heading, page, paragraph, table

COLORS = ("#2f7ed8", "#e4572e", "#3a9d5d", "#8e44ad", "#c98b00", "#16a2b8", "#555555", "#d6336c")


def criteria_rows(quality: Mapping[str, Any]) -> list[list[object]]:
    """Rows (criterion, worst deviation, mean deviation, floor of the worst), in percent."""
    return [
        [name.replace("_", " "), *(None if row[key] is None else 100 * row[key] for key in ("worst", "mean", "floor"))]
        for name, row in quality["criteria"].items()
    ]


def class_rows(quality: Mapping[str, Any]) -> list[list[object]]:
    """Rows (class, images, then per fold "images, deviation of pixel share"), rarest class first."""
    return [
        [
            name,
            row["images"],
            *(
                f"{count} ({100 * share:+.1f}%)" if share is not None else str(count)
                for count, share in zip(row["support"], row["pixel_share"], strict=True)
            ),
        ]
        for name, row in quality["per_class"].items()
    ]


def split_page(quality: Mapping[str, Any], *, title: str) -> str:
    """A self-contained HTML page of a split's report (`trashkit.split.quality.quality`)."""
    folds = range(len(quality["folds"]))
    color = [COLORS[k % len(COLORS)] for k in folds]
    repeats = len(quality.get("repeats") or [quality])
    several = f": {repeats} repeats one after the other, deviations are the worst of them" if repeats > 1 else ""
    pieces: list[Html] = [paragraph(f"{quality['images']} images in {len(folds)} folds{several}", css="lead")]
    pieces += [paragraph(f"Warning: {line}") for line in quality["warnings"]]
    pieces.append(heading("How far the folds are from the whole"))
    pieces.append(
        paragraph(
            "Relative deviation in percent. The floor is what no split with these groups can go below. Classes in "
            "fewer than 5 images per fold are not counted here.",
            css="note",
        )
    )
    pieces.append(table(["criterion", "worst %", "mean %", "floor %"], criteria_rows(quality)))
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
        paragraph(
            f"{groups['groups']} groups, of which the largest holds {groups['largest']} images; "
            f"{groups['broken']} broken."
        )
    )
    pieces.append(heading("Classes, rarest first"))
    for name, row in quality["per_class"].items():
        whole = [1 + share if share is not None else float("nan") for share in row["pixel_share"]]
        pieces.append(
            bars(
                f"{name}: images",
                [(f"fold {k}", float(row["support"][k]), color[k]) for k in folds],
                form="{:.0f}",
            )
        )
        pieces.append(
            bars(
                f"{name}: pixels, 1 is its share",
                [(f"fold {k}", whole[k], color[k]) for k in folds],
                form="{:.3f}",
            )
        )
    pieces.append(heading("Numbers"))
    pieces.append(table(["class", "images", *(f"fold {k}" for k in folds)], class_rows(quality)))
    return page(title, pieces)
