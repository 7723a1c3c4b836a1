"""Training of one run, from start to end.

The same code runs on a CPU, one GPU, many GPUs and many machines: under ``accelerate launch`` or ``torchrun`` each
process takes its share of every epoch's images, gradients are averaged, and each validation image is counted once.

**Resume.** Everything random is drawn from (seed, epoch, image) or (seed, epoch, process), and the learning rate is a
function of the step, so an epoch depends only on the weights and the optimiser's state at its start. Both are saved
after every epoch. A run that was killed at any moment resumes there and, on a CPU, ends with identical weights.

**Checkpoints.** A run is used with the moving average of weights after the last epoch, unless another candidate is
significantly better on the validation images (see `trashkit.nn.checkpoints.checkpoint_selection`): the best epoch by
validation mIoU is too often one that was lucky in a rare class. metrics.jsonl has the scores of all epochs, the
manifest those of all candidates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np
import torch
from torch import Tensor

from trashkit.errors import TrashkitError
from trashkit.nn.checkpoints.checkpoint import load_state, read_weights
from trashkit.nn.checkpoints.finish import choose_checkpoint, complete_run
from trashkit.nn.checkpoints.smoothing import smoothed_miou
from trashkit.nn.checkpoints.validate import validate_per_image
from trashkit.nn.data.cache import PhotoCache
from trashkit.nn.data.class_weights import given_weights, weights_by_rule
from trashkit.nn.data.dataloaders import Caches, TrainLoader, make_train_loader, open_caches
from trashkit.nn.training.distillation import TargetBatch, TargetMaker, target_loss
from trashkit.nn.training.expected_time import step_seconds, training_seconds
from trashkit.nn.training.fsdp import check_shardable, full_state
from trashkit.nn.training.learner import Learner, make_learner, save_epoch, step_parts
from trashkit.nn.training.losses import image_presence_loss, image_weighted_loss, loss_sum
from trashkit.nn.training.optimisers import check_sharded_optimiser
from trashkit.nn.training.prepare import prepare
from trashkit.nn.training.record import epoch_line, epoch_row, new_run_entries, run_identity, scores_of
from trashkit.nn.training.tracking import AfterEpoch, RunTracker, tracker_names
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.nn.training.weight_averaging import add_to_mean
from trashkit.outputs import write_text
from trashkit.progress import Log, Progress, discard, silent, time_text
from trashkit.runs.folder import SETTINGS, is_run, locked
from trashkit.runs.metrics import EpochRow, Validation, write_validation
from trashkit.runs.run import Run, open_run, read_run
from trashkit.settings.loss_expressions import class_rule, parse_loss
from trashkit.settings.training import TrainConfig, to_toml


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a training that are not settings: none of them is part of a run's identity.

    device: ``auto`` or ``cpu``. fsdp: shard the network over all processes (see `trashkit.nn.training.fsdp`); a run may
    be resumed with or without. resume: continue a run folder that exists. overwrite: replace it. trackers: names, see
    `trashkit.nn.training.tracking`. out_of_fold: predict the validation images into ``oof`` at the end.

    To add an option, add a field here and use it in this file, and declare it in `trashkit/cli/training/train.py`.
    """

    device: str = "auto"
    fsdp: bool = False
    resume: bool = False
    overwrite: bool = False
    trackers: tuple[str, ...] = ()
    out_of_fold: bool = True


DEFAULTS = TrainOptions()


class LoopState(TypedDict):
    """Where the training loop is; part of the training state. seconds: of training so far. best: highest smoothed
    validation mIoU. mean: of the weights of the last `mean_count` epochs."""

    epoch: int
    step: int
    seconds: float
    rows: list[EpochRow]
    best: float
    best_epoch: int
    best_sha256: str
    mean: dict[str, Tensor] | None
    mean_count: int


def train(
    config: TrainConfig,
    data: TrainData,
    out: Path,
    options: TrainOptions = DEFAULTS,
    *,
    cache: Path,
    about: Mapping[str, Any],
    name: str = "training",
    after_epoch: AfterEpoch | None = None,
    log: Log = discard,
    progress: Progress = silent,
) -> Run:
    """Train one network into the run folder `out`.

    cache: folder for decoded photos, which the caller removes. about: entries for the manifest (command line, recipe,
    fold). name: of the run in `progress` and `log`. after_epoch: called after each epoch is saved; an exception from it
    stops the training, which can be resumed. log: receives each automatic choice and one line per epoch. Everything
    that can be wrong with settings, photos and weights is found before `out` exists.

    Raises TrashkitError for such mistakes, for an `out` that may not be resumed or replaced, and if the loss becomes
    NaN.
    """
    trackers = tracker_names(options.trackers)
    started = read_run(out) if options.resume and is_run(out) else None
    resolved, model, accelerator = prepare(config, data, started, device=options.device, log=log)
    main = accelerator.is_main_process
    log = log if main else discard
    if options.fsdp:
        check_shardable(model, accelerator)
        check_sharded_optimiser(resolved.optimiser, accelerator)
        log(f"the network is sharded over {accelerator.num_processes} processes")
    caches = open_caches(resolved, data, cache, accelerator, progress)
    if main:
        device, processes = accelerator.device, accelerator.num_processes
        entries = new_run_entries(resolved, data, model.spec, device=device, processes=processes, about=about)
        open_run(out, run_identity(config, data), entries, resume=options.resume, overwrite=options.overwrite)
        text = to_toml(resolved, "trashkit train --recipe settings.toml trains with these settings again")
        write_text(out / SETTINGS, text, overwrite=True)
    accelerator.wait_for_everyone()
    run = read_run(out)
    if run.status == "complete":
        _check_complete(run)
        log(f"{out} is already complete")
        return run
    with locked(out) if main else nullcontext():
        state = _load_state(out, resolved, log)
        learner = make_learner(resolved, model, accelerator, state, fsdp=options.fsdp)
        train_loader = make_train_loader(resolved, data, caches[0], accelerator)
        tracker = None
        if main:
            epochs_done = state["epoch"] if state else 0
            tracker = RunTracker(run, data, trackers, epochs_done=epochs_done, after_epoch=after_epoch, log=log)
        if state is None and not options.fsdp:
            seconds = step_seconds(model.network, resolved, accelerator, data.count)
            if seconds is not None:
                counts = {"train": data.count, "val": len(data.val), "processes": accelerator.num_processes}
                whole = time_text(training_seconds(seconds, resolved, **counts))
                log(f"{name}: about {whole} in all, from the time of one step")
        after = tracker.after_epoch if tracker is not None else None
        end = _training_loop(
            resolved,
            learner,
            train_loader,
            caches,
            data,
            out=out,
            state=state,
            name=name,
            after=after,
            log=log,
            progress=progress,
        )
        decision = choose_checkpoint(run, resolved, learner, train_loader, val=caches[1], state=end, name=name, log=log)

        def predicting(_: str, done: int, total: int) -> None:
            progress(f"{name}, out-of-fold", done, total)

        rows, out_of_fold = end["rows"], options.out_of_fold
        run = complete_run(run, data, decision, accelerator, predicting, rows=rows, out_of_fold=out_of_fold)
        if tracker is not None:
            tracker.close()
        return run


# --- before ----------------------------------------------------------------------------------------------------------


def _check_complete(run: Run) -> None:
    if read_weights(run.checkpoint, str(run.manifest.get("checkpoint_sha256") or "")) is None:
        raise TrashkitError(
            f"{run.path} is complete, but its {run.checkpoint.name} is damaged",
            hint="copy it again from a backup, or train again with --overwrite",
        )


def _load_state(out: Path, config: TrainConfig, log: Log) -> dict[str, Any] | None:
    """The newest intact training state of a run; None to start from the beginning."""
    state, damaged = load_state(out)
    for path in damaged:
        log(f"{path} is damaged and is ignored")
    if damaged and state is None:
        log("no training state is intact: training starts from the beginning")
    if state is not None:
        log(f"resuming after epoch {state['epoch']} of {config.epochs}")
    return state


# --- the loop --------------------------------------------------------------------------------------------------------


def _training_loop(
    config: TrainConfig,
    learner: Learner,
    train_loader: TrainLoader,
    caches: Caches,
    data: TrainData,
    *,
    out: Path,
    state: Mapping[str, Any] | None,
    name: str,
    after: AfterEpoch | None,
    log: Log,
    progress: Progress,
) -> LoopState:
    """Train from the saved state to the last epoch; returns where the loop ended."""
    accelerator, photos = learner.accelerator, caches[0]
    loader, sampler = train_loader.batches, train_loader.sampler
    terms = parse_loss(config.loss)
    loss = loss_sum(terms, _class_weights(config, learner, photos.parts[0], log))
    loss_of = partial(target_loss, loss, sum(term.weight for term in terms))
    sources = [None, *(source.distillation for source in data.more)]
    targets = TargetMaker(sources, learner.unsharded_average, accelerator.device)
    steps = -(-len(sampler) // config.optimiser.accumulate)  # per epoch
    total = steps * config.epochs
    loop = _loop_state(state)

    for epoch in range(loop["epoch"], config.epochs):
        started = time.monotonic()
        torch.manual_seed(_epoch_seed(config.seed, epoch, accelerator.process_index))  # dropout and drop path
        sampler.epoch = epoch
        learner.begin_epoch(config, epoch)
        sums = torch.zeros(2, device=accelerator.device)  # read once per epoch, so that the device is not waited for
        parts = step_parts([len(draws) for draws in sampler], config.optimiser.accumulate)
        for (pixels, labels), draws, (share, ends_step) in zip(loader, sampler, parts, strict=True):
            lr = learner.set_learning_rate(config, loop["step"], steps, loop["rows"])
            source_of = [photos.part(draw.position) for draw in draws]
            key = (config.seed, epoch, draws[0].position, draws[0].repeat, accelerator.process_index)
            batch = targets.make(pixels.to(accelerator.device, non_blocking=True), labels, source_of, key)
            weights = [_image_weight(data.more, source, loop["step"] / total) for source in source_of]
            with learner.gradient_sync(ends_step=ends_step):
                batch_loss, losses = _batch_loss(config, learner, batch, loss_of, weights)
                learner.backward(batch_loss * share)
            sums += losses
            if ends_step:
                learner.step(loop["step"], config.optimiser.clip)
                loop["step"] += 1
                progress(f"{name}, steps", loop["step"], total)
        learner.average_batch_statistics()
        loop["epoch"] = epoch + 1
        means = (accelerator.reduce(sums, "mean") / len(sampler)).tolist()
        images_per_second = sampler.photos_per_epoch / (time.monotonic() - started)
        row = _new_row(learner, means, loop, lr, out=out)
        loop["rows"].append(row)
        _validate_epoch(config, learner, caches[1], loop, out=out)
        _add_to_mean_of_last(config, learner, loop)
        loop["seconds"] += time.monotonic() - started
        row["images_per_second"] = round(images_per_second, 2)
        row["seconds"] = round(loop["seconds"], 2)
        counts = {key: value for key, value in loop.items() if key != "rows"}
        save_epoch(out, learner, loop["rows"], counts)
        loop["best_sha256"] = str(counts["best_sha256"])
        if after is not None:
            after(loop["rows"])
        log(epoch_line(name, row, config.epochs))
    return loop


def _loop_state(state: Mapping[str, Any] | None) -> LoopState:
    """The loop's part of a saved training state, or its start."""
    start: LoopState = {
        "epoch": 0,
        "step": 0,
        "seconds": 0.0,
        "rows": [],
        "best": -1.0,
        "best_epoch": 0,
        "best_sha256": "",
        "mean": None,
        "mean_count": 0,
    }
    if state is None:
        return start
    loop = cast(LoopState, {key: state[key] for key in start})
    loop["rows"] = list(loop["rows"])
    return loop


def _batch_loss(
    config: TrainConfig, learner: Learner, batch: TargetBatch, loss_of: partial[Tensor], weights: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """The loss of a batch, and without gradient [2]: the loss of labels, and of which classes are in the images."""
    with learner.accelerator.autocast():
        logits, presence_logits = learner.forward(batch.photos)
    loss: Tensor = loss_of(logits, batch, weights)
    losses = [loss.detach(), torch.zeros_like(loss)]
    if presence_logits is not None:
        presence_loss = image_weighted_loss(image_presence_loss, presence_logits, batch.labels, weights)
        losses[1] = presence_loss.detach()
        loss = loss + config.model.presence * presence_loss
    return loss, torch.stack(losses)


def _new_row(learner: Learner, losses: Sequence[float], loop: LoopState, lr: float, *, out: Path) -> EpochRow:
    """The row of the epoch without scores. Raises TrashkitError if the loss became NaN or infinite."""
    if not math.isfinite(sum(losses)):
        raise TrashkitError(
            f"the loss of {out} became NaN in epoch {loop['epoch']}",
            hint="try a lower optimiser.lr or --set amp=off, with --overwrite",
        )
    row = epoch_row(loop["epoch"] - 1, loop["step"], losses[0], lr)
    row["lr_encoder"] = learner.encoder_lr()
    if learner.presence_head is not None:
        row["presence_loss"] = round(losses[1], 6)
    return row


def _validate_epoch(
    config: TrainConfig, learner: Learner, val: PhotoCache | None, loop: LoopState, *, out: Path
) -> None:
    """Add the scores of the moving average to the last row, and note whether the epoch is the best so far."""
    due = loop["epoch"] % config.validate_every == 0 or loop["epoch"] == config.epochs
    if not val or not due:
        return
    accelerator, names, rows = learner.accelerator, learner.model.class_names, loop["rows"]
    batch_size, workers = int(config.data.batch_size), min(2, int(config.data.workers))
    with learner.unsharded_average() as average:
        matrices = validate_per_image(average, val, accelerator, batch_size=batch_size, workers=workers)
    rows[-1] |= cast(EpochRow, scores_of(matrices, names))
    rows[-1]["smoothed"] = smoothed_miou(rows)[-1]
    if accelerator.is_main_process:
        files = tuple(image.file_name for image in val.images)
        write_validation(out, Validation(matrices, names, files, loop["epoch"]))
    if rows[-1]["smoothed"] > loop["best"]:
        loop["best"], loop["best_epoch"] = rows[-1]["smoothed"], loop["epoch"]


def _add_to_mean_of_last(config: TrainConfig, learner: Learner, loop: LoopState) -> None:
    """Near the end, add the weights of the epoch to the mean of the last epochs."""
    if loop["epoch"] > config.epochs - last_epochs(config):
        weights = full_state(learner.model.network.state_dict())
        loop["mean"] = add_to_mean(loop["mean"], loop["mean_count"], weights)
        loop["mean_count"] += 1


def last_epochs(config: TrainConfig) -> int:
    """Number of last epochs whose weights are averaged: a fifth of all, from 2 to 10, unless set."""
    if config.mean_epochs != "auto":
        return config.mean_epochs
    return max(2, min(10, round(config.epochs / 5)))


def _class_weights(config: TrainConfig, learner: Learner, cache: PhotoCache, log: Log) -> Tensor | None:
    """Class weights [C] on the device as set, None for equal weights."""
    names, setting = learner.model.class_names, config.class_weights
    if isinstance(setting, str):
        rule = class_rule(setting)
        if rule is None:
            return None
        weights = weights_by_rule(rule, cache, len(names))
    else:
        weights = given_weights(setting, names)
    log("class weights " + ", ".join(f"{name} {weight:.2g}" for name, weight in zip(names, weights, strict=True)))
    return torch.tensor(weights, dtype=torch.float32, device=learner.accelerator.device)


def _image_weight(more: Sequence[ExtraSource], part: int, done: float) -> float:
    """Weight of an image of a source (0: annotated) when this share of all steps is done."""
    return more[part - 1].weight_at(done) if part else 1.0


def _epoch_seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)
