"""The three strategies of pseudo-labelling, with and without thresholds, compared with none at equal compute.

    python tests/benchmarks/bench_pseudo.py [--images 120] [--epochs 8] [--seeds 0 1 2] [--jobs 1] [--out FOLDER]

For each seed a data set is drawn, a teacher trained on its annotated part, and every other row trains on about as
many images again (teacher and student together). The scores on the hidden labels of the test part are printed as a
Markdown table. Rows "none" use no pseudo-labels: the recipe trained as long as teacher and student together, and the
teacher continued on its own data at the rate of `finetune`. There is no validation during training: each student is
scored once.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.pseudo.strategies import STRATEGIES
from trashkit.runs.run import find_runs, read_run

RATE = STRATEGIES["finetune"].stages[0].rate
THRESHOLDS = {
    "all pixels": ("--threshold", 0, "--min-kept", 0),
    "0.9": ("--threshold", 0.9),
    "0.9, half of each class": ("--threshold", 0.9, "--at-least", 0.5),
}


def trashkit(*words: object) -> dict[str, Any]:
    """One command in this process; its JSON."""
    done = CliRunner().invoke(app, [*(str(word) for word in words), "--json"])
    if done.exit_code:
        raise SystemExit(f"{words}: {done.stderr[-1500:]}")
    return json.loads(done.stdout)


class Case:
    """One seed: its data, and the trainings on it."""

    def __init__(self, folder: Path, seed: int, options: argparse.Namespace) -> None:
        self.folder, self.seed, self.options = folder, seed, options
        trashkit(
            "data", "synth", "--out", folder / "data", "--images", options.images, "--size", 128, "--seed", seed,
            "--noise", "none", "--test-share", 0.4,
        )  # fmt: skip
        self.photos, self.train, self.test = (folder / "data" / n for n in ("images", "train.json", "test.json"))
        self.annotated, self.unlabelled = (
            len(json.loads(path.read_text())["images"]) for path in (self.train, self.test)
        )

    def plain(self, name: str, epochs: int, *changes: str) -> Path:
        out = self.folder / name
        settings = [f"epochs={epochs}", f"seed={self.seed}", *changes]
        trashkit(
            "train", "--data", self.train, "--images", self.photos, "--all-data", "--recipe", "tiny", "--device",
            "cpu", "--out", out, *(word for one in settings for word in ("--set", one)),
        )  # fmt: skip
        return out

    def pseudo(self, strategy: str, rule: str) -> Path:
        """A student whose stages see about as many images as the teacher did."""
        out = self.folder / f"{strategy} {rule}".replace(" ", "-").replace(",", "")
        budget, both = self.options.epochs * self.annotated, self.annotated + self.unlabelled
        joint = budget / both
        epochs = {"joint": joint, "finetune": joint}
        if strategy == "joint-then-clean":
            epochs = {"joint": 0.6 * joint, "clean": 0.4 * budget / self.annotated}
        stages = [
            f"{stage.name}.epochs={epochs[stage.name] / self.options.epochs}" for stage in STRATEGIES[strategy].stages
        ]
        trashkit(
            "pseudo", self.folder / "teacher", "--data", self.train, "--images", self.photos, "--unlabeled", self.test,
            "--strategy", strategy, *THRESHOLDS[rule], "--size", 128, "--device", "cpu", "--out", out,
            *(word for one in stages for word in ("--stage", one)),
        )  # fmt: skip
        return out

    def score(self, run: Path) -> float:
        store = self.folder / f"{run.name} test"
        trashkit("predict", run, "--data", self.test, "--images", self.photos, "--size", 128, "--out", store)
        truth = self.folder / "data/leaderboard/hidden.json"
        return float(trashkit("score", store, "--data", truth, "--size", 128)["miou"])

    def seen(self, out: Path) -> int:
        """Training images that all stages of a student went through, each epoch counted."""
        runs = [read_run(path.parent) for path in out.glob("**/manifest.json")]
        return sum(
            run.epochs
            * (
                run.manifest["inputs"]["training_images"]
                + sum(len(m["files"]) for m in run.manifest["inputs"]["label_maps"])
            )
            for run in runs
        )


def rows_of(case: Case) -> dict[str, tuple[float, int]]:
    """mIoU and images seen (teacher included) by row of the table."""
    epochs = case.options.epochs
    teacher = case.plain("teacher", epochs)
    lr = find_runs(teacher)[0].manifest["settings"]["optimiser"]["lr"] * RATE
    first = case.seen(teacher)
    found = {"teacher alone": (case.score(teacher), first)}
    longer = case.plain("longer", 2 * epochs)
    found["none, trained as long"] = (case.score(longer), case.seen(longer))
    on = case.plain("continued", epochs, f"model.weights={teacher}", f"optimiser.lr={lr}")
    found["none, teacher continued"] = (case.score(on), first + case.seen(on))
    for strategy in STRATEGIES:
        for rule in case.options.rules:
            out = case.pseudo(strategy, rule)
            found[f"{strategy}, {rule}"] = (case.score(out), first + case.seen(out))
            print(f"seed {case.seed}, {strategy}, {rule}: {found[f'{strategy}, {rule}'][0]:.4f}", flush=True)
    return found


def main() -> None:
    """Run all seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=120)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument(
        "--rules", nargs="*", choices=list(THRESHOLDS), default=["all pixels", "0.9, half of each class"]
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = options.out or Path(temporary)
        with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
            every = list(pool.map(partial(one_seed, place=place, options=options), options.seeds))
        show(every)


def one_seed(seed: int, *, place: Path, options: argparse.Namespace) -> dict[str, tuple[float, int]]:
    """The rows of one seed; a finished one is read from its folder."""
    folder = place / f"seed-{seed}"
    result = folder / "result.json"
    if not result.exists():
        start, cpu = time.monotonic(), time.process_time()
        result.parent.mkdir(parents=True, exist_ok=True)
        rows = rows_of(Case(folder, seed, options))
        print(f"seed {seed}: {time.monotonic() - start:.0f} s, {time.process_time() - cpu:.0f} s of CPU", flush=True)
        result.write_text(json.dumps(rows))
    return {name: tuple(row) for name, row in json.loads(result.read_text()).items()}


def show(every: list[dict[str, tuple[float, int]]]) -> None:
    """The table over all seeds."""
    base = [case["none, trained as long"][0] for case in every]
    print("| pseudo-labels | mIoU by seed | mean | against none, as long | images seen |\n|---|---|---|---|---|")
    for name in every[0]:
        scores = [case[name][0] for case in every]
        gains = [score - one for score, one in zip(scores, base, strict=True)]
        spread = f" ± {statistics.stdev(gains):.4f}" if len(gains) > 1 and any(gains) else ""
        seen = round(statistics.mean(case[name][1] for case in every))
        shown = ", ".join(f"{score:.3f}" for score in scores)
        print(f"| {name} | {shown} | {statistics.mean(scores):.4f} | {statistics.mean(gains):+.4f}{spread} | {seen} |")


if __name__ == "__main__":
    main()
