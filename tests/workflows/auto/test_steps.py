"""Plans and their steps: every one can be typed, and a plan that was written is read as it was."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from trashkit.errors import TrashkitError
from trashkit.workflows.auto.inputs import AutoRequest
from trashkit.workflows.auto.options import OPTIONS, predictions
from trashkit.workflows.auto.plan import PLAN, Plan, read_plan, write_plan
from trashkit.workflows.auto.steps import all_steps, unlabelled_photos, verdict

from .conftest import CHOICES, plan_of

ALL = {"views": "flip", "presence": "3", "touching": "50"}
SEVERAL = replace(CHOICES, recipes=("tiny", "cpu-small"))


def load_reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference", Path(__file__).parents[3] / "scripts" / "reference.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


reference = load_reference()


def with_everything(request: AutoRequest) -> Plan:
    extra, groups = ("other.json:photos:0.5", "more.json:photos"), ("folder",)
    Path("other.json").write_bytes(Path("train.json").read_bytes())
    Path("more.json").write_bytes(Path("train.json").read_bytes())
    full = replace(request, extra=extra, groups=groups, classes="own", unsafe=True, device="cpu")
    return replace(plan_of(full, SEVERAL), skipped={})


@pytest.mark.parametrize("decided", [{}, ALL, {**ALL, "weights": "fitted"}], ids=["none", "all", "all and weights"])
def test_every_step_can_be_typed(request_: AutoRequest, decided: dict[str, str]) -> None:
    for plan in (plan_of(request_), with_everything(request_), plan_of(replace(request_, test=None, sample=None))):
        for step in all_steps(plan, {name: value for name, value in decided.items() if name not in plan.skipped}):
            assert not list(reference.wrong_example(step.typed())), step.typed()


def test_steps_come_after_what_they_read(request_: AutoRequest) -> None:
    for plan in (plan_of(request_), with_everything(request_)):
        for decided in ({}, ALL):
            before: set[str] = set()
            for step in all_steps(plan, decided):
                assert set(step.after) <= before, step.name
                before.add(step.name)


def test_a_step_names_the_files_that_earlier_ones_made(request_: AutoRequest) -> None:
    """Whatever lies in the folder of results was made by a step that the reader comes after."""
    plan = with_everything(request_)
    makers = {str(path): step.name for step in all_steps(plan, ALL) for path in step.makes}
    for step in all_steps(plan, ALL):
        made = {makers[word] for word in step.words if word in makers} - {step.name}
        indirect = {name for one in all_steps(plan, ALL) if one.name in step.after for name in one.after}
        assert made <= {*step.after, *indirect}, step.name


def test_what_is_taken_is_applied_to_photos_without_labels(request_: AutoRequest) -> None:
    plan = plan_of(request_)
    photos = unlabelled_photos(plan)
    assert photos is not None
    stores = predictions(plan, photos, ALL)
    assert stores.paths == (Path("runs/auto/test-flip-presence-3-touching-50"),)
    assert [step.words[0] for step in stores.steps] == ["predict", "presence", "postprocess", "postprocess"]
    plain = predictions(plan, photos, {})
    assert plain.paths == (Path("runs/auto/test"),)


def test_fitted_weights_are_transferred_to_photos_without_labels(request_: AutoRequest) -> None:
    plan = with_everything(request_)
    photos = unlabelled_photos(plan)
    assert photos is not None
    stores = predictions(plan, photos, {"views": "flip", "weights": "fitted"})
    assert stores.paths == (Path("runs/auto/test-flip-weighted"),)
    mix = stores.steps[-1].words
    assert mix[mix.index("--like") + 1] == "runs/auto/oof-flip-weighted"
    mean = predictions(plan, photos, {}).steps[-1].words
    assert mean[0] == "ensemble"
    assert "--like" not in mean


def test_photos_of_a_folder_are_listed_first(request_: AutoRequest) -> None:
    plan = plan_of(replace(request_, test=None))
    steps = {step.name: step for step in all_steps(plan, {})}
    assert steps["list"].words[:2] == ("data", "list")
    assert "runs/auto/photos.json" in steps["predict test"].words
    assert "submit" not in steps  # nothing says in which form
    assert plan.inputs.unlabelled == 3


def test_without_photos_to_predict_it_ends_with_the_scores(request_: AutoRequest) -> None:
    for n in range(3):
        Path(f"photos/test{n}.png").unlink()
    names = [step.name for step in all_steps(plan_of(replace(request_, test=None)), {})]
    assert names[-1] == "page"
    assert not [name for name in names if "test" in name or name in ("list", "overlays", "submit")]


def test_steps_of_a_project_take_nothing_more_from_its_file(request_: AutoRequest) -> None:
    plan = plan_of(replace(request_, project="trashkit.toml"))
    steps = {step.name: step.typed() for step in all_steps(plan, {})}
    assert "--project trashkit.toml" in steps["audit"]
    assert "--project none" in steps["split"]


def test_a_launcher_starts_what_trains_and_predicts(request_: AutoRequest) -> None:
    plan = plan_of(replace(request_, launch="accelerate launch"))
    launched = [step.typed("accelerate launch").split() for step in all_steps(plan, {}) if step.launched]
    assert {words[4] for words in launched} == {"train", "predict"}
    assert all(words[:4] == ["accelerate", "launch", "-m", "trashkit"] for words in launched)


def test_names_of_options_are_different() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)


# --- the file --------------------------------------------------------------------------------------------------------


def test_a_plan_is_read_as_it_was_written(request_: AutoRequest) -> None:
    plan = with_everything(request_)
    write_plan(plan, all_steps(plan, {}))
    assert read_plan(plan.out) == plan
    content = json.loads((plan.out / PLAN).read_text(encoding="utf-8"))
    assert [one["command"].split()[0] for one in content["steps"]] == ["trashkit"] * len(content["steps"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"version": 99}, "newer trashkit", id="newer"),
        pytest.param({"format": "other"}, "another kind of file", id="other file"),
        pytest.param({"choices": {}}, "damaged", id="missing keys"),
    ],
)
def test_a_plan_that_cannot_be_used_is_refused(request_: AutoRequest, change: dict[str, object], message: str) -> None:
    plan = plan_of(request_)
    write_plan(plan, [])
    path = plan.out / PLAN
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}), encoding="utf-8")
    with pytest.raises(TrashkitError, match=message):
        read_plan(plan.out)


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        *[("choices", key, 0) for key in ("size", "folds", "epochs", "rate")],
        *[("choices", key, 10**12) for key in ("size", "folds", "epochs", "jobs", "rate", "start")],
        *[("choices", "recipes", value) for value in ([], [""], [".."], ["a/"], ["a\0b"])],
        *[("choices", key, float("nan")) for key in ("rate", "start")],
        ("request", "data", "--html=elsewhere"),
        ("request", "images", "a\0b"),
        ("request", "minutes", float("inf")),
        ("inputs", "roles", {}),
        ("inputs", "labelled", -1),
    ],
)
def test_values_that_no_plan_has_are_refused(request_: AutoRequest, table: str, key: str, value: object) -> None:
    plan = plan_of(request_)
    write_plan(plan, [])
    path = plan.out / PLAN
    content = json.loads(path.read_text(encoding="utf-8"))
    content[table][key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(TrashkitError, match=rf"plan\.json is damaged: at {table}.*{key}|missing required field"):
        all_steps(read_plan(plan.out), {})


# --- verdicts --------------------------------------------------------------------------------------------------------


def test_the_verdict_of_a_comparison() -> None:
    option = next(one for one in OPTIONS if one.name == "presence")
    result = {
        "a": {"miou": 0.5},
        "candidates": [{"path": f"s{n}", "miou": 0.5 + n / 100} for n in range(3)],
        "best": "s2",
        "gain": 0.018,
        "interval": [0.004, 0.03],
        "evidence": True,
    }
    found = verdict(option, result)
    assert (found["value"], found["taken"], found["gain"]) == ("3", True, 0.018)
    assert not verdict(option, {**result, "evidence": False})["taken"]


def test_the_verdict_of_a_fit_is_its_own() -> None:
    option = next(one for one in OPTIONS if one.fitted)
    candidates = [
        {"name": "mean", "miou": 0.6, "gain": 0.0, "interval": [0, 0], "mix": {}},
        {"name": "a/oof", "miou": 0.7, "gain": 0.1, "interval": [0.05, 0.2], "mix": None},
        {"name": "greedy", "miou": 0.61, "gain": 0.01, "interval": [-0.01, 0.02], "mix": {}},
        {"name": "geometric", "miou": 0.62, "gain": 0.02, "interval": [0.01, 0.03], "mix": {}},
    ]
    found = verdict(option, {"fit": {"chosen": "geometric", "candidates": candidates}})
    assert (found["taken"], found["gain"], found["base"]) == (True, 0.02, 0.6)
    kept = verdict(option, {"fit": {"chosen": "mean", "candidates": candidates}})
    assert not kept["taken"]
