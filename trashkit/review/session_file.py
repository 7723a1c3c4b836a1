"""A review session on disk, so that the App's server, a separate process, opens the same session."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any, TypedDict

from trashkit.coco import read
from trashkit.coco.dataset import encode
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.outputs import write_bytes
from trashkit.readers import LARGE, checked, read_json
from trashkit.review.findings_file import as_value, check_rows, from_value
from trashkit.review.session import ReviewSession, SharedCase, SharedCases


def save_session(session: ReviewSession, path: Path) -> None:
    """Write a session to a file, which is replaced if it exists."""
    value = {
        "annotations": str(real_path(session.coco.path)) if session.coco.path else None,
        "sha256": session.coco.sha256,
        "log": str(real_path(session.log)),
        "reviewer": session.reviewer,
        "images": str(real_path(session.images)) if session.images else None,
        "shared": dataclasses.asdict(session.shared) if session.shared else None,
        **as_value(session.findings, session.fixes),
    }
    write_bytes(path, bytes(encode(value)), overwrite=True)


class _Case(TypedDict):
    image: int
    annotation: int | None
    tags: list[str]
    note: str


class _Shared(TypedDict):
    title: str
    by: str
    cases: list[_Case]


class _Session(TypedDict):
    annotations: str
    sha256: str
    log: str
    reviewer: str
    images: str | None
    shared: _Shared | None


def load_session(path: Path) -> ReviewSession:
    """Open a session that `save_session` wrote.

    Raises TrashkitError for other files, and if its annotation file has changed since.
    """
    hint = "start the review again"
    value = read_json(path, dict[str, Any], hint=hint, most=LARGE)
    try:
        session: _Session = checked(value, _Session)
        findings, fixes = from_value(value)
        for name in (session["annotations"], session["log"], session["images"] or ""):
            os.fsencode(name)
        coco = read(Path(session["annotations"]))
        if coco.sha256 != session["sha256"]:
            raise TrashkitError(f"{coco.path} was changed during the review", hint=hint)
        blocks = {block: coco.count(block) for block in coco.blocks()}
        for finding in findings:
            check_rows(finding, blocks)
    except ValueError as error:
        raise TrashkitError(f"{path} is not a review session: {error}", hint=hint) from error
    images = Path(session["images"]) if session["images"] else None
    shared = _shared(session["shared"])
    return ReviewSession(
        coco, findings, fixes, Path(session["log"]), reviewer=session["reviewer"], images=images, shared=shared
    )


def _shared(value: _Shared | None) -> SharedCases | None:
    if value is None:
        return None
    cases = [SharedCase(one["image"], one["annotation"], tuple(one["tags"]), one["note"]) for one in value["cases"]]
    return SharedCases(value["title"], value["by"], tuple(cases))
