"""`trashkit init`: what the files of a folder are taken for, and the project file that is written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import read, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.registry import export
from trashkit.report.photo_overlays import find_photos
from trashkit.settings.project import read_project
from trashkit.workflows.project.init import MadeProject, Roles, init_project

SQUARE = [10, 10, 30, 10, 30, 30, 10, 30]


def photos(folder: Path, names: Iterable[str]) -> None:
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(n)
        (folder / name).write_bytes(
            cv2.imencode(".jpg", rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))[1].tobytes()
        )


def coco(path: Path, names: Sequence[str], *, labels: int | None = None, first: int = 1) -> None:
    """A COCO file of these photos, the first `labels` of which have an annotation (all by default)."""
    labelled = range(len(names))[:labels]
    whole = {
        "images": [{"id": first + n, "file_name": name, "width": 64, "height": 48} for n, name in enumerate(names)],
        "annotations": [
            {"id": first + n, "image_id": first + n, "category_id": 1 + n % 2, "segmentation": [SQUARE], "area": 400,
             "bbox": [10, 10, 20, 20], "iscrowd": 0}
            for n in labelled
        ],
        "categories": [{"id": 1, "name": "can"}, {"id": 2, "name": "bag"}],
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(whole, ensure_ascii=False), encoding="utf-8")


def names(first: int, last: int) -> list[str]:
    return [f"{n}.jpg" for n in range(first, last)]


def roles(made: MadeProject) -> dict[str, str]:
    return made.values


def file_names(path: Path) -> list[str]:
    return [record["file_name"] for record in read(path).records("images")]


def test_a_competition_folder_is_recognised_whole(tmp_path: Path) -> None:
    photos(tmp_path / "사진", names(1, 7))
    coco(tmp_path / "train.json", names(1, 5))
    coco(tmp_path / "test.json", names(5, 7), labels=0, first=5)
    (tmp_path / "sample_submission.csv").write_text("image_id,PredictionString\n5.jpg,0\n")
    made = init_project(tmp_path)
    wanted = {"data": "train.json", "images": "사진", "test": "test.json", "sample": "sample_submission.csv"}
    assert made.values == wanted and made.made == []
    found = read_project(made.path)
    assert (found.data, found.images, found.test) == (
        tmp_path / "train.json", tmp_path / "사진", tmp_path / "test.json",
    )  # fmt: skip
    assert found.sample == tmp_path / "sample_submission.csv" and found.runs == tmp_path / "runs"


def test_an_existing_project_file_is_kept(tmp_path: Path) -> None:
    photos(tmp_path, names(1, 3))
    coco(tmp_path / "train.json", names(1, 3))
    (tmp_path / "trashkit.toml").write_text("mine")
    with pytest.raises(TrashkitError, match="already exists"):
        init_project(tmp_path)
    assert (tmp_path / "trashkit.toml").read_text() == "mine"
    init_project(tmp_path, overwrite=True)
    assert read_project(tmp_path / "trashkit.toml").data == tmp_path / "train.json"


def test_photos_that_no_file_lists_become_the_test_set(tmp_path: Path) -> None:
    photos(tmp_path / "images", names(1, 6))
    (tmp_path / "images/broken.jpg").write_bytes(b"not a photo")
    coco(tmp_path / "labels.json", names(1, 4))
    made = init_project(tmp_path)
    assert made.values == {"data": "labels.json", "images": "images", "test": "test.json"}
    assert file_names(tmp_path / "test.json") == ["4.jpg", "5.jpg"]
    assert read_dataset(tmp_path / "test.json", labels=False).images[0].width == 64
    assert len(made.notes) == 1 and "broken.jpg" in made.notes[0]


@pytest.mark.parametrize("kind", ["cvat", "labelme", "label-studio", "yolo"])
def test_other_tools_labels_are_imported(tmp_path: Path, kind: str) -> None:
    original = tmp_path / "original"
    photos(original, names(1, 6))
    coco(original / "ann.json", names(1, 6))
    out = tmp_path / "theirs"
    export(kind, read_dataset(original / "ann.json"), out, images=original)
    made = init_project(out)
    assert made.values["data"] == "train.json" and "test" not in made.values
    dataset = read_dataset(out / "train.json")
    assert len(dataset.images) == 5 and len(dataset.annotations) == 5
    assert all((out / made.values["images"] / image.file_name).is_file() for image in dataset.images)
    again = init_project(out, overwrite=True)  # finds what it wrote
    assert again.values == made.values and again.made == []


@pytest.mark.parametrize("layout", ["images/{}.jpg labels/{}.txt classes.txt", "data/{}.jpg data/{}.txt obj.names"])
def test_yolo_labels_with_a_list_of_names_are_imported(tmp_path: Path, layout: str) -> None:
    photo, label, listed = layout.split()
    photos(tmp_path, [photo.format(n) for n in range(5)])
    (tmp_path / label).parent.mkdir(exist_ok=True)
    for n in range(5):
        (tmp_path / label.format(n)).write_text("1 0.5 0.5 0.25 0.25\n")
    (tmp_path / listed).write_text("cup\nlid\n")
    made = init_project(tmp_path)
    dataset = read_dataset(tmp_path / "train.json")
    assert [a.class_index for image in dataset.images for a in dataset.annotations_of(image.row)] == [2] * 5
    assert all((tmp_path / made.values["images"] / image.file_name).is_file() for image in dataset.images)
    assert init_project(tmp_path, overwrite=True).values == made.values


def test_images_without_shapes_in_a_whole_import_are_photos_to_predict(tmp_path: Path) -> None:
    original = tmp_path / "original"
    photos(original, names(1, 6))
    coco(original / "ann.json", names(1, 6), labels=3)
    export("cvat", read_dataset(original / "ann.json"), tmp_path / "a", images=original)
    made = init_project(tmp_path / "a")
    assert len(file_names(tmp_path / "a/train.json")) == 3
    assert len(file_names(tmp_path / "a/test.json")) == 2
    assert any("2 images without labels" in line for line in made.notes)
    # with photos beside, those are the ones to predict
    export("cvat", read_dataset(original / "ann.json"), tmp_path / "b", images=original)
    photos(tmp_path / "b", ["images/train/new.jpg"])
    init_project(tmp_path / "b")
    assert len(file_names(tmp_path / "b/train.json")) == 5
    assert file_names(tmp_path / "b/test.json") == ["new.jpg"]


def test_the_parts_of_roboflow_are_joined(tmp_path: Path) -> None:
    for part, first, last in (("train", 1, 5), ("valid", 5, 7), ("test", 7, 9)):
        photos(tmp_path / part, names(first, last))
        coco(tmp_path / part / "_annotations.coco.json", names(first, last))
    made = init_project(tmp_path)
    assert made.values == {"data": "train.json", "images": ".", "test": "test.json"}
    assert file_names(tmp_path / "train.json") == [f"train/{n}.jpg" for n in range(1, 5)] + [
        "valid/5.jpg",
        "valid/6.jpg",
    ]
    assert file_names(tmp_path / "test.json") == ["test/7.jpg", "test/8.jpg"]
    assert all((tmp_path / name).is_file() for name in file_names(tmp_path / "train.json"))
    assert len(read_dataset(tmp_path / "train.json").annotations) == 6


def test_a_second_init_makes_its_own_files_anew(tmp_path: Path) -> None:
    photos(tmp_path / "train_images", names(1, 5))
    photos(tmp_path / "test_images", names(5, 7))
    coco(tmp_path / "train.json", names(1, 5))
    coco(tmp_path / "test.json", names(5, 7), labels=0)
    made = init_project(tmp_path)
    assert made.values == {"data": "trashkit-train.json", "images": ".", "test": "trashkit-test.json"}
    assert file_names(tmp_path / "trashkit-test.json") == ["test_images/5.jpg", "test_images/6.jpg"]
    again = init_project(tmp_path, overwrite=True)
    assert (again.values, again.made) == (made.values, [])
    coco(tmp_path / "train.json", names(1, 4))
    (tmp_path / "trashkit.toml").unlink()
    with pytest.raises(TrashkitError, match=r"trashkit-train\.json already exists"):
        init_project(tmp_path)
    changed = init_project(tmp_path, overwrite=True)
    assert (changed.values, changed.made) == (made.values, [tmp_path / "trashkit-train.json"])
    assert len(file_names(tmp_path / "trashkit-train.json")) == 3


def test_new_photos_are_listed_by_a_second_init(tmp_path: Path) -> None:
    photos(tmp_path, names(1, 4))
    coco(tmp_path / "labels.json", names(1, 3))
    init_project(tmp_path)
    assert file_names(tmp_path / "test.json") == ["3.jpg"]
    photos(tmp_path, names(4, 6))
    assert init_project(tmp_path, overwrite=True).made == [tmp_path / "test.json"]
    assert file_names(tmp_path / "test.json") == ["3.jpg", "4.jpg", "5.jpg"]


def test_a_file_of_init_that_was_edited_is_kept(tmp_path: Path) -> None:
    original = tmp_path / "original"
    photos(original, names(1, 6))
    coco(original / "ann.json", names(1, 6))
    export("cvat", read_dataset(original / "ann.json"), tmp_path / "a", images=original)
    init_project(tmp_path / "a")
    train = tmp_path / "a/train.json"
    train.write_text(train.read_text().replace('"category_id": 2', '"category_id": 1'))
    edited = train.read_bytes()
    made = init_project(tmp_path / "a", overwrite=True)
    assert made.values["data"] == "train.json" and made.made == []
    assert train.read_bytes() == edited


def test_damaged_labels_of_a_folder_of_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    photos(tmp_path / "train_images", names(1, 5))
    photos(tmp_path / "test_images", names(5, 7))
    coco(tmp_path / "train.json", names(1, 5))
    whole = json.loads((tmp_path / "train.json").read_text())
    whole["annotations"][0]["category_id"] = 77
    (tmp_path / "train.json").write_text(json.dumps(whole))
    coco(tmp_path / "test.json", names(5, 7), labels=0)
    made = init_project(tmp_path)
    assert read(tmp_path / made.values["data"]).record("annotations", 0)["category_id"] == 77


def test_results_are_not_taken_for_photos_or_labels(tmp_path: Path) -> None:
    photos(tmp_path, names(1, 4))
    coco(tmp_path / "labels.json", names(1, 4))
    photos(tmp_path / "overlays", ["1.overlay.jpg"])
    coco(tmp_path / "overlays/annotations.json", ["1.jpg"])
    photos(tmp_path / "sheets", ["1-1.jpg"])
    (tmp_path / "sheets/.trashkit").touch()
    photos(tmp_path / "run/pictures", ["1.jpg"])
    (tmp_path / "run/manifest.json").write_text('{"format": "trashkit run"}')
    photos(tmp_path / "theirs", ["new.jpg"])
    (tmp_path / "theirs/manifest.json").write_text('{"name": "of another program"}')
    made = init_project(tmp_path)
    assert made.values == {"data": "labels.json", "images": ".", "test": "test.json"}
    assert file_names(tmp_path / "test.json") == ["theirs/new.jpg"]
    assert find_photos([tmp_path]).names == ("1.jpg", "2.jpg", "3.jpg", "theirs/new.jpg")


def test_many_other_json_files_are_counted(tmp_path: Path) -> None:
    photos(tmp_path / "photos", names(1, 4))
    (tmp_path / "a").mkdir()
    for n in range(80):
        (tmp_path / f"a/{n}.json").write_text('{"a": 1}')
    coco(tmp_path / "labels/train.json", names(1, 4))
    made = init_project(tmp_path)
    assert made.values["data"] == "labels/train.json"
    assert made.notes == ["31 more JSON and XML files were not looked at"]


def test_photos_elsewhere_are_counted_and_must_fit(tmp_path: Path) -> None:
    photos(tmp_path / "disk", names(1, 4))
    photos(tmp_path / "other", ["x.jpg"])
    coco(tmp_path / "set/train.json", names(1, 4))
    made = init_project(tmp_path / "set", Roles(images=tmp_path / "disk"))
    assert [one.about for one in made.files if one.role == "images"] == ["3 photos"]
    with pytest.raises(TrashkitError, match=r"none of the photos of train\.json is in .*other"):
        init_project(tmp_path / "set", Roles(images=tmp_path / "other"), overwrite=True)


def test_two_files_of_one_role_are_listed_with_the_option(tmp_path: Path) -> None:
    photos(tmp_path, names(1, 5))
    coco(tmp_path / "a.json", names(1, 3))
    coco(tmp_path / "b.json", names(1, 5))
    (tmp_path / "0").mkdir()
    coco(tmp_path / "0" / "c.json", names(1, 5))
    wanted = r"3 files could be labels to train on: .*a\.json, .*b\.json, .*0/c\.json"  # the nearest first
    with pytest.raises(TrashkitError, match=wanted) as caught:
        init_project(tmp_path)
    assert caught.value.hint == f"name one: --data {tmp_path / 'a.json'}"
    assert not (tmp_path / "trashkit.toml").exists() and not (tmp_path / "test.json").exists()
    made = init_project(tmp_path, Roles(data=tmp_path / "a.json"))
    assert made.values == {"data": "a.json", "images": ".", "test": "test.json"}


def test_links_out_of_the_folder_are_followed_once(tmp_path: Path) -> None:
    photos(tmp_path / "disk", names(1, 4))
    folder = tmp_path / "set"
    folder.mkdir()
    coco(folder / "train.json", names(1, 4))
    (folder / "images").symlink_to(tmp_path / "disk")
    (folder / "loop").symlink_to(folder)
    (folder / "up").symlink_to(tmp_path)
    (tmp_path / "disk/again").symlink_to(folder)
    assert init_project(folder).values == {"data": "train.json", "images": "images"}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda folder: None, "has no photos", id="empty"),
        pytest.param(lambda folder: photos(folder, ["a.jpg"]), "no labels that are known", id="no-labels"),
        pytest.param(lambda folder: coco(folder / "a.json", ["1.jpg"]), "has no photos", id="no-photos"),
        pytest.param(
            lambda folder: (photos(folder, ["x.jpg"]), coco(folder / "a.json", ["1.jpg"])),
            "the photos of a.json are not in",
            id="other-photos",
        ),
    ],
)  # fmt: skip
def test_folders_that_are_no_data_set(tmp_path: Path, make: Any, words: str) -> None:
    make(tmp_path)
    result = CliRunner().invoke(app, ["init", str(tmp_path)])
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.startswith("error: ") and words in result.stderr and result.stderr.count("\n") == 2
    assert not (tmp_path / "trashkit.toml").exists()


def test_damaged_files_are_shown_and_left_out(tmp_path: Path) -> None:
    photos(tmp_path, names(1, 4))
    coco(tmp_path / "train.json", names(1, 4))
    (tmp_path / "damaged.json").write_text('{"images": [')
    (tmp_path / "other.json").write_text('{"a": 1}')
    os.mkfifo(tmp_path / "pipe.json")
    made = init_project(tmp_path)
    left_out = {one.path for one in made.files if not one.role}
    assert left_out == {"damaged.json", "other.json", "pipe.json"}
    assert made.values["data"] == "train.json"


def test_json_and_the_next_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "a b", names(1, 4))
    coco(tmp_path / "a b/train.json", names(1, 4))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["init", "a b", "--json", "--classes", "own"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["values"] == {"data": "train.json", "images": ".", "classes": "own"}
    assert "--project 'a b/trashkit.toml'\n" in result.stderr
    monkeypatch.chdir(tmp_path / "a b")
    result = CliRunner().invoke(app, ["audit", "--fail-on", "never", "--select", "S"])
    assert "using trashkit.toml: data train.json, images ." in result.stderr
