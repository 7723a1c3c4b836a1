"""Losses against other implementations, and what all of them must hold to."""

from __future__ import annotations

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trashkit.nn.losses import IGNORE, LOSSES, weighted_sum


def sample(seed: int, ignored: float = 0.0, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, classes, 9, 7, generator=generator)
    target = torch.randint(0, classes, (2, 9, 7), generator=generator)
    target[torch.rand(target.shape, generator=generator) < ignored] = IGNORE
    return logits, target


REFERENCES = {
    "ce": lambda logits, target: functional.cross_entropy(logits, target, ignore_index=IGNORE),
    "smooth-ce": lambda logits, target: functional.cross_entropy(
        logits, target, ignore_index=IGNORE, label_smoothing=0.1
    ),
    "dice": smp.losses.DiceLoss("multiclass", ignore_index=IGNORE),
    "jaccard": smp.losses.JaccardLoss("multiclass"),
    "tversky": smp.losses.TverskyLoss("multiclass", ignore_index=IGNORE, alpha=0.3, beta=0.7),
    "lovasz": smp.losses.LovaszLoss("multiclass", ignore_index=IGNORE),
}


@pytest.mark.parametrize("name", REFERENCES)
@pytest.mark.parametrize("ignored", [0.0, 0.3])
def test_equal_to_another_implementation(name, ignored):
    if name == "jaccard" and ignored:
        pytest.skip("the reference cannot ignore")
    logits, target = sample(1, ignored)
    assert LOSSES[name](logits, target).item() == pytest.approx(REFERENCES[name](logits, target).item(), rel=1e-4)


def test_focal_without_focus_is_cross_entropy():
    from trashkit.nn.losses import focal

    logits, target = sample(2, 0.2)
    assert focal(logits, target, gamma=0.0).item() == pytest.approx(LOSSES["ce"](logits, target).item(), rel=1e-5)
    entropy = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[target != IGNORE]
    expected = ((1 - (-entropy).exp()) ** 2 * entropy).mean()
    assert focal(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_what_lies_under_ignored_pixels_changes_nothing(name, seed):
    logits, target = sample(seed, 0.4)
    other = torch.where((target == IGNORE)[:, None], torch.randn_like(logits) * 9, logits)
    assert torch.allclose(LOSSES[name](logits, target), LOSSES[name](other, target), atol=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_all_ignored_is_zero_with_a_gradient(name):
    logits, target = sample(0)
    logits.requires_grad_(True)
    loss = LOSSES[name](logits, torch.full_like(target, IGNORE))
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("name", LOSSES)
def test_right_is_better_than_wrong(name):
    _, target = sample(3)
    right = 12 * functional.one_hot(target, 5).permute(0, 3, 1, 2).float()
    assert LOSSES[name](right, target) < (1.0 if name == "smooth-ce" else 0.01)
    assert LOSSES[name](right, target) < LOSSES[name](-right, target)


def test_weighted_sum_adds_up_and_takes_uint8_and_half_precision():
    logits, target = sample(4)
    loss = weighted_sum((("ce", 1.0), ("dice", 0.5)))
    expected = LOSSES["ce"](logits, target) + 0.5 * LOSSES["dice"](logits, target)
    assert loss(logits, target.to(torch.uint8)).item() == pytest.approx(expected.item())
    assert loss(logits.bfloat16(), target).dtype == torch.float32
