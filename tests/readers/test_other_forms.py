"""Files that are something else than was meant are named as what they are, by every reader."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from trashkit.errors import TrashkitError
from trashkit.readers import (
    ContentError,
    decode_json,
    decode_toml,
    decode_yaml,
    iterate_csv,
    other_encoding,
    other_form,
    parse_xml,
    read_bytes,
    read_json,
    read_text,
    read_toml,
)

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 731\n" % (b"0f" * 32)


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("instances.json", "{}")
    return buffer.getvalue()


def zipped_as(name: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, "x")
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("instances.json"))
    return buffer.getvalue()


def picture(suffix: str) -> bytes:
    return cv2.imencode(suffix, np.zeros((4, 4, 3), np.uint8))[1].tobytes()


OTHERS = {
    "lfs": (LFS, "Git LFS pointer"),
    "annex": (b"/annex/objects/SHA256E-s12--ab.json\n", "git-annex pointer"),
    "dvc": (b"outs:\n- md5: 0f\n  size: 3\n  path: train.json\n", "DVC pointer"),
    "page": (b"<!DOCTYPE html><html></html>", "web page"),
    "answer of a server": (b"404: Not Found", "error message of a server"),
    "page without doctype": (b"\n  <HTML lang='ko'><head>", "web page"),
    "page after a comment": (b"<!-- saved from url=x -->\n<html>", "web page"),
    "page as XHTML": (b'<?xml version="1.0"?>\n<!DOCTYPE html PUBLIC "x">', "web page"),
    "storage": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "error message of a storage server"),
    "gzip": (gzip.compress(b"{}", mtime=0), "gzip"),
    "zip": (zipped(), "ZIP archive"),
    "xlsx": (zipped_as("[Content_Types].xml"), "document of Microsoft Office"),
    "npz": (zipped_as("arr_0.npy"), "NumPy archive"),
    "torch": (zipped_as("archive/data.pkl"), "PyTorch file"),
    "bzip2": (bz2.compress(b"{}"), "bzip2"),
    "xz": (lzma.compress(b"{}"), "xz"),
    "tar": (tarred(), "tar archive"),
    "jpeg": (picture(".jpg"), "JPEG picture"),
    "png": (picture(".png"), "PNG picture"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC picture"),
    "video": (b"\0\0\0\x18ftypisom\0\0\0\0", "a video"),
    "pickle": (b"\x80\x04\x95\x10\0\0\0\0\0\0\0", "pickle"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_named_by_every_reader(name: str, tmp_path: Path) -> None:
    data, cause = OTHERS[name]
    path = tmp_path / "given"
    path.write_bytes(data)
    with pytest.raises(TrashkitError, match=cause) as found:
        read_json(path, hint="general advice")
    assert found.value.hint not in ("", "general advice")
    with pytest.raises(TrashkitError, match=cause):
        read_toml(path)
    for read in (read_text, lambda path: list(iterate_csv(path)), lambda path: decode_yaml(read_bytes(path))):
        with pytest.raises((ContentError, OSError), match=cause):
            read(path)
    if name != "storage":  # is XML
        with pytest.raises((ContentError, OSError), match=cause):
            parse_xml(read_bytes(path), lambda *_: None, lambda *_: None)


@pytest.mark.parametrize(
    "text",
    [
        "PAR1\nglass\n",
        "BM\n",
        "GIF87\n",
        "BZh\n",
        "<b>\n",
        "version https://example.com\n",
        "outs:\n- can\n",
        "%PDF-\n",
    ],
)
def test_text_that_begins_alike_is_text(text: str, tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text(text)
    assert read_text(path) == text


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_all_forms_of_unicode_are_read(codec: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    value = {"이름": "유리병 🍾"}
    path.write_bytes(json.dumps(value, ensure_ascii=False).encode(codec))
    assert read_json(path) == value
    assert decode_json(path.read_bytes()) == value
    path.write_bytes("a,유리병\n".encode(codec))
    assert list(iterate_csv(path)) == [(1, ["a", "유리병"])]
    assert decode_toml('a = "캔"'.encode(codec)) == {"a": "캔"}


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("스티로폼 상자", "cp949", "CP949"),
        ("종이\n유리\n비닐\n", "cp949", "CP949"),
        ("其他垃圾", "gb18030", "GB18030"),
        ("can\n玻璃瓶\n纸板\n", "gb18030", "GB18030"),
        ("verre cassé", "cp1252", "CP1252"),
        ("Plastiktüte\nGlas\n", "cp1252", "CP1252"),
    ],
)
def test_encodings_of_class_names(text: str, codec: str, name: str) -> None:
    data = text.encode(codec)
    reason, hint = other_encoding(data)
    assert next(line for line in text.splitlines() if not line.isascii()) in reason
    assert f"iconv -f {name} -t UTF-8" in hint
    long = json.dumps({"images": [0] * 9999, "categories": [{"name": text}]}, ensure_ascii=False)
    with pytest.raises(ContentError, match=f"in {name.replace('CP1252', 'Windows-1252')}") as found:
        decode_json(long.encode(codec))
    assert found.value.hint == hint


def test_bytes_that_are_no_text() -> None:
    assert "binary" in other_encoding(b"ab\0\xff\xfe\0\x01")[0]
    assert "truncated" in other_encoding("한글".encode()[:-1])[0]
    assert "not UTF-8 text" in other_encoding(b"\x98\xff\x81\xff")[0]
    assert other_form(b"") is None


@pytest.mark.parametrize(
    "text", ['{"a": 1}\n{"a": 2}\n', '{"a": 1}\r\n\r\n{"a": 2}', "[1]\n[2]\n", '{\n"a": 1\n}\n{\n"a": 2\n}']
)
def test_json_lines(text: str) -> None:
    with pytest.raises(ContentError, match="JSON Lines"):
        decode_json(text)


@pytest.mark.parametrize("text", ['{"a": 1}{"a": 2}', '{"a": 1}\nand more', '{"a": 1}}'])
def test_other_extra_data_is_no_json_lines(text: str) -> None:
    with pytest.raises(ContentError, match="Extra data"):
        decode_json(text)
