"""The three strategies of pseudo-labelling on your own photos, by out-of-fold score, against none at equal compute.

    python tests/benchmarks/bench_pseudo_folds.py ANN.json UNLABELLED.json PHOTOS --out FOLDER [--folds 3] [--epochs 6]

A teacher is trained for each fold; the student of a fold only learns from the labels of that fold's teacher, so the
score over all folds' validation images is unbiased. Every row but the first trains on about as many images again. Rows
that are finished in FOLDER are not repeated. The table is Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bench_pseudo import RATE, THRESHOLDS, trashkit

from trashkit.pseudo.strategies import STRATEGIES
from trashkit.runs.run import find_runs, read_run


class Folds:
    """The trainings on one data set; each returns its folder."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.data = ("--data", options.annotations, "--images", options.photos)
        self.split = self.out / "split.json"
        if not self.split.exists():
            trashkit("split", options.annotations, "--folds", options.folds, "--seed", 0, "--images", options.photos,
                     "--out", self.split)  # fmt: skip
        annotated = len(json.loads(options.annotations.read_text())["images"])
        self.annotated = annotated * (options.folds - 1) / options.folds
        self.unlabelled = len(json.loads(options.unlabelled.read_text())["images"])

    def plain(self, name: str, epochs: int, fold: int | str = "all", *changes: str) -> Path:
        settings = [f"epochs={epochs}", f"data.size={self.options.size}", *changes]
        trashkit(
            "train", *self.data, "--split", self.split, "--fold", fold, "--recipe", "tiny", "--device", "cpu",
            "--out", self.out / name, "--resume", *(word for one in settings for word in ("--set", one)),
        )  # fmt: skip
        return Path(self.out / name)

    def continued(self) -> Path:
        for teacher in find_runs(self.out / "teacher"):  # the best comes first, of any fold
            fold = int(teacher.manifest["fold"] or 0)
            lr = teacher.manifest["settings"]["optimiser"]["lr"] * RATE
            where = (f"model.weights={teacher.path}", f"optimiser.lr={lr}")
            self.plain(f"continued/fold-{fold}", self.options.epochs, fold, *where)
        return Path(self.out / "continued")

    def pseudo(self, strategy: str, rule: str, *more: object) -> Path:
        """A student whose stages see about as many images as the teacher did."""
        name = "-".join(str(word) for word in (strategy, rule, *more)).replace(" ", "-").replace(",", "")
        out = self.out / name.replace("--", "")
        budget = self.options.epochs * self.annotated
        joint = budget / (self.annotated + self.unlabelled)
        epochs = {"joint": joint, "finetune": joint}
        if strategy == "joint-then-clean":
            epochs = {"joint": 0.6 * joint, "clean": 0.4 * self.options.epochs}
        stages = [
            f"{stage.name}.epochs={epochs[stage.name] / self.options.epochs}" for stage in STRATEGIES[strategy].stages
        ]
        trashkit(
            "pseudo", self.out / "teacher", *self.data, "--unlabeled", self.options.unlabelled, "--strategy", strategy,
            *THRESHOLDS[rule], *more, "--size", 128, "--device", "cpu", "--out", out, "--resume",
            *(word for one in stages for word in ("--stage", one)),
        )  # fmt: skip
        return out

    def row(self, name: str, make: Callable[[], Path], before: int = 0) -> dict[str, Any]:
        """mIoU over all validation images, and images seen in training; from the folder where it is known."""
        kept = self.out / "rows.json"
        rows: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
        if name not in rows:
            start = time.monotonic()
            out = make()
            score = trashkit("score", out, "--data", self.options.annotations)
            seen = sum(_seen(path.parent) for path in out.glob("**/manifest.json"))
            rows[name] = {"miou": score["miou"], "seen": before + seen, "seconds": time.monotonic() - start}
            kept.write_text(json.dumps(rows, indent=1))
        print(f"| {name} | {rows[name]['miou']:.4f} | {rows[name]['seen']} |", flush=True)
        return dict(rows[name])


def _seen(path: Path) -> int:
    run = read_run(path)
    inputs = run.manifest["inputs"]
    return int(run.epochs * (inputs["training_images"] + sum(len(one["files"]) for one in inputs["label_maps"])))


def main() -> None:
    """Train all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("annotations", type=Path)
    parser.add_argument("unlabelled", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--rules", nargs="*", default=["all pixels", "0.9, half of each class"])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    folds, epochs = Folds(options), options.epochs
    print("| pseudo-labels | out-of-fold mIoU | images seen |\n|---|---|---|")
    first = folds.row("teacher alone", lambda: folds.plain("teacher", epochs))["seen"]
    folds.row("none, trained as long", lambda: folds.plain("longer", 2 * epochs))
    folds.row("none, teacher continued", folds.continued, first)
    for strategy in STRATEGIES:
        for rule in options.rules:
            folds.row(f"{strategy}, {rule}", partial(folds.pseudo, strategy, rule), first)


if __name__ == "__main__":
    main()
