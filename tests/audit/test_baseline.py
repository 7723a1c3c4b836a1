"""Baseline and waivers: known findings are hidden, new ones are not."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.audit import audit
from trashkit.audit.baseline import key, read_baseline, without_known, without_waived, write_baseline
from trashkit.audit.example import clean_file
from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, Severity, finding_type

IDS = st.none() | st.integers(0, 3) | st.sampled_from(["a", "b"])
FINDINGS = st.lists(
    st.builds(
        lambda row, **values: finding_type(row)(row=row, **values),
        code=st.sampled_from(["G003", "S011", "I001"]),
        name=st.just("x"),
        severity=st.sampled_from(list(Severity)),
        block=st.sampled_from(["images", "annotations"]),
        row=st.none() | st.integers(0, 5),
        message=st.text(max_size=5),
        annotation_id=IDS,
        image_id=IDS,
        file_name=st.none() | st.sampled_from(["a.jpg", "b/a.jpg"]),
    ),
    max_size=20,
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(FINDINGS, FINDINGS)
def test_only_findings_newer_than_the_baseline_are_left(
    tmp_path_factory: pytest.TempPathFactory, old: list[Finding], new: list[Finding]
) -> None:
    path = tmp_path_factory.mktemp("known") / "known.json"
    assert write_baseline(old, path) == len(old)
    known = read_baseline(path)
    assert without_known(old, known) == []
    assert without_known([], known) == []
    left = without_known([*old, *new], known)
    assert Counter(map(key, left)) == Counter(map(key, new))


def broken() -> dict[str, object]:
    coco = clean_file()
    coco["annotations"][4]["area"] = 1.0
    coco["annotations"][9]["bbox"] = [0, 0, 9, 9]
    return coco


def test_known_findings_are_recognised_after_rows_moved(tmp_path: Path) -> None:
    coco = broken()
    findings = audit(Coco.of(coco)).findings
    assert len(findings) == 2
    write_baseline(findings, tmp_path / "known.json")
    coco["annotations"].reverse()  # type: ignore[attr-defined]
    coco["annotations"][0]["area"] = 1.0  # type: ignore[index]
    new = without_known(audit(Coco.of(coco)).findings, read_baseline(tmp_path / "known.json"))
    assert [(finding.code, finding.row) for finding in new] == [("G022", 0)]


def test_an_existing_baseline_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "known.json"
    write_baseline([], path)
    with pytest.raises(TrashkitError):
        write_baseline([], path)
    write_baseline([], path, overwrite=True)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "other", "known": {}}', '{"format": "trashkit audit baseline", "known": {"a": "b"}}'],
)
def test_files_that_are_not_a_baseline_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "known.json").write_text(text)
    with pytest.raises(TrashkitError, match="baseline"):
        read_baseline(tmp_path / "known.json")
    with pytest.raises(TrashkitError, match="cannot be read"):
        read_baseline(tmp_path / "none.json")


def test_waivers_accept_findings_and_unused_ones_are_reported() -> None:
    findings = audit(Coco.of(broken())).findings
    waivers: list[dict[str, object]] = [
        {"code": "G022", "annotation_id": 5, "reason": "measured otherwise"},
        {"code": "G023", "file_name": "photo_9*", "reason": "not there"},
        {"code": "G023", "file_name": "photo_*.jpg", "image_id": 2, "reason": "as drawn"},
    ]
    kept, accepted, unused = without_waived(findings, waivers)
    assert kept == []
    assert [finding.code for finding in accepted] == ["G022", "G023"]
    assert unused == [1]
    assert without_waived(findings, []) == (findings, [], [])


@pytest.mark.parametrize(
    "waiver",
    [
        {"code": "G022", "annotation_id": 5},
        {"code": "G022", "annotation_id": 5, "reason": "  "},
        {"code": "G022", "reason": "all of them"},
        {"annotation_id": 5, "reason": "any"},
        {"code": "G022", "annotation": 5, "reason": "misspelt"},
    ],
)
def test_incomplete_waivers_are_refused(waiver: dict[str, object]) -> None:
    with pytest.raises(TrashkitError, match="waiver 1"):
        without_waived([], [waiver])
