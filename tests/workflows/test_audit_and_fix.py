"""Auditing and fixing files by function calls, as a notebook does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trashkit.audit import Settings
from trashkit.audit.baseline import write_baseline
from trashkit.audit.example import clean_file
from trashkit.coco import read
from trashkit.edits.log import read_log
from trashkit.errors import TrashkitError
from trashkit.workflows.audit import audit_file
from trashkit.workflows.fix import apply_edit_log, fix_findings, write_fixed


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """A file with two wrong areas."""
    value: dict[str, Any] = clean_file()
    for row in (0, 5):
        value["annotations"][row]["area"] *= 2
    path = tmp_path / "damaged.json"
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def test_waivers_and_baseline_accept_findings(damaged: Path, tmp_path: Path) -> None:
    everything = audit_file(damaged)
    assert everything.result.summary["by_code"] == {"G022": 2}
    waivers = (
        {"code": "G022", "annotation_id": 1, "reason": "drawn like this on purpose"},
        {"code": "G003", "annotation_id": 1, "reason": "not needed"},
    )
    audited = audit_file(damaged, settings=Settings(waivers=waivers))
    assert [finding.row for finding in audited.result.findings] == [5]
    assert audited.result.summary["waived"] == 1 and len(audited.everything.findings) == 2
    assert audited.warnings == ("waiver 2 (G003) no longer matches any finding",)
    baseline = tmp_path / "known.json"
    write_baseline(everything.result.findings[:1], baseline)
    audited = audit_file(damaged, baseline=baseline)
    assert [finding.row for finding in audited.result.findings] == [5] and audited.result.summary["known"] == 1


def test_a_folder_without_any_photo_is_a_warning(damaged: Path, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    audited = audit_file(damaged, images=tmp_path / "photos", select=["G"])
    assert "none of the 12 photos" in audited.warnings[0]
    assert audited.folder == tmp_path / "photos"


def test_the_folder_that_has_the_photos_is_named(damaged: Path, tmp_path: Path) -> None:
    for image in read(damaged).records("images"):
        (tmp_path / image["file_name"]).touch()
    (tmp_path / "photos").mkdir()
    assert audit_file(damaged, images=tmp_path / "photos", select=["G"]).folder == tmp_path
    assert audit_file(damaged, images=tmp_path, select=["G"]).folder is None


def test_a_fixed_file_and_its_log(damaged: Path, tmp_path: Path) -> None:
    fixed = fix_findings(read(damaged), select=["G022,G003"])
    assert fixed.summary == {"edits": 2, "kept_back": 0, "rejected": 0}
    log = tmp_path / "edits.jsonl"
    write_fixed(fixed, tmp_path / "fixed.json", log=log)
    assert audit_file(tmp_path / "fixed.json").result.findings == []
    assert read_log(log).edits == fixed.edits
    assert apply_edit_log(read(damaged), log).coco.records("annotations") == fixed.coco.records("annotations")


def test_a_log_about_another_file_is_refused_before_anything_is_written(damaged: Path, tmp_path: Path) -> None:
    log = tmp_path / "edits.jsonl"
    write_fixed(fix_findings(read(damaged), select=["G022"]), tmp_path / "fixed.json", log=log)
    other = tmp_path / "other.json"
    value = json.loads(damaged.read_text(encoding="utf-8"))
    value["annotations"].pop()
    other.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(TrashkitError, match="edits of another file"):
        write_fixed(fix_findings(read(other), select=["G022"]), tmp_path / "second.json", log=log)
    assert not (tmp_path / "second.json").exists()
