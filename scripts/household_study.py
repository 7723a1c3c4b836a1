"""How single training choices change the out-of-fold score on a data set like `household`, on a CPU.

python scripts/household_study.py DATA OUT [--rows NAME ...] [--extra JSON:DIR:WEIGHT] [--jobs 2] [--table]

DATA contains train.json and its photos; OUT is an output folder of `trashkit auto` (fixed.json), or empty. Each
row trains the recipe `cpu-small` on three folds with one change, and photos are predicted out of fold. The base has the
decoder of SMP's FPN, which is wider than the recipe's. Rows that exist are not trained again. --table only prints the
rows that exist.
The column "reweighted" is the score after `postprocess --presence --step one-class=1`.
The results are in docs/explanation/experiments.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

BASE = ["data.size=128", "epochs=14", "threads=1", "model.options={}"]
ROWS: dict[str, list[str]] = {
    "base": [],
    "seed 1": ["seed=1"],
    "encoder lite2": ["model.encoder=tu-tf_efficientnet_lite2"],
    "twice as long": ["epochs=28"],
    "192 px": ["data.size=192"],
    "192 px, as much time": ["data.size=192", "epochs=8"],
    "loss ce": ["loss=ce"],
    "loss smooth-ce + dice": ["loss=smooth-ce(smoothing=0.1) + dice"],
    "loss focal + dice": ["loss=focal + dice"],
    "encoder lr x1": ["optimiser.encoder_lr_ratio=1"],
    "encoder lr x0.5": ["optimiser.encoder_lr_ratio=0.5"],
    "encoder lr x0.05": ["optimiser.encoder_lr_ratio=0.05"],
    "augment light": ["data.augment=light"],
    "augment original": ["data.augment=original"],
    "copy-paste": ["data.copy_paste.p=0.5", "data.copy_paste.balance=uniform"],
    "oversample": ["data.oversample.threshold=0.1"],
    "no ema": ["ema=0"],
    "narrow decoder": ["model.options={decoder_pyramid_channels=128, decoder_segmentation_channels=64}"],
    "narrow decoder, 192 px, 8 epochs": [
        "model.options={decoder_pyramid_channels=128, decoder_segmentation_channels=64}",
        "data.size=192",
        "epochs=8",
    ],
    "unet": ["model.architecture=unet"],
    "deeplabv3plus": ["model.architecture=deeplabv3plus"],
    "upernet": ["model.architecture=upernet"],
    "presence head": ["model.presence=0.4"],
    "mosaic": ["data.mosaic=0.3"],
    "cutmix": ["data.cutmix=0.3"],
    "multi-scale": ["data.multi_scale=0.25"],
    "layer decay": ["optimiser.layer_decay=0.8"],
    "class weights": ["class_weights=inverse(power=0.5)"],
}
"""Name of a row: the settings that it changes."""


def trashkit(*words: object) -> str:
    """Run a command and give its stdout; stderr is shown only if it fails."""
    typed = [str(word) for word in words]
    done = subprocess.run([sys.executable, "-m", "trashkit", *typed], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"household_study: trashkit {' '.join(typed)} ended with {done.returncode}\n{done.stderr[-2000:]}")
    return done.stdout


def folder(out: Path, name: str) -> Path:
    """Folder of a row's runs."""
    return out / "study" / name.replace(" ", "-").replace("+", "and").replace(",", "")


def oof(out: Path, name: str) -> Path:
    """The out-of-fold store of a row."""
    return folder(out, name) / "cpu-small" / "oof"


def train(data: Path, out: Path, name: str, extra: list[str]) -> None:
    """Train a row's three folds, or resume them."""
    words = [word for setting in [*BASE, *ROWS.get(name, [])] for word in ("--set", setting)]
    words += [word for one in extra for word in ("--extra", one)]
    what = ["--data", out / "fixed.json", "--images", data, "--split", out / "split3.json", "--fold", "all"]
    trashkit("train", *what, "--recipe", "cpu-small", *words, "--jobs", 1, "--out", folder(out, name), "--resume")
    print(f"# {name}: trained", file=sys.stderr, flush=True)


def reweighted(out: Path, name: str) -> Path:
    """A row's out-of-fold store, reweighted by class presence, with touching objects merged."""
    made = folder(out, name) / "reweighted"
    if not made.exists():
        steps = ["--presence", out / "presence3.json", "--step", "one-class=1"]
        trashkit("postprocess", oof(out, name), *steps, "--out", made)
    return made


def table(out: Path, names: list[str]) -> None:
    """Print each row's score, its difference from the first, its classes, and its score after reweighting."""
    truth, base = out / "fixed.json", oof(out, names[0])
    classes: list[str] = []
    for name in names:
        score = json.loads(trashkit("score", oof(out, name), "--truth", truth, "--json"))
        if not classes:
            classes = [key for key, value in score["per_class"].items() if value is not None]
            print("| change | mIoU | difference (95 %) | reweighted |", " | ".join(classes), "|")
            print("|---" * (4 + len(classes)) + "|")
        difference = ""
        if name != names[0]:
            difference = interval(json.loads(trashkit("compare", base, oof(out, name), "--truth", truth, "--json")))
        later = json.loads(trashkit("score", reweighted(out, name), "--truth", truth, "--json"))["miou"]
        shown = " | ".join(f"{score['per_class'][key]:.3f}" for key in classes)
        print(f"| {name} | {score['miou']:.4f} | {difference} | {later:.4f} | {shown} |", flush=True)


def interval(found: dict[str, Any]) -> str:
    """The difference of a comparison with its interval."""
    low, high = found["interval"]
    return f"{found['difference']:+.4f} ({low:+.4f} to {high:+.4f})"


def main() -> None:
    """Train what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--rows", nargs="*", default=list(ROWS), metavar="NAME", choices=list(ROWS))
    parser.add_argument(
        "--extra", action="append", default=[], metavar="JSON:DIR:WEIGHT", help="adds a row with this data set"
    )
    parser.add_argument("--jobs", type=int, default=2, help="rows to train in parallel, one CPU core each")
    parser.add_argument("--table", action="store_true", help="only print the table")
    parser.epilog = f"rows: {', '.join(ROWS)}. On two CPU cores a row takes about seven minutes."
    arguments = parser.parse_args()
    if arguments.table:
        print_table(arguments.out, arguments.rows)
        return
    data, out, names = arguments.data, arguments.out, list(arguments.rows)
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "fixed.json").exists():
        words = ["--unsafe", "--images", data, "--against", data / "test.json", "--out", out / "fixed.json"]
        trashkit("fix", data / "train.json", *words)
    if not (out / "split3.json").exists():
        trashkit("split", out / "fixed.json", "--folds", 3, "--images", data, "--out", out / "split3.json")
    if not (out / "presence3.json").exists():
        seen = ["--images", data, "--split", out / "split3.json", "--size", 192]
        trashkit("presence", out / "fixed.json", *seen, "--out", out / "presence3.json")
    tasks: list[tuple[str, list[str]]] = [(name, []) for name in names]
    if arguments.extra:
        tasks.append(("extra", arguments.extra))
        names.append("extra")
    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(lambda task: train(data, out, *task), tasks))
    print_table(out, names)


def print_table(out: Path, names: list[str]) -> None:
    """Print the trained rows, compared with the row without a change."""
    names = [name for name in ["base", *names] if oof(out, name).exists()]
    if "base" not in names:
        sys.exit(f"household_study: {folder(out, 'base')} is not trained, but all rows are compared with it")
    table(out, list(dict.fromkeys(names)))


if __name__ == "__main__":
    main()
