"""Laws of all checks: each finds its broken example, and none reports anything on clean data."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.reference import explain, reference_page
from trashkit.audit.registry import Check, Hit, checks, chosen, find
from trashkit.audit.registry import check as register
from trashkit.coco import Coco, read
from trashkit.errors import TrashkitError
from trashkit.finding import Finding, Severity

CHECKS = list(checks().values())
WITH_EXAMPLE = [check for check in CHECKS if check.on not in ("photos", "predictions")]


def broken(check: Check, folder: Path) -> list[Finding]:
    """Findings in a check's broken example, read from a file."""
    assert check.broken is not None, f"{check.code} has no broken example"
    coco = clean_file()
    text = check.broken(coco)
    against = Coco.of(coco.pop("against")) if "against" in coco else None
    path = folder / "broken.json"
    path.write_text(text if text is not None else json.dumps(coco), encoding="utf-8")
    return audit(read(path), against=against).findings


def test_the_clean_file_has_no_findings() -> None:
    found = [f"{finding.code}: {finding.message}" for finding in audit(Coco.of(clean_file())).findings]
    assert not found, "checks must not report anything about the clean file of trashkit/audit/example.py"


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: f"{check.code}-{check.name}")
def test_a_check_finds_its_broken_example(check: Check, tmp_path: Path) -> None:
    found = broken(check, tmp_path)
    mine = [finding for finding in found if finding.code == check.code]
    assert mine, f"{check.code} finds nothing in its broken example; found: {sorted({one.code for one in found})}"
    for finding in mine:
        assert (finding.name, finding.severity) == (check.name, check.severity)
        assert finding.message and "\n" not in finding.message
        assert finding.related_count >= len(finding.related)


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: check.code)
def test_a_check_finds_the_same_alone_and_among_all(check: Check, tmp_path: Path) -> None:
    assert check.broken is not None
    among = [finding for finding in broken(check, tmp_path) if finding.code == check.code]
    against = clean_file()
    check.broken(against)
    other = Coco.of(against["against"]) if "against" in against else None
    alone = audit(read(tmp_path / "broken.json"), against=other, select=[check.code]).findings
    assert alone == among


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_page_has_an_example_and_a_fix(check: Check) -> None:
    assert re.fullmatch(r"[SGLIP]\d{3}", check.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.name), "a name is lower-case words joined by hyphens"
    assert check.title.endswith((".", ",")), "the first line of the docstring ends with a full stop or a comma"
    assert "Example" in check.page, "the docstring needs an example, below a line `Example::`"
    assert "Fix:" in check.page, "the docstring needs a paragraph that begins with `Fix:`"


def test_codes_and_names_are_unique() -> None:
    nodes = [
        node
        for module in {inspect.getmodule(check.function) for check in CHECKS}
        if module is not None
        for node in ast.walk(ast.parse(inspect.getsource(module)))
    ]
    codes = [
        ast.literal_eval(node.args[0])
        for node in nodes
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "check"
    ]
    assert len(codes) == len(set(codes)) == len(CHECKS)
    assert len({check.name for check in CHECKS}) == len(CHECKS)


def test_the_reference_has_every_check_once() -> None:
    page = reference_page()
    for check in CHECKS:
        assert page.count(f"### {check.code} {check.name}\n") == 1
    assert "Example::" not in page


def test_explain_accepts_codes_names_and_prefixes() -> None:
    assert explain("g003") == explain("invalid-ring")
    assert explain("G003") in explain("G")
    assert all(check.code in explain("all") for check in CHECKS)


def test_unknown_codes_are_refused_with_the_closest() -> None:
    with pytest.raises(TrashkitError) as error:
        find("invalid-rings")
    assert "invalid-ring" in error.value.hint
    with pytest.raises(TrashkitError):
        chosen(ignore=["Z9"])
    with pytest.raises(TrashkitError):
        chosen(select=[""])


def test_select_and_ignore() -> None:
    codes = [check.code for check in chosen(select=["G", "rare-category"], ignore=["G003"])]
    assert "G003" not in codes and "G005" in codes and "S022" in codes and "S010" not in codes
    with pytest.raises(TrashkitError, match="there are no checks to run"):
        chosen(select=["G003"], ignore=["G"])


@pytest.mark.parametrize(
    ("code", "on", "message"),
    [
        ("G999", "shape", "choices: file, shapes"),
        ("X001", "shapes", "G = Geometry"),
        ("G01", "shapes", "three digits"),
        ("G0010", "shapes", "three digits"),
        ("G001", "shapes", r"code G001: trashkit\.audit\.checks\.\w+\.\w+ and .*\bnew_check"),
        ("G999", "file", "takes shapes, .* on='file'"),
    ],
)
def test_wrong_registrations_fail_at_import(code: str, on: Any, message: str) -> None:
    def new_check(shapes: object) -> list[Hit]:
        return []

    before = checks()
    with pytest.raises(ValueError, match=message):
        register(code, "new-check", Severity.INFO, on=on)(new_check)
    assert checks() == before
