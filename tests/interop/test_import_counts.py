"""No object is lost in silence: what cannot be imported is counted by reason, and one bad shape costs no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.errors import TrashkitError
from trashkit.interop.registry import ImportResult, import_annotations

GOOD = [[1, 1], [9, 1], [9, 9]]


def photo(path: Path, width: int = 20, height: int = 10) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))
    return path


def labelme(folder: Path, *shapes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    value = {"shapes": list(shapes), "imagePath": "a.png", "imageWidth": 20, "imageHeight": 10}
    (folder / "a.json").write_text(json.dumps(value))
    return folder


def cvat(folder: Path, *shapes: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "annotations.xml"
    path.write_text(f"<annotations><image name='a.png' width='20' height='10'>{''.join(shapes)}</image></annotations>")
    return path


def region(points: Any, label: Any = "lid", **more: Any) -> dict[str, Any]:
    value = {"points": points, **({"polygonlabels": [label]} if label else {})}
    return {"type": "polygonlabels", "original_width": 20, "original_height": 10, "value": value, **more}


def studio(folder: Path, *results: Any, **task: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tasks.json"
    path.write_text(json.dumps([{"data": {"image": "a.png"}, "annotations": [{"result": list(results)}], **task}]))
    return path


def yolo(folder: Path, text: str) -> Path:
    photo(folder / "images/a.png")
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels/a.txt").write_text(text)
    (folder / "data.yaml").write_text("names: [lid, cup]\n")
    return folder


BAD_SHAPES: dict[str, tuple[str, Callable[[Path], Path], int]] = {
    "labelme, words as points": (
        "labelme",
        lambda f: labelme(f, {"label": "lid", "points": GOOD}, {"label": "lid", "points": [["a", 1]] * 3}),
        1,
    ),
    "labelme, no label and a number": (
        "labelme",
        lambda f: labelme(f, 5, {"points": GOOD}, {"label": "lid", "points": GOOD}),
        2,
    ),
    "labelme, box of one point": (
        "labelme",
        lambda f: labelme(
            f,
            {"label": "lid", "points": GOOD},
            {"label": "lid", "points": [[1, 1]], "shape_type": "rectangle"},
            {"label": "lid", "points": [[1, 1]], "shape_type": "point"},
        ),
        2,
    ),
    "labelme, damaged mask": (
        "labelme",
        lambda f: labelme(
            f,
            {"label": "lid", "points": GOOD},
            {"label": "lid", "points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "AAAA"},
        ),
        1,
    ),
    "labelme, blank labels": (
        "labelme",
        lambda f: labelme(f, *({"label": label, "points": GOOD} for label in ("", " ", "lid"))),
        2,
    ),
    "CVAT, no label and odd points": (
        "cvat",
        lambda f: cvat(
            f,
            "<polygon points='0,0;9,0;9,9'/>",
            "<polygon label=' ' points='0,0;9,0;9,9'/>",
            "<polygon label='lid' points='0,0;9,0;9,9'/>",
            "<polygon label='lid' points='0,0;9'/>",
            "<polyline label='lid' points='0,0;9,0;9,9'/>",
            "<box label='lid' xtl='x' ytl='0' xbr='1' ybr='1'/>",
        ),
        5,
    ),
    "CVAT, z_order that is a word": (
        "cvat",
        lambda f: cvat(
            f, "<polygon label='lid' points='0,0;9,0;9,9'/>", "<polygon label='lid' z_order='x' points='0,0;9,0;9,9'/>"
        ),
        1,
    ),
    "Label Studio, no label and no points": (
        "label-studio",
        lambda f: studio(f, region(5), region(GOOD), region(GOOD, None), 7, {"type": 3}),
        4,
    ),
    "YOLO, words and two vertices": ("yolo", lambda f: yolo(f, "0 x 1 1 0\n0 0 0 .5 0 .5 .5\n0 .1 .1\n"), 2),
}


@pytest.mark.parametrize("case", BAD_SHAPES)
def test_a_bad_shape_costs_no_other(tmp_path: Path, case: str) -> None:
    kind, make, lost = BAD_SHAPES[case]
    made = import_annotations(kind, make(tmp_path / "in"), tmp_path / "out.json")
    assert (made.annotations, sum(made.skipped.values())) == (1, lost)
    assert len(made.warnings) == len(made.skipped)
    assert all("first" in line for line in made.warnings)
    with pytest.raises(TrashkitError, match=rf"{lost} shapes cannot be imported"):
        import_annotations(kind, tmp_path / "in", tmp_path / "strict.json", strict=True)
    assert not (tmp_path / "strict.json").exists()


def test_where_all_shapes_are_skipped_the_reason_is_the_error(tmp_path: Path) -> None:
    source = labelme(tmp_path / "in", {"label": "lid", "points": [[1, 1]], "shape_type": "point"})
    with pytest.raises(TrashkitError, match=r"no shape can be imported: 1 shapes of type point, first .*a\.json"):
        import_annotations("labelme", source, tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_the_command_counts_and_warns(tmp_path: Path) -> None:
    from trashkit.cli.app import app

    source = labelme(
        tmp_path / "in",
        {"label": "lid", "points": GOOD},
        {"label": "lid", "points": [[1, 1]], "shape_type": "point"},
    )
    other = {"shapes": [], "imagePath": "b.png", "imageWidth": 20, "imageHeight": 10}
    (source / "b.json").write_text(json.dumps(other))
    arguments = ["data", "import", "labelme", str(source), "--out", str(tmp_path / "out.json")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "warning: skipped 1 shapes of type point" in done.output
    assert "1 annotations in 2 images (1 without objects), 1 shapes skipped" in done.output
    result = json.loads(CliRunner().invoke(app, [*arguments, "--overwrite", "--json"]).stdout)
    assert result["annotations_per_class"] == {"lid": 1}
    assert result["classes"] == [{"id": 1, "number": None, "name": "lid", "objects": 1, "pixels": 28}]
    assert result["skipped"] == {"shapes of type point": 1}
    assert result["images_without_objects"] == 1
    assert CliRunner().invoke(app, [*arguments, "--overwrite", "--strict"]).exit_code == 2


def read(folder: Path, *results: Any, **task: Any) -> ImportResult:
    photo(folder / "in/images/a.png")
    return import_annotations("label-studio", studio(folder / "in", *results, **task), folder / "out.json")


def test_labels_of_regions_may_be_results_of_their_own(tmp_path: Path) -> None:
    size = {"original_width": 20, "original_height": 10}
    box = {"x": 10, "y": 10, "width": 50, "height": 50}
    results = [
        {"id": "b", "type": "labels", "value": {**box, "labels": ["cup"]}, **size},
        {"id": "a", "type": "polygon", "value": {"points": GOOD}, **size},
        {"id": "a", "type": "labels", "value": {"points": GOOD, "labels": ["lid"]}, **size},
        {"id": "b", "type": "rectangle", "value": box, **size},
        {"id": "c", "type": "ellipse", "value": {"x": 50, "y": 50, "radiusX": 9, "radiusY": 9}, **size},
        {"id": "b", "type": "choices", "value": {"choices": ["wet"]}},
    ]
    made = read(tmp_path, *results)
    assert made.per_class == {"lid": 1, "cup": 1}
    assert made.skipped == {"shapes without a label": 1}
    assert any("region c" in line for line in made.warnings)
    assert any("results of type choices" in line for line in made.notes)


def test_the_first_of_several_labels_counts_and_is_named(tmp_path: Path) -> None:
    several = region(GOOD)
    several["value"]["polygonlabels"] = ["lid", "wet"]
    made = read(tmp_path, several)
    assert made.per_class == {"lid": 1}
    assert any("several labels" in line for line in made.notes)


@pytest.mark.parametrize("truth", [0, 1])
def test_the_ground_truth_wins(tmp_path: Path, truth: int) -> None:
    both = [{"result": [region(GOOD, name)], "ground_truth": n == truth} for n, name in enumerate(["lid", "cup"])]
    made = read(tmp_path, annotations=both)
    assert made.per_class == {["lid", "cup"][truth]: 1}
    assert any("ground truth counts" in line for line in made.notes)
    assert made.skipped == {"regions in further annotations of a task": 1}


def test_predictions_without_annotations_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="1 regions in predictions, in tasks without annotations"):
        read(tmp_path, annotations=[], predictions=[{"result": [region(GOOD)]}])
    made = read(tmp_path, region(GOOD), predictions=[{"result": [region(GOOD)]}])
    assert (made.annotations, made.skipped) == (1, {})
    cancelled = [{"result": [region(GOOD)], "was_cancelled": True}, {"result": [region(GOOD, "cup")]}]
    (tmp_path / "out.json").unlink()
    assert read(tmp_path, annotations=cancelled).per_class == {"cup": 1}


def test_completions_of_old_exports_are_annotations(tmp_path: Path) -> None:
    made = read(tmp_path, annotations=None, completions=[{"result": [region(GOOD)]}])
    assert (made.per_class, made.skipped) == ({"lid": 1}, {})


def test_regions_of_videos_are_counted(tmp_path: Path) -> None:
    video = {"type": "videorectangle", "value": {"sequence": [], "labels": ["lid"]}}
    with pytest.raises(TrashkitError, match="no images"):
        read(tmp_path, video, data={"video": "a.mp4"})
    source = studio(tmp_path / "in", video, data={"video": "a.mp4"})
    tasks = [*json.loads(source.read_text()), {"data": {"image": "a.png"}, "annotations": [{"result": [region(GOOD)]}]}]
    source.write_text(json.dumps(tasks))
    made = import_annotations("label-studio", source, tmp_path / "out.json")
    assert (made.annotations, sum(made.skipped.values())) == (1, 1)


def test_labels_and_groups_of_labelme_may_be_numbers_or_text(tmp_path: Path) -> None:
    parts = [{"label": 7, "points": [[x, 1], [x + 4, 1], [x + 4, 5]], "group_id": "a"} for x in (1, 9)]
    source = labelme(tmp_path / "in", *parts, {"label": "7", "points": GOOD, "group_id": ""})
    made = import_annotations("labelme", source, tmp_path / "out.json")
    assert (made.per_class, made.skipped) == ({"7": 2}, {})


def test_lines_of_other_formats_do_not_make_class_numbers_unclear(tmp_path: Path) -> None:
    source = yolo(tmp_path / "in", "40 30 100 30 100 60 40 60 lid 0\n9 1 2 3 4 5 6 7 cup 1\n")
    with pytest.raises(TrashkitError, match=r"no shape can be imported: 2 .*'lid', not a number"):
        import_annotations("yolo", source, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("/data/upload/7/0a1b2c3d-blue%20lid.png", "blue lid.png"),
        ("/data/local-files/?d=batch%202/blue%20lid.png", "batch 2/blue lid.png"),
        ("https://host.example/p/%EB%B3%91.png?x=1", "병.png"),
        ("/data/upload/7/0a1b2c3d-50%25.png", "50%.png"),
        ("50%25.png", "50%25.png"),
        ("blue%20lid.png", "blue lid.png"),
    ],
)
def test_percent_encoded_names_lead_to_their_photos(tmp_path: Path, written: str, file: str) -> None:
    photo(tmp_path / "in/images/other.png")
    target = tmp_path / "in/images" / file
    photo(target.with_name("x.png")).rename(target)
    made = import_annotations(
        "label-studio", studio(tmp_path / "in", region(GOOD), data={"image": written}), tmp_path / "out.json"
    )
    assert json.loads((tmp_path / "out.json").read_text())["images"][0]["file_name"] == file
    assert not any("no photo" in line for line in made.notes)


def test_images_whose_photo_is_not_there_are_named(tmp_path: Path) -> None:
    photo(tmp_path / "in/images/other.png")
    source = studio(tmp_path / "in", region(GOOD), data={"image": "/data/upload/7/0a1b2c3d-blue%20lid.png"})
    made = import_annotations("label-studio", source, tmp_path / "out.json", images=tmp_path / "in/images")
    assert any("1 of 1 images have no photo" in line and "blue lid.png" in line for line in made.notes)
