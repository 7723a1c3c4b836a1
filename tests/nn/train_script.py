"""Train in a separate process: ``train_script.py ANN.json OUT [kill=STEP] [shard] [online] [SETTING=VALUE ...]``.

``then OUT ...`` trains another run after it. torchrun starts it too. online: the photos are learned once more, with
labels by the moving average. refused: the settings are wrong, and the error goes to ``refused.txt``. Beside OUT each
process leaves its weights, and how many bytes it held of what.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import content_hash
from trashkit.nn.data.extra import read_extra
from trashkit.nn.training import train as training
from trashkit.nn.training.distillation import Distillation
from trashkit.nn.training.fsdp import full_state, local_tensor
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.settings.training import resolve


def main() -> None:
    torch.set_num_threads(1)
    runs: list[list[str]] = [[]]
    for word in sys.argv[2:]:
        if word == "then":
            runs.append([])
        else:
            runs[-1].append(word)
    for out, *assignments in runs:
        train(Path(sys.argv[1]), Path(out), assignments)


def train(annotations: Path, out: Path, assignments: list[str]) -> None:
    kill = next((int(word[5:]) for word in assignments if word.startswith("kill=")), -1)
    own = [word for word in assignments if word in ("shard", "online", "refused") or word.startswith("kill=")]
    config = resolve(None, [word for word in assignments if word not in own])
    dataset = read_dataset(annotations)
    images = dataset.images
    content = content_hash(dataset, images, annotations.parent)
    more = [learned_again(annotations, dataset)] if "online" in own else []
    data = TrainData(dataset, annotations.parent, images[:9], images[9:], content, tuple(more))
    learners = []
    make_learner = training.make_learner

    def remember(*arguments, **options):
        learners.append(make_learner(*arguments, **options))
        return learners[-1]

    def progress(what: str, done: int, total: int) -> None:
        if what == "training, steps":
            (out.parent / "at-work").touch()
        if what == "training, steps" and done == kill:
            os.kill(os.getpid(), signal.SIGKILL)

    training.make_learner = remember
    try:
        training.train(
            config, data, out, training.TrainOptions(fsdp="shard" in own, resume=True), about={},
            cache=out.parent / "cache",
            progress=progress,
        )  # fmt: skip
    except TrashkitError as error:
        if "refused" not in own:
            raise
        (out.parent / "refused.txt").write_text(error.message)
    finally:
        training.make_learner = make_learner
    if learners:
        rank = os.environ.get("RANK", "0")
        for name, model in (("model", learners[0].model), ("average", learners[0].average.model)):
            weights = full_state(model.network.state_dict())
            tensors = {key: value.contiguous().clone() for key, value in weights.items()}
            save_file(tensors, out.parent / f"{name}-{rank}.safetensors")
        (out.parent / f"bytes-{rank}.json").write_text(json.dumps(held(learners[0])))


def learned_again(annotations: Path, dataset: Dataset) -> ExtraSource:
    """The photos as a source whose labels are the average's; none is certain enough, so that rounding decides none."""
    source = read_extra(f"{annotations}:{annotations.parent}", dataset.classes)
    distillation = Distillation("online", thresholds=(1.1,) * len(dataset.classes.names))
    return ExtraSource(source, source.folder, source.fingerprint, distillation=distillation)


def held(learner) -> dict[str, int]:
    """Bytes that this process holds of what can be cut into pieces."""
    kept = [value for values in learner.optimiser.state.values() for value in values.values()]
    parts = {
        "weights": list(learner.model.parameters()),
        "average": list(learner.average.model.parameters()),
        "optimiser": [value for value in kept if isinstance(value, torch.Tensor)],
    }
    return {name: sum(local_tensor(tensor.detach()).nbytes for tensor in tensors) for name, tensors in parts.items()}


if __name__ == "__main__":
    main()
