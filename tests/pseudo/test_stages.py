"""Strategies as lists of stages."""

from __future__ import annotations

import pytest

from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.pseudo.stages import STRATEGIES, stage_config, stages


def test_the_three_strategies_are_what_they_are_called():
    assert [
        [(one.pseudo, one.start) for one in STRATEGIES[name]] for name in ("joint", "finetune", "joint-then-clean")
    ] == [
        [(True, "recipe")],
        [(True, "teacher")],
        [(True, "recipe"), (False, "joint")],
    ]


def test_changes_reach_their_stage_alone():
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
