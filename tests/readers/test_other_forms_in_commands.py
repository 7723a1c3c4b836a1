"""Logs, ledgers and submissions that are something else are named as what they are."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trashkit.edits.log import read_log
from trashkit.errors import TrashkitError
from trashkit.interop.names.lists import read_names
from trashkit.leaderboard.ledger import read_ledger
from trashkit.predictions import submission_csv


@pytest.mark.parametrize(
    "read",
    [read_log, read_ledger, submission_csv.read_header, lambda path: [*submission_csv.read(path)]],
    ids=["log", "ledger", "submission header", "submission"],
)
@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"<!DOCTYPE html>\n<html>\n<title>404</title>", "web page"),
        (gzip.compress(b"image_id,PredictionString\n", mtime=0), "gzip"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n", "Git LFS pointer"),
    ],
    ids=["web page", "gzip", "Git LFS pointer"],
)
def test_named(read: Callable[[Path], Any], data: bytes, cause: str, tmp_path: Path) -> None:
    path = tmp_path / "given"
    path.write_bytes(data)
    with pytest.raises(TrashkitError, match=cause):
        read(path)


def test_names_as_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_text('{"name": "캔"}\n{"name": "병"}\n', encoding="utf-8")
    with pytest.raises(TrashkitError, match="cannot be read as a list of names"):
        read_names(path)
