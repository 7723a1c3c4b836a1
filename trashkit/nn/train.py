"""Training, one run from start to end.

The same code runs on a CPU, one GPU, many GPUs and many machines: under ``accelerate launch`` or ``torchrun`` each
process takes its share of every epoch's images, gradients are averaged, and each validation image is counted once.

**Resume.** Everything random is drawn from (seed, epoch, image) or (seed, epoch, process), and the learning rate is a
function of the step, so an epoch depends only on the weights and the optimiser's state at its start. These are saved
after every epoch; a run killed at any moment goes on from there and ends, on a CPU, with the very same weights.

**Which weights.** ``last`` are those after the last epoch (their moving average, where that is on) and are what a run
is used with unless ``checkpoint = "best"``: the best epoch by validation mIoU is too often the luckiest one of a rare
class. Both are kept, and metrics.jsonl has the scores of all epochs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from trashkit import run as runs
from trashkit.coco import Image
from trashkit.config import TrainConfig, parse_loss, to_toml
from trashkit.errors import TrashkitError
from trashkit.files import sha256, write_text
from trashkit.nn.augment import make_augment
from trashkit.nn.cache import JoinedCaches, Layout, PhotoCache, open_cache, validation_layout, working_layout
from trashkit.nn.checkpoint import load_state, remove_state
from trashkit.nn.choices import automatic
from trashkit.nn.data import EpochBatches, TrainPhotos, train_loader
from trashkit.nn.learner import Learner, make_learner, save_epoch, start_accelerator
from trashkit.nn.losses import by_weight, weighted_sum
from trashkit.nn.models import build, load_run_model
from trashkit.nn.predict import predict_dataset
from trashkit.nn.record import MapData, TrainData, chosen_row, epoch_line, epoch_row, identity, manifest, run_spec
from trashkit.nn.validate import SCORED, validate
from trashkit.progress import Progress, silent

Say = Callable[[str], None]
Caches = tuple[JoinedCaches, PhotoCache | None]


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
    say: Say = lambda _: None,
    progress: Progress = silent,
) -> runs.Run:
    """Train one network into the run folder `out`, and predict its validation images into ``out/oof`` (unless not).

    about: entries for the manifest (command line, recipe, fold). cache: folder for decoded photos; the caller removes
    it. device: ``auto`` or ``cpu``. what: name of the run in `progress`. say: told each automatic choice and each epoch
    in a line. Everything that can be wrong with settings, photos and weights is found before `out` exists.
    Raises TrashkitError for these, for an `out` that may not be continued or replaced, and where the loss diverges.
    """
    engine = start_accelerator(device, "off")
    speak: Say = say if engine.is_main_process else lambda _: None
    chosen, choices = automatic(config, device=engine.device, processes=engine.num_processes, images=data.count)
    begun = resume and runs.is_run(out)
    if begun:  # what was decided when it began stays, also on another machine
        chosen = TrainConfig.model_validate(runs.read_run(out).manifest["settings"])
    else:
        for choice in choices:
            speak(str(choice))
    engine = start_accelerator(device, chosen.amp)
    if engine.device.type == "cpu":
        torch.set_num_threads(int(chosen.threads))
    spec = run_spec(chosen, data.dataset)
    torch.manual_seed(chosen.seed)
    model = build(spec, chosen.model.weights)
    caches = _open_caches(chosen, data, cache, engine, progress)
    if engine.is_main_process:
        made = manifest(chosen, data, spec, device=engine.device, processes=engine.num_processes, about=about)
        runs.open_run(out, identity(config, data), made, resume=resume, overwrite=overwrite)
        text = to_toml(chosen, "trashkit train --recipe settings.toml trains with these settings again")
        write_text(out / runs.SETTINGS, text, overwrite=True)
    engine.wait_for_everyone()
    run = runs.read_run(out)
    if run.status == "complete":
        speak(f"{out} is complete already")
        return run
    state = load_state(out)
    if state is not None:
        speak(f"going on after epoch {state['epoch']} of {chosen.epochs}")
    learner = make_learner(chosen, model, engine, state)
    rows = _epochs(chosen, learner, caches, out, state, more=data.more, what=what, say=speak, progress=progress)
    return _finish(
        run, data, rows, engine, lambda _, done, total: progress(f"{what}, out-of-fold", done, total), predict=oof
    )


def _epochs(
    config: TrainConfig,
    learner: Learner,
    caches: Caches,
    out: Path,
    state: Mapping[str, Any] | None,
    *,
    more: Sequence[MapData],
    what: str,
    say: Say,
    progress: Progress,
) -> list[dict[str, Any]]:
    """The training loop, from the saved state on; the rows of metrics.jsonl come back."""
    engine, photos = learner.accelerator, caches[0]
    batch_size, workers = int(config.data.batch_size), int(config.data.workers)
    rank, processes, seed = engine.process_index, engine.num_processes, config.seed
    loss_of = weighted_sum(parse_loss(config.loss))
    augment = make_augment(config.data.augment, config.data.size)
    batches = EpochBatches(len(photos), batch_size, seed=seed, rank=rank, processes=processes)
    pin = engine.device.type == "cuda"
    loader = train_loader(TrainPhotos(photos, augment, seed), batches, workers=workers, pin=pin)
    total = len(batches) * config.epochs
    counts = {key: state[key] for key in ("epoch", "step", "seconds", "best")} if state else dict(_NOTHING)
    rows: list[dict[str, Any]] = list(state["rows"]) if state else []

    for epoch in range(counts["epoch"], config.epochs):
        started = time.monotonic()
        torch.manual_seed(_seed(seed, epoch, rank))  # dropout and drop path
        batches.epoch = epoch
        learner.forward.train()
        loss_sum = torch.zeros((), device=engine.device)
        for (pixels, labels), draws in zip(loader, batches, strict=True):
            lr = learner.set_learning_rate(config, counts["step"], total)
            with engine.autocast():
                logits = learner.forward(pixels.to(engine.device, non_blocking=True).permute(0, 3, 1, 2))
            weights = [_weight(more, photos.part(position), counts["step"] / total) for _, position in draws]
            loss = by_weight(loss_of, logits, labels.to(engine.device, non_blocking=True), weights)
            learner.step(loss, counts["step"], config.optimiser.clip)
            loss_sum += loss.detach()  # the device is not waited for until the epoch ends
            counts["step"] += 1
            progress(what, counts["step"], total)

        learner.share_statistics()
        mean_loss = float(engine.reduce(loss_sum, "mean")) / len(batches)
        if not math.isfinite(mean_loss):
            problem = f"the loss of {out} is no number any more in epoch {epoch + 1}"
            raise TrashkitError(problem, hint="try a lower optimiser.lr, or --set amp=off")
        rate = len(photos) / (time.monotonic() - started)
        average = learner.average.model
        scored = (
            validate(average, caches[1], engine, batch_size=batch_size, workers=min(2, workers)) if caches[1] else None
        )
        counts["seconds"] += time.monotonic() - started
        row = epoch_row(epoch, counts["step"], mean_loss, lr, scored)
        rows.append({**row, "images_per_second": round(rate, 2), "seconds": round(counts["seconds"], 2)})
        counts["epoch"] = epoch + 1
        is_best = scored is not None and row["miou"] > counts["best"]
        counts["best"] = row["miou"] if is_best else counts["best"]
        if engine.is_main_process:
            save_epoch(out, learner, rows, counts, is_best=is_best)
        say(epoch_line(what, rows[-1], config.epochs))
    return rows


_NOTHING: Mapping[str, Any] = {"epoch": 0, "step": 0, "seconds": 0.0, "best": -1.0}


def _weight(more: Sequence[MapData], part: int, done: float) -> float:
    """Of an image of that part, the annotated ones being part 0, when this share of all steps is done."""
    return more[part - 1].weight_at(done) if part else 1.0


def _seed(seed: int, epoch: int, rank: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, rank]).generate_state(1, np.uint64)[0] >> 1)


def _open_caches(config: TrainConfig, data: TrainData, place: Path, engine: Accelerator, progress: Progress) -> Caches:
    """Photos and label maps to train on and to validate on; made by the first process, opened by all."""
    order, size = config.data.paint_order, config.data.size
    budget = int(config.data.cache_gb * 1e9)
    _check_classes(data)

    def open_one(images: Sequence[Image], layout: Layout) -> PhotoCache:
        return open_cache(
            data.dataset, images, data.folder, layout, place, content=data.content, budget=budget, progress=progress
        )

    def open_maps(source: MapData) -> PhotoCache:
        maps, content = source.maps, source.maps.fingerprint + source.content
        layout = working_layout(size, order)
        return open_cache(
            maps, maps.images, source.folder, layout, place, content=content, budget=budget, progress=progress
        )

    def both() -> Caches:
        train = [open_one(data.train, working_layout(size, order)), *map(open_maps, data.more)]
        return JoinedCaches(train), open_one(data.val, validation_layout(size, SCORED, order)) if data.val else None

    if engine.is_main_process:
        both()
    engine.wait_for_everyone()
    return both()


def _check_classes(data: TrainData) -> None:
    for source in data.more:
        if source.maps.classes != data.dataset.classes.names:
            raise TrashkitError(
                f"{source.maps.path} has other classes ({', '.join(source.maps.classes)}) than the annotations",
                hint="make its label maps with a model of the same classes",
            )


def _finish(
    run: runs.Run,
    data: TrainData,
    rows: Sequence[Mapping[str, Any]],
    engine: Accelerator,
    progress: Progress,
    *,
    predict: bool,
) -> runs.Run:
    """Predict the validation images with the chosen weights, write the scores, and close the run."""
    engine.wait_for_everyone()  # the first process may still be writing
    chosen = chosen_row(rows, run.manifest["checkpoint"])
    oof = run.path / runs.OOF
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
        scores = {
            key: chosen[key] for key in ("epoch", "miou", "pixel_accuracy", "iou", "definitions") if key in chosen
        }
        scores = scores if data.val else {}
        runs.update(run, status="complete", finished=runs.now(), seconds=rows[-1]["seconds"], scores=scores)
        remove_state(run.path)
    engine.wait_for_everyone()
    return runs.read_run(run.path)
