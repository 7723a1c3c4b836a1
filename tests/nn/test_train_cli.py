"""The train, runs and recipes commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.run import read_run
from trashkit.store import open_store


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def quick_options(quick) -> list[str]:
    return [word for assignment in [*quick, "epochs=1"] for word in ("--set", assignment)]


def test_dry_run_says_all_and_writes_nothing(drawn, quick, tmp_path):
    done = run("train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--dry-run", "--json",
               "--device", "cpu", *quick_options(quick))  # fmt: skip
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)["runs"]
    assert plan["training_images"] + plan["validation_images"] == 12
    assert plan["settings"]["epochs"] == 1
    assert plan["parameters"] > 10_000
    assert any("no GPU" in choice or "asked for" in choice for choice in plan["choices"])
    assert list(tmp_path.iterdir()) == []


def test_all_folds_of_a_split_and_the_list_of_runs(drawn, quick, tmp_path):
    split = tmp_path / "split.json"
    ids = [image["id"] for image in json.loads(drawn.read_text())["images"]]
    folds = [{"train": ids[6:], "val": ids[:6]}, {"train": ids[:6], "val": ids[6:]}]
    split.write_text(json.dumps({"folds": folds}))
    words = ["train", "--data", drawn, "--images", drawn.parent, "--split", split, "--fold", "all", "--device", "cpu",
             "--recipe", "tiny", *quick_options(quick), "--out", tmp_path / "runs"]  # fmt: skip
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    made = json.loads(done.stdout)["runs"]
    assert [Path(one["path"]).relative_to(tmp_path) for one in made] == [
        Path("runs/tiny/fold-0"),
        Path("runs/tiny/fold-1"),
    ]
    assert "next: trashkit score" in done.stderr
    for one in made:
        assert one["choice"]["chosen"] == one["checkpoint"]
        scores = {candidate["name"]: candidate["miou"] for candidate in one["choice"]["candidates"]}
        others = [score for name, score in scores.items() if name != one["checkpoint"]]
        assert one["choice"]["margin"] == pytest.approx(one["miou"] - max(others), abs=1e-9)
    assert list(open_store(tmp_path / "runs/tiny/oof").image_ids) == ids
    assert list(read_run(tmp_path / "runs/tiny/fold-1").manifest["identity"]["validation images"]) == ids[6:]
    assert not (tmp_path / ".runs.cache").exists()

    refused = run(*words)
    assert refused.exit_code == 2
    assert "exists already" in refused.stderr
    again = run(*words, "--resume", "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["runs"] == made

    listed = json.loads(run("runs", tmp_path, "--json").stdout)["runs"]
    assert len(listed) == 2
    assert listed[0]["miou"] >= listed[1]["miou"]
    assert run("runs", tmp_path).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--set", "optimiser.lr=fast", "--set", "epocs=3"], "2 settings are wrong"),
        (["--recipe", "cpu-smal"], 'recipe "cpu-smal" is unknown; choices: cpu-small'),
        (["--fold", "0"], "--fold needs --split"),
        (["--all-data", "--fold", "0"], "nothing to validate on"),
        (["--device", "tpu"], 'no device "tpu"'),
        (["--data", "nowhere.json"], "nowhere.json"),
        (["--images", "nowhere"], "nowhere does not exist"),
        (["--set", "model.weights=nowhere.pt"], "no file or run folder"),
        (["--set", "model.architecture=dpt", "--set", "model.encoder=resnet18"], "dpt does not go with"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(drawn, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    usual = {"--data": str(drawn), "--images": str(drawn.parent), "--out": "run", "--device": "cpu"}
    given = [word for key, value in usual.items() if key not in words for word in (key, value)]
    done = run("train", *given, "--set", "model.weights=none", *words)
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.stderr.split())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("fold", "message"), [("2", 'no fold "2"'), ("x", 'no fold "x"')])
def test_a_fold_that_is_not_there(drawn, tmp_path, fold, message):
    ids = [image["id"] for image in json.loads(drawn.read_text())["images"]]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"folds": [{"train": ids[6:], "val": ids[:6]}, {"train": ids[:6], "val": ids[6:]}]}))
    done = run("train", "--data", drawn, "--images", drawn.parent, "--split", split, "--fold", fold, "--out",
               tmp_path / "run", "--device", "cpu")  # fmt: skip
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_name_that_leaves_the_folder(draw_photos, tmp_path):
    annotations = draw_photos(tmp_path / "data", 6)
    annotations.write_text(annotations.read_text().replace('"photos/', '"../data/photos/', 1))
    done = run("train", "--data", annotations, "--images", tmp_path / "data", "--out", tmp_path / "run", "--device",
               "cpu", "--set", "model.weights=none")  # fmt: skip
    assert done.exit_code == 2
    assert "leaves the image folder" in done.stderr
    assert not (tmp_path / "run").exists()


def test_recipes_are_listed_and_shown():
    listed = json.loads(run("recipes", "--json").stdout)["recipes"]
    assert {"cpu-small", "tiny", "fpn-efficientnetv2-l"} <= {recipe["name"] for recipe in listed}
    shown = run("recipes", "show", "cpu-small")
    assert shown.exit_code == 0
    assert "encoder_lr_ratio = 0.2" in shown.stdout
    assert run("recipes", "show", "nonsense").exit_code == 2
