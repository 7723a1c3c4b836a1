"""Trains in a process of its own: ``train_script.py ANN.json OUT [kill=STEP]``; torchrun starts it too."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from trashkit.coco import read_dataset
from trashkit.config import resolve
from trashkit.nn import train as training
from trashkit.nn.cache import content_hash
from trashkit.nn.record import TrainData


def main() -> None:
    torch.set_num_threads(1)
    annotations, out, assignments = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
    kill = next((int(word[5:]) for word in assignments if word.startswith("kill=")), -1)
    config = resolve(None, [word for word in assignments if not word.startswith("kill=")])
    dataset = read_dataset(annotations)
    images = dataset.images
    content = content_hash(dataset, images, annotations.parent)
    data = TrainData(dataset, annotations.parent, images[:9], images[9:], content)
    learners = []
    make_learner = training.make_learner

    def remember(*arguments):
        learners.append(make_learner(*arguments))
        return learners[-1]

    def progress(what: str, done: int, total: int) -> None:
        if what == "training":
            (out.parent / "at-work").touch()
        if what == "training" and done == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    training.make_learner = remember
    training.train(
        config, data, out, about={}, cache=out.parent / "cache", device="auto", resume=True, progress=progress
    )
    if learners:
        rank = os.environ.get("RANK", "0")
        for name, model in (("model", learners[0].model), ("average", learners[0].average.model)):
            tensors = {key: value.contiguous().clone() for key, value in model.network.state_dict().items()}
            save_file(tensors, out.parent / f"{name}-{rank}.safetensors")


if __name__ == "__main__":
    main()
