"""The train, runs and recipes commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.nn.models.networks import build, load_run_model, untrained_network
from trashkit.nn.models.weights import load_file_into
from trashkit.predictions.store import open_store
from trashkit.runs.run import read_run


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


def quick_options(quick) -> list[str]:
    return [word for assignment in [*quick, "epochs=1"] for word in ("--set", assignment)]


def test_a_dry_run_shows_the_plan_and_writes_nothing(drawn, quick, tmp_path):
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--dry-run",
             "--device", "cpu", *quick_options(quick)]  # fmt: skip
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert "epochs = 1" in done.stdout.splitlines()  # settings as a recipe has them, one a line
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)["runs"]
    assert plan["training_images"] + plan["validation_images"] == 12
    assert plan["settings"]["epochs"] == 1
    assert plan["parameters"] > 10_000
    assert 0 < plan["expected_seconds"] < 600
    assert any("no GPU" in choice or "as requested" in choice for choice in plan["choices"])
    assert list(tmp_path.iterdir()) == []


def test_settings_without_effect_are_reported(drawn, quick, tmp_path):
    idle = {
        "optimiser.freeze_epochs=5": "the encoder is never trained",
        "optimiser.layer_decay=0.5": "layer_decay has no effect",
        "schedule.encoder_warmup=0.1": "encoder_warmup has no effect",
        "class_weights=inverse": "class_weights has no effect",
        "loss=dice + lovasz": "",
        "data.batch_size=12": "",
        "data.size=4096": "GB of memory",
        "checkpoint=best": "without validation images no epoch",
    }
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--dry-run", "--json",
             "--device", "cpu", "--all-data"]  # fmt: skip
    done = run(*words, *quick_options(quick), *[word for setting in idle for word in ("--set", setting)])
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)["runs"]
    assert len(plan["remarks"]) == 6
    assert all(text in " ".join(plan["remarks"]) for text in idle.values())
    plain = run(*words, *quick_options(quick))
    assert json.loads(plain.stdout)["runs"][0]["remarks"] == []


@pytest.mark.slow
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
    assert "already exists" in refused.stderr
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
        (["--all-data", "--fold", "0"], "no images to validate on"),
        (["--device", "tpu"], "'tpu' is not one of"),
        (["--data", "nowhere.json"], "nowhere.json"),
        (["--images", "nowhere"], "nowhere does not exist"),
        (["--set", "model.weights=nowhere.pt"], "is not a file, a run folder"),
        (["--set", "model.architecture=dpt", "--set", "model.encoder=resnet18"], "dpt does not fit"),
        (["--dry-run", "--jobs", "many"], '--jobs is "many"'),
        (["--dry-run", "--track", "nobody"], 'tracker "nobody" is unknown'),
        (["--track", "none", "--track", "tensorboard"], "cannot be combined with other"),
        (["--resume", "--overwrite"], "--resume and --overwrite cannot be combined"),
        (["--dry-run", "--cache", __file__], "is a file"),
        (["--dry-run", "--out", __file__], "already exists"),
        (["--out", f"{__file__}/run"], "is a file"),
        (["--extra", "other.json:photos:-1"], "the weight is -1"),
        (["--out", "."], "--out is the current folder"),
        (["--cache", "run"], "is a run folder, not a cache"),
        (["--images", __file__], "is a file"),
        (["--set", "epochs=1000000"], "epochs: input should be less than or equal to 100000"),
        (["--set", "data.workers=1000"], "data.workers: input should be less than or equal to 128"),
        (["--suggest", "--dry-run"], "--suggest and --dry-run cannot be combined"),
        (["--seed", "1", "--set", "seed=2"], "--seed and --set seed=2 are the same setting"),
        (["--set", "optimiser.options.lr=3"], "lr is a setting, not an option"),
        (["--set", "optimiser.name=sgd", "--set", "optimiser.options.momentum=much"], "momentum='much'"),
        (["--set", "class_weights.Metal=-1"], "class_weights: input should be greater than or equal to 0, not -1"),
        (["--recipe", "tiny", "--recipe", "cpu-small", "--set", "epochs=0"], "tiny: epochs: input"),
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


def test_a_preview_replaces_no_input(drawn, tmp_path):
    shutil.copytree(drawn.parent, tmp_path / "data")
    photo = sorted((tmp_path / "data/photos").iterdir())[0]
    wrong = [photo, tmp_path / "data/ann.json", tmp_path / "data/photos"]
    for place in wrong:
        done = run("train", "--data", tmp_path / "data/ann.json", "--images", tmp_path / "data", "--device", "cpu",
                   "--preview", place, "--overwrite")  # fmt: skip
        assert done.exit_code == 2, done.output
    assert photo.read_bytes() == (drawn.parent / "photos" / photo.name).read_bytes()


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_hold_any_out(drawn, tmp_path, count):
    content = json.loads(drawn.read_text())
    content["images"] = content["images"][:count]
    kept = {image["id"] for image in content["images"]}
    content["annotations"] = [one for one in content["annotations"] if one["image_id"] in kept]
    few = tmp_path / "few.json"
    few.write_text(json.dumps(content))
    done = run("train", "--data", few, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu")
    assert done.exit_code == 2
    assert f"{count} images are too few" in done.stderr
    assert "--all-data" in done.stderr


@pytest.mark.parametrize(("fold", "message"), [("2", 'no fold "2"'), ("x", 'no fold "x"')])
def test_a_missing_fold_is_refused(drawn, tmp_path, fold, message):
    ids = [image["id"] for image in json.loads(drawn.read_text())["images"]]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"folds": [{"train": ids[6:], "val": ids[:6]}, {"train": ids[:6], "val": ids[6:]}]}))
    done = run("train", "--data", drawn, "--images", drawn.parent, "--split", split, "--fold", fold, "--out",
               tmp_path / "run", "--device", "cpu")  # fmt: skip
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_name_outside_the_folder_is_refused(draw_photos, tmp_path):
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


@pytest.mark.parametrize(
    ("setting", "text"),
    [
        ("loss=top-k(share=2)", "share of top-k must be from 0.0001 to 1, not 2"),
        ("loss=smooth-ce(smoothing=1.5)", "smoothing of smooth-ce must be from 0 to 0.99"),
        ("loss=0*ce", "all weights are 0"),
        ("loss=boundary(width=2.5)", "width of boundary must be a whole number"),
        ("class_weights=inverse(limit=0)", "limit of inverse must be from 1"),
        ("class_weights=effective(beta=1)", "beta of effective"),
        ("optimiser.lr=inf", "optimiser.lr: input should be a finite number"),
        ("optimiser.options.momentum=0.9", 'optimiser.options "momentum" is unknown'),
        ("schedule.growth=1e200", "schedule.growth: input should be less than or equal to 10"),
        ("model.options={decoder_shape = 3}", 'model.options "decoder_shape" is unknown'),
        ("data.batch_size=abc", "data.batch_size: input should be a valid integer"),
    ],
)
def test_invalid_settings_are_refused_before_anything_is_written(drawn, quick, tmp_path, setting, text):
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu"]
    done = run(*words, *quick_options(quick), "--set", setting)
    assert done.exit_code == 2 or isinstance(done.exception, TrashkitError)
    assert text in str(done.exception) + done.output
    assert "settings are wrong" not in str(done.exception)  # one mistake is one
    assert list(tmp_path.iterdir()) == []


def test_options_of_the_optimiser_may_be_pairs(drawn, quick, tmp_path):
    words = ["train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu"]
    assert run(*words, *quick_options(quick), "--set", "optimiser.options.betas=[0.8, 0.9]").exit_code == 0
    done = run(*words, *quick_options(quick), "--set", "optimiser.options.betas=[0.8, 0.9]", "--resume")
    assert done.exit_code == 0 and "already complete" in done.output


def test_weights_of_all_recipes_are_available_before_the_first_trains(drawn, quick, tmp_path, monkeypatch):
    def missing(spec, source="none"):
        if source == "hub":
            raise TrashkitError("weights cannot be fetched", hint="")
        return build(spec, source)

    monkeypatch.setattr("trashkit.nn.experiments.folds.build", missing)
    other = tmp_path / "other.toml"
    other.write_text('model.encoder = "resnet18"\nmodel.weights = "hub"\n')
    first = tmp_path / "first.toml"
    first.write_text('model.encoder = "tu-test_efficientnet"\nmodel.weights = "none"\n')
    done = run(
        "train", "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "run", "--device", "cpu",
        "--recipe", first, "--recipe", other, "--set", "data.size=64", "--set", "epochs=1",
    )  # fmt: skip
    assert "cannot be fetched" in str(done.exception) + done.output
    assert not (tmp_path / "run").exists()


def test_a_run_with_other_classes_gives_all_weights_except_the_last_layer(whole):
    model = load_run_model(whole.path)
    others = ("Background", *reversed(model.class_names[1:]))
    _, same = weights_of_run(model, whole.path, model.class_names)
    changed, other = weights_of_run(model, whole.path, others)
    assert same.startswith("all weights from") and other.startswith("all weights except the last layer")
    assert not torch.equal(
        changed["segmentation_head.0.weight"], model.network.state_dict()["segmentation_head.0.weight"]
    )


def weights_of_run(model, source, names):
    network = untrained_network(model.spec)
    said = load_file_into(network, network.encoder, source, names)
    return network.state_dict(), said
