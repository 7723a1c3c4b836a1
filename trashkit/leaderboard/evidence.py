"""What the ledger keeps of a submission: pixels per class and image, and the confusion matrix of each validated image.

The matrices lie beside the ledger, in ``LEDGER.evidence/NAME.npz``: a summary cannot be weighed by image again.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit import submission
from trashkit.errors import TrashkitError
from trashkit.evaluate import Evaluation
from trashkit.files import replacing, sha256
from trashkit.leaderboard.ledger import Entry, Ledger
from trashkit.progress import Progress, silent
from trashkit.scores import Confusion, Matrix, bootstrap_miou, interval
from trashkit.submission import Profile


@dataclass(frozen=True, eq=False)
class Evidence:
    """Evidence of one submission.

    names: of the C classes. image_ids: [N] of the validated images. matrices: int64 [N, C, C], out of fold, rows truth.
    test_pixels: int64 [M, C], pixels that the submission gives each class in each test image.
    """

    names: tuple[str, ...]
    image_ids: tuple[int | str, ...]
    matrices: Matrix
    test_pixels: Matrix


def predicted_pixels(path: Path, profile: Profile, *, progress: Progress = silent) -> Matrix:
    """Pixels of each class in each row of a submission: int64 [M, C]. TrashkitError for rows whose values are wrong."""
    header = submission.read_header(path)
    if header != profile.header:
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {profile.header}, this with {header[:60]!r}",
            hint="give the CSV that was uploaded",
        )
    rows: list[NDArray[np.int64]] = []
    for row in submission.read(path, profile):
        counts = np.bincount(submission.require(row, path).ravel(), minlength=profile.classes)
        rows.append(counts.astype(np.int64))
        progress("reading the submission", len(rows), len(rows))
    if not rows:
        raise TrashkitError(f"{path} has no rows", hint="give the CSV that was uploaded")
    return np.stack(rows)


def evidence_of(found: Evaluation, image_ids: Sequence[int | str], test_pixels: Matrix) -> Evidence:
    """Evidence from an evaluation of out-of-fold predictions. image_ids: of its images, in its order."""
    return Evidence(found.names, tuple(image_ids), found.per_image, test_pixels)


def evidence_folder(ledger: Path) -> Path:
    """Where a ledger's matrices lie."""
    return ledger.with_name(f"{ledger.stem}.evidence")


def write_evidence(evidence: Evidence, ledger: Path, key: str) -> dict[str, Any]:
    """Write the matrices of one submission; returns what its ledger entry says of its validation.

    key: names the file, the start of the submission's hash. An equal key is replaced: it is the same submission.
    """
    path = evidence_folder(ledger) / f"{key}.npz"
    n, height, width = np.nonzero(evidence.matrices)
    with replacing(path, overwrite=True) as temporary:
        # Most of [N, C, C] is 0: cells alone, with their places, are a tenth of it.
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
    return {
        "miou": pooled.miou(),
        "interval": [low, high],
        "images": len(evidence.matrices),
        "per_class": {
            name: None if np.isnan(value) else float(value)
            for name, value in zip(evidence.names, pooled.iou(), strict=True)
        },
        "confusion": pooled.matrix.tolist(),
        "evidence": {"file": f"{path.parent.name}/{path.name}", "sha256": sha256(path)},
    }


def read_evidence(ledger: Ledger, entry: Entry) -> Evidence | None:
    """Matrices of one entry; None where it was added without validation.

    TrashkitError where the file is missing, was changed or is damaged.
    """
    where = entry.validation.get("evidence")
    if not isinstance(where, Mapping):
        return None
    path = ledger.path.parent / str(where.get("file"))
    hint = f"restore it, or delete the line of {entry.name} from {ledger.path} and add it again"
    try:
        if sha256(path) != where.get("sha256"):
            raise TrashkitError(f"{path} was changed after {entry.name} was added", hint=hint)
        with np.load(path, allow_pickle=False) as held:
            matrices = np.zeros(tuple(held["shape"]), np.int64)
            matrices[tuple(held["cells"])] = held["counts"]
            names, ids = json.loads(held["text"].tobytes())
            return Evidence(tuple(names), tuple(ids), matrices, held["test_pixels"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise TrashkitError(f"{path}, the evidence of {entry.name}, cannot be read: {error}", hint=hint) from error
