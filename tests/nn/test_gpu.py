"""What only a GPU shows: half precision, the trial of a batch size, a fold on each GPU, compiled steps."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import content_hash
from trashkit.nn.experiments.folds import plan_jobs, train_jobs
from trashkit.nn.models.networks import build, measure_network
from trashkit.nn.training.batch_size import SMALLEST, fit_batch_size
from trashkit.nn.training.record import run_spec
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import TrainData
from trashkit.runs.metrics import read_metrics
from trashkit.runs.run import Run, read_run
from trashkit.settings.training import resolve

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: nothing was tried on a GPU"),
]


def start(annotations: Path, out: Path, assignments, **options) -> Run:
    dataset = read_dataset(annotations)
    content = content_hash(dataset, dataset.images, annotations.parent)
    data = TrainData(dataset, annotations.parent, dataset.images[:9], dataset.images[9:], content)
    callbacks = {key: options.pop(key) for key in ("log", "progress", "after_epoch") if key in options}
    return train(
        resolve(None, assignments),
        data,
        out,
        TrainOptions(**options),
        about={},
        cache=out.parent / "cache",
        **callbacks,
    )


@pytest.mark.parametrize("amp", ["off", "bf16", "fp16"])
def test_every_precision_learns_and_resumes(drawn, quick, tmp_path, amp):
    """The scaler of fp16 starts too high and skips steps, so it takes more steps to learn."""
    if amp == "bf16" and not torch.cuda.is_bf16_supported():
        pytest.skip("this GPU has no bfloat16")
    settings = [*quick, f"amp={amp}", "epochs=8", "optimiser.lr=0.01"]

    def stop(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done > total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", settings, progress=stop)
    run = start(drawn, tmp_path / "run", settings, resume=True)
    losses = [row["loss"] for row in read_metrics(run.path)]
    assert run.status == "complete"
    assert run.manifest["device"]["type"] == "cuda"
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert run.miou > 0


def test_half_precision_scores_nearly_as_single_precision(drawn, quick, tmp_path):
    settings = [*quick, "epochs=6", "optimiser.lr=0.01", "data.augment=none"]
    amp = "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    one, half = (
        read_metrics(start(drawn, tmp_path / name, [*settings, f"amp={name}"]).path)[-1]["loss"]
        for name in ("off", amp)
    )
    assert half == pytest.approx(one, rel=0.2)


def test_a_batch_that_is_too_large_is_halved_until_it_fits(drawn, quick):
    """torch gets about the memory that sixteen photos take, and the batch size is 64."""
    config = resolve(None, [*quick, "data.size=256", "data.batch_size=64", "amp=off"])
    spec = run_spec(config, read_dataset(drawn))
    engine = Accelerator(mixed_precision="no")
    before = torch.cuda.memory_allocated()
    limit = before + 1.2 * measure_network(spec, 16).memory(half=False)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / torch.cuda.mem_get_info()[1]))
    try:
        chosen, said = fit_batch_size(config, build(spec, "none"), engine)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert SMALLEST <= int(chosen.data.batch_size) < 64
    assert "64 do not fit" in str(said)
    # the trial gives back what it took, but for what kernels keep as their working space
    assert torch.cuda.memory_allocated() - before < 100e6


def test_a_batch_size_below_two_is_refused(drawn, quick, monkeypatch):
    monkeypatch.setattr("trashkit.nn.training.batch_size._step_fits", lambda *_: False)
    config = resolve(None, [*quick])
    model = build(run_spec(config, read_dataset(drawn)), "none")
    with pytest.raises(TrashkitError, match="does not fit into memory"):
        fit_batch_size(config, model, Accelerator(mixed_precision="no"))


def test_each_gpu_trains_a_fold(drawn, quick, tmp_path):
    count = torch.cuda.device_count()
    if count < 2:
        pytest.skip(f"{count} GPU: two are needed to see folds on different ones")
    dataset = read_dataset(drawn)
    ids = [image.id for image in dataset.images]
    folds = {0: (ids[6:], ids[:6]), 1: (ids[:6], ids[6:])}
    config = resolve(None, [*quick, "epochs=2"])
    jobs = plan_jobs({"quick": config}, folds, dataset, tmp_path / "runs")
    said: list[str] = []
    runs = train_jobs(jobs, dataset, drawn.parent, tmp_path / "runs", about={}, at_once="auto", log=said.append)
    assert any("2 runs, 2 in parallel on" in line for line in said)
    assert [read_run(run.path).status for run in runs] == ["complete", "complete"]
    assert (tmp_path / "runs/quick/oof").exists()


def test_a_compiled_step_learns_the_same_as_a_plain_one(drawn, quick, tmp_path):
    settings = [*quick, "epochs=2", "amp=off", "data.augment=none", "loss=ce"]
    plain, compiled = (
        read_metrics(start(drawn, tmp_path / f"{on}", [*settings, f"compile={on}"]).path) for on in ("false", "true")
    )
    assert [row["loss"] for row in compiled] == pytest.approx([row["loss"] for row in plain], rel=0.02)
