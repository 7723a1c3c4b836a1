"""Checkpoints and the training state: whole or absent, and never the only copy while a new one is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from trashkit.files import replacing
from trashkit.run import CHECKPOINTS, STATE

PREVIOUS = "state.previous.pt"


def save_weights(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write a state as safetensors: on the CPU, contiguous, no storage shared."""
    tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
    with replacing(path, overwrite=True) as temporary:
        save_file(tensors, temporary)
        temporary.chmod(0o644)  # safetensors makes files that nobody else may read
        _to_disk(temporary)


def save_state(run: Path, state: Mapping[str, Any]) -> None:
    """Write the training state; the one before it stays as ``state.previous.pt``."""
    folder = run / CHECKPOINTS
    with replacing(folder / f"new-{STATE}", overwrite=True) as temporary:
        torch.save(dict(state), temporary)
        _to_disk(temporary)
    if (folder / STATE).exists():
        (folder / STATE).replace(folder / PREVIOUS)
    (folder / f"new-{STATE}").replace(folder / STATE)


def load_state(run: Path) -> dict[str, Any] | None:
    """The newest training state that can be read, on the CPU; None where there is none.

    A state that was damaged is passed over for the one before it: its epoch is trained again, to the same result.
    """
    for name in (STATE, PREVIOUS):
        path = run / CHECKPOINTS / name
        if not path.exists():
            continue
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        except Exception:  # torch raises many kinds for a damaged file; the previous one is the answer to all
            continue
        if isinstance(state, dict) and "epoch" in state:
            return state
    return None


def remove_state(run: Path) -> None:
    """Remove the training states of a run that is complete; they are several times as large as its weights."""
    for name in (STATE, PREVIOUS, f"new-{STATE}"):
        (run / CHECKPOINTS / name).unlink(missing_ok=True)


def _to_disk(path: Path) -> None:
    # Without it a power cut can leave an empty file under the final name.
    with path.open("rb") as file:
        os.fsync(file.fileno())
