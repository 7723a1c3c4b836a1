"""A batch size that fits: tried on a GPU, estimated on a CPU."""

from __future__ import annotations

import copy

import psutil
import torch
from accelerate import Accelerator

from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.nn.choices import Choice
from trashkit.nn.models import Segmenter, check_fit

SMALLEST = 2
"""Batch norm needs two images."""
SHARE = 0.8
"""Of the memory that is free, so much may be planned with."""


def fitted(config: TrainConfig, model: Segmenter, engine: Accelerator) -> tuple[TrainConfig, Choice | None]:
    """The settings with their batch size halved until a training step fits into memory, and what is to be said of it.

    On a GPU a step is tried, with random photos on a copy of the model; processes take the smallest that any of them
    finds. On a CPU the shapes tell what a step keeps. Raises TrashkitError where not even two images fit.
    """
    wanted = batch = int(config.data.batch_size)
    gpu = engine.device.type == "cuda"
    while not (_tried(model, engine, batch) if gpu else _estimated(config, model, batch)):
        if batch <= SMALLEST:
            raise TrashkitError(
                f"a batch of {batch} photos at {config.data.size} px does not fit into memory",
                hint="choose a smaller data.size or network, or give data.batch_size to try all the same",
            )
        batch = max(SMALLEST, batch // 2)
    if engine.num_processes > 1:
        batch = int(engine.gather(torch.tensor([batch], device=engine.device)).min())
    how = "tried on this GPU" if gpu else "by what the network keeps of a batch"
    found = None
    if batch < wanted:
        found = Choice("batch size", str(batch), f"{how}: {wanted} do not fit into memory")
    elif gpu:
        found = Choice("batch size", str(batch), f"{how}: they fit into memory")
    return config.model_copy(update={"data": config.data.model_copy(update={"batch_size": batch})}), found


def beyond(needed: int, device: torch.device) -> str:
    """What to say of so many bytes, where the device has fewer that are free; empty where it has."""
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else psutil.virtual_memory().available
    if needed <= free:
        return ""
    return f"about {needed / 1e9:.1f} GB of memory needed, {free / 1e9:.1f} GB free: a smaller batch or size takes less"


def _tried(model: Segmenter, engine: Accelerator, batch: int) -> bool:
    trial = copy.deepcopy(model).to(engine.device).to(memory_format=torch.channels_last).train()
    # The optimiser's two averages and the moving average of weights come later, and stay.
    later = [torch.empty_like(parameter) for parameter in trial.parameters() for _ in range(3)]
    try:
        photos = torch.randint(0, 256, (batch, 3, *model.size), dtype=torch.uint8, device=engine.device)
        with engine.autocast():
            logits = trial(photos)
            logits = logits[0] if isinstance(logits, tuple) else logits
        # as a sum of losses does, in float32
        (logits.float().softmax(1).square().mean() + logits.float().logsumexp(1).mean()).backward()
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    finally:
        del trial, later
        torch.cuda.empty_cache()
    return True


def _estimated(config: TrainConfig, model: Segmenter, batch: int) -> bool:
    needed = check_fit(model.spec, batch).memory(half=config.amp in ("bf16", "fp16"))
    return bool(needed <= SHARE * psutil.virtual_memory().available)
