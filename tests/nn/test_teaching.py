"""Soft targets and the online variant: what they teach, which pixels, and that images taught by classes stay apart."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import torch
from torch import nn

from trashkit.nn.losses import by_weight, cross_entropy
from trashkit.nn.teaching import (
    Lesson,
    Teaching,
    Tutor,
    certain_labels,
    disturbed,
    lesson_loss,
    soft_cross_entropy,
)


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


def tutor(certain: tuple[float, ...] = (0.9, 0.9, 0.9)) -> Tutor:
    return Tutor([None, Teaching("online", (), certain)], lambda: nullcontext(Brightness()), torch.device("cpu"))


def test_soft_cross_entropy_of_certain_targets_is_the_plain_one() -> None:
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


def test_soft_targets_are_best_met_by_themselves() -> None:
    soft = torch.tensor([0.7, 0.2, 0.1]).view(1, 3, 1, 1).expand(1, 3, 2, 2)
    labels = torch.zeros(1, 2, 2, dtype=torch.long)
    logits = torch.zeros(1, 3, 2, 2, requires_grad=True)
    optimiser = torch.optim.SGD([logits], lr=5.0)
    for _ in range(400):
        optimiser.zero_grad()
        soft_cross_entropy(logits, soft, labels).backward()
        optimiser.step()
    torch.testing.assert_close(logits.softmax(1).detach(), soft, atol=1e-3, rtol=0)


def test_only_certain_pixels_become_labels_each_class_with_its_own_number() -> None:
    probabilities = torch.tensor([[0.8, 0.2], [0.2, 0.8], [0.55, 0.45]]).T.reshape(1, 2, 1, 3)
    assert certain_labels(probabilities, torch.tensor([[0.6, 0.9]])).tolist() == [[[0, 255, 255]]]
    assert certain_labels(probabilities, torch.tensor([[0.5, 0.8]])).tolist() == [[[0, 1, 0]]]


def test_the_average_labels_unlabelled_pictures_and_leaves_the_others_alone() -> None:
    seen = photos(0, 127, 255, 0)
    labels = torch.full((4, 8, 8), 1, dtype=torch.uint8)
    lesson = tutor().lesson(batch(seen), labels, [1, 1, 1, 0], (0, 1, 2))
    assert [sorted(set(one.flatten().tolist())) for one in lesson.labels] == [[0], [1], [2], [1]]
    # Uncertain in the middle between two classes: 0.3 of brightness.
    lesson = tutor((0.9, 0.99, 0.9)).lesson(batch(photos(77)), labels[:1], [1], (0, 1, 2))
    assert set(lesson.labels.flatten().tolist()) == {255}
    assert labels.eq(1).all()


def test_the_student_sees_other_colours_and_the_same_ones_again_after_a_resume() -> None:
    seen = photos(100, 100, 100)
    lessons = [
        tutor().lesson(batch(seen), torch.zeros(3, 8, 8, dtype=torch.uint8), [1, 0, 1], (5, 6)) for _ in range(2)
    ]
    assert torch.equal(lessons[0].photos, lessons[1].photos)
    assert torch.equal(lessons[0].photos[1], seen[1])
    assert not torch.equal(lessons[0].photos[0], lessons[0].photos[2])
    assert not torch.equal(lessons[0].photos, disturbed(seen, (5, 7)))


def test_pictures_taught_softly_count_as_many_as_others() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(3, 3, 4, 4, generator=generator)
    labels = torch.randint(0, 3, (3, 4, 4), generator=generator)
    soft = nn.functional.one_hot(labels[[0, 2]], 3).permute(0, 3, 1, 2).float()
    lesson = Lesson(photos(0, 0, 0), labels, soft, (0, 2))
    weights = [0.5, 1.0, 0.5]
    wanted = by_weight(cross_entropy, logits, labels, weights)
    torch.testing.assert_close(lesson_loss(cross_entropy, 1.0, logits, lesson, weights), wanted)
    plain = Lesson(photos(0, 0, 0), labels)
    assert lesson_loss(cross_entropy, 1.0, logits, plain, weights) == wanted


def test_disturbed_photos_are_uint8_of_the_same_shape() -> None:
    made = disturbed(photos(0, 255), np.array([1, 2]).tolist())
    assert made.dtype == torch.uint8
    assert made.shape == (2, 3, 8, 8)
    assert (made == 127).all(1).any()
