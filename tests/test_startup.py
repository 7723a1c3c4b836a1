"""`trashkit --help` starts fast: its imports are limited by name and number, instead of by time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "timm", "segmentation_models_pytorch", "albumentations", "accelerate", "fiftyone")
NOT_AT_START = (
    *HEAVY,
    "cv2",
    "pandas",
    "sklearn",
    "zarr",
    "shapely",
    "scipy",
    "PIL",
    "numpy",
    "msgspec",
    "pycocotools",
    "pydantic",
)

PROGRAM = """
import sys
before = set(sys.modules)
sys.argv = ["trashkit", *sys.argv[1:]]
from trashkit.cli.app import main
try:
    main()
except SystemExit as end:
    code = end.code or 0
import json
print(json.dumps({"code": code, "modules": sorted(set(sys.modules) - before)}), file=sys.stderr)
"""


def modules_after(*arguments: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    answer = json.loads(done.stderr.splitlines()[-1])
    assert answer["code"] == 0, done.stderr
    assert "trashkit" in done.stdout
    return set(answer["modules"])


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=" ".join)
def test_start_imports_nothing_heavy(arguments: list[str]) -> None:
    found = {name.partition(".")[0] for name in modules_after(*arguments)}
    assert not found & set(NOT_AT_START)


def test_start_imports_few_modules() -> None:
    """typer and rich take about 300; each heavy package would bring several hundred more."""
    assert len(modules_after("--help")) < 500
