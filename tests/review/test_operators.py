"""The operators on a real FiftyOne data set: what they write, and that nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, write
from trashkit.edits.apply import apply
from trashkit.edits.log import read_log
from trashkit.review.session import ReviewSession

from .conftest import SYNTH

LONG_AGO = datetime(2000, 1, 1)

Review = Any


@pytest.fixture
def review(session: ReviewSession, enter: Any) -> Review:
    return enter(session)


def open_findings(session: ReviewSession, *codes: str, fixable: bool = False) -> list[int]:
    """Findings about annotations, one for a row, with one of these codes."""
    found: dict[Any, int] = {}
    for n in session.order:
        finding = session.findings[n]
        if finding.block == "annotations" and finding.code in codes and (n in session.fixes or not fixable):
            found.setdefault(finding.row, n)
    return list(found.values())


def differing(before: Path, after: Path) -> set[Any]:
    """Rows of annotations of `before` whose exact text `after` lacks."""
    old, new = read(before), read(after)
    kept = {bytes(raw) for raw in new.rows("annotations")}
    assert [bytes(r) for r in old.rows("images")] == [bytes(r) for r in new.rows("images")]
    return {row for row, raw in enumerate(old.rows("annotations")) if bytes(raw) not in kept}


@pytest.mark.slow
def test_fiftyone_reads_and_saves_stored_samples(review: Review) -> None:
    import fiftyone as fo

    sample = review.dataset.first()
    sample["note"] = "kept"
    sample.save()
    assert review.dataset.match(fo.ViewField("note") == "kept").count() == 1
    assert review.dataset.count("annotations.polylines") == sum(map(len, review.session.annotations_of.values()))
    assert "still open" in review.dataset.list_saved_views()
    assert len(review.dataset.load_saved_view("still open")) > 0


@pytest.mark.slow
def test_views_of_a_code_are_worst_first(review: Review) -> None:
    codes = {review.session.findings[n].code: review.session.findings[n].name for n in review.session.order}
    for code, name in codes.items():
        view = review.dataset.load_saved_view(f"{code} {name}")
        scores = [scores[code] for scores in view.values("scores")]
        assert scores == sorted(scores, reverse=True)
        rows = {review.session.image_row_of(f) for f in review.session.findings if f.code == code and f.row is not None}
        assert set(view.values("row")) == rows - {None}


@pytest.mark.slow
def test_without_decisions_there_are_no_edits(review: Review, enter: Any) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import take_over

    assert take_over(review.dataset, review.session, LONG_AGO)[:2] == ([], [])
    assert not review.session.log.exists()
    again = enter(review.session)
    assert not again.built


@pytest.mark.slow
def test_accepting_makes_the_proposed_fix_and_undo_takes_it_back(review: Review) -> None:
    n = open_findings(review.session, "G003", "G005", "G010", "G022", fixable=True)[0]
    row = review.session.findings[n].row
    assert row is not None
    before = review.stored(row)
    result = review.do("accept_fix", [row])
    assert result["edits"] >= 1
    assert review.session.status(n) == "fixed"
    log = read_log(review.session.log).edits
    assert {edit.row for edit in log} == {row}
    assert apply(review.session.coco, log).record("annotations", row) == review.session.record("annotations", row)
    changed = review.stored(row)
    assert changed is not None
    assert changed["decision"] == "fixed"
    assert review.do("undo_decision")["edits"] == len(log)
    assert read_log(review.session.log).edits == []
    assert review.stored(row) == before


@pytest.mark.slow
def test_each_decision_is_one_kind_of_edit(review: Review) -> None:
    session = review.session
    rows = [row for row in range(40) if ("annotations", row) not in session.findings_of]
    other = next(
        name
        for key, name in session.category_names.items()
        if name != session.class_name(session.record("annotations", rows[0]))
    )
    review.do("relabel", [rows[0]], **{"class": other}, note="it is one")
    review.do("delete_annotations", [rows[1]])
    review.do("leave_note", [rows[2]], text="look again")
    n = session.order[0]
    review.controller.current = n
    review.do("reject_fix", why="right as it is")
    review.do("mark_unusable", why="blurred")
    log = read_log(session.log).edits
    assert [edit.kind for edit in log] == ["relabel", "delete", "note", "reject", "unusable"]
    assert [edit.note for edit in log] == ["it is one", "", "look again", "right as it is", "blurred"]
    assert {edit.author for edit in log} == {"ann"}
    stored = review.stored(rows[0])
    assert stored is not None
    assert stored["label"] == other
    assert review.stored(rows[1]) is None
    assert session.status(n) == "rejected"


@pytest.mark.slow
def test_refusals_are_reported_and_write_nothing(review: Review) -> None:
    free = next(row for row in range(40) if ("annotations", row) not in review.session.findings_of)
    assert "no proposed fix" in review.do("accept_fix", [free])["message"]
    with pytest.raises(Exception, match="Invalid enum value"):  # FiftyOne itself refuses what is not a choice
        review.do("relabel", [free], **{"class": "Cheese"})
    assert "two or more" in review.do("merge_annotations", [free])["message"]
    assert "empty" in review.do("leave_note", [free], text="  ")["message"]
    assert not review.session.log.exists()


@pytest.mark.slow
def test_next_goes_through_open_findings_worst_first(review: Review) -> None:
    session = review.session
    seen = [review.do("next_finding")["finding"] for _ in range(3)]
    assert tuple(seen) == session.order[:3]
    review.do("reject_fix")
    assert review.do("previous_finding")["finding"] == session.order[1]
    assert review.do("next_finding")["finding"] == session.order[3]


@pytest.mark.slow
def test_reopening_with_a_log_resumes(review: Review, enter: Any, make_session: Any) -> None:
    row = next(row for row in range(40) if ("annotations", row) not in review.session.findings_of)
    review.do("delete_annotations", [row])
    again = enter(make_session(review.session.log))
    assert not again.built
    assert again.stored(row) is None
    review.session.log.unlink()  # the log went away: so do its decisions
    third = enter(make_session(review.session.log))
    assert third.stored(row) is not None


@pytest.mark.slow
def test_changes_saved_by_the_annotate_tab_are_collected(review: Review) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import take_over

    session = review.session
    moved, renamed, gone = [row for row in range(60) if ("annotations", row) not in session.findings_of][:3]
    image = session.image_of(session.record("annotations", moved))
    assert image is not None
    from trashkit.review.fiftyone_app.dataset_sync import ids_of

    ids = ids_of(review.dataset)
    sample = review.dataset[ids.of("image", image)]
    label = next(one for one in sample.annotations.polylines if one.id == ids.of("annotations", moved))
    size = session.image_size(image)
    assert size is not None
    points = [[list(point) for point in ring] for ring in label.points]
    points[0][0][0] += 3 / size[1]
    label.points = points
    sample.save()
    other = next(
        name
        for name in session.category_names.values()
        if name != session.class_name(session.record("annotations", renamed))
    )
    _edit(review, renamed, lambda labels, one: setattr(one, "label", other))
    _edit(review, gone, lambda labels, one: labels.remove(one))
    edits, problems, looked = take_over(review.dataset, session, LONG_AGO)
    assert problems == []
    assert {(edit.kind, edit.row) for edit in edits} == {("reshape", moved), ("relabel", renamed), ("delete", gone)}
    before, after = session.coco.record("annotations", moved), session.record("annotations", moved)
    old, new = before["segmentation"][0], after["segmentation"][0]
    assert new[1:] == old[1:]
    assert new[0] == pytest.approx(old[0] + 3, abs=0.01)
    assert take_over(review.dataset, session, looked)[0] == []


def _edit(review: Review, row: int, change: Any) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import ids_of

    ids = ids_of(review.dataset)
    image = review.session.image_of(review.session.coco.record("annotations", row))
    assert image is not None
    sample = review.dataset[ids.of("image", image)]
    labels = sample.annotations.polylines
    change(labels, next(one for one in labels if one.id == ids.of("annotations", row)))
    sample.save()


@pytest.mark.slow
def test_an_outline_drawn_in_the_app_becomes_an_annotation(review: Review) -> None:
    import fiftyone as fo

    from trashkit.review.fiftyone_app.dataset_sync import ids_of, take_over

    session, ids = review.session, ids_of(review.dataset)
    sample = review.dataset[ids.of("image", 0)]
    name = next(iter(session.category_names.values()))
    drawn = fo.Polyline(label=name, points=[[(0.25, 0.25), (0.5, 0.25), (0.5, 0.5)]], closed=True, filled=True)
    sample.annotations.polylines.append(drawn)
    sample.save()
    edits, _, looked = take_over(review.dataset, session, LONG_AGO)
    assert [edit.kind for edit in edits] == ["add"]
    record = edits[0].after
    size = session.image_size(0)
    assert size is not None
    assert record["segmentation"] == [
        [0.25 * size[1], 0.25 * size[0], 0.5 * size[1], 0.25 * size[0], 0.5 * size[1], 0.5 * size[0]]
    ]
    assert record["area"] == pytest.approx(size[0] * size[1] / 32)
    sample.reload()
    sample.annotations.polylines[-1].label = list(session.category_names.values())[1]
    sample.save()
    take_over(review.dataset, session, looked)
    log = read_log(session.log).edits
    assert [edit.kind for edit in log] == ["add"]
    assert log[0].after["category_id"] == list(session.category_names)[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("annotations", "images"),
    [("taco/annotations.json", "taco"), ("household/train.json", "household"), ("street/annotations.json", "street")],
)
def test_twenty_decisions_change_twenty_annotations_of_real_photos(
    annotations: str, images: str, real_data: Path, make_session: Any, enter: Any, tmp_path: Path
) -> None:
    source = real_data / annotations
    if not source.exists():
        source = next((real_data / images).glob("*.json"))
    assert_twenty_decisions_change_twenty(source, real_data / images, make_session, enter, tmp_path)


@pytest.mark.slow
def test_twenty_decisions_change_twenty_annotations(make_session: Any, enter: Any, tmp_path: Path) -> None:
    assert_twenty_decisions_change_twenty(SYNTH / "train.json", SYNTH / "images", make_session, enter, tmp_path)


def assert_twenty_decisions_change_twenty(
    source: Path, images: Path, make_session: Any, enter: Any, tmp_path: Path
) -> None:
    from trashkit.review.fiftyone_app.dataset_sync import take_over

    review = enter(make_session(tmp_path / "log.jsonl", source, images))
    session = review.session
    assert take_over(review.dataset, session, LONG_AGO)[:2] == ([], [])
    assert not session.log.exists()
    untouched = tmp_path / "untouched.json"
    write(apply(session.coco, []), untouched)
    assert differing(source, untouched) == set()
    rows = _decide_on_twenty(review)
    fixed = tmp_path / "fixed.json"
    write(apply(read(source), read_log(session.log).edits), fixed)
    assert len(rows) == 20
    assert differing(source, fixed) == rows
    assert take_over(review.dataset, session, LONG_AGO)[:2] == ([], [])


def _decide_on_twenty(review: Review) -> set[int]:
    """Through operators: fixes as far as there are any, classes, deletions, a merge; and a rejection of no effect."""
    session = review.session
    decided: list[int] = []
    for n in [n for n in session.order if n in session.fixes and session.findings[n].block == "annotations"]:
        row = session.findings[n].row
        changes = {edit.row for edit in session.fixes[n].row_edits}
        if row is not None and row not in decided and len(decided) < 8 and changes == {row}:
            assert review.do("accept_fix", [row])["edits"]
            decided.append(row)
    image = next(
        image for image, rows in session.annotations_of.items() if len(rows) >= 2 and not set(rows) & set(decided)
    )
    pair = session.annotations_of[image][:2]
    assert review.do("merge_annotations", pair)["edits"] == 2
    decided += pair
    free = [row for row in range(session.coco.count("annotations")) if row not in decided]
    names = list(session.category_names.values())
    for n, row in enumerate(free[: 20 - len(decided)]):
        if n % 2:
            review.do("delete_annotations", [row])
        else:
            now = session.class_name(session.record("annotations", row))
            review.do("relabel", [row], **{"class": next(name for name in names if name != now)})
        decided.append(row)
    left = next((n for n in session.order if session.status(n) == "open"), None)
    if left is not None:
        review.controller.current = left
        review.do("reject_fix", why="no")
    return set(decided)


@pytest.mark.slow
def test_next_respects_the_filter_and_all_safe_fixes_are_one_step(enter: Any, session: ReviewSession) -> None:
    review = enter(session)
    controller = review.controller
    safe = [
        n
        for n in session.order
        if session.findings[n].fix == "safe" and n in session.fixes and not session.fixes[n].additions
    ]
    code = max({session.findings[n].code for n in safe}, key=[session.findings[n].code for n in safe].count)
    mine = [n for n in session.order if session.findings[n].code == code]
    review.do("choose", code=f"{code} {session.findings[mine[0]].name}")
    seen = [controller.current]
    for _ in mine[1:]:
        review.do("next_finding")
        seen.append(controller.current)
    assert seen == mine
    wanted = {n for n in safe if session.findings[n].code == code}
    assert review.do("accept_all")["edits"] > 0
    assert all(controller.session.status(n) == "fixed" for n in wanted)
    assert {edit.row for edit in controller.session.working_copy().edits} == {session.findings[n].row for n in wanted}
    name = next(
        name
        for n in reversed(session.order)
        if controller.session.status(n) == "open" and (name := session.finding_class(n))
    )
    review.do("choose", class_name=name)
    assert controller.current is not None
    assert session.finding_class(controller.current) == name
    controller.choose("", "", False)
    review.do("undo_decision")
    assert controller.session.working_copy().edits == []


@pytest.mark.slow
def test_names_and_notes_are_not_markdown_in_the_panel(review: Review) -> None:
    from trashkit.review.fiftyone_app.review_panel import history, summary

    controller, session = review.controller, review.session
    hostile = "![](http://evil.example/a.png)\n\n# <b>x"
    n = next(n for n in session.order if session.findings[n].block == "annotations")
    controller.current = n
    changed = replace(session.findings[n], message=hostile, file_name=hostile, annotation_id=hostile)
    session.findings = (*session.findings[:n], changed, *session.findings[n + 1 :])
    session.reviewer = hostile
    review.do("leave_note", [session.findings[n].row or 0], text=hostile)
    for text in (summary(controller), history(controller)):
        assert "![" not in text and "<b>" not in text and "\n#" not in text
        assert r"\!\[\]\(http\:" in text
