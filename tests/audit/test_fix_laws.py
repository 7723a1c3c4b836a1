"""Properties of every check with a fix."""

from __future__ import annotations

import json

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.fixes.by_check import FIXES
from trashkit.audit.fixes.fix_file import fix, propose
from trashkit.audit.registry import checks
from trashkit.coco import Coco, read
from trashkit.edits.apply import apply, invert


def broken_example(check, tmp_path):
    """The check's broken file, read from disk, and the file to compare it with."""
    value = clean_file()
    text = check.broken(value)
    against = value.pop("against", None)
    path = tmp_path / "broken.json"
    path.write_text(text if isinstance(text, str) else json.dumps(value))
    return read(path), {"against": Coco.of(against) if against else None, "workers": 1}


WITH_EXAMPLE = [check for check in checks().values() if check.broken is not None]
FIXABLE = [check for check in WITH_EXAMPLE if check.name in FIXES]


def test_fixes_belong_to_checks():
    assert set(FIXES) <= {check.name for check in checks().values()}
    assert len(FIXABLE) >= 15


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: check.code)
def test_findings_with_a_fix_can_be_fixed(check, tmp_path):
    coco, options = broken_example(check, tmp_path)
    findings = audit(coco, select=[check.code], **options).findings
    assert findings
    promised = {finding.fix for finding in findings} - {None}
    assert promised == set() or check.name in FIXES, "a finding promises a fix that does not exist"
    assert bool(propose(coco, findings)) == ("safe" in promised)
    assert bool(propose(coco, findings, unsafe=True)) == bool(promised)


@pytest.mark.parametrize("check", FIXABLE, ids=lambda check: check.code)
@pytest.mark.parametrize("unsafe", [False, True])
def test_check_is_silent_after_its_fix_and_fixing_twice_changes_nothing(check, unsafe, tmp_path):
    coco, options = broken_example(check, tmp_path)
    result = fix(coco, select=[check.code], unsafe=unsafe, **options)
    left = audit(result.coco, select=[check.code], **options).findings
    assert {finding.fix for finding in left} <= ({None} if unsafe else {None, "unsafe"})
    again = fix(result.coco, select=[check.code], unsafe=unsafe, **options)
    assert again.edits == []


@pytest.mark.parametrize("check", FIXABLE, ids=lambda check: check.code)
def test_fix_causes_no_other_error_and_can_be_undone(check, tmp_path):
    coco, options = broken_example(check, tmp_path)
    before = audit(coco, **options).findings
    result = fix(coco, unsafe=True, **options)
    assert bool(result.edits) == any(finding.fix for finding in before)
    after = audit(result.coco, **options).findings
    assert {f.code for f in after if f.severity == "error"} <= {f.code for f in before if f.fix is None}
    assert coco.sha256 == broken_example(check, tmp_path)[0].sha256, "the input was touched"
    back = apply(result.coco, invert(result.coco, result.edits))
    assert {block: back.rows(block) for block in back.blocks()} == {block: coco.rows(block) for block in coco.blocks()}


def test_clean_file_is_not_changed():
    result = fix(Coco.of(clean_file()), unsafe=True, workers=1)
    assert result.edits == [] and result.kept_back == 0
