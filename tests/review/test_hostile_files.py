"""Findings, logs and sessions of strangers: a result or one line, and nothing in between."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trashkit.edits.edit import add, decide
from trashkit.edits.log import write_log
from trashkit.errors import TrashkitError
from trashkit.review.findings_file import read_cached_audit, read_findings
from trashkit.review.session import ReviewSession
from trashkit.review.session_file import load_session, save_session

BLOCKS = {"annotations": 3, "images": 2}
FINDING = {"code": "P001", "name": "n", "severity": "info", "block": "annotations", "row": 0, "message": "m"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"row": True}, "row"),
        ({"row": -1}, "row"),
        ({"row": 3}, r"annotations\[3\]"),
        ({"row": 2**70}, "annotations|row"),
        ({"row": 1.5}, "row"),
        ({"code": 1}, "code"),
        ({"name": None}, "name"),
        ({"severity": []}, "severity"),
        ({"severity": "fatal"}, "severity"),
        ({"block": []}, "block"),
        ({"message": {}}, "message"),
        ({"score": "0.5"}, "score"),
        ({"score": 10**400}, "score|too large"),
        ({"fix": "perhaps"}, "fix"),
        ({"annotation_id": []}, "annotation_id"),
        ({"file_name": 5}, "file_name"),
        ({"related": 5}, "related"),
        ({"related": [7]}, r"annotations\[7\]"),
        ({"proposal": [1]}, "proposal"),
        ({"proposal": {"set": []}}, "proposal"),
        ({"proposal": {"add": [1]}}, "proposal"),
        ({"proposal": {"add": {}}}, "proposal"),
    ],
)
def test_wrong_types_in_findings(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "findings.json"
    path.write_text(json.dumps({"findings": [FINDING, {**FINDING, **changes}]}))
    with pytest.raises(TrashkitError, match=message) as error:
        read_findings(path, BLOCKS)
    assert "findings[1]" in error.value.message and "\n" not in error.value.message
    path.write_text(json.dumps({"findings": [FINDING]}))
    assert len(read_findings(path, BLOCKS)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0",
        b"\xff\xff",
        b"[" * 100_000,
        b"[" * 150 + b"]" * 150,
        b"[" + b"9" * 5000 + b"]",
        b"5",
        b'{"findings": 1}',
    ],
    ids=["empty", "null", "not UTF-8", "deep", "150 levels", "5,000 digits", "number", "number for a list"],
)
def test_hostile_findings_sessions_and_caches(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    for read in (lambda: read_findings(path, BLOCKS), lambda: load_session(path)):
        with pytest.raises(TrashkitError) as error:
            read()
        assert str(path) in error.value.message and "\n" not in error.value.message
    assert read_cached_audit(path) is None


def test_folders_and_pipes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, reason in ((tmp_path, "it is a folder"), (tmp_path / "pipe", "it is a pipe")):
        with pytest.raises(TrashkitError, match=reason):
            read_findings(path, BLOCKS)
        with pytest.raises(TrashkitError, match=reason):
            load_session(path)
        assert read_cached_audit(path) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"findings": [{**FINDING, "row": 10**6}], "fixes": []}, "which the annotation file does not have"),
        ({"findings": [{**FINDING, "row": 2**70}]}, "not a review session"),
        ({"findings": 5}, "findings"),
        ({"fixes": [[99, [], [], []]]}, "fix of a finding that it lacks"),
        ({"fixes": [[0, [{"kind": "note"}], [], []]]}, "has no"),
        ({"fixes": [[0]]}, "fixes"),
        ({"log": 5}, "log"),
        ({"log": "\ud800"}, "not a review session"),
        ({"images": []}, "images"),
        ({"shared": {"title": "t", "by": "b", "cases": [1]}}, "shared"),
    ],
)
def test_damaged_sessions(session: ReviewSession, tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "a.session"
    save_session(session, path)
    assert load_session(path).findings
    path.write_text(json.dumps({**json.loads(path.read_bytes()), **changes}))
    with pytest.raises(TrashkitError, match=message):
        load_session(path)


def test_logs_about_rows_that_the_file_lacks(session: ReviewSession, tmp_path: Path) -> None:
    coco, log = session.coco, tmp_path / "log.jsonl"
    note = decide(coco, "note", "annotations", 0, reason="note", author="a")
    for edit, message in (
        (replace(note, row=10**9), "which .* lacks"),
        (replace(note, block="nowhere"), "which .* lacks"),
        (add(coco, "annotations", [1], reason="r", author="a"), "adds an annotation that is not an object"),
    ):
        write_log(log, [edit], overwrite=True)
        with pytest.raises(TrashkitError, match=message):
            ReviewSession(coco, session.findings, session.fixes, log, reviewer="a")
