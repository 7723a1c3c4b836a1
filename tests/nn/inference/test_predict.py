"""Prediction into stores and onto photos."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.nn.inference.predict import predict_dataset, predict_photo, sampling_weights
from trashkit.nn.models.networks import load_run_model
from trashkit.predictions.store import open_store
from trashkit.raster import masks
from trashkit.runs.run import Run


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def trained(whole: Run) -> Path:
    return whole.path


@given(native=st.integers(1, 700), target=st.integers(1, 300), source=st.integers(1, 200))
def test_sampling_agrees_with_nearest_sampling_of_an_enlarged_row(native: int, target: int, source: int) -> None:
    weights = sampling_weights(native, target, source)
    assert weights.shape == (target, source)
    assert np.allclose(weights.sum(axis=1), 1, atol=1e-5)
    row = np.random.default_rng(0).random((1, source)).astype(np.float32)
    enlarged = cv2.resize(row, (native, 1), interpolation=cv2.INTER_LINEAR)
    wanted = enlarged[0, np.floor(np.arange(target) * (native / target)).astype(int)]
    assert np.allclose(weights @ row[0], wanted, atol=2e-3)


def test_a_store_holds_every_image_and_the_model_s_own_answer(trained: Path, drawn: Path, tmp_path: Path) -> None:
    done = run("predict", trained, "--data", drawn, "--images", drawn.parent, "--out", tmp_path / "store", "--size", 96,
               "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["images"] == 12
    store = open_store(tmp_path / "store")
    assert store.done.all() and store.size == (96, 96)
    dataset = read_dataset(drawn)
    model = load_run_model(trained)
    photo = np.asarray(Image.open(drawn.parent / dataset.images[3].file_name).convert("RGB"))
    label_map, confidence = predict_photo([model], photo)
    assert (store.label_map(3) == label_map).mean() > 0.999  # 96 px is the native size: the same pixels are read
    assert confidence.min() >= 1 / len(store.classes) - 1e-6 and confidence.max() <= 1 + 1e-6


def test_mean_of_two_models_and_views(trained: Path, drawn: Path, tmp_path: Path) -> None:
    dataset = read_dataset(drawn).subset([0, 1, 2])
    model = load_run_model(trained)
    for name, models in (("one", [model]), ("two", [model, model])):
        predict_dataset(models, dataset, drawn.parent, tmp_path / name, size=(32, 32), tta="flip", dtype="float16")
    one, two = open_store(tmp_path / "one"), open_store(tmp_path / "two")
    for row in range(3):
        assert np.allclose(one.read(row), two.read(row), atol=2e-3)
    mirrored = torch.from_numpy(np.random.default_rng(0).integers(0, 255, (1, 3, 64, 64), dtype=np.uint8))
    from trashkit.nn.inference.predict import mean_probabilities

    there = mean_probabilities(model, mirrored, tta="flip")
    back = mean_probabilities(model, mirrored.flip(-1), tta="flip").flip(-1)
    assert torch.allclose(there, back, atol=1e-5)


def test_an_interrupted_prediction_resumes_to_the_same_result(
    trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, model = read_dataset(drawn), load_run_model(trained)

    def predict(name: str, *, resume: bool = False, stop_at: int = 99) -> None:
        def progress(what: str, done: int, total: int) -> None:
            if done >= stop_at:
                raise KeyboardInterrupt

        predict_dataset([model], dataset, drawn.parent, tmp_path / name, size=(32, 32), batch_size=4, resume=resume,
                        progress=progress)  # fmt: skip

    predict("whole")
    with pytest.raises(KeyboardInterrupt):
        predict("stopped", stop_at=4)
    assert 0 < open_store(tmp_path / "stopped").done.sum() < 12
    predict("stopped", resume=True)
    whole, stopped = open_store(tmp_path / "whole"), open_store(tmp_path / "stopped")
    for row in range(12):
        assert (whole.read(row) == stopped.read(row)).all()


def test_a_prediction_stopped_within_a_batch_resumes_with_the_same_batches(
    trained: Path, drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last digit of probabilities depends on the photos of the batch."""
    from trashkit.nn.inference import predict as module
    from trashkit.predictions.store import StoreWriter

    dataset, model, real = read_dataset(drawn), load_run_model(trained), StoreWriter.write
    seen: list[list[int]] = []

    def write(writer: StoreWriter, row: int, values: Any) -> None:
        if row == 6 and not seen[2:]:
            raise KeyboardInterrupt
        real(writer, row, values)

    def predict_batch(models: Any, batch: Any, *rest: Any) -> Any:
        seen.append([loaded.row for loaded in batch])
        return np.full((len(batch), 11, 32, 32), 1 / 11, np.float32)

    monkeypatch.setattr(StoreWriter, "write", write)
    monkeypatch.setattr(module, "_predict_batch", predict_batch)
    options: dict[str, Any] = {"size": (32, 32), "batch_size": 4}
    with pytest.raises(KeyboardInterrupt):
        predict_dataset([model], dataset, drawn.parent, tmp_path / "store", **options)
    predict_dataset([model], dataset, drawn.parent, tmp_path / "store", **options, resume=True)
    assert seen == [[0, 1, 2, 3], [4, 5, 6, 7], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_overlays_are_drawn(trained: Path, drawn: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    source = np.asarray(Image.open(next((drawn.parent / "photos").glob("*.png"))).convert("RGB"))
    large = Image.fromarray(cv2.resize(source, (3000, 2250)))
    exif = Image.Exif()
    exif[0x0112] = 6
    large.save(photos / "phone.jpg", exif=exif)
    large.convert("L").resize((300, 200)).save(photos / "grey.png")
    large.convert("CMYK").resize((200, 300)).save(photos / "print.jpg")
    done = run("predict", trained, photos, "--overlay", tmp_path / "seen", "--json")
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "seen/annotations.json").read_text(encoding="utf-8"))
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in content["images"]}
    assert sizes == {"phone.jpg": (2250, 3000), "grey.png": (300, 200), "print.jpg": (200, 300)}
    assert {path.name for path in (tmp_path / "seen").glob("*.jpg")} == {
        f"{n}.overlay.jpg" for n in ("phone", "grey", "print")
    }
    dataset = read_dataset(tmp_path / "seen/annotations.json")
    assert dataset.annotations, "a network that colours nothing shows nothing"
    for annotation in dataset.annotations:
        image = dataset.images[annotation.image_row]
        assert masks.pixel_area(annotation.segmentation, image.height, image.width) == annotation.area
    with Image.open(tmp_path / "seen/phone.overlay.jpg") as overlay:
        assert max(overlay.size) < 2500


def test_broken_photos_are_left_out_and_named_and_the_others_done(trained: Path, drawn: Path, tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    whole = next((drawn.parent / "photos").glob("*.png")).read_bytes()
    for name, content in {"a.png": b"", "b.png": whole, "c.png": whole[: len(whole) // 2], "d.png": whole}.items():
        (photos / name).write_bytes(content)
    (tmp_path / "note.jpg").write_text("no photo")
    done = run("predict", trained, photos, tmp_path / "note.jpg", "--overlay", tmp_path / "seen", "--json")
    assert done.exit_code == 1
    shown = json.loads(done.stdout)
    assert [Path(one["photo"]).name for one in shown["photos"]] == ["b.png", "d.png"]
    assert [Path(one["photo"]).name for one in shown["unreadable"]] == ["a.png", "c.png", "note.jpg"]
    assert "3 of 5 photos could not be read" in done.stderr
    for name in ("a.png", "c.png", "note.jpg"):
        assert sum(name in line for line in done.stderr.splitlines()) == 1
    assert {path.name for path in (tmp_path / "seen").iterdir()} == {
        "annotations.json", "b.overlay.jpg", "d.overlay.jpg"
    }  # fmt: skip
    dataset = read_dataset(tmp_path / "seen/annotations.json")
    assert [(image.id, image.file_name) for image in dataset.images] == [(1, "b.png"), (2, "d.png")]


def test_nothing_is_written_where_no_photo_can_be_read(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_bytes(b"GIF89a")
    for named, words in ((["a.jpg"], "a.jpg is empty"), (["a.jpg", "b.jpg"], "none of the other 1 can be read")):
        done = run("predict", trained, *(tmp_path / name for name in named), "--overlay", tmp_path / "seen")
        assert done.exit_code == 2 and words in done.stderr and len(done.stderr.splitlines()) == 2
        assert not (tmp_path / "seen").exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text", "outside"])
def test_a_bad_photo_is_named(trained: Path, drawn: Path, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "data"
    shutil.copytree(drawn.parent, folder)
    content = json.loads((folder / "ann.json").read_text())
    name = content["images"][5]["file_name"]
    photo = folder / name
    if damage == "missing":
        photo.unlink()
    elif damage == "outside":
        content["images"][5]["file_name"] = "../../etc/passwd"
        name = "../../etc/passwd"
        (folder / "ann.json").write_text(json.dumps(content))
    else:
        whole = photo.read_bytes()
        photo.write_bytes({"empty": b"", "truncated": whole[: len(whole) // 2], "text": b"<html>"}[damage])
    done = run("predict", trained, "--data", folder / "ann.json", "--images", folder, "--out", tmp_path / "store")
    assert done.exit_code == 2
    assert name in done.stderr and "Traceback" not in done.stderr
    if damage != "truncated":  # only decoding shows that; what was predicted until then can be gone on with
        assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["RUN", "--data", "ANN", "--images", "DIR"], "--out"),
        (["RUN", "PHOTO"], "--overlay"),
        (["PHOTO", "--overlay", "OUT"], "no run"),
        (["RUN", "--overlay", "OUT"], "no photo"),
        (["RUN", "nothing.jpg", "--overlay", "OUT"], "does not exist"),
        (["RUN", "PHOTO", "--overlay", "OUT", "--tta", "flop"], "flip"),
        (["RUN", "--data", "ANN", "--images", "DIR", "--out", "OUT", "--dtype", "int4"], "uint8"),
        (["RUN", "--data", "ANN", "--images", "DIR", "--out", "ANN", "--overwrite"], "is an input"),
        (["RUN", "--data", "ANN", "--images", "DIR", "--out", "OOF", "--overwrite"], "is part of the run"),
        (["RUN", "--data", "ANN", "--images", "DIR", "--out", "INSIDE"], "is part of the run"),
        (["RUN", "PHOTO", "--overlay", "PHOTO", "--overwrite"], "is an input"),
    ],
)
def test_invalid_options_are_reported(trained: Path, drawn: Path, tmp_path: Path, words: list[str], part: str) -> None:
    photo = next((drawn.parent / "photos").glob("*.png"))
    meant = {"RUN": trained, "ANN": drawn, "DIR": drawn.parent, "PHOTO": photo, "OUT": tmp_path / "out"}
    meant |= {"OOF": trained / "oof", "INSIDE": trained / "checkpoints/test"}
    done = run("predict", *(meant.get(word, word) for word in words))
    assert done.exit_code == 2
    assert part in done.stderr
    assert not (tmp_path / "out").exists()
