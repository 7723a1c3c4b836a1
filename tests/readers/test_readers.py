"""Hostile and damaged content ends in one reason, quickly and in little memory."""

from __future__ import annotations

import contextlib
import io
import os
import threading
import tracemalloc
import zipfile
from pathlib import Path

import msgspec
import numpy as np
import pytest

from trashkit.errors import TrashkitError
from trashkit.readers import (
    ContentError,
    csv_rows,
    decode_json,
    decode_npz,
    decode_toml,
    decode_yaml,
    parse_xml,
    read_bytes,
    read_json,
    read_text,
    read_toml,
)

DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * DEEP, "nested more than 100 levels"),
        ("[" * 101 + "]" * 101, "nested more than 100 levels"),
        ('{"a":' * 101 + "1" + "}" * 101, "nested more than 100 levels"),
        ("9" * 5000, "integer of more than 4300 digits"),
        ('{"a": 1,}', "in line 1, column"),
        ("", "in line 1, column 1"),
        (b'"\xff"', "not UTF-8"),
    ],
)
def test_json_with_a_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        decode_json(text)


def test_json_as_deep_as_allowed() -> None:
    assert decode_json("[" * 100 + "]" * 100)
    assert decode_json(b'\xef\xbb\xbf{"a": NaN}')["a"] != 0


class Row(msgspec.Struct):
    width: int
    name: str | None = None


class File(msgspec.Struct):
    images: list[Row]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"images": [{"width": "1"}]}', r"at images\[0\]\.width: expected int, got str"),
        ('{"images": [[]]}', r"at images\[0\]: expected object, got array"),
        ('{"images": [{"width": true}]}', r"at images\[0\]\.width: expected int, got bool"),
        ('{"images": [{}]}', r"at images\[0\]: object missing required field width"),
        ("[]", "expected object, got array"),
    ],
)
def test_json_types(text: str, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        decode_json(text, File)


def test_json_large_numbers_as_floats() -> None:
    with pytest.raises(ContentError, match="at \\[0\\]: number out of range"):
        decode_json("[" + "9" * 400 + "]", list[float])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a" + ".a" * 20_000 + " = 1", "key of more than 100 parts"),
        ("[a" + ' . "a b"' * 20_000 + "]", "key of more than 100 parts"),
        ("a = " + "[" * DEEP, "nested more than 100 levels"),
        ("a = " + "[" * 101 + "]" * 101, "nested more than 100 levels"),
        ("a = " + "9" * 5000, "4300 digits"),
        ("a = 2020-99-01", "."),
        ("a", "."),
        (b"a = '\xff'", "not UTF-8"),
    ],
)
def test_toml_with_a_reason(text: str | bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        decode_toml(text)


def test_toml_with_dots_in_values() -> None:
    numbers = ", ".join(["0.5"] * 300)
    assert len(decode_toml(f"a = [{numbers}]\nb = '{'x. ' * 200}'")["a"]) == 300


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * DEEP, "nested more than 100 levels"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("a: !!python/object/apply:os.system [ls]", "."),
        ("a: [", "."),
        ("? [1]\n: 2", "."),
    ],
)
def test_yaml_with_a_reason(text: str, reason: str) -> None:
    pytest.importorskip("yaml")
    with pytest.raises(ContentError, match=reason):
        decode_yaml(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"<a>" * DEEP, "line 1: it is nested more than 100 levels"),
        (b"<a>\n<b></a>", "line 2: mismatched tag"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "line 1: it declares a document type"),
        (b'<?xml version="1.0" encoding="x-no"?><a/>', "."),
        (b"", "it is empty"),
        (b"<!-- nothing -->", "no element found"),
    ],
)
def test_xml_with_a_reason(text: bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        parse_xml(text, lambda *_: None, lambda *_: None)


def test_xml_text_is_that_of_the_element() -> None:
    ends: list[tuple[str, str]] = []
    parse_xml(b"<a>x<b>y&amp;z</b>w</a>", lambda *_: None, lambda name, text, _: ends.append((name, text)))
    assert ends == [("b", "y&z"), ("a", "xw")]


def npz(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()


def forged(header: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "damaged"),
        (b"PK\x05\x06" + b"\0" * 18, "no array a"),
        (npz(b=np.zeros(3)), "no array a"),
        (npz(a=np.zeros((2, 2))), "is float64 with 2 dimensions"),
        (npz(a=np.array(["x"])), "is <U1 with 1 dimensions"),
        (npz(a=np.array([None])), "is object"),
        (npz(a=np.arange(3))[:-30], "damaged"),
        (forged(b"{'descr': '<i8', 'fortran_order': False, 'shape': (1000000000000,)}\n"), "larger than"),
        (forged(b"{'descr': '<i8', 'fortran_order': False, 'shape': (-3,)}\n"), "negative"),
        (npz(a=np.zeros(100_000_000, np.int8)), "larger than 512 MiB"),
        (forged(b"{'descr': '<i8', 'fortran_order': False, 'shape': (3,)}\n"), "damaged"),
        (forged(b"__import__('os')\n"), "damaged"),
    ],
)
def test_npz_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        decode_npz(data, {"a": ("i", 1)})


def test_npz_arrays() -> None:
    assert decode_npz(npz(a=np.arange(3)), {"a": ("iu", 1)})["a"].tolist() == [0, 1, 2]


def test_csv_with_a_field_that_is_too_long() -> None:
    with pytest.raises(ContentError, match="line 2"):
        csv_rows("a\n" + "b" * 200_000)


def test_pipes_devices_folders_and_sizes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    large = tmp_path / "large"
    large.write_bytes(b"x" * 11)
    for path, reason in [
        (pipe, "pipe or a device"),
        (Path("/dev/zero"), "pipe or a device"),
        (tmp_path, "folder"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "not valid"),
    ]:
        with pytest.raises(OSError, match=reason):
            read_bytes(path)
    with pytest.raises(OSError, match="larger than"):
        read_bytes(large, most=10)
    assert read_bytes(large, most=11) == b"x" * 11


def test_text_line_ends_and_mark(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\r\nb\rc")
    assert read_text(tmp_path / "a") == "a\nb\nc"


def test_errors_name_the_file_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[")
    (tmp_path / "a.toml").write_text("[")
    with pytest.raises(TrashkitError, match=r"a\.json cannot be read as JSON: .* line 1") as caught:
        read_json(tmp_path / "a.json", hint="train again")
    assert caught.value.hint == "train again"
    with pytest.raises(TrashkitError, match=r"the recipe b cannot be read: no such file"):
        read_json(tmp_path / "b.json", name="the recipe b")
    with pytest.raises(TrashkitError, match=r"a\.toml is not TOML"):
        read_toml(tmp_path / "a.toml")


def test_a_small_file_is_read_in_little_memory(tmp_path: Path) -> None:
    """Whatever the most is that it may have."""
    (tmp_path / "a").write_bytes(bytes(100_000))
    tracemalloc.start()
    try:
        assert len(read_bytes(tmp_path / "a", most=1 << 30)) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_pipe_of_the_shell_is_read_up_to_the_most() -> None:
    for sent, most in ((3 << 20, 4 << 20), (5 << 20, 4 << 20)):
        reader, writer = os.pipe()
        thread = threading.Thread(target=_send, args=(writer, sent))
        thread.start()
        try:
            if sent <= most:
                assert len(read_bytes(f"/dev/fd/{reader}", most=most)) == sent
            else:
                with pytest.raises(OSError, match="larger than 4 MiB"):
                    read_bytes(f"/dev/fd/{reader}", most=most)
        finally:
            os.close(reader)
            thread.join()


def _send(writer: int, size: int) -> None:
    with contextlib.suppress(BrokenPipeError), os.fdopen(writer, "wb") as file:
        file.write(bytes(size))
