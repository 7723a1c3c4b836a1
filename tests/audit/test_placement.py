"""Where a row's own box contradicts its shape, neither is overwritten; with proof, the shape is moved."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fixes.fix_file import fix
from trashkit.coco import Coco

WIDTH, HEIGHT = 640, 480
Ring = list[float]
Change = Callable[[Ring], Ring]


def times(x: float, y: float, dx: float = 0, dy: float = 0) -> Change:
    return lambda ring: [round(side * (x, y)[n % 2] + (dx, dy)[n % 2], 6) for n, side in enumerate(ring)]


def exchanged(ring: Ring) -> Ring:
    return [side for n in range(0, len(ring), 2) for side in (ring[n + 1], ring[n])]


def damaged(change: Change, rows: slice = slice(1)) -> dict[str, Any]:
    value = clean_file()
    for one in value["annotations"][rows]:
        one["segmentation"] = [change(ring) for ring in one["segmentation"]]
    return value


def after(value: dict[str, Any], *, unsafe: bool) -> list[dict[str, Any]]:
    result = fix(Coco.of(value), unsafe=unsafe, workers=1)
    assert fix(result.coco, unsafe=unsafe, workers=1).edits == []
    return result.coco.records("annotations")


def right() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = clean_file()["annotations"]
    return found


def same(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    shapes = all(
        a["segmentation"][0] == pytest.approx(b["segmentation"][0], abs=0.01) for a, b in zip(one, other, strict=True)
    )
    plain = [[{k: v for k, v in row.items() if k != "segmentation"} for row in rows] for rows in (one, other)]
    return shapes and plain[0] == plain[1]


PROVEN = {
    "in percent": times(100 / WIDTH, 100 / HEIGHT),
    "in 0..1": times(1 / WIDTH, 1 / HEIGHT),
    "in 0..1000": times(1000 / WIDTH, 1000 / HEIGHT),
    "doubled": times(2, 2),
    "halved": times(0.5, 0.5),
    "far to the right": times(1, 1, 5000),
    "far to the left": times(1, 1, -900, 20),
}
NOT_PROVEN = {
    "mirrored": times(-1, 1, WIDTH),
    "mirrored vertically": times(1, -1, 0, HEIGHT),
    "upside down": times(-1, -1, WIDTH, HEIGHT),
    "moved within the image": times(1, 1, 150, 90),
}


@pytest.mark.parametrize("name", [*PROVEN, *NOT_PROVEN])
def test_safe_fixes_keep_the_box_that_shows_what_was_meant(name: str) -> None:
    value = damaged({**PROVEN, **NOT_PROVEN}[name])
    assert after(value, unsafe=False) == value["annotations"]


@pytest.mark.parametrize("name", PROVEN)
def test_a_proven_place_is_restored(name: str) -> None:
    value = damaged(PROVEN[name])
    assert same(after(value, unsafe=True), right())
    edit = fix(Coco.of(value), unsafe=True, workers=1).edits[0]
    assert edit.kind == "reshape" and "bbox" in edit.note


@pytest.mark.parametrize("name", NOT_PROVEN)
def test_without_proof_both_stay_and_the_message_says_how_they_would_fit(name: str) -> None:
    value = damaged(NOT_PROVEN[name])
    assert after(value, unsafe=True) == value["annotations"]
    (finding,) = [one for one in audit(Coco.of(value), workers=1).findings if one.code == "G023"]
    assert finding.fix is None and "the shape would fit its bbox" in finding.message


def test_x_and_y_of_one_row_are_exchanged_back_where_they_leave_the_image() -> None:
    value = clean_file()
    ring = [500.0, 100.0, 600.0, 100.0, 600.0, 160.0, 500.0, 160.0]
    value["annotations"][0].update(segmentation=[ring], bbox=[500, 100, 100, 60], area=6000)
    wrong = copy.deepcopy(value)
    wrong["annotations"][0]["segmentation"] = [exchanged(ring)]
    assert after(wrong, unsafe=False) == wrong["annotations"]
    assert after(wrong, unsafe=True) == value["annotations"]


def test_the_area_is_not_filled_in_where_box_and_shape_contradict_each_other() -> None:
    value = damaged(NOT_PROVEN["mirrored"])
    del value["annotations"][0]["area"]
    assert after(value, unsafe=False) == value["annotations"]
    (finding,) = [one for one in audit(Coco.of(value), workers=1).findings if one.code == "S006"]
    assert finding.fix is None


def test_an_outline_that_its_box_contradicts_is_not_clipped() -> None:
    value = clean_file()
    value["annotations"][0].update(segmentation=[[560, 50, 700, 50, 700, 190, 560, 190]], area=7.0)
    assert after(value, unsafe=True)[0] == value["annotations"][0]


def test_a_large_outline_that_leaves_the_image_against_its_box_stays_as_it_is() -> None:
    ring = [20, 15, 600, 30, 620, 440, 330, 460, 25, 430]
    away = [side for n in range(0, len(ring), 2) for side in (WIDTH - ring[n + 1], ring[n])]
    value = clean_file()
    value["annotations"][0].update(segmentation=[away], bbox=[20, 15, 600, 445], area=240_000)
    for unsafe in (False, True):
        assert after(value, unsafe=unsafe)[0] == value["annotations"][0]


BOXES = {
    "corners": lambda x, y, w, h: [x, y, x + w, y + h],
    "centre": lambda x, y, w, h: [x + w / 2, y + h / 2, w, h],
    "top, left, bottom, right": lambda x, y, w, h: [y, x, y + h, x + w],
    "left, right, top, bottom": lambda x, y, w, h: [x, x + w, y, y + h],
    "in 0..1": lambda x, y, w, h: [x / WIDTH, y / HEIGHT, w / WIDTH, h / HEIGHT],
    "elsewhere and of another size, but the area is right": lambda x, y, w, h: [300, 300, 2 * w, h],
    "outside of the image": lambda x, y, w, h: [x + 600, y, w, h],
    "clumsy": lambda x, y, w, h: [x - 4, y - 3, w + 6, h + 9],
    "empty": lambda x, y, w, h: [0, 0, 0, 0],
    "a placeholder": lambda x, y, w, h: [0, 0, 1, 1],
}


@pytest.mark.parametrize("name", BOXES)
def test_a_box_that_is_plainly_wrong_is_measured_anew(name: str) -> None:
    value = clean_file()
    value["annotations"][0]["bbox"] = BOXES[name](*value["annotations"][0]["bbox"])
    assert after(value, unsafe=False) == right()


ALL = {
    "x and y exchanged": exchanged,
    "moved out of the images": times(1, 1, 400),
    "moved far away": times(1, 1, 5000, 3000),
}


@pytest.mark.parametrize("name", ALL)
def test_one_error_for_a_whole_file_and_a_cure(name: str) -> None:
    value = damaged(ALL[name], slice(None))
    found = [one for one in audit(Coco.of(value), workers=1).findings if one.severity != "info"]
    assert [one.code for one in found] == ["G015"] and found[0].fix == "unsafe"
    assert after(value, unsafe=False) == value["annotations"]
    assert same(after(value, unsafe=True), right())


@pytest.mark.parametrize("name", ["mirrored", "mirrored vertically", "upside down"])
def test_a_whole_file_that_may_be_mirrored_stays_as_it_is(name: str) -> None:
    value = damaged(NOT_PROVEN[name], slice(None))
    (finding,) = [one for one in audit(Coco.of(value), workers=1).findings if one.code == "G015"]
    assert finding.fix is None and "not proven" in finding.message
    assert after(value, unsafe=True) == value["annotations"]


def test_boxes_of_a_whole_file_that_leave_their_images_are_measured_anew() -> None:
    value = clean_file()
    for one in value["annotations"]:
        one["bbox"][0] += 400
    assert same(after(value, unsafe=True), right())
