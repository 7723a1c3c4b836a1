"""The end of a run: the checkpoint to use is chosen, validation images are predicted, and the run is completed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from accelerate import Accelerator
from torch import Tensor

from trashkit.files import sha256
from trashkit.metrics.scores import Matrix
from trashkit.nn.checkpoints.checkpoint import read_weights, remove_state, save_weights
from trashkit.nn.checkpoints.checkpoint_selection import DEFAULT, choice_line, select_checkpoint
from trashkit.nn.checkpoints.validate import validate_per_image
from trashkit.nn.data.cache import PhotoCache
from trashkit.nn.data.dataloaders import TrainLoader
from trashkit.nn.inference.predict import predict_dataset
from trashkit.nn.models.networks import build, load_run_model
from trashkit.nn.training.fsdp import full_state
from trashkit.nn.training.learner import Learner
from trashkit.nn.training.record import scores_of
from trashkit.nn.training.train_data import TrainData
from trashkit.nn.training.weight_averaging import measure_batch_statistics
from trashkit.progress import Log, Progress
from trashkit.runs.folder import CHECKPOINTS, OOF
from trashkit.runs.manifest import CheckpointChoice
from trashkit.runs.metrics import EpochRow, Scores, Validation, write_validation
from trashkit.runs.provenance import now
from trashkit.runs.run import Run, read_run, update
from trashkit.settings.training import TrainConfig

State = Mapping[str, Tensor]


class Decision(TypedDict, total=False):
    """The entries of the manifest that choosing a checkpoint decides. choice: missing without validation images."""

    checkpoint: str
    scores: Scores
    choice: CheckpointChoice


def choose_checkpoint(
    run: Run,
    config: TrainConfig,
    learner: Learner,
    train_loader: TrainLoader,
    *,
    val: PhotoCache | None,
    state: Mapping[str, Any],
    name: str,
    log: Log,
) -> Decision:
    """Write the weights of every candidate, compare them on the validation images, and choose one.

    val: None without validation images; then it is the moving average, or what the settings name. state: the training
    state after the last epoch. All processes call this together.
    """
    accelerator, names = learner.accelerator, learner.model.class_names
    candidates = _candidates(run, config, learner, state, log)
    if val is None and config.checkpoint not in candidates:
        candidates = {DEFAULT: candidates[DEFAULT]}
    scratch = build(learner.model.spec).to(accelerator.device).to(memory_format=torch.channels_last)
    matrices: dict[str, Matrix] = {}
    for candidate, weights in candidates.items():
        scratch.network.load_state_dict(weights)
        if candidate == "mean":
            measure_batch_statistics(scratch, train_loader.photos(config.epochs), accelerator)
        if accelerator.is_main_process and candidate != "best":
            save_weights(_checkpoint(run, candidate), scratch.network.state_dict())
        if val is not None:
            batch_size, workers = int(config.data.batch_size), min(2, int(config.data.workers))
            matrices[candidate] = validate_per_image(scratch, val, accelerator, batch_size=batch_size, workers=workers)
    accelerator.wait_for_everyone()
    if val is None:
        return {"checkpoint": config.checkpoint if config.checkpoint in candidates else DEFAULT, "scores": {}}
    choice = select_checkpoint(matrices, names, config.checkpoint)
    log(choice_line(name, choice))
    chosen = choice["chosen"]
    epoch = state["best_epoch"] if chosen == "best" else state["epoch"]
    if accelerator.is_main_process:
        files = tuple(image.file_name for image in val.images)
        write_validation(run.path, Validation(matrices[chosen], names, files, epoch))
    scores: Scores = {"epoch": epoch, **scores_of(matrices[chosen], names)}
    # The interval of the comparison, which draws more resamples than a row of metrics.jsonl.
    scores["miou_interval"] = list(next(one["interval"] for one in choice["candidates"] if one["name"] == chosen))
    return {"checkpoint": chosen, "scores": scores, "choice": choice}


def _candidates(
    run: Run, config: TrainConfig, learner: Learner, state: Mapping[str, Any], log: Log
) -> dict[str, State]:
    """Weights by candidate, the default first."""
    found: dict[str, State] = {DEFAULT: full_state(learner.average.model.network.state_dict())}
    if config.ema:
        found["raw"] = full_state(learner.model.network.state_dict())
    if state["best_epoch"] not in (0, state["epoch"]):
        best = _best_weights(run, learner.accelerator, state["best_sha256"])
        if best is None:
            log(f"{_checkpoint(run, 'best')} is damaged or missing, so it is not a candidate")
        else:
            found["best"] = best
    if state["mean_count"] > 1:
        found["mean"] = state["mean"]
    return found


def _best_weights(run: Run, accelerator: Accelerator, digest: str) -> State | None:
    """The weights of the best epoch, for all processes; None for all if the file is damaged."""
    path = _checkpoint(run, "best")
    weights = read_weights(path, digest) if accelerator.is_main_process else None
    intact = accelerator.reduce(torch.tensor(float(weights is not None), device=accelerator.device), "sum")
    if not bool(intact):
        return None
    return weights if weights is not None else read_weights(path)


def _checkpoint(run: Run, candidate: str) -> Path:
    return run.path / CHECKPOINTS / f"{candidate}.safetensors"


def complete_run(
    run: Run,
    data: TrainData,
    decision: Decision,
    accelerator: Accelerator,
    progress: Progress,
    *,
    rows: Sequence[EpochRow],
    out_of_fold: bool,
) -> Run:
    """Complete a run with the chosen checkpoint. out_of_fold: predict the validation images into its ``oof`` first."""
    if accelerator.is_main_process:
        run = update(run, **decision)
    accelerator.wait_for_everyone()
    run = read_run(run.path)
    oof = run.path / OOF
    if data.val and out_of_fold:
        predict_dataset(
            [load_run_model(run.path, accelerator.device)],
            data.dataset.subset(image.row for image in data.val),
            data.folder,
            oof,
            manifest={"kind": "out-of-fold", "weights": sha256(run.checkpoint)},
            resume=oof.exists(),
            progress=progress,
        )
    if accelerator.is_main_process:
        keep = {DEFAULT, "best", decision["checkpoint"]}
        for path in (run.path / CHECKPOINTS).glob("*.safetensors"):
            if path.stem not in keep:
                path.unlink()
        update(
            run,
            status="complete",
            finished=now(),
            seconds=rows[-1]["seconds"],
            checkpoint_sha256=sha256(run.checkpoint),
        )
        remove_state(run.path)
    accelerator.wait_for_everyone()
    return read_run(run.path)
