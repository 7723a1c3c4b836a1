"""Losses: one function per name, and weighted sums of them.

Every loss takes logits [B, C, H, W] float and a target [B, H, W] of integers 0 .. C-1 or 255 (ignored), and returns one
float32 number, 0 with a gradient if every pixel is ignored. `PIXEL_LOSSES` are means over pixels and take class weights
[C], which multiply each pixel by the weight of its true class. The others compare regions and average over classes.
Further arguments are settings: ``focal(gamma=3)``. No loss synchronises with the GPU.

To add a loss, write the function, add it to `PIXEL_LOSSES` or `LOSSES`, and its arguments to `RANGES`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from trashkit.errors import TrashkitError
from trashkit.settings.loss_expressions import LossTerm

IGNORE = 255
Loss = Callable[[Tensor, Tensor], Tensor]


# --- means over pixels -----------------------------------------------------------------------------------------------


def _pixel_entropy(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none")


def _pixel_weights(target: Tensor, class_weights: Tensor | None) -> Tensor:
    """Weight of each pixel, [B, H, W]: 0 for ignored pixels."""
    valid = target != IGNORE
    if class_weights is None:
        return valid.float()
    return class_weights[target.masked_fill(~valid, 0)] * valid


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    total = weights.sum()
    return (values * weights).sum() / torch.where(total > 0, total, 1)


def cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy over pixels; `smoothing` spreads that share of the target evenly over all classes."""
    total = functional.cross_entropy(
        logits, target, class_weights, ignore_index=IGNORE, reduction="sum", label_smoothing=smoothing
    )
    count = _pixel_weights(target, class_weights).sum()
    return total / torch.where(count > 0, count, 1)


def smooth_cross_entropy(
    logits: Tensor, target: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.1
) -> Tensor:
    """Cross-entropy with label smoothing, for noisy labels."""
    return cross_entropy(logits, target, class_weights, smoothing)


def focal(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Mean of ``(1 - p)^gamma * -log p`` over pixels (Lin et al. 2017, with class weights as alpha)."""
    entropy = _pixel_entropy(logits, target)
    # log p is 0 at ignored pixels, where the power has an infinite slope if gamma is below 1
    modulation = (-torch.expm1(-entropy)).clamp(min=1e-7) ** gamma
    return _weighted_mean(modulation * entropy, _pixel_weights(target, class_weights))


def top_k(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, share: float = 0.25) -> Tensor:
    """Mean cross-entropy over the hardest `share` of the batch's pixels (Wu et al. 2016)."""
    entropy = _pixel_entropy(logits, target)
    return _hardest(entropy, target, class_weights, share, torch.zeros_like(entropy, dtype=torch.bool))


def ohem(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    threshold: float = 0.7,
    share: float = 0.0625,
) -> Tensor:
    """Online hard example mining (Shrivastava et al. 2016): mean cross-entropy over pixels whose true class has a
    probability below `threshold`, and over at least the hardest `share` of all pixels."""
    entropy = _pixel_entropy(logits, target)
    hard = (torch.exp(-entropy.detach()) < threshold) & (target != IGNORE)
    return _hardest(entropy, target, class_weights, share, hard)


def _hardest(entropy: Tensor, target: Tensor, class_weights: Tensor | None, share: float, also: Tensor) -> Tensor:
    """Mean over the `share` of valid pixels with the largest entropy, and over the pixels of the mask `also`."""
    valid = (target != IGNORE).flatten()
    ordered = entropy.detach().flatten().masked_fill(~valid, -1).sort(descending=True).values
    last = (share * valid.sum()).ceil().long().clamp(min=1) - 1
    chosen = (entropy.detach().flatten() >= ordered[last]) & valid
    weights = _pixel_weights(target, class_weights)
    return _weighted_mean(entropy, weights * (chosen.view_as(also) | also))


def boundary(
    logits: Tensor,
    target: Tensor,
    class_weights: Tensor | None = None,
    weight: float = 4.0,
    width: int = 2,
) -> Tensor:
    """Cross-entropy with ``1 + weight`` for pixels at most `width` away from another class.

    Distances are in steps to any of the eight neighbours; the edge of an ignored region is not a boundary.
    """
    near = near_boundary(target, logits.shape[1], width)
    return _weighted_mean(_pixel_entropy(logits, target), _pixel_weights(target, class_weights) * (1 + weight * near))


def near_boundary(target: Tensor, classes: int, width: int) -> Tensor:
    """Bool mask [B, H, W] of the pixels with another class at most `width` pixels away."""
    valid = target != IGNORE
    kernel = 2 * int(width) + 1
    highest = target.masked_fill(~valid, -1).float()[:, None]
    lowest = target.masked_fill(~valid, classes).float()[:, None]
    above = functional.max_pool2d(highest, kernel, stride=1, padding=int(width))
    below = -functional.max_pool2d(-lowest, kernel, stride=1, padding=int(width))
    return (above != below)[:, 0] & valid


# --- regions ---------------------------------------------------------------------------------------------------------


def _region_sums(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Per class over the batch, each [C]: overlap of probabilities and truth, sum of probabilities, true pixels."""
    valid = target != IGNORE
    classes = logits.shape[1]
    probabilities = logits.softmax(1) * valid[:, None]
    truth = functional.one_hot(target.masked_fill(~valid, 0), classes).permute(0, 3, 1, 2) * valid[:, None]
    overlap = (probabilities * truth).sum((0, 2, 3))
    return overlap, probabilities.sum((0, 2, 3)), truth.sum((0, 2, 3)).to(probabilities.dtype)


def _mean_over_present(loss: Tensor, pixels: Tensor) -> Tensor:
    """Mean over the classes with at least one pixel in the batch."""
    present = pixels > 0
    return (loss * present).sum() / present.sum().clamp(min=1)


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """``1 - 2 |p t| / (|p| + |t|)`` of soft predictions, mean over the classes present in the batch."""
    overlap, predicted, pixels = _region_sums(logits, target)
    return _mean_over_present(1 - 2 * overlap / (predicted + pixels).clamp(min=1e-7), pixels)


def jaccard(logits: Tensor, target: Tensor) -> Tensor:
    """``1 - |p t| / (|p| + |t| - |p t|)`` of soft predictions, mean over the classes present in the batch."""
    overlap, predicted, pixels = _region_sums(logits, target)
    return _mean_over_present(1 - overlap / (predicted + pixels - overlap).clamp(min=1e-7), pixels)


def tversky(
    logits: Tensor,
    target: Tensor,
    false_positive: float = 0.3,
    false_negative: float = 0.7,
    gamma: float = 1.0,
) -> Tensor:
    """Dice with separate weights for false positives and false negatives (Salehi et al. 2017).

    gamma: exponent of the focal Tversky loss; below 1 it emphasises classes that are nearly right, above 1 those that
    are mostly wrong.
    """
    overlap, predicted, pixels = _region_sums(logits, target)
    wrong = false_positive * (predicted - overlap) + false_negative * (pixels - overlap)
    loss = 1 - overlap / (overlap + wrong).clamp(min=1e-7)
    return _mean_over_present(loss if gamma == 1 else loss.clamp(min=1e-7) ** gamma, pixels)


def lovasz(logits: Tensor, target: Tensor) -> Tensor:
    """Lovasz-Softmax over the batch, mean over the classes present (Berman et al. 2018)."""
    valid = target != IGNORE
    probabilities = logits.softmax(1)
    # Only present classes need sorting, but finding out which they are would synchronise with the GPU.
    classes = range(logits.shape[1]) if logits.is_cuda else [c for c in torch.unique(target).tolist() if c != IGNORE]
    total, present = logits.sum() * 0, torch.zeros((), device=logits.device)
    for index in classes:
        positive = ((target == index) & valid).to(probabilities.dtype)
        # Ignored pixels have error 0, so they are sorted behind all pixels that count.
        errors, order = ((positive - probabilities[:, index]).abs() * valid).flatten().sort(descending=True)
        ordered = positive.flatten()[order]
        count = ordered.sum()
        intersection = count - ordered.cumsum(0)
        union = count + (1 - ordered).cumsum(0)
        steps = 1 - intersection / union
        steps[1:] = steps[1:] - steps[:-1].clone()
        is_present = (count > 0).to(errors.dtype)
        total = total + is_present * torch.dot(errors, steps)
        present = present + is_present
    return total / present.clamp(min=1)


# --- the tables ------------------------------------------------------------------------------------------------------


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


def loss_options(name: str) -> list[str]:
    """Names of the arguments of a loss that are settings, such as ``["gamma"]`` for ``focal``."""
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
"""Smallest and largest allowed value of each argument of losses and class-weight rules."""

WHOLE_NUMBERS = frozenset({"width"})
"""Arguments that must be whole numbers. Losses get them as floats, like all others."""


def check_ranges(terms: Sequence[LossTerm], setting: str) -> None:
    """Raise TrashkitError if an argument is outside `RANGES`, or if the weights of all terms are 0."""
    for term in terms:
        for name, value in term.options.items():
            low, high = RANGES.get(name, (-float("inf"), float("inf")))
            integer = name in WHOLE_NUMBERS
            if low <= value <= high and (not integer or value == int(value)):
                continue
            nearest = round(min(max(value, low), high)) if integer else min(max(round(value, 2), low), high)
            shown = f"{nearest}" if integer else f"{nearest:g}"
            raise TrashkitError(
                f"{setting}: {name} of {term.name} must be {'a whole number ' if integer else ''}from {low:g} to "
                f"{high:g}, not {value:g}",
                hint=f'--set "{setting}={term.name}({name}={shown})"',
            )
    if not sum(term.weight for term in terms) > 0:
        raise TrashkitError(f"{setting}: all weights are 0", hint='--set "loss=ce + 0.5 * dice"')


# --- sums ------------------------------------------------------------------------------------------------------------


def loss_sum(terms: Sequence[LossTerm], class_weights: Tensor | None = None) -> Loss:
    """One loss that is the weighted sum of `terms`. Logits are converted to float32: half precision overflows in sums.

    class_weights: [C] on the device of the logits, for the terms in `PIXEL_LOSSES`.
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


def image_weighted_loss(loss: Loss, logits: Tensor, target: Tensor, weights: Sequence[float]) -> Tensor:
    """The loss of a batch in which each image has a weight.

    The loss is computed once per group of images with equal weight, because Dice and similar losses are not sums over
    images, and the groups are added as ``sum(weight * images * loss) / images``. If all weights are 1 this is the loss
    itself.
    """
    if all(weight == 1.0 for weight in weights):
        return loss(logits, target)
    total = logits.sum() * 0.0  # a gradient for every parameter, whatever the weights
    for weight in sorted(set(weights)):
        chosen = [n for n, one in enumerate(weights) if one == weight]
        if weight:
            total = total + (weight * len(chosen)) * loss(logits[chosen], target[chosen])
    return total / len(weights)


# --- auxiliary loss --------------------------------------------------------------------------------------------------


MAX_IGNORED = 0.25
"""Largest share of ignored pixels with which an image still counts as showing everything in it. The corners that a
rotation leaves empty stay below."""


def image_presence_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of which classes are in each image: logits [B, C] against label maps [B, H, W].

    A class could be hidden under ignored pixels: if they cover more than `MAX_IGNORED` of an image, only the classes
    that are visible in it count.
    """
    classes = logits.shape[1]
    target = target.long()
    valid = target != IGNORE
    flat = target.masked_fill(~valid, classes).flatten(1)
    present = torch.zeros(len(flat), classes + 1, device=logits.device).scatter_(1, flat, 1.0)[:, :classes]
    complete = (~valid).flatten(1).float().mean(1, keepdim=True) <= MAX_IGNORED
    counted = present.bool() | complete
    entropy = functional.binary_cross_entropy_with_logits(logits.float(), present, reduction="none")
    return _weighted_mean(entropy, counted.float())
