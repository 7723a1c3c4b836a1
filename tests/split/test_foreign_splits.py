"""Splits of other tools: each format gives its folds, and other files are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Coco, Dataset, read_dataset, write
from trashkit.errors import TrashkitError
from trashkit.split.files import Split, export_folds, load_split, open_split, read_split, write_split
from trashkit.split.foreign_splits import read_foreign_split
from trashkit.split.make import make_split

Build = Callable[..., Dataset]
Sides = list[tuple[set[int | str], set[int | str]]]


@pytest.fixture
def made(build: Build) -> tuple[Dataset, Split]:
    dataset = build(24)
    return dataset, make_split(dataset, folds=12, trials=500_000).split


def sides(split: Split) -> Sides:
    return [(set(fold.train), set(fold.val)) for fold in split.folds]


def names(dataset: Dataset) -> dict[int | str, str]:
    return {image.id: image.file_name for image in dataset.images}


@pytest.mark.parametrize("separator", [",", "\t", ";"])
@pytest.mark.parametrize("column", ["image_id", "file_name", "path"])
def test_a_csv_of_folds(made: tuple[Dataset, Split], tmp_path: Path, column: str, separator: str) -> None:
    dataset, split = made
    name = names(dataset)
    rows = [["nr", column, "Fold"]]
    for number, fold in enumerate(split.folds):
        for image_id in fold.val:
            written = str(image_id) if column == "image_id" else f"./{name[image_id]}" if column == "path" else ""
            rows.append(["1", written or name[image_id], str(number)])
    rows[1:] = rows[:0:-1]
    path = tmp_path / "folds.csv"
    path.write_text("\ufeff" + "\n".join(separator.join(row) for row in rows) + "\n\n", encoding="utf-8")
    assert sides(read_split(path, dataset)) == sides(split)


def test_images_that_are_never_validated_are_trained_on(build: Build, tmp_path: Path) -> None:
    dataset = build(6)
    ids = [image.id for image in dataset.images]
    path = tmp_path / "folds.csv"
    folds = ["0", "1.0", "-1", "train", "0", "1"]
    path.write_text("id,fold\n" + "\n".join(f"{i},{fold}" for i, fold in zip(ids, folds, strict=True)))
    found = read_foreign_split(path, dataset).folds
    assert [set(val) for _, val in found] == [{ids[0], ids[4]}, {ids[1], ids[5]}]
    assert set(found[0][0]) == set(ids) - {ids[0], ids[4]}


def test_folders_of_coco_files_and_of_lists(made: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, split = made
    export_folds(split, dataset, tmp_path / "coco")
    assert sides(read_split(tmp_path / "coco", dataset)) == sides(split)  # fold-10 stands after fold-2
    name = names(dataset)
    (tmp_path / "lists").mkdir()
    (tmp_path / "both" / "a").mkdir(parents=True)
    for number, fold in enumerate(split.folds):
        (tmp_path / f"lists/fold{number}.txt").write_text("\n".join(name[i] for i in fold.val))
        for side in ("train", "val"):
            stems = [Path(name[i]).stem for i in getattr(fold, side)]
            (tmp_path / f"both/a/{side}_{number}.txt").write_text("\n".join(stems) + "\n")
    assert sides(read_split(tmp_path / "lists", dataset)) == sides(split)
    assert sides(read_split(tmp_path / "both", dataset)) == sides(split)
    assert sides(read_split(tmp_path / "lists/fold3.txt", dataset)) == sides(split)[3:4]


def test_renumbered_ids_are_matched_by_name_and_reported(made: tuple[Dataset, Split], tmp_path: Path) -> None:
    dataset, split = made
    for path in export_folds(split, dataset, tmp_path / "coco"):
        value = json.loads(path.read_text())
        for n, image in enumerate(value["images"]):
            image["id"] = 1000 + n
        path.write_text(json.dumps(value))
    found = open_split(tmp_path / "coco", dataset)
    assert sides(found) == sides(split)
    assert "have different ids" in found.source["notes"][0]
    assert "and likewise in 23 more files" in found.source["notes"][0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "no column image_id or file_name"),
        ("a.csv", "image_id,label\n2,1\n", "no column fold"),
        ("a.csv", "image_id,fold\n2\n", "line 2: 1 columns instead of 2"),
        ("a.csv", "image_id,fold\n2,-1\n", "assigns no image to a fold"),
        ("a.csv", "image_id,fold\n2,0\nnope.jpg,1\n", 'line 3: "nope.jpg" is not an image'),
        ("a.txt", "\n", "lists no image"),
        ("a.txt", "nope\n", 'line 1: "nope" is not an image'),
        ("d/train_0.txt", "000\n", "has no matching val file"),
        ("d/notes.md", "x", "contains no folds"),
        ("d/val_0.json", "[1]", "not an object with images"),
        ("d/val_0.json", '{"images": [{"width": 3}]}', "images row 0: neither file_name nor id"),
    ],
)
def test_files_that_are_not_a_split_are_reported(
    build: Build, tmp_path: Path, name: str, text: str, words: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(TrashkitError, match=words):
        open_split(path if path.parent == tmp_path else path.parent, build(6))


def test_an_ambiguous_name_is_refused(build: Build, tmp_path: Path) -> None:
    dataset = build(6)
    rows = [{**dataset.coco.record("images", n), "file_name": f"set{n}/same.jpg"} for n in range(6)]
    twice = read_dataset(Coco.of({"images": rows, "annotations": [], "categories": [{"id": 1, "name": "Paper"}]}))
    path = tmp_path / "a.txt"
    path.write_text("same.jpg\n")
    with pytest.raises(TrashkitError, match="matches several images"):
        open_split(path, twice)
    path.write_text("set3/same.jpg\n")
    assert open_split(path, twice).folds[0].val == (twice.images[3].id,)


def test_a_coco_file_and_missing_data_are_reported(build: Build, tmp_path: Path) -> None:
    write(build(6).coco, tmp_path / "ann.json")
    with pytest.raises(TrashkitError, match="is a COCO file"):
        load_split(tmp_path / "ann.json")
    (tmp_path / "folds.csv").write_text("image_id,fold\n2,0\n")
    with pytest.raises(TrashkitError, match="without its data"):
        load_split(tmp_path / "folds.csv")


def test_check_uses_the_groups_that_the_split_was_made_with(build: Build, tmp_path: Path) -> None:
    runner = CliRunner()
    dataset = build(40)
    write(dataset.coco, tmp_path / "ann.json")
    groups = tmp_path / "groups.txt"
    groups.write_text("".join(f"{image.file_name},{n % 10}\n" for n, image in enumerate(dataset.images)))
    made = make_split(dataset, folds=4, rules=[f"file:{groups}"], trials=500_000).split
    write_split(made, tmp_path / "split.json")
    words = ["split", "check", str(tmp_path / "split.json"), "--data", str(tmp_path / "ann.json")]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"groups: file:{groups}, as recorded in the split" in done.stderr
    # The same folds, one image moved: its group is now on both sides, and no option names the groups.
    value = json.loads((tmp_path / "split.json").read_text())
    moved = value["folds"][0]["val"].pop()
    value["folds"][1]["val"].append(moved)
    value["folds"][0]["train"].append(moved)
    value["folds"][1]["train"].remove(moved)
    (tmp_path / "split.json").write_text(json.dumps(value))
    assert runner.invoke(app, words).exit_code == 1
    groups.unlink()
    gone = runner.invoke(app, words)
    assert gone.exit_code == 0
    assert "no longer exists" in gone.stderr
