"""Weights files of strangers: one line, little memory, and nothing is unpickled."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from trashkit.errors import TrashkitError
from trashkit.nn.checkpoints.checkpoint import read_weights
from trashkit.nn.models.weights import read_state


def header(**tensors: object) -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text


GOOD = save({"a": torch.ones(4)})
SAFETENSORS = {
    "empty": b"",
    "short": GOOD[:5],
    "header cut off": GOOD[:20],
    "values cut off": GOOD[:-4],
    "header of exabytes": (1 << 62).to_bytes(8, "little") + b"{}",
    "header of 99 MB": (99_000_000).to_bytes(8, "little") + b"{}",
    "terabytes": header(a={"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}),
    "shape and offsets differ": header(a={"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}) + bytes(16),
    "shape overflows": header(a={"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 16]}) + bytes(16),
    "negative offsets": header(a={"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}) + bytes(16),
    "unknown type": header(a={"dtype": "F33", "shape": [4], "data_offsets": [0, 16]}) + bytes(16),
    "shape is a text": header(a={"dtype": "F32", "shape": "4", "data_offsets": [0, 16]}) + bytes(16),
    "nested": (10_000).to_bytes(8, "little") + b"[" * 10_000,
    "a list": (2).to_bytes(8, "little") + b"[]",
    "not a number": save({"a": torch.full((4,), float("nan"))}),
    "no tensors": header(),
}


@pytest.mark.parametrize("content", SAFETENSORS.values(), ids=SAFETENSORS)
def test_damaged_safetensors_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(TrashkitError) as refused:
        read_state(path)
    assert "\n" not in refused.value.message
    assert read_weights(path) is None or content in (SAFETENSORS["not a number"], SAFETENSORS["no tensors"])


class Runs:
    """An object that runs code where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was-run",)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"a": torch.ones(2), "b": Runs()}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Runs()))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(TrashkitError):
            read_state(tmp_path / name)
    assert not (tmp_path / "was-run").exists()


def test_views_that_repeat_their_values_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1).expand(1 << 20, 1 << 20)}, tmp_path / "a.pth")
    with pytest.raises(TrashkitError, match="tensors of more values than it holds"):
        read_state(tmp_path / "a.pth")


def test_sparse_tensors_are_no_weights(tmp_path: Path) -> None:
    torch.save({"a": torch.eye(3).to_sparse()}, tmp_path / "a.pth")
    with pytest.raises(TrashkitError, match="contains no weights"):
        read_state(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
def test_a_pipe_is_not_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(TrashkitError, match="is a pipe or a device"):
        read_state(tmp_path / name)
