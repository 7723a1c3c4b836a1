"""Which weights a run is used with: candidates compared on the validation fold, and a choice that luck cannot make.

The average of weights at the end of training is the standing choice. Another candidate takes its place only where it is
better on the validation images beyond doubt: in a paired bootstrap over images, corrected for the number of rivals. On
a small fold hardly anything is beyond doubt, and the standing choice stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from trashkit.scores import Confusion, Floats, Matrix, bootstrap_miou, bootstrap_miou_difference, interval

STANDING = "last"
FEWEST = 20
"""Validation images below which no rival is taken: so few can all be lucky."""
RESAMPLES = 2000
DOUBT = 0.05
"""Chance, over all rivals together, that one is taken which is no better."""

WHAT = {
    "last": "moving average of the weights after the last epoch",
    "raw": "weights after the last epoch, without moving average",
    "best": "moving average of the weights after the epoch with the best smoothed validation score",
    "mean": "mean of the weights after the last epochs, batch statistics measured anew",
}
"""The candidates, as they are called in files and settings."""


def compare(matrices: Mapping[str, Matrix], names: tuple[str, ...], wanted: str = "auto") -> dict[str, Any]:
    """Compare candidates and choose one: what the manifest says under `choice`.

    matrices: int64 [N, C, C] of the same images by candidate's name, STANDING among them. wanted: ``auto``, or the
    name to take whatever the comparison says. Returns ``{"chosen", "reason", "images", "candidates": [{"name", "what",
    "miou", "interval", "difference", "difference_interval", "better"}], "margin", "margin_interval"}``, where the
    margin is the mIoU of what is chosen less that of the best of the others (None without others), differences are to
    STANDING, intervals hold 95 %, and `better` is the share of resamples in which the candidate is ahead.
    """
    standing = matrices[STANDING]
    rivals = [name for name in matrices if name != STANDING]
    drawn = {name: bootstrap_miou_difference(standing, matrices[name], RESAMPLES) for name in rivals}
    entries: list[dict[str, Any]] = []
    for name, matrix in matrices.items():
        entry: dict[str, Any] = {
            "name": name,
            "what": WHAT.get(name, name),
            "miou": Confusion(matrix.sum(axis=0), names).miou(),
            "interval": list(interval(bootstrap_miou(matrix, RESAMPLES))),
        }
        if name in drawn:
            entry["difference"] = entry["miou"] - entries[0]["miou"]
            entry["difference_interval"] = list(interval(drawn[name]))
            entry["better"] = float((drawn[name] > 0).mean())
        entries.append(entry)
    chosen, reason = _choice(entries, drawn, len(standing), wanted)
    return {
        "chosen": chosen, "reason": reason, "images": len(standing), "candidates": entries,
        **_margin(matrices, entries, chosen),
    }  # fmt: skip


def _margin(matrices: Mapping[str, Matrix], entries: Sequence[Mapping[str, Any]], chosen: str) -> dict[str, Any]:
    """By how much what was chosen is ahead of the best of the others, and its interval; below 0 where it is behind."""
    scores = {str(entry["name"]): float(entry["miou"]) for entry in entries}
    others = {name: score for name, score in scores.items() if name != chosen}
    if not others:
        return {"margin": None, "margin_interval": None}
    next_ = max(others, key=lambda name: others[name])
    drawn = bootstrap_miou_difference(matrices[next_], matrices[chosen], RESAMPLES)
    return {"margin": scores[chosen] - scores[next_], "margin_interval": list(interval(drawn))}


def _choice(
    entries: Sequence[Mapping[str, Any]], drawn: Mapping[str, Floats], images: int, wanted: str
) -> tuple[str, str]:
    if wanted != "auto":
        there = any(entry["name"] == wanted for entry in entries)
        reason = "asked for by the setting checkpoint"
        not_there = f'"{wanted}" was {reason}, and {_SAME.get(wanted, "this run has none")}'
        return (wanted, reason) if there else (STANDING, not_there)
    if not drawn:
        return STANDING, "the only candidate"
    if images < FEWEST:
        return STANDING, f"{images} validation images decide nothing (at least {FEWEST} do)"
    certain = {name: float(np.quantile(drawn[name], DOUBT / len(drawn))) for name in drawn}
    winners = [entry for entry in entries if certain.get(entry["name"], 0.0) > 0]
    if winners:
        best = max(winners, key=lambda entry: float(entry["difference"]))
        return str(best["name"]), f"better than {STANDING} by {best['difference']:+.4f} mIoU, beyond doubt"
    ahead = max(entries[1:], key=lambda entry: float(entry["difference"]))
    if ahead["difference"] <= 0:
        return STANDING, "no other candidate scores higher"
    low, high = ahead["difference_interval"]
    return STANDING, (
        f"{ahead['name']} scores {ahead['difference']:+.4f} mIoU, but that may be luck (95 % interval {low:+.4f} to "
        f"{high:+.4f})"
    )


_SAME = {
    "best": "the best epoch is the last one",
    "raw": "without moving average the two are the same",
    "mean": "the mean of one epoch is that epoch",
}


def choice_line(what: str, choice: Mapping[str, Any]) -> str:
    """What a person is told about the choice."""
    scores = ", ".join(f"{entry['name']} {entry['miou']:.4f}" for entry in choice["candidates"])
    return f"{what}: checkpoint {choice['chosen']}: {choice['reason']} (validation mIoU: {scores})"
