"""Images and their annotations as FiftyOne sample documents, made from a review session.

Ids are texts under ``_id``; `private_api.sample_document` turns a document into what the database stores.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trashkit.edits.working_copy import Place
from trashkit.finding import Finding
from trashkit.review.app_text import all_stored
from trashkit.review.decisions import tags_of
from trashkit.review.outlines import outline
from trashkit.review.session import ReviewSession, SharedCase

Document = dict[str, Any]

ANNOTATIONS, PROPOSED, ORIGINAL = "annotations", "proposed", "original"
"""Fields with outlines: the current ones, those that the proposed fixes would give, and those before this review."""
LABEL_FIELDS = (ANNOTATIONS, PROPOSED, ORIGINAL)

_KINDS = {
    name: number
    for number, name in enumerate(
        ("image", ANNOTATIONS, PROPOSED, ORIGINAL, "added", "addition", "test", "test annotations")
    )
}
MAX_ADDITIONS = 64
"""Most new annotations of one fix that the App shows."""


@dataclass(frozen=True, slots=True)
class DocumentIds:
    """Database ids that encode what they refer to: the review, a kind of thing, and its row.

    drawn: ids that the App gave to labels drawn in it, by the id of the annotation that each became.
    """

    review: str
    drawn: Mapping[str, str] = field(default_factory=dict)

    def of(self, kind: str, row: int) -> str:
        """The id of a row, 24 hexadecimal digits."""
        return f"{hashlib.sha256(self.review.encode()).hexdigest()[:12]}{_KINDS[kind]:02x}{row:010x}"

    def of_added(self, position: int, record: Any) -> str:
        """The id of an added annotation's label: the App's own id if it was drawn there."""
        own = self.drawn.get(str(record.get("id"))) if isinstance(record, dict) else None
        return own or self.of("added", position)

    def row(self, kind: str, value: Any) -> int | None:
        """The row that an id of this kind refers to; None for any other id, such as one that the App made."""
        text = str(value)
        start = self.of(kind, 0)[:14]
        return int(text[14:], 16) if text.startswith(start) and len(text) == 24 else None


# ------------------------------------------------------------ images under review
def sample_document(session: ReviewSession, ids: DocumentIds, image_row: int, *, now: datetime) -> Document:
    """One image with everything that the App shows of it.

    Polylines come in file order, followed by annotations that the review added.
    """
    image = ("images", image_row)
    findings = list(session.findings_of.get(image, ()))
    for row in session.annotations_of.get(image_row, ()):
        findings += session.findings_of.get((ANNOTATIONS, row), ())
    polylines = {
        ANNOTATIONS: _current_polylines(session, ids, image_row),
        PROPOSED: _proposed_polylines(session, ids, image_row, findings),
        ORIGINAL: _original_polylines(session, ids, image_row),
    }
    document: Document = {
        **_image_fields(session, image_row, now),
        "_id": ids.of("image", image_row),
        "row": image_row,
        "objects": len(polylines[ANNOTATIONS]),
        "classes": sorted({one["label"] for one in polylines[ANNOTATIONS]}),
        **_finding_fields(session, image_row, findings),
        **_decision_fields(session, image_row, findings, [one["note"] for one in polylines[ANNOTATIONS]]),
        **_shared_fields(session, image_row),
        **{name: {"_cls": "Polylines", "polylines": some} for name, some in polylines.items()},
    }
    return dict(all_stored(document))


def _image_fields(session: ReviewSession, image_row: int, now: datetime) -> Document:
    image, size = session.image_records[image_row], session.image_size(image_row)
    return {
        "_media_type": "image",
        "_rand": random.Random(image_row).random(),
        "filepath": str(session.photo_path(image_row)),
        "metadata": {"_cls": "ImageMetadata", "width": size[1], "height": size[0]} if size else None,
        "last_modified_at": now,
        "image_id": str(image.get("id")),
        "file_name": str(image.get("file_name")),
    }


def _finding_fields(session: ReviewSession, image_row: int, numbers: Sequence[int]) -> Document:
    """Fields about findings of the image and of its annotations."""
    findings = [session.findings[n] for n in numbers]
    about_image = session.findings_of.get(("images", image_row), ())
    return {
        "findings": len(findings),
        "open": sum(session.status(n) == "open" for n in numbers),
        "severity": _severity(findings),
        "worst": _severity_score(findings),
        "codes": sorted({finding.code for finding in findings}),
        "scores": {finding.code: score for finding, score in _scores(findings)},
        "message": _messages(session.findings[n] for n in about_image),
        "group": _duplicate_group(session, image_row, about_image),
    }


def _decision_fields(
    session: ReviewSession, image_row: int, numbers: Sequence[int], annotation_notes: Sequence[str]
) -> Document:
    """Fields about what was decided on the image, and the notes on it and its annotations."""
    place = ("images", image_row)
    decisions = session.edits_of(place)
    unusable = any(edit.kind == "unusable" for edit in decisions)
    still_open = any(session.status(n) == "open" for n in numbers)
    notes = [*(edit.note for edit in decisions), *annotation_notes]
    findings = [session.findings[n] for n in numbers]
    return {
        "tags": _tags(session, place, findings) + ["unusable"] * unusable,
        "decision": "unusable" if unusable else ("open" if still_open else ("decided" if numbers else "")),
        "note": "; ".join(note for note in notes if note),
    }


def _shared_fields(session: ReviewSession, image_row: int) -> Document:
    """What a teammate shared about an image, and its position among the shared cases."""
    cases = _shared_cases(session, image=image_row)
    order = session.shared.cases.index(cases[0]) if session.shared and cases else None
    return {"shared": "; ".join(map(_case_text, cases)), "shared_order": order}


def _current_polylines(session: ReviewSession, ids: DocumentIds, image_row: int) -> list[Document]:
    """Annotations as the edit log leaves them."""
    made = []
    for row in session.annotations_of.get(image_row, ()):
        record = session.record(ANNOTATIONS, row)
        if record is not None:
            made.append(_annotation_polyline(session, ids.of(ANNOTATIONS, row), record, row))
    for n, edit in enumerate(session.working_copy().added):
        if edit.block == ANNOTATIONS and session.image_of(edit.after) == image_row:
            made.append(_annotation_polyline(session, ids.of_added(n, edit.after), edit.after, None))
    return made


def _proposed_polylines(
    session: ReviewSession, ids: DocumentIds, image_row: int, numbers: Iterable[int]
) -> list[Document]:
    """Outlines that the open fixes propose, for annotations of the file and for new ones."""
    made = []
    size = session.image_size(image_row)
    for row in session.annotations_of.get(image_row, ()):
        proposal, record = _proposed_fields(session, row), session.record(ANNOTATIONS, row)
        if proposal is not None and isinstance(record, dict):
            made.append(_polyline(session, ids.of(PROPOSED, row), {**record, **proposal}, row, size))
    for n in numbers:
        if n in session.fixes and session.fixes[n].additions and session.status(n) == "open":
            for k, edit in enumerate(session.fixes[n].additions[:MAX_ADDITIONS]):
                made.append(_polyline(session, ids.of("addition", MAX_ADDITIONS * n + k), edit.after, None, size))
    return made


def _original_polylines(session: ReviewSession, ids: DocumentIds, image_row: int) -> list[Document]:
    """Annotations that the edit log changes or deletes, as the file has them."""
    size = session.image_size(image_row)
    return [
        _polyline(session, ids.of(ORIGINAL, row), session.coco.record(ANNOTATIONS, row), row, size)
        for row in session.annotations_of.get(image_row, ())
        if session.is_changed((ANNOTATIONS, row))
    ]


def _annotation_polyline(session: ReviewSession, key: str, record: Any, row: int | None) -> Document:
    """An annotation with its findings and decisions. row: None for one that the review added."""
    numbers = session.findings_of.get((ANNOTATIONS, row), ()) if row is not None else ()
    findings = [session.findings[n] for n in numbers]
    status = {session.status(n) for n in numbers}
    edits = session.edits_of((ANNOTATIONS, row)) if row is not None else ()
    shared = _shared_cases(session, annotation=row) if row is not None else []
    return {
        **_polyline(session, key, record, row, session.image_size(session.image_of(record))),
        "tags": _tags(session, (ANNOTATIONS, row), findings) if row is not None else [],
        "annotation_id": str(record.get("id")) if isinstance(record, dict) else "",
        "codes": sorted({finding.code for finding in findings}),
        "severity": _severity(findings),
        "message": _messages(findings),
        "fix": "proposed" if any(n in session.fixes for n in numbers) else "",
        "decision": "added" if row is None else ", ".join(sorted(status)),
        "note": "; ".join(edit.note for edit in edits if edit.kind in ("note", "reject") and edit.note),
        "shared": "; ".join(map(_case_text, shared)),
    }


def _polyline(session: ReviewSession, key: str, record: Any, row: int | None, size: tuple[int, int] | None) -> Document:
    shown = outline(record, size)
    return {
        "_id": key,
        "_cls": "Polyline",
        "attributes": {},
        "tags": [],
        "label": session.class_name(record),
        "points": shown.rings,
        "closed": True,
        "filled": True,
        "row": row,
        "form": shown.form,
    }


def _proposed_fields(session: ReviewSession, row: int) -> dict[str, Any] | None:
    """The segmentation that the open fixes of a row lead to; None if they do not change it."""
    numbers = session.findings_of.get((ANNOTATIONS, row), ())
    fix = next((session.fixes[n] for n in numbers if n in session.fixes and session.status(n) == "open"), None)
    for edit in reversed(fix.row_edits if fix is not None else ()):
        if edit.row == row and edit.after is not None and "segmentation" in edit.after:
            return {"segmentation": edit.after["segmentation"]}
    return None


# ------------------------------------------------------------ images of a test set
def test_set_document(session: ReviewSession, ids: DocumentIds, image_row: int, *, now: datetime) -> Document:
    """An image of the test set as its file has it. It has no `row`, and cannot be decided on."""
    size = session.image_size(image_row)
    annotations = [
        _polyline(session, ids.of("test annotations", row), session.coco.record(ANNOTATIONS, row), None, size)
        for row in session.annotations_of.get(image_row, ())
    ]
    document: Document = {
        **_image_fields(session, image_row, now),
        "_id": ids.of("test", image_row),
        "tags": ["test"],
        "codes": [],
        **dict.fromkeys(("severity", "message", "decision", "group", "note", "shared"), ""),
        "findings": 0,
        "open": 0,
        "objects": len(annotations),
        "classes": sorted({one["label"] for one in annotations}),
        ANNOTATIONS: {"_cls": "Polylines", "polylines": annotations},
        PROPOSED: {"_cls": "Polylines", "polylines": []},
        ORIGINAL: {"_cls": "Polylines", "polylines": []},
    }
    return dict(all_stored(document))


# ------------------------------------------------------------ texts
def _tags(session: ReviewSession, place: Place, findings: Sequence[Finding]) -> list[str]:
    """Code and name of each finding, and the reviewer's own tags."""
    codes = sorted({f"{finding.code} {finding.name}" for finding in findings})
    return list(dict.fromkeys([*codes, *tags_of(session, place)]))


def _messages(findings: Iterable[Finding]) -> str:
    return "; ".join(f"{finding.code}: {finding.message}" for finding in findings)


def _shared_cases(
    session: ReviewSession, *, image: int | None = None, annotation: int | None = None
) -> list[SharedCase]:
    cases = session.shared.cases if session.shared else ()
    return [one for one in cases if (one.image == image if image is not None else one.annotation == annotation)]


def _case_text(case: SharedCase) -> str:
    return ": ".join(part for part in (", ".join(case.tags), case.note) if part) or "no note"


def _duplicate_group(session: ReviewSession, image_row: int, numbers: Iterable[int]) -> str:
    """A name shared by images that a finding calls duplicates, so that sorting by it puts them side by side."""
    count = len(session.image_records)
    for n in numbers:
        finding = session.findings[n]
        if finding.related and all(row < count for row in finding.related):
            return f"{finding.name} {min(image_row, *finding.related):06}"
    return ""


def _severity(findings: Iterable[Finding]) -> str:
    worst = min((finding.severity for finding in findings), key=lambda severity: severity.rank, default=None)
    return worst.value if worst else ""


def _scores(findings: Iterable[Finding]) -> list[tuple[Finding, float]]:
    """Each finding with its score, smallest first, so that the largest one stays if codes repeat."""
    return sorted(
        ((finding, finding.score if finding.score is not None else 0.0) for finding in findings),
        key=lambda pair: pair[1],
    )


def _severity_score(findings: list[Finding]) -> float:
    """Larger is worse: by the worst severity, then by the number of findings."""
    if not findings:
        return 0.0
    return 1000.0 * (3 - min(finding.severity.rank for finding in findings)) + min(len(findings), 999)
