"""Files whose coordinates are in another unit: one error that names the factor, and a cure where it is proven."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fixes.fix_file import fix
from trashkit.coco import Coco

WIDTH, HEIGHT = 640, 480


def times(value: dict[str, Any], x: float, y: float, *, what: str = "segmentation bbox area") -> dict[str, Any]:
    """The file with these fields multiplied."""
    for one in value["annotations"]:
        if "segmentation" in what:
            one["segmentation"] = [[side * (x, y)[n % 2] for n, side in enumerate(r)] for r in one["segmentation"]]
        if "bbox" in what:
            one["bbox"] = [side * (x, y)[n % 2] for n, side in enumerate(one["bbox"])]
        if "area" in what:
            one["area"] *= x * y
    return value


def without(value: dict[str, Any], *names: str) -> dict[str, Any]:
    for one in value["annotations"]:
        for name in names:
            del one[name]
    return value


CURED = {
    "all fields in 0..1": lambda v: times(v, 1 / WIDTH, 1 / HEIGHT),
    "polygons in 0..1": lambda v: times(v, 1 / WIDTH, 1 / HEIGHT, what="segmentation"),
    "polygons in 0..1, nothing else": lambda v: without(times(v, 1 / WIDTH, 1 / HEIGHT), "bbox", "area"),
    "percent, area and bbox right": lambda v: times(v, 100 / WIDTH, 100 / HEIGHT, what="segmentation"),
    "percent, area right": lambda v: times(v, 100 / WIDTH, 100 / HEIGHT, what="segmentation bbox"),
    "percent, no area": lambda v: without(times(v, 100 / WIDTH, 100 / HEIGHT, what="segmentation"), "area"),
    "thousandths": lambda v: times(v, 1000 / WIDTH, 1000 / HEIGHT, what="segmentation"),
    "thousandths, all fields": lambda v: times(v, 1000 / WIDTH, 1000 / HEIGHT),
    "a square of 640, boxes right": lambda v: times(v, 640 / WIDTH, 640 / HEIGHT, what="segmentation"),
    "boxes in a square of 640": lambda v: times(v, 640 / WIDTH, 640 / HEIGHT, what="bbox"),
    "half": lambda v: times(v, 0.5, 0.5, what="segmentation"),
    "three times": lambda v: times(v, 3, 3, what="segmentation"),
    "three times, no area": lambda v: without(times(v, 3, 3, what="segmentation"), "area"),
    "three times, area right": lambda v: times(v, 3, 3, what="segmentation bbox"),
    "boxes in 0..1": lambda v: times(v, 1 / WIDTH, 1 / HEIGHT, what="bbox"),
    "boxes twice as large": lambda v: times(v, 2, 2, what="bbox"),
}


@pytest.mark.parametrize("name", CURED)
def test_one_error_and_a_cure(name: str) -> None:
    value = CURED[name](clean_file())
    coco = Coco.of(copy.deepcopy(value))
    findings = [f for f in audit(coco, workers=1).findings if f.code[0] == "G"]
    assert [(f.code, f.severity, f.fix) for f in findings] == [("G015", "error", "unsafe")]
    safe = fix(coco, workers=1)
    assert safe.coco.records("annotations") == value["annotations"] or "nothing" in name
    result = fix(coco, unsafe=True, workers=1)
    for after, right in zip(result.coco.records("annotations"), clean_file()["annotations"], strict=True):
        assert after["segmentation"][0] == pytest.approx(right["segmentation"][0], abs=0.01)
        assert after["bbox"] == pytest.approx(right["bbox"], abs=0.6)
        assert after["area"] == pytest.approx(right["area"], rel=0.01)
    assert result.coco.records("images") == value["images"]
    assert not [f for f in audit(result.coco, workers=1).findings if f.code[0] == "G"]
    assert fix(result.coco, unsafe=True, workers=1).edits == []


def test_the_factor_is_named() -> None:
    for name, said in (("half", "2 times too small"), ("three times", "3 times too large"), ("thousandths", "/ 1000")):
        (finding,) = [f for f in audit(Coco.of(CURED[name](clean_file())), workers=1).findings if f.code == "G015"]
        assert said in finding.message


def test_some_polygons_in_fractions() -> None:
    value = clean_file()
    some = {"annotations": value["annotations"][4:9]}
    times(some, 1 / WIDTH, 1 / HEIGHT, what="segmentation")
    result = fix(Coco.of(value), unsafe=True, workers=1)
    assert len(result.coco.records("annotations")) == len(value["annotations"])
    for after, right in zip(result.coco.records("annotations"), clean_file()["annotations"], strict=True):
        assert after["segmentation"][0] == pytest.approx(right["segmentation"][0], abs=0.01)


NOT_PROVEN = {
    "areas of larger images": lambda v: times(v, 2, 2, what="area") and times(v, 0.8, 0.8, what="area"),
    "boxes smaller, no area": lambda v: without(times(v, 0.7, 0.7, what="bbox"), "area"),
}


@pytest.mark.parametrize("name", NOT_PROVEN)
def test_without_proof_nothing_changes(name: str) -> None:
    value = NOT_PROVEN[name](clean_file())
    coco = Coco.of(copy.deepcopy(value))
    findings = [f for f in audit(coco, workers=1).findings if f.code[0] == "G"]
    assert "G015" in {f.code for f in findings} and all(f.fix is None for f in findings)
    result = fix(coco, unsafe=True, workers=1, ignore=["S"])
    assert result.coco.records("annotations") == value["annotations"]


@pytest.mark.parametrize("by", [(3, 3), (1.5, 2)])
def test_a_least_factor_is_one_error_and_no_cure(by: tuple[float, float]) -> None:
    value = times(clean_file(), *by)
    coco = Coco.of(copy.deepcopy(value))
    (finding,) = [f for f in audit(coco, workers=1).findings if f.code[0] == "G"]
    assert (finding.code, finding.severity, finding.fix) == ("G015", "error", None)
    assert "times too large" in finding.message and "at least" in finding.message
    result = fix(coco, unsafe=True, workers=1)
    assert result.coco.records("annotations") == value["annotations"]


def test_images_of_exchanged_size_are_no_other_scale() -> None:
    value = clean_file()
    for image in value["images"]:
        image.update(width=430, height=570)
    codes = {f.code for f in audit(Coco.of(value), workers=1).findings}
    assert "G012" in codes and "G015" not in codes


def small_objects(value: dict[str, Any]) -> dict[str, Any]:
    return times(value, 100 / WIDTH, 100 / HEIGHT)


@pytest.mark.parametrize(
    "sound", [lambda v: v, small_objects, lambda v: without(v, "area"), lambda v: without(v, "bbox")]
)
def test_files_in_pixels(sound: Any) -> None:
    assert "G015" not in {f.code for f in audit(Coco.of(sound(clean_file())), workers=1).findings}


def test_one_tiny_annotation_at_the_corner_is_no_other_scale() -> None:
    value = clean_file()
    del value["annotations"][1:]
    value["annotations"][0].update(segmentation=[[0, 0, 1, 0, 1, 1, 0, 1]], bbox=[0, 0, 1, 1], area=1)
    assert "G015" not in {f.code for f in audit(Coco.of(value), workers=1).findings}


def test_rows_that_cannot_be_read_do_not_matter() -> None:
    value = times(clean_file(), 1 / WIDTH, 1 / HEIGHT)
    value["annotations"] += [
        None,
        {"image_id": 1, "segmentation": [["a"]]},
        {"image_id": 1, "segmentation": [[1e308] * 6]},
    ]
    value["annotations"].append({"id": 900, "image_id": 77, "segmentation": [[0.1, 0.1, 0.2, 0.1, 0.2, 0.2]]})
    assert "G015" in {f.code for f in audit(Coco.of(value), workers=1).findings}
    result = fix(Coco.of(value), unsafe=True, workers=1)
    assert fix(result.coco, unsafe=True, workers=1).edits == []
