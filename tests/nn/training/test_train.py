"""Training: exact resume, learning, many processes, and what is refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType
from safetensors.torch import load_file, save_file

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import content_hash
from trashkit.nn.experiments.folds import join_stores
from trashkit.nn.models.networks import build, load_run_model
from trashkit.nn.training.learner import start_accelerator
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import TrainData
from trashkit.predictions.store import create_store, open_store
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import Run, read_run
from trashkit.settings.training import resolve

from ..conftest import data_of, start, stop_at

SCRIPT = Path(__file__).parents[1] / "train_script.py"


def same_weights(first: Path, second: Path) -> bool:
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def scores_of(run: Path) -> list[dict]:
    return [{k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in read_metrics(run)]


def assert_same_run(run: Path, whole: Run) -> None:
    for name in ("last", "best"):
        assert same_weights(run / f"checkpoints/{name}.safetensors", whole.path / f"checkpoints/{name}.safetensors")
    assert scores_of(run) == scores_of(whole.path)
    assert read_run(run).scores == whole.scores
    one, other = open_store(run / "oof"), open_store(whole.path / "oof")
    assert one.image_ids == other.image_ids
    assert all(np.array_equal(one.read(row), other.read(row)) for row in range(len(one)))


@pytest.mark.parametrize("step", [5, *(pytest.param(step, marks=pytest.mark.slow) for step in (2, 6, 9))])
def test_interrupted_and_resumed_is_the_same_run(drawn, quick, whole, tmp_path, step):
    """Three steps an epoch: stopped in the first epoch, in the second, at its very end, and at the last step."""
    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", quick, progress=stop_at(step))
    assert read_run(tmp_path / "run").status == "running"
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, log=said.append)
    assert run.status == "complete"
    assert (f"resuming after epoch {(step - 1) // 3} of 3" in said) == (step > 3)
    assert_same_run(run.path, whole)


def test_fewer_validations_leave_the_training_as_it_is(drawn, quick, whole, tmp_path):
    run = start(drawn, tmp_path / "run", [*quick, "validate_every=2"])
    rows, others = read_metrics(run.path), read_metrics(whole.path)
    assert ["miou" in row for row in rows] == [False, True, True]
    assert [row["loss"] for row in rows] == [row["loss"] for row in others]
    assert rows[-1]["iou"] == others[-1]["iou"]
    assert same_weights(run.path / "checkpoints/last.safetensors", whole.path / "checkpoints/last.safetensors")


@pytest.mark.slow
def test_killed_and_resumed_is_the_same_run(drawn, quick, whole, tmp_path):
    command = [sys.executable, str(SCRIPT), str(drawn), str(tmp_path / "run"), *quick, "kill=8"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, timeout=250, env=environment, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]
    assert len(read_metrics(tmp_path / "run")) == 2
    assert_same_run(start(drawn, tmp_path / "run", quick, resume=True).path, whole)


@pytest.mark.slow  # test_safety.py damages states too
def test_the_previous_state_replaces_a_damaged_one(drawn, quick, whole, stopped, tmp_path):
    shutil.copytree(stopped, tmp_path / "run")
    state = tmp_path / "run/checkpoints/state.pt"
    state.write_bytes(state.read_bytes()[:-1000])
    said: list[str] = []
    run = start(drawn, tmp_path / "run", quick, resume=True, log=said.append)
    assert "resuming after epoch 1 of 3" in said
    assert_same_run(run.path, whole)


def test_the_training_state_loads_without_pickled_code(stopped):
    state = torch.load(stopped / "checkpoints/state.pt", weights_only=True)
    assert state["epoch"] == 2
    assert state["step"] == 6


def test_the_manifest_records_inputs_and_settings(whole, drawn):
    manifest = read_run(whole.path).manifest
    assert {"settings", "versions", "git", "inputs", "seed", "device", "seconds", "scores", "command"} <= set(manifest)
    assert manifest["inputs"]["data_sha256"] == read_dataset(drawn).coco.sha256
    assert not (whole.path / "checkpoints/state.pt").exists()
    assert whole.scores["miou"] == pytest.approx(scores_of(whole.path)[-1]["miou"])


def test_settings_file_trains_the_same_again(drawn, whole, tmp_path):
    from trashkit.settings.training import read_recipe

    config = resolve(read_recipe(whole.path / "settings.toml"))
    run = train(
        config, data_of(drawn), tmp_path / "run", TrainOptions(device="cpu"), about={}, cache=tmp_path / "cache"
    )
    assert same_weights(run.checkpoint, whole.checkpoint)


def test_validation_agrees_with_the_score_command(drawn, whole):
    """The last row of metrics.jsonl is the score of the out-of-fold store at its own size."""
    from trashkit.metrics.scores import Confusion
    from trashkit.raster.masks import dataset_label_map

    dataset, store = read_dataset(drawn), open_store(whole.path / "oof")
    total = Confusion.empty(dataset.classes.names)
    for row, image_id in enumerate(store.image_ids):
        truth = dataset_label_map(dataset, dataset.image_by_id[image_id].row, size=store.size)
        total = total + Confusion.of(truth, store.label_map(row), dataset.classes.names)
    assert total.miou() == pytest.approx(whole.scores["miou"], abs=1e-6)


CHOICES = {
    "frozen, then layer by layer, with what is in the picture": [
        "optimiser.freeze_epochs=1", "optimiser.layer_decay=0.8", "schedule.encoder_warmup=0.2", "optimiser.name=lion",
        "optimiser.accumulate=2", "loss=top-k + tversky(gamma=0.75)", "class_weights=effective", "ema=0",
        "model.presence=0.4",
    ],
    "plateau, with weights by hand": [
        "schedule.name=plateau", "schedule.warmup=0", "schedule.patience=1", "schedule.gamma=0.5",
        "optimiser.name=sgd", "optimiser.frozen_norm=true", "loss=boundary + lovasz", "class_weights.Metal=3",
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "choices",
    [
        pytest.param(words, id=name, marks=[pytest.mark.slow] if n else [])
        for n, (name, words) in enumerate(CHOICES.items())
    ],
)
def test_every_choice_resumes_exactly(drawn, quick, tmp_path, choices):
    settings = [*quick, *choices]
    whole = start(drawn, tmp_path / "whole", settings)
    steps = read_metrics(whole.path)[0]["step"]
    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", settings, progress=stop_at(2 * steps + 1))
    run = start(drawn, tmp_path / "run", settings, resume=True)
    assert same_weights(run.path / "checkpoints/last.safetensors", whole.path / "checkpoints/last.safetensors")
    assert scores_of(run.path) == scores_of(whole.path)
    rows = read_metrics(run.path)
    assert ("presence_loss" in rows[0]) == ("model.presence=0.4" in choices)


@pytest.mark.slow
def test_accumulated_batches_are_one_large_batch(drawn, quick, tmp_path):
    """Up to rounding, for a loss that is a mean over pixels and norms whose statistics do not learn."""
    settings = [
        *quick, "epochs=2", "loss=ce", "data.augment=none", "ema=0", "optimiser.name=sgd", "optimiser.clip=0",
        "optimiser.freeze_epochs=9", "model.architecture=unet", "model.options={decoder_use_norm = false}",
    ]  # fmt: skip
    large = start(drawn, tmp_path / "large", [*settings, "data.batch_size=8"], data=data_of(drawn, 8))
    small = start(
        drawn, tmp_path / "small", [*settings, "data.batch_size=2", "optimiser.accumulate=4"], data=data_of(drawn, 8)
    )
    assert read_metrics(small.path)[-1]["step"] == read_metrics(large.path)[-1]["step"] == 2
    one, other = (load_file(run.path / "checkpoints/last.safetensors") for run in (large, small))
    fresh = build(large.spec).network.state_dict()
    moved = [key for key, value in one.items() if not torch.equal(value, fresh[key])]
    assert moved
    for key in one:
        assert torch.allclose(one[key], other[key], atol=1e-6), key


@pytest.mark.slow
def test_a_frozen_encoder_keeps_weights_and_statistics_and_then_learns(drawn, quick, whole, tmp_path):
    begin = build(whole.spec)
    save_file(begin.network.state_dict(), tmp_path / "begin.safetensors")
    settings = [*quick, "ema=0", f'model.weights="{tmp_path / "begin.safetensors"}"']

    def moved(epochs: int, *more: str) -> set[str]:
        out = tmp_path / f"{epochs}{len(more)}"
        run = start(drawn, out, [*settings, f"epochs={epochs}", "optimiser.freeze_epochs=1", *more])
        state, first = load_file(run.path / "checkpoints/last.safetensors"), begin.network.state_dict()
        return {key for key, value in state.items() if not torch.equal(value, first[key])}

    frozen = moved(1)
    assert frozen
    assert not [key for key in frozen if key.startswith("encoder.")]
    freed = {key for key in moved(2) if key.startswith("encoder.")}
    assert any("running_mean" in key for key in freed)
    assert any("conv" in key for key in freed)
    held = {key for key in moved(2, "optimiser.frozen_norm=true") if key.startswith("encoder.")}
    assert held
    assert not any("running_mean" in key for key in held)


def test_continuing_with_other_settings_is_refused_by_name(drawn, quick, whole):
    with pytest.raises(TrashkitError, match=r"settings.epochs was 3, now 4"):
        start(drawn, whole.path, [*quick, "epochs=4"], resume=True)
    with pytest.raises(TrashkitError, match="validation images"):
        start(drawn, whole.path, quick, resume=True, data=data_of(drawn, 8))


def test_an_existing_run_is_refused_and_overwritten_on_demand(drawn, quick, whole, tmp_path):
    short = [*quick, "epochs=1"]
    shutil.copytree(whole.path, tmp_path / "run")
    with pytest.raises(TrashkitError, match="already exists"):
        start(drawn, tmp_path / "run", short)
    start(drawn, tmp_path / "run", [*short, "seed=3"], overwrite=True)
    assert read_run(tmp_path / "run").manifest["seed"] == 3


def test_all_data_has_no_validation(drawn, quick, tmp_path):
    run = start(drawn, tmp_path / "run", [*quick, "epochs=1", "checkpoint=best"], data=data_of(drawn, 12))
    assert run.status == "complete"
    assert not run.scores
    assert not (run.path / "oof").exists()
    assert run.checkpoint.name == "last.safetensors"
    assert load_run_model(run.path)(torch.zeros(1, 3, 50, 70, dtype=torch.uint8)).shape == (1, 11, 50, 70)


def test_four_images_can_be_overfitted(drawn, quick, tmp_path):
    dataset = read_dataset(drawn)
    images = dataset.images[:4]
    data = TrainData(dataset, drawn.parent, 20 * images, images, content_hash(dataset, images, drawn.parent))
    assignments = [
        *quick, "epochs=2", "data.augment=none", "optimiser.lr=0.02", "optimiser.encoder_lr_ratio=1", "ema=0.9",
    ]  # fmt: skip
    run = start(drawn, tmp_path / "run", assignments, data=data)
    assert run.miou > 0.9


@pytest.mark.parametrize("way", ["DEEPSPEED", "MEGATRON_LM"])
def test_other_kinds_of_distributed_training_are_refused(monkeypatch, way):
    """accelerate decides the kind by how it was launched, so it is patched here."""
    kind = DistributedType[way]
    monkeypatch.setattr(Accelerator, "distributed_type", property(lambda _: kind))
    with pytest.raises(TrashkitError, match=f"training with {kind.value} is not supported") as caught:
        start_accelerator("cpu", "off")
    assert "accelerate launch --multi_gpu" in caught.value.hint


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "text"])
def test_a_broken_photo_is_named_before_anything_is_written(draw_photos, quick, tmp_path, damage):
    annotations = draw_photos(tmp_path / "data", 6)
    broken = tmp_path / "data/photos/사진 04.png"
    content = broken.read_bytes()
    broken.unlink()
    if damage != "missing":
        broken.write_bytes({"empty": b"", "truncated": content[: len(content) // 2], "text": b"hello"}[damage])
    with pytest.raises(TrashkitError, match=r"사진 04\.png"):
        start(annotations, tmp_path / "out/run", quick)
    assert not (tmp_path / "out/run").exists()


def test_folds_join_to_a_store_of_every_image(drawn, tmp_path):
    """Of folds that hold out every second image."""
    dataset = read_dataset(drawn)
    generator = np.random.default_rng(0)
    paths = [tmp_path / "fold-0", tmp_path / "fold-1"]
    for fold, path in enumerate(paths):
        images = dataset.images[fold::2]
        with create_store(
            path,
            image_ids=[image.id for image in images],
            file_names=[image.file_name for image in images],
            native_sizes=[(image.height, image.width) for image in images],
            classes=dataset.classes.names,
            size=(8, 8),
            manifest={},
        ) as store:
            for row in range(len(images)):
                values = generator.random((len(dataset.classes.names), 8, 8), dtype=np.float32)
                store.write(row, values / values.sum(axis=0))
    join_stores(paths, dataset, tmp_path / "oof")
    joined = open_store(tmp_path / "oof")
    joined.require_complete()
    assert list(joined.image_ids) == [image.id for image in dataset.images]
    for fold, path in enumerate(paths):
        store = open_store(path)
        for row in range(len(store)):
            assert np.array_equal(joined.label_map(2 * row + fold), store.label_map(row))


def test_metrics_are_json_lines(whole):
    rows = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert {"loss", "lr", "miou", "iou", "images_per_second", "seconds"} <= set(rows[0])
    assert "presence_loss" not in rows[0]
