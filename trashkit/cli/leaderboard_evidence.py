"""What ``trashkit leaderboard add`` keeps of validation: names of files of matrices, or a score alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trashkit.evaluate import Evaluation
    from trashkit.leaderboard.ledger import Entry


def bare_validation(validation: float, oof: Path | None, truth: Path | None) -> dict[str, Any]:
    """What the ledger holds of a validation score alone."""
    from trashkit.errors import TrashkitError

    if oof is not None or truth is not None:
        raise TrashkitError("--validation is for submissions without --oof", hint="leave one of them out")
    return {"miou": validation}


def evidence_files(ledger: Path) -> set[Path]:
    """The files of matrices that lie beside a ledger."""
    from trashkit.leaderboard.evidence import evidence_folder

    return set(evidence_folder(ledger).glob("*.npz"))


def evidence_key(entry: Entry, scored: Evaluation, ledger: Path) -> str:
    """Name of the file of matrices: the submission's hash, and for validation that came later that of the matrices."""
    from hashlib import sha256

    from trashkit.leaderboard.ledger import read_ledger

    key = entry.sha256[:16]
    if read_ledger(ledger).find(entry.sha256) is None:
        return key
    return f"{key}-{sha256(scored.per_image.tobytes()).hexdigest()[:8]}"
