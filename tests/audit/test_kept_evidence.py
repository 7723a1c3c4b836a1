"""Fixes take further notations as what they are, and leave alone what other rows of the file call into question."""

from __future__ import annotations

import base64
import copy
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fixes.fix_file import fix
from trashkit.coco import Coco
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.raster.measures import union_area

WIDTH, HEIGHT = 200, 120
ARROW = [40, 44, 90, 44, 90, 29, 130, 64, 90, 99, 90, 84]
"""A ring without symmetry of x and y: left 40, top 29, width 90, height 70."""
Change = Callable[[dict[str, Any]], object]


def arrow(**changes: Any) -> dict[str, Any]:
    sound = {"id": 1, "image_id": 5, "category_id": 3, "segmentation": [ARROW], "iscrowd": 0}
    return {**sound, "area": union_area([ARROW], HEIGHT, WIDTH), "bbox": [40, 29, 90, 70], **changes}


def file(*annotations: dict[str, Any], width: int = WIDTH, height: int = HEIGHT) -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "p5.png", "width": width, "height": height}],
        "annotations": list(annotations),
        "categories": [{"id": 3, "name": "Can"}],
    }


def after(value: dict[str, Any], *, unsafe: bool) -> list[dict[str, Any]]:
    before = copy.deepcopy(value)
    result = fix(Coco.of(value), unsafe=unsafe, workers=1)
    assert value == before and fix(result.coco, unsafe=unsafe, workers=1).edits == []
    return result.coco.records("annotations")


def codes(value: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    found = audit(Coco.of(value), workers=1).findings
    return {one.code: (one.fix, one.message) for one in found if one.severity != "info"}


def triples(third: float = 2) -> list[float]:
    return [side for n in range(0, len(ARROW), 2) for side in (ARROW[n], ARROW[n + 1], third)]


POINTS = [f"{ARROW[n]} {ARROW[n + 1]}" for n in range(0, len(ARROW), 2)]
NOTATIONS = {
    "points with a visibility": [triples()],
    "points with a visibility as lists": [[triples()[n : n + 3] for n in range(0, len(triples()), 3)]],
    "WKT": f"POLYGON (({', '.join(POINTS)}))",
    "WKT of several": f"MULTIPOLYGON((({','.join(POINTS)})))",
}


@pytest.mark.parametrize(
    "name", ["points with a visibility", "points with a visibility as lists", "WKT", "WKT of several"]
)
def test_further_notations_of_polygons_are_read(name: str) -> None:
    value = file(arrow(segmentation=NOTATIONS[name]))
    assert after(value, unsafe=False) == value["annotations"], "the fix is not a safe one"
    assert after(value, unsafe=True) == [arrow()]


def test_a_ring_that_its_box_contradicts_is_not_repaired() -> None:
    value = file(arrow(segmentation=[triples()], bbox=[60, 3, 30, 20], area=77))
    assert codes(value)["G003"][0] is None and codes(value)["G023"][0] is None
    assert after(value, unsafe=True) == value["annotations"]


def test_a_bow_tie_in_its_box_is_repaired() -> None:
    tie = [10, 10, 60, 60, 60, 10, 10, 60]
    (fixed,) = after(file(arrow(segmentation=[tie], bbox=[10, 10, 50, 50], area=1250)), unsafe=False)
    assert len(fixed["segmentation"]) == 2


def covered() -> Any:
    return mask([ARROW], HEIGHT, WIDTH)


def in_pixels(**changes: Any) -> dict[str, Any]:
    rows, columns = covered().any(axis=1).nonzero()[0], covered().any(axis=0).nonzero()[0]
    box = [int(columns[0]), int(rows[0]), int(columns[-1] - columns[0] + 1), int(rows[-1] - rows[0] + 1)]
    return arrow(area=int(covered().sum()), bbox=box, **changes)


MASKS = {
    "base64": base64.b64encode(rle_from_mask(covered())["counts"].encode()).decode(),
    "zlib and base64": base64.b64encode(zlib.compress(rle_from_mask(covered())["counts"].encode())).decode(),
    "the background": rle_from_mask(~covered().astype(bool))["counts"],
}


@pytest.mark.parametrize("name", MASKS)
def test_further_notations_of_masks_are_read(name: str) -> None:
    value = file(in_pixels(segmentation={"size": [HEIGHT, WIDTH], "counts": MASKS[name]}))
    assert codes(value)["G041"][0] == "unsafe"
    assert after(value, unsafe=False) == value["annotations"]
    (restored,) = after(value, unsafe=True)
    assert (mask(restored["segmentation"], HEIGHT, WIDTH) == covered()).all()
    assert {**restored, "segmentation": 0} == in_pixels(segmentation=0)


def test_a_mask_of_the_background_without_proof_stays() -> None:
    value = file(in_pixels(segmentation={"size": [HEIGHT, WIDTH], "counts": MASKS["the background"]}))
    value["annotations"][0]["area"] = 5
    assert (
        "G041" not in codes(value) and after(value, unsafe=True)[0]["segmentation"]["counts"] == MASKS["the background"]
    )


def test_fractions_whose_boxes_say_that_both_were_divided_by_the_width() -> None:
    value = clean_file()
    right = copy.deepcopy(value["annotations"])
    for one in value["annotations"]:
        one["segmentation"] = [[side / 640 for side in ring] for ring in one["segmentation"]]
    assert "640 times too small" in codes(value)["G015"][1]
    for one, other in zip(after(value, unsafe=True), right, strict=True):
        assert one["segmentation"][0] == pytest.approx(other["segmentation"][0], abs=0.01)
        assert (one["bbox"], one["area"]) == (other["bbox"], other["area"])


def test_fractions_that_no_factor_brings_into_their_boxes_keep_them() -> None:
    value = clean_file()
    for one in value["annotations"]:
        one["segmentation"] = [[side / 640 for side in ring] for ring in one["segmentation"]]
        one["bbox"] = [side * (2 if n % 2 else 0.5) for n, side in enumerate(one["bbox"])]
        one["bbox"][0] += 150
    assert codes(value)["G015"][0] is None
    assert after(value, unsafe=True) == value["annotations"]


def test_fractions_of_which_a_few_do_not_fit_their_boxes_keep_these() -> None:
    value = clean_file()
    for one in value["annotations"]:
        one["segmentation"] = [[side / (480 if n % 2 else 640) for n, side in enumerate(one["segmentation"][0])]]
    strange = value["annotations"][0]["bbox"] = [500, 300, 40, 90]
    del value["annotations"][0]["area"]  # which would show that it is the box that is wrong
    found = after(value, unsafe=True)
    assert codes(value)["G015"][0] == "unsafe" and found[0]["bbox"] == strange
    for one, other in zip(found, clean_file()["annotations"], strict=True):
        assert one["segmentation"][0] == pytest.approx(other["segmentation"][0], abs=0.01)


def test_areas_as_shares_of_the_image_are_measured_anew() -> None:
    value = clean_file()
    right = copy.deepcopy(value["annotations"])
    for one in value["annotations"]:
        one["area"] /= 640 * 480
    assert set(codes(value)) == {"G022"} and after(value, unsafe=False) == right


def test_the_area_tells_a_thumbnail_from_boxes_in_another_unit() -> None:
    """One annotation at the corner: half its size, or boxes in 0..1000 of 512 pixels, which is near that."""
    whole = [88.3, 50.9, 62.1, 88.9, 20.4, 75.4, 24.4, 29.7, 64.8, 3.8]
    sound = arrow(segmentation=[whole], bbox=[20.4, 3.8, 67.9, 85.1], area=round(union_area([whole], 512, 512), 2))
    value = file({**sound, "segmentation": [[side / 2 for side in whole]]}, width=512, height=512)
    (fixed,) = after(value, unsafe=True)
    assert fixed["segmentation"][0] == pytest.approx(whole, abs=0.01)
    assert (fixed["bbox"], fixed["area"]) == (sound["bbox"], sound["area"])


def test_twice_as_large_is_not_taken_for_thousandths() -> None:
    """On an image of 512 pixels both fit the box of a small object near the corner, but one of them better."""
    ring = [52.7, 37.8, 42.2, 58.7, 21.4, 56.2, 25.7, 24.2, 42.8, 14.0]
    sound = arrow(segmentation=[ring], bbox=[21.4, 14, 31.3, 44.7], area=round(union_area([ring], 512, 512), 2))
    other = arrow(id=2, segmentation=[[300, 9, 330, 9, 300, 40]], bbox=[300, 9, 30, 31], area=465)
    value = file({**sound, "segmentation": [[2 * side for side in ring]]}, other, width=512, height=512)
    (fixed, _) = after(value, unsafe=True)
    assert fixed["segmentation"][0] == pytest.approx(ring, abs=0.01) and fixed["bbox"] == sound["bbox"]


def test_a_box_that_only_looks_like_another_unit_does_not_move_a_shape_of_the_right_area() -> None:
    ring = [41.3, 68.2, 83.5, 68.2, 83.5, 110.3, 41.3, 110.3]
    sound = arrow(segmentation=[ring], bbox=[41.3, 68.2, 42.2, 42.1], area=1776.62)
    value = file({**sound, "bbox": [20.65, 34.1, 21.1, 21.05]}, width=512, height=512)
    assert "2 times too small, as polygons and area show" in codes(value)["G015"][1]
    (fixed,) = after(value, unsafe=True)
    assert fixed["segmentation"] == [ring] and fixed["bbox"] == pytest.approx(sound["bbox"], abs=0.01)


def test_an_outline_that_its_box_contradicts_does_not_exchange_width_and_height() -> None:
    ring = [247, 466.2, 245.4, 468.3, 242.2, 468, 242.1, 464.3, 245.5, 463.9]
    sound = arrow(segmentation=[ring], bbox=[242.1, 463.9, 4.9, 4.4], area=16.78)
    down = [side + 150 * (n % 2) for n, side in enumerate(ring)]
    value = file({**sound, "segmentation": [down]}, width=640, height=480)
    result = fix(Coco.of(value), unsafe=True, workers=1)
    (fixed,) = result.coco.records("annotations")
    assert fixed["segmentation"][0] == pytest.approx(ring, abs=0.1) and fixed["bbox"] == sound["bbox"]
    assert result.coco.records("images") == value["images"]


def test_a_box_of_the_whole_image_is_no_clipped_one() -> None:
    """An object that fills its image, drawn in 0..1000, is not clipped."""
    whole = [254.5, 0, 512, 170.7, 460.8, 512, 51.2, 512, 0, 170.7]
    sound = arrow(segmentation=[whole], bbox=[0, 0, 512, 512], area=round(union_area([whole], 512, 512), 2))
    others = [
        arrow(id=n, segmentation=[[x, 9, x + 30, 9, x, 40]], bbox=[x, 9, 30, 31], area=465)
        for n, x in enumerate((50, 200, 350), 2)
    ]
    value = file({**sound, "segmentation": [[side * 1000 / 512 for side in whole]]}, *others, width=512, height=512)
    assert after(value, unsafe=True)[0]["segmentation"][0] == pytest.approx(whole, abs=0.01)
    assert after(value, unsafe=True)[0]["bbox"] == sound["bbox"]


def test_the_box_of_a_tiny_object_is_one() -> None:
    dot = [816.6, 356.2, 815.6, 355.7, 816.1, 354.6, 817.3, 354.5, 817.6, 355.7]
    value = file(arrow(segmentation=[dot], bbox=[354.5, 142.4, 1.7, 2.0]), width=1280, height=960)
    assert after(value, unsafe=True)[0]["bbox"] == [354.5, 142.4, 1.7, 2.0]


UNCLEAR: dict[str, Change] = {
    "no categories": lambda value: value.pop("categories"),
    "categories as an object": lambda value: value.update(categories={"1": "Can"}),
    "categories as names": lambda value: value.update(categories=["Can", "Bottle", "Bag"]),
    "no images": lambda value: value.pop("images"),
    "a repeated id of a category": lambda value: value["categories"][1].update(id=value["categories"][0]["id"]),
    "a repeated id of an image": lambda value: value["images"][1].update(id=value["images"][0]["id"]),
    "categories from 0": lambda value: [one.update(id=one["id"] - 1) for one in value["categories"]],
    "images from 0": lambda value: [one.update(id=one["id"] - 1) for one in value["images"]],
}


@pytest.mark.parametrize("name", UNCLEAR)
def test_annotations_are_not_deleted_where_the_other_rows_are_in_doubt(name: str) -> None:
    value = clean_file()
    UNCLEAR[name](value)
    found = audit(Coco.of(value), workers=1).findings
    dangling = [one for one in found if one.code in ("S013", "S014")]
    assert dangling and all(one.fix is None for one in dangling) and ";" in dangling[0].message
    assert len(after(value, unsafe=True)) == len(value["annotations"])


def test_one_reference_to_nothing_is_still_deleted() -> None:
    value = clean_file()
    value["annotations"][0]["image_id"] = 999
    assert codes(value)["S013"][0] == "unsafe"
    assert len(after(value, unsafe=True)) == len(value["annotations"]) - 1


def test_a_row_with_something_to_read_is_not_deleted() -> None:
    value = clean_file()
    value["annotations"] = [value["annotations"]]
    assert codes(value)["S004"][0] is None
    assert after(value, unsafe=True) == value["annotations"]
