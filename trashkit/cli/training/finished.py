"""What commands say about finished runs: which find almost nothing, and on which photo to try one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trashkit.runs.run import Run


def nothing_found(runs: Iterable[Run]) -> list[str]:
    """A line for each run that finds almost nothing but background."""
    from trashkit.metrics.summary import finds_almost_nothing, miou_text

    return [
        f"{run.path}: validation mIoU {miou_text(run.miou, run.iou.values())}"
        for run in runs
        if finds_almost_nothing(run.iou.values())
    ]


def example_photo(run: Run) -> Path | None:
    """A photo that the run was validated on, or else trained on; None if its photos are no longer where they were."""
    inputs = run.inputs
    names = [*(inputs.get("validation_files") or ()), *(inputs.get("training_files") or ())]
    found = Path(str(inputs.get("images") or ""), names[0]) if names else None
    return found if found is not None and found.is_file() else None
