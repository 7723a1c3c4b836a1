"""Lenient reading: valid JSON is kept unchanged, and parse errors name their place."""

from __future__ import annotations

import codecs
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.audit.fixes.fix_file import fix
from trashkit.coco import read, read_dataset, write
from trashkit.edits.apply import apply
from trashkit.errors import TrashkitError

SMALL = '{"info": {"a": 1}, "images": [{"id": 1}, {"id": 2}], "annotations": [], "categories": []}'


def written(tmp_path, data):
    path = tmp_path / "ann.json"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_blocks_rows_and_top(tmp_path):
    coco = read(written(tmp_path, SMALL))
    assert coco.blocks() == ("images", "annotations", "categories")
    assert coco.count("images") == 2 and coco.count("nothing") == 0
    assert coco.record("images", 1) == {"id": 2} and bytes(coco.raw("images", 0)) == b'{"id": 1}'
    assert coco.top("info") == {"a": 1} and coco.top("images") == [{"id": 1}, {"id": 2}] and coco.top("x") is None


def test_nan_and_infinity_are_accepted_and_kept_as_written(tmp_path):
    text = '{"annotations": [{"area": NaN, "bbox": [Infinity, -Infinity, 1e999, 0]}, {"id": 2}], "x": NaN}'
    coco = read(written(tmp_path, text))
    record = coco.record("annotations", 0)
    assert math.isnan(record["area"]) and record["bbox"] == [math.inf, -math.inf, math.inf, 0]
    assert bytes(coco.raw("annotations", 0)) == b'{"area": NaN, "bbox": [Infinity, -Infinity, 1e999, 0]}'
    assert math.isnan(coco.top("x"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_byte_order_marks_are_accepted(tmp_path, encoding):
    text = '{"categories": [{"id": 1, "name": "일반 쓰레기"}]}'
    data = text.encode(encoding)
    if encoding == "utf-16-le":
        data = codecs.BOM_UTF16_LE + data
    if encoding == "utf-16-be":
        data = codecs.BOM_UTF16_BE + data
    assert read(written(tmp_path, data)).record("categories", 0)["name"] == "일반 쓰레기"


def test_the_last_of_duplicate_keys_counts_and_the_row_keeps_its_text(tmp_path):
    coco = read(written(tmp_path, '{"images": [1], "images": [{"id": 1, "id": 2}]}'))
    assert coco.count("images") == 1
    assert coco.record("images", 0) == {"id": 2}
    assert bytes(coco.raw("images", 0)) == b'{"id": 1, "id": 2}'


def test_rows_may_have_any_values(tmp_path):
    text = '{"images": [null, 1, "x", [], {}, true, 1e400, 123456789012345678901234567890], "annotations": {"a": []}}'
    coco = read(written(tmp_path, text))
    values = [None, 1, "x", [], {}, True, math.inf, 123456789012345678901234567890]
    assert coco.records("images") == values
    assert coco.blocks() == ("images",) and coco.rows("annotations") == ()


@pytest.mark.parametrize("rest", ["", ', "area": NaN'])
def test_numbers_of_thousands_of_digits_are_infinite(tmp_path, rest):
    coco = read(written(tmp_path, f'{{"images": [{{"id": {"1" * 5000}{rest}}}]}}'))
    assert coco.record("images", 0)["id"] == math.inf
    assert bytes(coco.raw("images", 0)).count(b"1") == 5000


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"images": [{"id": 1},\n {"id": 2', "line 2, column"),
        ('{"images": [{"id": 1},\n\n  oops]}', "line 3, column 3"),
        ('{"images": []', "line 1, column 14"),
        ('{"images": []} {}', "line 1, column 16"),
        ('{"images": [1 2]}', "line 1, column 15"),
        ('{"images": [NaN,]}', "line 1, column"),
        ("{'images': []}", "it is a Python value"),
    ],
)
def test_parse_errors_name_their_place(tmp_path, text, place):
    with pytest.raises(TrashkitError, match=place) as caught:
        read(written(tmp_path, text))
    assert "ann.json" in caught.value.message and caught.value.hint


@pytest.mark.parametrize("text", ["[]", "3", '"x"', "null", "[{}]", "NaN"])
def test_json_that_is_not_an_object_is_refused(tmp_path, text):
    with pytest.raises(TrashkitError, match="not an object"):
        read(written(tmp_path, text))


def test_unreadable_files_are_reported(tmp_path):
    with pytest.raises(TrashkitError, match="does not exist"):
        read(tmp_path / "absent.json")
    with pytest.raises(TrashkitError, match="folder"):
        read(tmp_path)
    for data in (b"", b"  \n", codecs.BOM_UTF8):
        with pytest.raises(TrashkitError, match="empty"):
            read(written(tmp_path, data))
    with pytest.raises(TrashkitError, match=r"not UTF-8 text.*near byte 12"):
        read(written(tmp_path, b'{"images": "\xff\xfe"}'))
    with pytest.raises(TrashkitError, match="UTF-16"):
        read(written(tmp_path, codecs.BOM_UTF16_LE + b"\x00\xd8\x00"))
    with pytest.raises(TrashkitError, match=r"nested too deeply|not JSON"):
        read(written(tmp_path, '{"images": [' + "[" * 100_000 + "]" * 100_000 + "]}"))


@given(st.integers(0, len(SMALL)), st.sampled_from([SMALL, SMALL.replace("1", "NaN")]))
@settings(max_examples=100, deadline=None)
def test_every_truncation_is_reported_or_read(tmp_path_factory, cut, text):
    path = tmp_path_factory.mktemp("cut") / "ann.json"
    path.write_text(text[:cut])
    try:
        assert read(path).blocks() == ("images", "annotations", "categories") and cut >= len(text)
    except TrashkitError as error:
        assert cut < len(text) and ("line 1" in error.message or "empty" in error.message)


def test_both_parsers_give_the_same_rows(tmp_path):
    strict = read(written(tmp_path, SMALL))
    lenient = read(written(tmp_path, SMALL.replace('"a": 1', '"a": NaN')))
    assert {k: list(map(bytes, v)) for k, v in strict.items.items() if isinstance(v, tuple)} == {
        k: list(map(bytes, v)) for k, v in lenient.items.items() if isinstance(v, tuple)
    }


@pytest.mark.real
def test_published_files_are_read_as_json_reads_them(real_data):
    for path in [real_data / "taco/annotations.json", *sorted(real_data.glob("*/annotations.json"))]:
        value = json.loads(path.read_text())
        coco = read(path)
        assert {name: coco.top(name) for name in coco.items} == value


@pytest.mark.parametrize("extra", ["", ', "x": NaN'], ids=["strict", "with NaN"])
def test_a_duplicate_top_level_key_is_reported_and_nothing_is_written(tmp_path, extra):
    path = written(tmp_path, '{"annotations": [{"id": 1}], "images": [], "annotations": []' + extra + "}")
    coco = read(path)
    assert coco.duplicate_keys == ("annotations",)
    for refused in (
        lambda: read_dataset(path),
        lambda: apply(coco, []),
        lambda: write(coco.replace("images", append=[{"id": 5}]), tmp_path / "out.json"),
        lambda: fix(coco),
    ):
        with pytest.raises(TrashkitError, match='top-level key "annotations" more than once'):
            refused()
    assert not (tmp_path / "out.json").exists()


def test_escaped_quotation_marks_are_not_taken_for_duplicate_keys(tmp_path):
    text = r'{"a\"b": "c\"", "\u0022x": ["\u0022", "\""], "y": {"\"": 1}}'
    assert read(written(tmp_path, text)).duplicate_keys == ()
