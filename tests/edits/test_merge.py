"""Merging logs: which edits contradict each other, for all pairs of kinds."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Coco
from trashkit.edits.apply import apply, invert, select, stats
from trashkit.edits.conflicts import TABLE
from trashkit.edits.describe import describe
from trashkit.edits.edit import KINDS, add, change, decide, delete
from trashkit.edits.log import from_record, read_log, to_record, write_log
from trashkit.edits.merge import left_out, merge_logs

NAMES = {"G003": "invalid-ring", "P001": "wrong-class"}
SHAPE, OTHER = [[1, 1, 9, 1, 9, 9]], [[2, 2, 8, 2, 8, 8]]
ANNA, BEN = {"reason": "review", "author": "anna"}, {"reason": "checked", "author": "ben"}


@pytest.fixture
def coco():
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 20, "height": 20} for n in (1, 2)]
    annotations = [
        {"id": n, "image_id": 1, "category_id": 2, "segmentation": [[0, 0, n, 0, n, 9]], "area": 5.0}
        for n in range(1, 6)
    ]
    categories = [{"id": 2, "name": "Paper"}, {"id": 3, "name": "Glass"}, {"id": 4, "name": "Metal"}]
    return Coco.of({"images": images, "annotations": annotations, "categories": categories})


def merging(coco, row, members, shape, who):
    """A merge and the deletions that belong to it, as a review writes them."""
    after = {"segmentation": shape}
    first = change(coco, "annotations", row, after, kind="merge", related=members, **who)
    return [first, *(delete(coco, "annotations", member, related=[row], **who) for member in members)]


def edits_of(coco, kind, who, *, row=0, second=False):
    """Edits of one kind about an annotation. second: with other values."""
    shape = OTHER if second else SHAPE
    match kind:
        case "relabel":
            return [change(coco, "annotations", row, {"category_id": 4 if second else 3}, **who)]
        case "reshape":
            return [change(coco, "annotations", row, {"segmentation": shape}, **who)]
        case "renumber":
            return [change(coco, "annotations", row, {"id": 60 + second}, **who)]
        case "change":
            return [change(coco, "annotations", row, {"area": 7.0 + second}, **who)]
        case "merge":
            return merging(coco, row, [4 if second else 3], shape, who)
        case "delete":
            return [delete(coco, "annotations", row, **who)]
        case "add":
            record = {"id": 90 + row, "image_id": 1, "category_id": 2, "segmentation": shape}
            return [add(coco, "annotations", record, **who)]
    return [decide(coco, kind, "annotations", row, reason="G003", author=who["author"], note="so" * second)]


def conflicts_of(*logs):
    return merge_logs(*logs, names=NAMES)[1]


def rows_after(coco, edits):
    return sorted(json.dumps(row, sort_keys=True) for row in apply(coco, edits).records("annotations"))


def test_every_pair_of_kinds_has_one_rule():
    assert set(TABLE) == set(product(KINDS, KINDS))
    assert all(TABLE[one, other] is TABLE[other, one] for one, other in TABLE)


SAME_FIELD = {*product(("reshape", "merge"), ("reshape", "merge")), *((kind, kind) for kind in KINDS)} - {
    (kind, kind) for kind in ("delete", "note", "unusable", "reject")
}
DELETED = {pair for kind in ("relabel", "reshape", "renumber", "change", "merge", "reject") for pair in
           ((kind, "delete"), ("delete", kind))}  # fmt: skip


@pytest.mark.parametrize("pair", sorted(product(KINDS, KINDS)), ids="-".join)
def test_edits_of_one_row(coco, pair):
    """Edits with different values: in conflict if they are about the same field, or one deletes the row."""
    one = edits_of(coco, pair[0], ANNA)
    other = edits_of(coco, pair[1], BEN, second=True)
    found, mirrored = conflicts_of(one, other), conflicts_of(other, one)
    assert len(found) == len(mirrored) == (pair in SAME_FIELD | DELETED)
    assert [c.reason for c in found] == [c.reason for c in mirrored] or "add" in pair
    both_ways = [merge_logs(*logs, names=NAMES)[0] for logs in ((one, other), (other, one))]
    for merged in both_ways:
        assert rows_after(apply(coco, merged), invert(coco, merged)) == rows_after(coco, [])
    if found:
        assert rows_after(coco, both_ways[0]) == rows_after(coco, one)
        assert rows_after(coco, both_ways[1]) == rows_after(coco, other)
    else:
        assert rows_after(coco, both_ways[0]) == rows_after(coco, both_ways[1])
        assert {edit.author for edit in both_ways[0]} == {"anna", "ben"} or pair[0] == pair[1]


@pytest.mark.parametrize("pair", sorted(product(KINDS, KINDS)), ids="-".join)
def test_edits_of_different_rows_are_compatible(coco, pair):
    one = edits_of(coco, pair[0], ANNA)
    other = edits_of(coco, pair[1], BEN, row=1, second=True)
    assert conflicts_of(one, other) == []
    merged, swapped = merge_logs(one, other)[0], merge_logs(other, one)[0]
    assert rows_after(coco, merged) == rows_after(coco, swapped)
    assert len(merged) == len(one) + len(other)


@pytest.mark.parametrize("kind", KINDS)
def test_equal_edits_are_kept_once_with_both_names(coco, kind):
    one, other = edits_of(coco, kind, ANNA), edits_of(coco, kind, {**ANNA, "author": "ben"})
    merged, found = merge_logs(one, other, names=NAMES)
    assert found == [] and len(merged) == len(one)
    assert {(edit.author, edit.accepted_by) for edit in merged} == {("anna", ("ben",))}
    assert stats(merged)["people"] == {"anna": len(one), "ben": len(one)}


def test_a_rejection_contradicts_only_the_fix_of_its_finding(coco):
    rejected = [decide(coco, "reject", "annotations", 0, reason="G003", author="anna")]
    by_check = change(coco, "annotations", 0, {"segmentation": SHAPE}, reason="invalid-ring", author="G003")
    by_hand = change(coco, "annotations", 0, {"segmentation": SHAPE}, reason="invalid-ring", author="ben")
    unrelated = change(coco, "annotations", 0, {"segmentation": SHAPE}, reason="review", author="ben")
    of_other_check = change(coco, "annotations", 0, {"category_id": 3}, reason="wrong-class", author="P001")
    for fix in (by_check, by_hand):
        (conflict,) = conflicts_of(rejected, [fix])
        assert conflict.message == "annotations[0] (id 1): one rejects the fix of G003 that the other applies"
        assert len(conflicts_of([fix], rejected)) == 1
    assert conflicts_of(rejected, [unrelated]) == conflicts_of([of_other_check], rejected) == []
    assert conflicts_of([*rejected, by_check], [by_check]) == []  # rejected first, accepted later
    assert len(conflicts_of([*rejected, by_check], rejected)) == 1


def test_a_rejected_addition_is_a_conflict(coco):
    """A missing object is a finding about the image, and its fix adds an annotation."""
    rejected = decide(coco, "reject", "images", 0, reason="P003", author="anna")
    record = {"id": 9, "image_id": 1, "category_id": 2, "segmentation": SHAPE}
    accepted = add(coco, "annotations", record, reason="missing-object", author="P003")
    elsewhere = add(coco, "annotations", {**record, "image_id": 2}, reason="missing-object", author="P003")
    assert [c.message for c in conflicts_of([rejected], [accepted])] == [
        "images[0] (id 1): one rejects the fix of P003 that the other applies"
    ]
    assert len(conflicts_of([accepted], [rejected])) == 1
    assert conflicts_of([rejected], [elsewhere]) == []


def test_merges_and_their_members(coco):
    mine = merging(coco, 0, [1], SHAPE, ANNA)
    assert "merges its shape" in conflicts_of(mine, [delete(coco, "annotations", 1, **BEN)])[0].reason
    assert len(conflicts_of([delete(coco, "annotations", 1, **BEN)], mine)) == 1
    assert len(conflicts_of(mine, edits_of(coco, "relabel", BEN, row=1))) == 1
    for theirs in (
        merging(coco, 1, [0], SHAPE, BEN),
        merging(coco, 1, [2], SHAPE, BEN),
        merging(coco, 2, [1], SHAPE, BEN),
        merging(coco, 0, [2], SHAPE, BEN),
        merging(coco, 0, [1, 2], SHAPE, BEN),
    ):
        assert [c.reason for c in conflicts_of(mine, theirs)] == ["they merge different annotations"]
        merged, found = merge_logs(mine, theirs)
        assert merged == mine and left_out(theirs, found) == theirs
    assert conflicts_of(mine, edits_of(coco, "relabel", BEN)) == []
    assert conflicts_of(mine, merging(coco, 0, [1], SHAPE, BEN)) == []


def test_rows_that_others_refer_to(coco):
    gone = [delete(coco, "categories", 1, **ANNA)]
    renumbered = [change(coco, "categories", 1, {"id": 30}, **ANNA)]
    relabelled = edits_of(coco, "relabel", BEN)
    for log in (gone, renumbered):
        (conflict,) = conflicts_of(log, relabelled)
        assert conflict.reason == "one refers to categories id 3, which the other takes away"
        assert len(conflicts_of(relabelled, log)) == 1
    no_image = [delete(coco, "images", 0, **ANNA)]
    assert len(conflicts_of(no_image, edits_of(coco, "add", BEN))) == 1
    for_a_while = [*relabelled, change(coco, "annotations", 0, {"category_id": 4}, current={
        **coco.record("annotations", 0), "category_id": 3}, **BEN)]  # fmt: skip
    assert conflicts_of(gone, for_a_while) == []


def test_new_ids(coco):
    two = [change(coco, "annotations", row, {"id": 77}, **ANNA) for row in (0, 1)]
    assert [c.reason for c in conflicts_of(two[:1], two[1:])] == ["two rows get the id 77"]
    added = [add(coco, "annotations", {"id": 77, "image_id": 1}, **BEN)]
    assert len(conflicts_of(two[:1], added)) == 1
    again = [add(coco, "annotations", {"id": 78, "image_id": 1}, **ANNA)]
    merged, found = merge_logs(added, again)
    assert found == [] and [edit.id for edit in merged] == [77]  # the same object, twice
    names = [[add(coco, "categories", {"id": n, "name": "Foam"}, **ANNA)] for n in (5, 6)]
    assert [c.reason for c in conflicts_of(*names)] == ["the same row is added with the ids 5 and 6"]


def test_what_depends_on_a_conflict_is_left_out(coco):
    mine = [add(coco, "categories", {"id": 5, "name": "Foam"}, **ANNA)]
    theirs = [
        add(coco, "categories", {"id": 5, "name": "Wood"}, **BEN),
        change(coco, "annotations", 0, {"category_id": 5}, **BEN),
        *edits_of(coco, "reshape", BEN, row=1),
    ]
    merged, found = merge_logs(mine, theirs)
    assert len(found) == 1 and left_out(theirs, found) == theirs[:2]
    assert merged == [*mine, theirs[2]]


def test_final_values_count(coco):
    """Two ways to the same result are not a conflict, nor are changes of a row that both delete."""
    held = {**coco.record("annotations", 0), "segmentation": OTHER}
    in_two_steps = [
        *edits_of(coco, "reshape", ANNA, second=True),
        change(coco, "annotations", 0, {"segmentation": SHAPE}, current=held, **ANNA),
    ]
    assert conflicts_of(in_two_steps, edits_of(coco, "reshape", BEN)) == []
    first = edits_of(coco, "reshape", ANNA, second=True)
    gone = [*first, delete(coco, "annotations", 0, current=held, **ANNA)]
    assert conflicts_of(gone, edits_of(coco, "delete", BEN)) == []
    assert rows_after(coco, merge_logs(gone, edits_of(coco, "delete", BEN))[0]) == rows_after(coco, gone)


def test_the_command_names_row_and_both_people(coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_log("anna.jsonl", edits_of(coco, "relabel", ANNA))
    write_log("ben.jsonl", [*edits_of(coco, "delete", BEN), *edits_of(coco, "relabel", BEN, row=1)])
    words = ["edits", "merge", "anna.jsonl", "ben.jsonl", "--out", "both.jsonl"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and not (tmp_path / "both.jsonl").exists()
    assert (
        "annotations[0] (id 1): one deletes it, the other changes it: relabel (category_id 3) by anna in anna.jsonl, "
        "delete by ben in ben.jsonl" in " ".join(done.stdout.split())
    )
    done = CliRunner().invoke(app, [*words, "--prefer-first"])
    assert done.exit_code == 0 and "1 edits of ben.jsonl are left out" in " ".join(done.stderr.split())
    assert [edit.author for edit in read_log("both.jsonl").edits] == ["anna", "ben"]


def test_who_accepted_a_fix_survives_the_log(coco):
    fix = change(coco, "annotations", 0, {"segmentation": SHAPE}, reason="invalid-ring", author="G003")
    assert "accepted_by" not in to_record(fix)
    anna, ben = replace(fix, accepted_by=("anna",)), replace(fix, accepted_by=("ben",))
    assert from_record(json.loads(json.dumps(to_record(anna)))) == anna
    merged, found = merge_logs([anna], [ben])
    assert found == [] and merged == [replace(fix, accepted_by=("anna", "ben"))]
    assert merge_logs([fix], [ben])[0] == [ben]
    assert stats(merged)["authors"] == {"G003": 1} and stats(merged)["people"] == {"anna": 1, "ben": 1}
    assert stats([fix])["people"] == {}
    assert select(merged, authors=["ben"]) == select(merged, authors=["G003"]) == merged
    assert describe(merged[0])[0].startswith(
        "annotations[0] (id 1) reshape by G003, accepted by anna and ben (invalid-ring)"
    )
    with pytest.raises(ValueError, match="accepted_by"):
        from_record({**to_record(anna), "accepted_by": "anna"})
