"""Saving: nothing dropped, renumbered or reformatted."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Coco, read, write
from trashkit.errors import TrashkitError

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
files = st.dictionaries(st.text(max_size=4) | st.sampled_from(["images", "annotations"]), values, max_size=5)


@given(files, st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :\n")]), st.booleans())
@settings(max_examples=150, deadline=None)
def test_values_rows_and_then_bytes_survive(tmp_path_factory, value, separators, ascii_only):
    folder = tmp_path_factory.mktemp("w")
    text = json.dumps(value, separators=separators, ensure_ascii=ascii_only)
    (folder / "a.json").write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        first = read(folder / "a.json")
    except TrashkitError:
        assert any("\ud800" <= c <= "\udfff" for c in text)
        return
    write(first, folder / "b.json")
    second = read(folder / "b.json")
    assert list(second.items) == list(value)
    assert repr({name: second.top(name) for name in second.items}) == repr(value)
    for block in first.blocks():
        assert list(map(bytes, second.rows(block))) == list(map(bytes, first.rows(block)))
    write(second, folder / "c.json")
    assert (folder / "c.json").read_bytes() == (folder / "b.json").read_bytes()


def test_an_existing_file_is_refused_and_unchanged(tmp_path):
    coco = Coco.of({"images": []})
    write(coco, tmp_path / "a.json")
    with pytest.raises(TrashkitError, match="already exists"):
        write(Coco.of({}), tmp_path / "a.json")
    assert read(tmp_path / "a.json").blocks() == ("images",)
    write(Coco.of({}), tmp_path / "a.json", overwrite=True)
    assert (tmp_path / "a.json").read_text() == "{}\n"


def test_the_hash_is_that_of_the_bytes(tmp_path):
    (tmp_path / "a.json").write_text('{"images":[ {"id":1} ]}')
    coco = read(tmp_path / "a.json")
    assert coco.sha256 == hashlib.sha256(b'{"images":[ {"id":1} ]}').hexdigest()
    changed = coco.replace("images", {0: {"id": 2}})
    write(changed, tmp_path / "b.json")
    assert changed.sha256 == hashlib.sha256((tmp_path / "b.json").read_bytes()).hexdigest() != coco.sha256


def test_replace_keep_and_subset_leave_other_rows_text_alone(tmp_path):
    (tmp_path / "a.json").write_text(
        '{"images":[{"id":1},{"id":2},{"id":"1"}],"annotations":[{"id":5,"image_id":1},{"id":6,"image_id":2},'
        '{"id" :7,"image_id":"1"},null],"scenes":[{"image_id":2},{"other":1}],"info":{}}'
    )
    coco = read(tmp_path / "a.json")
    changed = coco.replace("annotations", {0: None, 1: {"id": 60}}, append=[{"id": 8}])
    assert [bytes(raw) for raw in changed.rows("annotations")] == [
        b'{"id": 60}', b'{"id" :7,"image_id":"1"}', b"null", b'{"id": 8}'
    ]  # fmt: skip
    assert coco.count("annotations") == 4, "the original is as it was"
    with pytest.raises(IndexError, match="4 rows"):
        coco.replace("annotations", {4: {}})
    small = coco.subset([1])
    assert small.records("images") == [{"id": 2}]
    assert small.records("annotations") == [{"id": 6, "image_id": 2}, None]
    assert small.records("scenes") == [{"image_id": 2}, {"other": 1}]
    assert coco.subset([2]).records("annotations")[0]["id"] == 7, 'ids 1 and "1" differ'
    assert small.top("info") == {}


@pytest.mark.real
def test_real_files_round_trip(real_data, tmp_path):
    for number, path in enumerate(sorted(real_data.glob("*/annotations.json"))):
        coco = read(path)
        write(coco, tmp_path / f"{number}.json")
        again = read(tmp_path / f"{number}.json")
        assert all(again.rows(block) == coco.rows(block) for block in coco.blocks())
        assert json.loads((tmp_path / f"{number}.json").read_text()) == json.loads(path.read_text())
