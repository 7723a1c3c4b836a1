"""Unusual cases: tagged, noted, shared as a small file, and opened by a team mate."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, write
from trashkit.coco.edit_log import read_log
from trashkit.errors import TrashkitError
from trashkit.review import decisions
from trashkit.review.cases import noted, read_cases, share
from trashkit.review.room import Case, Room


def test_what_is_shared_comes_back_as_the_same_rows(room: Room, tmp_path: Path) -> None:
    image = room.image_of(room.coco.record("annotations", 5))
    assert image is not None
    decisions.make(room, decisions.tag([("annotations", 5)], "transparent", "a bag in a bag"))
    decisions.make(room, decisions.note([("images", 3)], "night"))
    decisions.make(room, decisions.unusable([7], "blurred"))
    path = tmp_path / "cases.json"
    assert share(room, path, noted(room), title="Odd ones") == 3
    assert path.stat().st_size < 2000
    shared, missing = read_cases(path, room)
    assert (shared.title, shared.by, missing) == ("Odd ones", "ann", 0)
    assert shared.cases == (
        Case(image, 5, ("transparent",), "a bag in a bag"),
        Case(3, None, (), "night"),
        Case(7, None, ("unusable",), "blurred"),
    )
    with pytest.raises(TrashkitError, match="exists"):
        share(room, path, noted(room))


def test_cases_of_another_version_are_found_by_name(room: Room, tmp_path: Path) -> None:
    row = room.annotations_of[6][-1]
    decisions.make(room, decisions.note([("annotations", row), ("images", 3)], "look"))
    path = tmp_path / "cases.json"
    share(room, path, noted(room))
    record = room.coco.record("annotations", row)
    name = room.images_rows[3]["file_name"]
    later = room.coco.replace("images", {0: None, 3: None}).replace("annotations", {0: None, 1: None})
    write(later, tmp_path / "later.json")
    other = Room(read(tmp_path / "later.json"), [], {}, tmp_path / "other.jsonl", reviewer="bob")
    shared, missing = read_cases(path, other)
    assert missing == 1, f"{name} was taken away"
    case = shared.cases[0]
    assert other.images_rows[case.image]["file_name"] == room.images_rows[6]["file_name"]
    assert case.annotation is not None
    assert other.coco.record("annotations", case.annotation)["id"] == record["id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", "no shared cases"),
        ('{"format": "trashkit cases", "version": 9, "cases": []}', "version 9"),
        ('{"format": "trashkit cases", "version": 1, "cases": [3]}', r"cases\[0\]"),
        ('{"format": "trashkit cases", "version": 1, "cases": [{"file_name": "no.jpg"}]}', "none of the 1 cases"),
    ],
)
def test_bad_files_are_refused(room: Room, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(TrashkitError, match=message):
        read_cases(path, room)


def test_a_team_mate_sees_the_cases_in_their_order(room: Room, make_room: Any, enter: Any, tmp_path: Path) -> None:
    review = enter(room)
    assert review.do("tag_case", [5], text="odd")["edits"] == 1
    assert review.do("tag_case", [5], text="odd")["edits"] == 0, "it has the tag already"
    assert review.do("leave_note", [90], text="what is it?")["edits"] == 1
    told = review.do("share_cases", file="mine.json", title="Friday")
    assert "2 cases" in told["message"]
    assert "exists" in review.do("share_cases", file="mine.json")["message"]
    stored = review.stored(5)
    assert stored is not None
    assert "unusual" in stored["tags"]

    theirs = make_room(tmp_path / "theirs.jsonl")
    theirs.shared, missing = read_cases(Path(told["path"]), theirs)
    assert missing == 0
    mate = enter(theirs)
    view = mate.dataset.load_saved_view("shared cases")
    images = [theirs.image_of(theirs.coco.record("annotations", row)) for row in (5, 90)]
    assert view.values("row") == images
    assert view.first().shared == "unusual: odd"
    assert not theirs.log.exists()
    theirs.shared = None
    without = enter(theirs)
    assert "shared cases" not in without.dataset.list_saved_views()
    assert without.dataset.match({"shared": {"$nin": ["", None]}}).count() == 0


def test_tags_given_with_the_apps_own_button_are_taken_over(room: Room, enter: Any) -> None:
    from trashkit.review.board import ids_of, take_over

    review = enter(room)
    ids = ids_of(review.dataset)
    view = review.dataset.select(ids.of("image", 2))
    view.tag_samples("strange")
    edits, problems, looked = take_over(review.dataset, room, datetime(2000, 1, 1))
    assert problems == []
    assert [(edit.kind, edit.block, edit.row, edit.reason) for edit in edits] == [("note", "images", 2, "strange")]
    assert take_over(review.dataset, room, looked)[0] == []
    view.untag_samples("strange")
    take_over(review.dataset, room, datetime(2000, 1, 1))
    assert read_log(room.log).edits == []
    review.dataset.select_labels(ids=[ids.of("annotations", 4)]).tag_labels("cut", "annotations")
    edits, _, _ = take_over(review.dataset, room, datetime(2000, 1, 1))
    assert [(edit.block, edit.row, edit.reason) for edit in edits] == [("annotations", 4, "cut")]


def test_sharing_nothing_is_refused(room: Room, tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="no cases"):
        share(room, tmp_path / "none.json", noted(room))
    assert not (tmp_path / "none.json").exists()
    assert json.dumps(noted(room)) == "[]"
