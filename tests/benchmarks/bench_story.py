"""The whole workflow on a data set of the competition's size: time and peak memory of each step.

    python tests/benchmarks/bench_story.py [--images 4091] [--size 128] [--epochs 2] [--out FOLDER]

Each step is one command in its own process. Memory is the peak total of the process and its
children, with shared pages counted once (proportional set size, sampled; Linux only). A step that is finished in FOLDER
is not measured again, so a long run can be interrupted. The table is Markdown, on stdout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

EVERY = 0.25
"""Seconds between two measurements of memory."""


@dataclass(frozen=True)
class Step:
    """One command: its name in the table, its arguments, and its allowed exit codes."""

    name: str
    words: tuple[object, ...]
    codes: tuple[int, ...] = (0,)


def steps(images: int, test: int, size: int, epochs: int) -> list[Step]:
    """All steps. Paths are relative to the folder of the workflow."""
    data = ("--data", "fixed.json", "--images", "data/images")
    unlabelled = ("--data", "data/test.json", "--images", "data/images", "--size", size)
    half = max(1, epochs // 2)
    common = ("--split", "split.json", "--recipe", "tiny", "--set", f"data.size={size}", "--set", f"epochs={epochs}")
    return [
        Step("data synth", ("data", "synth", "--images", images, "--size", size, "--test-share", test / images, "--out",
                            "data", "--workers", 2)),
        Step("audit", ("audit", "data/train.json", "--images", "data/images", "--against", "data/test.json", "--html",
                       "audit.html"), (0, 1)),
        Step("fix --unsafe", ("fix", "data/train.json", "--images", "data/images", "--against", "data/test.json",
                              "--unsafe", "--out", "fixed.json", "--write-edits", "edits.jsonl")),
        Step("split, near-duplicates kept together", ("split", "fixed.json", "--images", "data/images", "--test",
                                                      "data/test.json", "--folds", 5, "--out", "split.json")),
        Step(f"train, fold 0, {epochs} epochs", ("train", *data, *common, "--fold", 0, "--out", "runs/fpn")),
        Step("train another, half as long", ("train", *data, *common, "--set", f"epochs={half}", "--set",
                                            "data.augment=strong", "--seed", 1, "--fold", 0, "--out", "runs/other")),
        Step("audit --predictions", ("audit", "fixed.json", "--images", "data/images", "--predictions", "runs/fpn",
                                     "--select", "P", "--html", "labels.html"), (0, 1)),
        Step("predict", ("predict", "runs/fpn", *unlabelled, "--tta", "flip", "--out", "stores/fpn")),
        Step("predict with another", ("predict", "runs/other", *unlabelled, "--tta", "flip", "--out", "stores/other")),
        Step("ensemble", ("ensemble", "stores/fpn", "stores/other", "--out", "stores/mean")),
        Step("pseudo, two stages", ("pseudo", "stores/mean", *data, "--unlabeled", "data/test.json", "--strategy",
                                    "joint-then-clean", "--stage", "clean.epochs=0.5", "--at-least", 0.5, "--recipe",
                                    "tiny", "--set", f"data.size={size}", "--set", f"epochs={half}", "--size", size,
                                    "--out", "runs/pseudo")),
        Step("predict the student", ("predict", "runs/pseudo", *unlabelled, "--tta", "flip", "--out", "stores/pseudo")),
        Step("submit", ("submit", "stores/pseudo", "--data", "data/test.json", "--out", "submission.csv", "--train",
                        "fixed.json")),
        Step("submit another, against the first", ("submit", "stores/mean", "--data", "data/test.json", "--out",
                                                   "mean.csv", "--against", "submission.csv")),
        Step("submit diff", ("submit", "diff", "mean.csv", "submission.csv", "--data", "data/test.json")),
        Step("submit trace", ("submit", "trace", "submission.csv")),
        Step("score", ("score", "submission.csv", "--data", "data/leaderboard/hidden.json")),
        Step("compare", ("compare", "mean.csv", "submission.csv", "--data", "data/leaderboard/hidden.json")),
    ]  # fmt: skip


def held(process: int) -> int:
    """Memory in bytes of a process and its children, shared pages counted once; 0 for one that has ended."""
    total, waiting = 0, [process]
    while waiting:
        place = Path("/proc") / str(waiting.pop())
        try:
            text = (place / "smaps_rollup").read_text()
            total += next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) << 10
            for task in (place / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (OSError, StopIteration, ValueError):
            continue  # it ended during the measurement
    return total


def carry_out(step: Step, folder: Path) -> dict[str, Any]:
    """Run one step; its seconds (wall and CPU), peak bytes and result."""
    words = [sys.executable, "-m", "trashkit", *(str(word) for word in step.words), "--json"]
    start, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as out, (folder / "log.txt").open("ab") as log:
        process = subprocess.Popen(words, cwd=folder, stdout=out, stderr=log)
        while process.poll() is None:
            peak = max(peak, held(process.pid))
            time.sleep(EVERY)
        seconds = time.monotonic() - start
        if process.returncode not in step.codes:
            raise SystemExit(f"{step.name} ended with {process.returncode}: see {folder / 'log.txt'}")
        out.seek(0)
        result = json.loads(out.read())
    return {"seconds": seconds, "peak": peak, "result": result}


def main() -> None:
    """Run all steps and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4091, help="photos in all")
    parser.add_argument("--test", type=int, default=819, help="of them without labels")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.out or Path(temporary)).absolute()
        (folder / "steps").mkdir(parents=True, exist_ok=True)
        print("| step | seconds | peak memory, MiB |\n|---|---|---|", flush=True)
        seconds = 0.0
        for number, step in enumerate(steps(options.images, options.test, options.size, options.epochs)):
            kept = folder / "steps" / f"{number:02}.json"
            if not kept.exists():
                found = carry_out(step, folder)
                kept.write_text(json.dumps(found))
            found = json.loads(kept.read_text())
            seconds += found["seconds"]
            print(f"| {step.name} | {found['seconds']:.1f} | {found['peak'] / 2**20:.0f} |", flush=True)
        print(f"| all | {seconds:.0f} | |")


if __name__ == "__main__":
    main()
