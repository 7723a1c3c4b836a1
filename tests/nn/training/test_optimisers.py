"""Optimisers, parameter groups, schedules and class weights."""

from __future__ import annotations

import copy
import io
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trashkit.errors import TrashkitError
from trashkit.nn.data.class_weights import check_class_names, given_weights, weights_by_rule
from trashkit.nn.models.networks import build
from trashkit.nn.training.learner import step_parts
from trashkit.nn.training.optimisers import (
    OPTIMISERS,
    encoder_layers,
    make_optimiser,
    optimiser_options,
    parameter_groups,
)
from trashkit.nn.training.schedule import SCHEDULES, encoder_lr_factor, lr_factor, plateau_reductions
from trashkit.runs.manifest import RunSpec
from trashkit.settings.loss_expressions import LossTerm
from trashkit.settings.training import OptimiserSettings, ScheduleSettings


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 4, 1)).eval()


def steps(model: nn.Module, optimiser: torch.optim.Optimizer, count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        x = torch.randn(2, 3, 8, 8, generator=generator)
        model(x).square().mean().backward()
        optimiser.step()
        optimiser.zero_grad()


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_optimiser_resumes_exactly_from_its_saved_state(name):
    settings = OptimiserSettings(name=name, lr=1e-3)

    def start(model: nn.Module) -> torch.optim.Optimizer:
        return make_optimiser(parameter_groups(model.named_parameters(), {}, settings), settings)

    model = small()
    before = copy.deepcopy(model.state_dict())
    optimiser = start(model)
    steps(model, optimiser, 2, seed=1)
    assert any(not torch.equal(before[key], value) for key, value in model.state_dict().items())
    file = io.BytesIO()
    torch.save(optimiser.state_dict(), file)
    file.seek(0)
    other = copy.deepcopy(model)
    again = start(other)
    again.load_state_dict(torch.load(file, weights_only=True))
    torch.manual_seed(5)
    steps(model, optimiser, 2, seed=2)
    torch.manual_seed(5)
    steps(other, again, 2, seed=2)
    for key, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key


def test_an_optimiser_names_the_options_that_it_has():
    groups = parameter_groups(small().named_parameters(), {}, OptimiserSettings())
    with pytest.raises(TrashkitError, match=r'"momentun" is unknown; choices: momentum'):
        make_optimiser(groups, OptimiserSettings(name="sgd", options={"momentun": 0.5}))
    made = make_optimiser(groups, OptimiserSettings(name="sgd", options={"momentum": 0.5}))
    assert made.param_groups[0]["momentum"] == 0.5
    assert "caution" in optimiser_options("lion")


def spec(architecture: str, encoder: str) -> RunSpec:
    return RunSpec(architecture, encoder, {}, (64, 64), (0.5,) * 3, (0.5,) * 3, ("a", "b"), ((0, 0, 0), (1, 1, 1)))


@pytest.mark.parametrize(
    ("encoder", "first", "last", "at_least"),
    [
        ("resnet18", "conv1", "layer4.1", 8),
        ("tu-tf_efficientnet_lite0", "model.conv_stem", "model.blocks.6.0", 16),
        ("tu-convnext_atto", "model.stem_0", "model.stages_3.blocks.1", 12),
        ("tu-swin_tiny_patch4_window7_224", "model.patch_embed", "model.layers_3.blocks.1", 12),
        ("mit_b0", "patch_embed1", "block4.1", 8),
    ],
)
def test_layers_follow_the_depth_of_an_encoder(encoder, first, last, at_least):
    network = build(spec("fpn", encoder)).encoder
    layers = encoder_layers(network)
    named = dict(network.named_parameters())
    assert layers.keys() == {id(parameter) for parameter in named.values()}
    deepest = max(layers.values())
    assert deepest >= at_least
    assert {layers[id(p)] for name, p in named.items() if name.startswith(first)} == {0}
    assert {layers[id(p)] for name, p in named.items() if name.startswith(last)} == {deepest}
    assert set(layers.values()) == set(range(deepest + 1))


def test_groups_have_their_rates_and_decays():
    model = build(spec("fpn", "tu-test_efficientnet"))
    settings = OptimiserSettings(lr=1e-2, encoder_lr_ratio=0.1, layer_decay=0.5, weight_decay=0.02)
    layers = encoder_layers(model.encoder)
    groups = parameter_groups(model.named_parameters(), layers, settings)
    deepest = max(layers.values())
    for group in groups:
        for parameter in group["params"]:
            inside = id(parameter) in layers
            assert group["encoder"] == inside
            expected = 1e-2 * (0.1 * 0.5 ** (deepest - layers[id(parameter)]) if inside else 1)
            assert group["peak"] == pytest.approx(expected)
            assert group["weight_decay"] == (0.02 if parameter.ndim > 1 else 0.0)
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    plain = parameter_groups(model.named_parameters(), layers, OptimiserSettings())
    assert [group["name"] for group in plain] == ["encoder", "encoder, no decay", "decoder", "decoder, no decay"]


# --- schedules -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCHEDULES)
@given(total=st.integers(10, 300), warmup=st.sampled_from([0.0, 0.1, 0.25]), floor=st.sampled_from([0.0, 0.05]))
def test_every_schedule_stays_between_floor_and_peak(name, total, warmup, floor):
    settings = ScheduleSettings(name=name, warmup=warmup, floor=floor)
    values = [lr_factor(settings, step, total) for step in range(total)]
    assert max(values) <= 1
    assert min(values) >= 0
    if warmup == 0:
        assert values[0] == 1
    if name in ("onecycle", "cosine", "restarts", "poly", "linear"):
        assert values[-1] == pytest.approx(floor)


def test_cosine_and_poly_are_pytorch_s():
    total = 50
    for name, make in {
        "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, total - 1),
        "poly": lambda o: torch.optim.lr_scheduler.PolynomialLR(o, total - 1, power=0.9),
        "restarts": lambda o: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 7, T_mult=2),
    }.items():
        optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
        reference = make(optimiser)
        settings = ScheduleSettings(name=name, warmup=0, growth=2)  # 7 + 14 + 28 = 49
        for step in range(total - 1):
            assert lr_factor(settings, step, total) == pytest.approx(reference.get_last_lr()[0], abs=1e-9), (name, step)
            optimiser.step()
            reference.step()


def test_one_cycle_is_pytorch_s():
    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    reference = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1.0, total_steps=101, pct_start=0.25, div_factor=25, final_div_factor=1e9, cycle_momentum=False
    )
    settings = ScheduleSettings(name="onecycle", warmup=0.25)
    given = [lr_factor(settings, step, 100) for step in range(100)]
    expected = []
    for _ in range(100):
        expected.append(reference.get_last_lr()[0])
        optimiser.step()
        reference.step()
    assert np.allclose(given, expected, atol=0.03)  # where the peak lies differs by a step
    assert given[0] == pytest.approx(expected[0])


def test_multistep_falls_at_its_milestones():
    settings = ScheduleSettings(name="multistep", warmup=0, milestones=(0.5, 0.75), gamma=0.5)
    values = [lr_factor(settings, step, 101) for step in range(101)]
    assert values[:50] == [1.0] * 50
    assert values[50:75] == [0.5] * 25
    assert values[75:] == [0.25] * 26


def test_plateau_waits_for_its_patience():
    settings = ScheduleSettings(name="plateau", warmup=0, patience=2)
    scores = [0.1, 0.2, 0.2, 0.1, 0.15, 0.3, 0.1, 0.1, 0.1, 0.1]
    rows = [{"step": n + 1, "miou": value, "loss": 1.0} for n, value in enumerate(scores)]
    found = [plateau_reductions(settings, rows[:n], 0) for n in range(len(rows) + 1)]
    assert found == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 3]
    assert plateau_reductions(settings, rows, 4) == 2  # two bad epochs fall into the warm-up
    assert plateau_reductions(settings.model_copy(update={"name": "cosine"}), rows, 0) == 0
    some = [
        row if n % 2 else {"step": row["step"], "loss": 1.0} for n, row in enumerate(rows)
    ]  # 0.2, 0.1, 0.3, 0.1, 0.1
    assert [plateau_reductions(settings, some[:n], 0) for n in range(2, 11)] == [0, 0, 1, 1, 1, 1, 2, 2, 3]
    losses = [{"step": n, "loss": value} for n, value in enumerate([3.0, 2.0, 2.5, 2.4, 1.0])]
    assert [plateau_reductions(settings, losses[:n], 0) for n in range(6)] == [0, 0, 0, 0, 1, 1]


def test_a_frozen_encoder_rises_when_it_is_freed():
    settings = ScheduleSettings(encoder_warmup=0.2)
    values = [encoder_lr_factor(settings, step, 50, 10) for step in range(50)]
    assert values[:10] == [0.0] * 10
    assert values[10:20] == pytest.approx([n / 10 for n in range(1, 11)])
    assert values[20:] == [1.0] * 30
    assert encoder_lr_factor(ScheduleSettings(), 0, 50, 0) == 1.0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=20), st.integers(1, 6))
def test_small_batches_add_up_to_their_step(sizes, accumulate):
    parts = step_parts(sizes, accumulate)
    assert len(parts) == len(sizes)
    assert sum(ends for _, ends in parts) == math.ceil(len(sizes) / accumulate)
    assert parts[-1][1]
    for start in range(0, len(sizes), accumulate):
        together = parts[start : start + accumulate]
        assert sum(share for share, _ in together) == pytest.approx(1)
        assert [ends for _, ends in together] == [False] * (len(together) - 1) + [True]


# --- class weights ---------------------------------------------------------------------------------------------------


class Labels(list):
    """Label maps as in a cache."""

    def labels(self, n: int) -> np.ndarray:
        return self[n]


MAPS = Labels(
    [np.array([[0, 0], [0, 1]], np.uint8), np.array([[0, 0], [1, 2]], np.uint8), np.full((2, 2), 255, np.uint8)]
)


def test_weights_by_hand():
    inverse = weights_by_rule(LossTerm("inverse"), MAPS, 4)
    assert inverse / inverse[2] == pytest.approx([1 / 5, 1 / 2, 1, 1])  # 5, 2 and 1 pixels; the last class has none
    assert (inverse * [5, 2, 1, 0]).sum() / 8 == pytest.approx(1)
    gentle = weights_by_rule(LossTerm("inverse", 1.0, {"power": 0.5}), MAPS, 4)
    assert gentle / gentle[2] == pytest.approx(np.sqrt([1 / 5, 1 / 2, 1, 1]))
    limited = weights_by_rule(LossTerm("inverse", 1.0, {"limit": 3.0}), MAPS, 4)
    assert limited / limited[0] == pytest.approx([1, 2.5, 3, 3])
    effective = weights_by_rule(LossTerm("effective", 1.0, {"beta": 0.5}), MAPS, 4)
    assert effective / effective[2] == pytest.approx([1 / 1.5, 1 / 1.5, 1, 1])  # in 2, 2 and 1 images


def test_weights_that_are_given():
    assert given_weights({"Glass": 3.0}, ["Background", "Glass", "Paper"]).tolist() == [1.0, 3.0, 1.0]
    with pytest.raises(TrashkitError, match=r'class "Glas" is unknown; choices: Glass'):
        check_class_names({"Glas": 3.0}, ["Background", "Glass", "Paper"])
