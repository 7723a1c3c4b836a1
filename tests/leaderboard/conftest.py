"""Confusion matrices of made-up models, and a ledger of small submissions, for the leaderboard tests."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.predictions.submission_csv import CsvLayout, write
from trashkit.raster.masks import dataset_label_map

SIZE, CLASSES = 32, 4
NAMES = ["Paper", "Metal", "Glass"]
runner = CliRunner()

Made = Callable[..., NDArray[np.int64]]


def made(
    models: int = 6, images: int = 60, classes: int = 4, *, quality: NDArray[np.floating] | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """[M, N, C, C] int64 of images with 1,000 pixels: images equally hard for all models, plus noise."""
    rng = np.random.default_rng(seed)
    quality = np.linspace(0.5, 0.9, models) if quality is None else quality
    truth = rng.multinomial(1000, np.r_[0.6, np.full(classes - 1, 0.4 / (classes - 1))], images)
    hard = 0.15 * rng.standard_normal((images, classes))
    found = np.zeros((models, images, classes, classes), np.int64)
    for m in range(models):
        right = np.clip(quality[m] + hard + 0.05 * rng.standard_normal((images, classes)), 0.02, 0.98)
        hits = rng.binomial(truth, right)
        for c in range(classes):
            found[m, :, c, c] = hits[:, c]
            found[m, :, c, (c + 1) % classes] += truth[:, c] - hits[:, c]
    return found


@pytest.fixture(scope="session")
def models() -> Made:
    return made


def run(*words: object) -> Result:
    return runner.invoke(app, [str(word) for word in words])


def coco(ids: range, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in ids]
    annotations = []
    for n in ids:
        for category in rng.permutation([1, 2, 3])[: int(rng.integers(1, 4))]:
            x, y, w, h = (float(v) for v in rng.integers(4, 30, 4))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": n,
                    "category_id": int(category),
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "area": w * h,
                    "bbox": [x, y, w, h],
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def predicted(truth: Path, out: Path, wrong: float, seed: int) -> None:
    """A submission that is wrong in this share of 4x4 blocks."""
    data = read_dataset(truth, classes="own")
    rng = np.random.default_rng(seed)
    rows = []
    for image in data.images:
        label_map = dataset_label_map(data, image.row, size=(SIZE, SIZE)).copy()
        blocks = np.kron(rng.random((SIZE // 4, SIZE // 4)) < wrong, np.ones((4, 4), bool))
        label_map[blocks] = rng.integers(0, CLASSES)
        rows.append((image.file_name, label_map))
    write(out, rows, CsvLayout(height=SIZE, width=SIZE, classes=CLASSES))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.json and hidden.json; for six models oof-N.csv of the one and sub-N.csv of the other."""
    folder = tmp_path_factory.mktemp("board")
    for name, ids in (("train", range(1, 31)), ("hidden", range(100, 120))):
        (folder / f"{name}.json").write_text(json.dumps(coco(ids, ids.start)))
    for n in range(6):
        predicted(folder / "train.json", folder / f"oof-{n}.csv", 0.05 + 0.04 * n, n)
        predicted(folder / "hidden.json", folder / f"sub-{n}.csv", 0.05 + 0.04 * n, 50 + n)
    return folder


def options(folder: Path) -> list[object]:
    return ["--data", folder / "train.json", "--classes", "own", "--size", SIZE]


def add(folder: Path, ledger: Path, n: int, *more: object) -> Result:
    words = ["--oof", folder / f"oof-{n}.csv", *options(folder), "--run", f"runs/{n}", "--ledger", ledger]
    return run("leaderboard", "add", folder / f"sub-{n}.csv", *words, *more)


@pytest.fixture
def ledger(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "leaderboard.jsonl"
    for n in range(5):
        done = add(folder, path, n, "--public", 0.9 - 0.05 * n)
        assert done.exit_code == 0, done.output
    return path


def split_of(ids: range, path: Path, truth: Path | None, auc: float = 0.9) -> Path:
    folds = [{"train": [i for i in ids if i % 3 != k], "val": [i for i in ids if i % 3 == k]} for k in range(3)]
    weights = [[i, 1.9 if i % 2 else 0.1] for i in ids]
    alike = {"auc": auc, "auc_sd": 0.02, "weights": weights}
    source = {"path": str(truth), "sha256": read_dataset(truth).coco.sha256} if truth else {}
    path.write_text(json.dumps({"folds": folds, "quality": {"test_likeness": alike}, "source": source}))
    return path
