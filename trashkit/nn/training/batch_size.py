"""A batch size that fits into memory: tried on a GPU, estimated on a CPU."""

from __future__ import annotations

import copy

import psutil
import torch
from accelerate import Accelerator

from trashkit.errors import TrashkitError
from trashkit.nn.models.networks import Segmenter, measure_network
from trashkit.nn.training.choices import Choice
from trashkit.settings.training import TrainConfig

SMALLEST = 2
"""Batch norm needs two images."""
SHARE = 0.8
"""Share of the free memory that may be used."""


def fit_batch_size(config: TrainConfig, model: Segmenter, engine: Accelerator) -> tuple[TrainConfig, Choice | None]:
    """The settings with the batch size halved until a training step fits into memory, and the choice to report.

    On a GPU a step is tried with random photos on a copy of the model, and all processes use the smallest size that any
    of them finds. On a CPU the memory is estimated from shapes. Raises TrashkitError if not even two images fit.
    """
    wanted = batch = int(config.data.batch_size)
    gpu = engine.device.type == "cuda"
    while not (_step_fits(model, engine, batch) if gpu else _estimate_fits(config, model, batch)):
        if batch <= SMALLEST:
            raise TrashkitError(
                f"a batch of {batch} photos at {config.data.size} px does not fit into memory",
                hint="use a smaller data.size or network, or set data.batch_size to try anyway",
            )
        batch = max(SMALLEST, batch // 2)
    if engine.num_processes > 1:
        batch = int(engine.gather(torch.tensor([batch], device=engine.device)).min())
    how = "tried on this GPU" if gpu else "estimated from the network's activations"
    found = None
    if batch < wanted:
        found = Choice("batch size", str(batch), f"{how}: {wanted} does not fit into memory")
    elif gpu:
        found = Choice("batch size", str(batch), f"{how}: it fits into memory")
    return config.model_copy(update={"data": config.data.model_copy(update={"batch_size": batch})}), found


def memory_warning(needed: int, device: torch.device) -> str:
    """A warning if the device has less free memory than `needed` bytes, else an empty text."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed <= free:
        return ""
    return f"needs about {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free: use a smaller batch or size"


def _step_fits(model: Segmenter, engine: Accelerator, batch: int) -> bool:
    trial = copy.deepcopy(model).to(engine.device).to(memory_format=torch.channels_last).train()
    # Reserved for the optimiser's two averages and the moving average of weights, which are allocated later.
    reserved = [torch.empty_like(parameter) for parameter in trial.parameters() for _ in range(3)]
    try:
        photos = torch.randint(0, 256, (batch, 3, *model.size), dtype=torch.uint8, device=engine.device)
        with engine.autocast():
            logits = trial(photos)
            logits = logits[0] if isinstance(logits, tuple) else logits
        # float32 copies, as a sum of losses makes them
        (logits.float().softmax(1).square().mean() + logits.float().logsumexp(1).mean()).backward()
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    finally:
        del trial, reserved
        torch.cuda.empty_cache()
    return True


def _estimate_fits(config: TrainConfig, model: Segmenter, batch: int) -> bool:
    needed = measure_network(model.spec, batch).memory(half=config.amp in ("bf16", "fp16"))
    return bool(needed <= SHARE * psutil.virtual_memory().available)
