"""Logs made from a file that was edited in another tool: rows are matched by name, id and shape."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Coco, read
from trashkit.edits.apply import apply
from trashkit.edits.diff import diff
from trashkit.edits.edit import canonical


def square(x, y, side=10.0):
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def a_file():
    annotations = []
    for image in (1, 2, 3):
        for place in range(3):
            x = 5.0 + 30 * place
            annotations.append(
                {"id": 100 + len(annotations), "image_id": image, "category_id": 1 + place, "iscrowd": 0, "score": 1,
                 "segmentation": square(x, x), "area": 100.0, "bbox": [x, x, 10.0, 10.0]}
            )  # fmt: skip
    return {
        "images": [
            {"id": n, "file_name": f"batch/{n:04}.jpg", "width": 100, "height": 100, "flickr": "u"} for n in (1, 2, 3)
        ],
        "annotations": annotations,
        "categories": [{"id": n, "name": name} for n, name in enumerate(("Paper", "Glass", "Metal"), 1)],
        "licenses": [{"id": 1}],
    }


def as_another_tool_exports(value):
    """As CVAT and Label Studio export: new ids, another order, base names, rounding, other fields."""
    new = copy.deepcopy(value)
    del new["licenses"]
    names = ["Metal", "Paper", "Glass"]
    old_names = {c["id"]: c["name"] for c in value["categories"]}
    new["categories"] = [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(names)]
    new["images"] = [
        {"id": 10 - i["id"], "file_name": f"upload/{i['file_name'].split('/')[1]}", "width": 100, "height": 100}
        for i in reversed(new["images"])
    ]
    new["annotations"] = [
        {
            "id": n,
            "image_id": 10 - a["image_id"],
            "category_id": names.index(old_names[a["category_id"]]),
            "segmentation": [[round(v + 0.01, 2) for v in ring] for ring in a["segmentation"]],
            "area": a["area"] + 0.3,
            "bbox": [v + 0.01 for v in a["bbox"]],
            "iscrowd": 0,
            "attributes": {"occluded": False},
        }
        for n, a in enumerate(reversed(new["annotations"]), 1)
    ]
    return new


def kinds(difference):
    return [(edit.kind, edit.block, edit.row) for edit in difference.edits]


def test_equal_files_give_no_edits():
    old = Coco.of(a_file())
    again = Coco.of(json.loads(json.dumps(a_file()).replace("100.0", "100").replace("10.0", "1e1")))
    assert diff(old, again).edits == []
    assert diff(old, again, exact=True).edits == []


def test_a_renumbered_export_without_changes_gives_no_edits():
    found = diff(Coco.of(a_file()), Coco.of(as_another_tool_exports(a_file())))
    assert found.edits == []
    assert found.renumbered == {"images": 3, "categories": 1, "annotations": 9}
    assert not found.trusted
    assert found.left_alone == {
        "images": ("flickr",), "annotations": ("attributes", "score"), "categories": ("supercategory",)
    }  # fmt: skip


def test_edits_in_a_renumbered_export_are_found_by_shape():
    value = a_file()
    edited = copy.deepcopy(value)
    edited["annotations"][0]["category_id"] = 3  # relabelled
    edited["annotations"][4]["segmentation"] = square(36.0, 34.0, 11.0)  # redrawn
    del edited["annotations"][7]
    edited["annotations"].append({**edited["annotations"][1], "id": 999, "segmentation": square(80.0, 5.0)})
    old = Coco.of(value)
    found = diff(old, Coco.of(as_another_tool_exports(edited)), reason="cvat", author="anna")
    assert kinds(found) == [
        ("relabel", "annotations", 0),
        ("reshape", "annotations", 4),
        ("delete", "annotations", 7),
        ("add", "annotations", None),
    ]
    assert {(e.reason, e.author) for e in found.edits} == {("cvat", "anna")}
    result = apply(old, found.edits).records("annotations")
    assert result[0] == {**value["annotations"][0], "category_id": 3}
    assert result[4]["segmentation"] == [[36.01, 34.01, 47.01, 34.01, 47.01, 45.01, 36.01, 45.01]]
    assert result[4]["score"] == 1 and result[4]["id"] == 104
    assert result[-1]["image_id"] == 1 and result[-1]["category_id"] == 2
    assert len({a["id"] for a in result}) == len(result) == 9


def test_ids_are_trusted_even_if_an_object_moved():
    value = a_file()
    edited = copy.deepcopy(value)
    edited["annotations"][2].update(segmentation=square(1.0, 80.0), area=100.0, bbox=[1.0, 80.0, 10.0, 10.0])
    edited["images"][1]["file_name"] = "batch/new name.jpg"
    found = diff(Coco.of(value), Coco.of(edited))
    assert found.trusted
    assert kinds(found) == [("change", "images", 1), ("reshape", "annotations", 2)]


def test_a_redrawn_annotation_with_a_new_id_is_one_edit_not_two():
    value = a_file()
    edited = copy.deepcopy(value)
    edited["annotations"][5] = {**edited["annotations"][5], "id": 500, "segmentation": square(66.0, 65.0)}
    assert kinds(diff(Coco.of(value), Coco.of(edited))) == [
        ("renumber", "annotations", 5),
        ("reshape", "annotations", 5),
    ]


def test_with_part_missing_images_are_kept():
    value = a_file()
    edited = as_another_tool_exports(value)
    edited["images"] = [image for image in edited["images"] if image["id"] == 8]  # once image 2
    edited["annotations"] = [a for a in edited["annotations"] if a["image_id"] == 8][1:]
    edited["categories"] = edited["categories"][:2]
    found = diff(Coco.of(value), Coco.of(edited), part=True)
    assert kinds(found) == [("delete", "annotations", 5)]
    whole = diff(Coco.of(value), Coco.of(edited))
    assert sum(edit.block == "images" for edit in whole.edits) == 2


def test_images_are_not_matched_by_id_if_names_differ():
    value = {"images": [{"id": n, "file_name": f"{d}/1.jpg"} for n, d in enumerate("abc")], "annotations": []}
    shuffled = {"images": [{"id": n, "file_name": f"{d}/1.jpg"} for n, d in enumerate("cab")], "annotations": []}
    found = diff(Coco.of(value), Coco.of(shuffled))
    assert found.edits == [] and found.renumbered == {"images": 3}


def test_damaged_ids_are_accepted():
    value = a_file()
    value["categories"][0]["id"] = {}
    value["images"][1]["id"] = None
    value["annotations"][2]["image_id"] = []
    old, new = Coco.of(value), Coco.of(a_file())
    for exact in (False, True):
        made = apply(old, diff(old, new, exact=exact).edits)
        assert made.records("categories")[0]["id"] == 1 and made.records("images")[1]["id"] == 2


ids = st.integers(1, 6)
row = st.fixed_dictionaries(
    {"id": ids},
    optional={
        "image_id": ids, "category_id": ids, "area": st.floats(0, 9), "x": st.none() | st.text(max_size=2),
        "segmentation": st.sampled_from([[], square(1, 1), square(2, 2), None]),
    },
)  # fmt: skip
a_coco = st.fixed_dictionaries(
    {
        "images": st.lists(st.fixed_dictionaries({"id": ids, "width": st.just(50), "height": st.just(50)}), max_size=3),
        "annotations": st.lists(row | st.none(), max_size=6),
        "scenes": st.lists(st.dictionaries(st.sampled_from("ab"), ids), max_size=3),
    }
)


@given(a_coco, a_coco)
@settings(max_examples=150, deadline=None)
def test_an_exact_diff_applied_to_the_old_file_gives_the_new_one(old, new):
    before, after = Coco.of(old), Coco.of(new)
    made = apply(before, diff(before, after, exact=True).edits)
    for block in after.blocks():
        assert sorted(map(canonical, made.records(block))) == sorted(map(canonical, new[block]))


@given(a_coco, a_coco)
@settings(max_examples=100, deadline=None)
def test_any_diff_applies_and_is_empty_between_equals(old, new):
    before, after = Coco.of(old), Coco.of(new)
    apply(before, diff(before, after).edits)
    assert diff(before, before).edits == []
    assert diff(before, before, exact=True).edits == []


@pytest.mark.slow
@pytest.mark.real
def test_taco_through_another_tool(real_data):
    """After renumbering, all annotations are matched by shape only."""
    coco = read(real_data / "taco/annotations.json")
    annotations = [
        {**record, "id": 5000 - row, "segmentation": [[round(v, 2) for v in ring] for ring in record["segmentation"]]}
        for row, record in enumerate(coco.records("annotations"))
    ]
    exported = Coco.of({**{b: coco.records(b) for b in ("images", "categories")}, "annotations": annotations[::-1]})
    found = diff(coco, exported)
    assert found.edits == []
    assert not found.trusted and found.renumbered["annotations"] > 4700
