"""The working copy, compared with the file after applying the same edits."""

from __future__ import annotations

from typing import Any

from trashkit.coco.dataset import Coco
from trashkit.edits.apply import apply
from trashkit.edits.edit import decide
from trashkit.edits.working_copy import WorkingCopy


def small() -> Coco:
    def annotation(number: int, **more: Any) -> dict[str, Any]:
        return {"id": number, "image_id": 1, "category_id": 1, "area": 4.0, **more}

    return Coco.of(
        {
            "images": [{"id": 1, "width": 640, "height": 480}, {"id": 2, "width": 0, "height": 480}],
            "annotations": [annotation(1), annotation(2), annotation(7)],
            "categories": [{"id": 1, "name": "Bottle"}],
        }
    )


def test_rows_are_those_of_the_applied_file() -> None:
    rows = WorkingCopy(small())
    rows.change("annotations", 0, {"area": 5.0}, reason="area-mismatch", author="G001")
    rows.change("annotations", 0, {"category_id": 2}, reason="review", author="me", remove=["area"])
    rows.delete("annotations", 1, reason="review", author="me")
    rows.add("annotations", {"id": rows.fresh_id("annotations")}, reason="review", author="me")
    assert rows.record("annotations", 0) == {"id": 1, "image_id": 1, "category_id": 2}
    assert rows.record("annotations", 1) is None and not rows.has("annotations", 1)
    assert rows.changed("annotations", 2) is None and rows.has("annotations", 2)
    assert rows.remaining_rows("annotations") == [0, 2]
    applied = apply(rows.coco, rows.edits).records("annotations")
    left = [rows.record("annotations", row) for row in rows.remaining_rows("annotations")]
    assert applied == [*left, *(edit.after for edit in rows.added)]
    assert [edit.kind for edit in rows.edits_of(("annotations", 0))] == ["change", "relabel"]


def test_decisions_are_kept_and_change_nothing() -> None:
    coco = small()
    rows = WorkingCopy(coco, [decide(coco, "note", "annotations", 2, reason="unusual", author="me")])
    assert not rows.is_changed("annotations", 2) and list(rows.places()) == [("annotations", 2)]


def test_a_size_is_height_and_width_as_the_edits_leave_the_image() -> None:
    rows = WorkingCopy(small())
    annotation = rows.record("annotations", 0)
    assert rows.size_of(annotation) == (480, 640)
    assert rows.size_of({"image_id": 2}) is None, "an image without width"
    assert rows.size_of({"image_id": [1]}) is None, "an id that no image can have"
    rows.change("images", 0, {"width": 480, "height": 640}, reason="axes-swapped", author="G011")
    assert rows.size_of(annotation) == (640, 480)


def test_fresh_ids_are_above_the_file_the_additions_and_each_other() -> None:
    rows = WorkingCopy(small())
    assert [rows.fresh_id("annotations"), rows.fresh_id("annotations")] == [8, 9]
    rows.add("annotations", {"id": 20}, reason="review", author="me")
    rows.change("annotations", 1, {"id": 30}, reason="duplicate-annotation-id", author="I001")
    assert rows.fresh_id("annotations") == 31
    assert rows.with_edits(rows.edits).highest_id("annotations") == 30
