"""Soft and online targets: losses, confident pixels, and that images with hard labels are not affected."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from trashkit.nn.training.distillation import (
    Distillation,
    TargetBatch,
    TargetMaker,
    confident_labels,
    soft_cross_entropy,
    strong_augment,
    target_loss,
)
from trashkit.nn.training.losses import cross_entropy, image_weighted_loss


class Brightness(nn.Module):
    """Class by brightness of the red channel, with certainty."""

    size = (8, 8)

    def forward(self, photos: torch.Tensor) -> torch.Tensor:
        red = photos[:, 0] / 255
        return torch.stack([60 * (0.3 - red), 0 * red, 60 * (red - 0.7)], 1)


def photos(*levels: int) -> torch.Tensor:
    return torch.stack([torch.full((3, 8, 8), level, dtype=torch.uint8) for level in levels])


def batch(seen: torch.Tensor) -> torch.Tensor:
    return seen.permute(0, 2, 3, 1)


def target_maker(thresholds: tuple[float, ...] = (0.9, 0.9, 0.9)) -> TargetMaker:
    return TargetMaker(
        [None, Distillation("online", (), thresholds)], lambda: nullcontext(Brightness()), torch.device("cpu")
    )


def test_soft_cross_entropy_of_one_hot_targets_is_cross_entropy() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 4, 5, 6, generator=generator, requires_grad=True)
    labels = torch.randint(0, 4, (2, 5, 6), generator=generator)
    labels[0, :2] = 255
    soft = nn.functional.one_hot(labels.clamp(max=3), 4).permute(0, 3, 1, 2).float()
    torch.testing.assert_close(soft_cross_entropy(logits, soft, labels), cross_entropy(logits, labels))
    nothing = soft_cross_entropy(logits, soft, torch.full_like(labels, 255))
    nothing.backward()
    assert nothing.item() == 0
    assert logits.grad is not None


def test_the_soft_loss_is_smallest_at_the_targets() -> None:
    soft = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    optimiser = torch.optim.SGD([logits], lr=5.0)
    for _ in range(400):
        optimiser.zero_grad()
        soft_cross_entropy(logits, soft, labels).backward()
        optimiser.step()
    torch.testing.assert_close(logits.softmax(1).detach(), soft, atol=1e-3, rtol=0)


def test_only_pixels_above_the_threshold_of_their_class_become_labels() -> None:
    probabilities = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.55, 0.45]]).T.reshape(1, 2, 1, 3)
    assert confident_labels(probabilities, torch.tensor([[0.6, 0.9]])).tolist() == [[[0, 255, 255]]]
    assert confident_labels(probabilities, torch.tensor([[0.5, 0.8]])).tolist() == [[[0, 1, 0]]]


def test_the_moving_average_labels_online_images_only() -> None:
    seen = photos(0, 127, 255, 0)
    labels = torch.full((4, 8, 8), 1, dtype=torch.uint8)
    targets = target_maker().make(batch(seen), labels, [1, 1, 1, 0], (0, 1, 2))
    assert [sorted(set(one.flatten().tolist())) for one in targets.labels] == [[0], [1], [2], [1]]
    # Uncertain in the middle between two classes: 0.3 of brightness.
    targets = target_maker((0.9, 0.99, 0.9)).make(batch(photos(77)), labels[:1], [1], (0, 1, 2))
    assert set(targets.labels.flatten().tolist()) == {255}
    assert labels.eq(1).all()


def test_strong_augmentation_is_reproducible_and_differs_between_images() -> None:
    seen = photos(100, 100, 100)
    batches = [
        target_maker().make(batch(seen), torch.zeros(3, 8, 8, dtype=torch.uint8), [1, 0, 1], (5, 6)) for _ in range(2)
    ]
    assert torch.equal(batches[0].photos, batches[1].photos)
    assert torch.equal(batches[0].photos[1], seen[1])
    assert not torch.equal(batches[0].photos[0], batches[0].photos[2])
    assert not torch.equal(batches[0].photos, strong_augment(seen, (5, 7)))


def test_images_with_soft_targets_weigh_as_much_as_others() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (3, 4, 4), generator=generator)
    soft = nn.functional.one_hot(labels[[0, 2]], 3).permute(0, 3, 1, 2).float()
    targets = TargetBatch(photos(0, 0, 0), labels, soft, (0, 2))
    weights = [0.5, 1.0, 0.5]
    wanted = image_weighted_loss(cross_entropy, logits, labels, weights)
    torch.testing.assert_close(target_loss(cross_entropy, 1.0, logits, targets, weights), wanted)
    plain = TargetBatch(photos(0, 0, 0), labels)
    assert target_loss(cross_entropy, 1.0, logits, plain, weights) == wanted


def test_strongly_augmented_photos_are_uint8_of_the_same_shape() -> None:
    made = strong_augment(photos(0, 255), np.array([1, 2]).tolist())
    assert made.dtype == torch.uint8
    assert made.shape == (2, 3, 8, 8)
    assert (made == 127).all(1).any()
