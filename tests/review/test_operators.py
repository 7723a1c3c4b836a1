"""The plugin's operators on a real FiftyOne data set: what they write, and that nothing else changes."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, write
from trashkit.coco.edit_log import read_log
from trashkit.coco.edits import apply
from trashkit.review.room import Room

LONG_AGO = datetime(2000, 1, 1)


Review = Any


@pytest.fixture
def review(room: Room, enter: Any) -> Review:
    return enter(room)


def open_findings(room: Room, *codes: str, fixable: bool = False) -> list[int]:
    """Findings about annotations, one for a row, with one of these codes."""
    found: dict[Any, int] = {}
    for n in room.order:
        finding = room.findings[n]
        if finding.block == "annotations" and finding.code in codes and (n in room.fixes or not fixable):
            found.setdefault(finding.row, n)
    return list(found.values())


def differing(before: Path, after: Path) -> set[Any]:
    """Rows of annotations of `before` whose exact text `after` lacks."""
    old, new = read(before), read(after)
    kept = {bytes(raw) for raw in new.rows("annotations")}
    assert [bytes(r) for r in old.rows("images")] == [bytes(r) for r in new.rows("images")]
    return {row for row, raw in enumerate(old.rows("annotations")) if bytes(raw) not in kept}


def test_stored_documents_are_what_fiftyone_itself_would_store(review: Review) -> None:
    import fiftyone as fo

    stored = review.dataset._sample_collection.find_one()
    sample = review.dataset.first()
    assert set(stored) - {"_rand"} <= set(sample.to_mongo_dict(include_id=True)) | {"_dataset_id"}
    sample["note"] = "kept"
    sample.save()
    assert review.dataset.match(fo.ViewField("note") == "kept").count() == 1
    assert review.dataset.count("annotations.polylines") == sum(map(len, review.room.annotations_of.values()))
    assert "still open" in review.dataset.list_saved_views()
    assert len(review.dataset.load_saved_view("still open")) > 0


def test_views_of_a_code_are_worst_first(review: Review) -> None:
    codes = {review.room.findings[n].code: review.room.findings[n].name for n in review.room.order}
    for code, name in codes.items():
        view = review.dataset.load_saved_view(f"{code} {name}")
        scores = [scores[code] for scores in view.values("scores")]
        assert scores == sorted(scores, reverse=True)
        rows = {review.room.image_row_of(f) for f in review.room.findings if f.code == code and f.row is not None}
        assert set(view.values("row")) == rows - {None}


def test_without_decisions_nothing_is_an_edit(review: Review, enter: Any) -> None:
    from trashkit.review.board import take_over

    assert take_over(review.dataset, review.room, LONG_AGO)[:2] == ([], [])
    assert not review.room.log.exists()
    again = enter(review.room)
    assert not again.built


def test_accepting_makes_the_proposed_fix_and_undo_takes_it_back(review: Review) -> None:
    n = open_findings(review.room, "G003", "G005", "G010", "G022", fixable=True)[0]
    row = review.room.findings[n].row
    assert row is not None
    before = review.stored(row)
    result = review.do("accept_fix", [row])
    assert result["edits"] >= 1
    assert review.room.status(n) == "fixed"
    log = read_log(review.room.log).edits
    assert {edit.row for edit in log} == {row}
    assert apply(review.room.coco, log).record("annotations", row) == review.room.record("annotations", row)
    changed = review.stored(row)
    assert changed is not None
    assert changed["decision"] == "fixed"
    assert review.do("undo_decision")["edits"] == len(log)
    assert read_log(review.room.log).edits == []
    assert review.stored(row) == before


def test_each_decision_is_one_kind_of_edit(review: Review) -> None:
    room = review.room
    rows = [row for row in range(40) if ("annotations", row) not in room.findings_of]
    other = next(
        name for key, name in room.names.items() if name != room.class_name(room.record("annotations", rows[0]))
    )
    review.do("relabel", [rows[0]], **{"class": other}, note="it is one")
    review.do("delete_annotations", [rows[1]])
    review.do("leave_note", [rows[2]], text="look again")
    n = room.order[0]
    review.desk.current = n
    review.do("reject_fix", why="right as it is")
    review.do("mark_unusable", why="blurred")
    log = read_log(room.log).edits
    assert [edit.kind for edit in log] == ["relabel", "delete", "note", "reject", "unusable"]
    assert [edit.note for edit in log] == ["it is one", "", "look again", "right as it is", "blurred"]
    assert {edit.author for edit in log} == {"ann"}
    stored = review.stored(rows[0])
    assert stored is not None
    assert stored["label"] == other
    assert review.stored(rows[1]) is None
    assert room.status(n) == "rejected"


def test_refusals_are_told_and_write_nothing(review: Review) -> None:
    free = next(row for row in range(40) if ("annotations", row) not in review.room.findings_of)
    assert "has a proposed fix" in review.do("accept_fix", [free])["message"]
    with pytest.raises(Exception, match="Invalid enum value"):  # FiftyOne itself refuses what is no choice
        review.do("relabel", [free], **{"class": "Cheese"})
    assert "two or more" in review.do("merge_annotations", [free])["message"]
    assert "empty" in review.do("leave_note", [free], text="  ")["message"]
    assert not review.room.log.exists()


def test_next_goes_worst_first_over_what_is_open(review: Review) -> None:
    room = review.room
    seen = [review.do("next_finding")["finding"] for _ in range(3)]
    assert tuple(seen) == room.order[:3]
    review.do("reject_fix")
    assert review.do("previous_finding")["finding"] == room.order[1]
    assert review.do("next_finding")["finding"] == room.order[3]


def test_reopening_with_a_log_goes_on(review: Review, enter: Any, make_room: Any) -> None:
    row = next(row for row in range(40) if ("annotations", row) not in review.room.findings_of)
    review.do("delete_annotations", [row])
    again = enter(make_room(review.room.log))
    assert not again.built
    assert again.stored(row) is None
    review.room.log.unlink()  # the log went away: so do its decisions
    third = enter(make_room(review.room.log))
    assert third.stored(row) is not None


def test_what_the_annotate_tab_saves_is_collected(review: Review) -> None:
    from trashkit.review.board import take_over

    room = review.room
    moved, renamed, gone = [row for row in range(60) if ("annotations", row) not in room.findings_of][:3]
    image = room.image_of(room.record("annotations", moved))
    assert image is not None
    from trashkit.review.board import ids_of

    ids = ids_of(review.dataset)
    sample = review.dataset[ids.of("image", image)]
    label = next(one for one in sample.annotations.polylines if one.id == ids.of("annotations", moved))
    size = room.size(image)
    assert size is not None
    points = [[list(point) for point in ring] for ring in label.points]
    points[0][0][0] += 3 / size[0]
    label.points = points
    sample.save()
    other = next(name for name in room.names.values() if name != room.class_name(room.record("annotations", renamed)))
    _edit(review, renamed, lambda labels, one: setattr(one, "label", other))
    _edit(review, gone, lambda labels, one: labels.remove(one))
    edits, problems, looked = take_over(review.dataset, room, LONG_AGO)
    assert problems == []
    assert {(edit.kind, edit.row) for edit in edits} == {("reshape", moved), ("relabel", renamed), ("delete", gone)}
    before, after = room.coco.record("annotations", moved), room.record("annotations", moved)
    old, new = before["segmentation"][0], after["segmentation"][0]
    assert new[1:] == old[1:]
    assert new[0] == pytest.approx(old[0] + 3, abs=0.01)
    assert take_over(review.dataset, room, looked)[0] == []


def _edit(review: Review, row: int, change: Any) -> None:
    from trashkit.review.board import ids_of

    ids = ids_of(review.dataset)
    image = review.room.image_of(review.room.coco.record("annotations", row))
    assert image is not None
    sample = review.dataset[ids.of("image", image)]
    labels = sample.annotations.polylines
    change(labels, next(one for one in labels if one.id == ids.of("annotations", row)))
    sample.save()


def test_an_outline_drawn_in_the_app_becomes_an_annotation(review: Review) -> None:
    import fiftyone as fo

    from trashkit.review.board import ids_of, take_over

    room, ids = review.room, ids_of(review.dataset)
    sample = review.dataset[ids.of("image", 0)]
    name = next(iter(room.names.values()))
    drawn = fo.Polyline(label=name, points=[[(0.25, 0.25), (0.5, 0.25), (0.5, 0.5)]], closed=True, filled=True)
    sample.annotations.polylines.append(drawn)
    sample.save()
    edits, _, looked = take_over(review.dataset, room, LONG_AGO)
    assert [edit.kind for edit in edits] == ["add"]
    record = edits[0].after
    size = room.size(0)
    assert size is not None
    assert record["segmentation"] == [
        [0.25 * size[0], 0.25 * size[1], 0.5 * size[0], 0.25 * size[1], 0.5 * size[0], 0.5 * size[1]]
    ]
    assert record["area"] == pytest.approx(size[0] * size[1] / 32)
    sample.reload()
    sample.annotations.polylines[-1].label = list(room.names.values())[1]
    sample.save()
    take_over(review.dataset, room, looked)
    log = read_log(room.log).edits
    assert [edit.kind for edit in log] == ["add"]
    assert log[0].after["category_id"] == list(room.names)[1]


@pytest.mark.parametrize(
    ("annotations", "images"),
    [("taco/annotations.json", "taco"), ("household/train.json", "household"), ("street/annotations.json", "street")],
)
def test_twenty_decisions_change_twenty_annotations(
    annotations: str, images: str, real_data: Path, make_room: Any, enter: Any, tmp_path: Path
) -> None:
    from trashkit.review.board import take_over

    source = real_data / annotations
    if not source.exists():
        source = next((real_data / images).glob("*.json"))
    review = enter(make_room(tmp_path / "log.jsonl", source, real_data / images))
    room = review.room
    assert take_over(review.dataset, room, LONG_AGO)[:2] == ([], [])
    assert not room.log.exists()
    untouched = tmp_path / "untouched.json"
    write(apply(room.coco, []), untouched)
    assert differing(source, untouched) == set()
    rows = _decide_on_twenty(review)
    fixed = tmp_path / "fixed.json"
    write(apply(read(source), read_log(room.log).edits), fixed)
    assert len(rows) == 20
    assert differing(source, fixed) == rows
    assert take_over(review.dataset, room, LONG_AGO)[:2] == ([], [])


def _decide_on_twenty(review: Review) -> set[int]:
    """Through operators: fixes as far as there are any, classes, deletions, a merge; and a rejection of no effect."""
    room = review.room
    decided: list[int] = []
    for n in [n for n in room.order if n in room.fixes and room.findings[n].block == "annotations"]:
        row = room.findings[n].row
        changes = {edit.row for edit in room.fixes[n].together}
        if row is not None and row not in decided and len(decided) < 8 and changes == {row}:
            assert review.do("accept_fix", [row])["edits"]
            decided.append(row)
    image = next(
        image for image, rows in room.annotations_of.items() if len(rows) >= 2 and not set(rows) & set(decided)
    )
    pair = room.annotations_of[image][:2]
    assert review.do("merge_annotations", pair)["edits"] == 2
    decided += pair
    free = [row for row in range(room.coco.count("annotations")) if row not in decided]
    names = list(room.names.values())
    for n, row in enumerate(free[: 20 - len(decided)]):
        if n % 2:
            review.do("delete_annotations", [row])
        else:
            now = room.class_name(room.record("annotations", row))
            review.do("relabel", [row], **{"class": next(name for name in names if name != now)})
        decided.append(row)
    left = next((n for n in room.order if room.status(n) == "open"), None)
    if left is not None:
        review.desk.current = left
        review.do("reject_fix", why="no")
    return set(decided)


def test_next_stops_at_what_was_chosen_and_all_safe_fixes_go_in_one_step(enter: Any, room: Room) -> None:
    review = enter(room)
    desk = review.desk
    safe = [n for n in room.order if room.findings[n].fix == "safe" and n in room.fixes and not room.fixes[n].added]
    code = max({room.findings[n].code for n in safe}, key=[room.findings[n].code for n in safe].count)
    mine = [n for n in room.order if room.findings[n].code == code]
    review.do("choose", code=f"{code} {room.findings[mine[0]].name}")
    seen = [desk.current]
    for _ in mine[1:]:
        review.do("next_finding")
        seen.append(desk.current)
    assert seen == mine
    wanted = {n for n in safe if room.findings[n].code == code}
    assert review.do("accept_all")["edits"] > 0
    assert all(desk.room.status(n) == "fixed" for n in wanted)
    assert {edit.row for edit in desk.room.standing().edits} == {room.findings[n].row for n in wanted}
    name = next(name for n in reversed(room.order) if desk.room.status(n) == "open" and (name := desk.class_of(n)))
    review.do("choose", class_name=name)
    assert desk.current is not None
    assert desk.class_of(desk.current) == name
    desk.choose("", "", False)
    review.do("undo_decision")
    assert desk.room.standing().edits == ()
