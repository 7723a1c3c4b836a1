"""Laws that hold for every check with a fix, whatever checks there are."""

from __future__ import annotations

import json

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fix import fix, propose
from trashkit.audit.fixers import FIXERS
from trashkit.audit.registry import checks
from trashkit.coco import Coco, read
from trashkit.coco.edits import apply, invert


def broken_example(check, tmp_path):
    """The check's own broken file, read from disk as a user's would be."""
    value = clean_file()
    text = check.broken(value)
    path = tmp_path / "broken.json"
    path.write_text(text if isinstance(text, str) else json.dumps(value))
    return read(path)


WITH_EXAMPLE = [check for check in checks().values() if check.broken is not None]
CURED = [check for check in WITH_EXAMPLE if check.name in FIXERS]


def test_fixers_belong_to_checks():
    assert set(FIXERS) <= {check.name for check in checks().values()}
    assert len(CURED) >= 15


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: check.code)
def test_promise_of_a_fix_is_kept(check, tmp_path):
    coco = broken_example(check, tmp_path)
    findings = audit(coco, select=[check.code], workers=1).findings
    promised = {finding.fix for finding in findings} - {None}
    assert promised == set() or check.name in FIXERS, "a finding promises a fix that does not exist"
    safe = propose(coco, findings)
    assert bool(safe) == ("safe" in promised)
    assert bool(propose(coco, findings, unsafe=True)) == bool(promised)


@pytest.mark.parametrize("check", CURED, ids=lambda check: check.code)
@pytest.mark.parametrize("unsafe", [False, True])
def test_check_is_silent_after_its_fix_and_fixing_twice_changes_nothing(check, unsafe, tmp_path):
    coco = broken_example(check, tmp_path)
    result = fix(coco, select=[check.code], unsafe=unsafe, workers=1)
    left = audit(result.coco, select=[check.code], workers=1).findings
    assert all(finding.fix == "unsafe" and not unsafe for finding in left)
    again = fix(result.coco, select=[check.code], unsafe=unsafe, workers=1)
    assert again.edits == []


@pytest.mark.parametrize("check", CURED, ids=lambda check: check.code)
def test_fix_causes_no_other_finding_and_can_be_taken_back(check, tmp_path):
    coco = broken_example(check, tmp_path)
    result = fix(coco, unsafe=True, workers=1)
    assert result.edits
    assert [f for f in audit(result.coco, workers=1).findings if f.severity == "error"] == []
    assert coco.sha256 == broken_example(check, tmp_path).sha256, "the input was touched"
    back = apply(result.coco, invert(result.coco, result.edits))
    assert [bytes(raw) for raw in back.rows("annotations")] == [bytes(raw) for raw in coco.rows("annotations")]


def test_clean_file_needs_nothing():
    result = fix(Coco.of(clean_file()), unsafe=True, workers=1)
    assert result.edits == [] and result.kept_back == 0
