"""Which checkpoint a run is used with: candidates compared on the validation images, with a bias towards the default.

The default is the moving average of weights at the end of training. Another candidate replaces it only if it is
significantly better on the validation images: in a paired bootstrap over images, corrected for the number of rivals. On
a small fold hardly any difference is significant, and the default stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from trashkit.metrics.scores import Confusion, Floats, Matrix, bootstrap_miou, bootstrap_miou_difference, interval, iou
from trashkit.metrics.summary import finds_almost_nothing, short_miou_text, without_background
from trashkit.runs.manifest import Candidate, CheckpointChoice

DEFAULT = "last"
MIN_IMAGES = 20
"""With fewer validation images the default is always kept."""
RESAMPLES = 2000
ALPHA = 0.05
"""Probability, over all rivals together, of preferring one that is not better."""

DESCRIPTIONS = {
    "last": "moving average of the weights after the last epoch",
    "raw": "weights after the last epoch, without moving average",
    "best": "moving average of the weights after the epoch with the best smoothed validation score",
    "mean": "mean of the weights after the last epochs, with batch statistics measured again",
}
"""The candidates by their names in files and settings."""

_WHY_MISSING = {
    "best": "the best epoch is the last one",
    "raw": "without moving average the two are the same",
    "mean": "the mean of one epoch is that epoch",
}


def select_checkpoint(matrices: Mapping[str, Matrix], names: tuple[str, ...], wanted: str = "auto") -> CheckpointChoice:
    """Compare candidates and choose one: the entry `choice` of the manifest.

    matrices: confusion matrices int64 [N, C, C] of the same images by candidate, `DEFAULT` among them. names: of the
    classes. wanted: ``auto``, or the candidate to take whatever the comparison says.
    """
    default = matrices[DEFAULT]
    rivals = [name for name in matrices if name != DEFAULT]
    drawn = {name: bootstrap_miou_difference(default, matrices[name], RESAMPLES) for name in rivals}
    candidates: list[Candidate] = []
    for name, matrix in matrices.items():
        candidate: Candidate = {
            "name": name,
            "what": DESCRIPTIONS.get(name, name),
            "miou": Confusion(matrix.sum(axis=0), names).miou(),
            "miou_without_background": without_background(iou(matrix.sum(axis=0)).tolist()),
            "interval": list(interval(bootstrap_miou(matrix, RESAMPLES))),
        }
        if name in drawn:
            candidate["difference"] = candidate["miou"] - candidates[0]["miou"]
            candidate["difference_interval"] = list(interval(drawn[name]))
            candidate["better"] = float((drawn[name] > 0).mean())
        candidates.append(candidate)
    nothing = [name for name, matrix in matrices.items() if finds_almost_nothing(iou(matrix.sum(axis=0)).tolist())]
    chosen, reason = _choose(candidates, drawn, len(default), wanted, nothing)
    margin, margin_interval = _margin(matrices, candidates, chosen)
    return {
        "chosen": chosen,
        "reason": reason,
        "images": len(default),
        "candidates": candidates,
        "margin": margin,
        "margin_interval": margin_interval,
    }


def _margin(
    matrices: Mapping[str, Matrix], candidates: Sequence[Candidate], chosen: str
) -> tuple[float | None, list[float] | None]:
    """The mIoU of the chosen candidate less that of the best other one, and its interval; None without others."""
    scores = {one["name"]: float(one["miou"]) for one in candidates}
    others = {name: score for name, score in scores.items() if name != chosen}
    if not others:
        return None, None
    second = max(others, key=lambda name: others[name])
    drawn = bootstrap_miou_difference(matrices[second], matrices[chosen], RESAMPLES)
    return scores[chosen] - scores[second], list(interval(drawn))


def _choose(
    candidates: Sequence[Candidate], drawn: Mapping[str, Floats], images: int, wanted: str, nothing: Sequence[str]
) -> tuple[str, str]:
    """The chosen name and the reason. nothing: candidates that find almost nothing, which are never called better."""
    if wanted != "auto":
        if any(one["name"] == wanted for one in candidates):
            return wanted, "set by the setting checkpoint"
        why = _WHY_MISSING.get(wanted, "this run has none")
        return DEFAULT, f'the setting checkpoint is "{wanted}", but {why}'
    if not drawn or images < MIN_IMAGES:
        few = f"{images} validation images are too few to compare (at least {MIN_IMAGES} are needed)"
        return DEFAULT, few if drawn else "the only candidate"
    lower = {name: float(np.quantile(drawn[name], ALPHA / len(drawn))) for name in drawn}
    winners = [one for one in candidates if lower.get(one["name"], 0.0) > 0 and one["name"] not in nothing]
    if winners:
        best = max(winners, key=lambda one: float(one["difference"]))
        return best["name"], f"significantly better than {DEFAULT}, by {best['difference']:+.4f} mIoU"
    return DEFAULT, _why_default(max(candidates[1:], key=lambda one: float(one["difference"])), nothing)


def _why_default(ahead: Candidate, nothing: Sequence[str]) -> str:
    """Why the best other candidate does not replace the default."""
    if ahead["difference"] <= 0:
        return "no other candidate scores higher"
    scores = f"{ahead['name']} scores {ahead['difference']:+.4f} mIoU"
    if ahead["name"] in nothing:
        return f"{scores}, but finds almost nothing"
    low, high = ahead["difference_interval"]
    return f"{scores}, which is not significant (95 % interval {low:+.4f} to {high:+.4f})"


def choice_line(name: str, choice: CheckpointChoice) -> str:
    """The choice as one line for the log. name: of the run."""
    scores = ", ".join(
        f"{one['name']} {short_miou_text(one['miou'], one['miou_without_background'])}" for one in choice["candidates"]
    )
    return f"{name}: checkpoint {choice['chosen']}: {choice['reason']} (validation mIoU: {scores})"
