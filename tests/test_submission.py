"""The submission CSV: byte for byte what the plain way writes, and every damage explained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit import submission
from trashkit.errors import TrashkitError
from trashkit.submission import Profile

SMALL = Profile(height=3, width=4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Profile, NDArray[np.uint8]]:
    profile = Profile(
        height=draw(st.integers(1, 5)),
        width=draw(st.integers(1, 5)),
        separator=draw(st.sampled_from([" ", ";", ":", "|"])),
        classes=draw(st.sampled_from([1, 2, 10, 11, 12, 61, 150, 255])),
    )
    values = st.integers(0, profile.classes - 1)
    flat = draw(st.lists(values, min_size=profile.count, max_size=profile.count))
    return profile, np.array(flat, dtype=np.uint8).reshape(profile.height, profile.width)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_writes_what_join_of_str_writes_and_reads_it_back(case: tuple[Profile, NDArray[np.uint8]]) -> None:
    profile, label_map = case
    text = submission.encode_values(label_map, profile)
    assert text.decode() == profile.separator.join(map(str, label_map.ravel().tolist()))
    back = submission.decode_values(text, profile)
    assert back is not None
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, label_map)


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_decodes_nothing_but_canonical_rows_and_explains_the_rest(
    case: tuple[Profile, NDArray[np.uint8]], data: st.DataObject
) -> None:
    profile, label_map = case
    text = bytearray(submission.encode_values(label_map, profile))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    damaged = bytes(text)
    back = submission.decode_values(damaged, profile)
    if back is not None:
        assert submission.encode_values(back, profile) == damaged
    else:
        problem, cure = submission.explain_values(damaged, profile)
        assert problem
        assert cure


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("0 1 2 3 4 5 6 7 8 9 10", "it has 11 values, wanted are 12"),
        ("0 1 2 3 4 5 6 7 8 9 10 0 0", "it has 13 values"),
        ("0 1 2 3 4 5 6 11 8 9 10 0", "value 8 (pixel row 1, column 3) is class 11"),
        ("0 1 2 3 4 5 6 100 8 9 10 0", "is class 100"),
        ("0 1 2 3 4 5 6 99999999999999999999 8 9 10 0", "is class 9999"),
        ("0 1 2 3 4 a 6 7 8 9 10 0", "value 6 (pixel row 1, column 1) is 'a', no class"),
        ("0 1 2 3 4 : 6 7 8 9 10 0", "is ':', no class"),
        ("0 1 2 3 4 -1 6 7 8 9 10 0", "is '-1', no class"),
        ("0 1 2 3 4 1.0 6 7 8 9 10 0", "is '1.0', no class"),
        ("0 1 2 3 4 ² 6 7 8 9 10 0", "no class"),
        ("0  1 2 3 4 5 6 7 8 9 10 0", "not joined by single spaces"),
        ("0 1 2 3 4 5 6 7 8 9 10 0 ", "not joined by single spaces"),
        ("0 1 2 3 4 05 6 7 8 9 10 0", "leading zeros"),
        ("", "no values"),
        ("   ", "no values"),
    ],
)
def test_each_damage_has_its_words(values: str, words: str) -> None:
    assert submission.decode_values(values.encode(), SMALL) is None
    assert words in submission.explain_values(values.encode(), SMALL)[0]


def test_another_square_size_is_recognised() -> None:
    assert "512x512 label map to 256x256" in submission.explain_values(b" ".join([b"0"] * 512**2), Profile())[1]


NAMES = ["batch_01_vt/0002.jpg", "사진 폴더/병 1.jpg", 'a,b "c",d.jpg', "x.jpg"]


def test_file_is_what_the_csv_module_writes_and_pandas_like_readers_read(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 11, (4, 3, 4)).astype(np.uint8)
    assert submission.write(tmp_path / "s.csv", zip(NAMES, maps, strict=True), SMALL) == 4
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_id", "PredictionString"]
    for row, name, label_map in zip(rows[1:], NAMES, maps, strict=True):
        assert row == [name, " ".join(map(str, label_map.ravel().tolist()))]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", submission.BOM])
@pytest.mark.parametrize("last", [True, False])
def test_reads_windows_files_and_finds_rows_again(tmp_path: Path, end: bytes, mark: bytes, last: bool) -> None:
    maps = np.random.default_rng(0).integers(0, 11, (4, 3, 4)).astype(np.uint8)
    path = tmp_path / "s.csv"
    submission.write(path, zip(NAMES, maps, strict=True), SMALL)
    content = mark + path.read_bytes().replace(b"\n", end)
    path.write_bytes(content if last else content.removesuffix(end))
    assert submission.read_header(path) == SMALL.header
    rows = list(submission.read(path, SMALL))
    assert [row.file_name for row in rows] == NAMES
    assert [row.line for row in rows] == [2, 3, 4, 5]
    with path.open("rb") as file:
        for row in reversed(list(submission.read(path, SMALL, values=False))):
            assert row.label_map is None
            again = submission.read_at(file, row, SMALL)
            np.testing.assert_array_equal(submission.require(again, path), maps[row.line - 2])


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Any:
        yield "a.jpg", np.zeros((3, 4), dtype=np.uint8)
        yield "b.jpg", np.full((3, 4), 11, dtype=np.uint8)

    with pytest.raises(ValueError, match="class 11"):
        submission.write(tmp_path / "s.csv", rows(), SMALL)
    assert not list(tmp_path.iterdir())
    (tmp_path / "s.csv").write_text("mine")
    with pytest.raises(TrashkitError, match="exists"):
        submission.write(tmp_path / "s.csv", rows(), SMALL)
    assert (tmp_path / "s.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "changes", [{"separator": "1"}, {"separator": ","}, {"separator": ""}, {"classes": 256}, {"height": 0}]
)
def test_profiles_that_cannot_be_read_back_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"profile|joined"):
        Profile(**changes)
