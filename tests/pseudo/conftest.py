"""Small photos with annotations, folds, and teachers trained on them in seconds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from trashkit.cli.app import app

COLOURS = {4: (190, 60, 60), 5: (60, 190, 60), 6: (60, 60, 200)}
SIDE = 64
QUICK = [
    "model.encoder=tu-test_efficientnet",
    "model.weights=none",
    "model.options={decoder_pyramid_channels = 32, decoder_segmentation_channels = 32}",
    "data.size=64",
    "data.batch_size=4",
    "data.workers=0",
    "epochs=2",
    "ema=0.8",
]


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def _run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def _ok(*words: object) -> Any:
    """The JSON of a command that must succeed."""
    done = _run(*words, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def draw(folder: Path, names: Sequence[str], file: str, *, seed: int) -> Path:
    """Photos with one box each below ``photos/``, and their COCO file; ids begin at 1 in every file."""
    generator = np.random.default_rng(seed)
    images, annotations = [], []
    for n, name in enumerate(names):
        photo = generator.integers(100, 140, (SIDE, SIDE, 3), dtype=np.uint8)
        category = [4, 5, 6][n % 3]
        x, y, w, h = (int(v) for v in generator.integers(SIDE // 4, SIDE // 2, 4))
        cv2.rectangle(photo, (x, y), (x + w - 1, y + h - 1), COLOURS[category], -1)
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", photo)[1].tobytes())
        images.append({"id": n + 1, "file_name": name, "width": SIDE, "height": SIDE})
        ring = [x, y, x + w, y, x + w, y + h, x, y + h]
        annotations.append(
            {"id": n + 1, "image_id": n + 1, "category_id": category, "segmentation": [ring], "area": w * h,
             "bbox": [x, y, w, h], "iscrowd": 0}
        )  # fmt: skip
    categories = [{"id": 4, "name": "Metal"}, {"id": 5, "name": "Glass"}, {"id": 6, "name": "Plastic"}]
    value = {"images": images, "annotations": annotations, "categories": categories}
    (folder / file).write_text(json.dumps(value))
    return folder / file


@pytest.fixture
def run() -> Callable[..., Result]:
    """Run a command; arguments of any type."""
    return _run


@pytest.fixture
def ok() -> Callable[..., Any]:
    """Run a command that must succeed; its JSON."""
    return _ok


def training(folder: Path) -> list[object]:
    return [
        "train", "--data", folder / "train.json", "--images", folder / "photos", "--device", "cpu",
        *(word for one in QUICK for word in ("--set", one)),
    ]  # fmt: skip


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.json (12 images), test.json (4), split.json (2 folds), `first` (fold 0) and `folds` (both). Read-only."""
    folder = tmp_path_factory.mktemp("pseudo")
    draw(folder, [f"train/{n:02d}.png" for n in range(12)], "train.json", seed=0)
    test = draw(folder, [f"test/시험 {n:02d}.png" for n in range(4)], "test.json", seed=1)
    (folder / "test.json").write_text(json.dumps({**json.loads(test.read_text()), "annotations": []}))
    ids = list(range(1, 13))
    folds = [{"train": ids[6:], "val": ids[:6]}, {"train": ids[:6], "val": ids[6:]}]
    (folder / "split.json").write_text(json.dumps({"folds": folds}))
    split = ["--split", folder / "split.json"]
    _ok(*training(folder), *split, "--fold", "all", "--out", folder / "folds")
    (first,) = (path.parent for path in (folder / "folds").glob("*/fold-0/manifest.json"))
    shutil.copytree(first, folder / "first")
    return folder


@pytest.fixture
def quick() -> list[str]:
    """Options that make a training last seconds."""
    return [word for one in QUICK for word in ("--set", one)]


@pytest.fixture
def pseudo(place: Path) -> Callable[..., list[object]]:
    """The arguments of a command with these teachers and options."""

    def words(*teachers: Path, out: Path, unlabeled: Path | None = None, data: Path | None = None) -> list[object]:
        return [
            "pseudo", *teachers, "--data", data or place / "train.json", "--images", place / "photos",
            "--unlabeled", unlabeled or place / "test.json", "--device", "cpu", "--size", 64, "--out", out,
        ]  # fmt: skip

    return words
