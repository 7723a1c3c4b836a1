"""What the checks on predictions look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trashkit.audit.label_errors import LabelErrors, find_label_errors
from trashkit.audit.label_seen import seen_in_training
from trashkit.audit.settings import Settings
from trashkit.coco.dataset import Coco
from trashkit.progress import Progress
from trashkit.store import open_store


@dataclass(frozen=True)
class PredictedTable:
    """Label errors of a file. seen: how many of its images the models were trained on, None where that is open."""

    errors: LabelErrors
    seen: int | None
    settings: Settings


def predicted_table(coco: Coco, stores: Sequence[Path], settings: Settings, progress: Progress) -> PredictedTable:
    """Compare a file with stores that cover its images together."""
    opened = [open_store(path) for path in stores]
    errors = find_label_errors(coco, opened, progress=progress)
    here = {picture.image.id for picture in errors.gallery.pictures}
    seen: int | None = 0
    for store in opened:
        ids = seen_in_training(store)
        seen = None if ids is None or seen is None else seen + len(ids & here)
    return PredictedTable(errors, seen, settings)
