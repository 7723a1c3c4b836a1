"""Laws over the registry: every check finds its broken example, and none speaks on clean data."""

from __future__ import annotations

import ast
import inspect
import json
import re
from pathlib import Path

import pytest

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.reference import explain, reference_page
from trashkit.audit.registry import Check, checks, chosen, find
from trashkit.coco import Coco, read
from trashkit.errors import TrashkitError
from trashkit.finding import Finding

CHECKS = list(checks().values())
WITH_EXAMPLE = [check for check in CHECKS if check.on not in ("photos", "predictions")]


def broken(check: Check, folder: Path) -> list[Finding]:
    """Findings on a check's own broken example, read from a file as users' files are."""
    assert check.broken is not None, f"{check.code} has no broken example"
    coco = clean_file()
    text = check.broken(coco)
    against = Coco.of(coco.pop("against")) if "against" in coco else None
    path = folder / "broken.json"
    path.write_text(text if text is not None else json.dumps(coco), encoding="utf-8")
    return audit(read(path), against=against).findings


def test_nothing_is_found_in_the_clean_file() -> None:
    assert audit(Coco.of(clean_file())).findings == []


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: f"{check.code}-{check.name}")
def test_a_check_finds_its_broken_example(check: Check, tmp_path: Path) -> None:
    found = broken(check, tmp_path)
    mine = [finding for finding in found if finding.code == check.code]
    assert mine
    for finding in mine:
        assert (finding.name, finding.severity) == (check.name, check.severity)
        assert finding.message and "\n" not in finding.message
        assert finding.related_count >= len(finding.related)


@pytest.mark.parametrize("check", WITH_EXAMPLE, ids=lambda check: check.code)
def test_a_check_alone_finds_what_it_finds_among_all(check: Check, tmp_path: Path) -> None:
    assert check.broken is not None
    among = [finding for finding in broken(check, tmp_path) if finding.code == check.code]
    against = clean_file()
    check.broken(against)
    other = Coco.of(against["against"]) if "against" in against else None
    alone = audit(read(tmp_path / "broken.json"), against=other, select=[check.code]).findings
    assert alone == among


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.code)
def test_a_page_says_what_a_check_finds_shows_it_and_cures_it(check: Check) -> None:
    assert re.fullmatch(r"[SGLIP]\d{3}", check.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.name)
    assert check.title.endswith((".", ","))
    assert "Example" in check.page
    assert "Cure:" in check.page


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


def test_explain_takes_codes_names_and_beginnings() -> None:
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
    with pytest.raises(TrashkitError, match="no check is left"):
        chosen(select=["G003"], ignore=["G"])
