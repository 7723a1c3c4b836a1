"""Losses: one function per name, weighted sums of them, 255 ignored everywhere.

Each takes logits [B, C, H, W] float and a target [B, H, W] of integers 0 .. C-1 or 255, and gives one float32 number:
0 (still with a gradient) where every pixel is ignored. Those in `PIXEL_LOSSES` are means over pixels and take class
weights [C]: a pixel then counts as often as the weight of its true class. The others compare regions, and count every
class alike as they are. Further arguments are settings: ``focal(gamma=3)``. None waits for the device.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from trashkit.errors import TrashkitError
from trashkit.loss_text import LossTerm

IGNORE = 255
Loss = Callable[[Tensor, Tensor], Tensor]


# --- means over pixels -----------------------------------------------------------------------------------------------


def _entropy(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")


def _shares(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """How much each pixel counts, [B, H, W]: 0 where ignored."""
    valid = target != IGNORE
    if class_weights is None:
        return valid.float()
    return class_weights[target.masked_fill(~valid, 0)] * valid


def _mean(values: Tensor, shares: Tensor) -> Tensor:
    total = shares.sum()
    return (values * shares).sum() / torch.where(total > 0, total, 1)


def cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean over pixels of the cross-entropy; with `smoothing` a share of the target goes to all classes evenly."""
    total = functional.cross_entropy(
        logits, target, class_weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    count = _shares(target, class_weights).sum()
    return total / torch.where(count > 0, count, 1)


def smooth_cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.1
) -> Tensor:
    """Cross-entropy with label smoothing, for labels with noise."""
    return cross_entropy(logits, target, class_weights, smoothing)


def focal(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Mean over pixels of ``(1 - p)^gamma * -log p`` (Lin et al. 2017; its alpha are the class weights)."""
    entropy = _entropy(logits, target)
    # log p is 0 at ignored pixels; the power has an infinite slope there for gamma below 1
    easy = (-torch.expm1(-entropy)).clamp(min=1e-7) ** gamma
    return _mean(easy * entropy, _shares(target, class_weights))


def top_k(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, share: float = 0.25) -> Tensor:
    """Mean cross-entropy over the hardest `share` of the batch's pixels (Wu et al. 2016)."""
    entropy = _entropy(logits, target)
    return _hardest(entropy, target, class_weights, share, torch.zeros_like(entropy, dtype=torch.bool))


def ohem(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    threshold: float = 0.7,
    share: float = 0.0625,
) -> Tensor:
    """Mean cross-entropy over pixels whose true class has a probability below `threshold` (online hard example mining;
    Shrivastava et al. 2016), and over the hardest `share` of all pixels at least."""
    entropy = _entropy(logits, target)
    hard = (torch.exp(-entropy.detach()) < threshold) & (target != IGNORE)
    return _hardest(entropy, target, class_weights, share, hard)


def _hardest(entropy: Tensor, target: Tensor, class_weights: Tensor | None, share: float, also: Tensor) -> Tensor:
    """Mean over the `share` of the counted pixels with the largest entropy, and over `also`."""
    valid = (target != IGNORE).flatten()
    ordered = entropy.detach().flatten().masked_fill(~valid, -1).sort(descending=True).values
    last = (share * valid.sum()).ceil().long().clamp(min=1) - 1
    chosen = (entropy.detach().flatten() >= ordered[last]) & valid
    shares = _shares(target, class_weights)
    return _mean(entropy, shares * (chosen.view_as(also) | also))


def boundary(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    weight: float = 4.0,
    width: int = 2,
) -> Tensor:
    """Cross-entropy in which pixels at most `width` from another class count `weight` times as much more.

    Distances are counted in steps to any of the eight neighbours; an ignored pixel makes no boundary.
    """
    near = near_boundary(target, logits.shape[1], width)
    return _mean(_entropy(logits, target), _shares(target, class_weights) * (1 + weight * near))


def near_boundary(target: Tensor, classes: int, width: int) -> Tensor:
    """Whether each pixel [B, H, W] sees another class within `width` pixels in either direction, bool."""
    valid = target != IGNORE
    kernel = 2 * int(width) + 1
    highest = target.masked_fill(~valid, -1).float()[:, None]
    lowest = target.masked_fill(~valid, classes).float()[:, None]
    above = functional.max_pool2d(highest, kernel, stride=1, padding=int(width))
    below = -functional.max_pool2d(-lowest, kernel, stride=1, padding=int(width))
    return (above != below)[:, 0] & valid


# --- regions ---------------------------------------------------------------------------------------------------------


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


def tversky(
    logits: Tensor,
    target: Tensor,
    false_positive: float = 0.3,
    false_negative: float = 0.7,
    gamma: float = 1.0,
) -> Tensor:
    """Dice with missed pixels weighing more than invented ones (Salehi et al. 2017).

    gamma below 1 looks harder at classes that are nearly right, above 1 at those that are nearly wrong (focal Tversky).
    """
    overlap, predicted, pixels = _sums(logits, target)
    wrong = false_positive * (predicted - overlap) + false_negative * (pixels - overlap)
    loss = 1 - overlap / (overlap + wrong).clamp(min=1e-7)
    return _mean_over_present(loss if gamma == 1 else loss.clamp(min=1e-7) ** gamma, pixels)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-Softmax over the batch, mean over the classes present (Berman et al. 2018)."""
    valid = target != IGNORE
    probabilities = logits.softmax(1)
    # Only classes that are present need sorting; asking which ones would make a GPU wait.
    classes = range(logits.shape[1]) if logits.is_cuda else [c for c in torch.unique(target).tolist() if c != IGNORE]
    total, present = logits.sum() * 0, torch.zeros((), device=logits.device)
    for index in classes:
        positive = ((target == index) & valid).to(probabilities.dtype)
        # An ignored pixel has error 0, and so is sorted behind all that count.
        errors, order = ((positive - probabilities[:, index]).abs() * valid).flatten().sort(descending=True)
        ordered = positive.flatten()[order]
        count = ordered.sum()
        intersection = count - ordered.cumsum(0)
        union = count + (1 - ordered).cumsum(0)
        steps = 1 - intersection / union
        steps[1:] = steps[1:] - steps[:-1].clone()
        there = (count > 0).to(errors.dtype)
        total = total + there * torch.dot(errors, steps)
        present = present + there
    return total / present.clamp(min=1)


# --- what a run uses -------------------------------------------------------------------------------------------------


PIXEL_LOSSES: dict[str, Callable[..., Tensor]] = {
    "ce": cross_entropy,
    "smooth-ce": smooth_cross_entropy,
    "focal": focal,
    "top-k": top_k,
    "ohem": ohem,
    "boundary": boundary,
}
LOSSES: dict[str, Callable[..., Tensor]] = {
    **PIXEL_LOSSES,
    "dice": dice,
    "jaccard": jaccard,
    "tversky": tversky,
    "lovasz": lovasz,
}


def options(name: str) -> list[str]:
    """The settings of a loss, such as ``["gamma"]`` of ``focal``."""
    return [
        key for key in inspect.signature(LOSSES[name]).parameters if key not in ("logits", "target", "class_weights")
    ]


RANGES: dict[str, tuple[float, float]] = {
    "smoothing": (0, 0.99),
    "gamma": (0.01, 20),
    "share": (0.0001, 1),
    "threshold": (0, 1),
    "weight": (0, 1000),
    "width": (1, 100),
    "false_positive": (0, 10),
    "false_negative": (0, 10),
    "power": (0, 4),
    "limit": (1, 1e6),
    "beta": (0, 0.999999),
}
"""What arguments of losses and of rules of class weights may be, ends included."""


def check_ranges(terms: Sequence[LossTerm], setting: str) -> None:
    """Raise TrashkitError for arguments outside `RANGES`, and where no term weighs anything."""
    for term in terms:
        for name, value in term.options.items():
            low, high = RANGES[name]
            if not low <= value <= high or (name == "width" and value != int(value)):
                whole = "a whole number " if name == "width" else ""
                raise TrashkitError(
                    f"{setting}: {name} of {term.name} is {whole}from {low:g} to {high:g}, not {value:g}",
                    hint=f'--set "{setting}={term.name}({name}={min(max(round(value, 2), low), high):g})"'
                    if name != "width"
                    else f'--set "{setting}={term.name}(width={min(max(round(value), 1), 100)})"',
                )
    if not sum(term.weight for term in terms) > 0:
        raise TrashkitError(f"{setting}: no part of it weighs anything", hint='--set "loss=ce + 0.5 * dice"')


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


def weighted_sum(terms: Sequence[LossTerm], class_weights: Tensor | None = None) -> Loss:
    """One loss from its terms. Logits are taken in float32, since half precision overflows in the sums.

    class_weights: [C] on the device of the logits, for the terms that are means over pixels.
    """
    parts = []
    for term in terms:
        fixed = {"class_weights": class_weights} if term.name in PIXEL_LOSSES else {}
        parts.append((partial(LOSSES[term.name], **fixed, **term.options), term.weight))

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        full, labels = logits.float(), target.long()
        total = parts[0][1] * parts[0][0](full, labels)
        for function, weight in parts[1:]:
            total = total + weight * function(full, labels)
        return total

    return loss


def presence(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of which classes are in each picture: logits [B, C] against label maps [B, H, W].

    A class may lie under ignored pixels: where these are more than `UNSEEN` of a picture, its absent classes do not
    count.
    """
    classes = logits.shape[1]
    target = target.long()
    valid = target != IGNORE
    flat = target.masked_fill(~valid, classes).flatten(1)
    there = torch.zeros(len(flat), classes + 1, device=logits.device).scatter_(1, flat, 1.0)[:, :classes]
    seen = (~valid).flatten(1).float().mean(1, keepdim=True) <= UNSEEN
    counted = there.bool() | seen
    return _mean(functional.binary_cross_entropy_with_logits(logits.float(), there, reduction="none"), counted.float())


UNSEEN = 0.25
"""Share of a picture; the corners that a turned photo leaves empty stay below it."""
