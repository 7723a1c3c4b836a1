"""A training step of trashkit compared with a minimal PyTorch loop, and with a typical SMP script.

    python tests/benchmarks/bench_train.py [--size 160] [--batch 8] [--steps 12] [--rounds 3]

All three train the same network from the same weights on the same batches in memory, in turns of `steps` steps, so that
other load on the machine affects all of them; figures are medians over the turns of process time per step.

- **bare loop**: the fastest loop that does the same (channels last, fused AdamW, clipping, foreach average of weights),
  written out in plain PyTorch.
- **plain script**: float32 photos that were normalised before timing starts, the default memory layout, Dice and
  CE of SMP, Adam, no weight averaging: less work, but slower.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import nn

from trashkit.nn.models.networks import build
from trashkit.nn.models.weights import normalisation
from trashkit.nn.training.learner import make_learner, start_accelerator
from trashkit.nn.training.losses import loss_sum
from trashkit.runs.manifest import RunSpec
from trashkit.settings.loss_expressions import parse_loss
from trashkit.settings.training import resolve

ENCODER = "tu-tf_efficientnet_lite0"
Turn = Callable[[int], None]


def spec(size: int) -> RunSpec:
    mean, std = normalisation(ENCODER)
    names = tuple(f"class {n}" for n in range(11))
    return RunSpec("fpn", ENCODER, {}, (size, size), mean, std, names, ((0, 0, 0),) * 11)


def batches(size: int, batch: int, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Photos uint8 [B, S, S, 3] and label maps uint8 [B, S, S], as loaders give them."""
    generator = np.random.default_rng(0)
    made = []
    for _ in range(count):
        labels = np.kron(generator.integers(0, 11, (batch, size // 16, size // 16)), np.ones((1, 16, 16))).astype("u1")
        photos = (labels[..., None] * 20 + generator.integers(0, 30, (*labels.shape, 3))).astype("u1")
        made.append((torch.from_numpy(photos), torch.from_numpy(labels)))
    return made


def ours(size: int, data: list[tuple[torch.Tensor, torch.Tensor]]) -> Turn:
    """The steps that `trashkit.nn.training.train` takes, by its own parts."""
    config = resolve(None, ["model.weights=none", "schedule.name=constant", "schedule.warmup=0"])
    torch.manual_seed(0)
    learner = make_learner(config, build(spec(size)), start_accelerator("cpu", "off"), None)
    loss_of = loss_sum(parse_loss(config.loss))

    def turn(first: int) -> None:
        learner.begin_epoch(config, 0)
        for step in range(first, first + len(data)):
            photos, labels = data[step % len(data)]
            learner.set_learning_rate(config, step, 1000, [])
            with learner.accelerator.autocast():
                logits, _ = learner.forward(photos.permute(0, 3, 1, 2))
            learner.backward(loss_of(logits, labels))
            learner.step(step, config.optimiser.clip)

    return turn


def bare(size: int, data: list[tuple[torch.Tensor, torch.Tensor]]) -> Turn:
    """The same work without trashkit's loop: its losses, since the question is what the loop costs."""
    config = resolve(None)
    torch.manual_seed(0)
    model = build(spec(size)).to(memory_format=torch.channels_last)
    average = copy.deepcopy(model).requires_grad_(False).eval()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01, fused=True)
    loss_of = loss_sum(parse_loss(config.loss))
    mine = [t for t in (*average.parameters(), *average.buffers()) if t.is_floating_point()]
    theirs = [t.detach() for t in (*model.parameters(), *model.buffers()) if t.is_floating_point()]

    def turn(first: int) -> None:
        model.train()
        for step in range(first, first + len(data)):
            photos, labels = data[step % len(data)]
            loss = loss_of(model(photos.permute(0, 3, 1, 2)), labels)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            torch._foreach_lerp_(mine, theirs, 0.01)

    return turn


def plain(size: int, data: list[tuple[torch.Tensor, torch.Tensor]]) -> Turn:
    """A training step as in SMP tutorials."""
    torch.manual_seed(0)
    model = smp.FPN(encoder_name=ENCODER, encoder_weights=None, classes=11)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    dice, entropy = smp.losses.DiceLoss("multiclass"), nn.CrossEntropyLoss()
    shown = [
        ((photos.permute(0, 3, 1, 2).contiguous().float() / 255 - 0.5) / 0.5, labels.long()) for photos, labels in data
    ]

    def turn(_: int) -> None:
        model.train()
        for photos, labels in shown:
            optimiser.zero_grad()
            logits = model(photos)
            loss = entropy(logits, labels) + dice(logits, labels)
            loss.backward()
            optimiser.step()

    return turn


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=160)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    data = batches(given.size, given.batch, given.steps)
    turns = {"trashkit": ours, "bare loop": bare, "plain script": plain}
    ready = {name: make(given.size, data) for name, make in turns.items()}
    times: dict[str, list[float]] = {name: [] for name in ready}
    names = list(ready)
    for n in range(given.rounds + 1):
        for name in names[n % 3 :] + names[: n % 3]:  # the order rotates
            began = time.process_time()
            ready[name](n * given.steps)
            if n:  # the first turn warms up
                times[name].append((time.process_time() - began) / given.steps)
    ours_ms = statistics.median(times["trashkit"]) * 1e3
    print(f"FPN over {ENCODER}, {given.size} px, batch {given.batch}, {given.threads} thread(s), process time")
    for name, values in times.items():
        ms, spread = statistics.median(values) * 1e3, f"{min(values) * 1e3:.1f} to {max(values) * 1e3:.1f}"
        print(f"{name:14} {ms:8.1f} ms a step   {ms / ours_ms:5.3f} of trashkit's   ({spread})")


if __name__ == "__main__":
    main()
