"""From a folder like `household` to a submission on two CPU cores: audit, fix, split, train, ensemble, submit.

python scripts/household.py DATA OUT [--extra JSON:DIR:WEIGHT ...] [--study] [--epochs N]

DATA holds train.json, test.json, sample_submission.csv and the photos that they name. Every step is a trashkit command,
printed as one would type it, with its time. What is there already is kept, and a training that was stopped goes on.
With --study each member is trained on five folds instead, and scored on the photos it did not see: that is how the
settings below were chosen. docs/explanation/experiments.md has the results.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from pathlib import Path

MEMBERS = {
    "fpn-lite2": ["--recipe", "cpu-small", "--set", "model.encoder=tu-tf_efficientnet_lite2", "--set", "epochs=30"],
    "fpn-lite0": ["--recipe", "cpu-small", "--set", "epochs=40", "--seed", "1"],
}
"""What is trained, by name. Both see 192 px: see `trashkit recipes show cpu-small`."""


class Kitchen:
    """Runs steps, prints them with their times, and leaves out those whose result is there."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    def step(self, name: str, made: Path | None, *words: object) -> None:
        """Run a trashkit command unless `made` exists; ends the script where it fails."""
        typed = [str(word) for word in words]
        if made is not None and made.exists():
            print(f"# {name}: {made} is there", flush=True)
            return
        print(f"$ trashkit {shlex.join(typed)}", flush=True)
        begun = time.monotonic()
        code = subprocess.run([sys.executable, "-m", "trashkit", *typed], check=False).returncode
        self.times.append((name, time.monotonic() - begun))
        if code:
            sys.exit(f"household: {name} ended with {code}; mend it and run the same line again")

    def report(self) -> None:
        """Print the time of each step."""
        print("\n| step | minutes |\n|---|---|")
        for name, seconds in [*self.times, ("in all", sum(seconds for _, seconds in self.times))]:
            print(f"| {name} | {seconds / 60:.1f} |")


def main() -> None:
    """Run all steps."""
    arguments = parsed()
    data, out = arguments.data, arguments.out
    train, test, fixed, split = data / "train.json", data / "test.json", out / "fixed.json", out / "split.json"
    out.mkdir(parents=True, exist_ok=True)
    short = ["--set", f"epochs={arguments.epochs}"] if arguments.epochs else []
    extra = [word for one in arguments.extra for word in ("--extra", one)]
    kitchen = Kitchen()
    kitchen.step("audit", out / "audit.html", "audit", train, "--images", data, "--html", out / "audit.html")
    words = ["--unsafe", "--images", data, "--against", test, "--out", fixed, "--write-edits", out / "edits.jsonl"]
    kitchen.step("fix", fixed, "fix", train, *words)
    kitchen.step("split", split, "split", fixed, "--folds", 5, "--images", data, "--out", split)
    how = ["--split", split, "--fold", "all"] if arguments.study else ["--all-data"]
    part, use = ("oof", fixed) if arguments.study else ("test", test)
    stores = []
    for name, settings in MEMBERS.items():
        run = out / ("folds" if arguments.study else "runs") / name
        words = ["--data", fixed, "--images", data, *how, *settings, *short, *extra, "--out", run, "--resume"]
        kitchen.step(f"train {name}", None, "train", *words)
        if arguments.study:
            stores.append(run / "cpu-small" / "oof")
            kitchen.step(f"score {name}", None, "score", stores[-1], "--truth", fixed)
        else:
            stores.append(run / part)
            words = ["--data", use, "--images", data, "--tta", "scales-flip", "--out", stores[-1]]
            kitchen.step(f"predict {name}", stores[-1], "predict", run, *words)
    mean = out / f"mean-{part}"
    kitchen.step("ensemble", mean, "ensemble", *stores, "--out", mean)
    if arguments.study:
        kitchen.step("score", None, "score", mean, "--truth", fixed)
    else:
        csv, sample = out / "submission.csv", data / "sample_submission.csv"
        kitchen.step(
            "submit", csv, "submit", "make", mean, "--data", test, "--sample", sample, "--train", fixed, "--out", csv
        )
        kitchen.step("check", None, "submit", "check", csv, "--data", test)
    kitchen.report()


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--extra", action="append", default=[], metavar="JSON:DIR:WEIGHT", help="train on it beside")
    parser.add_argument("--epochs", type=int, metavar="N", help="of every member, to try the script")
    parser.add_argument("--study", action="store_true", help="train on folds and score what was left out")
    return parser.parse_args()


if __name__ == "__main__":
    main()
