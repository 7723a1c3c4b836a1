"""Evidence of submissions: predicted pixels per class and image, and the confusion matrix of each validated image.

It is stored next to the ledger, in ``LEDGER.evidence/NAME.npz``: pooled scores could not be reweighted by image.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import sha256
from trashkit.leaderboard.ledger import Entry, EvidenceFile, Ledger, ValidationRecord
from trashkit.metrics.evaluate import Evaluation
from trashkit.metrics.scores import Confusion, Matrix, bootstrap_miou, interval
from trashkit.outputs import Output
from trashkit.predictions import submission_csv
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.readers import ContentError, decode_json, decode_npz, read_bytes


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence of one submission.

    names: of the C classes. image_ids: [N] of the validated images. matrices: int64 [N, C, C], out-of-fold confusion,
    rows truth. test_pixels: int64 [M, C], predicted pixels of each class in each test image.
    """

    names: tuple[str, ...]
    image_ids: tuple[int | str, ...]
    matrices: Matrix
    test_pixels: Matrix


def predicted_pixels(path: Path, layout: CsvLayout, *, progress: Progress = silent) -> Matrix:
    """Count the pixels of each class in each row of a submission: int64 [M, C]. TrashkitError for invalid rows."""
    header = submission_csv.read_header(path)
    if header != layout.header:
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {layout.header}, not with {header[:60]!r}",
            hint="give the CSV that was uploaded",
        )
    rows: list[NDArray[np.int64]] = []
    for row in submission_csv.read(path, layout):
        counts = np.bincount(submission_csv.require(row, path).ravel(), minlength=layout.classes)
        rows.append(counts.astype(np.int64))
        progress("reading the submission", len(rows), len(rows))
    if not rows:
        raise TrashkitError(f"{path} has no rows", hint="give the CSV that was uploaded")
    return np.stack(rows)


def evidence_from(found: Evaluation, image_ids: Sequence[int | str], test_pixels: Matrix) -> Evidence:
    """Build evidence from an evaluation of out-of-fold predictions. image_ids: of its images, in its order."""
    return Evidence(found.names, tuple(image_ids), found.per_image, test_pixels)


def evidence_folder(ledger: Path) -> Path:
    """Folder of a ledger's evidence files."""
    return ledger.with_name(f"{ledger.stem}.evidence")


def evidence_files(ledger: Path) -> set[Path]:
    """Paths of a ledger's evidence files."""
    return set(evidence_folder(ledger).glob("*.npz"))


def evidence_key(digest: str, scored: Evaluation, ledger: Ledger) -> str:
    """Name of an evidence file: the submission's hash, and for a recorded submission also that of the matrices."""
    key = digest[:16]
    if ledger.find(digest) is None:
        return key
    return f"{key}-{hashlib.sha256(scored.per_image.tobytes()).hexdigest()[:8]}"


def write_evidence(evidence: Evidence, ledger: Path, key: str) -> ValidationRecord:
    """Write the evidence of one submission; returns the validation record of its ledger entry.

    key: name of the file (`evidence_key`). An existing file of that name is replaced: it is the same submission.
    """
    path = evidence_folder(ledger) / f"{key}.npz"
    n, height, width = np.nonzero(evidence.matrices)
    with Output(path, overwrite=True).writing() as temporary:
        # Most of [N, C, C] is 0: the non-zero cells with their indices take a tenth of the space.
        np.savez_compressed(
            temporary,
            shape=np.array(evidence.matrices.shape),
            cells=np.stack([n, height, width]).astype(np.int32),
            counts=evidence.matrices[n, height, width],
            test_pixels=evidence.test_pixels,
            text=np.frombuffer(json.dumps([evidence.names, evidence.image_ids]).encode(), np.uint8),
        )
    pooled = Confusion(evidence.matrices.sum(axis=0), evidence.names)
    low, high = interval(bootstrap_miou(evidence.matrices))
    return ValidationRecord(
        miou=pooled.miou(),
        interval=[low, high],
        images=len(evidence.matrices),
        per_class={
            name: None if np.isnan(value) else float(value)
            for name, value in zip(evidence.names, pooled.iou(), strict=True)
        },
        confusion=pooled.matrix.tolist(),
        evidence=EvidenceFile(f"{path.parent.name}/{path.name}", sha256(path)),
    )


_MOST_BYTES = 1 << 30
_ARRAYS = {"shape": ("iu", 1), "cells": ("iu", 2), "counts": ("iu", 1), "test_pixels": ("iu", 2), "text": ("u", 1)}


def read_evidence(ledger: Ledger, entry: Entry) -> Evidence | None:
    """Read the evidence of one entry; None if it was added without. TrashkitError if the file is missing or changed."""
    where = None if entry.validation is None else entry.validation.evidence
    if where is None:
        return None
    path = ledger.path.parent / where.file
    hint = f"restore it, or delete the line of {entry.name} from {ledger.path} and add it again"
    try:
        content = read_bytes(path, most=_MOST_BYTES)
        if hashlib.sha256(content).hexdigest() != where.sha256:
            raise TrashkitError(f"{path} was changed after {entry.name} was added", hint=hint)
        return _decoded(content)
    except (OSError, ValueError) as error:
        reason = read_error_reason(error)
        raise TrashkitError(f"{path}, the evidence of {entry.name}, cannot be read: {reason}", hint=hint) from error


def _decoded(content: bytes) -> Evidence:
    """The evidence in a file; ContentError for anything that `write_evidence` does not write."""
    held = decode_npz(content, _ARRAYS)
    names, ids = decode_json(held["text"].tobytes(), tuple[list[str], list[int | str]])
    shape = tuple(held["shape"].tolist())
    cells, counts, pixels = held["cells"].astype(np.int64), held["counts"], held["test_pixels"]
    if shape != (len(ids), len(names), len(names)) or not 0 < len(names) < 256 or len(set(ids)) < max(1, len(ids)):
        raise ContentError("its matrices do not fit its images and classes")
    if math.prod(shape) * 8 > _MOST_BYTES:
        raise ContentError(f"its matrices are larger than {_MOST_BYTES >> 20} MiB")
    if cells.shape != (3, len(counts)) or (cells < 0).any() or (cells >= np.array(shape)[:, None]).any():
        raise ContentError("it counts pixels outside its matrices")
    if pixels.shape[1] != len(names) or not (_is_count(counts) and _is_count(pixels)):
        raise ContentError("its numbers are not pixels of images")
    matrices = np.zeros(shape, np.int64)
    matrices[tuple(cells)] = counts
    return Evidence(tuple(names), tuple(ids), matrices, pixels.astype(np.int64))


def _is_count(pixels: NDArray[np.integer[Any]]) -> bool:
    """Whether numbers are pixels of images, and not all 0."""
    return bool(pixels.size and pixels.min() >= 0 and 0 < pixels.max() < 1 << 32)
