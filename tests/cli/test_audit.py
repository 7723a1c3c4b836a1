"""The command `trashkit audit`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from trashkit.audit.example import clean_file
from trashkit.cli.app import app


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, words)])


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    coco = clean_file()
    coco["annotations"][0]["segmentation"] = [[70, 50, 150, 130, 150, 50, 70, 140]]
    coco["annotations"][1]["area"] = 1
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(coco))
    return path


def findings(result: Result) -> list[dict[str, Any]]:
    return list(json.loads(result.stdout)["findings"])


def test_only_json_is_on_stdout_and_errors_exit_with_1(broken: Path) -> None:
    before = broken.read_bytes()
    result = run(broken, "--json")
    assert result.exit_code == 1
    made = json.loads(result.stdout)
    assert made["summary"]["images"] == 12 and made["summary"]["by_code"]["G003"] == 1
    assert {f["code"] for f in made["findings"]} >= {"G003", "G022"}
    assert "next: trashkit fix" in result.stderr
    assert broken.read_bytes() == before


def test_fail_on_select_and_ignore_decide_the_exit_code(broken: Path) -> None:
    assert run(broken, "--fail-on", "never").exit_code == 0
    assert run(broken, "--select", "G022").exit_code == 0
    assert run(broken, "--select", "G022", "--fail-on", "warning").exit_code == 1
    assert run(broken, "--ignore", "G003,G022,G023").exit_code == 0
    assert run(broken, "--select", "nonsense").exit_code == 2


def test_the_table_counts_and_shows_the_worst_case(broken: Path) -> None:
    result = run(broken)
    assert "G003" in result.stdout and "invalid-ring" in result.stdout and "next: trashkit fix" in result.stdout


def test_a_clean_file_passes_and_the_next_command_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "clean.json"
    path.write_text(json.dumps(clean_file()))
    result = run(path, "--fail-on", "warning")
    assert result.exit_code == 0
    assert "0 findings" in result.stdout and "next: trashkit split" in result.stdout


def test_explain_needs_no_file(broken: Path) -> None:
    assert "make_valid" in run("--explain", "G003").stdout
    assert json.loads(run("--explain", "G003", "--json").stdout)["checks"][0]["name"] == "invalid-ring"
    assert run("--explain", "Q1").exit_code == 2
    assert run().exit_code == 2


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"images": [', "\x00\x01", '{"images": [], "images"'])
def test_invalid_json_exits_with_2(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    result = run(path, "--json")
    assert result.exit_code == 2 and "Traceback" not in result.stderr and result.stdout == ""


def test_missing_blocks_are_findings(tmp_path: Path) -> None:
    path = tmp_path / "bare.json"
    path.write_text("{}")
    result = run(path, "--json")
    assert result.exit_code == 1 and [f["code"] for f in findings(result)] == ["S003"] * 3


def test_a_baseline_hides_known_findings(broken: Path) -> None:
    assert run(broken, "--baseline", "known.json").exit_code == 2
    assert run(broken, "--baseline", "known.json", "--write-baseline").exit_code == 0
    assert run(broken, "--baseline", "known.json", "--json").exit_code == 0
    coco = json.loads(broken.read_text())
    coco["annotations"][5]["image_id"] = 77
    broken.write_text(json.dumps(coco))
    result = run(broken, "--baseline", "known.json", "--json")
    assert result.exit_code == 1
    assert [f["code"] for f in findings(result)] == ["S013"]
    assert json.loads(result.stdout)["summary"]["known"] >= 2
    assert run(broken, "--write-baseline").exit_code == 2


def test_settings_and_waivers_come_from_the_current_folder(broken: Path) -> None:
    Path("trashkit.toml").write_text(
        '[audit]\narea_share = 1e9\nbbox_edge = 1e9\n[[audit.waivers]]\ncode = "G003"\nannotation_id = 1\n'
        'reason = "so"\n'
    )
    result = run(broken, "--json", "--ignore", "G051")
    assert result.exit_code == 0 and findings(result) == []
    assert json.loads(result.stdout)["summary"]["waived"] == 1
    Path("other.toml").write_text("[audit]\nnonsense = 1\n")
    assert run(broken, "--config", "other.toml").exit_code == 2


def test_github_annotations_name_file_and_line(broken: Path) -> None:
    result = run(broken, "--format", "github")
    assert result.exit_code == 1
    assert any(line.startswith("::error file=") and "G003" in line for line in result.stdout.splitlines())


def test_an_existing_html_file_is_refused(broken: Path) -> None:
    assert run(broken, "--html", "page.html").exit_code == 1
    assert Path("page.html").read_text().startswith("<!")
    assert run(broken, "--html", "page.html").exit_code == 2
    assert run(broken, "--html", "page.html", "--overwrite").exit_code == 1


def test_the_other_file_is_searched_for_the_same_names(broken: Path, tmp_path: Path) -> None:
    other = clean_file()
    other["images"] = other["images"][:2]
    (tmp_path / "test.json").write_text(json.dumps(other))
    result = run(broken, "--against", "test.json", "--select", "S036", "--json")
    assert [f["row"] for f in findings(result)] == [0, 1]


@pytest.mark.parametrize("way", [[], ["--format", "github"], ["--json"], ["--html", "page.html"], ["--baseline", "b"]])
def test_control_characters_of_the_file_do_not_reach_the_terminal(
    way: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    coco = clean_file()
    coco["images"][0]["file_name"] = coco["images"][1]["file_name"] = "\ud800\x1b[2J\x9b31m\u202e.jpg"
    coco["categories"][1]["name"] = "\x1b]0;title\x07\ud801"
    coco["annotations"][0]["id"] = "\x1b[31m\n::error::forged"
    coco["annotations"][0]["area"] = coco["images"][1]["width"] = 1
    Path("ann.json").write_text(json.dumps(coco))
    if "--baseline" in way:
        assert run("ann.json", *way, "--write-baseline").exit_code == 0
    result = run("ann.json", *way)
    assert result.exit_code == (0 if "--baseline" in way else 1), result.output
    assert not set(result.stdout + result.stderr) & {"\x1b", "\x9b", "\x07", "\u202e"} or way == ["--json"]
    assert not re.search("^::error::forged", result.stdout, re.MULTILINE)


def test_a_finding_without_ids_names_its_row_on_github(tmp_path: Path) -> None:
    coco = clean_file()
    coco["categories"][2]["id"] = 2
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(coco))
    assert "::categories[2]: " in run(path, "--format", "github", "--select", "S012").stdout


def test_the_next_command_depends_on_the_findings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = {
        "trashkit fix ann.json --diff": lambda coco: coco["annotations"][0].update(area=-5),
        "trashkit fix ann.json --unsafe --diff": lambda coco: coco["annotations"][0].update(image_id=99),
        "trashkit audit --explain S012": lambda coco: coco["categories"].append({"id": 1, "name": "x"}),
        "trashkit split ann.json --out split.json": lambda coco: coco["images"][0].update(license=None),
    }
    for words, breaks in wanted.items():
        coco = clean_file()
        breaks(coco)
        Path("ann.json").write_text(json.dumps(coco))
        assert f"next: {words}\n" in run("ann.json").stdout
    Path("ann.json").write_text(json.dumps(clean_file()).replace('"area": 4', '"area": -4', 1))
    (finding,) = [one for one in findings(run("ann.json", "--json")) if one["code"] == "S007"]
    assert "is negative" in finding["message"] and finding["fix"] == "safe"


def test_no_check_left_and_a_misspelt_table_are_errors(broken: Path) -> None:
    result = run(broken, "--select", "G", "--ignore", "G")
    assert result.exit_code == 2 and "there are no checks to run" in result.stderr
    Path("trashkit.toml").write_text("[audits]\ntiny_area = 3\n")
    result = run(broken)
    assert result.exit_code == 2 and "[audits] is not a known table" in result.stderr
    Path("trashkit.toml").write_text("[tool]\nx = 3\n")
    assert run(broken).exit_code == 1
    assert run("--explain", "S0012").stderr.count("S001") == 1


def test_a_repeated_list_must_be_fixed_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    coco = clean_file()
    coco["annotations"][0]["area"] = 1
    again = json.dumps(coco)[:-1] + ', "annotations": ' + json.dumps(coco["annotations"]) + "}"
    Path("ann.json").write_text(again)
    result = run("ann.json")
    assert "S002" in result.stdout and "next: trashkit audit --explain S002\n" in result.stdout
    for words in (["fix", "ann.json", "--diff"], ["edits", "diff", "ann.json", "ann.json", "--out", "log.jsonl"]):
        refused = CliRunner().invoke(app, words)
        assert refused.exit_code == 2 and '"annotations" more than once' in refused.stderr
