"""Findings with their own proposals, such as label errors: in the App, on the page, and in the fixed file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read, write
from trashkit.coco.dataset import Coco
from trashkit.edits.apply import apply
from trashkit.edits.log import from_record, read_log
from trashkit.finding import RowFinding, Severity
from trashkit.review.findings_file import as_value, from_value
from trashkit.review.session import ReviewSession
from trashkit.review.static_page import review_page
from trashkit.workflows.review_findings import proposed_fixes

pytestmark = pytest.mark.slow

EMBEDDED = r'<script type="application/json" id="review">(.*?)</script>'


def square(x: float, y: float = 10, side: float = 20) -> list[list[float]]:
    return [[x, y, x + side, y, x + side, y + side, x, y + side]]


def row(number: int, image: int, x: float, category: int = 1, rings: Any = None) -> dict[str, Any]:
    rings = rings or square(x)
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": rings,
        "area": 400.0 * len(rings),
        "bbox": [x, 10.0, 20.0, 20.0],
        "iscrowd": 0,
    }


def proposed(image: int, x: float, category: int = 2) -> dict[str, Any]:
    return {key: value for key, value in row(0, image, x, category).items() if key != "id"}


def finding(code: str, name: str, at: int, message: str, proposal: Any, block: str = "annotations") -> RowFinding:
    return RowFinding(code, name, Severity.WARNING, block, at, message, score=0.9, fix="unsafe", proposal=proposal)


FINDINGS = [
    finding("P001", "wrong-class", 0, "Glass looks like Plastic", {"set": {"category_id": 2}}),
    finding("P002", "missing-object", 0, "Plastic around x 70", {"add": [proposed(1, 60)]}, "images"),
    finding("P002", "missing-object", 0, "Plastic around x 100", {"add": [proposed(1, 90)]}, "images"),
    finding("P003", "no-object", 1, "Glass where nothing is seen", {"delete": True}),
    finding("P004", "shifted-outline", 2, "lies beside", {"set": {"segmentation": square(35)}}),
    finding(
        "P006",
        "merged-objects",
        3,
        "covers several objects",
        {"set": {"segmentation": square(10)}, "add": [proposed(2, 80)]},
    ),
]


@pytest.fixture
def errors(tmp_path: Path) -> ReviewSession:
    rows = [row(1, 1, 10), row(2, 1, 30), row(3, 2, 30), row(4, 2, 10, rings=[*square(10), *square(80)])]
    images = [{"id": n, "width": 128, "height": 64, "file_name": f"{n}.jpg"} for n in (1, 2)]
    categories = [{"id": 1, "name": "Glass"}, {"id": 2, "name": "Plastic"}]
    path = tmp_path / "ann.json"
    write(Coco.of({"images": images, "annotations": rows, "categories": categories}), path)
    coco = read(path)
    fixes = proposed_fixes(coco, FINDINGS)
    assert sorted(fixes) == list(range(len(FINDINGS)))
    return ReviewSession(coco, FINDINGS, fixes, tmp_path / "log.jsonl", reviewer="ann", images=tmp_path)


@pytest.fixture
def review(errors: ReviewSession, enter: Any) -> Any:
    return enter(errors)


def fixed(session: ReviewSession) -> dict[int, Any]:
    made = apply(session.coco, read_log(session.log).edits).records("annotations")
    assert len({one["id"] for one in made}) == len(made)
    return {one["id"]: one for one in made}


def test_accepting_makes_each_proposal(review: Any) -> None:
    for n in review.session.order:
        review.controller.current = n
        assert review.do("accept_fix")["edits"] >= 1
        assert review.session.status(n) == "fixed"
    made = fixed(review.session)
    assert made[1]["category_id"] == 2
    assert 2 not in made
    assert made[3]["segmentation"] == square(35)
    assert made[3]["bbox"] == [35, 10, 20, 20]
    assert made[4]["segmentation"] == square(10)
    new = sorted((one["image_id"], one["segmentation"][0][0]) for key, one in made.items() if key > 4)
    assert new == [(1, 60), (1, 90), (2, 80)]
    assert review.session.progress() == (6, 6)


def test_two_missing_objects_of_one_image_are_decided_on_one_by_one(review: Any) -> None:
    one, other = 1, 2
    review.controller.current = one
    assert review.do("accept_fix")["edits"] == 1
    assert (review.session.status(one), review.session.status(other)) == ("fixed", "open")
    review.controller.current = other
    review.do("reject_fix", why="a reflection")
    assert (review.session.status(one), review.session.status(other)) == ("fixed", "rejected")
    assert [one["segmentation"][0][0] for key, one in fixed(review.session).items() if key > 4] == [60]
    assert read_log(review.session.log).edits[-1].note == "Plastic around x 100: a reflection"
    review.do("undo_decision")
    review.do("undo_decision")
    assert review.session.status(one) == review.session.status(other) == "open"


def test_a_proposed_object_is_shown_and_can_be_clicked(review: Any) -> None:
    import fiftyone.operators as foo

    from trashkit.review.fiftyone_app.dataset_sync import ids_of

    sample = review.dataset.match({"row": 0}).first()
    assert len(sample.proposed.polylines) == 2
    n = review.controller.additions([{"label_id": one.id} for one in sample.proposed.polylines])
    assert n == [1, 2]
    context = {
        "dataset": review.dataset,
        "params": {},
        "selected_labels": [{"label_id": sample.proposed.polylines[1].id, "field": "proposed"}],
    }
    result = foo.execute_operator("@trashkit/review/accept_fix", context).result
    assert result["edits"] == 1
    assert review.session.status(2) == "fixed"
    sample.reload()
    assert len(sample.proposed.polylines) == 1
    added = next(one for one in sample.annotations.polylines if one.row is None)
    # A label that is not an annotation of the file must not be taken for the current finding.
    review.controller.current = 3
    context["selected_labels"] = [{"label_id": added.id, "field": "annotations"}]
    refused = foo.execute_operator("@trashkit/review/delete_annotations", context).result
    assert "not an annotation of the file" in refused["message"]
    assert ids_of(review.dataset).row("addition", added.id) is None


def test_another_class_than_the_proposed_one_answers_the_finding(review: Any) -> None:
    review.do("relabel", [0], **{"class": "Plastic"}, note="by hand")
    assert review.session.status(0) == "fixed"
    assert read_log(review.session.log).edits[0].reason == "wrong-class"


def test_the_page_exports_additions(errors: ReviewSession) -> None:
    about = json.loads(re.search(EMBEDDED, review_page(errors), re.DOTALL)[1])
    lines = [line for one in about["findings"] for line in one["added"]]
    edits = [from_record(json.loads(line + "}")) for line in lines]
    assert [edit.kind for edit in edits] == ["add"] * 3
    assert len({edit.after["id"] for edit in edits} | {1, 2, 3, 4}) == 7
    assert apply(errors.coco, edits).count("annotations") == 7
    messages = [one.get("message") for one in about["findings"]]
    assert messages.count(None) == 4


def test_findings_and_fixes_come_back_from_disk(errors: ReviewSession) -> None:
    value = json.loads(json.dumps(as_value(errors.findings, errors.fixes)))
    findings, fixes = from_value(value)
    assert tuple(findings) == errors.findings
    assert fixes == errors.fixes
