"""The ledger is append-only, skips incomplete lines and refuses duplicates; changed evidence is refused."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.leaderboard.comparable import comparable_entries
from trashkit.leaderboard.evidence import Evidence, evidence_folder, predicted_pixels, read_evidence, write_evidence
from trashkit.leaderboard.ledger import Entry, EvidenceFile, Ledger, RunReference, ValidationRecord, append, read_ledger
from trashkit.predictions.submission_csv import CsvLayout, write

Made = Callable[..., NDArray[np.int64]]


def entry(n: int = 0, **changes: object) -> Entry:
    return replace(Entry(f"sub{n}", f"/x/sub{n}.csv", f"{n:064x}", "2026-11-23T02:00:00+00:00"), **changes)  # type: ignore[arg-type]


def test_added_entries_are_read_back(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "leaderboard.jsonl"
    first = entry(1, public=0.8209, pixels={"종이": 5}, run=RunReference("r"), validation=ValidationRecord(miou=0.8))
    assert append(path, first) == first
    append(path, entry(2))
    assert read_ledger(path).entries == (first, entry(2))
    assert read_ledger(tmp_path / "absent.jsonl").entries == ()


def test_names_are_made_unique(tmp_path: Path) -> None:
    for n in range(3):
        append(tmp_path / "l.jsonl", entry(n, name="submission"))
    assert [e.name for e in read_ledger(tmp_path / "l.jsonl").entries] == ["submission", "submission-2", "submission-3"]


def test_the_same_submission_is_refused_and_later_scores_are_added(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    append(path, entry(1, public=0.8))
    before = path.read_bytes()
    for again in (entry(1, name="other name"), entry(1, public=0.8)):
        with pytest.raises(TrashkitError, match=r"already in .*, as sub1"):
            append(path, again)
    with pytest.raises(TrashkitError, match=r"has the public score 0\.8 .* not 0\.7"):
        append(path, entry(1, public=0.7))
    assert path.read_bytes() == before
    assert append(path, entry(1, private=0.77)).private == 0.77
    assert path.read_bytes().startswith(before)
    (read,) = read_ledger(path).entries
    assert (read.public, read.private) == (0.8, 0.77)


@pytest.mark.parametrize("score", [-0.1, 1.5, 82.09, float("nan"), True])
def test_scores_that_are_not_an_miou_are_refused(tmp_path: Path, score: float) -> None:
    with pytest.raises(TrashkitError, match="not an mIoU"):
        append(tmp_path / "l.jsonl", entry(1, public=score))
    assert not (tmp_path / "l.jsonl").exists()


@given(cut=st.integers(1, 10_000))
def test_an_incomplete_line_loses_only_that_line(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("torn") / "l.jsonl"
    append(path, entry(1, public=0.5))
    whole = len(path.read_bytes())
    append(path, entry(2, public=0.6))
    text = path.read_bytes()
    kept = whole + cut % (len(text) - whole - 1)  # without its line end at least the last line is torn or whole
    path.write_bytes(text[:kept])
    ledger = read_ledger(path)
    torn = kept > whole
    complete = kept == len(text) - 1
    assert [e.name for e in ledger.entries] == (["sub1", "sub2"] if complete else ["sub1"])
    assert ledger.damaged == ((2,) if torn and not complete else ())
    append(path, entry(3, public=0.7))
    assert path.read_bytes().startswith(text[:kept])
    assert [e.name for e in read_ledger(path).entries][-1] == "sub3"


def test_an_incomplete_first_line_is_skipped(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    append(path, entry(1))
    path.write_bytes(path.read_bytes()[:30])
    append(path, entry(2))
    assert [e.name for e in read_ledger(path).entries] == ["sub2"]


def test_a_file_that_is_not_a_ledger_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    for content in (b"\xff\xd8 no json", b"[1, 2]\n", b'{"sha256": 3}\n', b'{"format": 9, "sha256": "a"}\n'):
        path.write_bytes(content)
        with pytest.raises(TrashkitError):
            append(path, entry(1))
        assert path.read_bytes() == content


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: append(path, entry(n, name="same")), range(40)))
    read = read_ledger(path)
    assert not read.damaged
    assert len({e.sha256 for e in read.entries}) == len({e.name for e in read.entries}) == 40


def kept(tmp_path: Path, matrices: NDArray[np.int64], ids: tuple[int | str, ...]) -> Ledger:
    """A ledger with one submission per model."""
    path = tmp_path / "l.jsonl"
    for n, part in enumerate(matrices):
        pixels = part.sum(axis=1)
        evidence = Evidence(("Background", "A", "B", "C"), ids, part, pixels)
        append(path, entry(n, public=0.5 + n / 100, validation=write_evidence(evidence, path, f"{n}")))
    return read_ledger(path)


def test_evidence_comes_back_exactly_and_changes_are_noticed(tmp_path: Path, models: Made) -> None:
    matrices = models(1, 7)
    ids = (3, "a/사진.jpg", 5, 6, 7, 8, 9)
    ledger = kept(tmp_path, matrices, ids)
    found = read_evidence(ledger, ledger.entries[0])
    assert found is not None
    assert np.array_equal(found.matrices, matrices[0])
    assert found.image_ids == ids
    assert ledger.entries[0].validation.confusion == matrices[0].sum(axis=0).tolist()
    (held,) = evidence_folder(ledger.path).iterdir()
    held.write_bytes(held.read_bytes()[:-1] + b"x")
    with pytest.raises(TrashkitError, match="was changed after sub0"):
        read_evidence(ledger, ledger.entries[0])
    held.unlink()
    with pytest.raises(TrashkitError, match="cannot be read"):
        read_evidence(ledger, ledger.entries[0])


def test_submissions_are_joined_by_image_id_and_others_left_out(tmp_path: Path, models: Made) -> None:
    matrices = models(3, 5)
    ledger = kept(tmp_path, matrices[:1], (1, 2, 3, 4, 5))
    names = ("Background", "A", "B", "C")
    for n, (rows, ids) in enumerate((([4, 3, 2, 1, 0], (5, 4, 3, 2, 1)), ([0, 1, 2], (11, 12, 13))), 1):
        evidence = Evidence(names, ids, matrices[n][rows], matrices[n].sum(axis=1))
        append(ledger.path, entry(n, validation=write_evidence(evidence, ledger.path, f"{n}")))
    append(ledger.path, entry(7))
    held = comparable_entries(read_ledger(ledger.path))
    assert [e.name for e in held.entries] == ["sub0", "sub1"]
    assert np.array_equal(held.matrices, matrices[:2])
    assert set(held.left_out) == {"sub2", "sub7"}
    assert np.isnan(held.public[1])
    assert held.weights({1: 2.0}) is not None
    assert held.weights({99: 2.0}) is None
    fold = held.fold([[1, 2], [3, 4, 5]])
    assert fold is not None
    assert fold.tolist() == [0, 0, 1, 1, 1]
    assert held.fold([[1, 2], [3, 4]]) is None


def test_pixels_of_a_submission_are_counted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    maps = rng.integers(0, 5, (3, 8, 8)).astype(np.uint8)
    layout = CsvLayout(height=8, width=8, classes=5)
    write(tmp_path / "s.csv", [(f"{n}.jpg", m) for n, m in enumerate(maps)], layout)
    assert np.array_equal(
        predicted_pixels(tmp_path / "s.csv", layout), [[(m == c).sum() for c in range(5)] for m in maps]
    )
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(TrashkitError, match="begins with"):
        predicted_pixels(tmp_path / "x.csv", layout)


def test_a_ledger_is_lines_of_json(tmp_path: Path) -> None:
    append(tmp_path / "l.jsonl", entry(1, public=0.5))
    value = json.loads((tmp_path / "l.jsonl").read_text())
    assert {"format", "name", "sha256", "public", "private", "run", "split", "validation", "pixels"} <= value.keys()


DEEP = "[" * 5000 + "]" * 5000
LINE = {"format": 1, "name": "a", "path": "a.csv", "sha256": "0" * 64, "time": "2026"}
WRONG_LINES = {
    "nested": (DEEP, "is not a ledger"),
    "long integer": ("9" * 5000, "is not a ledger"),
    "a list": ([], "is not a record"),
    "name is a list": (LINE | {"name": []}, "at name"),
    "pixels are a list": (LINE | {"pixels": [1]}, "at pixels"),
    "pixels are negative": (LINE | {"pixels": {"Paper": -1}}, "at pixels"),
    "run is a text": (LINE | {"run": "r"}, "at run"),
    "validation is a number": (LINE | {"validation": 0.8}, "at validation"),
    "mIoU is NaN": (LINE | {"validation": {"miou": float("nan")}}, r"at validation\.miou"),
    "mIoU is 80": (LINE | {"validation": {"miou": 80}}, r"at validation\.miou"),
    "evidence without file": (LINE | {"validation": {"evidence": {"sha256": "x"}}}, r"at validation\.evidence"),
    "evidence is a text": (LINE | {"validation": {"evidence": "e.npz"}}, r"at validation\.evidence"),
    "trace is a text": (LINE | {"trace": "x"}, "at trace"),
    "score is a text": (LINE | {"public": "0.8"}, "is not an mIoU"),
    "later without earlier": (LINE | {"later": True, "run": {"name": "r"}}, "no earlier line"),
}


@pytest.mark.parametrize(("line", "message"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_wrong_lines_are_named(tmp_path: Path, line: object, message: str) -> None:
    (tmp_path / "l.jsonl").write_text(line if isinstance(line, str) else json.dumps(line))
    with pytest.raises(TrashkitError, match=message):
        read_ledger(tmp_path / "l.jsonl")


def arrays(**changes: object) -> dict[str, Any]:
    text = np.frombuffer(json.dumps([["a", "b"], [1, 2]]).encode(), np.uint8)
    good = {"shape": np.array([2, 2, 2]), "cells": np.array([[0, 1], [0, 1], [1, 1]]), "counts": np.array([5, 6])}
    return good | {"test_pixels": np.array([[3, 4]]), "text": text} | changes


def text_of(value: object) -> NDArray[np.uint8]:
    return np.frombuffer((value if isinstance(value, str) else json.dumps(value)).encode(), np.uint8)


WRONG_EVIDENCE: dict[str, Any] = {
    "cell out of range": arrays(cells=np.array([[0, 2], [0, 1], [1, 1]])),
    "cell is negative": arrays(cells=np.array([[0, -1], [0, 1], [1, 1]])),
    "cells of two": arrays(cells=np.array([[0, 1], [0, 1]])),
    "cells are floats": arrays(cells=np.zeros((3, 2))),
    "shape of terabytes": arrays(shape=np.array([10**5, 10**4, 10**4])),
    "shape of terabytes, with its names": arrays(
        shape=np.array([10**5, 200, 200]), text=text_of([[f"c{n}" for n in range(200)], list(range(10**5))])
    ),
    "shape is negative": arrays(shape=np.array([-2, 2, 2])),
    "shape of two": arrays(shape=np.array([2, 2])),
    "counts are negative": arrays(counts=np.array([5, -6])),
    "counts are too large": arrays(counts=np.array([5, 1 << 62])),
    "counts of one": arrays(counts=np.array([5])),
    "no counts": arrays(counts=np.array([], int), cells=np.zeros((3, 0), int)),
    "no test pixels": arrays(test_pixels=np.zeros((0, 2), int)),
    "test pixels of three classes": arrays(test_pixels=np.ones((1, 3), int)),
    "test pixels are negative": arrays(test_pixels=np.array([[3, -4]])),
    "test pixels are 0": arrays(test_pixels=np.array([[0, 0]])),
    "text is nested": arrays(text=text_of(DEEP)),
    "text is a number": arrays(text=text_of(3)),
    "names are numbers": arrays(text=text_of([[1, 2], [1, 2]])),
    "ids twice": arrays(text=text_of([["a", "b"], [1, 1]])),
    "ids are lists": arrays(text=text_of([["a", "b"], [[], []]])),
    "no archive": b"PK",
    "empty": b"",
}


@pytest.mark.parametrize("content", WRONG_EVIDENCE.values(), ids=WRONG_EVIDENCE)
def test_wrong_evidence_is_an_error_of_its_submission_only(tmp_path: Path, content: Any) -> None:
    ledger = Ledger(tmp_path / "l.jsonl", ())
    evidence_folder(ledger.path).mkdir()

    def recorded(n: int, content: Any) -> Entry:
        path = evidence_folder(ledger.path) / f"{n}.npz"
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.savez(path, **content)
        file = EvidenceFile(f"{path.parent.name}/{path.name}", sha256(path))
        return entry(n, validation=ValidationRecord(miou=0.5, evidence=file))

    bad, good = recorded(1, content), recorded(2, arrays())
    with pytest.raises(TrashkitError, match=r"the evidence of sub1, cannot be read: "):
        read_evidence(ledger, bad)
    found = comparable_entries(replace(ledger, entries=(bad, good)))
    assert [one.name for one in found.entries] == ["sub2"]
    assert "cannot be read" in found.left_out["sub1"]
    with pytest.raises(TrashkitError, match="cannot be read"):
        comparable_entries(replace(ledger, entries=(bad,)))


def test_a_pipe_as_evidence_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = entry(1, validation=ValidationRecord(miou=0.5, evidence=EvidenceFile("pipe", "0")))
    with pytest.raises(TrashkitError, match="it is a pipe or a device"):
        read_evidence(Ledger(tmp_path / "l.jsonl", (found,)), found)
