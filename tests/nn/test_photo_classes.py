"""The classifier of whole photos: what it minimises, what it has seen, and the command around it."""

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
from trashkit.nn.photo_classes import fit, fit_with, object_shares, photo_encoder, try_ridges
from trashkit.presence import read_presence


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


def test_rows_without_objects_count_for_nothing_and_weights_are_repeats() -> None:
    x, shares = rows()
    kept = fit(x[:40], shares[:40], 0.1).predict(x)
    empty = shares.copy()
    empty[40:] = 0
    np.testing.assert_allclose(fit(x, empty, 0.1).predict(x), kept, atol=1e-4)
    twice = fit(np.concatenate([x, x[:20]]), np.concatenate([shares, shares[:20]]), 0.1).predict(x)
    weighed = fit_with(x[20:], shares[20:], 0.1, (x[:20], shares[:20], np.full(20, 2.0))).predict(x)
    np.testing.assert_allclose(weighed, twice, atol=1e-4)


def test_no_photo_is_judged_by_what_has_seen_it() -> None:
    x = np.eye(30)  # nothing is common to two rows: whoever has not seen one can say nothing of it
    shares = np.eye(2)[np.arange(30) % 2]
    folds = [(np.flatnonzero(np.arange(30) % 3 != k), np.flatnonzero(np.arange(30) % 3 == k)) for k in range(3)]
    trial = try_ridges(x, shares, folds, None)
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
    shares = object_shares(read_dataset(tmp_path / "ann.json"))
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0, 0]], atol=0.01)


def test_what_cannot_be_an_encoder_is_named() -> None:
    for name in ("resnet18", "tu-nothing"):
        with pytest.raises(TrashkitError, match=f"--encoder {name} is no pretrained classifier"):
            photo_encoder(name)


def test_an_encoder_sees_a_photo_and_its_mirror_image_alike() -> None:
    encoder = photo_encoder("tu-tf_efficientnet_lite0", 64)
    photos = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    with torch.inference_mode():
        seen, mirrored = encoder.features(photos), encoder.features(photos.flip(3))
    assert seen.shape == (2, 1280, 1, 1)
    torch.testing.assert_close(seen, mirrored, atol=1e-4, rtol=1e-3)
    assert photo_encoder("tu-tf_efficientnet_lite2").size == (260, 260)


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def test_the_command_judges_its_own_photos_and_others(drawn: Path, tmp_path: Path) -> None:
    own, other = tmp_path / "own.json", tmp_path / "other.json"
    given = ["--images", drawn.parent, "--encoder", "tu-tf_efficientnet_lite0", "--size", 64]
    done = run("presence", drawn, *given, "--out", own, "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["out_of_fold"] and said["encoders"] == {"tu-tf_efficientnet_lite0": 64}
    warned = run("presence", drawn, *given, "--test", drawn, "--out", other)
    assert warned.exit_code == 0
    known = len(json.loads(drawn.read_text())["images"])
    assert f"{known} of the photos" in warned.stderr and "learns from" in warned.stderr
    assert read_presence(other).source["seen"] == known and said["seen"] == 0
    first, second = read_presence(own), read_presence(other)
    images = json.loads(drawn.read_text())["images"]
    assert first.image_ids == second.image_ids == tuple(image["id"] for image in images)
    np.testing.assert_allclose(first.shares.sum(axis=1), 1, atol=1e-4)
    # what has seen a photo knows it better
    truth = object_shares(read_dataset(drawn))
    assert (second.shares * truth).sum() > (first.shares * truth).sum()
    assert run("presence", drawn, *given, "--out", own).exit_code == 2  # it exists


def test_the_command_refuses_in_one_line(drawn: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = ["presence", drawn, "--images", drawn.parent, "--out"]
    for words, text in (
        ([out, "--encoder", "resnet18"], "no pretrained classifier"),
        ([out, "--split", tmp_path / "no.json"], "no split"),
        ([out, "--extra", "x"], "no data set with its photos"),
        ([drawn, "--overwrite"], "input"),
    ):
        done = run(*given, *words)
        assert done.exit_code == 2 and text in done.output, done.output
        assert not out.exists()
