"""What test-time augmentation and ensembles gain on images that no member was trained on, with intervals.

    python tests/benchmarks/bench_gains.py ANN.json IMAGES OUT [--folds 3] [--epochs 12] [--size 128]

Trains two small members out of fold (FPN on EfficientNet-Lite0, the second at three quarters of the size for half as
long, with lighter augmentation and a narrower decoder), predicts each fold's validation images with sets of views by
the models that did not see them, and combines the members. Each row is compared with its first by paired bootstrap over
images (95 %). OUT keeps all results, and an interrupted benchmark is resumed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from trashkit.coco import read_dataset
from trashkit.metrics.evaluate import Evaluation, evaluate_parts
from trashkit.metrics.scores import bootstrap_miou_difference, interval
from trashkit.predictions.reading import open_predictions

RECIPES = {
    "fpn": 'architecture = "fpn"\n[data]\nsize = {size}\naugment = "strong"\n',
    "small": (
        'architecture = "fpn"\noptions = {{ decoder_pyramid_channels = 64, decoder_segmentation_channels = 64 }}\n'
        '[data]\nsize = {smaller}\naugment = "light"\n'
    ),
}
VIEWS = ("none", "flip", "flips", "d4", "scales", "scales-flip")


def trashkit(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "trashkit", *map(str, words)], check=True, stdout=sys.stderr)


def train(given: argparse.Namespace) -> None:
    """Train both members on every fold."""
    given.out.mkdir(parents=True, exist_ok=True)
    split = given.out / "split.json"
    if not split.exists():
        trashkit("split", given.annotations, "--folds", given.folds, "--seed", 0, "--out", split)
    if not (given.out / "folds").exists():
        trashkit("split", "export", split, "--data", given.annotations, "--out", given.out / "folds")
    for name, text in RECIPES.items():
        recipe = given.out / f"{name}.toml"
        head = f'recipe.title = "{name}"\nrecipe.reason = "a benchmark"\nrecipe.place = "none"\n'
        epochs = given.epochs if name == "fpn" else max(1, given.epochs // 2)
        settings = f"epochs = {epochs}\nema = 0.97\n[optimiser]\nlr = 2e-3\n[model]\n"
        recipe.write_text(head + settings + text.format(size=given.size, smaller=given.size * 3 // 4 // 32 * 32))
        trashkit(
            "train", "--data", given.annotations, "--images", given.images, "--split", split, "--fold", "all",
            "--recipe", recipe, "--out", given.out / "runs", "--resume",
        )  # fmt: skip


def predicted(given: argparse.Namespace, recipe: str, views: str, zoom: float = 1.0) -> list[Path]:
    """Out-of-fold stores of a recipe under a set of views, one per fold."""
    stores = []
    for fold in range(given.folds):
        run = given.out / "runs" / recipe / f"fold-{fold}"
        store = given.out / "tta" / f"{recipe}-{views}-{zoom:g}-{fold}"
        store.parent.mkdir(exist_ok=True)
        data = given.out / "folds" / f"fold-{fold}" / "val.json"
        trashkit(
            "predict", run, "--data", data, "--images", given.images, "--out", store, "--tta", views, "--resume",
            *(["--zoom", zoom] if zoom != 1 else []),
        )  # fmt: skip
        stores.append(store)
    return stores


def scored(given: argparse.Namespace, stores: list[Path]) -> Evaluation:
    truth = read_dataset(given.annotations)
    return evaluate_parts([open_predictions(store, truth) for store in stores])


def combined(given: argparse.Namespace, members: list[list[Path]], name: str, *words: object) -> list[Path]:
    """Stores of each fold, combined from the members' stores of that fold."""
    made = []
    for fold in range(given.folds):
        out = given.out / "mixed" / f"{name}-{fold}"
        out.parent.mkdir(exist_ok=True)
        trashkit("ensemble", *(stores[fold] for stores in members), *words, "--out", out, "--resume")
        made.append(out)
    return made


def ensembles(given: argparse.Namespace, plain: dict[str, Evaluation]) -> None:
    """Ensembles of the members compared with the better one alone, and fitted mixes with the plain mean (nested)."""
    print("\n| ensemble | mIoU out of fold | against the better member | 95 % |\n|---|---|---|---|")
    best = max(plain.values(), key=lambda one: one.confusion.miou())
    for recipe, found in plain.items():
        row(f"{recipe} alone", found, best)
    for views in ("none", "flip"):
        members = [predicted(given, recipe, views) for recipe in RECIPES]
        for method in ("mean", "geometric", "vote"):
            stores = combined(given, members, f"{method}-{views}", "--method", method)
            row(f"{method}, views {views}", scored(given, stores), best)
    stores = [given.out / "runs" / recipe / "oof" for recipe in RECIPES]
    words = ["ensemble", *stores, "--fit", given.annotations, "--out", given.out / "fit", "--overwrite", "--json"]
    done = subprocess.run([sys.executable, "-m", "trashkit", *map(str, words)], check=True, capture_output=True)
    fit = json.loads(done.stdout)["fit"]
    print("\n| mix | mIoU on images left out | gain over the mean | 95 % | on its own images |\n|---|---|---|---|---|")
    for one in fit["candidates"]:
        name = Path(one["name"]).parent.name if "/" in one["name"] else one["name"]
        low, high = one["interval"]
        print(
            f"| {name} | {one['miou']:.4f} | {one['gain']:+.4f} | {low:+.4f} to {high:+.4f} | {one['in_sample']:.4f} |"
        )
    print(f"\n{fit['verdict']}; disagreement {fit['disagreement']}")


def row(name: str, found: Evaluation, first: Evaluation) -> None:
    miou = found.confusion.miou()
    low, high = interval(bootstrap_miou_difference(first.per_image, found.per_image))
    gain = miou - first.confusion.miou()
    said = "" if found is first else f"{gain:+.4f} | {low:+.4f} to {high:+.4f}"
    print(f"| {name} | {miou:.4f} | {said or '0 | '} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--views", default=",".join(VIEWS), help="sets of views for the larger member")
    parser.add_argument("--windows", action="store_true", help="also sliding windows over photos at twice the size")
    given = parser.parse_args()
    train(given)
    print("| views | mIoU out of fold | gain | 95 % |\n|---|---|---|---|")
    plain: dict[str, Evaluation] = {}
    for recipe in RECIPES:
        for views in given.views.split(",") if recipe == "fpn" else VIEWS[:2]:
            found = scored(given, predicted(given, recipe, views))
            first = plain.setdefault(recipe, found)
            row(f"{recipe}, {views}", found, first)
        if recipe == "fpn" and given.windows:
            row(f"{recipe}, windows (zoom 2)", scored(given, predicted(given, recipe, "none", 2.0)), plain[recipe])
    ensembles(given, plain)


if __name__ == "__main__":
    main()
