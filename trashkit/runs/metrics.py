"""metrics.jsonl and validation.npz: what a run measures, epoch by epoch."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Required, TypedDict

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.outputs import write_bytes
from trashkit.readers import ContentError, checked, decode_json, decode_npz, read_bytes
from trashkit.runs.folder import METRICS, VALIDATION
from trashkit.runs.json_values import finite


class _ImageScores(TypedDict, total=False):
    miou: float | None
    miou_interval: list[float | None]
    pixel_accuracy: float | None
    iou: dict[str, float | None]
    iou_error: dict[str, float | None]
    definitions: dict[str, Any]


class Scores(_ImageScores, total=False):
    """Scores on the validation images; partly missing in runs without validation and of older versions.

    epoch: of the weights that were scored. miou_interval: 95 % bootstrap interval. iou, iou_error: IoU and its standard
    error by class name, None for classes in neither truth nor prediction. definitions: mIoU by definition.
    """

    epoch: int


class _RowForm(TypedDict, total=False):
    """What a line of metrics.jsonl must have to be shown; any version of trashkit writes it so."""

    epoch: Required[int]
    step: int
    loss: float | None
    presence_loss: float | None
    lr: float | None
    lr_encoder: float | None
    smoothed: float | None
    images_per_second: float | None
    seconds: float | None
    miou: float | None
    miou_interval: tuple[float | None, float | None] | None
    pixel_accuracy: float | None
    iou: dict[str, float | None] | None
    iou_error: dict[str, float | None] | None
    definitions: dict[str, Any] | None


class EpochRow(_ImageScores, total=False):
    """One line of metrics.jsonl: `Scores` of the epoch, and how training went.

    step: optimiser steps so far. lr: of the decoder. seconds: training time so far. smoothed: smoothed mIoU.
    """

    epoch: Required[int]
    step: Required[int]
    loss: Required[float]
    presence_loss: float
    lr: float
    lr_encoder: float
    smoothed: float
    images_per_second: float
    seconds: float


def read_metrics(run: Path) -> list[EpochRow]:
    """The epochs of a run, oldest first, without a last line that was cut off by a kill.

    Raises TrashkitError, with the line, for a file that cannot be read or is damaged; a missing one has no epochs.
    """
    path, rows = run / METRICS, list[EpochRow]()
    hint = f"restore the file, or train again with --overwrite; without {METRICS} the run can still be used"
    try:
        lines = read_bytes(path).split(b"\n")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint=hint) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = decode_json(line)
            checked(value, _RowForm)
            rows.append(value)
        except ContentError as error:
            if number == len(lines):  # no line end follows
                break
            raise TrashkitError(f"{path}, line {number} is damaged: {error}", hint=hint) from error
    return rows


def write_metrics(run: Path, rows: Sequence[Mapping[str, Any]] | Sequence[EpochRow]) -> None:
    """Write all epochs of a run; the file is small enough to be rewritten each time."""
    text = "".join(json.dumps(finite(row)) + "\n" for row in rows)
    write_bytes(run / METRICS, text.encode(), overwrite=True)


@dataclass(frozen=True, eq=False)
class Validation:
    """Confusion matrices int64 [N, C, C], one per validation image.

    names: of the classes. files: file names of the images. epoch: of the weights that predicted them.
    """

    per_image: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[str, ...]
    epoch: int


def write_validation(run: Path, found: Validation) -> None:
    """Write the confusion matrices of a run's validation images."""
    buffer = io.BytesIO()
    about = {"names": found.names, "files": found.files, "epoch": found.epoch}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(buffer, per_image=found.per_image.astype(np.uint32), about=text)
    write_bytes(run / VALIDATION, buffer.getvalue(), overwrite=True)


class _About(TypedDict):
    names: list[str]
    files: list[str]
    epoch: int


def read_validation(run: Path) -> Validation | None:
    """The confusion matrices of a run's validation images; None if the file is missing or damaged."""
    try:
        stored = decode_npz(read_bytes(run / VALIDATION), {"about": ("u", 1), "per_image": ("iu", 3)})
        about = decode_json(stored["about"].tobytes(), _About)
    except (OSError, ContentError):
        return None
    counts = stored["per_image"]
    shape = (len(about["files"]), len(about["names"]), len(about["names"]))
    if counts.shape != shape or not counts.size or counts.min() < 0 or counts.max() >= 1 << 32:
        return None
    return Validation(counts.astype(np.int64), tuple(about["names"]), tuple(about["files"]), about["epoch"])
