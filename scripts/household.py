"""From a folder like `household` to a submission on two CPU cores: audit, fix, split, train, ensemble, submit.

python scripts/household.py DATA OUT [--bags DIR | --no-bags] [--epochs N] [--minutes 45]

DATA holds train.json, test.json, sample_submission.csv and the photos that they name. --bags is another set of photos,
of bags (annotations.json and its photos), since DATA has next to none; the folder `street` beside DATA is taken where
there is one. Every step is a trashkit command, printed as one would type it, with its time. What is there already is
kept, and a training that was stopped goes on. No network sees more than 192 pixels. Where this machine could not train
within --minutes, the number of epochs is cut, and that is said.
docs/explanation/experiments.md says how these settings were chosen, and what did not help.
"""

from __future__ import annotations

import argparse
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FOLDS, EPOCHS, SIZE = 4, 30, 192
RECIPE = "cpu-small"
SETTINGS = [f"data.size={SIZE}", "model.encoder=tu-tf_efficientnet_lite2", "threads=1"]
BAG = "Plastic bag"
BAGS_A_PHOTO = 2
"""Photos of at most so many bags are taken, which are nearest to those of single objects."""
BAG_WEIGHT, BAG_PRESENCE = 0.5, 1.0
"""What each of them weighs for the networks, and for the classifier of whole photos."""
POWER = 3
"""How much predictions are weighed by what the whole photo shows."""


class Kitchen:
    """Runs steps, prints them with their times, and leaves out those whose result is there."""

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []

    def step(self, name: str, made: Path | None, *words: object, fine: Sequence[int] = (0,)) -> None:
        """Run a trashkit command unless `made` exists; ends the script where its exit code is not among `fine`."""
        typed = [str(word) for word in words]
        if made is not None and made.exists():
            print(f"# {name}: {made} is there", flush=True)
            return
        print(f"$ trashkit {shlex.join(typed)}", flush=True)
        begun = time.monotonic()
        code = subprocess.run([sys.executable, "-m", "trashkit", *typed], check=False).returncode
        self.times.append((name, time.monotonic() - begun))
        if code not in fine:
            sys.exit(f"household: {name} ended with {code}; mend it and run the same line again")

    def report(self) -> None:
        """Print the time of each step."""
        print("\n| step | minutes |\n|---|---|")
        for name, seconds in [*self.times, ("in all", sum(seconds for _, seconds in self.times))]:
            print(f"| {name} | {seconds / 60:.1f} |")


def single_bags(source: Path, out: Path) -> int:
    """Write a COCO file of those photos of bags that show few, outlined ones, all as Plastic bag; says how many."""
    content = json.loads(source.read_text(encoding="utf-8"))
    bags: dict[Any, list[dict[str, Any]]] = {}
    for one in content["annotations"]:
        bags.setdefault(one["image_id"], []).append(one)
    category = next(one["id"] for one in content["categories"] if one["name"] == BAG)
    # an outline of four corners is a box that somebody drew around a bag
    kept = {
        image
        for image, ones in bags.items()
        if len(ones) <= BAGS_A_PHOTO and all(len(ring) > 10 for one in ones for ring in one["segmentation"])
    }
    content["images"] = [image for image in content["images"] if image["id"] in kept]
    content["annotations"] = [
        {**one, "category_id": category} for one in content["annotations"] if one["image_id"] in kept
    ]
    out.write_text(json.dumps(content), encoding="utf-8")
    return len(kept)


def speed(words: list[object]) -> float:
    """Images a second of two trainings at once, as they will run."""
    typed = [sys.executable, "-m", "trashkit", "train", *map(str, words), "--profile", "12", "--json"]

    def one(_: int) -> float:
        done = subprocess.run(typed, check=True, capture_output=True, text=True)
        return float(json.loads(done.stdout)["images_per_second"])

    with ThreadPoolExecutor(2) as pool:
        return sum(pool.map(one, range(2)))


def epochs_for(minutes: float, photos: int, words: list[object]) -> int:
    """How many epochs fit: three quarters of the time go into training, an eighth of that into validation."""
    rate = speed(words)
    fit = math.floor(minutes * 60 * 0.75 * 0.875 * rate / (FOLDS * photos))
    print(
        f"# two trainings at once take {rate:.1f} photos a second: {fit} epochs fit into {minutes:g} minutes",
        flush=True,
    )
    return max(1, min(EPOCHS, fit))


def main() -> None:
    """Run all steps."""
    arguments = parsed()
    data, out = arguments.data, arguments.out
    train, test, fixed, split = data / "train.json", data / "test.json", out / "fixed.json", out / "split.json"
    out.mkdir(parents=True, exist_ok=True)
    kitchen = Kitchen()
    kitchen.step(
        "audit", out / "audit.html", "audit", train, "--images", data, "--html", out / "audit.html", fine=(0, 1)
    )
    words = ["--unsafe", "--images", data, "--against", test, "--out", fixed, "--write-edits", out / "edits.jsonl"]
    kitchen.step("fix", fixed, "fix", train, *words)
    kitchen.step("split", split, "split", fixed, "--folds", FOLDS, "--images", data, "--out", split)

    extra: list[object] = []
    shown: list[object] = []
    photos = len(json.loads(fixed.read_text(encoding="utf-8"))["images"]) * (FOLDS - 1) // FOLDS
    if arguments.bags is not None:
        count = single_bags(arguments.bags / "annotations.json", out / "bags.json")
        print(f"# {count} photos of {arguments.bags} show at most {BAGS_A_PHOTO} bags each", flush=True)
        extra = ["--extra", f"{out / 'bags.json'}:{arguments.bags}:{BAG_WEIGHT}"]
        shown = ["--extra", f"{out / 'bags.json'}:{arguments.bags}:{BAG_PRESENCE}"]
        photos += count
    settings = [word for one in SETTINGS for word in ("--set", one)]
    words = ["--data", fixed, "--images", data, "--split", split, "--recipe", RECIPE, *settings, *extra]
    runs = [out / "runs" / RECIPE / f"fold-{fold}" for fold in range(FOLDS)]
    epochs = arguments.epochs or known_epochs(runs[0]) or epochs_for(arguments.minutes, photos, words)
    how = ["--fold", "all", "--jobs", 2, "--set", f"epochs={epochs}", "--out", out / "runs", "--resume"]
    kitchen.step("train", None, "train", *words, *how)

    presence = ["presence", fixed, "--images", data, "--split", split, "--size", SIZE, *shown]
    kitchen.step("presence", out / "oof.json", *presence, "--out", out / "oof.json")
    kitchen.step("presence, test", out / "test.json", *presence, "--test", test, "--out", out / "test.json")
    predict = ["predict", *runs, "--data", test, "--images", data, "--tta", "flip", "--out", out / "test"]
    kitchen.step("predict, mean of all", out / "test", *predict)
    ours = runs[0].parent / "oof"
    for name, store in (("oof", ours), ("test", out / "test")):
        made = out / f"{name}-weighed"
        words = [store, "--presence", out / f"{name}.json", "--power", POWER, "--out", made]
        kitchen.step(f"postprocess, {name}", made, "postprocess", *words)
    kitchen.step("score", None, "score", out / "oof-weighed", "--truth", fixed)
    kitchen.step("compare", None, "compare", ours, out / "oof-weighed", "--truth", fixed)

    csv, sample = out / "submission.csv", data / "sample_submission.csv"
    words = [out / "test-weighed", "--data", test, "--sample", sample, "--train", fixed, "--out", csv]
    kitchen.step("submit", csv, "submit", "make", *words)
    kitchen.step("check", None, "submit", "check", csv, "--data", test)
    kitchen.report()


def known_epochs(run: Path) -> int | None:
    """The epochs of a training that has begun: it goes on with as many."""
    manifest = run / "manifest.json"
    return int(json.loads(manifest.read_text(encoding="utf-8"))["settings"]["epochs"]) if manifest.exists() else None


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--bags", type=Path, metavar="DIR", help="photos of bags to train on beside")
    parser.add_argument("--no-bags", action="store_true", help="train on DATA alone")
    parser.add_argument("--epochs", type=int, metavar="N", help="as many, however long it takes")
    parser.add_argument("--minutes", type=float, default=45.0, help="in which all is to be done")
    arguments = parser.parse_args()
    beside = arguments.data.resolve().parent / "street"
    if arguments.no_bags:
        arguments.bags = None
    elif arguments.bags is None and (beside / "annotations.json").exists():
        arguments.bags = beside
    return arguments


if __name__ == "__main__":
    main()
