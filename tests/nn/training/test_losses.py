"""Losses against other implementations, and properties that all of them have."""

from __future__ import annotations

import math

import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from trashkit.nn.training.losses import (
    IGNORE,
    LOSSES,
    PIXEL_LOSSES,
    RANGES,
    WHOLE_NUMBERS,
    image_presence_loss,
    image_weighted_loss,
    loss_options,
    loss_sum,
    near_boundary,
)
from trashkit.settings.loss_expressions import parse_loss


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
def test_losses_equal_another_implementation(name, ignored):
    if name == "jaccard" and ignored:
        pytest.skip("the reference cannot ignore")
    logits, target = sample(1, ignored)
    assert LOSSES[name](logits, target).item() == pytest.approx(REFERENCES[name](logits, target).item(), rel=1e-4)


def test_focal_without_focus_is_cross_entropy():
    from trashkit.nn.training.losses import focal

    logits, target = sample(2, 0.2)
    assert focal(logits, target, gamma=0.0).item() == pytest.approx(LOSSES["ce"](logits, target).item(), rel=1e-5)
    entropy = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[target != IGNORE]
    expected = ((1 - (-entropy).exp()) ** 2 * entropy).mean()
    assert focal(logits, target).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_logits_of_ignored_pixels_change_nothing(name, seed):
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


@pytest.mark.parametrize("name", LOSSES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_ignored_pixels_have_no_gradient_and_the_others_finite_ones(name, seed):
    logits, target = sample(seed, 0.4)
    logits.requires_grad_(True)
    LOSSES[name](logits, target).backward()
    ignored = (target == IGNORE)[:, None].expand_as(logits)
    assert not logits.grad[ignored].any()
    assert logits.grad.isfinite().all()
    assert logits.grad[~ignored].any()


@pytest.mark.parametrize("name", LOSSES)
def test_certain_predictions_have_finite_gradients(name):
    """Extreme logits: probabilities of exactly 0 and 1 in float32."""
    _, target = sample(5, 0.2)
    sure = 200 * functional.one_hot(target.clamp(max=4), 5).permute(0, 3, 1, 2).float()
    for sign in (1, -1):
        logits = (sign * sure).requires_grad_(True)
        loss = LOSSES[name](logits, target)
        loss.backward()
        sure_of = "the truth" if sign == 1 else "anything but the truth"
        assert loss.isfinite(), f"{name} is {loss} where the prediction is sure of {sure_of}"
        assert logits.grad.isfinite().all(), f"{name}: infinite gradient where the prediction is sure of {sure_of}"


@pytest.mark.parametrize(("name", "option"), [(name, option) for name in LOSSES for option in loss_options(name)])
def test_both_ends_of_a_range_give_finite_losses(name, option):
    for end in RANGES[option]:
        value = int(end) if option in WHOLE_NUMBERS else end
        for factor in (1.0, 200.0):
            logits, target = sample(15, 0.2)
            logits = (factor * logits).requires_grad_(True)
            loss = LOSSES[name](logits, target, **{option: value})
            loss.backward()
            assert loss.isfinite(), f"{name}({option}={end}) is {loss}: narrow its range in RANGES"
            assert logits.grad.isfinite().all(), f"{name}({option}={end}) has an infinite gradient"


WEIGHTS = torch.tensor([1.0, 2.0, 0.0, 0.5, 9.0])


@pytest.mark.parametrize("name", PIXEL_LOSSES)
def test_pixel_losses_use_class_weights(name):
    logits, target = sample(14, 0.2)
    plain = PIXEL_LOSSES[name](logits, target)
    equal = PIXEL_LOSSES[name](logits, target, class_weights=torch.ones(5))
    unequal = PIXEL_LOSSES[name](logits, target, class_weights=torch.tensor([1.0, 2.0, 0.1, 0.5, 9.0]))
    assert equal.item() == pytest.approx(plain.item(), rel=1e-5), f"{name}: equal class weights change the loss"
    assert unequal.item() != pytest.approx(plain.item(), rel=1e-3), f"{name} ignores class_weights; see _pixel_weights"


@pytest.mark.parametrize("name", LOSSES)
def test_every_argument_of_a_loss_has_a_range(name):
    assert set(loss_options(name)) <= set(RANGES), "add its smallest and largest value to RANGES"


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_are_torch_s(smoothing):
    logits, target = sample(6, 0.3)
    expected = functional.cross_entropy(logits, target, WEIGHTS, ignore_index=IGNORE, label_smoothing=smoothing)
    assert LOSSES["ce"](logits, target, WEIGHTS, smoothing).item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize("name", ["ce", "focal"])  # the others also ask where that class lies
def test_a_class_of_weight_zero_counts_as_ignored(name):
    logits, target = sample(7, 0.2)
    weights = torch.tensor([1.0, 1.0, 0.0, 1.0, 1.0])
    given = LOSSES[name](logits, target, weights)
    expected = LOSSES[name](logits, target.masked_fill(target == 2, IGNORE))
    assert given.item() == pytest.approx(expected.item(), rel=1e-5)


def entropies(logits, target):
    return functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")[target != IGNORE]


@pytest.mark.parametrize("share", [0.01, 0.25, 1.0])
def test_top_k_is_the_mean_of_the_hardest(share):
    logits, target = sample(8, 0.3)
    hardest = entropies(logits, target).sort(descending=True).values
    count = max(1, math.ceil(share * len(hardest)))
    assert LOSSES["top-k"](logits, target, share=share).item() == pytest.approx(hardest[:count].mean().item(), rel=1e-5)


def test_ohem_is_the_mean_of_those_below_the_threshold():
    logits, target = sample(9, 0.3)
    entropy = entropies(logits, target)
    hard = entropy[(-entropy).exp() < 0.3]
    assert 0 < len(hard) < len(entropy)
    given = LOSSES["ohem"](logits, target, threshold=0.3, share=0.01)
    assert given.item() == pytest.approx(hard.mean().item(), rel=1e-5)
    at_least = LOSSES["ohem"](logits, target, threshold=0.0, share=0.5)
    assert at_least.item() == pytest.approx(LOSSES["top-k"](logits, target, share=0.5).item())


def test_boundaries_by_hand():
    target = torch.tensor([[[0, 0, 0, 0, 1, 1], [0, 0, 0, 0, 1, 255], [0, 0, 0, 255, 255, 255]]])
    expected = torch.tensor([[[0, 0, 0, 1, 1, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, 0, 0, 0]]])
    found = near_boundary(target, 2, 1)
    expected[0, 2, 2] = 0  # its only other neighbours are ignored
    assert torch.equal(found.int(), expected)
    wide = near_boundary(target, 2, 2)
    assert wide[0, :, 2].all()
    assert not wide[0, :, 1].any()
    assert not near_boundary(torch.full_like(target, IGNORE), 2, 1).any()


def test_boundary_without_weight_is_cross_entropy():
    logits, target = sample(10, 0.2)
    assert LOSSES["boundary"](logits, target, weight=0.0).item() == pytest.approx(LOSSES["ce"](logits, target).item())


def test_focal_tversky_is_a_power_per_class():
    logits, target = sample(11)
    one = target.clamp(max=0)  # a single class: the mean over classes is its value
    plain = LOSSES["tversky"](logits, one)
    assert LOSSES["tversky"](logits, one, gamma=0.75).item() == pytest.approx(plain.item() ** 0.75, rel=1e-5)
    even = LOSSES["tversky"](logits, target, false_positive=0.5, false_negative=0.5)
    assert even.item() == pytest.approx(LOSSES["dice"](logits, target).item(), rel=1e-5)


def test_presence_by_hand_and_with_ignored_pixels():
    target = torch.tensor([[[0, 1], [1, 1]], [[0, 255], [255, 0]]])
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    truth = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    counted = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]])  # the second is half unseen: only its sky is certain
    each = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    loss = image_presence_loss(logits, target)
    assert loss.item() == pytest.approx(((each * counted).sum() / counted.sum()).item())
    loss.backward()
    assert not logits.grad[1, 1:].any()
    assert image_presence_loss(logits, torch.full_like(target, IGNORE)).item() == 0


def test_terms_have_arguments():
    logits, target = sample(12, 0.1)
    given = loss_sum(parse_loss("0.5 * focal(gamma=3) + tversky(false_positive=0.2, false_negative=0.8)"))
    expected = 0.5 * LOSSES["focal"](logits, target, gamma=3.0) + LOSSES["tversky"](logits, target, 0.2, 0.8)
    assert given(logits, target).item() == pytest.approx(expected.item())
    assert loss_options("ohem") == ["threshold", "share"]
    weighted = loss_sum(parse_loss("ce + dice"), WEIGHTS)
    expected = LOSSES["ce"](logits, target, WEIGHTS) + LOSSES["dice"](logits, target)
    assert weighted(logits, target).item() == pytest.approx(expected.item())


def test_images_of_other_weights_join_by_their_shares():
    logits, target = sample(13)
    given = image_weighted_loss(LOSSES["dice"], logits, target, [1.0, 0.5])
    expected = (LOSSES["dice"](logits[:1], target[:1]) + 0.5 * LOSSES["dice"](logits[1:], target[1:])) / 2
    assert given.item() == pytest.approx(expected.item())


def test_weighted_sum_adds_up_and_takes_uint8_and_half_precision():
    logits, target = sample(4)
    loss = loss_sum(parse_loss("ce + 0.5 * dice"))
    expected = LOSSES["ce"](logits, target) + 0.5 * LOSSES["dice"](logits, target)
    assert loss(logits, target.to(torch.uint8)).item() == pytest.approx(expected.item())
    assert loss(logits.bfloat16(), target).dtype == torch.float32
