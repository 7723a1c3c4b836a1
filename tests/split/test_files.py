"""SPLIT.json: round trip, errors by name, export."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from trashkit.coco import Dataset, read, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.split.files import Fold, Split, export_folds, load_split, read_split, split_problems, write_split
from trashkit.split.make import make_split

Build = Callable[..., Dataset]


@pytest.fixture(scope="module")
def made(build: Build) -> tuple[Dataset, Split]:
    ids: list[int | str] = [n if n % 2 else f"사진 {n}" for n in range(20)]
    dataset = build(20, ids=ids)
    return dataset, make_split(dataset, folds=4, trials=500_000).split


def test_a_written_split_is_read_back_and_rewritten_byte_for_byte(made: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, split = made
    write_split(split, tmp_path / "a.json")
    again = read_split(tmp_path / "a.json", dataset)
    assert again == split
    write_split(again, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["folds", "quality", "seed", "source"]
    with pytest.raises(TrashkitError, match="already exists"):
        write_split(split, tmp_path / "a.json")


def test_a_valid_split_has_no_problems_and_each_damage_is_reported(made: tuple[Dataset, Split]) -> None:
    dataset, split = made
    ids = [image.id for image in dataset.images]
    assert split_problems(split, ids) == []
    first, *rest = split.folds
    moved = first.train[0]
    cases = {
        "is in train and val": Fold(first.train, (*first.val, moved)),
        "is in neither train nor val": Fold(first.train[1:], first.val),
        "is twice in train": Fold((*first.train, moved), first.val),
        "is not in the annotations": Fold((*first.train, 999), first.val),
        "val is empty": Fold(tuple(ids), ()),
    }
    for words, fold in cases.items():
        assert any(words in line for line in split_problems(Split((fold, *rest)), ids)), words
    swapped = Fold(tuple(i for i in ids if i not in rest[0].val), rest[0].val)
    lines = split_problems(Split((swapped, *rest)), ids)
    assert any("more often" in line for line in lines)
    assert any("less often" in line for line in lines)


def test_ids_keep_their_type(build: Build) -> None:
    dataset = build(4, ids=[1, "1", 2, "2"])
    ids = [image.id for image in dataset.images]
    assert split_problems(Split((Fold((1, "1"), (2, "2")),)), ids) == []
    assert len(split_problems(Split((Fold((1, 1), (2, "2")),)), ids)) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "cannot be read as a split"),
        ("[]", 'has no list "folds"'),
        ('{"folds": []}', 'has no list "folds"'),
        ('{"folds": [{"train": [1]}]}', 'fold 0 has no list "val"'),
        ('{"folds": [{"train": [1.5], "val": [2]}]}', "1.5 is not an image id"),
        ('{"folds": [{"train": [true], "val": [2]}]}', "true is not an image id"),
        ('{"folds": [{"train": [999], "val": [998]}]}', "image id 999 in train is not in the annotations"),
    ],
)
def test_invalid_files_are_reported(made: tuple[Dataset, Split], tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "split.json"
    path.write_text(text)
    with pytest.raises(TrashkitError, match=words):
        read_split(path, made[0])


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="there is no split"):
        load_split(tmp_path / "none.json")


def test_exported_folds_are_the_file_cut_in_two(build: Build, tmp_path: Path) -> None:
    dataset = build(20)
    write(dataset.coco, tmp_path / "all.json")
    whole = json.loads((tmp_path / "all.json").read_text())
    split = make_split(dataset, folds=4, trials=500_000).split
    paths = export_folds(split, dataset, tmp_path / "folds")
    assert [str(p.relative_to(tmp_path)) for p in paths][:3] == [
        "folds/fold-0/train.json",
        "folds/fold-0/val.json",
        "folds/fold-1/train.json",
    ]
    for number, fold in enumerate(split.folds):
        parts = {
            side: json.loads((tmp_path / f"folds/fold-{number}/{side}.json").read_text()) for side in ("train", "val")
        }
        for side, ids in (("train", fold.train), ("val", fold.val)):
            assert parts[side]["images"] == [i for i in whole["images"] if i["id"] in ids]
            assert parts[side]["annotations"] == [a for a in whole["annotations"] if a["image_id"] in ids]
            assert parts[side]["categories"] == whole["categories"]
            assert parts[side]["info"] == whole["info"]
    assert set(COCO(str(paths[1])).getImgIds()) == set(split.folds[0].val)
    assert len(read_dataset(read(paths[0]))) == 15
    with pytest.raises(TrashkitError, match="already exists"):
        export_folds(split, dataset, tmp_path / "folds")
    export_folds(split, dataset, tmp_path / "folds", overwrite=True)
    (tmp_path / "folds/fold-0/notes.txt").touch()
    with pytest.raises(TrashkitError, match="did not write"):
        export_folds(split, dataset, tmp_path / "folds", overwrite=True)
