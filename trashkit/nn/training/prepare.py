"""Before training: settings with every ``auto`` resolved, the network, and the accelerator."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from trashkit.nn.models.networks import Segmenter, build
from trashkit.nn.training.batch_size import fit_batch_size
from trashkit.nn.training.choices import check_settings, resolve_automatic
from trashkit.nn.training.learner import start_accelerator
from trashkit.nn.training.record import run_spec
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Log, discard
from trashkit.runs.run import Run
from trashkit.settings.training import TrainConfig, recorded_settings


def prepare(
    config: TrainConfig, data: TrainData, started: Run | None, *, device: str, log: Log
) -> tuple[TrainConfig, Segmenter, Accelerator]:
    """The settings with every ``auto`` resolved, the network before training, and the accelerator in its precision.

    started: the run that is resumed. Its resolved settings are used, even on another machine.
    """
    accelerator = start_accelerator(device, "off")
    log = log if accelerator.is_main_process else discard
    resolved, choices = resolve_automatic(
        config, device=accelerator.device, processes=accelerator.num_processes, images=data.count
    )
    if started is not None:
        resolved = recorded_settings(started.manifest.get("settings"), started.path)
    else:
        for choice in choices:
            log(str(choice))
    accelerator = start_accelerator(device, resolved.amp)
    if accelerator.device.type == "cpu":
        torch.set_num_threads(int(resolved.threads))
    spec = run_spec(resolved, data.dataset)
    check_settings(resolved, spec.class_names)
    torch.manual_seed(resolved.seed)
    model = build(spec, resolved.model.weights)
    if model.loaded_from:
        log(f"starting from {model.loaded_from}")
    if config.data.batch_size == "auto" and started is None:
        resolved, fit = fit_batch_size(resolved, model, accelerator)
        log(str(fit or f"batch size {resolved.data.batch_size}: fits into memory"))
    return resolved, model, accelerator
