"""Small photos with annotations, and settings that train on them in a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from trashkit.coco import read_dataset
from trashkit.nn.data.cache import content_hash
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import TrainData
from trashkit.runs.run import Run
from trashkit.settings.training import resolve

COLOURS = {4: (190, 60, 60), 5: (60, 190, 60), 6: (60, 60, 200)}
"""Category -> BGR colour of its shapes: easy to learn."""

QUICK = [
    "model.encoder=tu-test_efficientnet",
    "model.weights=none",
    "model.options={decoder_pyramid_channels = 32, decoder_segmentation_channels = 32}",
    "data.size=64",
    "data.batch_size=4",
    "data.workers=0",
    "epochs=3",
    "ema=0.8",
]


@pytest.fixture(autouse=True, scope="session")
def _few_threads() -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def draw(folder: Path, count: int, seed: int = 0, side: int = 96) -> Path:
    """Write `count` photos with one or two boxes each, and ``ann.json`` next to them."""
    generator = np.random.default_rng(seed)
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for n in range(count):
        photo = generator.integers(100, 140, (side, side, 3), dtype=np.uint8)
        name = f"photos/사진 {n:02d}.png"
        images.append({"id": 10 * n + 7, "file_name": name, "width": side, "height": side})
        for k in range(1 + n % 2):
            category = [4, 5, 6][(n + k) % 3]
            width, height = (int(v) for v in generator.integers(side // 3, side // 2, 2))
            x = k * side // 2 + int(generator.integers(0, max(1, side // 2 - width)))
            y = int(generator.integers(0, side - height))
            cv2.rectangle(photo, (x, y), (x + width - 1, y + height - 1), COLOURS[category], -1)
            ring = [x, y, x + width, y, x + width, y + height, x, y + height]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 10 * n + 7,
                    "category_id": category,
                    "segmentation": [ring],
                    "area": width * height,
                    "bbox": [x, y, width, height],
                    "iscrowd": 0,
                }
            )
        (folder / name).write_bytes(cv2.imencode(".png", photo)[1].tobytes())
    categories = [{"id": 4, "name": "Metal"}, {"id": 5, "name": "Glass"}, {"id": 6, "name": "Plastic"}]
    value: dict[str, Any] = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "ann.json").write_text(json.dumps(value))
    return folder / "ann.json"


def data_of(annotations: Path, train_count: int = 9, count: int = 12) -> TrainData:
    """The first photos to train on, those after them up to `count` to validate on."""
    dataset = read_dataset(annotations)
    images = dataset.images[:count]
    content = content_hash(dataset, images, annotations.parent)
    return TrainData(dataset, annotations.parent, images[:train_count], images[train_count:], content)


def start(annotations: Path, out: Path, assignments: list[str], **options: Any) -> Run:
    """Train on a CPU with these settings, on `data_of` the annotations unless options hold other ``data``."""
    data = options.pop("data", None) or data_of(annotations)
    callbacks = {key: options.pop(key) for key in ("log", "progress", "after_epoch") if key in options}
    return train(
        resolve(None, assignments), data, out, TrainOptions(device="cpu", **options), about={"command": "test"},
        cache=out.parent / "cache", **callbacks,
    )  # fmt: skip


def stop_at(step: int) -> Any:
    """A progress callback that stops a training as Ctrl-C would when this step is done."""

    def progress(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done == step:
            raise KeyboardInterrupt

    return progress


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ann.json of twelve photos; treat it and the folder as read-only."""
    return draw(tmp_path_factory.mktemp("drawn"), 12)


@pytest.fixture
def draw_photos() -> Any:
    """The function `draw`, to make other data sets."""
    return draw


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Settings that make training take about a second."""
    return list(QUICK)


@pytest.fixture(scope="session")
def whole(drawn: Path, quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A complete run of three epochs on `drawn`, three steps each, that nothing interrupted; read-only."""
    return start(drawn, tmp_path_factory.mktemp("whole") / "run", quick)


@pytest.fixture(scope="session")
def stopped(drawn: Path, quick: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run, stopped at step 8, in its third epoch; copy it to resume it."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    with pytest.raises(KeyboardInterrupt):
        start(drawn, out, quick, progress=stop_at(8))
    return out


@pytest.fixture(scope="session")
def two_processes() -> Any:
    """Runs ``train_script.py`` with these arguments in two processes of a CPU that share the work."""

    def start(annotations: Path, out: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--master-port=0",
            "--rdzv-backend=c10d", "--rdzv-endpoint=localhost:0",
            str(Path(__file__).with_name("train_script.py")), str(annotations), str(out), *words,
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.run(command, timeout=280, env=environment, capture_output=True, check=False)

    return start
