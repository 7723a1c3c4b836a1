"""A small project, its request, and a plan that is not timed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from trashkit.workflows.auto.inputs import AutoRequest, read_auto_inputs
from trashkit.workflows.auto.plan import Choices, Plan

CHOICES = Choices(("tiny",), ("threads=1",), 96, 4, 5, 2, 20.0, 6.0)


def write_coco(path: Path, images: Path, names: list[str], *, labels: bool) -> None:
    """A COCO file of small photos, which are drawn where they do not exist; with labels, one box in each."""
    images.mkdir(parents=True, exist_ok=True)
    for n, name in enumerate(names):
        if not (images / name).exists():
            Image.new("RGB", (32, 24), (8 * n, 90, len(name))).save(images / name)
    rows = [{"id": n, "file_name": name, "width": 32, "height": 24} for n, name in enumerate(names, start=1)]
    shapes = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[2, 2, 20, 2, 20, 18, 2, 18]], "area": 288}
        for n in range(1, len(names) + 1)
    ]
    content = {
        "images": rows,
        "annotations": shapes if labels else [],
        "categories": [{"id": 1, "name": "Paper"}, {"id": 2, "name": "Glass"}],
    }
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AutoRequest:
    """Twelve labelled photos and three without labels, with relative paths."""
    monkeypatch.chdir(tmp_path)
    write_coco(Path("train.json"), Path("photos"), [f"{n}.png" for n in range(12)], labels=True)
    write_coco(Path("test.json"), Path("photos"), [f"test{n}.png" for n in range(3)], labels=False)
    Path("sample.csv").write_text("image_id,PredictionString\n", encoding="utf-8")
    return AutoRequest(
        data=Path("train.json"),
        images=Path("photos"),
        test=Path("test.json"),
        sample=Path("sample.csv"),
        out=Path("runs/auto"),
    )


def plan_of(request: AutoRequest, choices: Choices = CHOICES) -> Plan:
    """A plan of a request with given choices."""
    return Plan(request, read_auto_inputs(request), choices, {"weights": "one recipe"}, "2026-12-01T00:00:00", 9.0)
