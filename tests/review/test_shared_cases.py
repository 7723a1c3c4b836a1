"""Unusual cases: tagged, noted, shared as a small file, and opened by a teammate."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, write
from trashkit.edits.log import read_log
from trashkit.errors import TrashkitError
from trashkit.review import decisions
from trashkit.review.session import ReviewSession, SharedCase
from trashkit.review.shared_cases import noted, path_beside, read_cases, share

pytestmark = pytest.mark.slow


def test_shared_cases_round_trip_to_the_same_rows(session: ReviewSession, tmp_path: Path) -> None:
    image = session.image_of(session.coco.record("annotations", 5))
    assert image is not None
    decisions.make(session, decisions.tag([("annotations", 5)], "transparent", "a bag in a bag"))
    decisions.make(session, decisions.note([("images", 3)], "night"))
    decisions.make(session, decisions.unusable([7], "blurred"))
    path = tmp_path / "cases.json"
    assert share(session, path, noted(session), title="Odd ones") == 3
    assert path.stat().st_size < 2000
    shared, missing = read_cases(path, session)
    assert (shared.title, shared.by, missing) == ("Odd ones", "ann", 0)
    assert shared.cases == (
        SharedCase(image, 5, ("transparent",), "a bag in a bag"),
        SharedCase(3, None, (), "night"),
        SharedCase(7, None, ("unusable",), "blurred"),
    )
    with pytest.raises(TrashkitError, match="exists"):
        share(session, path, noted(session))


def test_cases_of_another_version_are_found_by_name(session: ReviewSession, tmp_path: Path) -> None:
    row = session.annotations_of[6][-1]
    decisions.make(session, decisions.note([("annotations", row), ("images", 3)], "look"))
    path = tmp_path / "cases.json"
    share(session, path, noted(session))
    record = session.coco.record("annotations", row)
    name = session.image_records[3]["file_name"]
    later = session.coco.replace("images", {0: None, 3: None}).replace("annotations", {0: None, 1: None})
    write(later, tmp_path / "later.json")
    other = ReviewSession(read(tmp_path / "later.json"), [], {}, tmp_path / "other.jsonl", reviewer="bob")
    shared, missing = read_cases(path, other)
    assert missing == 1, f"{name} was taken away"
    case = shared.cases[0]
    assert other.image_records[case.image]["file_name"] == session.image_records[6]["file_name"]
    assert case.annotation is not None
    assert other.coco.record("annotations", case.annotation)["id"] == record["id"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cannot be read"),
        ("[1, 2]", "not a file of shared cases"),
        ('{"format": "trashkit cases", "version": 9, "cases": []}', "version 9"),
        ('{"format": "trashkit cases", "version": 1, "cases": [3]}', r"cases\[0\]"),
        ('{"format": "trashkit cases", "version": 1, "cases": [{"file_name": "no.jpg"}]}', "none of the 1 cases"),
        ('{"format": "trashkit cases", "version": 1, "cases": ' + "[" * 5000 + "]" * 5000 + "}", "nested more than"),
        ('{"format": "trashkit cases", "version": 1, "cases": [{"image": ' + "1" * 5000 + "}]}", "4300 digits"),
        ('{"format": "trashkit cases", "version": 1, "cases": [], "title": {}}', "at title: expected str"),
        ('{"format": "trashkit cases", "version": 1, "cases": {"a": 1}}', "not a file of shared cases"),
        ('{"format": "trashkit cases", "version": true, "cases": []}', "at version: expected int"),
        (
            '{"format": "trashkit cases", "version": 1, "cases": [{"image": [], "annotation": {}}]}',
            "none of the 1 cases",
        ),
        ("\0", "cannot be read"),
    ],
)
def test_bad_files_are_refused(session: ReviewSession, tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(TrashkitError, match=message):
        read_cases(path, session)


def test_pipes_folders_and_other_encodings_are_refused(session: ReviewSession, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "utf16.json").write_bytes("{}".encode("utf-16")[:-1])
    for name, message in (
        ("pipe.json", "a pipe or a device"),
        ("", "folder"),
        ("utf16.json", "not text but a binary file"),
    ):
        with pytest.raises(TrashkitError, match=message):
            read_cases(tmp_path / name, session)


@pytest.mark.parametrize(
    "name",
    [
        *("/tmp/cases.json", "../cases.json", "a/cases.json", "..", ".", "", "~/cases.json", "a\\cases.json"),
        *("a\0.json", "a\n.json", "\u202ea.json", "cases", "cases.txt", ".bashrc", "x" * 200 + ".json", "link.json"),
    ],
)
def test_only_plain_names_beside_the_log_are_taken(name: str, tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(TrashkitError) as refused:
        path_beside(tmp_path / "log.jsonl", name)
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    "content",
    ['{"images": [], "annotations": []}', "my only copy", "", "[]", '{"format": "other", "version": 1, "cases": []}'],
)
def test_other_files_are_never_replaced(session: ReviewSession, tmp_path: Path, content: str) -> None:
    path = path_beside(session.log, "mine.json")
    path.write_text(content)
    with pytest.raises(TrashkitError, match="is not a file of shared cases, so it is not replaced"):
        share(session, path, [("images", 3)], overwrite=True)
    assert path.read_text() == content
    path.unlink()
    assert share(session, path, [("images", 3)]) == 1
    assert share(session, path, [("images", 3), ("images", 4)], overwrite=True) == 2


def test_the_operator_writes_nothing_elsewhere(session: ReviewSession, enter: Any, tmp_path: Path) -> None:
    review = enter(session)
    review.do("leave_note", [5], text="look")
    victim = tmp_path / "elsewhere" / "victim.json"
    victim.parent.mkdir()
    victim.write_text("{}")
    for name in (str(victim), "elsewhere/victim.json", "../x.json", session.log.name):
        assert "error" in review.do("share_cases", file=name, overwrite=True)
    assert victim.read_text() == "{}"
    assert not (tmp_path.parent / "x.json").exists()
    assert [edit.kind for edit in read_log(session.log).edits] == ["note"]


def test_a_teammate_sees_the_cases_in_their_order(
    session: ReviewSession, make_session: Any, enter: Any, tmp_path: Path
) -> None:
    review = enter(session)
    assert review.do("tag_case", [5], text="odd")["edits"] == 1
    assert review.do("tag_case", [5], text="odd")["edits"] == 0, "it has the tag already"
    assert review.do("leave_note", [90], text="what is it?")["edits"] == 1
    result = review.do("share_cases", file="mine.json", title="Friday")
    assert "2 cases" in result["message"]
    assert "exists" in review.do("share_cases", file="mine.json")["message"]
    stored = review.stored(5)
    assert stored is not None
    assert "unusual" in stored["tags"]

    theirs = make_session(tmp_path / "theirs.jsonl")
    theirs.shared, missing = read_cases(Path(result["path"]), theirs)
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


def test_tags_given_with_the_apps_own_button_are_taken_over(session: ReviewSession, enter: Any) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import ids_of, take_over

    review = enter(session)
    ids = ids_of(review.dataset)
    view = review.dataset.select(ids.of("image", 2))
    view.tag_samples("strange")
    edits, problems, looked = take_over(review.dataset, session, datetime(2000, 1, 1))
    assert problems == []
    assert [(edit.kind, edit.block, edit.row, edit.reason) for edit in edits] == [("note", "images", 2, "strange")]
    assert take_over(review.dataset, session, looked)[0] == []
    view.untag_samples("strange")
    take_over(review.dataset, session, datetime(2000, 1, 1))
    assert read_log(session.log).edits == []
    review.dataset.select_labels(ids=[ids.of("annotations", 4)]).tag_labels("cut", "annotations")
    edits, _, _ = take_over(review.dataset, session, datetime(2000, 1, 1))
    assert [(edit.block, edit.row, edit.reason) for edit in edits] == [("annotations", 4, "cut")]


def test_sharing_nothing_is_refused(session: ReviewSession, tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="no cases"):
        share(session, tmp_path / "none.json", noted(session))
    assert not (tmp_path / "none.json").exists()
    assert json.dumps(noted(session)) == "[]"
