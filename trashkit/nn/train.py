"""Training, one run from start to end.

The same code runs on a CPU, one GPU, many GPUs and many machines: under ``accelerate launch`` or ``torchrun`` each
process takes its share of every epoch's images, gradients are averaged, and each validation image is counted once.

**Resume.** Everything random is drawn from (seed, epoch, image) or (seed, epoch, process), and the learning rate is a
function of the step, so an epoch depends only on the weights and the optimiser's state at its start. These are saved
after every epoch; a run killed at any moment goes on from there and ends, on a CPU, with the very same weights.

**Which weights.** The moving average of weights after the last epoch, unless another candidate is better beyond doubt
on the validation images, see `trashkit.nn.choose`: the best epoch by validation mIoU is too often the luckiest one of a
rare class. metrics.jsonl has the scores of all epochs, the manifest those of all candidates.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from trashkit import run as runs
from trashkit.config import TrainConfig, to_toml
from trashkit.errors import TrashkitError
from trashkit.files import write_text
from trashkit.loss_text import class_rule, parse_loss
from trashkit.nn.batch_fit import fitted
from trashkit.nn.cache import PhotoCache
from trashkit.nn.checkpoint import load_state, read_weights
from trashkit.nn.choices import automatic, check_settings
from trashkit.nn.class_weights import given_weights, weights_of
from trashkit.nn.feed import Caches, Feed, make_feed, open_caches
from trashkit.nn.finish import add_to_mean, choose_weights, finish
from trashkit.nn.follow import AfterEpoch, follower, tracker_names
from trashkit.nn.learner import Learner, make_learner, save_epoch, start_accelerator, step_parts
from trashkit.nn.losses import by_weight, presence, weighted_sum
from trashkit.nn.models import Segmenter, build
from trashkit.nn.optimise import check_pieces
from trashkit.nn.record import MapData, TrainData, epoch_line, epoch_row, identity, manifest, run_spec, scores_of
from trashkit.nn.shard import check_cut, gathered
from trashkit.nn.smooth import smoothed
from trashkit.nn.teaching import Lesson, Tutor, lesson_loss
from trashkit.nn.validate import validate_each
from trashkit.progress import Progress, silent
from trashkit.run_folder import SETTINGS, is_run, lock, unlock

Say = Callable[[str], None]


def train(
    config: TrainConfig,
    data: TrainData,
    out: Path,
    *,
    about: Mapping[str, Any],
    cache: Path,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
    what: str = "training",
    oof: bool = True,
    shard: bool = False,
    trackers: Sequence[str] = (),
    after_epoch: AfterEpoch = lambda _: None,
    say: Say = lambda _: None,
    progress: Progress = silent,
) -> runs.Run:
    """Train one network into the run folder `out`, and predict its validation images into ``out/oof`` (unless not).

    about: entries for the manifest (command line, recipe, fold). cache: folder for decoded photos; the caller removes
    it. device: ``auto`` or ``cpu``. what: name of the run in `progress`. shard: the network over all
    processes, see `trashkit.nn.shard`; no part of a run, which may go on without. trackers: see `trashkit.nn.follow`.
    after_epoch: called with the rows of metrics.jsonl after each epoch is saved; an exception from it ends the
    training, which can be continued. say: told each automatic choice and each epoch in a line. Everything that can be
    wrong with settings, photos and weights is found before `out` exists.
    Raises TrashkitError for these, for an `out` that may not be continued or replaced, and where the loss diverges.
    """
    tracked = tracker_names(trackers)
    begun = runs.read_run(out) if resume and is_run(out) else None
    chosen, model, engine = _decide(config, data, begun, device=device, say=say)
    speak: Say = say if engine.is_main_process else lambda _: None
    if shard:
        check_cut(model, engine)
        check_pieces(chosen.optimiser, engine)
        speak(f"the network is sharded over {engine.num_processes} processes")
    caches = open_caches(chosen, data, cache, engine, progress)
    if engine.is_main_process:
        made = manifest(chosen, data, model.spec, device=engine.device, processes=engine.num_processes, about=about)
        runs.open_run(out, identity(config, data), made, resume=resume, overwrite=overwrite)
        text = to_toml(chosen, "trashkit train --recipe settings.toml trains with these settings again")
        write_text(out / SETTINGS, text, overwrite=True)
    engine.wait_for_everyone()
    run = runs.read_run(out)
    if run.status == "complete":
        if read_weights(run.checkpoint, str(run.manifest.get("checkpoint_sha256") or "")) is None:
            problem = f"{out} is complete, but its {run.checkpoint.name} is damaged"
            raise TrashkitError(problem, hint="copy it anew, or train it again with --overwrite")
        speak(f"{out} is complete already")
        return run
    held = lock(out) if engine.is_main_process else None
    state, damaged = load_state(out)
    for path in damaged:
        speak(f"{path} is damaged, and passed over")
    if damaged and state is None:
        speak("no training state is whole: training begins again")
    if state is not None:
        speak(f"going on after epoch {state['epoch']} of {chosen.epochs}")
    learner = make_learner(chosen, model, engine, state, shard=shard)
    feed = make_feed(chosen, data, caches[0], engine)
    after, at_end = after_epoch, _nothing
    if engine.is_main_process:
        done = state["epoch"] if state else 0
        after, at_end = follower(run, data, tracked, epochs_done=done, say=speak, then=after_epoch)
    end = _epochs(
        chosen, learner, feed, caches, data, out=out, state=state, what=what, say=speak, after=after, progress=progress
    )
    decided = choose_weights(run, chosen, learner, feed, val=caches[1], state=end, what=what, say=speak)
    run = finish(
        run, data, decided, engine, lambda _, done, total: progress(f"{what}, out-of-fold", done, total),
        rows=end["rows"], predict=oof,
    )  # fmt: skip
    at_end()
    if held is not None:
        unlock(out, held)
    return run


def _decide(
    config: TrainConfig, data: TrainData, begun: runs.Run | None, *, device: str, say: Say
) -> tuple[TrainConfig, Segmenter, Accelerator]:
    """The settings with nothing left to choose, the network before training, and the engine in its precision.

    begun: the run that is continued. What was decided when it began stays, also on another machine.
    """
    engine = start_accelerator(device, "off")
    speak: Say = say if engine.is_main_process else lambda _: None
    chosen, choices = automatic(config, device=engine.device, processes=engine.num_processes, images=data.count)
    if begun is not None:
        chosen = TrainConfig.model_validate(begun.manifest["settings"])
    else:
        for choice in choices:
            speak(str(choice))
    engine = start_accelerator(device, chosen.amp)
    if engine.device.type == "cpu":
        torch.set_num_threads(int(chosen.threads))
    spec = run_spec(chosen, data.dataset)
    check_settings(chosen, spec.class_names)
    torch.manual_seed(chosen.seed)
    model = build(spec, chosen.model.weights)
    if model.came_from:
        speak(f"starts with {model.came_from}")
    if config.data.batch_size == "auto" and begun is None:
        chosen, fits = fitted(chosen, model, engine)
        speak(str(fits or f"batch size {chosen.data.batch_size}: fits into memory"))
    return chosen, model, engine


def _nothing() -> None:
    """What the other processes do at the end."""


def _epochs(
    config: TrainConfig, learner: Learner, feed: Feed, caches: Caches, data: TrainData, *, out: Path,
    state: Mapping[str, Any] | None, what: str, say: Say, after: AfterEpoch, progress: Progress,
) -> dict[str, Any]:  # fmt: skip
    """The training loop, from the saved state on; the state after the last epoch comes back, without weights."""
    engine, photos = learner.accelerator, caches[0]
    loader, batches = feed.loader, feed.batches
    loss_of = weighted_sum(parse_loss(config.loss), _class_weights(config, learner, photos.parts[0], say))
    pull = sum(term.weight for term in parse_loss(config.loss))
    tutor = Tutor([None, *(source.teaching for source in data.more)], learner.whole_average, engine.device)
    steps = -(-len(batches) // config.optimiser.accumulate)
    total = steps * config.epochs
    counts: dict[str, Any] = {key: (state or BEGINNING)[key] for key in BEGINNING}
    rows: list[dict[str, Any]] = list(counts.pop("rows"))

    for epoch in range(counts["epoch"], config.epochs):
        started = time.monotonic()
        torch.manual_seed(_seed(config.seed, epoch, engine.process_index))  # dropout and drop path
        batches.epoch = epoch
        learner.begin_epoch(config, epoch)
        sums = torch.zeros(2, device=engine.device)  # the device is not waited for until the epoch ends
        parts = step_parts([len(draws) for draws in batches], config.optimiser.accumulate)
        for (pixels, labels), draws, (share, ends_step) in zip(loader, batches, parts, strict=True):
            lr = learner.set_learning_rate(config, counts["step"], steps, rows)
            sources = [photos.part(draw.position) for draw in draws]
            key = (config.seed, epoch, draws[0].position, draws[0].repeat, engine.process_index)
            lesson = tutor.lesson(pixels.to(engine.device, non_blocking=True), labels, sources, key)
            weights = [_weight(data.more, source, counts["step"] / total) for source in sources]
            with learner.sharing(ends_step=ends_step):
                loss, told = _loss(config, learner, lesson, partial(lesson_loss, loss_of, pull), weights)
                learner.backward(loss * share)
            sums += told
            if ends_step:
                learner.step(counts["step"], config.optimiser.clip)
                counts["step"] += 1
                progress(f"{what}, steps", counts["step"], total)
        learner.share_statistics()
        counts["epoch"] = epoch + 1
        losses = (engine.reduce(sums, "mean") / len(batches)).tolist()
        rate = batches.shown / (time.monotonic() - started)
        rows.append(_row(learner, losses, counts, lr, out=out))
        _measure(config, learner, caches[1], rows, counts, out=out)
        counts["seconds"] += time.monotonic() - started
        rows[-1] |= {"images_per_second": round(rate, 2), "seconds": round(counts["seconds"], 2)}
        save_epoch(out, learner, rows, counts)
        if engine.is_main_process:
            after(rows)
        say(epoch_line(what, rows[-1], config.epochs))
    return {**counts, "rows": rows}


def _row(
    learner: Learner, losses: Sequence[float], counts: Mapping[str, Any], lr: float, *, out: Path
) -> dict[str, Any]:
    """The new row of metrics.jsonl, not yet scored. Raises TrashkitError where the loss is no number any more."""
    if not math.isfinite(sum(losses)):
        problem = f"the loss of {out} is no number any more in epoch {counts['epoch']}"
        raise TrashkitError(problem, hint="try a lower optimiser.lr or --set amp=off, with --overwrite")
    row = epoch_row(counts["epoch"] - 1, counts["step"], losses[0], lr)
    row["lr_encoder"] = learner.encoder_rate()
    return row if learner.presence is None else {**row, "presence_loss": round(losses[1], 6)}


def _loss(
    config: TrainConfig, learner: Learner, lesson: Lesson, loss_of: Callable[..., torch.Tensor], weights: list[float]
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of a batch; and without gradient [2] what it is of labels, and of which classes are in the pictures."""
    with learner.accelerator.autocast():
        logits, seen = learner.forward(lesson.photos)
    loss = loss_of(logits, lesson, weights)
    told = [loss.detach(), torch.zeros_like(loss)]
    if seen is not None:
        about_classes = by_weight(presence, seen, lesson.labels, weights)
        told[1] = about_classes.detach()
        loss = loss + config.model.presence * about_classes
    return loss, torch.stack(told)


BEGINNING: Mapping[str, Any] = {
    "epoch": 0, "step": 0, "seconds": 0.0, "rows": [], "best": -1.0, "best_epoch": 0, "best_sha256": "", "mean": None,
    "mean_count": 0,
}  # fmt: skip
"""The training state before the first epoch, but for weights and optimiser."""


def last_epochs(config: TrainConfig) -> int:
    """How many last epochs' weights are averaged: a fifth of all, 2 to 10 of them, unless the settings say."""
    if config.mean_epochs != "auto":
        return config.mean_epochs
    return max(2, min(10, round(config.epochs / 5)))


def _measure(
    config: TrainConfig, learner: Learner, val: PhotoCache | None, rows: list[dict[str, Any]], counts: dict[str, Any],
    *, out: Path,
) -> None:  # fmt: skip
    """After an epoch: add the validation of the moving average to the last row, note whether it is the best until now,
    and near the end add the weights to their mean."""
    engine, names = learner.accelerator, learner.model.class_names
    if val:
        batch_size, workers = int(config.data.batch_size), min(2, int(config.data.workers))
        with learner.whole_average() as average:
            matrices = validate_each(average, val, engine, batch_size=batch_size, workers=workers)
        rows[-1] |= scores_of(matrices, names)
        rows[-1]["smoothed"] = smoothed(rows)[-1]
        if engine.is_main_process:
            files = tuple(image.file_name for image in val.images)
            runs.write_validation(out, runs.Validation(matrices, names, files, counts["epoch"]))
        if rows[-1]["smoothed"] > counts["best"]:
            counts |= {"best": rows[-1]["smoothed"], "best_epoch": counts["epoch"]}
    if counts["epoch"] > config.epochs - last_epochs(config):
        weights = gathered(learner.model.network.state_dict())
        counts["mean"] = add_to_mean(counts["mean"], counts["mean_count"], weights)
        counts["mean_count"] += 1


def _class_weights(config: TrainConfig, learner: Learner, cache: PhotoCache, say: Say) -> torch.Tensor | None:
    """Class weights [C] on the device as the settings say, None where all weigh the same."""
    names, given = learner.model.class_names, config.class_weights
    if isinstance(given, str):
        rule = class_rule(given)
        if rule is None:
            return None
        weights = weights_of(rule, cache, len(names))
    else:
        weights = given_weights(given, names)
    say("class weights " + ", ".join(f"{name} {weight:.2g}" for name, weight in zip(names, weights, strict=True)))
    return torch.tensor(weights, dtype=torch.float32, device=learner.accelerator.device)


def _weight(more: Sequence[MapData], part: int, done: float) -> float:
    """Of an image of that part, the annotated ones being part 0, when this share of all steps is done."""
    return more[part - 1].weight_at(done) if part else 1.0


def _seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)
