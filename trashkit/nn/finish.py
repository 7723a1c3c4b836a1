"""The end of a run: candidates for its weights compared, the choice written down, validation images predicted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from trashkit import run as runs
from trashkit.config import TrainConfig
from trashkit.files import sha256
from trashkit.nn.cache import PhotoCache
from trashkit.nn.checkpoint import read_weights, remove_state, save_weights
from trashkit.nn.choose import STANDING, choice_line, compare
from trashkit.nn.feed import Feed
from trashkit.nn.learner import Learner
from trashkit.nn.models import Segmenter, build, load_run_model
from trashkit.nn.predict import predict_dataset
from trashkit.nn.record import TrainData, scores_of
from trashkit.nn.shard import gathered
from trashkit.nn.validate import validate_each
from trashkit.progress import Progress
from trashkit.provenance import now
from trashkit.run_folder import CHECKPOINTS, OOF
from trashkit.scores import Matrix

Say = Callable[[str], None]
State = Mapping[str, Tensor]

BATCHES = 200
"""Batch statistics are measured on at most so many batches: means and variances are known well by then."""


def choose_weights(
    run: runs.Run,
    config: TrainConfig,
    learner: Learner,
    feed: Feed,
    *,
    val: PhotoCache | None,
    state: Mapping[str, Any],
    what: str,
    say: Say,
) -> dict[str, Any]:
    """Write every candidate's weights, compare them, and return the entries of the manifest that this decides.

    val: None where there is nothing to validate on; the moving average is taken then, or what the settings name.
    state: the training state after the last epoch. All processes call this together.
    """
    engine = learner.accelerator
    candidates = _candidates(run, config, learner, state, say)
    if val is None and config.checkpoint not in candidates:
        candidates = {STANDING: candidates[STANDING]}
    scratch = build(learner.model.spec).to(engine.device).to(memory_format=torch.channels_last)
    matrices: dict[str, Matrix] = {}
    for name, weights in candidates.items():
        scratch.network.load_state_dict(weights)
        if name == "mean":
            measure_statistics(scratch, feed.photos(config.epochs), engine)
        if engine.is_main_process and name != "best":
            save_weights(_checkpoint(run, name), scratch.network.state_dict())
        if val is not None:
            matrices[name] = validate_each(
                scratch, val, engine, batch_size=int(config.data.batch_size), workers=min(2, int(config.data.workers))
            )
    engine.wait_for_everyone()
    if val is None:
        wanted = config.checkpoint if config.checkpoint in candidates else STANDING
        return {"checkpoint": wanted, "scores": {}}
    choice = compare(matrices, learner.model.class_names, config.checkpoint)
    say(choice_line(what, choice))
    chosen = choice["chosen"]
    epoch = state["best_epoch"] if chosen == "best" else state["epoch"]
    if engine.is_main_process:
        files = tuple(image.file_name for image in val.images)
        runs.write_validation(run.path, runs.Validation(matrices[chosen], learner.model.class_names, files, epoch))
    scores = {"epoch": epoch, **scores_of(matrices[chosen], learner.model.class_names)}
    # one interval for one figure: that of the comparison, which draws more often than a row of metrics.jsonl
    scores["miou_interval"] = next(one["interval"] for one in choice["candidates"] if one["name"] == chosen)
    return {"checkpoint": chosen, "scores": scores, "choice": choice}


def _candidates(
    run: runs.Run, config: TrainConfig, learner: Learner, state: Mapping[str, Any], say: Say
) -> dict[str, State]:
    """Weights by name of the candidate, the standing one first."""
    found: dict[str, State] = {STANDING: gathered(learner.average.model.network.state_dict())}
    if config.ema:
        found["raw"] = gathered(learner.model.network.state_dict())
    if state["best_epoch"] not in (0, state["epoch"]):
        best = _best(run, learner.accelerator, state["best_sha256"])
        if best is None:
            say(f"{_checkpoint(run, 'best')} is damaged or missing, and no candidate")
        else:
            found["best"] = best
    if state["mean_count"] > 1:
        found["mean"] = state["mean"]
    return found


def _best(run: runs.Run, engine: Accelerator, digest: str) -> State | None:
    """The best epoch's weights, for all processes or for none: a damaged file is no candidate."""
    path = _checkpoint(run, "best")
    weights = read_weights(path, digest) if engine.is_main_process else None
    whole = engine.reduce(torch.tensor(float(weights is not None), device=engine.device), "sum")
    if not bool(whole):
        return None
    return weights if weights is not None else read_weights(path)


def _checkpoint(run: runs.Run, name: str) -> Path:
    return run.path / CHECKPOINTS / f"{name}.safetensors"


def add_to_mean(mean: Mapping[str, Tensor] | None, count: int, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The mean of ``count + 1`` states from that of `count` and one more, float32 on the CPU.

    What is no floating-point number (counters of batches) is taken from the newest.
    """
    found: dict[str, Tensor] = {}
    for key, value in weights.items():
        new = value.detach().cpu()
        if mean is None or not new.is_floating_point():
            found[key] = new.clone()
        else:
            found[key] = mean[key] + (new - mean[key]) / (count + 1)
    return found


@torch.no_grad()
def measure_statistics(model: Segmenter, photos: Iterator[Tensor], accelerator: Accelerator) -> None:
    """Measure the running statistics of batch norm anew for the weights that the model has.

    Those of averaged weights are not the average of theirs. photos: uint8 [B, 3, H, W], at most BATCHES of them are
    looked at; processes measure each its own and take the mean. Other layers stay in eval mode: dropout would change
    what is measured. Source: P. Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization".
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    for batch in islice(photos, BATCHES):
        with accelerator.autocast():
            model(batch.to(accelerator.device, non_blocking=True))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        if accelerator.num_processes > 1:
            for buffer in (norm.running_mean, norm.running_var):
                assert buffer is not None
                buffer.copy_(accelerator.reduce(buffer.contiguous(), "mean"))
    model.eval()


def finish(
    run: runs.Run,
    data: TrainData,
    decided: Mapping[str, Any],
    engine: Accelerator,
    progress: Progress,
    *,
    rows: Sequence[Mapping[str, Any]],
    predict: bool,
) -> runs.Run:
    """Close a run with what `choose_weights` decided; unless not, predict its validation images into ``oof`` first."""
    if engine.is_main_process:
        run = runs.update(run, **decided)
    engine.wait_for_everyone()
    run = runs.read_run(run.path)
    oof = run.path / OOF
    if data.val and predict:
        predict_dataset(
            [load_run_model(run.path, engine.device)],
            data.dataset.subset(image.row for image in data.val),
            data.folder,
            oof,
            manifest={"kind": "out-of-fold", "weights": sha256(run.checkpoint)},
            resume=oof.exists(),
            progress=progress,
        )
    if engine.is_main_process:
        keep = {STANDING, "best", decided["checkpoint"]}
        for path in (run.path / CHECKPOINTS).glob("*.safetensors"):
            if path.stem not in keep:
                path.unlink()
        runs.update(
            run,
            status="complete",
            finished=now(),
            seconds=rows[-1]["seconds"],
            checkpoint_sha256=sha256(run.checkpoint),
        )
        remove_state(run.path)
    engine.wait_for_everyone()
    return runs.read_run(run.path)
