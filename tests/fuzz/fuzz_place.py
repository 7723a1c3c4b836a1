"""The good files: what trashkit 0.1.0 wrote, and what today's commands make of it, all of four to fifteen small photos."""

# ruff: noqa: E501  tables of values are easier to read in long lines
from __future__ import annotations

import contextlib
import json
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from fuzz_binary import onnx_model

EARLIER = Path(__file__).parent.parent / "fixtures" / "v0_1"
FORMATS = (
    "coco",
    "yolo",
    "labelme",
    "cvat",
    "label-studio",
    "voc",
    "cityscapes",
    "ade20k",
    "mmsegmentation",
    "masks",
    "huggingface",
)
CLASSES = 11

PROFILES = {
    "csv.toml": 'kind = "csv"\nsize = [32, 32]\ncolumns = ["image_id", "PredictionString"]\nseparator = " "\nclasses = 11\n',
    "rle.toml": 'kind = "rle-csv"\nsize = [32, 32]\ncolumns = ["ImageId", "ClassId", "EncodedPixels"]\nimages = "stem"\nempty = "none"\n',
    "png.json": '{"kind": "png", "size": [32, 32], "values": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "suffix": "_x.png"}',
}
RECIPE_WITH_FILE = 'epochs = 1\nseed = 3\nloss = "ce + 0.5 * dice"\n[data]\naugment = "augment.yaml"\nsize = 64\n'
AUGMENTS = "- HorizontalFlip: {p: 0.5}\n- Affine: {rotate: [-20, 20], p: 0.4}\n- OneOf:\n    p: 0.2\n    transforms: [{GaussianBlur: {}}, {CLAHE: {}}]\n"
SPACE = '"optimiser.lr" = "1e-4..1e-3:log"\n"data.augment" = ["light", "strong"]\nepochs = "1..3"\n'

STEPS = (
    "edits apply data/train.json edits.jsonl --out fixed.json",
    "audit fixed.json --fail-on never --json > audit.json",
    "audit fixed.json --fail-on never --baseline known-now.json --write-baseline",
    "split export split.json --data fixed.json --out folds",
    "split fixed.json --folds 2 --trials 200 --test fixed.json --images data/images --encoder none --out split-now.json",
    *(f"data export {form} data/truth.json --images data/images --out export/{form}" for form in FORMATS),
    "submit mix --data data/test.json --size 32 --out mix.csv",
    "submit test-store --data data/test.json --profile kaggle-rle --out rle.csv",
    "submit test-store --data data/test.json --profile png --out predicted-png",
    "submit test-store --data data/test.json --profile coco-results --out results.json",
    "submit to-coco mix.csv --data data/test.json --size 32 --out mix-coco.json",
    "submit vote mix.csv submission.csv --data data/test.json --size 32 --out voted.csv",
    "submit from-coco mix-coco.json --data data/test.json --out big.csv",
    "ensemble test-store mix --out both",
    "data import predictions label-maps --data fixed.json --size 32 --out truth-store",
    "postprocess truth-store --step despeckle=3 --out other-store",
)  # fmt: skip


def build(folder: Path) -> None:
    """Fill an empty folder."""
    from typer.testing import CliRunner

    from trashkit.cli.app import app

    shutil.copytree(EARLIER, folder, dirs_exist_ok=True)
    with contextlib.chdir(folder):
        for step in STEPS:
            words, _, out = step.partition(" > ")
            done = CliRunner().invoke(app, shlex.split(words))
            assert done.exit_code == 0, f"trashkit {words}: exit {done.exit_code}\n{done.output}"
            if out:
                Path(out).write_text(done.stdout)
    shutil.copytree(folder / "run", folder / "again")
    shutil.copyfile(folder / "fixed.json", folder / "more.json")
    _write_lists(folder)
    _write_predictions(folder)
    _write_model(folder)


def _write_lists(folder: Path) -> None:
    images = json.loads((folder / "fixed.json").read_text())["images"]
    names = [image["file_name"] for image in images]
    (folder / "folds.csv").write_text(
        "\n".join(["file_name,fold", *(f'"{name}",{n % 3}' for n, name in enumerate(names)), ""])
    )
    (folder / "list.txt").write_text("\n".join([*names[::4], ""]))
    (folder / "groups.json").write_text(json.dumps({name: n // 4 for n, name in enumerate(names)}, ensure_ascii=False))
    (folder / "groups.csv").write_text("".join(f"{name},g{n // 4}\n" for n, name in enumerate(names)))
    categories = json.loads((folder / "fixed.json").read_text())["categories"]
    (folder / "classes.json").write_text(json.dumps({one["name"]: one["name"] for one in categories}))
    (folder / "names.txt").write_text("\n".join(["Background", *(one["name"] for one in categories), ""]))
    for name, text in PROFILES.items():
        (folder / name).write_text(text)
    (folder / "augment.yaml").write_text(AUGMENTS)
    (folder / "augment.toml").write_text(RECIPE_WITH_FILE)
    (folder / "space.toml").write_text(SPACE)
    (folder / "sample.csv").write_text("image_id,PredictionString\n" + "".join(f"{name},\n" for name in names[:2]))
    taco = json.loads((folder / "data/truth.json").read_text())
    for n, image in enumerate(taco["images"]):
        image.update(flickr_url=f"https://invalid.invalid/{n}.jpg", flickr_640_url=f"https://invalid.invalid/{n}_z.jpg")
    (folder / "taco.json").write_text(json.dumps(taco))


def _write_predictions(folder: Path) -> None:
    """Arrays of three kinds, as other frameworks save them."""
    random = np.random.default_rng(0)
    for n, image in enumerate(json.loads((folder / "data/test.json").read_text())["images"]):
        path = (folder / "arrays" / image["file_name"]).with_suffix(".npz" if n % 2 else ".npy")
        path.parent.mkdir(parents=True, exist_ok=True)
        values = random.random((CLASSES, 32, 32), np.float32)
        values = values / values.sum(axis=0)
        if n % 2:
            np.savez(path, probabilities=values)
        else:
            np.save(path, values if n else values.argmax(axis=0).astype(np.uint8))


def _write_model(folder: Path) -> None:
    try:
        import onnx  # noqa: F401
    except ImportError:
        return
    metadata: dict[str, Any] = {
        "format": "trashkit model", "version": 1, "trashkit": "0.1.0", "size": [32, 32], "run": "run",
        "class_names": ["Background", "Paper", "Glass"], "class_colors": [[0, 0, 0], [200, 0, 0], [0, 200, 0]],
    }  # fmt: skip
    (folder / "model.onnx").write_bytes(onnx_model({"trashkit": json.dumps(metadata)}))
