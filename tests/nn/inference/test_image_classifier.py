"""The photo classifier: its objective, out-of-fold predictions, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.inference import image_classifier
from trashkit.nn.inference.image_classifier import class_shares, cross_validate, fit, fit_with_extra, load_image_encoder
from trashkit.predictions.class_presence import read_presence


def rows(count: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, 8))
    named = (x[:, :3] + random.normal(scale=0.7, size=(count, 3))).argmax(axis=1)
    return x, np.eye(4)[named]  # the fourth class has no row


@pytest.mark.parametrize("ridge", [1.0, 0.03])
def test_it_is_the_minimum_that_scikit_learn_finds(ridge: float) -> None:
    x, shares = rows()
    ours = fit(x, shares, ridge).predict(x)
    standard = (x - x.mean(axis=0)) / x.std(axis=0)
    theirs = LogisticRegression(C=1 / (ridge * len(x)), tol=1e-10, max_iter=5000).fit(standard, shares.argmax(axis=1))
    np.testing.assert_allclose(
        ours[:, :3] / ours[:, :3].sum(axis=1, keepdims=True), theirs.predict_proba(standard), atol=0.01
    )
    assert (ours[:, 3] < 0.02).all()
    np.testing.assert_allclose(ours.sum(axis=1), 1)


def test_rows_without_objects_are_ignored_and_weights_act_as_repeats() -> None:
    x, shares = rows()
    kept = fit(x[:40], shares[:40], 0.1).predict(x)
    empty = shares.copy()
    empty[40:] = 0
    np.testing.assert_allclose(fit(x, empty, 0.1).predict(x), kept, atol=1e-4)
    twice = fit(np.concatenate([x, x[:20]]), np.concatenate([shares, shares[:20]]), 0.1).predict(x)
    weighed = fit_with_extra(x[20:], shares[20:], 0.1, (x[:20], shares[:20], np.full(20, 2.0))).predict(x)
    np.testing.assert_allclose(weighed, twice, atol=1e-4)


def test_no_photo_is_predicted_by_a_classifier_trained_on_it() -> None:
    x = np.eye(30)  # nothing is common to two rows: whoever has not seen one can say nothing of it
    shares = np.eye(2)[np.arange(30) % 2]
    folds = [(np.flatnonzero(np.arange(30) % 3 != k), np.flatnonzero(np.arange(30) % 3 == k)) for k in range(3)]
    trial = cross_validate(x, shares, folds, None)
    assert np.abs(trial.shares - 0.5).max() < 0.02
    assert fit(x, shares, 0.01).predict(x)[np.arange(30), np.arange(30) % 2].min() > 0.9


def test_shares_are_of_the_objects_area(tmp_path: Path) -> None:
    value = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 100} for n in (1, 2)],
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 75, 0, 75, 40, 0, 40]], "area": 3000},
            {
                "id": 2,
                "image_id": 1,
                "category_id": 2,
                "segmentation": [[0, 60, 25, 60, 25, 100, 0, 100]],
                "area": 1000,
            },
        ],
    }
    (tmp_path / "ann.json").write_text(json.dumps(value))
    shares = class_shares(read_dataset(tmp_path / "ann.json"))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 0]], atol=0.01)


def test_invalid_encoders_are_refused_by_name() -> None:
    for name in ("resnet18", "tu-nothing"):
        with pytest.raises(TrashkitError, match=f"--encoder {name} is not a pretrained timm classifier"):
            load_image_encoder(name)


def test_a_photo_and_its_mirror_image_have_the_same_features() -> None:
    encoder = load_image_encoder("tu-tf_efficientnet_lite0", 64)
    photos = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        seen, mirrored = encoder.features(photos), encoder.features(photos.flip(3))
    assert seen.shape == (2, 1280, 1, 1)
    torch.testing.assert_close(seen, mirrored, atol=1e-4, rtol=1e-3)
    assert load_image_encoder("tu-tf_efficientnet_lite2").size == (260, 260)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.slow
def test_the_command_predicts_its_own_photos_and_others(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_classifier, "L2_PENALTIES", (0.1,))  # trying others takes most of the time
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    given = ["--images", drawn.parent, "--encoder", "tu-tf_efficientnet_lite0", "--size", 64]
    done = run("presence", drawn, *given, "--out", own, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["out_of_fold"] and said["encoders"] == {"tu-tf_efficientnet_lite0": 64}
    ids = [image["id"] for image in json.loads(drawn.read_text())["images"]]
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"folds": [{"train": ids[6:], "val": ids[:6]}, {"train": ids[:6], "val": ids[6:]}]}))
    warned = run("presence", drawn, *given, "--split", split, "--test", drawn, "--out", other)
    assert warned.exit_code == 0
    known = len(json.loads(drawn.read_text())["images"])
    assert f"{known} photos of" in " ".join(warned.stderr.split()) and "training photos" in warned.stderr
    assert read_presence(other).source["seen"] == known and said["seen"] == 0
    first, second = read_presence(own), read_presence(other)
    images = json.loads(drawn.read_text())["images"]
    assert first.image_ids == second.image_ids == tuple(image["id"] for image in images)
    np.testing.assert_allclose(first.shares.sum(axis=1), 1, atol=1e-4)
    # what has seen a photo knows it better
    truth = class_shares(read_dataset(drawn))
    assert (second.shares * truth).sum() > (first.shares * truth).sum()
    assert run("presence", drawn, *given, "--out", own).exit_code == 2  # it exists


def test_the_command_refuses_in_one_line(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = ["presence", drawn, "--images", drawn.parent, "--out"]
    for words, text in (
        ([out, "--encoder", "resnet18"], "not a pretrained timm classifier"),
        ([out, "--split", tmp_path / "no.json"], "no split"),
        ([out, "--extra", "x"], "does not name an annotation file"),
        ([drawn, "--overwrite"], "input"),
    ):
        done = run(*given, *words)
        assert done.exit_code == 2 and text in done.output, done.output
        assert not out.exists()
