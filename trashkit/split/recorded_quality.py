"""Types of a quality report that was read from a file, see `trashkit.split.quality.QualityReport`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from trashkit.readers import ContentError, checked

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Shares = list[float | None]


class _Class(TypedDict):
    images: _Count
    support: list[_Count]
    pixel_share: _Shares
    counted: NotRequired[bool]
    instances: NotRequired[float]
    instances_held: NotRequired[list[float]]
    instances_off: NotRequired[_Shares]


class _Fold(TypedDict):
    images: _Count
    expected_miou_sd: float | None


class _Groups(TypedDict):
    groups: _Count
    largest: _Count
    broken: _Count


class _TestPhotos(TypedDict):
    words: str
    auc: float
    auc_sd: float
    most_foreign_train: NotRequired[list[str]]
    most_foreign_test: NotRequired[list[str]]


class _Report(TypedDict):
    images: _Count
    criteria: dict[str, dict[str, float | None]]
    per_class: dict[str, _Class]
    folds: list[_Fold]
    groups: _Groups
    expected_sd_assumes: str
    warnings: list[str]
    explained: NotRequired[list[str]]
    repeats: NotRequired[list[_Report]]
    test_likeness: NotRequired[_TestPhotos]


def report_problem(quality: Mapping[str, Any]) -> str:
    """What is wrong with a recorded quality report, as a clause; empty if it can be shown."""
    try:
        report: _Report = checked(dict(quality), _Report)
    except ContentError as error:
        return str(error)
    for one in (report, *report.get("repeats", ())):
        for name, row in one["per_class"].items():
            lists = [row["support"], row["pixel_share"]]
            if "instances_held" in row:
                lists += [row["instances_held"], row.get("instances_off", [])]
                if "instances" not in row:
                    return f"at per_class: {name} has no instances"
            if any(len(values) != len(one["folds"]) for values in lists):
                return f"at per_class: {name} has not one value for each of the {len(one['folds'])} folds"
    return ""
