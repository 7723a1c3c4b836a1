"""Submissions recorded and assessed by library functions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trashkit.errors import TrashkitError
from trashkit.predictions.submission_csv import CsvLayout, write
from trashkit.workflows.leaderboard import SubmissionDetails, assess_ledger, open_ledger, record_submission


@pytest.fixture
def submissions(tmp_path: Path) -> list[Path]:
    """Six different submissions of two images."""
    paths = []
    for n in range(6):
        label_map = np.zeros((16, 16), np.uint8)
        label_map[: 2 + n] = 1
        path = tmp_path / f"sub-{n}.csv"
        write(path, [("1.jpg", label_map), ("2.jpg", label_map.T)], CsvLayout(height=16, width=16))
        paths.append(path)
    return paths


def test_scores_are_recorded_and_assessed(submissions: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    for n, csv in enumerate(submissions):
        details = SubmissionDetails(public=0.7 + 0.02 * n if n < 5 else None, validation=0.6 + 0.02 * n, size=16)
        recorded = record_submission(csv, path, details)
        assert recorded.old is None and recorded.entry.score_only and recorded.entry.images == 2
    later = record_submission(submissions[0], path, SubmissionDetails(private=0.65))
    assert later.old is not None and later.entry.private == 0.65
    found = assess_ledger(open_ledger(path))
    assert (found.enough, found.evidence, found.submissions[0].name) == (True, "scores", "sub-5")
    assert json.loads(json.dumps(found.as_json()))["submissions"][0]["name"] == "sub-5"
    warnings: list[str] = []
    assess_ledger(open_ledger(path), history=True, warn=warnings.append)
    assert any("--history" in line for line in warnings)


def test_a_refused_submission_is_not_recorded(submissions: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    with pytest.raises(TrashkitError, match="not an mIoU"):
        record_submission(submissions[0], path, SubmissionDetails(public=82.0, size=16))
    with pytest.raises(TrashkitError, match="without --oof"):
        record_submission(submissions[0], path, SubmissionDetails(validation=0.5, oof=submissions[1], size=16))
    assert not path.exists()
    with pytest.raises(TrashkitError, match="there is no ledger"):
        open_ledger(path)
