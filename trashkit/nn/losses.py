"""Losses: one function per name, weighted sums of them, 255 ignored everywhere.

Each takes logits [B, C, H, W] float and a target [B, H, W] of integers 0 .. C-1 or 255, and gives one float32 number:
0 (still with a gradient) where every pixel is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

IGNORE = 255
Loss = Callable[[Tensor, Tensor], Tensor]


def _counted(target: Tensor) -> Tensor:
    return (target != IGNORE).sum().clamp(min=1)


def cross_entropy(logits: Tensor, target: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean over pixels of the cross-entropy; with `smoothing` a share of the target goes to all classes evenly."""
    total = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing)
    return total / _counted(target)


def smooth_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Cross-entropy with label smoothing 0.1, for labels with noise."""
    return cross_entropy(logits, target, smoothing=0.1)


def focal(logits: Tensor, target: Tensor, gamma: float = 2.0) -> Tensor:
    """Mean over pixels of ``(1 - p)^gamma * -log p`` (Lin et al. 2017, without its class weight)."""
    entropy = functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")
    return ((1 - torch.exp(-entropy)) ** gamma * entropy).sum() / _counted(target)


def _sums(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class over the batch: overlap of probabilities and truth, sum of probabilities, pixels of truth; each [C]."""
    valid = target != IGNORE
    classes = logits.shape[1]
    probabilities = logits.softmax(1) * valid[:, None]
    truth = functional.one_hot(target.masked_fill(~valid, 0), classes).permute(0, 3, 1, 2) * valid[:, None]
    overlap = (probabilities * truth).sum((0, 2, 3))
    return overlap, probabilities.sum((0, 2, 3)), truth.sum((0, 2, 3)).to(probabilities.dtype)


def _mean_over_present(loss: Tensor, pixels: Tensor) -> Tensor:
    """Mean over the classes with a pixel in the batch; absent ones have no overlap to win."""
    present = pixels > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """``1 - 2 |p t| / (|p| + |t|)`` of soft predictions, mean over the classes present in the batch."""
    overlap, predicted, pixels = _sums(logits, target)
    return _mean_over_present(1 - 2 * overlap / (predicted + pixels).clamp(min=1e-7), pixels)


def jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """``1 - |p t| / (|p| + |t| - |p t|)`` of soft predictions, mean over the classes present in the batch."""
    overlap, predicted, pixels = _sums(logits, target)
    return _mean_over_present(1 - overlap / (predicted + pixels - overlap).clamp(min=1e-7), pixels)


def tversky(logits: Tensor, target: Tensor, false_positive: float = 0.3, false_negative: float = 0.7) -> Tensor:
    """Dice with missed pixels weighing more than invented ones (Salehi et al. 2017)."""
    overlap, predicted, pixels = _sums(logits, target)
    wrong = false_positive * (predicted - overlap) + false_negative * (pixels - overlap)
    return _mean_over_present(1 - overlap / (overlap + wrong).clamp(min=1e-7), pixels)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-Softmax over the batch, mean over the classes present (Berman et al. 2018)."""
    valid = target != IGNORE
    probabilities = logits.softmax(1).permute(0, 2, 3, 1)[valid]
    truth = target[valid]
    losses = []
    for index in torch.unique(truth).tolist():
        positive = (truth == index).to(probabilities.dtype)
        errors, order = (positive - probabilities[:, index]).abs().sort(descending=True)
        ordered = positive[order]
        count = ordered.sum()
        intersection = count - ordered.cumsum(0)
        union = count + (1 - ordered).cumsum(0)
        steps = 1 - intersection / union
        steps[1:] = steps[1:] - steps[:-1].clone()
        losses.append(torch.dot(errors, steps))
    return torch.stack(losses).mean() if losses else logits.sum() * 0


def by_weight(loss: Loss, logits: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """The loss of a batch whose images weigh differently, one weight each.

    Images of equal weight are one batch to the loss, since Dice and its kin are no sums over images; the parts join as
    ``sum(weight * images * loss) / images``. With weight 1 everywhere it is the loss itself.
    """
    if all(weight == 1.0 for weight in weights):
        return loss(logits, target)
    total = logits.sum() * 0.0  # a gradient for every parameter, whatever the weights
    for weight in sorted(set(weights)):
        chosen = [n for n, one in enumerate(weights) if one == weight]
        if weight:
            total = total + (weight * len(chosen)) * loss(logits[chosen], target[chosen])
    return total / len(weights)


LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "smooth-ce": smooth_cross_entropy,
    "focal": focal,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "lovasz": lovasz,
}


def weighted_sum(terms: Sequence[tuple[str, float]]) -> Loss:
    """One loss from (name, weight) pairs. Logits are taken in float32, since half precision overflows in the sums."""
    parts = [(LOSSES[name], weight) for name, weight in terms]

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        full, labels = logits.float(), target.long()
        total = parts[0][1] * parts[0][0](full, labels)
        for function, weight in parts[1:]:
            total = total + weight * function(full, labels)
        return total

    return loss
