"""A training step of trashkit compared with a minimal PyTorch loop of the same network, and with a typical SMP script.

    python tests/benchmarks/bench_train_step.py [--size 160] [--steps 12] [--batch 8] [--encoder E] [--decoder 256 128]

The three take turns, step by step, on the same photos; figures are medians of CPU seconds, which depend less on other
load than wall-clock time. On a GPU it is wall-clock time, after waiting for the device.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional

from trashkit.coco import OFFICIAL_NAMES
from trashkit.nn.models.networks import build, untrained_network
from trashkit.nn.training.choices import resolve_automatic
from trashkit.nn.training.learner import make_learner, start_accelerator
from trashkit.nn.training.losses import loss_sum
from trashkit.runs.manifest import RunSpec
from trashkit.settings.loss_expressions import parse_loss
from trashkit.settings.training import resolve

ENCODER = "tu-tf_efficientnet_lite0"
Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--encoder", default=ENCODER)
    widths = "channels of FPN's pyramid and of its segmentation blocks"
    parser.add_argument("--decoder", type=int, nargs=2, default=(256, 128), metavar=("P", "S"), help=widths)
    given = parser.parse_args()
    torch.set_num_threads(1)
    options = dict(zip(("decoder_pyramid_channels", "decoder_segmentation_channels"), given.decoder, strict=True))
    spec = RunSpec(
        "fpn", given.encoder, options, (given.size,) * 2, (0.5,) * 3, (0.5,) * 3, OFFICIAL_NAMES, ((0, 0, 0),) * 11
    )
    ways = {"trashkit": ours(spec), "bare loop": bare(spec), "plain SMP script": plain(spec)}
    gpu = torch.cuda.is_available()
    clock = time.perf_counter if gpu else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    generator = torch.Generator().manual_seed(0)
    for n in range(given.steps + 3):
        shape = (given.batch, given.size, given.size)
        batch = (
            torch.randint(0, 256, (*shape, 3), generator=generator, dtype=torch.uint8),
            torch.randint(0, 11, shape, generator=generator, dtype=torch.uint8),
        )
        for name, step in ways.items():
            began = clock()
            step(n, batch)
            if gpu:
                torch.cuda.synchronize()
            if n >= 3:
                seconds[name].append(clock() - began)
    print(f"{given.steps} steps of {given.batch} photos at {given.size} px, {'GPU' if gpu else 'one CPU thread'}")
    first = statistics.median(seconds["trashkit"])
    for name, values in seconds.items():
        middle = statistics.median(values)
        print(f"{name:18} {1000 * middle:8.1f} ms   {middle / first:.3f} of trashkit's")


def ours(spec: RunSpec) -> Callable[[int, Batch], None]:
    """What a run does between two batches, without its moving average, which the others lack."""
    engine = start_accelerator("auto", "off")
    chosen, _ = resolve_automatic(
        resolve(None, ["ema=0", "model.weights=none", "amp=off", "loss=ce"]),
        device=engine.device,
        processes=1,
        images=99,
    )
    learner = make_learner(chosen, build(spec), engine, None)
    loss_of = loss_sum(parse_loss(chosen.loss))
    learner.begin_epoch(chosen, 0)

    def step(n: int, batch: Batch) -> None:
        learner.set_learning_rate(chosen, n, 1000, [])
        with learner.gradient_sync(ends_step=True):
            with engine.autocast():
                logits, _ = learner.forward(batch[0].to(engine.device, non_blocking=True).permute(0, 3, 1, 2))
            learner.backward(loss_of(logits, batch[1].to(engine.device, non_blocking=True)))
        learner.step(n, chosen.optimiser.clip)

    return step


def bare(spec: RunSpec) -> Callable[[int, Batch], None]:
    """The same network and optimiser in the shortest possible loop."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = untrained_network(spec).to(device).to(memory_format=torch.channels_last).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step(_: int, batch: Batch) -> None:
        photos = (batch[0].to(device).permute(0, 3, 1, 2).float() - 127.5) / 127.5
        loss = functional.cross_entropy(model(photos), batch[1].to(device).long(), ignore_index=255)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def plain(spec: RunSpec) -> Callable[[int, Batch], None]:
    """As tutorials write it: float photos in NCHW, Adam tensor by tensor, the loss read after every step."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = smp.FPN(spec.encoder, encoder_weights=None, classes=11, **spec.options).to(device).train()
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, foreach=False)
    losses = []

    def step(_: int, batch: Batch) -> None:
        photos = ((batch[0].float() / 255 - 0.5) / 0.5).permute(0, 3, 1, 2).contiguous().to(device)
        loss = functional.cross_entropy(model(photos), batch[1].long().to(device))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())

    return step


if __name__ == "__main__":
    main()
