"""Checkpoints and the training state: whole or absent, and never the only copy while a new one is written.

A training state ends with the SHA-256 of what is before it: torch's own format notices a file that was cut off, and not
one with changed bytes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from trashkit.files import replacing
from trashkit.run_folder import CHECKPOINTS, STATE

PREVIOUS = "state.previous.pt"
_SEAL = b"sha256:"


@contextmanager
def _told_of_full_disk(path: Path) -> Iterator[None]:
    """Turns what torch and safetensors raise where the disk is full into the system's own error."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        # what was written is still there: there is next to no room beside it
        if "No space left" in str(error) or shutil.disk_usage(path.parent).free < 1 << 20:
            raise OSError(
                errno.ENOSPC, "the disk is full; trained epochs are safe, --resume goes on", str(path)
            ) from error
        if "File too large" in str(error):
            raise OSError(
                errno.EFBIG, "files may not become so large here; trained epochs are safe", str(path)
            ) from error
        raise


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state as safetensors: on the CPU, contiguous, no storage shared."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with replacing(path, overwrite=True) as temporary, _told_of_full_disk(path):
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors makes files that nobody else may read
        _to_disk(temporary)


def read_weights(path: Path, digest: str = "") -> dict[str, Tensor] | None:
    """The state that a file of weights holds, on the CPU; None where it is missing, damaged, or of another SHA-256.

    digest: hexadecimal, empty for any.
    """
    try:
        content = path.read_bytes()
        return load(content) if digest in ("", hashlib.sha256(content).hexdigest()) else None
    except (OSError, SafetensorError):
        return None


def save_state(run: Path, state: Mapping[str, Any]) -> None:
    """Write the training state; the one before it stays as ``state.previous.pt``."""
    folder = run / CHECKPOINTS
    path = folder / f"new-{STATE}"
    with replacing(path, overwrite=True) as temporary, _told_of_full_disk(path):
        torch.save(dict(state), temporary)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        with temporary.open("ab") as file:
            file.write(_SEAL + digest)
        _to_disk(temporary)
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / PREVIOUS)
    (folder / f"new-{STATE}").replace(folder / STATE)


def load_state(run: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest training state that is whole, on the CPU (None where there is none), and the damaged ones before it.

    A state that was damaged is passed over for the one before it: its epoch is trained again, to the same result.
    """
    damaged: list[Path] = []
    for name in (STATE, PREVIOUS):
        path = run / CHECKPOINTS / name
        if not path.exists():
            continue
        state = _read_state(path)
        if state is not None:
            return state, damaged
        damaged.append(path)
    return None, damaged


def _read_state(path: Path) -> dict[str, Any] | None:
    try:
        content = path.read_bytes()
        body, seal, digest = content[: -len(_SEAL) - 32], content[-len(_SEAL) - 32 : -32], content[-32:]
        if seal != _SEAL or hashlib.sha256(body).digest() != digest:
            return None
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds for a file it cannot read; the previous one is the answer to all
        return None
    return state if isinstance(state, dict) and "epoch" in state else None


def remove_state(run: Path) -> None:
    """Remove the training states of a run that is complete; they are several times as large as its weights."""
    for name in (STATE, PREVIOUS, f"new-{STATE}"):
        (run / CHECKPOINTS / name).unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    # Without it a power cut can leave an empty file under the final name.
    with path.open("rb") as file:
        os.fsync(file.fileno())
