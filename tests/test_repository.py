"""Files around the code: YAML that parses, issue forms that GitHub accepts, a workflow that runs .ci/run, decisions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
YAML = [
    *sorted((ROOT / ".github").rglob("*.yml")),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_yaml_parses(path: Path) -> None:
    assert isinstance(load(path), dict)


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_have_what_github_requires(path: Path) -> None:
    form = load(path)
    assert form["name"] and form["description"]
    ids = [item["id"] for item in form["body"] if item["type"] != "markdown"]
    assert ids and len(ids) == len(set(ids))
    for item in form["body"]:
        assert item["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert item["attributes"].get("value" if item["type"] == "markdown" else "label")
        if item["type"] in ("dropdown", "checkboxes"):
            assert item["attributes"]["options"]


def test_the_workflow_runs_all_checks_on_the_oldest_and_newest_python() -> None:
    jobs = load(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    steps = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    full = next(name for name, commands in steps.items() if "bash .ci/run" in commands)
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert jobs[full]["strategy"]["matrix"]["python"] == [classifiers[0], classifiers[-1]]
    light = [commands for commands in steps.values() if "pip install ." in commands]
    assert any(command.startswith("trashkit audit ") for command in light[0])


def test_citation_file_has_its_required_fields() -> None:
    citation = load(ROOT / "CITATION.cff")
    assert citation.keys() >= {"cff-version", "message", "title", "authors", "type", "version", "license"}
    assert citation["type"] == "software"


def test_decisions_are_numbered_dated_and_listed() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    assert [int(path.name[:4]) for path in RECORDS] == list(range(1, len(RECORDS) + 1))
    for path in RECORDS:
        text = path.read_text(encoding="utf-8")
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert re.search(r"^Date: \d{4}-\d\d-\d\d +$", text, re.MULTILINE), path.name
        assert re.search(r"^Status: (accepted|superseded by \[.+\]\(.+\))$", text, re.MULTILINE), path.name
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path.name
        assert path.name in index
