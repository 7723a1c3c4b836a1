"""Exported models: the same probabilities as torch, the same stores, and no torch to predict with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

from trashkit import onnx
from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.export import export
from trashkit.nn.models import load_run_model
from trashkit.nn.predict import mean_probabilities, predict_dataset
from trashkit.store import open_store

from .conftest import QUICK, draw


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A folder with photos, a run, and its exported file."""
    folder = tmp_path_factory.mktemp("export")
    draw(folder, 8)
    words = ["train", "--data", str(folder / "ann.json"), "--images", str(folder), "--out", str(folder / "run")]
    for setting in [*QUICK, "epochs=1"]:
        words += ["--set", setting]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    export(folder / "run", folder / "model.onnx")
    return folder, folder / "run", folder / "model.onnx"


@pytest.mark.parametrize("tta", ["none", "flips", "d4"])
def test_probabilities_are_those_of_torch(trained: tuple[Path, Path, Path], tta: str) -> None:
    _, run, file = trained
    model, exported = load_run_model(run), onnx.load(file, threads=1)
    assert exported.class_names == model.class_names and exported.size == model.size
    photos = np.random.default_rng(0).integers(0, 256, (3, *model.size, 3), dtype=np.uint8)
    ours = mean_probabilities(model, torch.from_numpy(photos).permute(0, 3, 1, 2).contiguous(), tta=tta).numpy()
    np.testing.assert_allclose(exported(photos, tta), ours, atol=1e-4)


def test_stores_are_those_of_torch(trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    folder, run, file = trained
    dataset = read_dataset(folder / "ann.json", labels=False)
    predict_dataset([load_run_model(run)], dataset, folder, tmp_path / "torch", size=(64, 64))
    onnx.predict_dataset([onnx.load(file)], dataset, folder, tmp_path / "onnx", size=(64, 64))
    one, other = open_store(tmp_path / "torch"), open_store(tmp_path / "onnx")
    for row in range(len(one)):
        assert np.abs(one.stored(row).astype(int) - other.stored(row).astype(int)).max() <= 1


def test_predicting_needs_no_torch(trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    folder, _, file = trained
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


def test_photos_of_another_size_or_none_are_refused_as_with_torch(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder, run, file = trained
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


def test_the_check_takes_photos_from_folders_below_and_leaves_out_broken_ones(
    trained: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    folder, run, _ = trained
    photo = next((folder / "photos").iterdir())
    (tmp_path / "all/batch 1").mkdir(parents=True)
    (tmp_path / f"all/batch 1/good{photo.suffix}").write_bytes(photo.read_bytes())
    (tmp_path / "all/batch 1/bad.jpg").write_bytes(b"")
    words = ["export", str(run), "--images", str(tmp_path / "all"), "--onnx", str(tmp_path / "out.onnx"), "--json"]
    shown = CliRunner().invoke(app, words)
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["checked"] == 1 and "bad.jpg" in shown.stderr
    (tmp_path / f"all/batch 1/good{photo.suffix}").unlink()
    shown = CliRunner().invoke(app, [*words[:-2], str(tmp_path / "two.onnx")])
    assert shown.exit_code == 2 and "no photo in" in shown.output and not (tmp_path / "two.onnx").exists()


def test_what_is_no_exported_model_is_refused(trained: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, run, file = trained
    (tmp_path / "broken.onnx").write_bytes(b"nothing")
    with pytest.raises(TrashkitError, match="cannot be opened"):
        onnx.load(tmp_path / "broken.onnx")
    with pytest.raises(TrashkitError, match="exists"):
        export(run, file)
    with pytest.raises(TrashkitError, match="no test-time"):
        onnx.views("scales", (64, 64))
    with pytest.raises(TrashkitError, match="quarter"):
        onnx.views("d4", (64, 96))
