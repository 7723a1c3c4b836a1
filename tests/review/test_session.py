"""Edit logs that do not fit, are missing or incomplete; pictures of outlines that lie outside their photo."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trashkit.coco import read
from trashkit.edits.edit import decide
from trashkit.edits.log import read_log, write_log
from trashkit.errors import TrashkitError
from trashkit.review.drawing import _cut, _window
from trashkit.review.session import ReviewSession

SYNTH = Path(__file__).resolve().parents[2] / "data" / "synth"


def test_a_log_of_a_larger_file_is_refused(tmp_path: Path) -> None:
    large, small = read(SYNTH / "train.json"), read(SYNTH / "test.json")
    log = tmp_path / "log.jsonl"
    last = large.count("annotations") - 1
    assert last >= small.count("annotations")
    write_log(log, [decide(large, "note", "annotations", last, reason="note", author="ann", note="odd")])
    with pytest.raises(TrashkitError, match="different file"):
        ReviewSession(small, [], {}, log, reviewer="ann")


def test_a_review_without_decisions_is_an_empty_log(tmp_path: Path) -> None:
    session = ReviewSession(read(SYNTH / "test.json"), [], {}, tmp_path / "new" / "log.jsonl", reviewer="ann")
    session.create_log()
    assert read_log(session.log).edits == []
    written = session.log.read_bytes()
    session.create_log()
    assert session.log.read_bytes() == written


def test_an_incomplete_log_is_reported(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"kind": "no')
    session = ReviewSession(read(SYNTH / "test.json"), [], {}, tmp_path / "log.jsonl", reviewer="ann")
    assert "line 1 is incomplete" in session.incomplete_line()


@pytest.mark.parametrize(("x", "y"), [(-60, 20), (150, 20), (20, -70), (150, 130), (-5000, 20), (96, 20)])
def test_a_picture_shows_an_outline_outside_the_photo_with_part_of_the_photo(x: float, y: float) -> None:
    ring = np.array([[x, y], [x + 30, y], [x + 30, y + 30]], float)
    left, top, right, bottom = _window([ring], 100, 80)
    low, high = np.clip(ring, [-100, -80], [200, 160]).min(axis=0), np.clip(ring, [-100, -80], [200, 160]).max(axis=0)
    assert (left, top) <= tuple(low)
    assert right >= high[0]
    assert bottom >= high[1]
    assert min(right, 100) - max(left, 0) >= 4
    assert min(bottom, 80) - max(top, 0) >= 4
    seen = np.full((80, 100, 3), 200, np.uint8)
    cut = _cut(seen, left, top, right, bottom)
    assert cut.shape == (bottom - top, right - left, 3)
    shared = (min(right, 100) - max(left, 0)) * (min(bottom, 80) - max(top, 0))
    assert int((cut == 200).all(axis=2).sum()) == shared


def test_an_outline_inside_is_shown_within_the_picture() -> None:
    left, top, right, bottom = _window([np.array([[40, 40], [50, 40], [50, 50]], float)], 100, 80)
    assert left >= 0
    assert top >= 0
    assert right <= 100
    assert bottom <= 80
