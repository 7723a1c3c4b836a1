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
    """Write `count` photos with one or two boxes each, and ``ann.json`` beside them."""
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


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ann.json of twelve photos; treat it and the folder as read-only."""
    return draw(tmp_path_factory.mktemp("drawn"), 12)


@pytest.fixture
def draw_photos() -> Any:
    """The function `draw`, for data sets of one's own."""
    return draw


@pytest.fixture(scope="session")
def quick() -> list[str]:
    """Assignments that make training a matter of a second."""
    return list(QUICK)


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
