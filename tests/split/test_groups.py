"""Groups: joining and rules."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.split.groups import group_file_warnings, groups_by_rule, merge_groups, number_groups

Build = Callable[..., Dataset]


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.data())
def test_joining_breaks_neither_grouping(first: list[int], data: st.DataObject) -> None:
    second = data.draw(st.lists(st.integers(0, 5), min_size=len(first), max_size=len(first)))
    whole = merge_groups(number_groups(first), number_groups(second))
    for one in (first, second):
        for a in range(len(one)):
            for b in range(a):
                if one[a] == one[b]:
                    assert whole[a] == whole[b]
    assert sorted(set(whole.tolist())) == list(range(int(whole.max()) + 1))


def test_rules(build: Build, tmp_path: Path) -> None:
    dataset = build(9)
    assert groups_by_rule(dataset, "folder").tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    assert groups_by_rule(dataset, "field:place").tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert groups_by_rule(dataset, r"regex:^set([02])").tolist() == [0, 1, 2, 3, 0, 4, 2, 5, 0]
    table = tmp_path / "groups.csv"
    table.write_text("set0/000.jpg,a\nset3/003.jpg,a\n5,b\n8,b\n")
    assert groups_by_rule(dataset, f"file:{table}").tolist() == [0, 1, 1, 0, 2, 3, 4, 5, 6]
    table.write_text(json.dumps({"2": "x", "set1/001.jpg": "x"}))
    assert groups_by_rule(dataset, f"file:{table}").tolist()[:3] == [0, 0, 1]


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("colour", "is not a grouping rule"),
        ("field:", "is not a grouping rule"),
        ("field:nothing", "matches none of 9 images"),
        ("regex:(", "is not a regular expression"),
        ("file:/nowhere/groups.csv", "does not exist"),
    ],
)
def test_invalid_rules_are_reported(build: Build, rule: str, words: str) -> None:
    with pytest.raises(TrashkitError, match=words):
        groups_by_rule(build(9), rule)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("set0/000.jpg,a\nset0/000.jpg,b\n", "line 2: set0/000.jpg is already in group a"),
        ("set0/000.jpg,\n", "line 1: name or group is empty"),
        ("set0/000.jpg a\n", "line 1: no tab and no comma"),
        ('{"2": ["a"]}', 'has the group ["a"]'),
    ],
)
def test_invalid_group_files_are_reported(build: Build, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "groups.txt").write_text(text)
    with pytest.raises(TrashkitError) as caught:
        groups_by_rule(build(6), f"file:{tmp_path / 'groups.txt'}")
    assert told in caught.value.message


def test_group_files_that_do_not_match_the_data_are_reported(build: Build, tmp_path: Path) -> None:
    dataset = build(9)
    names = [image.file_name for image in dataset.images]
    path = tmp_path / "groups.txt"
    path.write_text("".join(f"{name},a\n" for name in [*names[:4], "nope.jpg", "gone.jpg"]))
    unknown, alone = group_file_warnings(dataset, f"file:{path}")
    assert "names 2 of 6 images that the data set lacks, first nope.jpg" in unknown
    assert f"no group for 5 of 9 images, first {names[4]}" in alone
    path.write_text("".join(f"{name},a\n" for name in names))
    assert group_file_warnings(dataset, f"file:{path}") == []
    assert group_file_warnings(dataset, "folder") == []


def test_group_files_name_images_in_any_form_of_unicode(build: Build, tmp_path: Path) -> None:
    dataset = build(4)
    names = [f"사진/{image.id}.jpg" for image in dataset.images]
    renamed = replace(
        dataset, images=tuple(replace(image, file_name=name) for image, name in zip(dataset.images, names, strict=True))
    )
    table = tmp_path / "groups.csv"
    table.write_text("".join(f"{unicodedata.normalize('NFD', name)},g\n" for name in names), encoding="utf-8")
    assert groups_by_rule(renamed, f"file:{table}").tolist() == [0, 0, 0, 0]
    assert group_file_warnings(renamed, f"file:{table}") == []
