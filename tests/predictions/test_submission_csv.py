"""The submission CSV: byte for byte as a plain writer gives it, and every kind of damage is explained."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.predictions import submission_csv
from trashkit.predictions.submission_csv import CsvLayout

SMALL = CsvLayout(height=3, width=4)


@st.composite
def cases(draw: st.DrawFn) -> tuple[CsvLayout, NDArray[np.uint8]]:
    layout = CsvLayout(
        height=draw(st.integers(1, 5)),
        width=draw(st.integers(1, 5)),
        separator=draw(st.sampled_from([" ", ";", ":", "|"])),
        classes=draw(st.sampled_from([1, 2, 10, 11, 12, 61, 150, 255])),
    )
    values = st.integers(0, layout.classes - 1)
    flat = draw(st.lists(values, min_size=layout.count, max_size=layout.count))
    return layout, np.array(flat, dtype=np.uint8).reshape(layout.height, layout.width)


@given(cases())
@settings(max_examples=300, deadline=None)
def test_rows_equal_a_plain_join_and_are_read_back(case: tuple[CsvLayout, NDArray[np.uint8]]) -> None:
    layout, label_map = case
    text = submission_csv.encode_values(label_map, layout)
    assert text.decode() == layout.separator.join(map(str, label_map.ravel().tolist()))
    back = submission_csv.decode_values(text, layout)
    assert back is not None
    assert back.dtype == np.uint8
    np.testing.assert_array_equal(back, label_map)


@given(cases(), st.data())
@settings(max_examples=300, deadline=None)
def test_only_canonical_rows_are_decoded_and_others_are_explained(
    case: tuple[CsvLayout, NDArray[np.uint8]], data: st.DataObject
) -> None:
    layout, label_map = case
    text = bytearray(submission_csv.encode_values(label_map, layout))
    place = data.draw(st.integers(0, len(text) - 1))
    text[place : place + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
    damaged = bytes(text)
    back = submission_csv.decode_values(damaged, layout)
    if back is not None:
        assert submission_csv.encode_values(back, layout) == damaged
    else:
        problem, cure = submission_csv.explain_values(damaged, layout)
        assert problem
        assert cure


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("0 1 2 3 4 5 6 7 8 9 10", "it has 11 values instead of 12"),
        ("0 1 2 3 4 5 6 7 8 9 10 0 0", "it has 13 values"),
        ("0 1 2 3 4 5 6 11 8 9 10 0", "value 8 (pixel row 1, column 3) is class 11"),
        ("0 1 2 3 4 5 6 100 8 9 10 0", "is class 100"),
        ("0 1 2 3 4 5 6 99999999999999999999 8 9 10 0", "is class 9999"),
        ("0 1 2 3 4 a 6 7 8 9 10 0", "value 6 (pixel row 1, column 1) is 'a', which is not a class"),
        ("0 1 2 3 4 : 6 7 8 9 10 0", "is ':', which is not a class"),
        ("0 1 2 3 4 -1 6 7 8 9 10 0", "is '-1', which is not a class"),
        ("0 1 2 3 4 1.0 6 7 8 9 10 0", "is '1.0', which is not a class"),
        ("0 1 2 3 4 ² 6 7 8 9 10 0", "not a class"),
        ("0  1 2 3 4 5 6 7 8 9 10 0", "not joined by single spaces"),
        ("0 1 2 3 4 5 6 7 8 9 10 0 ", "not joined by single spaces"),
        ("0 1 2 3 4 05 6 7 8 9 10 0", "leading zeros"),
        ("", "no values"),
        ("   ", "no values"),
    ],
)
def test_each_damage_is_explained(values: str, words: str) -> None:
    assert submission_csv.decode_values(values.encode(), SMALL) is None
    assert words in submission_csv.explain_values(values.encode(), SMALL)[0]


def test_another_square_size_is_recognised() -> None:
    assert "512x512 label map to 256x256" in submission_csv.explain_values(b" ".join([b"0"] * 512**2), CsvLayout())[1]


NAMES = ["batch_01_vt/0002.jpg", "사진 폴더/병 1.jpg", 'a,b "c",d.jpg', "x.jpg"]


def test_the_file_equals_that_of_the_csv_module_and_is_read_by_csv_readers(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 11, (4, 3, 4)).astype(np.uint8)
    assert submission_csv.write(tmp_path / "s.csv", zip(NAMES, maps, strict=True), SMALL) == 4
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["image_id", "PredictionString"]
    for row, name, label_map in zip(rows[1:], NAMES, maps, strict=True):
        assert row == [name, " ".join(map(str, label_map.ravel().tolist()))]


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("mark", [b"", submission_csv.BOM])
@pytest.mark.parametrize("last", [True, False])
def test_reads_windows_files_and_finds_rows_again(tmp_path: Path, end: bytes, mark: bytes, last: bool) -> None:
    maps = np.random.default_rng(0).integers(0, 11, (4, 3, 4)).astype(np.uint8)
    path = tmp_path / "s.csv"
    submission_csv.write(path, zip(NAMES, maps, strict=True), SMALL)
    content = mark + path.read_bytes().replace(b"\n", end)
    path.write_bytes(content if last else content.removesuffix(end))
    assert submission_csv.read_header(path) == SMALL.header
    rows = list(submission_csv.read(path, SMALL))
    assert [row.file_name for row in rows] == NAMES
    assert [row.line for row in rows] == [2, 3, 4, 5]
    with path.open("rb") as file:
        for row in reversed(list(submission_csv.read(path, SMALL, values=False))):
            assert row.label_map is None
            again = submission_csv.read_at(file, row, SMALL)
            np.testing.assert_array_equal(submission_csv.require(again, path), maps[row.line - 2])


def test_an_error_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Any:
        yield "a.jpg", np.zeros((3, 4), dtype=np.uint8)
        yield "b.jpg", np.full((3, 4), 11, dtype=np.uint8)

    with pytest.raises(ValueError, match="class 11"):
        submission_csv.write(tmp_path / "s.csv", rows(), SMALL)
    assert not list(tmp_path.iterdir())
    (tmp_path / "s.csv").write_text("mine")
    with pytest.raises(TrashkitError, match="exists"):
        submission_csv.write(tmp_path / "s.csv", rows(), SMALL)
    assert (tmp_path / "s.csv").read_text() == "mine"


@pytest.mark.parametrize(
    "changes", [{"separator": "1"}, {"separator": ","}, {"separator": ""}, {"classes": 256}, {"height": 0}]
)
def test_layouts_that_cannot_be_read_back_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"layout|joined"):
        CsvLayout(**changes)
