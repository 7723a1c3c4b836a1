"""Plant label errors into a clean COCO file and train a small model on it out of fold, for bench_label_errors.

    python tests/benchmarks/plant_label_errors.py ANN.json IMAGES OUT [--share 0.05] [--seed 0] [--epochs 8]

Writes OUT/noisy.json, OUT/planted.json (the errors, with rows of noisy.json), OUT/split.json and OUT/run with
out-of-fold probabilities of three folds in OUT/run/tiny/oof. The six types of error have equal shares.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.demo.defects import mislabel
from trashkit.demo.defects.noisy_dataset import NoisyDataset

TYPES = {
    "drop": mislabel.dropped_object,
    "swap": mislabel.class_swap,
    "shift": mislabel.shifted,
    "coarsen": mislabel.coarse_outline,
    "merge": mislabel.merged,
    "spurious": mislabel.spurious,
}
NAMES = dict(
    zip(("dropped-object", "class-swap", "shifted", "coarse-outline", "merged", "spurious"), TYPES, strict=True)
)


def plant(clean: dict[str, Any], share: float, seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A copy of `clean` with about ``share * annotations`` errors, and the ledger of what was planted."""
    noisy = copy.deepcopy(clean)
    highest = {block: max(row["id"] for row in noisy[block]) for block in ("images", "annotations")}
    draft = NoisyDataset(
        noisy["images"],
        noisy["annotations"],
        noisy["categories"],
        noisy["images"][0]["width"],
        {block: itertools.count(top + 1) for block, top in highest.items()},
    )
    rng = np.random.default_rng(seed)
    wanted = max(1, round(share * len(noisy["annotations"]) / len(TYPES)))
    # Types with the fewest possible places come first.
    for name in ("merge", "spurious", "coarsen", "shift", "swap", "drop"):
        for _ in range(wanted):
            for _ in range(30):
                if TYPES[name](rng, draft):
                    break
    ledger = draft.ledger()
    for entry in ledger:
        entry["type"] = NAMES[entry["type"]]
    return noisy, ledger


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    noisy, ledger = plant(json.loads(given.annotations.read_text()), given.share, given.seed)
    (given.out / "noisy.json").write_text(json.dumps(noisy))
    (given.out / "planted.json").write_text(json.dumps(ledger))
    trashkit = [sys.executable, "-m", "trashkit"]
    split = given.out / "split.json"
    subprocess.run([*trashkit, "split", given.out / "noisy.json", "--out", split, "--folds", "3"], check=True)
    words = ["--split", split, "--fold", "all", "--recipe", "tiny", "--set", f"epochs={given.epochs}"]
    words += ["--out", given.out / "run", "--resume"]
    subprocess.run(
        [*trashkit, "train", "--data", given.out / "noisy.json", "--images", given.images, *words], check=True
    )


if __name__ == "__main__":
    main()
