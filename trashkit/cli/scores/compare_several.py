"""``trashkit compare --split``: choose the best of several predictions, and tell honestly what it gains."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import command, progress, show, table

if TYPE_CHECKING:
    from trashkit.workflows.score import ScoringOptions


def show_choice(
    first: Path, others: Sequence[Path], truth: Path, split: Path, options: ScoringOptions, *, seed: int, json: bool
) -> None:
    """Judge `others` against `first` on the folds of a split, and show the result."""
    from trashkit.metrics.summary import short_miou_text
    from trashkit.workflows.auto.judge import judge_files

    with progress() as report:
        found = judge_files(first, others, truth, split, options, seed=seed, progress=report)
    scores = list(zip(found.names, found.mious, found.others, strict=True))
    rows = [(name, miou, other, f"{miou - found.base:+.4f}") for name, miou, other in scores]
    by_fold = ", ".join(f"fold {fold}: {found.names[n]}" for fold, n in enumerate(found.chosen))
    best = found.names[found.best]
    human: list[Any] = [
        f"A {first}: mIoU {short_miou_text(found.base, found.base_other)}, of the classes in the truth",
        table(["B", "mIoU", "without background", "B - A"], rows),
        f"chosen on the other folds: {by_fold}",
        f"gain of that choice, each on its own fold: {found.gain:+.4f} (95 % interval {found.low:+.4f} to "
        f"{found.high:+.4f})",
        f"{best} is better than A" if found.taken else "no evidence that any of them is better than A",
    ]
    result = {
        "a": {"path": first, "miou": found.base, "miou_without_background": found.base_other},
        "candidates": [{"path": name, "miou": miou, "miou_without_background": other} for name, miou, other in scores],
        "best": best,
        "chosen_by_fold": [found.names[n] for n in found.chosen],
        "gain": found.gain,
        "interval": [found.low, found.high],
        "evidence": found.taken,
    }
    show(result, json=json, human=human, next=command("score", best if found.taken else first, "--data", truth))
