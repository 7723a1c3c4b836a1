"""Strategies as lists of stages."""

from __future__ import annotations

import pytest

from trashkit.errors import TrashkitError
from trashkit.pseudo.groups import stage_config
from trashkit.pseudo.strategies import STRATEGIES, Stage, Strategy, stages
from trashkit.settings.training import TrainConfig


def test_the_three_strategies_have_their_stages():
    assert [
        [(one.pseudo, one.start) for one in STRATEGIES[name].stages]
        for name in ("joint", "finetune", "joint-then-clean")
    ] == [
        [(True, "recipe")],
        [(True, "teacher")],
        [(True, "recipe"), (False, "joint")],
    ]


def test_changes_reach_only_their_stage():
    joint, clean = stages("joint-then-clean", ["clean.epochs=0.5", "joint.weight=0.25"], ramp=0.3)
    assert (joint.epochs, joint.weight, joint.ramp) == (1.0, 0.25, 0.3)
    assert (clean.epochs, clean.weight) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("strategy", "change", "message"),
    [
        ("jiont", [], 'strategy "jiont" is unknown; choices: joint'),
        ("joint", ["clean.epochs=1"], "joint.epochs"),
        ("joint", ["joint.epoch=1"], "joint.epochs"),
        ("joint", ["joint.epochs=many"], "must be a number"),
        ("joint", ["joint.epochs=0"], "cannot be 0"),
        ("joint", ["joint.epochs=nan"], "cannot be nan"),
        ("joint", ["joint.epochs=inf"], "cannot be inf"),
        ("joint", ["joint.ramp=2"], "cannot be 2"),
    ],
)
def test_mistakes_name_the_choices(strategy, change, message):
    with pytest.raises(TrashkitError, match=message):
        stages(strategy, change)


def test_settings_of_a_stage_are_shares_of_the_students():
    student = TrainConfig(epochs=20)
    (stage,) = stages("finetune", ["finetune.epochs=0.25", "finetune.rate=0.1"])
    made = stage_config(stage, student, "/runs/teacher")
    assert made.epochs == 5
    assert made.optimiser.lr == pytest.approx(student.optimiser.lr / 10)
    assert made.model.weights == "/runs/teacher"
    assert stage_config(stage, student.model_copy(update={"epochs": 1}), None).epochs == 1
    assert stage_config(stage, student, None).model == student.model


@pytest.mark.parametrize("name", STRATEGIES)
def test_without_options_stages_are_those_of_the_table(name):
    assert STRATEGIES[name].about
    assert stages(name) == STRATEGIES[name].stages
    assert any(stage.pseudo for stage in stages(name))


@pytest.mark.parametrize("name", STRATEGIES)
def test_options_and_changes_apply_to_every_strategy(name):
    table = STRATEGIES[name].stages
    made = stages(name, weight=0.5, ramp=0.3)
    assert [stage.weight for stage in made] == [0.5 * stage.weight for stage in table]
    assert {stage.ramp for stage in made} == {0.3}
    for position, stage in enumerate(table):
        changed = stages(name, [f"{stage.name}.epochs=0.125"])
        assert changed[position].epochs == 0.125
        assert [one for one in changed if one.name != stage.name] == [one for one in table if one.name != stage.name]
        settings = stage_config(stage, TrainConfig(epochs=10), None)
        assert settings.epochs >= 1
        assert settings.optimiser.lr > 0


def test_weight_and_ramp_of_the_table_are_kept(monkeypatch):
    gentle = Strategy("trains gently", (Stage("gentle", pseudo=True, start="recipe", weight=0.5, ramp=0.2),))
    monkeypatch.setattr("trashkit.pseudo.strategies.STRATEGIES", {**STRATEGIES, "gentle": gentle})
    assert stages("gentle") == stages("gentle", weight=1.0, ramp=0.0) == gentle.stages
    (stage,) = stages("gentle", weight=0.5, ramp=0.4)
    assert (stage.weight, stage.ramp) == (0.25, 0.4)
    assert stages("gentle", ["gentle.ramp=0"])[0].ramp == 0


@pytest.mark.parametrize(
    ("names_and_starts", "message"),
    [
        ([], "at least one stage"),
        ([("joint", "recipe"), ("joint", "recipe")], '"joint" is taken'),
        ([("teacher", "recipe")], '"teacher" is taken'),
        ([("joint", "joint")], 'stage joint cannot start from "joint"'),
        ([("joint", "clean"), ("clean", "recipe")], "choices: recipe, teacher"),
        ([("joint", "recipe"), ("clean", "jiont")], "choices: recipe, teacher, joint"),
    ],
)
def test_wrong_strategies_fail_at_import(names_and_starts, message):
    with pytest.raises(ValueError, match=message):
        Strategy("is wrong", tuple(Stage(name, pseudo=True, start=start) for name, start in names_and_starts))
