"""Damaged values that other values of the file explain are restored; all others stay as they are, with a finding."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from trashkit.audit import audit
from trashkit.audit.fixes.fix_file import fix
from trashkit.audit.readings.ids import References
from trashkit.cli.app import app
from trashkit.coco import Coco
from trashkit.raster.masks import mask, rle_from_mask
from trashkit.raster.measures import union_area

WIDTH, HEIGHT = 200, 120
ARROW = [40, 44, 90, 44, 90, 29, 130, 64, 90, 99, 90, 84, 40, 84]
"""A ring without symmetry of x and y: left 40, top 29, width 90, height 70."""
BOX = [40, 29, 90, 70]
PAIRS = [ARROW[n : n + 2] for n in range(0, len(ARROW), 2)]


def arrow(**changes: Any) -> dict[str, Any]:
    area = union_area([ARROW], HEIGHT, WIDTH)
    sound = {
        "id": 1, "image_id": 5, "category_id": 3, "segmentation": [ARROW], "area": area, "bbox": BOX, "iscrowd": 0
    }  # fmt: skip
    return {**sound, **changes}


def file(*annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "images": [{"id": 5, "file_name": "in/p5.png", "width": WIDTH, "height": HEIGHT}],
        "annotations": list(annotations),
        "categories": [{"id": 3, "name": "Can"}],
    }


def cure(value: dict[str, Any], *, unsafe: bool = True) -> list[dict[str, Any]]:
    before = copy.deepcopy(value)
    result = fix(Coco.of(value), unsafe=unsafe, workers=1)
    assert value == before
    assert fix(result.coco, unsafe=unsafe, workers=1).edits == []
    return result.coco.records("annotations")


NOTATIONS = {
    "flat": ARROW,
    "pairs in a list": [PAIRS],
    "pairs": PAIRS,
    "nested twice": [[ARROW]],
    "nested three times": [[[ARROW]]],
    "pairs nested twice": [[PAIRS]],
    "objects": [{"x": x, "y": y} for x, y in PAIRS],
    "objects in a list": [[{"x": x, "y": y} for x, y in PAIRS]],
    "objects with X and Y": [[{"X": x, "Y": y} for x, y in PAIRS]],
    "lists of x and y": {"all_points_x": ARROW[0::2], "all_points_y": ARROW[1::2]},
    "object of points": [{"points": PAIRS}],
    "x first, then y": ARROW[0::2] + ARROW[1::2],
    "x and y apart": [ARROW[0::2], ARROW[1::2]],
    "text": [[str(side) for side in ARROW]],
    "text with decimals": [[f"{side:.2f}" for side in ARROW]],
    "flat text": [str(side) for side in ARROW],
    "pairs of text": [[[str(x), str(y)] for x, y in PAIRS]],
    "pairs as text": [[f"{x},{y}" for x, y in PAIRS]],
    "decimal commas": [[f"{side:.2f}".replace(".", ",") for side in ARROW]],
    "JSON text": json.dumps([ARROW]),
    "JSON text of a flat list": json.dumps(ARROW),
    "spaces": " ".join(map(str, ARROW)),
    "SVG points": " ".join(f"{x},{y}" for x, y in PAIRS),
    "a stray click first": [[60, 40, 61, 41], ARROW],
    "a number too many": [[*ARROW, 40]],
    "null": [None, ARROW],
    "GeoJSON": {"type": "Polygon", "coordinates": [PAIRS]},
    "pairs of y and x": [[y, x] for x, y in PAIRS],
    "pairs in 0..1": [[x / WIDTH, y / HEIGHT] for x, y in PAIRS],
    "text in 0..1": [[str(side / (WIDTH, HEIGHT)[n % 2]) for n, side in enumerate(ARROW)]],
}


@pytest.mark.parametrize("name", NOTATIONS)
def test_other_notations_are_read(name: str) -> None:
    value = file(arrow(segmentation=NOTATIONS[name]))
    (after,) = cure(value)
    assert after["segmentation"][0] == pytest.approx(ARROW) and {**after, "segmentation": [ARROW]} == arrow()
    assert cure(value, unsafe=False) == value["annotations"], "the mask could not be drawn before, so it is not safe"
    edit = fix(Coco.of(value), unsafe=True, workers=1).edits[0]
    assert edit.kind == "reshape" and "agree" in edit.note


@pytest.mark.parametrize("name", NOTATIONS)
def test_without_proof_they_are_only_named(name: str) -> None:
    for wrong in ({"bbox": [1, 2, 30, 30]}, {"bbox": None, "area": None}):
        value = file(arrow(segmentation=NOTATIONS[name], **wrong))
        (after,) = cure(value)
        assert after["segmentation"] == NOTATIONS[name]
        errors = [f for f in audit(Coco.of(file(after)), workers=1).findings if f.severity == "error"]
        assert errors and all(finding.annotation_id == 1 and finding.fix is None for finding in errors)


COLUMNS = {
    "two lists": [ARROW[0::2][:6], ARROW[1::2][:6]],
    "halves of one": [ARROW[0::2] + ARROW[1::2]],
    "two lists that cover nothing": [[40, 40, 90, 90, 40, 40], [29, 29, 99, 99, 99, 29]],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_x_and_y_in_two_lists_that_look_like_rings(name: str) -> None:
    lists = COLUMNS[name]
    xs, ys = lists if len(lists) == 2 else (lists[0][: len(lists[0]) // 2], lists[0][len(lists[0]) // 2 :])
    ring = [side for point in zip(xs, ys, strict=True) for side in point]
    box = [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
    damaged = arrow(segmentation=lists, bbox=box, area=union_area([ring], HEIGHT, WIDTH))
    safe = fix(Coco.of(file(damaged)), workers=1)
    assert safe.edits == [], "safe fixes leave bbox and area, which show what was meant"
    fixed = fix(Coco.of(file(damaged)), unsafe=True, select=["G016"], workers=1).coco.record("annotations", 0)
    assert fixed["segmentation"] == [ring]
    assert fixed["bbox"] == box


def test_columns_whose_rings_have_the_same_bbox_are_known_by_their_area() -> None:
    xs, ys = [20, 40, 60, 64, 60, 40, 20, 16], [20, 16, 20, 40, 60, 64, 60, 40]
    ring = [side for point in zip(xs, ys, strict=True) for side in point]
    box, area = [16, 16, 48, 48], union_area([ring], HEIGHT, WIDTH)
    assert cure(file(arrow(segmentation=[xs, ys], bbox=box, area=area)))[0]["segmentation"] == [ring]
    assert not audit(Coco.of(file(arrow(segmentation=[xs, ys], bbox=box))), select=["G016"], workers=1).findings


def test_two_rings_that_have_their_bbox_are_no_columns() -> None:
    rings = [[10, 10, 30, 10, 20, 30], [60, 60, 90, 60, 70, 110]]
    area = union_area(rings, HEIGHT, WIDTH)
    sound = arrow(segmentation=rings, bbox=[10, 10, 80, 100], area=area)
    assert not audit(Coco.of(file(sound)), select=["G016"], workers=1).findings
    off = arrow(segmentation=rings, bbox=[10, 60, 20, 50], area=area)
    assert not audit(Coco.of(file(off)), select=["G016"], workers=1).findings, "its area is that of the two rings"


def test_area_or_box_alone_are_proof() -> None:
    for lacking in ("area", "bbox"):
        (after,) = cure(file(arrow(segmentation=ARROW, **{lacking: None})))
        assert after["segmentation"] == [ARROW]


def test_a_ring_that_lost_a_point_is_not_what_is_left_of_it() -> None:
    square = {"area": 400, "bbox": [10, 10, 20, 20]}
    value = file(arrow(segmentation=[[10, 10, 30, 10, 30, 30, 10]], **square))
    assert cure(value) == value["annotations"]
    del value["annotations"][0]["area"]
    assert cure(value)[0]["segmentation"] == [[10, 10, 30, 10, 30, 30, 10]]


def test_a_ring_of_four_numbers_is_a_box_only_if_it_is_the_bbox() -> None:
    value = file(arrow(segmentation=[BOX], area=6300))
    assert cure(value)[0]["segmentation"] == [[40, 29, 130, 29, 130, 99, 40, 99]]
    assert cure(file(arrow(segmentation=[[40, 29, 130, 84]]))) == []


@pytest.mark.parametrize("nothing", [[[1, 2]], [[5, 5, 9, 9]], [[None, None]], ["none"], [{}], [[True, False]]])
def test_only_what_cannot_be_an_outline_is_deleted(nothing: Any) -> None:
    assert cure(file(arrow(segmentation=nothing))) == []


def test_points_that_are_not_finite_are_dropped_only_with_proof() -> None:
    spoilt = [*ARROW[:2], float("nan"), 44, *ARROW[2:]]
    assert cure(file(arrow(segmentation=[spoilt])))[0]["segmentation"] == [ARROW]
    lacking = [float("inf"), *ARROW[1:]]
    assert cure(file(arrow(segmentation=[lacking])))[0]["segmentation"] == [lacking]


# ------------------------------------------------------------ masks


def covered() -> np.ndarray:
    return mask([ARROW], HEIGHT, WIDTH)


@pytest.mark.parametrize("kind", [int, bool, float, lambda pixel: 255 * int(pixel)])
def test_masks_as_rows_of_pixels_are_read(kind: Any) -> None:
    rows = [[kind(pixel) for pixel in row] for row in covered().tolist()]
    value = file(arrow(segmentation=rows))
    assert cure(value, unsafe=False) == value["annotations"], "safe fixes leave them as they are"
    (after,) = cure(value)
    assert np.array_equal(mask(after["segmentation"], HEIGHT, WIDTH), covered())
    other = file(arrow(segmentation=rows, bbox=[1, 2, 30, 30]))
    assert cure(other)[0]["segmentation"] == rows


def in_pixels(**changes: Any) -> dict[str, Any]:
    rows, columns = np.nonzero(covered())
    box = [float(v) for v in (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)]
    return arrow(segmentation=rle_from_mask(covered()), area=int(covered().sum()), bbox=box, **changes)


def runs() -> list[int]:
    flat = covered().T.ravel().astype(np.int8)
    ends = np.flatnonzero(np.diff(flat)) + 1
    return np.diff([0, *ends.tolist(), flat.size]).tolist()


TEXT = rle_from_mask(covered())["counts"]
MASKS = {
    "width first": {"size": [WIDTH, HEIGHT], "counts": TEXT},
    "width first, list": {"size": [WIDTH, HEIGHT], "counts": runs()},
    "along rows": {"size": [WIDTH, HEIGHT], "counts": rle_from_mask(covered().T)["counts"]},
    "text for size": {"size": [str(HEIGHT), str(WIDTH)], "counts": TEXT},
    "object for size": {"size": {"height": HEIGHT, "width": WIDTH}, "counts": TEXT},
    "no size": {"counts": TEXT},
    "bytes": {"size": [HEIGHT, WIDTH], "counts": repr(TEXT.encode())},
    "doubled backslashes": {"size": [HEIGHT, WIDTH], "counts": TEXT.replace("\\", "\\\\")},
    "bytes in double quotes": {"size": [HEIGHT, WIDTH], "counts": f'b"{TEXT}"'},
    "bytes, not escaped": {"size": [HEIGHT, WIDTH], "counts": f"b'{TEXT}'"},
    "a line end behind it": {"size": [HEIGHT, WIDTH], "counts": f"{TEXT}\n"},
    "a list of character codes": {"size": [HEIGHT, WIDTH], "counts": list(TEXT.encode())},
    "bytes, and width first": {"size": [WIDTH, HEIGHT], "counts": repr(TEXT.encode())},
    "list as text": {"size": [HEIGHT, WIDTH], "counts": str(runs())},
    "numbers as text": {"size": [HEIGHT, WIDTH], "counts": [str(run) for run in runs()]},
    "floats": {"size": [HEIGHT, WIDTH], "counts": [float(run) for run in runs()]},
    "list in a list": {"size": [HEIGHT, WIDTH], "counts": [runs()]},
    "no last zeros": {"size": [HEIGHT, WIDTH], "counts": runs()[:-1]},
    "in a list": [{"size": [HEIGHT, WIDTH], "counts": TEXT}],
    "as text": json.dumps({"size": [HEIGHT, WIDTH], "counts": TEXT}),
}


@pytest.mark.parametrize("name", MASKS)
def test_other_notations_of_masks_are_read(name: str) -> None:
    sound = in_pixels()
    value = file({**sound, "segmentation": MASKS[name]})
    (after,) = cure(value)
    assert after["segmentation"]["size"] == [HEIGHT, WIDTH]
    assert (mask(after["segmentation"], HEIGHT, WIDTH) == covered()).all()
    assert {**after, "segmentation": 0} == {**sound, "segmentation": 0}


def test_counts_along_rows_with_the_right_size() -> None:
    along = rle_from_mask(covered().T)["counts"]
    turned = mask({"size": [WIDTH, HEIGHT], "counts": along}, WIDTH, HEIGHT)
    value = file({**in_pixels(), "segmentation": {"size": [HEIGHT, WIDTH], "counts": along}})
    (after,) = cure(value)
    assert turned.any() and (mask(after["segmentation"], HEIGHT, WIDTH) == covered()).all()
    assert cure(value, unsafe=False) == value["annotations"], "the box stays, which is the proof"


def test_the_backslashes_of_the_example_matter() -> None:
    assert "\\" in TEXT and TEXT.encode() != repr(TEXT.encode())[2:-1].encode()


@pytest.mark.parametrize("name", MASKS)
def test_masks_that_contradict_their_box_are_only_named(name: str) -> None:
    value = file({**in_pixels(), "bbox": [3, 3, 20, 90], "segmentation": MASKS[name]})
    (after,) = cure(value)
    assert after["segmentation"] == MASKS[name]
    assert any(f.severity == "error" and f.fix is None for f in audit(Coco.of(value), workers=1).findings)


def test_sizes_are_not_exchanged_without_a_box() -> None:
    value = file({**in_pixels(), "bbox": None, "segmentation": MASKS["width first"]})
    assert cure(value)[0]["segmentation"] == MASKS["width first"]
    assert fix(Coco.of(value), unsafe=True, workers=1).coco.records("images") == value["images"]


# ------------------------------------------------------------ ids and types


def test_ids_that_differ_only_in_type_are_corrected() -> None:
    for given, known in (("5", 5), (5.0, 5), (5, "5"), ("p5", "p5"), (5, 5.0)):
        value = file(arrow(image_id=given))
        value["images"][0]["id"] = known
        for unsafe in (False, True):
            result = fix(Coco.of(value), unsafe=unsafe, workers=1).coco
            wanted = 5 if isinstance(known, float) else known
            assert result.record("images", 0)["id"] == wanted == result.record("annotations", 0)["image_id"]
            assert type(result.record("annotations", 0)["image_id"]) is type(wanted)
    assert cure(file(arrow(category_id="3")), unsafe=False) == [arrow()]


@pytest.mark.parametrize("given", ["005", " 5", "5.0", "05", "P5"])
def test_ids_that_look_similar_are_neither_matched_nor_deleted(given: str) -> None:
    value = file(arrow(image_id=given))
    assert cure(value) == value["annotations"]
    (finding,) = [f for f in audit(Coco.of(value), workers=1).findings if f.code == "S013"]
    assert "perhaps 5 is meant" in finding.message and finding.fix is None


@pytest.mark.parametrize("given", ["p5.png", "p5", "in/p5.png"])
def test_a_file_name_as_image_id(given: str) -> None:
    assert cure(file(arrow(image_id=given))) == [arrow()]


def test_a_name_as_category_id_and_what_nothing_is_like() -> None:
    assert cure(file(arrow(category_id="Can"))) == [arrow()]
    assert cure(file(arrow(category_id="can")))[0]["category_id"] == "can"
    assert cure(file(arrow(category_id=77))) == []


def test_an_id_that_two_rows_could_have_is_not_guessed() -> None:
    references = References("image", [1, 1.0, "2"], ["a.png", "b/c.png", "d/c.png"])
    assert references.read("1").id is None and references.read("c").id is None
    assert references.read(2).id == "2" and references.read("a").id == 1
    assert references.read([1]).id is None and references.read(None).lost and references.read(True).lost
    assert references.read(float("nan")).lost and references.read("9" * 400).lost


def test_types_of_fields() -> None:
    value = file(
        arrow(iscrowd="false"),
        arrow(id=2.0, iscrowd="0", area=str(arrow()["area"])),
        arrow(id=3, bbox=[str(side) for side in BOX], iscrowd=None),
        arrow(id=4, iscrowd="perhaps"),
    )
    value["images"][0].update(width=str(WIDTH), height=float(HEIGHT))
    for n, one in enumerate(value["annotations"]):
        one["note"] = n  # else they repeat each other
    after = cure(value, unsafe=False)
    assert [one["iscrowd"] for one in after] == [0, 0, 0, "perhaps"]
    assert [one["id"] for one in after] == [1, 2, 3, 4]
    assert all(one["bbox"] == BOX and one["area"] == arrow()["area"] for one in after)
    image = fix(Coco.of(value), workers=1).coco.record("images", 0)
    assert image["width"] == WIDTH and type(image["width"]) is int


@pytest.mark.parametrize("width", ["", "200 px", "0", "-200", "200.5", "١٠٠", "1e400", "nan", [200], True])
def test_widths_without_a_clear_value_stay(width: Any) -> None:
    value = file(arrow())
    value["images"][0]["width"] = width
    result = fix(Coco.of(value), unsafe=True, workers=1).coco
    assert result.records("images") == value["images"] and result.records("annotations") == value["annotations"]


# ------------------------------------------------------------ holes

OUTER, INNER, ISLAND = (
    [10, 10, 110, 10, 110, 90, 10, 90],
    [30, 30, 70, 30, 70, 60, 30, 60],
    [40, 40, 50, 40, 50, 50, 40, 50],
)


def plate(area: Any, *rings: list[int]) -> dict[str, Any]:
    return arrow(segmentation=list(rings), area=area, bbox=[10, 10, 100, 80])


@pytest.mark.parametrize(
    ("rings", "area"), [([OUTER, INNER], 6800), ([INNER, OUTER], 6800), ([OUTER, INNER, ISLAND], 6900)], ids=str
)
def test_an_area_that_tells_of_a_hole(rings: list[list[int]], area: int) -> None:
    value = file(plate(area, *rings))
    assert cure(value, unsafe=False) == value["annotations"], "the area stays"
    (after,) = cure(value)
    assert int(mask(after["segmentation"], HEIGHT, WIDTH).sum()) == area == after["area"]
    assert after["bbox"] == [10, 10, 100, 80]


def test_an_area_that_tells_of_one_hole_of_two() -> None:
    other = [80, 30, 100, 30, 100, 70, 80, 70]
    (after,) = cure(file(plate(8000 - 800, OUTER, INNER, other)))
    shape = mask(after["segmentation"], HEIGHT, WIDTH)
    assert shape.sum() == 7200 == after["area"] and not shape[50, 90] and shape[45, 50]
    twin = [75, 30, 105, 30, 105, 70, 75, 70]  # as large as INNER: either could be the hole
    value = file(plate(8000 - 1200, OUTER, INNER, twin))
    assert cure(value) == value["annotations"]


def test_an_area_without_a_hole() -> None:
    for area in (8000, 9200):  # the union, or the sum of both rings
        (after,) = cure(file(plate(area, OUTER, INNER)))
        assert len(after["segmentation"]) == 1 and after["area"] == 8000
        assert int(mask(after["segmentation"], HEIGHT, WIDTH).sum()) == 8000


@pytest.mark.parametrize("area", [None, 5000, 7500, 0, "x"])
def test_an_area_that_does_not_tell(area: Any) -> None:
    (after,) = cure(file(plate(area, OUTER, INNER)))
    assert after["segmentation"] == [OUTER, INNER]
    if area in (5000, 7500):
        assert after["area"] == area


def test_a_safe_fix_of_a_ring_keeps_the_area_that_tells_of_a_hole() -> None:
    rings = [[side - 13 * (n % 2 == 0) for n, side in enumerate(ring)] for ring in (OUTER, INNER)]
    value = file(arrow(segmentation=rings, area=6800, bbox=[-3, 10, 100, 80]))
    (after,) = cure(value, unsafe=False)
    assert after["area"] == 6800 - 3 * 80 and after["bbox"] == [0, 10, 97, 80]
    (after,) = cure(value)
    assert int(mask(after["segmentation"], HEIGHT, WIDTH).sum()) == 6800 - 3 * 80 == after["area"]


def test_a_missing_box_does_not_cost_the_area_of_a_hole() -> None:
    value = file(plate(6800, OUTER, INNER))
    del value["annotations"][0]["bbox"]
    (after,) = cure(value, unsafe=False)
    assert after["area"] == 6800 and after["bbox"] == [10, 10, 100, 80]


# ------------------------------------------------------------ rows that seem useless


def test_a_copied_outline_with_another_box_is_not_deleted() -> None:
    value = file(arrow(), arrow(id=2, bbox=[5, 5, 30, 20]), arrow(id=3))
    assert [one["id"] for one in cure(value, unsafe=False)] == [1, 2]


def test_tiny_outlines_are_not_deleted_where_the_box_is_larger_or_the_image_unknown() -> None:
    dot = [[50.1, 60.1, 50.6, 60.1, 50.6, 60.6]]
    assert cure(file(arrow(segmentation=dot, bbox=[50.1, 60.1, 0.5, 0.5], area=0.125))) == []
    for changes in ({}, {"image_id": "005", "bbox": [50.1, 60.1, 0.5, 0.5], "area": 0.125}):
        assert len(cure(file(arrow(segmentation=dot, **changes)))) == 1


def test_an_outline_outside_is_not_deleted_where_its_box_is_inside() -> None:
    far = [[300, 20, 360, 20, 360, 70]]
    sound = [arrow(id=n, note=n, segmentation=[[10 * n, 5, 10 * n + 5, 5, 10 * n + 5, 9]]) for n in range(2, 9)]
    for one in sound:
        one.update(bbox=[10 * one["id"], 5, 5, 4], area=10)
    assert cure(file(arrow(segmentation=far, area=1500), *sound))[0]["bbox"] == BOX
    value = file(arrow(segmentation=far, bbox=[300, 20, 60, 50], area=1500), *sound)
    assert [one["id"] for one in cure(value)] == [one["id"] for one in sound]


def test_a_file_with_text_for_widths_and_fractions_for_coordinates() -> None:
    fractions = [side / (WIDTH, HEIGHT)[n % 2] for n, side in enumerate(ARROW)]
    value = file(arrow(segmentation=[fractions], image_id="5"))
    value["images"][0].update(width=str(WIDTH), height=str(HEIGHT))
    (after,) = cure(value)
    assert after["segmentation"][0] == pytest.approx(ARROW) and after["image_id"] == 5


def test_width_and_height_are_not_exchanged_against_the_photo(tmp_path: Any) -> None:
    tall = [[60, 130, 100, 130, 100, 190, 60, 190]]
    value = file(arrow(segmentation=tall, bbox=[60, 130, 40, 60], area=2400))
    (tmp_path / "in").mkdir()
    for size, turned in (((WIDTH, HEIGHT), False), ((HEIGHT, WIDTH), True)):
        Image.new("RGB", size).save(tmp_path / "in/p5.png")
        image = fix(Coco.of(value), unsafe=True, images=tmp_path, workers=1).coco.record("images", 0)
        assert image["width"] == (HEIGHT if turned else WIDTH)


# ------------------------------------------------------------ deletions


def many(lost: int, whole: int = 20) -> dict[str, Any]:
    value = file(*(arrow(id=n + 1, note=n, image_id=777 if n < lost else 5) for n in range(whole)))
    for n, one in enumerate(value["annotations"]):
        one["segmentation"] = [[side + n % 5 * 10 * (at % 2 == 0) for at, side in enumerate(ARROW)]]
        one["bbox"] = [BOX[0] + n % 5 * 10, *BOX[1:]]
        one["category_id"] = 3
    return value


def run(folder: Any, value: dict[str, Any], *words: str) -> Any:
    (folder / "ann.json").write_text(json.dumps(value))
    select = ["--select", "S,G"]
    return CliRunner().invoke(
        app, ["fix", str(folder / "ann.json"), "--out", str(folder / "out.json"), *select, *words]
    )


def test_many_deletions_need_an_option(tmp_path: Any) -> None:
    result = run(tmp_path, many(3), "--unsafe")
    assert result.exit_code == 2 and not (tmp_path / "out.json").exists()
    assert "deletes 3 of 20 annotations" in result.stderr and "--delete" in result.stderr
    assert "3 dangling-image-id" in result.stderr
    result = run(tmp_path, many(3), "--unsafe", "--diff")
    assert result.exit_code == 0 and "--delete" in result.stderr
    result = run(tmp_path, many(3), "--unsafe", "--delete")
    assert result.exit_code == 0 and len(json.loads((tmp_path / "out.json").read_text())["annotations"]) == 17


def test_few_deletions_are_said(tmp_path: Any) -> None:
    result = run(tmp_path, many(2), "--unsafe", "--json")
    assert result.exit_code == 0 and "deletes 2 of 20 annotations" in result.stderr
    assert json.loads(result.stdout)["summary"]["deleted"] == {"dangling-image-id": 2}


def test_delete_also_takes_what_only_a_person_could_restore(tmp_path: Any) -> None:
    value = many(0)
    value["annotations"][0]["image_id"] = "005"
    value["annotations"][1]["segmentation"] = [[1, 2, 3, 4, 5, 6, 7]]
    assert run(tmp_path, value, "--unsafe").exit_code == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["annotations"]) == 20
    assert run(tmp_path, value, "--unsafe", "--delete", "--overwrite").exit_code == 0
    assert len(json.loads((tmp_path / "out.json").read_text())["annotations"]) == 18
    assert run(tmp_path, value, "--delete", "--overwrite").exit_code == 2
