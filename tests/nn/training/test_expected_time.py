"""The expected time of a training."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from trashkit.nn.training import expected_time
from trashkit.nn.training.expected_time import step_seconds, training_seconds
from trashkit.nn.training.learner import start_accelerator
from trashkit.settings.training import TrainConfig, resolve


class Network(nn.Module):
    """A network that notes the sizes it is called with; fixed: the only side that it takes."""

    seen: list[torch.Size]

    def __init__(self, fixed: int | None = None) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 3, padding=1)
        self.norm = nn.BatchNorm2d(2)
        self.fixed = fixed
        Network.seen = []

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        Network.seen.append(photos.shape)
        if self.fixed is not None and photos.shape[-1] != self.fixed:
            raise AssertionError("wrong size")
        return self.norm(self.layer(photos)) + torch.rand(1)  # type: ignore[no-any-return]


@pytest.fixture
def config() -> Callable[..., TrainConfig]:
    def make(**values: Any) -> TrainConfig:
        return resolve(None, [f"{key.replace('__', '.')}={value}" for key, value in values.items()])

    return make


def test_timing_a_step_changes_neither_network_nor_random_numbers(config: Any) -> None:
    network, accelerator = Network(), start_accelerator("cpu", "off")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert step_seconds(network, config(data__size=64, data__batch_size=8), accelerator, 100) > 0
    assert torch.equal(torch.rand(1), expected)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert network.layer.weight.grad is None


def test_large_steps_are_timed_small_and_scaled(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(range(100))
    # Each pass takes a second. Only this module's clock is replaced: other threads read the real one.
    monkeypatch.setattr(expected_time, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    accelerator = start_accelerator("cpu", "off")
    large = config(data__size=1024, data__batch_size=16)
    assert step_seconds(Network(), large, accelerator, 100) == pytest.approx(16 * 4)
    assert Network.seen == [(4, 3, 256, 256)] * 2
    assert step_seconds(Network(fixed=512), config(data__size=512, data__batch_size=8), accelerator, 100) == 2
    assert Network.seen[-1] == (4, 3, 512, 512)
    assert step_seconds(Network(fixed=7), config(data__size=64, data__batch_size=8), accelerator, 100) is None


def test_all_epochs_with_validation(config: Any) -> None:
    found = config(data__batch_size=8, epochs=10)
    assert training_seconds(0.5, found, train=33, val=0) == 25
    assert training_seconds(0.5, found, train=33, val=24) == pytest.approx(30)
    assert training_seconds(0.5, found, train=33, val=24, processes=5) == pytest.approx((1 + 1 / 3) * 5)
