"""Label errors of a file, found once for all checks on predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trashkit.audit.settings import Settings
from trashkit.coco.dataset import Coco
from trashkit.label_errors.leakage import trained_image_ids
from trashkit.label_errors.search import LabelErrors, find_label_errors
from trashkit.predictions.store import open_store
from trashkit.progress import Progress


@dataclass(frozen=True)
class PredictionTable:
    """Label errors of a file. seen: how many of its images the models were trained on, None if unknown."""

    errors: LabelErrors
    seen: int | None
    settings: Settings


def prediction_table(coco: Coco, stores: Sequence[Path], settings: Settings, progress: Progress) -> PredictionTable:
    """Compare a file with stores that together cover its images."""
    opened = [open_store(path) for path in stores]
    errors = find_label_errors(coco, opened, progress=progress)
    here = {predicted.image.id for predicted in errors.predictions.images}
    seen: int | None = 0
    for store in opened:
        ids = trained_image_ids(store)
        seen = None if ids is None or seen is None else seen + len(ids & here)
    return PredictionTable(errors, seen, settings)
