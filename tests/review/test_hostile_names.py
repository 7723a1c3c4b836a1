"""Names and notes that the App's database or its addresses cannot hold are shown in another form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from trashkit.coco import read
from trashkit.errors import TrashkitError
from trashkit.review.app_text import MOST_LETTERS, all_stored, as_stored
from trashkit.review.fiftyone_app.app import open_review
from trashkit.review.fiftyone_app.private_api import insert_samples, set_fields
from trashkit.review.session import ReviewSession
from trashkit.workflows.review_findings import findings_from_audit

CLASSES = ("종이", "금속", "PET", "pet", "half \ud800", "a" * 300, "a" * 300 + "b", "!", "?", "", "nul\0", "$a.b")


def test_texts_are_as_the_database_can_store_them() -> None:
    for text in ("", "plain", "종이", "a\0b"):
        assert as_stored(text) == text
    assert as_stored("a\ud800b") == "a\\ud800b"
    assert as_stored("a" * 20_000) == "a" * MOST_LETTERS + "…"
    points = [[0.5, 0.5]]
    document = all_stored({"a": ["\udfff"], "b": [{"note": "\ud800", "points": points}], "c": None})
    assert document == {"a": ["\\udfff"], "b": [{"note": "\\ud800", "points": points}], "c": None}
    assert document["b"][0]["points"] is points


def hostile_session(folder: Path) -> ReviewSession:
    """Each class has annotations with findings, and the first images have names that are none."""
    square = [[1, 1, 9, 1, 9, 9, 1, 9, 5, 5, 1, 1, 9, 9]]
    names = ["half \ud800.jpg", "a" * 300_000 + ".jpg", "nul\0.jpg", 5, None, "../up.jpg", "plain.jpg"]
    value = {
        "images": [{"id": n, "file_name": name, "width": 2**70, "height": 64} for n, name in enumerate(names)],
        "categories": [{"id": n, "name": name} for n, name in enumerate(CLASSES)],
        "annotations": [
            {"id": n, "image_id": 6, "category_id": n % len(CLASSES), "segmentation": square, "bbox": [0, 0, 1, 1]}
            for n in range(2 * len(CLASSES))
        ],
    }
    path = folder / ("half \\ " + "a" * 200 + ".json")
    path.write_text(json.dumps(value))
    coco = read(path)
    findings, fixes = findings_from_audit(coco)
    return ReviewSession(coco, findings, fixes, folder / "log.jsonl", reviewer="half \ud800", images=folder)


@pytest.mark.slow
def test_the_app_opens_and_each_class_keeps_its_own_view(tmp_path: Path, enter: Callable[[ReviewSession], Any]) -> None:
    from trashkit.review.fiftyone_app.private_api import address_of_view

    session = hostile_session(tmp_path)
    review = enter(session)
    views = review.dataset.list_saved_views()
    classes = {session.class_name(record) for record in session.coco.records("annotations")} - {""}
    assert len([name for name in views if name.startswith("class ")]) == len(classes)
    assert len({address_of_view(name) for name in views}) == len(views)
    for text in ("half \ud800", "long" * 10_000, "a\0b"):
        review.do("next_finding")
        assert review.do("leave_note", text=text)["edits"] == 1
        assert review.do("tag_case", tag=text)["edits"] == 1
    logged = [json.loads(line).get("note") for line in session.log.read_text().splitlines()]
    assert "half \ud800" in logged and "long" * 10_000 in logged
    assert (
        enter(
            ReviewSession(session.coco, session.findings, session.fixes, session.log, reviewer="ann", images=tmp_path)
        )
        is not None
    )


def test_an_image_that_is_too_large_for_the_database_is_one_line() -> None:
    errors = pytest.importorskip("pymongo.errors")

    def refuse(_documents: Any) -> None:
        raise errors.DocumentTooLarge("BSON document too large")

    dataset = SimpleNamespace(_sample_collection=SimpleNamespace(insert_many=refuse, bulk_write=refuse))
    for write in (lambda: insert_samples(dataset, [{}]), lambda: set_fields(dataset, {1: {}})):  # type: ignore[dict-item]
        with pytest.raises(TrashkitError, match="more than 16 MB"):
            write()


def test_paths_that_are_not_utf8_are_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "caf\udce9"
    folder.mkdir()
    path = folder / "a.json"
    path.write_text(json.dumps({"images": [], "categories": [], "annotations": []}))
    session = ReviewSession(read(path), [], {}, tmp_path / "log.jsonl", reviewer="ann", images=tmp_path)
    with pytest.raises(TrashkitError, match="is not UTF-8"):
        open_review(session, tmp_path)
