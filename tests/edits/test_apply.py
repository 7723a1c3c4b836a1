"""Apply, invert, filter and merge edits; rows without edits are not changed."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Coco, read, write
from trashkit.edits.apply import apply, invert, select, stats
from trashkit.edits.edit import add, canonical, change, decide, delete, fingerprint, same_value
from trashkit.edits.log import append_log, read_log, to_line, write_log
from trashkit.edits.merge import merge_logs
from trashkit.edits.selection import separate
from trashkit.errors import TrashkitError

WHO = {"reason": "wrong class", "author": "anna"}
COMPACT = (
    '{"images":[{"id":1,"file_name":"a.jpg","width":20,"height":10}],'
    '"annotations":[{"id":7,"image_id":1,"category_id":2,"segmentation":[[1,1,9,1,9,9]],"area":32.0,"x":1e3},\n'
    '  {"category_id": 2, "id": 7,\n "image_id": 1, "note": "\\u00e9"}, null, {"id": 9, "a": NaN, "id": 10}],'
    '"categories":[{"id":2,"name":"Paper"},{"id":3,"name":"Glass"}]}'
)


@pytest.fixture
def coco(tmp_path):
    path = tmp_path / "ann.json"
    path.write_text(COMPACT)
    return read(path)


def texts(coco, block="annotations"):
    return [bytes(raw) for raw in coco.rows(block)]


def test_apply_keeps_the_text_of_other_rows(coco):
    changed = apply(coco, [change(coco, "annotations", 1, {"category_id": 3}, **WHO)])
    assert changed.record("annotations", 1) == {"category_id": 3, "id": 7, "image_id": 1, "note": "é"}
    assert list(changed.record("annotations", 1)) == ["category_id", "id", "image_id", "note"]
    assert [texts(changed)[n] for n in (0, 2, 3)] == [texts(coco)[n] for n in (0, 2, 3)]
    assert texts(changed, "images") == texts(coco, "images")


def test_kinds_follow_the_fields(coco):
    kinds = [
        change(coco, "annotations", 0, {field: value}, **WHO).kind
        for field, value in (("category_id", 3), ("segmentation", [[0, 0, 5, 0, 5, 5]]), ("id", 8), ("area", 1.0))
    ]
    assert kinds == ["relabel", "reshape", "renumber", "change"]
    assert change(coco, "categories", 0, {"name": "Carton"}, **WHO).kind == "change"


def test_row_numbers_refer_to_the_source_after_deletions(coco):
    edits = [delete(coco, "annotations", 0, **WHO), change(coco, "annotations", 1, {"category_id": 3}, **WHO)]
    for order in (edits, edits[::-1]):
        changed = apply(coco, order)
        assert changed.count("annotations") == 3
        assert changed.record("annotations", 0)["category_id"] == 3


def test_edits_of_one_row_build_on_each_other(coco):
    first = change(coco, "annotations", 0, {"area": 5.0}, **WHO)
    current = {**coco.record("annotations", 0), "area": 5.0}
    second = change(coco, "annotations", 0, {"area": 6.0, "note": "n"}, current=current, remove=["x"], **WHO)
    changed = apply(coco, [first, second])
    assert changed.record("annotations", 0)["area"] == 6.0
    assert "x" not in changed.record("annotations", 0)
    with pytest.raises(TrashkitError, match=r'annotations\[0\] \(id 7\) has another value of "area"'):
        apply(coco, [second, first])


def test_edits_that_do_not_match_are_refused_and_nothing_is_applied(coco, tmp_path):
    edit = change(coco, "annotations", 0, {"category_id": 3}, **WHO)
    other = coco.replace("annotations", {0: {**coco.record("annotations", 0), "area": 1}})
    with pytest.raises(TrashkitError, match=r"annotations\[0\] \(id 7\) has changed since the edit was made"):
        apply(other, [edit])
    twice = apply(coco, [edit])
    with pytest.raises(TrashkitError, match="and 1 more"):
        apply(twice, [edit, delete(coco, "annotations", 0, **WHO)])


def test_a_row_that_moved_is_found_by_its_fingerprint(coco):
    edit = change(coco, "annotations", 1, {"category_id": 3}, **WHO)
    shorter = coco.replace("annotations", {0: None})
    assert apply(shorter, [edit]).record("annotations", 0)["category_id"] == 3
    double = coco.replace("annotations", {0: None}, append=[coco.record("annotations", 1)])
    with pytest.raises(TrashkitError, match="matches 2 rows"):
        apply(double.replace("annotations", {0: {"id": 1}}, append=[coco.record("annotations", 1)]), [edit])


def test_an_added_row_is_not_added_twice(coco):
    edit = add(coco, "annotations", {"id": 99}, **WHO)
    once = apply(coco, [edit])
    assert once.record("annotations", 4) == {"id": 99}
    with pytest.raises(TrashkitError, match="already exists"):
        apply(once, [edit])


def test_decisions_change_nothing(coco):
    decisions = [decide(coco, "reject", "annotations", 0, reason="G003", author="anna")]
    decisions += [decide(coco, kind, "images", 0, reason="blurred", author="ben") for kind in ("unusable", "note")]
    assert apply(coco, decisions) is coco
    assert invert(coco, decisions) == []
    with pytest.raises(ValueError, match="relabel"):
        decide(coco, "relabel", "annotations", 0, **WHO)


def test_invert_from_either_file(coco, tmp_path):
    edits = [
        change(coco, "annotations", 0, {"category_id": 3}, **WHO),
        delete(coco, "annotations", 2, **WHO),
        delete(coco, "annotations", 1, **WHO),
        add(coco, "annotations", {"id": 50}, **WHO),
        change(coco, "annotations", 3, {"b": 1}, remove=["a"], **WHO),
        add(coco, "images", {"id": 5}, at=0, **WHO),
    ]
    changed = apply(coco, edits)
    write(changed, tmp_path / "changed.json")
    for start in (coco, changed, read(tmp_path / "changed.json")):
        back = apply(changed, invert(start, edits))
        for block in coco.blocks():
            assert texts(back, block) == texts(coco, block)
    with pytest.raises(TrashkitError, match="neither"):
        invert(coco.replace("annotations", {0: {"id": 1}}), edits)
    redone = apply(back, invert(changed, invert(coco, edits)))
    assert texts(redone) == texts(changed)


ids = st.one_of(st.integers(-2, 4), st.sampled_from(["a", "b"]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), ids, st.floats(), st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=6,
)
rows = st.lists(st.dictionaries(st.sampled_from(["id", "image_id", "area", "é"]), values, max_size=4), max_size=5)


@st.composite
def files_and_edits(draw):
    """A file with unusual formatting and edits for it: several of one row, deletions, additions."""
    records = draw(rows)
    texts_of = [
        json.dumps(r, separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " : ")]))) for r in records
    ]
    empty = Coco.of({"info": {}, "annotations": []})
    coco = Coco({**empty.items, "annotations": tuple(msgspec.Raw(text.encode()) for text in texts_of)})
    edits = []
    for row, record in enumerate(records):
        current, now = None, record
        for _ in range(draw(st.integers(0, 2))):
            after = draw(st.dictionaries(st.sampled_from(["id", "area", "w"]), values, max_size=2))
            gone = [key for key in draw(st.sets(st.sampled_from(["é", "image_id"]))) if key in now]
            edits.append(change(coco, "annotations", row, after, current=current, remove=gone, **WHO))
            now = {**{k: v for k, v in now.items() if k not in gone or k in after}, **after}
            current = now
        if draw(st.booleans()):
            edits.append(delete(coco, "annotations", row, current=current, **WHO))
    edits += [add(coco, "annotations", record, **WHO) for record in draw(rows)]
    return coco, edits


@given(files_and_edits())
@settings(max_examples=150, deadline=None)
def test_apply_then_invert_restores_the_bytes(case):
    coco, edits = case
    changed = apply(coco, edits)
    assert b"".join(map(bytes, apply(changed, invert(coco, edits)).pieces())) == b"".join(map(bytes, coco.pieces()))
    assert b"".join(map(bytes, apply(changed, invert(changed, edits)).pieces())) == b"".join(map(bytes, coco.pieces()))


@given(case=files_and_edits())
@settings(max_examples=50, deadline=None)
def test_log_round_trip(case, tmp_path_factory):
    coco, edits = case
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    write_log(path, edits)
    back, torn = read_log(path)
    assert not torn
    assert [to_line(edit) for edit in back] == [to_line(edit) for edit in edits]
    assert texts(apply(coco, back)) == texts(apply(coco, edits))


def test_an_incomplete_last_line_is_reported_and_removed_before_appending(coco, tmp_path):
    path = tmp_path / "log.jsonl"
    first = change(coco, "annotations", 0, {"category_id": 3}, **WHO)
    second = delete(coco, "annotations", 1, **WHO)
    assert append_log(path, [first]) == 1
    whole = path.read_bytes()
    for cut in (1, 10, len(to_line(second)) - 2):
        path.write_bytes(whole + to_line(second)[:cut])
        edits, torn = read_log(path)
        assert edits == [first] and "line 2" in torn
    assert append_log(path, [second]) == 1
    assert read_log(path) == ([first, second], "")
    path.write_bytes(path.read_bytes()[:-1])  # only the newline is missing: the edit is whole
    assert read_log(path) == ([first, second], "")
    assert append_log(path, [first, second]) == 0, "existing edits are not repeated"
    assert path.read_bytes() == whole + to_line(second)


@pytest.mark.parametrize("text", [b"one line of notes", b'{"images": [{"id": 1, "file', b"\xff\xd8\xff\xe0\0"])
def test_other_files_are_not_mistaken_for_an_incomplete_log(coco, tmp_path, text):
    path = tmp_path / "other"
    path.write_bytes(text)
    with pytest.raises(TrashkitError, match=r"line 1 is not JSON|it is a JPEG picture"):
        append_log(path, [delete(coco, "annotations", 1, **WHO)])
    assert path.read_bytes() == text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"kind": "relabel"', "line 2 is not JSON"),
        ("[]", "line 2 is not an object"),
        ('{"kind": "paint", "block": "a", "row": 0, "reason": "", "author": ""}', "line 2 has kind 'paint'"),
        ('{"kind": "note", "block": "a", "reason": "", "author": ""}', 'line 2 has no "row"'),
        ('{"kind": "note", "block": "a", "row": -1, "reason": "", "author": ""}', "line 2 .*not a row number"),
        ('{"kind": "change", "block": "a", "row": 1, "reason": "", "author": ""}', "line 2 needs objects"),
        ('{"kind": "note", "block": "a", "row": 1, "reason": "", "author": "", "wat": 1}', "line 2 has an unknown"),
        ('{"kind": "note", "block": "a", "row": null, "reason": "", "author": ""}', 'line 2 has no "row"'),
    ],
)
def test_an_invalid_line_is_reported_by_number(coco, tmp_path, line, message):
    path = tmp_path / "log.jsonl"
    good = to_line(delete(coco, "annotations", 1, **WHO))
    path.write_bytes(good + line.encode() + b"\n" + good)
    with pytest.raises(TrashkitError, match=message):
        read_log(path)


def test_a_log_is_about_one_file(coco, tmp_path):
    append_log(tmp_path / "log.jsonl", [delete(coco, "annotations", 1, **WHO)])
    other = coco.replace("annotations", {0: None})
    with pytest.raises(TrashkitError, match="another file"):
        append_log(tmp_path / "log.jsonl", [delete(other, "annotations", 0, **WHO)])


def test_select_and_stats(coco):
    edits = [
        change(coco, "annotations", 0, {"category_id": 3}, **WHO),
        change(coco, "annotations", 1, {"category_id": 3}, reason="lid", author="ben"),
        delete(coco, "annotations", 2, reason="invalid-ring", author="G003"),
        decide(coco, "unusable", "images", 0, reason="blurred", author="ben"),
    ]
    assert select(edits, authors=["ben"], kinds=["relabel"]) == [edits[1]]
    assert select(edits, reasons=["lid", "invalid-ring"]) == edits[1:3]
    assert select(edits) == edits
    counts = stats(edits)
    assert counts["edits"] == 4 and counts["rows"] == 4 and counts["decisions"] == 1
    assert counts["authors"] == {"ben": 2, "anna": 1, "G003": 1}
    assert counts["relabels"] == {"2 -> 3": 2}


def test_merge_keeps_equal_edits_once_and_lists_conflicts(coco):
    both = change(coco, "annotations", 0, {"category_id": 3}, **WHO)
    bens = change(coco, "annotations", 0, {"category_id": 3, "area": 1.0}, reason="r", author="ben")
    merged, conflicts = merge_logs([both], [bens])
    assert conflicts == []
    assert apply(coco, merged).record("annotations", 0)["area"] == 1.0
    back = apply(apply(coco, merged), invert(coco, merged))
    assert texts(back) == texts(coco)
    other = change(coco, "annotations", 0, {"category_id": 4}, reason="r", author="ben")
    merged, conflicts = merge_logs([both], [other])
    assert merged == [both]
    assert [c.message for c in conflicts] == ['annotations[0] (id 7): two values for "category_id"']
    gone = delete(coco, "annotations", 0, reason="r", author="ben")
    assert "one deletes it" in merge_logs([both], [gone])[1][0].message
    assert merge_logs([gone], [gone]) == ([gone], [])
    rejected = decide(coco, "reject", "annotations", 0, reason="G003", author="ben")
    fixed = change(coco, "annotations", 0, {"area": 2.0}, reason="invalid-ring", author="G003")
    assert "rejects the fix of G003" in merge_logs([fixed], [rejected])[1][0].message
    assert "rejects the fix of G003" in merge_logs([rejected], [fixed])[1][0].message
    rows_added = [add(coco, "annotations", {"id": 5, "v": v}, **WHO) for v in (1, 2)]
    assert len(merge_logs(rows_added[:1], rows_added[1:])[1]) == 1
    assert merge_logs(rows_added[:1], rows_added[:1]) == (rows_added[:1], [])
    with pytest.raises(TrashkitError, match="different files"):
        merge_logs([both], [delete(coco.replace("images", {0: None}), "annotations", 1, **WHO)])


def test_canonical_values():
    assert same_value({"a": 1, "b": [2.0, math.nan]}, {"b": [2, math.nan], "a": 1.0})
    assert not same_value(True, 1) and not same_value("1", 1) and not same_value(0, None)
    assert canonical(1e300) != canonical(math.inf)
    assert fingerprint({"b": 1, "a": 2.0}) == fingerprint({"a": 2, "b": 1}) != fingerprint({"a": 2, "b": 1.5})


def test_selected_edits_are_split_by_dependence(coco):
    first = change(coco, "annotations", 0, {"area": 1.0}, **WHO)
    held = {**coco.record("annotations", 0), "area": 1.0}
    again = change(coco, "annotations", 0, {"area": 2.0}, current=held, **WHO)
    other = change(coco, "annotations", 0, {"category_id": 3}, current={**held, "area": 2.0}, **WHO)
    third = change(coco, "annotations", 0, {"area": 3.0}, current={**held, "area": 2.0, "category_id": 3}, **WHO)
    last = {**held, "area": 3.0, "category_id": 3}
    gone = delete(coco, "annotations", 0, current=last, **WHO)
    log = [first, again, other, third, gone]
    assert separate(log, log).edits == log and not separate(log, log).dependent
    split = separate(log, [again, other, third])
    assert split.edits == [other]
    assert [(edit, needs) for edit, needs in split.dependent] == [(again, [first]), (third, [first, again])]
    assert apply(coco, split.edits).record("annotations", 0)["category_id"] == 3
    alone = separate(log, [gone])
    assert not alone.dependent and apply(coco, alone.edits).count("annotations") == coco.count("annotations") - 1


LINE = {"kind": "relabel", "block": "annotations", "row": 0, "reason": "", "author": "a", "before": {}, "after": {}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": True}, 'has a "row" that is not a row number'),
        ({"row": 2**64}, 'has a "row" that is not a row number'),
        ({"row": -1}, 'has a "row" that is not a row number'),
        ({"at": 1e3}, 'has an "at" that is not a row number'),
        ({"related": 5}, 'has a "related" that is not a list of rows'),
        ({"related": [2**70]}, 'has a "related" that is not a list of rows'),
        ({"accepted_by": [1]}, 'has an "accepted_by" that is not a list of names'),
        ({"after": [1]}, 'needs objects "before" and "after"'),
        ({"before": "x"}, 'needs objects "before" and "after"'),
        ({"kind": "delete", "after": {}}, 'is a deletion, but has an "after"'),
        ({"kind": "note", "before": 1}, 'is a decision, but has a "before" or an "after"'),
        ({"kind": "add", "row": None}, 'adds a row, but has a "before"'),
        ({"kind": ["relabel"]}, "has kind"),
        ({"after_text": "{"}, 'has an "after_text" that is not a JSON text'),
        ({"before_text": "\ud800"}, 'has a "before_text" that is not a JSON text'),
        ({"id": []}, 'has an "id" that is not a number or a string'),
        ({"block": None}, 'has a "block" that is not a string'),
    ],
)
def test_fields_of_wrong_types_are_named(tmp_path, changes, message):
    path = tmp_path / "log.jsonl"
    path.write_text(json.dumps({**LINE, **changes}) + "\n")
    with pytest.raises(TrashkitError) as error:
        read_log(path)
    assert error.value.message.startswith(f"{path} line 1 {message}")


@pytest.mark.parametrize("levels", [105, 900, 100_000])
def test_deep_lines_are_refused(tmp_path, levels):
    path = tmp_path / "log.jsonl"
    text = json.dumps(LINE)
    path.write_text(text.replace('"after": {}', '"after": {"a": ' + "[" * levels + "]" * levels + "}") + "\n")
    with pytest.raises(TrashkitError, match="line 1 is not JSON: it is nested"):
        read_log(path)


def test_long_integers_are_read_and_kept(tmp_path):
    path = tmp_path / "log.jsonl"
    text = json.dumps(LINE).replace('"after": {}', '"after": {"a": ' + "9" * 5000 + "}")
    path.write_text(text + "\n")
    assert read_log(path).edits[0].after == {"a": math.inf}


@pytest.mark.parametrize("levels", [100, 101, 105, 500])
def test_rows_that_can_be_edited_can_be_read_back(tmp_path, levels):
    """A deleted row is in the log as a whole: what is too deep for the log must be refused before."""
    coco = Coco.of({"annotations": [json.loads('{"a": ' + "[" * levels + "]" * levels + "}")]})
    try:
        write_log(tmp_path / "log.jsonl", [delete(coco, "annotations", 0, **WHO)])
    except TrashkitError as error:
        assert levels > 99 and "nested" in error.message
    else:
        assert read_log(tmp_path / "log.jsonl").edits[0].before == coco.record("annotations", 0)
