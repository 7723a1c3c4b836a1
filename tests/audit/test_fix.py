"""Fixing whole files: only rows that need it, in the right order, without fixes that a reviewer rejected."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from PIL import Image

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fixes.fix_file import fix, propose
from trashkit.coco import Coco, read
from trashkit.edits.apply import apply, select
from trashkit.edits.edit import decide
from trashkit.errors import TrashkitError


def fixed(value, **options):
    result = fix(Coco.of(value), workers=1, **options)
    return result, result.coco.records("annotations")


def test_duplicate_ids_are_renumbered_except_the_first():
    value = clean_file()
    for row in (3, 7, 9):
        value["annotations"][row]["id"] = value["annotations"][1]["id"]
    result, annotations = fixed(value)
    highest = max(a["id"] for a in value["annotations"])
    assert [annotations[row]["id"] for row in (1, 3, 7, 9)] == [2, highest + 1, highest + 2, highest + 3]
    assert {edit.kind for edit in result.edits} == {"renumber"}
    assert all({**a, "id": 0} == {**b, "id": 0} for a, b in zip(annotations, value["annotations"], strict=True))


def test_exact_duplicates_are_deleted_except_the_first():
    value = clean_file()
    first = value["annotations"][0]
    value["annotations"] += [{**copy.deepcopy(first), "id": 900 + n, "area": first["area"] + n} for n in range(3)]
    result, annotations = fixed(value)
    assert annotations == value["annotations"][:-3]
    assert [edit.row for edit in result.edits] == [108, 109, 110]


def test_duplicates_that_differ_in_more_than_measures_are_kept():
    value = clean_file()
    value["annotations"].append({**copy.deepcopy(value["annotations"][0]), "id": 900, "occluded": True})
    result, annotations = fixed(value)
    assert annotations == value["annotations"] and result.kept_back == 1
    assert len(fixed(value, unsafe=True)[1]) == len(annotations) - 1


def test_area_and_box_are_updated_with_a_repaired_ring():
    value = clean_file()
    x, y = 110, 90
    value["annotations"][0].update(
        segmentation=[[x - 40, y - 40, x + 40, y + 40, x + 40, y - 40, x - 40, y + 60]], area=5, bbox=[0, 0, 1, 1]
    )
    result, annotations = fixed(value)
    assert [(edit.kind, edit.author) for edit in result.edits] == [("reshape", "G003")]
    assert annotations[0]["area"] == pytest.approx(3644.44, abs=0.1)
    assert annotations[0]["bbox"] == [70, 50, 80, 100]


def test_missing_measures_are_filled_in_for_all_annotations():
    value = clean_file()
    for annotation in value["annotations"]:
        for name in ("area", "bbox", "iscrowd"):
            del annotation[name]
    result, annotations = fixed(value)
    assert len(result.edits) == len(annotations)
    for new, old in zip(annotations, clean_file()["annotations"], strict=True):
        assert new["area"] == pytest.approx(old["area"], rel=1e-3)
        assert new["bbox"] == pytest.approx(old["bbox"], abs=0.01)
        assert new["iscrowd"] == 0
    assert fix(result.coco, workers=1).edits == []


def test_infinite_boxes_are_recomputed_and_empty_shapes_deleted_only_with_unsafe():
    value = clean_file()
    value["annotations"][0]["bbox"] = [float("inf")] * 4
    value["annotations"][1].update(segmentation=[], bbox=[float("inf")] * 4)
    result, annotations = fixed(value)
    assert annotations[0] == clean_file()["annotations"][0]
    assert annotations[1]["segmentation"] == [] and result.kept_back == 1
    assert len(fixed(value, unsafe=True)[1]) == 107


def test_unusable_images_are_deleted_with_all_rows_that_refer_to_them(tmp_path):
    value = clean_file()
    value["scenes"] = [{"image_id": n, "background": n} for n in (1, 2, 3)]
    for image in value["images"]:
        if image["id"] != 2:
            Image.fromarray(np.random.default_rng(image["id"]).integers(0, 255, (480, 640, 3), np.uint8)).save(
                tmp_path / image["file_name"]
            )
    test = {"images": [{**value["images"][2], "id": 77}], "annotations": [], "categories": value["categories"]}
    options = {"images": tmp_path, "against": Coco.of(test)}
    assert fixed(value, **options)[0].edits == []
    result, annotations = fixed(value, unsafe=True, **options)
    assert [i["id"] for i in result.coco.records("images")] == [1, *range(4, 13)]
    assert {a["image_id"] for a in annotations} == {1, *range(4, 13)}
    assert result.coco.records("scenes") == value["scenes"][:1]
    assert {edit.author for edit in result.edits} == {"I001", "I011"} or {e.author for e in result.edits} == {
        "I001", "S036"
    }  # fmt: skip
    assert fix(result.coco, unsafe=True, workers=1, **options).edits == []


def test_nothing_is_clipped_if_the_image_size_is_wrong():
    value = clean_file()
    value["images"][0].update(width=320, height=240)  # drawn at twice the size
    value["images"][1].update(width=480, height=640)  # x and y swapped
    result, annotations = fixed(value, unsafe=True)
    assert annotations == value["annotations"]
    assert [(edit.block, edit.row, edit.author) for edit in result.edits] == [("images", 1, "G012")]
    assert result.coco.record("images", 1) == {**value["images"][1], "width": 640, "height": 480}
    assert fixed(value)[0].edits == []


def test_half_pixel_boxes_and_closed_rings_are_not_changed():
    value = clean_file()
    for annotation in value["annotations"]:
        annotation["bbox"] = [annotation["bbox"][0] - 0.5, annotation["bbox"][1] + 0.5, *annotation["bbox"][2:]]
        annotation["segmentation"][0] += annotation["segmentation"][0][:2]
    assert fixed(value)[0].edits == []


def test_select_and_ignore():
    value = clean_file()
    value["annotations"][0]["area"] *= 2
    value["annotations"][1]["bbox"][2] += 9
    assert [edit.author for edit in fixed(value, select=["G022"])[0].edits] == ["G022"]
    assert [edit.author for edit in fixed(value, ignore=["area-mismatch"])[0].edits] == ["G023"]
    assert fixed(value, select=["I001"])[0].edits == []
    with pytest.raises(TrashkitError, match="no check"):
        fixed(value, select=["G999"])


def test_rejected_fixes_are_not_applied():
    value = clean_file()
    value["annotations"][0]["area"] *= 2
    value["annotations"][5]["area"] *= 2
    coco = Coco.of(value)
    for reason in ("G022", "area-mismatch"):
        rejection = decide(coco, "reject", "annotations", 5, reason=reason, author="anna")
        result = fix(coco, decisions=[rejection], workers=1)
        assert [edit.row for edit in result.edits] == [0] and result.rejected == 1
    changed = coco.replace("annotations", {5: {**value["annotations"][5], "area": 1}})
    with pytest.raises(TrashkitError, match=r"annotations\[5\] \(id 6\) has changed"):
        fix(changed, decisions=[rejection], workers=1)


def test_edits_refer_to_rows_of_the_source_after_several_rounds():
    value = clean_file()
    first = value["annotations"][0]
    value["annotations"].insert(0, {**copy.deepcopy(first), "id": 900, "image_id": 999})  # dangling
    value["annotations"].insert(2, {**copy.deepcopy(first), "id": 901})  # a double
    value["annotations"][50]["id"] = value["annotations"][49]["id"]
    value["annotations"][60]["area"] *= 3
    coco = Coco.of(value)
    result = fix(coco, unsafe=True, workers=1)
    assert {edit.row for edit in result.edits} == {0, 2, 50, 60}
    assert apply(coco, result.edits).records("annotations") == result.coco.records("annotations")
    areas_only = apply(coco, select(result.edits, authors=["G022"]))
    assert areas_only.count("annotations") == len(value["annotations"])


def test_rows_with_other_damage_do_not_matter():
    value = clean_file()
    value["annotations"] += [None, 3, {"id": None}, {"id": 5, "image_id": [], "segmentation": "x"}]
    value["annotations"][0].update(segmentation={"size": [1], "counts": "!"}, area="x")
    value["annotations"][1]["segmentation"] = [[1, 2], [3, "x", None], [float("nan")] * 8]
    value["images"][0]["width"] = -1
    for unsafe in (False, True):
        result, _ = fixed(value, unsafe=unsafe)
        assert fix(result.coco, unsafe=unsafe, workers=1).edits == []


@pytest.mark.slow
@pytest.mark.real
def test_taco_is_fixed_without_changing_masks(real_data):
    coco = read(real_data / "taco/annotations.json")
    result = fix(coco, workers=1)
    by_code = {}
    for edit in result.edits:
        by_code.setdefault(edit.author, set()).add(edit.row)
    assert {code: len(rows) for code, rows in by_code.items()} == {
        "G003": 84, "G005": 12, "G010": 6, "G022": 2, "S011": 2
    }  # fmt: skip
    touched = set().union(*by_code.values())
    before, after = coco.rows("annotations"), result.coco.rows("annotations")
    assert {row for row, raw in enumerate(before) if bytes(raw) != bytes(after[row])} == touched
    ids = [json.loads(bytes(raw))["id"] for raw in after]
    assert len(set(ids)) == len(ids) == 4784
    assert all(result.coco.rows(block) == coco.rows(block) for block in coco.blocks() if block != "annotations")
    assert fix(result.coco, workers=1).edits == []


def at_other_scale():
    value = clean_file()
    value["images"][0].update(width=320, height=240)
    for annotation in value["annotations"][:9]:
        annotation["area"] *= 0.25
    return value


def rle_of_wrong_size():
    value = clean_file()
    value["annotations"][0]["segmentation"] = {"size": [640, 480], "counts": [48100, 4, 640 * 480 - 48104]}
    return value


def no_image_of_its_own():
    value = clean_file()
    value["annotations"][0].update(image_id=77, area=float("inf"), bbox="none")
    value["annotations"][1].update(category_id=float("inf"), segmentation=[[10, 10, 60, 60, 60, 10, 10, 60], [1, 2]])
    del value["annotations"][2]["area"], value["images"][0]["width"]
    return value


def ring_outside_at_other_scale():
    value = at_other_scale()
    value["annotations"][0]["segmentation"].append([900, 900, 950, 900, 950, 950])
    return value


def test_areas_of_images_at_another_scale_stay():
    value = at_other_scale()
    result, annotations = fixed(value)
    assert annotations == value["annotations"] and result.kept_back == 0


@pytest.mark.parametrize(
    "made",
    [at_other_scale, rle_of_wrong_size, no_image_of_its_own, ring_outside_at_other_scale],
    ids=lambda f: f.__name__,
)
def test_every_promised_fix_is_possible(made):
    coco = Coco.of(made())
    for finding in audit(coco, workers=1).findings:
        if finding.fix is not None:
            assert propose(coco, [finding], unsafe=True), finding


def test_new_specks_of_a_repaired_ring_are_dropped():
    """A big square whose last edge crosses its first one leaves a triangle of 1.5 px², which would be a new part."""
    value = clean_file()
    value["annotations"][0]["segmentation"] = [[60, 60, 160, 60, 160, 160, 60, 160, 61.5, 58]]
    codes = {finding.code for finding in audit(Coco.of(value), select=["G"]).findings}
    result, annotations = fixed(value, select=["G003"])
    after = {finding.code for finding in audit(result.coco, select=["G"]).findings}
    assert "G003" in codes and "G003" not in after
    assert after - codes <= {"G022", "G023"}, "only measures, which another check fixes"
    assert len(annotations[0]["segmentation"]) == 1


@pytest.mark.slow
@pytest.mark.real
def test_safe_fixes_of_taco_cause_no_new_findings(real_data):
    source = read(real_data / "taco/annotations.json")
    fixed = fix(source).coco
    before, after = ({(one.code, one.block, one.row) for one in audit(coco).findings} for coco in (source, fixed))
    assert len(before) > 400 and after < before
