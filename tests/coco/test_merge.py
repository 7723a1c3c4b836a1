"""Merging files: every annotation keeps its image and category."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Coco, merge
from trashkit.errors import TrashkitError


def a_file(image_ids, names, annotations):
    return Coco.of(
        {
            "info": {"from": names},
            "images": [{"id": i, "file_name": f"{i}.jpg", "extra": [i]} for i in image_ids],
            "annotations": [
                {"id": n, "image_id": i, "category_id": names.index(c) + 1, "what": f"{i}:{c}"}
                for n, (i, c) in annotations
            ],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, 1)],
        }
    )


def meanings(coco):
    """Annotations by file name and category name instead of ids."""
    names = {i["id"]: i["file_name"] for i in coco.records("images")}
    categories = {c["id"]: c["name"] for c in coco.records("categories")}
    return [(names[a["image_id"]], categories[a["category_id"]], a["what"]) for a in coco.records("annotations")]


sets = st.builds(
    lambda ids, names, picks: a_file(
        ids, names, [(p[2], (ids[p[0] % len(ids)], names[p[1] % len(names)])) for p in picks]
    ),
    st.lists(st.integers(0, 9) | st.sampled_from("ab"), min_size=1, max_size=4, unique=True),
    st.lists(st.sampled_from(["Paper", "Glass", "Can", "Bag"]), min_size=1, max_size=4, unique=True),
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=5),
)


@given(st.lists(sets, min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_nothing_is_lost_and_ids_are_unique(files):
    made = merge(files, prefixes=[f"{n}/" for n in range(len(files))])
    for block in ("images", "annotations"):
        ids = [record["id"] for record in made.records(block)]
        assert len(set(map(repr, ids))) == len(ids) == sum(file.count(block) for file in files)
    names = [record["name"] for record in made.records("categories")]
    assert len(set(names)) == len(names)
    expected = [(f"{n}/{f}", c, w) for n, file in enumerate(files) for f, c, w in meanings(file)]
    assert meanings(made) == expected
    assert made.top("info") == files[0].top("info")
    first = made.records("images")[: files[0].count("images")]
    assert [i["id"] for i in first] == [i["id"] for i in files[0].records("images")], "free ids are kept"


def test_references_that_do_not_resolve_are_refused():
    with pytest.raises(TrashkitError, match="nothing to merge"):
        merge([])
    dangling = a_file([1], ["Paper"], [(1, (1, "Paper"))]).replace("images", {0: {"id": 2, "file_name": "x"}})
    with pytest.raises(TrashkitError, match=r"annotations\[0\] refers"):
        merge([dangling])
    with pytest.raises(TrashkitError, match=r"images\[0\] has no usable id"):
        merge([Coco.of({"images": [{"file_name": "x"}], "annotations": [], "categories": []})])
    with pytest.raises(TrashkitError, match=r"annotations\[0\] has no usable id"):
        merge([Coco.of({"images": [], "annotations": [None], "categories": []})])
