"""Exported models: the same probabilities as torch, the same stores, and prediction without torch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.inference.export import export
from trashkit.nn.inference.predict import mean_probabilities, predict_dataset
from trashkit.nn.models.networks import load_run_model
from trashkit.predictions import onnx
from trashkit.predictions.store import open_store
from trashkit.runs.run import Run

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Trained:
    """data: a folder with photos and ann.json. run: trained on it. file: the run, exported by `command`."""

    data: Path
    run: Path
    file: Path
    command: Result


def export_words(run: Path, photos: Path, file: Path) -> list[str]:
    return ["export", str(run), "--images", str(photos), "--onnx", str(file), "--json"]


@pytest.fixture(scope="module")
def trained(drawn: Path, whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Exported once, since that is slow, and checked on one photo in a subfolder and a broken one."""
    folder = tmp_path_factory.mktemp("export")
    photo = next((drawn.parent / "photos").iterdir())
    (folder / "all/batch 1").mkdir(parents=True)
    shutil.copy(photo, folder / "all/batch 1/good.png")
    (folder / "all/batch 1/bad.jpg").write_bytes(b"")
    file = folder / "model.onnx"
    shown = CliRunner().invoke(app, export_words(whole.path, folder / "all", file))
    assert shown.exit_code == 0, shown.output
    return Trained(drawn.parent, whole.path, file, shown)


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_probabilities_are_those_of_torch(trained: Trained, tta: str) -> None:
    model, exported = load_run_model(trained.run), onnx.load(trained.file, threads=1)
    assert exported.class_names == model.class_names and exported.size == model.size
    photos = np.random.default_rng(0).integers(0, 256, (3, *model.size, 3), dtype=np.uint8)
    ours = mean_probabilities(model, torch.from_numpy(photos).permute(0, 3, 1, 2).contiguous(), tta=tta).numpy()
    np.testing.assert_allclose(exported(photos, tta), ours, atol=1e-4)


def test_stores_are_those_of_torch(trained: Trained, tmp_path: Path) -> None:
    folder, run, file = trained.data, trained.run, trained.file
    dataset = read_dataset(folder / "ann.json", labels=False)
    predict_dataset([load_run_model(run)], dataset, folder, tmp_path / "torch", size=(64, 64))
    onnx.predict_dataset([onnx.load(file)], dataset, folder, tmp_path / "onnx", size=(64, 64))
    one, other = open_store(tmp_path / "torch"), open_store(tmp_path / "onnx")
    for row in range(len(one)):
        assert np.abs(one.stored(row).astype(int) - other.stored(row).astype(int)).max() <= 1


def test_predicting_needs_no_torch(trained: Trained, tmp_path: Path) -> None:
    folder, file = trained.data, trained.file
    photo = next((folder / "photos").iterdir())
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['timm'] = None\n"
        "from trashkit.cli.app import app\n"
        f"app(['predict', {str(file)!r}, {str(photo)!r}, '--overlay', {str(tmp_path / 'seen')!r}, '--label-maps'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    names = sorted(path.suffix for path in (tmp_path / "seen").iterdir())
    assert names == [".jpg", ".json", ".png"]
    assert json.loads((tmp_path / "seen/annotations.json").read_text())["images"][0]["width"] == 96


def test_photos_of_another_size_or_none_are_refused_as_with_torch(trained: Trained, tmp_path: Path) -> None:
    folder, run, file = trained.data, trained.run, trained.file
    text = json.loads((folder / "ann.json").read_text())
    text["images"][2].update(width=40, height=64)
    (tmp_path / "other.json").write_text(json.dumps(text))
    other = read_dataset(tmp_path / "other.json", labels=False)
    said = []
    for predict, model in ((predict_dataset, load_run_model(run)), (onnx.predict_dataset, onnx.load(file))):
        with pytest.raises(TrashkitError, match="the data set says 40x64") as error:
            predict([model], other, folder, tmp_path / "no")  # type: ignore[operator]
        said.append(error.value.message)
        with pytest.raises(TrashkitError, match=r"photo folder .* does not exist"):
            predict([model], other, tmp_path / "nowhere", tmp_path / "no")  # type: ignore[operator]
    assert said[0] == said[1] and not (tmp_path / "no").exists()


def test_the_check_takes_photos_from_folders_below_and_leaves_out_broken_ones(trained: Trained, tmp_path: Path) -> None:
    assert json.loads(trained.command.stdout)["checked"] == 1 and "bad.jpg" in trained.command.stderr
    (tmp_path / "all").mkdir()
    (tmp_path / "all/bad.jpg").write_bytes(b"")
    shown = CliRunner().invoke(app, export_words(trained.run, tmp_path / "all", tmp_path / "two.onnx"))
    assert shown.exit_code == 2 and "no photo in" in shown.output and not (tmp_path / "two.onnx").exists()


def test_files_that_are_not_exported_models_are_refused(trained: Trained, tmp_path: Path) -> None:
    run, file = trained.run, trained.file
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(TrashkitError, match="cannot be opened"):
        onnx.load(tmp_path / "broken.onnx")
    with pytest.raises(TrashkitError, match="exists"):
        export(run, file)
    with pytest.raises(TrashkitError, match="no test-time"):
        onnx.views("scales", (64, 64))
    with pytest.raises(TrashkitError, match="rotated by 90 degrees"):
        onnx.views("d4", (64, 96))
