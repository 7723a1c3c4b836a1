"""GitHub workflow commands: one line each, with the right line of the file, and properly escaped."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.output.github import github_lines
from trashkit.coco import Coco, read
from trashkit.finding import Finding, Severity
from trashkit.names import printable

COMMAND = re.compile(r"::(error|warning|notice) (file=[^:,\n\r]*)(,line=(\d+))?,title=[^:,\n\r]*::[^\n\r]*")


@pytest.mark.parametrize("indent", [None, 1])
def test_commands_give_the_line_of_the_row(tmp_path: Path, indent: int | None) -> None:
    coco = clean_file()
    coco["annotations"][40]["area"] = 1.0
    coco["images"][3]["width"] = -4
    path = tmp_path / "train.json"
    path.write_text(json.dumps(coco, indent=indent), encoding="utf-8")
    source = path.read_text(encoding="utf-8").split("\n")
    result = audit(read(path))
    lines = list(github_lines(read(path), result.findings))
    assert len(lines) == len(result.findings) >= 2
    for line in lines:
        assert COMMAND.fullmatch(line), line
    (area,) = [line for line in lines if "G022" in line]
    number = int(re.findall(r"line=(\d+)", area)[0])
    assert number == 1 if indent is None else '"id": 41,' in "".join(source[number - 1 : number + 2])


def test_worst_findings_come_first_up_to_the_limit() -> None:
    findings = [
        Finding("S001", "x", severity, "file", None, severity.value)
        for severity in list(Severity)[::-1]
        for _ in range(30)
    ]
    lines = list(github_lines(Coco.of(clean_file()), findings, limit=40))
    assert [line[2:5] for line in lines] == ["err"] * 30 + ["war"] * 10


@given(st.text(), st.text(), st.text() | st.none())
def test_all_text_is_escaped_in_commands(message: str, name: str, file_name: str | None) -> None:
    finding = Finding("S001", name, Severity.ERROR, "file", None, message, file_name=file_name)
    (line,) = github_lines(Coco.of(clean_file()), [finding])
    assert printable(line[2:]) == line[2:]
    assert COMMAND.fullmatch(line, re.DOTALL.value) or COMMAND.fullmatch(line)
    data = line.split("::", 2)[2]
    about = f"{file_name}: " if file_name else ""
    assert data.replace("%25", "%") == printable(about + message)
