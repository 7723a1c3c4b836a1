"""Commands in a folder with a project file: what they take from it, and what they say about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import typer.main
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.cli.project import USES, ProjectCommand, _shortened
from trashkit.cli.suffixes import command_key

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def coco(first: int, number: int, *, labels: bool = True) -> dict[str, Any]:
    ids = range(first, first + number)
    return {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 48} for n in ids],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1 + n % 2, "segmentation": [SQUARE], "area": 400,
             "bbox": [10, 10, 20, 20], "iscrowd": 0}
            for n in ids if labels
        ],
        "categories": [{"id": 1, "name": "can"}, {"id": 2, "name": "bag"}],
    }  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in the working folder: twelve labelled photos, three without labels."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    rng = np.random.default_rng(0)
    for n in range(1, 16):
        cv2.imwrite(f"photos/{n}.jpg", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
    Path("train.json").write_text(json.dumps(coco(1, 12)))
    Path("test.json").write_text(json.dumps(coco(13, 3, labels=False)))
    Path("trashkit.toml").write_text(
        '[project]\ndata = "train.json"\nimages = "photos"\ntest = "test.json"\nclasses = "own"\ngroups = "regex:^.*"\n'
    )
    return tmp_path


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def leaves() -> Iterator[ProjectCommand]:
    def walk(command: Any) -> Iterator[Any]:
        children = getattr(command, "commands", None)
        if children is None:
            yield command
        for child in (children or {}).values():
            yield from walk(child)

    yield from walk(typer.main.get_command(app))


def test_every_row_of_the_table_is_a_command_with_these_parameters() -> None:
    found = {command_key(one.callback): {p.name for p in one.params} for one in leaves() if one.callback}
    renamed = {"truth", "data"}  # one parameter under either name
    for key, row in USES.items():
        missing = set(row) - found[key]
        assert missing <= renamed and not renamed <= missing, key
        assert "project" in found[key], key
    assert all(("project" in names) == (key in USES) for key, names in found.items())


def test_audit_needs_no_option_and_says_what_it_used(project: Path) -> None:
    result = run("audit", "--json", "--select", "L,S", "--fail-on", "never")
    assert result.exit_code == 0, result.output
    line = "using trashkit.toml: data train.json, images photos, test test.json\n"
    assert result.stderr.count("using ") == 1 and line in result.stderr
    values = {"data": "train.json", "images": "photos", "test": "test.json"}
    assert json.loads(result.stdout)["project"] == {"file": "trashkit.toml", "values": values}
    assert json.loads(result.stdout)["summary"]["images"] == 12


def test_a_subfolder_is_in_the_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    below = project / "사진"
    below.mkdir()
    monkeypatch.chdir(below)
    result = run("split", "--trials", 1000, "--test", "../test.json", "--encoder", "none", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["project"] == {
        "file": "../trashkit.toml",
        "values": {"data": "../train.json", "images": "../photos", "groups": ["regex:^.*"], "classes": "own",
                   "out": "../runs/split.json"},
    }  # fmt: skip
    assert (project / "runs/split.json").is_file()
    assert run("split", "--trials", 1000).exit_code == 2  # never overwritten
    assert "already exists" in run("split", "--trials", 1000).stderr


def test_options_win_and_none_uses_no_file(project: Path) -> None:
    other = coco(1, 4)
    Path("other.json").write_text(json.dumps(other))
    result = run("audit", "other.json", "--json", "--fail-on", "never")
    assert json.loads(result.stdout)["summary"]["images"] == 4
    assert json.loads(result.stdout)["project"]["values"] == {"images": "photos", "test": "test.json"}
    result = run("audit", "other.json", "--json", "--fail-on", "never", "--project", "none")
    assert result.exit_code == 0 and "project" not in json.loads(result.stdout) and "using" not in result.stderr
    assert run("audit", "--project", "none").exit_code == 2
    # a file that the command line names is not compared with itself
    result = run("audit", "test.json", "--json", "--fail-on", "never")
    assert json.loads(result.stdout)["project"]["values"] == {"images": "photos"}


@pytest.mark.parametrize("option", ["--project", "--config"])
def test_another_file_is_named_by_project_and_by_its_earlier_name(project: Path, option: str) -> None:
    Path("sub").mkdir()
    Path("sub/mine.toml").write_text('[project]\ndata = "../train.json"\n[audit]\nrare_category = 50\n')
    result = run("audit", option, "sub/mine.toml", "--select", "S022", "--fail-on", "never", "--json")
    assert "using sub/mine.toml: data sub/../train.json, audit settings\n" in result.stderr
    assert json.loads(result.stdout)["summary"]["findings"] == 2
    assert "Earlier name" not in run("audit", "--help").output


def test_audit_settings_of_a_file_without_project_are_used_as_before(project: Path) -> None:
    Path("trashkit.toml").write_text("[audit]\nrare_category = 50\n")
    result = run("audit", "train.json", "--select", "S022", "--json", "--fail-on", "never")
    assert json.loads(result.stdout)["summary"]["findings"] == 2
    assert "using trashkit.toml: audit settings\n" in result.stderr
    assert run("train", "--dry-run").exit_code == 2  # no data


def parsed(command: str, *words: object) -> dict[str, Any]:
    """The parameters of a command after parsing, without running it."""
    found: Any = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]
    params: dict[str, Any] = found.make_context(command, [str(word) for word in words]).params
    return params


def test_train_takes_the_split_of_the_project_once_there_is_one(project: Path) -> None:
    assert parsed("train", "--recipe", "tiny")["split"] is None
    Path("runs").mkdir()
    Path("runs/split.json").write_text("{}")
    taken = parsed("train", "--recipe", "tiny")
    assert (taken["data"], taken["images"], taken["classes"]) == (Path("train.json"), Path("photos"), "own")
    assert (taken["split"], taken["out"]) == (Path("runs/split.json"), Path("runs/tiny"))
    assert parsed("train", "--all-data")["split"] is None
    assert parsed("train", "--fold", "all")["out"] == Path("runs/folds")
    assert parsed("train", "--recipe", "mine/a.toml", "--recipe", "tiny")["out"] == Path("runs/folds")
    assert parsed("train", "--out", "x")["out"] == Path("x")
    assert parsed("train", "--preview", "x.png")["out"] is None


def test_predict_writes_into_a_run_of_the_project_only(project: Path) -> None:
    Path("runs/a").mkdir(parents=True)
    Path("elsewhere").mkdir()
    taken = parsed("predict", "runs/a")
    assert (taken["data"], taken["images"], taken["out"]) == (Path("test.json"), Path("photos"), Path("runs/a/test"))
    assert parsed("predict", "elsewhere")["out"] is None
    assert parsed("predict", "runs/a", "runs/a")["out"] is None
    taken = parsed("predict", "runs/a", "photos", "--overlay", "seen")
    assert (taken["data"], taken["images"], taken["out"]) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param('data = "none.json"', "data = none.json does not exist", id="missing"),
        pytest.param('data = "photos"', "data = photos is a folder", id="folder"),
        pytest.param('data = "train.json"\nimages = "test.json"', "images = test.json is a file", id="photos"),
        pytest.param('dota = "x"', "did you mean data?", id="key"),
    ],
)
def test_a_wrong_value_is_one_line(project: Path, text: str, words: str) -> None:
    Path("trashkit.toml").write_text(f"[project]\n{text}\n")
    result = run("audit")
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("error: trashkit.toml: ") and words in result.stderr
    assert result.stderr.count("\n") == 2


def test_a_file_that_no_command_uses_need_not_exist(project: Path) -> None:
    Path("trashkit.toml").write_text('[project]\ndata = "train.json"\nsample = "none.csv"\ntest = "none.json"\n')
    assert run("audit", "--against", "test.json", "--fail-on", "never").exit_code == 0


def test_outputs_of_a_project_stay_inside_its_folder(project: Path) -> None:
    Path("trashkit.toml").write_text('[project]\ndata = "train.json"\nruns = "../elsewhere"\n')
    result = run("split", "--trials", 1000)
    assert result.exit_code == 2 and "outside of the folder of the file" in result.stderr
    assert run("split", "--trials", 1000, "--out", "split.json").exit_code == 0
    assert not Path("../elsewhere").exists()


def test_commands_without_a_row_ignore_the_file(project: Path) -> None:
    Path("trashkit.toml").write_text("broken [")
    assert run("recipes", "list").exit_code == 0
    assert run("split", "--help").exit_code == 0
    assert "is not TOML" in run("split", "--trials", 10).stderr


def test_next_commands_leave_out_what_the_project_gives(project: Path) -> None:
    result = run("audit", "--select", "G", "--fail-on", "never")
    assert result.exit_code == 0 and result.stdout.endswith("next: trashkit split\n")
    Path("sub").mkdir()
    Path("sub/mine.toml").write_text('[project]\ndata = "../train.json"\n')
    result = run("audit", "--select", "G", "--fail-on", "never", "--project", "sub/mine.toml")
    assert result.stdout.endswith("next: trashkit split --project sub/mine.toml\n")
    result = run("audit", "--select", "G", "--fail-on", "never", "train.json", "--project", "none")
    assert result.stdout.endswith("next: trashkit split train.json --out split.json\n")


@pytest.mark.parametrize(
    ("words", "shorter"),
    [
        pytest.param("fix train.json --diff", "fix --diff", id="argument"),
        pytest.param("fix other.json --images photos --diff", "fix other.json --diff", id="other-argument"),
        pytest.param("submit runs/a/test --data TEST.json --out submission.csv", "submit runs/a/test", id="submit"),
        pytest.param(
            "submit check a.csv --data test.json --profile png", "submit check a.csv --profile png", id="check"
        ),
        pytest.param("train --data train.json --images elsewhere", "train --images elsewhere", id="train"),
        pytest.param("train --fold all --out runs/folds", "train --fold all", id="folder-of-folds"),
        pytest.param("train --recipe tiny --out runs/tiny", "train --recipe tiny", id="folder-of-the-recipe"),
        pytest.param("train --recipe tiny --out runs/folds", "train --recipe tiny --out runs/folds", id="other-folder"),
        pytest.param("edits diff train.json b.json", "edits diff train.json b.json", id="no-row"),
    ],
)
def test_words_that_a_project_gives_are_left_out(project: Path, words: str, shorter: str) -> None:
    from trashkit.settings.project import read_project

    assert " ".join(map(str, _shortened(read_project(Path("trashkit.toml")), False, words.split()))) == shorter


def test_next_commands_do_not_lead_to_outputs_that_exist(project: Path) -> None:
    from trashkit.settings.project import read_project

    found = read_project(Path("trashkit.toml"))
    words = ["submit", "runs/a/test", "--data", "TEST.json", "--out", "submission.csv"]
    assert " ".join(map(str, _shortened(found, False, words))) == "submit runs/a/test"
    Path("runs").mkdir(exist_ok=True)
    Path("runs/submission.csv").write_text("")
    assert " ".join(map(str, _shortened(found, False, words))) == "submit runs/a/test --out runs/submission-2.csv"
