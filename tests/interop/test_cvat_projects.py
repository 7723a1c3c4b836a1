"""CVAT projects: subsets, tasks with the same names, and videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from trashkit.coco import read
from trashkit.errors import TrashkitError
from trashkit.interop.registry import import_annotations


def photo(path: Path, width: int = 60, height: int = 40) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes())


def box(left: int, **more: Any) -> str:
    attributes = " ".join(f'{name}="{value}"' for name, value in {"label": "can", **more}.items())
    return f'<box {attributes} xtl="{left}" ytl="5" xbr="{left + 10}" ybr="15"/>'


def image(name: str, left: int, **more: Any) -> str:
    attributes = " ".join(f'{key}="{value}"' for key, value in more.items())
    return f'<image id="0" name="{name}" {attributes} width="60" height="40">{box(left)}</image>'


def imported(source: Path, content: str, **options: Any) -> tuple[Any, dict[str, list[int]]]:
    """The result, and the left sides of the boxes of each image."""
    path = source / "annotations.xml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"<annotations><version>1.1</version>{content}</annotations>", encoding="utf-8")
    out = source / "imported.json"
    made = import_annotations("cvat", path, out, overwrite=True, **options)
    coco = read(out)
    files = {record["id"]: record["file_name"] for record in coco.records("images")}
    found: dict[str, list[int]] = {name: [] for name in files.values()}
    for record in coco.records("annotations"):
        found[files[record["image_id"]]].append(round(record["bbox"][0]))
    return made, found


def test_same_names_in_subsets_are_found_in_their_folders(tmp_path: Path) -> None:
    content = image("day/1.png", 3, subset="Train") + image("day/1.png", 9, subset="Val") + image("2.png", 20)
    for folder in ("images/Train/day/1.png", "images/Val/day/1.png", "images/2.png"):
        photo(tmp_path / folder)
    assert imported(tmp_path, content)[1] == {"Train/day/1.png": [3], "Val/day/1.png": [9], "2.png": [20]}
    other = tmp_path / "other"
    for folder in ("set/train/1.png", "set/val/1.png"):
        photo(other / folder)
    content = image("1.png", 3, subset="Train") + image("1.png", 9, subset="Val")
    assert imported(other, content, images=other)[1] == {"set/train/1.png": [3], "set/val/1.png": [9]}


def test_same_names_without_photos_keep_subset_and_task(tmp_path: Path) -> None:
    content = image("1.png", 3, subset="Train", task_id=4) + image("1.png", 9, subset="Val", task_id=4)
    assert imported(tmp_path / "a", content)[1] == {"Train/1.png": [3], "Val/1.png": [9]}
    content = image("1.png", 3, task_id=4) + image("1.png", 9, task_id=5) + image("2.png", 20, task_id=5)
    assert imported(tmp_path / "b", content)[1] == {"task_4/1.png": [3], "task_5/1.png": [9], "2.png": [20]}
    content = image("../x/1.png", 3, subset="../../etc") + image("1.png", 9, subset="b")
    assert all(".." not in name for name in imported(tmp_path / "c", content)[1])


def test_a_photo_of_one_subset_is_not_taken_for_that_of_another(tmp_path: Path) -> None:
    photo(tmp_path / "images/Val/1.png")
    content = image("1.png", 3, subset="Train") + image("1.png", 9, subset="Val")
    assert imported(tmp_path, content)[1] == {"Train/1.png": [3], "Val/1.png": [9]}


SIZE = "<original_size><width>60</width><height>40</height></original_size>"


def meta(*tasks: str) -> str:
    return f"<meta>{''.join(f'<task>{task}{SIZE}</task>' for task in tasks)}</meta>"


def track(*shapes: str, label: str = "can", **more: Any) -> str:
    attributes = " ".join(f'{name}="{value}"' for name, value in more.items())
    return f'<track id="0" label="{label}" {attributes}>{"".join(shapes)}</track>'


def at(frame: int, left: int, *, key: int = 1, outside: int = 0, **more: Any) -> str:
    return box(left, frame=frame, keyframe=key, outside=outside, **more).replace('label="can" ', "")


def test_keyframes_of_a_video_become_images(tmp_path: Path) -> None:
    one = track(at(0, 1), at(1, 2, key=0), at(2, 3, key=0), at(3, 4), at(4, 5, outside=1))
    two = track(at(1, 30, key=0), at(2, 31), at(3, 32, key=0), at(4, 33, key=0), label="cup")
    for number in (0, 2, 3):
        photo(tmp_path / f"images/frame_{number:06d}.PNG")
    made, found = imported(tmp_path, meta("<id>7</id>") + one + two)
    assert found == {"frame_000000.PNG": [1], "frame_000002.PNG": [3, 31], "frame_000003.PNG": [4, 32]}
    assert made.per_class == {"can": 3, "cup": 2}
    assert not made.skipped


def test_frames_are_found_by_their_number(tmp_path: Path) -> None:
    photo(tmp_path / "images/clip2_00012.jpg")
    assert imported(tmp_path, track(at(12, 1)))[1] == {"clip2_00012.jpg": [1]}
    with pytest.raises(TrashkitError, match="size of its frame is unknown"):
        imported(tmp_path, track(at(13, 1)))
    assert imported(tmp_path, meta("") + track(at(13, 1)))[1] == {"frame_000013.PNG": [1]}


def test_videos_of_several_tasks_have_folders(tmp_path: Path) -> None:
    tasks = meta("<id>7</id><subset>Train</subset>", "<id>8</id><subset>Val</subset>")
    content = tasks + track(at(0, 1), task_id=7, subset="Train") + track(at(0, 2), task_id=8, subset="Val")
    assert imported(tmp_path, content)[1] == {
        "Train/task_7/frame_000000.PNG": [1], "Val/task_8/frame_000000.PNG": [2],
    }  # fmt: skip
    photo(tmp_path / "images/Train/frame_000000.PNG")
    photo(tmp_path / "images/Val/frame_000000.PNG")
    assert imported(tmp_path, content)[1] == {"Train/frame_000000.PNG": [1], "Val/frame_000000.PNG": [2]}


def test_tracks_are_continued_between_keyframes(tmp_path: Path) -> None:
    steady = track(at(0, 0), at(10, 20, rotation=350), at(20, 20, outside=1))
    polygons = track(
        '<polygon frame="0" keyframe="1" outside="0" points="1,1;9,1;9,9"/>',
        '<polygon frame="10" keyframe="1" outside="0" points="1,1;9,1;9,9;1,9"/>',
    )
    mask = track(
        '<mask frame="0" keyframe="1" outside="0" rle="0, 4" left="50" top="30" width="2" height="2"/>',
        '<mask frame="10" keyframe="1" outside="1" rle="0, 4" left="50" top="30" width="2" height="2"/>',
    )
    made, found = imported(tmp_path, meta("") + steady + polygons + mask + track(at(5, 40), label="cup"))
    assert found["frame_000005.PNG"] == [10, 50, 40]
    assert found["frame_000000.PNG"] == [0, 1, 50]
    assert len(found["frame_000010.PNG"]) == 2
    assert dict(made.skipped) == {"elements of type polygon between the keyframes of a track": 1}


def test_damaged_tracks_are_skipped_and_named(tmp_path: Path) -> None:
    good = track(at(0, 1))
    bad = track(box(1, frame="x"), box(1), '<box frame="0" keyframe="1" xtl="1"/>', '<points frame="0" points="1,1"/>')
    made, found = imported(tmp_path, meta("") + good + bad)
    assert found == {"frame_000000.PNG": [1]}
    assert sum(made.skipped.values()) == 3
