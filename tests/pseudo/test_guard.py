"""No label of a validation image reaches training, and no model labels what it was trained on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import PIL.Image
import PIL.PngImagePlugin
import pytest

from trashkit.pseudo.leak_guard import PhotoIndex, files_of, history_of
from trashkit.runs.run import read_run, write_manifest


def test_a_dry_run_prints_the_stages_and_writes_nothing(ok, run, place, pseudo, tmp_path):
    words = [*pseudo(place / "first", out=tmp_path / "out"), "--strategy", "joint-then-clean", "--dry-run"]
    made = ok(*words)
    assert [(one["stage"], one["annotated_images"], one["pseudo_images"]) for one in made["stages"]] == [
        ("joint", 6, 4),
        ("clean", 6, 0),
    ]
    assert made["stages"][1]["start"] == str(tmp_path / "out/joint")
    assert list(tmp_path.iterdir()) == []
    shown = run(*words)
    assert "6 annotated + up to 4 pseudo-labelled" in " ".join(shown.stdout.split())


def unlabeled_with(place: Path, names: list[str], file: Path) -> Path:
    images = [{"id": 900 + n, "file_name": name, "width": 64, "height": 64} for n, name in enumerate(names)]
    content = json.loads((place / "test.json").read_text())
    file.write_text(json.dumps({**content, "images": content["images"] + images}))
    return file


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("train/03.png", "1 validation images of fold 0 are among the unlabelled images"),
        ("train/09.png", "has seen the labels of 1 of the images to label"),
    ],
)
def test_annotated_images_among_the_unlabelled_are_named(run, place, pseudo, tmp_path, name, message):
    unlabeled = unlabeled_with(place, [name], tmp_path / "test.json")
    done = run(*pseudo(place / "first", out=tmp_path / "out", unlabeled=unlabeled))
    assert done.exit_code == 2
    assert message in done.stderr
    assert name in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_copy_of_a_validation_photo_is_recognised_by_its_bytes(run, place, pseudo, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(place / "photos/test", folder / "test")
    shutil.copy(place / "photos/train/02.png", folder / "test/copy.png")
    unlabeled = unlabeled_with(place, ["test/copy.png"], tmp_path / "test.json")
    words = [*pseudo(place / "first", out=tmp_path / "out", unlabeled=unlabeled), "--unlabeled-images", folder]
    done = run(*words)
    assert done.exit_code == 2
    assert "validation images of fold 0" in done.stderr
    assert "test/copy.png" in done.stderr


def grainy(place: Path) -> Path:
    """The photo of a validation image of fold 0, which has enough texture to be recognised."""
    return place / "photos/train/02.png"


@pytest.mark.parametrize("kind", ["with metadata", "byte appended", "other format", "BMP"])
def test_a_copy_in_other_bytes_is_recognised_by_its_pixels(run, place, pseudo, tmp_path, kind):
    folder = tmp_path / "other"
    shutil.copytree(place / "photos/test", folder / "test")
    photo = PIL.Image.open(grainy(place))
    copy = folder / "test" / ("copy.bmp" if "BMP" in kind else "copy.tif" if "format" in kind else "copy.png")
    if kind == "with metadata":
        about = PIL.PngImagePlugin.PngInfo()
        about.add_text("Title", "another")
        photo.save(copy, pnginfo=about)
    elif kind == "byte appended":
        copy.write_bytes(grainy(place).read_bytes() + b"\0")
    else:
        photo.save(copy)
    assert copy.read_bytes() != grainy(place).read_bytes()
    unlabeled = unlabeled_with(place, [f"test/{copy.name}"], tmp_path / "test.json")
    done = run(*pseudo(place / "first", out=tmp_path / "out", unlabeled=unlabeled), "--unlabeled-images", folder)
    assert done.exit_code == 2
    assert "1 validation images of fold 0 are among the unlabelled images" in done.stderr
    assert f"test/{copy.name}" in done.stderr


def test_near_duplicates_of_validation_images_are_left_out_of_that_fold(ok, run, place, pseudo, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(place / "photos/test", folder / "test")
    PIL.Image.open(grainy(place)).save(folder / "test/again.jpg", quality=90)
    unlabeled = unlabeled_with(place, ["test/again.jpg"], tmp_path / "test.json")
    words = pseudo(place / "first", out=tmp_path / "out", unlabeled=unlabeled)
    words += ["--unlabeled-images", folder, "--strategy", "joint"]
    dry = run(*words, "--dry-run")
    assert dry.exit_code == 0
    assert "test/again.jpg (as train/02.png)" in dry.stderr
    assert "1 near-duplicates of them are left out" in " ".join(dry.stdout.split())
    done = run(*words, "--near-duplicates", "refuse", "--dry-run")
    assert done.exit_code == 2
    assert "test/again.jpg (as train/02.png)" in done.stderr
    kept = ok(*words, "--near-duplicates", "keep", "--dry-run")
    assert [one["pseudo_images"] for one in kept["stages"]] == [5]
    made = ok(*words, "--threshold", 0, "--min-kept", 0, "--stage", "joint.epochs=0.5")
    assert set(made["groups"][0]["labels"]["kept_share"]) == {f"test/시험 {n:02d}.png" for n in range(4)}
    assert list(made["groups"][0]["near_duplicates_left_out"]) == ["test/again.jpg"]


@pytest.mark.slow
def test_labels_exported_as_coco_record_what_their_models_have_seen(ok, run, place, pseudo, quick, tmp_path):
    """Fold 1's pseudo-labels join the annotated images; its teacher has seen the validation images of fold 0."""
    words = ["--strategy", "joint", "--threshold", 0, "--min-kept", 0, "--stage", "joint.epochs=0.5"]
    made = ok(*pseudo(fold(place, 1), out=tmp_path / "round"), *words)
    merged = tmp_path / "merged.json"
    ok("data", "import", "coco", made["groups"][0]["annotations"], "--into", place / "train.json", "--out", merged)
    done = run(*pseudo(fold(place, 0), out=tmp_path / "next", data=merged), "--dry-run")
    assert done.exit_code == 2
    assert "the model that made labels in --data was trained on 6 validation images of fold 0" in done.stderr

    trained = tmp_path / "trained"
    (tmp_path / "split.json").write_text(json.dumps({"folds": [{"train": list(range(7, 17)), "val": [*range(1, 7)]}]}))
    training = [
        "train", "--data", merged, "--images", place / "photos", "--split", tmp_path / "split.json", "--fold", 0,
        "--device", "cpu", "--out", trained, *quick, "--set", "epochs=1",
    ]  # fmt: skip
    done = run(*training)
    assert done.exit_code == 0, done.output
    assert "were trained on 6 validation images" in done.stderr
    assert len(history_of(read_run(trained), PhotoIndex((place / "photos",))).labels) == 16


@pytest.mark.slow
def test_other_data_sets_that_a_teacher_learned_from_count(ok, run, place, pseudo, quick, tmp_path):
    value = json.loads((place / "train.json").read_text())
    boxes = [{**one, "image_id": 1} for one in value["annotations"][:1]]
    named = [{**json.loads((place / "test.json").read_text())["images"][0], "id": 1}]
    (tmp_path / "extra.json").write_text(json.dumps({**value, "images": named, "annotations": boxes}))
    ok(
        "train", "--data", place / "train.json", "--images", place / "photos", "--split", place / "split.json",
        "--fold", 0, "--extra", f"{tmp_path / 'extra.json'}:{place / 'photos'}", "--device", "cpu",
        "--out", tmp_path / "run", *quick, "--set", "epochs=1",
    )  # fmt: skip
    done = run(*pseudo(tmp_path / "run", out=tmp_path / "out"), "--dry-run")
    assert done.exit_code == 2
    assert "has seen the labels of 1 of the images to label: test/시험 00.png" in done.stderr


def test_models_of_each_fold_teach_their_own_student(ok, place, pseudo, tmp_path):
    made = ok(*pseudo(place / "folds", out=tmp_path / "out"), "--strategy", "finetune", "--dry-run")
    starts = {one["fold"]: Path(one["start"]).name for one in made["stages"]}
    assert starts == {0: "fold-0", 1: "fold-1"}
    assert [one["validation_images"] for one in made["stages"]] == [6, 6]


def test_a_store_of_all_folds_cannot_teach_a_fold(ok, run, place, pseudo, tmp_path):
    store = tmp_path / "mean"
    ok(
        "predict",
        place / "folds",
        "--data",
        place / "test.json",
        "--images",
        place / "photos",
        "--size",
        64,
        "--out",
        store,
    )
    done = run(*pseudo(store, out=tmp_path / "out"), "--dry-run")
    assert done.exit_code == 2
    assert "was trained on 6 validation images" in done.stderr
    assert "train/06.png" in done.stderr
    made = ok(*pseudo(store, out=tmp_path / "out"), "--all-data", "--dry-run")
    assert [(one["annotated_images"], one["validation_images"]) for one in made["stages"]] == [(12, 0)] * 2


def test_a_store_of_unknown_models_is_only_accepted_without_validation(ok, run, place, pseudo, tmp_path):
    store = tmp_path / "store"
    ok(
        "predict",
        place / "first",
        "--data",
        place / "test.json",
        "--images",
        place / "photos",
        "--size",
        64,
        "--out",
        store,
    )
    header = json.loads((store / "zarr.json").read_text())
    header["attributes"]["manifest"] = {"made_by": "somebody"}
    (store / "zarr.json").write_text(json.dumps(header))
    done = run(*pseudo(store, out=tmp_path / "out"), "--dry-run")
    assert done.exit_code == 2
    assert "does not name the runs that predicted it" in done.stderr
    assert run(*pseudo(store, out=tmp_path / "out"), "--all-data", "--dry-run").exit_code == 2  # a student like whom?
    ok(*pseudo(store, out=tmp_path / "out"), "--all-data", "--recipe", "tiny", "--dry-run")
    unlabeled = unlabeled_with(place, ["train/03.png"], tmp_path / "test.json")
    words = pseudo(store, out=tmp_path / "out", unlabeled=unlabeled)
    done = run(*words, "--all-data", "--recipe", "tiny", "--dry-run")
    assert done.exit_code == 2
    assert "a model of unknown history has seen the labels of 1 of the images" in done.stderr


def lineage(place: Path, tmp_path: Path) -> Path:
    """A copy of the run of fold 0, to change its manifest."""
    shutil.copytree(fold(place, 0), tmp_path / "child")
    return tmp_path / "child"


def fold(place: Path, number: int) -> Path:
    return next(path.parent for path in (place / "folds").glob(f"*/fold-{number}/manifest.json"))


def test_what_an_ancestor_has_seen_is_inherited(run, place, pseudo, tmp_path):
    child = lineage(place, tmp_path)
    record = read_run(child).manifest
    record = {**record, "pseudo": {"teachers": [str(fold(place, 1))], "round": 1, "folder": "x", "labels": "y"}}
    write_manifest(child, record)
    done = run(*pseudo(child, out=tmp_path / "out"), "--dry-run")
    assert done.exit_code == 2
    assert "was trained on 6 validation images of fold 0" in done.stderr
    write_manifest(child, {**record, "pseudo": {**record["pseudo"], "teachers": [str(tmp_path / "gone")]}})
    done = run(*pseudo(child, out=tmp_path / "out"), "--dry-run")
    assert done.exit_code == 2
    assert "is no longer a run folder" in done.stderr


def test_weights_to_start_from_must_not_have_seen_validation_images(run, place, pseudo, tmp_path):
    words = [*pseudo(fold(place, 0), out=tmp_path / "out"), "--strategy", "finetune", "--dry-run"]
    done = run(*words, "--start", fold(place, 1))
    assert done.exit_code == 2
    assert "was trained on 6 validation images" in done.stderr
    joint = [*pseudo(fold(place, 0), out=tmp_path / "out"), "--strategy", "joint", "--dry-run"]
    done = run(*joint, "--set", f"model.weights={fold(place, 1)}")
    assert done.exit_code == 2
    assert "was trained on 6 validation images" in done.stderr


def test_image_ids_of_older_runs_are_looked_up_in_their_annotation_file(place, tmp_path):
    child = lineage(place, tmp_path)
    run_ = read_run(child)
    inputs = dict(run_.manifest["inputs"])
    wanted = files_of(run_, "training")
    del inputs["training_files"], inputs["validation_files"]
    older = write_manifest(child, {**run_.manifest, "inputs": inputs})
    assert files_of(older, "training") == wanted == [f"train/{n:02d}.png" for n in range(6, 12)]
    assert set(history_of(older, PhotoIndex()).labels.values()) == set(wanted)


def test_another_data_file_that_lacks_validation_images_is_refused(run, place, pseudo, tmp_path):
    content = json.loads((place / "train.json").read_text())
    content["images"] = content["images"][1:]
    content["annotations"] = content["annotations"][1:]
    (tmp_path / "less.json").write_text(json.dumps(content))
    done = run(*pseudo(place / "first", out=tmp_path / "out", data=tmp_path / "less.json"), "--dry-run")
    assert done.exit_code == 2
    assert "train/00.png" in done.stderr
