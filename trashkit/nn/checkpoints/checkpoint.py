"""Checkpoints and the training state, written atomically; the previous training state is kept.

A training state ends with the SHA-256 of the bytes before it, because torch's format detects truncated files but not
changed bytes.
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

from trashkit.outputs import Output
from trashkit.readers import LARGE, read_bytes
from trashkit.runs.folder import CHECKPOINTS, STATE

PREVIOUS = "state.previous.pt"
_DIGEST_MARK = b"sha256:"


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    """Turn the errors of torch and safetensors for a full disk into the OSError that it is."""
    try:
        yield
    except (RuntimeError, SafetensorError) as error:
        # the part written so far still takes space, so the disk is nearly full
        if "No space left" in str(error) or shutil.disk_usage(path.parent).free < 1 << 20:
            raise OSError(
                errno.ENOSPC, "the disk is full; finished epochs are saved, continue with --resume", str(path)
            ) from error
        if "File too large" in str(error):
            raise OSError(
                errno.EFBIG, "the file would exceed the size limit; finished epochs are saved", str(path)
            ) from error
        raise


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state as safetensors."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with Output(path, overwrite=True).writing() as temporary, _disk_errors(path):
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors creates files that only their owner may read
        _sync_to_disk(temporary)


def read_weights(path: Path, digest: str = "") -> dict[str, Tensor] | None:
    """The state in a safetensors file, on the CPU; None if it is missing, damaged, or has another SHA-256.

    digest: hexadecimal SHA-256, empty to accept any.
    """
    try:
        content = read_bytes(path, most=LARGE)
        return load(content) if digest in ("", hashlib.sha256(content).hexdigest()) else None
    except Exception:  # safetensors has several errors for damaged headers
        return None


def save_state(run: Path, state: Mapping[str, Any]) -> None:
    """Write the training state and keep the previous one as ``state.previous.pt``."""
    folder = run / CHECKPOINTS
    path = folder / f"new-{STATE}"
    with Output(path, overwrite=True).writing() as temporary, _disk_errors(path):
        torch.save(dict(state), temporary)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
        with temporary.open("ab") as file:
            file.write(_DIGEST_MARK + digest)
        _sync_to_disk(temporary)
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / PREVIOUS)
    (folder / f"new-{STATE}").replace(folder / STATE)


def load_state(run: Path) -> tuple[dict[str, Any] | None, list[Path]]:
    """The newest intact training state, on the CPU (None if there is none), and the paths of damaged ones.

    If the newest state is damaged the previous one is used, and its epoch is trained again with the same result.
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
        content = read_bytes(path, most=LARGE)
        body, mark, digest = content[: -len(_DIGEST_MARK) - 32], content[-len(_DIGEST_MARK) - 32 : -32], content[-32:]
        if mark != _DIGEST_MARK or hashlib.sha256(body).digest() != digest:
            return None
        state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
    except Exception:  # torch raises many kinds of errors for unreadable files
        return None
    return state if isinstance(state, dict) and "epoch" in state else None


def remove_state(run: Path) -> None:
    """Remove the training states of a complete run; they are several times as large as its weights."""
    for name in (STATE, PREVIOUS, f"new-{STATE}"):
        (run / CHECKPOINTS / name).unlink(missing_ok=True)


def _sync_to_disk(path: Path) -> None:
    # Without it a power failure can leave an empty file under the final name.
    with path.open("rb") as file:
        os.fsync(file.fileno())
