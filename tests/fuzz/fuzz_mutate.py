"""Mutates one file in place: by its form, blindly, or by putting something else than a file there."""

# ruff: noqa: E501  tables of values are easier to read in long lines
from __future__ import annotations

import contextlib
import gzip
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import fuzz_binary as binary
from fuzz_json import mutate_json, mutate_json_lines
from fuzz_text import mutate_csv, mutate_lines, mutate_toml, mutate_xml, mutate_yaml

Mutation = Callable[[bytes, random.Random], bytes]

FORMS: dict[str, Mutation] = {
    ".json": mutate_json,
    ".jsonl": mutate_json_lines,
    ".toml": mutate_toml,
    ".xml": mutate_xml,
    ".yaml": mutate_yaml,
    ".yml": mutate_yaml,
    ".csv": mutate_csv,
    ".txt": mutate_lines,
    ".py": mutate_lines,
    ".npy": binary.mutate_npy,
    ".npz": binary.mutate_npz,
    ".png": binary.mutate_png,
    ".jpg": binary.mutate_jpeg,
    ".onnx": binary.mutate_onnx,
    ".safetensors": binary.mutate_safetensors,
}
"""By suffix. A file without one is a chunk of a store."""


def blind(data: bytes, rng: random.Random) -> bytes:
    """Bytes with changes that know nothing of their form."""
    at = rng.randrange(len(data) + 1)
    end = min(len(data), at + rng.choice([1, 4, 64, 1000]))
    way = rng.randrange(12)
    if way < 3:
        changed = bytearray(data)
        for _ in range(rng.choice([1, 1, 4, 32]) if data else 0):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return bytes(changed)
    return [
        data[:at], data[:at] + data[end:], data[:at] + rng.randbytes(rng.choice([1, 8, 300])) + data[at:], data[:end] + data[at:], b"",
        b"\xef\xbb\xbf" + data, data.decode(errors="replace").encode("utf-16"), gzip.compress(data, mtime=0), data.replace(b"\n", b"\r\n"),
    ][way - 3]  # fmt: skip


def _pipe(path: Path) -> None:
    os.mkfifo(path)


PLACES: tuple[tuple[str, Callable[[Path], None]], ...] = (
    ("a pipe", _pipe),
    ("a link to /dev/zero", lambda path: path.symlink_to("/dev/zero")),
    ("a link to itself", lambda path: path.symlink_to(path.name)),
    ("a dangling link", lambda path: path.symlink_to("nowhere")),
    ("a folder", lambda path: path.mkdir()),
    ("a link to the folder above", lambda path: path.symlink_to("..")),
    ("nothing", lambda path: None),
    ("a file that nobody may read", lambda path: path.touch(0)),
)


def mutate(path: Path, rng: random.Random) -> str:
    """Change a file, and say how."""
    way = rng.random()
    if way < 0.07:
        name, put = rng.choice(PLACES)
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        put(path)
        return name
    data = path.read_bytes()
    form = FORMS.get(path.suffix.lower(), binary.mutate_chunk)
    if way > 0.25 and data:
        # a second victim of one case may be damaged already, and is then changed blindly
        with contextlib.suppress(Exception):
            path.write_bytes(form(data, rng))
            return form.__name__
    path.write_bytes(blind(data, rng))
    return "blind"
