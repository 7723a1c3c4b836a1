"""Grade an audit against the planted errors: recall and precision by type of error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Place = tuple[str, Any]

CODES: dict[str, tuple[str, ...]] = {
    "missing-photo": ("I001",),
    "truncated-photo": ("I003",),
    "repeated-file-name": ("S031", "S032", "S033"),
    "duplicate-photo": ("I009",),
    "test-leak": ("I011",),
    "other-scale": ("G013",),
    "swapped-axes": ("G012", "G014"),
    "dangling-license": ("S015",),
    "duplicate-annotation-id": ("S011",),
    "dangling-image": ("S013",),
    "dangling-category": ("S014",),
    "self-intersecting-ring": ("G003",),
    "out-of-bounds": ("G010",),
    "ring-outside": ("G011",),
    "wrong-area": ("G022",),
    "null-area": ("S006", "S007"),
    "nan-area": ("S001", "S008"),
    "unused-category": ("S021",),
    "wrong-bbox": ("G023",),
    "empty-segmentation": ("G001",),
    "odd-coordinates": ("G002",),
    "too-few-points": ("G002",),
    "repeated-vertices": ("G005",),
    "zero-area": ("G020",),
    "overlapping-parts": ("G030", "G031"),
    "exact-duplicate": ("L001",),
    "near-duplicate": ("L002",),
    "box-as-mask": ("G050",),
    "class-swap": (),
    "dropped-object": (),
    "shifted": (),
    "coarse-outline": ("G051",),
    "merged": (),
    "spurious": (),
}
"""Checks that should find each type of error. Label noise without a code needs photos or predictions to be found."""


@dataclass(frozen=True)
class Grade:
    """Result for one type of error: how many were planted and found.

    deterministic: whether the file or a photo proves the error, unlike label noise. precision: share of the findings
    with these codes that concern planted errors; None without such findings.
    """

    kind: str
    codes: tuple[str, ...]
    deterministic: bool
    planted: int
    found: int
    precision: float | None


def grade(planted: Sequence[Mapping[str, Any]], findings: Sequence[Mapping[str, Any]]) -> list[Grade]:
    """Grades by planted type, in the order of the list. Both are plain JSON values: planted.json and an audit's."""
    about: dict[str, set[Place]] = {}
    for finding in findings:
        about.setdefault(finding["code"], set()).update(_named(finding, finding["related"]))
    explained = {place for one in planted for place in _places(one)}
    kinds = dict.fromkeys(one["type"] for one in planted)
    grades = []
    for kind in kinds:
        entries = [one for one in planted if one["type"] == kind]
        codes = CODES[kind]
        seen = {place for code in codes for place in about.get(code, ())}
        mine = [finding for finding in findings if finding["code"] in codes]
        right = sum(bool(_named(finding, ()) & explained) for finding in mine)
        grades.append(
            Grade(
                kind,
                codes,
                all(one["kind"] == "defect" for one in entries),
                len(entries),
                sum(bool(_places(one) & seen) for one in entries),
                right / len(mine) if mine else None,
            )
        )
    return grades


def _named(finding: Mapping[str, Any], related: Sequence[int]) -> set[Place]:
    places: set[Place] = {(finding["block"], row) for row in [finding["row"], *related] if row is not None}
    if finding["block"] == "images":  # findings about a whole image are matched by its id
        places.add(("image id", finding["image_id"]))
    return places


def _places(one: Mapping[str, Any]) -> set[Place]:
    return {(one["block"], row) for row in one["rows"]} | {("image id", image_id) for image_id in one["image_ids"]}
