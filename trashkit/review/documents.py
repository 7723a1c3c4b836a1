"""Images with their annotations as the documents that FiftyOne's database holds, made from a room."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.photos import photo_path
from trashkit.review.decisions import tags_of
from trashkit.review.outlines import outline
from trashkit.review.room import Case, Place, Room

Document = dict[str, Any]

ANNOTATIONS, PROPOSED, ORIGINAL = "annotations", "proposed", "original"
"""Fields with outlines: as they stand, as the proposed fixes would have them, and as they were before this review."""

_KINDS = {
    name: number
    for number, name in enumerate(
        ("image", ANNOTATIONS, PROPOSED, ORIGINAL, "added", "addition", "test", "test annotations")
    )
}
ADDITIONS = 64
"""Most annotations that one fix adds and the App shows."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Ids of the database that say what they stand for: one review, a kind of thing, and its row.

    drawn: ids that the App gave to labels drawn in it, by the id of the annotation that they became.
    """

    review: str
    drawn: Mapping[str, str] = field(default_factory=dict)

    def added(self, position: int, record: Any) -> str:
        """The id of an added row's label: the App's own where it was drawn there."""
        own = self.drawn.get(str(record.get("id"))) if isinstance(record, dict) else None
        return own or self.of("added", position)

    def of(self, kind: str, row: int) -> str:
        """24 hexadecimal digits."""
        return f"{hashlib.sha256(self.review.encode()).hexdigest()[:12]}{_KINDS[kind]:02x}{row:010x}"

    def row(self, kind: str, value: Any) -> int | None:
        """The row that an id stands for; None for ids of another kind, such as those the App made itself."""
        text = str(value)
        start = self.of(kind, 0)[:14]
        return int(text[14:], 16) if text.startswith(start) and len(text) == 24 else None


def photo_of(room: Room, image_row: int) -> str:
    """Absolute path of an image's photo; its name in no folder where there is none that could be read."""
    image = room.images_rows[image_row]
    name = image.get("file_name") if isinstance(image, dict) else None
    try:
        return str(photo_path(room.images or Path(), name).resolve())  # type: ignore[arg-type]
    except TrashkitError:
        return f"/missing/{image_row}.jpg"


def sample(room: Room, ids: Ids, image_row: int, *, now: datetime) -> Document:
    """One image with everything that the App shows of it, without the keys that only the database knows.

    Ids are texts under ``_id``; polylines come in file order, rows that the review adds after them.
    """
    standing = room.standing()
    size = room.size(image_row)
    mine = room.findings_of.get(("images", image_row), ())
    annotations: list[Document] = []
    proposed: list[Document] = []
    original: list[Document] = []
    all_findings = list(mine)
    for row in room.annotations_of.get(image_row, ()):
        about = room.findings_of.get((ANNOTATIONS, row), ())
        all_findings += about
        record, before = room.record(ANNOTATIONS, row), room.coco.record(ANNOTATIONS, row)
        if record is not None:
            annotations.append(_label(room, ids.of(ANNOTATIONS, row), record, row, about))
        proposal = _proposal(room, row, about)
        if proposal is not None and isinstance(record, dict):
            proposed.append(_plain(room, ids.of(PROPOSED, row), {**record, **proposal}, row, size))
        if standing.records.get((ANNOTATIONS, row), before) is not before:
            original.append(_plain(room, ids.of(ORIGINAL, row), before, row, size))
    for n in all_findings:
        if n in room.fixes and room.fixes[n].added and room.status(n) == "open":
            for k, edit in enumerate(room.fixes[n].added[:ADDITIONS]):
                proposed.append(_plain(room, ids.of("addition", ADDITIONS * n + k), edit.after, None, size))
    for n, edit in enumerate(standing.added):
        if edit.block == ANNOTATIONS and room.image_of(edit.after) == image_row:
            annotations.append(_label(room, ids.added(n, edit.after), edit.after, None, ()))
    decisions = standing.of.get(("images", image_row), ())
    still_open = [n for n in all_findings if room.status(n) == "open"]
    unusable = any(edit.kind == "unusable" for edit in decisions)
    findings = [room.findings[n] for n in all_findings]
    notes = [edit.note for edit in decisions if edit.note] + [one["note"] for one in annotations if one["note"]]
    return {
        **_about(room, image_row, now),
        "_id": ids.of("image", image_row),
        "tags": _tags(room, ("images", image_row), findings) + ["unusable"] * unusable,
        "row": image_row,
        "objects": len(annotations),
        "classes": sorted({one["label"] for one in annotations}),
        "findings": len(findings),
        "open": len(still_open),
        "severity": _severity(findings),
        "worst": _worst(findings),
        "codes": sorted({f.code for f in findings}),
        "scores": {f.code: score for f, score in _scores(findings)},
        "message": "; ".join(f"{room.findings[n].code}: {room.findings[n].message}" for n in mine),
        "decision": "unusable" if unusable else ("open" if still_open else ("decided" if findings else "")),
        "group": _group(room, image_row, mine),
        "note": "; ".join(notes),
        **_shared(room, image_row),
        ANNOTATIONS: {"_cls": "Polylines", "polylines": annotations},
        PROPOSED: {"_cls": "Polylines", "polylines": proposed},
        ORIGINAL: {"_cls": "Polylines", "polylines": original},
    }


def _about(room: Room, image_row: int, now: datetime) -> Document:
    image, size = room.images_rows[image_row], room.size(image_row)
    return {
        "_media_type": "image",
        "_rand": random.Random(image_row).random(),
        "filepath": photo_of(room, image_row),
        "metadata": {"_cls": "ImageMetadata", "width": size[0], "height": size[1]} if size else None,
        "last_modified_at": now,
        "image_id": str(image.get("id")),
        "file_name": str(image.get("file_name")),
    }


def plain_sample(room: Room, ids: Ids, image_row: int, *, now: datetime) -> Document:
    """An image of the test set, as its file has it: to look at, not to decide on. It has no `row`."""
    size = room.size(image_row)
    annotations = [
        _plain(room, ids.of("test annotations", row), room.coco.record(ANNOTATIONS, row), None, size)
        for row in room.annotations_of.get(image_row, ())
    ]
    return {
        **_about(room, image_row, now),
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


def _label(room: Room, key: str, record: Any, row: int | None, about: Sequence[int]) -> Document:
    findings = [room.findings[n] for n in about]
    status = {room.status(n) for n in about}
    decisions = room.standing().of.get((ANNOTATIONS, row), ()) if row is not None else ()
    return {
        **_plain(room, key, record, row, room.size(room.image_of(record))),
        "tags": _tags(room, (ANNOTATIONS, row), findings) if row is not None else [],
        "annotation_id": str(record.get("id")) if isinstance(record, dict) else "",
        "codes": sorted({finding.code for finding in findings}),
        "severity": _severity(findings),
        "message": "; ".join(f"{finding.code}: {finding.message}" for finding in findings),
        "fix": "proposed" if any(n in room.fixes for n in about) else "",
        "decision": "added" if row is None else ", ".join(sorted(status)),
        "note": "; ".join(edit.note for edit in decisions if edit.kind in ("note", "reject") and edit.note),
        "shared": "; ".join(_case(one) for one in _cases(room, row=row)) if row is not None else "",
    }


def _tags(room: Room, place: Place, findings: Sequence[Finding]) -> list[str]:
    """Findings and the reviewer's own tags."""
    codes = sorted({f"{finding.code} {finding.name}" for finding in findings})
    return list(dict.fromkeys([*codes, *tags_of(room, place)]))


def _shared(room: Room, image_row: int) -> Document:
    """What a team mate shared about an image, and its place in the order of the cases."""
    cases = _cases(room, image=image_row)
    order = room.shared.cases.index(cases[0]) if room.shared and cases else None
    return {"shared": "; ".join(map(_case, cases)), "shared_order": order}


def _cases(room: Room, *, image: int | None = None, row: int | None = None) -> list[Case]:
    cases = room.shared.cases if room.shared else ()
    return [one for one in cases if (one.image == image if image is not None else one.annotation == row)]


def _case(case: Case) -> str:
    return ": ".join(part for part in (", ".join(case.tags), case.note) if part) or "no note"


def _plain(room: Room, key: str, record: Any, row: int | None, size: tuple[int, int] | None) -> Document:
    shown = outline(record, size)
    return {
        "_id": key,
        "_cls": "Polyline",
        "attributes": {},
        "tags": [],
        "label": room.class_name(record),
        "points": shown.rings,
        "closed": True,
        "filled": True,
        "row": row,
        "form": shown.form,
    }


def _proposal(room: Room, row: int, about: Iterable[int]) -> dict[str, Any] | None:
    """The segmentation that the open fixes of a row lead to; None where they leave it as it is."""
    open_fixes = [room.fixes[n] for n in about if n in room.fixes and room.status(n) == "open"]
    for fix in open_fixes[:1]:
        for edit in reversed(fix.together):
            if edit.row == row and edit.after is not None and "segmentation" in edit.after:
                return {"segmentation": edit.after["segmentation"]}
    return None


def _group(room: Room, image_row: int, about: Iterable[int]) -> str:
    """One name for images that findings call alike, so that sorting by it brings them side by side."""
    count = len(room.images_rows)
    for n in about:
        finding = room.findings[n]
        if finding.related and all(row < count for row in finding.related):
            return f"{finding.name} {min(image_row, *finding.related):06}"
    return ""


def _severity(findings: Iterable[Finding]) -> str:
    worst = min((finding.severity for finding in findings), key=lambda severity: severity.rank, default=None)
    return worst.value if worst else ""


def _scores(findings: Iterable[Finding]) -> list[tuple[Finding, float]]:
    """Each finding with its score, smallest first, so that the largest stays where codes repeat."""
    return sorted(
        ((finding, finding.score if finding.score is not None else 0.0) for finding in findings),
        key=lambda pair: pair[1],
    )


def _worst(findings: list[Finding]) -> float:
    """Larger is worse: the severity first, then how many findings there are."""
    if not findings:
        return 0.0
    return 1000.0 * (3 - min(finding.severity.rank for finding in findings)) + min(len(findings), 999)
