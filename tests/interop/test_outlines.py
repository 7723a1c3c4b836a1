"""Fields that move pixels: turned boxes, ellipses and masks, rectangles of four corners, masks over the border."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.coco import read
from trashkit.interop.geometry import outlines
from trashkit.interop.geometry.outlines import SkippedShapeError
from trashkit.interop.registry import import_annotations
from trashkit.raster.masks import mask

WIDTH, HEIGHT = 120, 90
Mask = NDArray[np.bool_]


def inside(test: Callable[[Any, Any], Any]) -> Mask:
    """The pixels whose centres pass a test of x and y."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    return np.asarray(test(x, y), np.bool_)


def axes(x: Any, y: Any, centre: tuple[float, float], degrees: float) -> tuple[Any, Any]:
    """Coordinates along and across a direction that is turned clockwise."""
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    dx, dy = x - centre[0], y - centre[1]
    return dx * c + dy * s, dy * c - dx * s


def turned_box(centre: tuple[float, float], sides: tuple[float, float], degrees: float) -> Mask:
    def test(x: Any, y: Any) -> Any:
        along, across = axes(x, y, centre, degrees)
        return (abs(along) <= sides[0] / 2) & (abs(across) <= sides[1] / 2)

    return inside(test)


def turned_ellipse(centre: tuple[float, float], radii: tuple[float, float], degrees: float) -> Mask:
    def test(x: Any, y: Any) -> Any:
        along, across = axes(x, y, centre, degrees)
        return (along / radii[0]) ** 2 + (across / radii[1]) ** 2 <= 1

    return inside(test)


def imported(kind: str, source: Path) -> tuple[list[Mask], str]:
    """The mask of each annotation that an import makes, and its notes."""
    out = source.parent / "imported.json"
    made = import_annotations(kind, source, out, overwrite=True)
    masks = [mask(record["segmentation"], HEIGHT, WIDTH) for record in read(out).records("annotations")]
    lines = (*made.notes, *getattr(made, "warnings", ()))
    return [np.asarray(one, np.bool_) for one in masks], "\n".join(lines)


def covers(found: Mask, wanted: Mask, least: float = 0.93) -> bool:
    return float((found & wanted).sum() / (found | wanted).sum()) >= least


def cvat(folder: Path, *shapes: str) -> Path:
    path = folder / "annotations.xml"
    image = f"<image id='0' name='a.jpg' width='{WIDTH}' height='{HEIGHT}'>{''.join(shapes)}</image>"
    path.write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    return path


@pytest.mark.parametrize("degrees", [0, 17.5, 45, 90, 123.4, 180, 270, 359.5, -30, 450])
def test_cvat_turns_about_the_centre(tmp_path: Path, degrees: float) -> None:
    box = f"<box label='x' xtl='30' ytl='40' xbr='80' ybr='56' rotation='{degrees}'/>"
    round_one = f"<ellipse label='x' cx='60' cy='44' rx='30' ry='9' rotation='{degrees}'/>"
    found, notes = imported("cvat", cvat(tmp_path, box, round_one))
    assert not notes
    assert covers(found[0], turned_box((55, 48), (50, 16), degrees))
    assert covers(found[1], turned_ellipse((60, 44), (30, 9), degrees))


@pytest.mark.parametrize("degrees", [0, 20, 90, 135, 180, 270, -90])
def test_cvat_masks_are_turned_about_the_centre_of_their_box(tmp_path: Path, degrees: float) -> None:
    crop = np.ones((14, 40), np.bool_)
    crop[:7, :20] = False
    runs = [20] + [20, 20] * 6 + [20 + 7 * 40]
    shape = f"<mask label='x' rle='{', '.join(map(str, runs))}' left='35' top='33' width='40' height='14'"
    (found,), notes = imported("cvat", cvat(tmp_path, f"{shape} rotation='{degrees}'/>"))
    assert not notes

    def test(x: Any, y: Any) -> Any:
        along, across = axes(x, y, (55, 40), degrees)
        return (abs(along) < 20) & (abs(across) < 7) & ((along > 0) | (across > 0))

    wanted = inside(test)
    assert covers(found, wanted, 1.0 if degrees % 90 == 0 else 0.93)
    assert int(crop.sum()) * 0.95 < found.sum() < int(crop.sum()) * 1.05


def test_cvat_shapes_that_are_not_understood_are_named(tmp_path: Path) -> None:
    shapes = [
        "<polygon label='x' points='1,1;20,1;20,20' rotation='30'/>",
        "<ellipse label='x' cx='9' cy='9' rx='0' ry='4'/>",
        "<box label='x' xtl='5' ytl='5' xbr='5' ybr='30' rotation='10'/>",
        "<mask label='x' rle='4' left='0' top='0' width='2' height='2'/>",
        f"<mask label='x' rle='0, 4' left='{WIDTH}' top='0' width='2' height='2'/>",
        "<box label='x' xtl='1' ytl='1' xbr='11' ybr='11'/>",
    ]
    found, notes = imported("cvat", cvat(tmp_path, *shapes))
    assert [int(one.sum()) for one in found] == [100]
    for words in ("turned polygons", "of radius 0", "without area", "without pixels", "inside the image"):
        assert words in notes


@pytest.mark.parametrize("degrees", [0, 30, 90, 200, -45, 360])
def test_label_studio_turns_rectangles_about_their_corner(tmp_path: Path, degrees: float) -> None:
    def region(kind: str, **value: Any) -> dict[str, Any]:
        sized = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "type": kind}
        return {**sized, "value": {**value, kind: ["x"], "rotation": degrees}}

    rectangle = region("rectanglelabels", x=50, y=50, width=25, height=10)  # 30 x 9 pixels at (60, 45)
    round_one = region("ellipselabels", x=40, y=50, radiusX=20, radiusY=10)  # 24 x 9 pixels about (48, 45)
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [rectangle, round_one]}]}
    (tmp_path / "tasks.json").write_text(json.dumps([task]))
    found, notes = imported("label-studio", tmp_path / "tasks.json")
    assert not notes
    angle = math.radians(degrees)
    centre = (
        60 + 15 * math.cos(angle) - 4.5 * math.sin(angle),
        45 + 15 * math.sin(angle) + 4.5 * math.cos(angle),
    )
    assert covers(found[0], turned_box(centre, (30, 9), degrees), 0.9)
    assert covers(found[1], turned_ellipse((48, 45), (24, 9), degrees))


def labelme(folder: Path, *shapes: dict[str, Any]) -> Path:
    (folder / "in").mkdir(exist_ok=True)
    value = {"shapes": [{"label": "x", **shape} for shape in shapes], "imagePath": "a.jpg"}
    path = folder / "in/a.json"
    path.write_text(json.dumps({**value, "imageWidth": WIDTH, "imageHeight": HEIGHT}))
    return path.parent


SLANTED = [[60, 20], [90, 50], [80, 60], [50, 30]]


@pytest.mark.parametrize("kind", ["oriented_rectangle", "rotation", "rectangle", "quadrilateral", "polygon", None])
def test_labelme_rectangles_of_four_corners(tmp_path: Path, kind: str | None) -> None:
    shape = {"shape_type": kind, "points": SLANTED, "direction": 0.785}
    (found,), notes = imported("labelme", labelme(tmp_path, shape))
    assert not notes
    assert covers(found, turned_box((70, 40), (math.hypot(30, 30), math.hypot(10, 10)), 45))


def test_labelme_shapes_that_are_not_understood_are_named(tmp_path: Path) -> None:
    shapes = [
        {"shape_type": "circle", "points": [[9, 9], [9, 9]]},
        {"shape_type": "rectangle", "points": [[9, 9], [9, 30]]},
        {"shape_type": "rotation", "points": [[9, 9], [30, 30]], "direction": 1},
        {"shape_type": "oriented_rectangle", "points": [[9, 9], [30, 30], [9, 30]]},
        {"shape_type": "cuboid", "points": SLANTED * 2},
        {"shape_type": "rectangle", "points": [[30, 30], [20, 10]]},
    ]
    found, notes = imported("labelme", labelme(tmp_path, *shapes))
    assert [int(one.sum()) for one in found] == [200]
    for words in ("radius 0", "without area", "rotation with two", "oriented_rectangle that", "type cuboid"):
        assert words in notes


@pytest.mark.parametrize(("left", "top"), [(-4, 10), (WIDTH - 3, 10), (10, -5), (10, HEIGHT - 2), (-3, -3)])
@pytest.mark.parametrize("kind", ["labelme", "cvat"])
def test_masks_over_the_border_are_cut_off(tmp_path: Path, kind: str, left: int, top: int) -> None:
    crop = np.ones((8, 9), np.uint8)
    crop[0, 0] = 0
    if kind == "labelme":
        data = base64.b64encode(cv2.imencode(".png", crop * 255)[1].tobytes()).decode()
        corners = [[left, top], [left + 8, top + 7]]
        source = labelme(tmp_path, {"shape_type": "mask", "points": corners, "mask": data})
    else:
        box = f"left='{left}' top='{top}' width='9' height='8'"
        source = cvat(tmp_path, f"<mask label='x' rle='1, 71' {box}/>")
    (found,), notes = imported(kind, source)
    assert not notes
    wanted = inside(lambda x, y: (x > left) & (x < left + 9) & (y > top) & (y < top + 8))
    if left >= 0 and top >= 0:
        wanted[top, left] = False
    np.testing.assert_array_equal(found, wanted)


def test_quarter_turns_are_exact() -> None:
    ring = outlines.box(10, 20, 16, 24, degrees=90)
    assert ring == [15.0, 19.0, 15.0, 25.0, 11.0, 25.0, 11.0, 19.0]
    assert outlines.turned(ring, -720, (1, 1)) == ring
    crop = np.arange(15).reshape(3, 5) % 2 == 0
    placed = outlines.placed(crop, 4, 4, (20, 20), degrees=180)
    np.testing.assert_array_equal(placed[4:7, 4:9], crop[::-1, ::-1])
    for left, degrees in ((10**300, 0), (10**300, 45), (-(10**9), 10)):
        with pytest.raises(SkippedShapeError):
            outlines.placed(crop, left, 0, (20, 20), degrees=degrees)


def test_yolo_lines_of_eight_numbers_are_four_corners(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    cv2.imwrite(str(folder / "images/a.png"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    numbers = " ".join(f"{x / WIDTH:.6f} {y / HEIGHT:.6f}" for x, y in SLANTED)
    (folder / "labels/a.txt").write_text(f"0 {numbers}\n")
    (folder / "data.yaml").write_text("names: [x]\n")
    (found,), _ = imported("yolo", folder)
    assert covers(found, turned_box((70, 40), (math.hypot(30, 30), math.hypot(10, 10)), 45))


@pytest.mark.parametrize("ring", [None, [], [[30, 40, 80, 40, 80, 56, 30, 56]]])
def test_coco_boxes_with_a_rotation_of_cvat_are_turned_once(tmp_path: Path, ring: Any) -> None:
    def row(number: int, **more: Any) -> dict[str, Any]:
        own = {"id": number, "image_id": 1, "category_id": 1, "bbox": [30, 40, 50, 16], "area": 800, "iscrowd": 0}
        return {**own, "segmentation": ring, "attributes": {"occluded": False, "rotation": 90.0}, **more}

    outline = {"segmentation": [[1, 1, 9, 1, 9, 9]], "attributes": {"rotation": 90}}
    odd = [row(2, **outline), row(3, attributes={"rotation": "x"}), row(4, attributes=[])]
    odd += [row(5, bbox=[30, 40, 0, 0]), row(6, bbox=None), row(7, attributes={"rotation": 360})]
    value = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [row(1), *odd],
    }
    (tmp_path / "a.json").write_text(json.dumps(value))
    for source, out, notes in (("a", "b", 1), ("b", "c", 0)):
        made = import_annotations("coco", tmp_path / f"{source}.json", tmp_path / f"{out}.json")
        assert sum("turned by the rotation" in line for line in made.notes) == notes
        first, *others = read(tmp_path / f"{out}.json").records("annotations")
        assert covers(
            np.asarray(mask(first["segmentation"], HEIGHT, WIDTH), np.bool_), turned_box((55, 48), (50, 16), 90)
        )
        assert first["bbox"] == [47, 23, 16, 50]
        assert others == odd
