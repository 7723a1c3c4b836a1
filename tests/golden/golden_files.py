"""The files that the recorded commands work on: what `set_up` writes, and what steps change by hand.

Nothing here imports trashkit.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

SIZE = 64
"""Side in pixels of stores, submissions and training images."""

RECIPE = """\
recipe.title = "PSPNet with 8,563 weights at 64 px"
recipe.reason = "Trains in seconds."
recipe.place = "Tests."
loss = "ce + dice"
epochs = 2
ema = 0.9
[model]
architecture = "pspnet"
encoder = "tu-test_byobnet"
weights = "none"
[model.options]
encoder_depth = 2
psp_out_channels = 8
upsampling = 4
psp_dropout = 0.0
[data]
size = 64
batch_size = 4
augment = "light"
[optimiser]
lr = 1e-2
encoder_lr_ratio = 1.0
"""

AUDIT_SETTINGS = """\
[audit]
tiny_area = 20.0
rare_category = 4
overlap_iou = 0.3
extend_parts = [["battery", "*"]]
[[audit.waivers]]
code = "G003"
annotation_id = 250
reason = "crosses itself on purpose"
[[audit.waivers]]
code = "G0*"
file_name = "batch_01/*"
reason = "codes are not patterns: accepts nothing"
"""


def copy_embedded(source: Path, folder: Path) -> None:
    """Fill ``data/`` from the embedded data set."""
    shutil.copytree(source, folder / "data")
    shutil.copy(source / "leaderboard" / "hidden.json", folder / "data" / "truth.json")
    shutil.copy(source / "sample_submission.csv", folder / "data" / "sample.csv")


def set_up(folder: Path) -> None:
    """Write ``settings/`` and ``work/`` beside ``data/``, which is there already."""
    settings = folder / "settings"
    settings.mkdir()
    (settings / "trashkit.toml").write_text(AUDIT_SETTINGS)
    (settings / "small.toml").write_text(RECIPE)
    other = RECIPE.replace('"ce + dice"', '"focal + 0.5 * lovasz"').replace('"light"', '"strong"')
    (settings / "other.toml").write_text(other)
    (settings / "broken.json").write_text('{"images": [')
    (settings / "wrong.toml").write_text("[audit]\ntiny_areas = 1\noverlap_iou = -1\n")
    (folder / "work").mkdir()


# --- files that a step needs -----------------------------------------------------------------------------------------


def _read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False), encoding="utf-8")


def edit_by_hand(folder: Path) -> None:
    """The fixed file as another tool might return it: one class changed, one annotation gone, one outline moved."""
    value = _read(folder / "work/fixed.json")
    rows = value["annotations"]
    rows[0]["category_id"] = 1 + rows[0]["category_id"] % 2
    rows[3]["segmentation"][0][0] += 2.5
    del rows[5]
    _write(folder / "work/edited.json", value)


def two_reviewers(folder: Path) -> None:
    """Two logs that agree, and a third that disagrees with the first."""
    log = (folder / "work/fixed.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    half = len(log) // 2
    (folder / "work/anna.jsonl").write_text("".join(log[:half]), encoding="utf-8")
    (folder / "work/ben.jsonl").write_text("".join(log[half // 2 :]), encoding="utf-8")
    value = _read(folder / "work/fixed.json")
    for row in value["annotations"][:3]:
        row["category_id"] = 1
    _write(folder / "work/one.json", value)
    for row in value["annotations"][:2]:
        row["category_id"] = 2
    _write(folder / "work/two.json", value)


def reject_fixes(folder: Path) -> None:
    """A log in which a reviewer rejects every second of the safe fixes."""
    kept = ("block", "row", "author", "id", "source", "fingerprint")
    lines = []
    for line in (folder / "work/safe.jsonl").read_text(encoding="utf-8").splitlines()[::2]:
        edit = {name: value for name, value in json.loads(line).items() if name in kept}
        lines.append(json.dumps({"kind": "reject", **edit, "reason": edit["author"], "author": "anna"}))
    (folder / "work/rejected.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def split_that_leaks(folder: Path) -> None:
    """Folds as other tools write them, by row number: near-duplicates fall into different folds."""
    images = _read(folder / "work/fixed.json")["images"]
    lines = [f'"{image["file_name"]}",{n % 3}' for n, image in enumerate(images)]
    (folder / "work/folds.csv").write_text("\n".join(["file_name,fold", *lines]) + "\n", encoding="utf-8")
    _write(folder / "work/groups.json", {image["file_name"]: n // 4 for n, image in enumerate(images)})


def draw_predictions(masks: Path, out: Path, *, seed: int, certainty: float, mistakes: float) -> None:
    """Probabilities float32 [C, SIZE, SIZE] as .npy files, drawn from the true label maps below `masks`.

    certainty: by how much the logit of the true class stands above the noise. mistakes: share of images in which
    one class is taken for another.
    """
    classes = len((masks / "classes.txt").read_text(encoding="utf-8").split("\n")) - 1
    rng = np.random.default_rng(seed)
    for path in sorted(masks.rglob("*.png")):
        label_map = _palette_indices(path)
        present = [int(value) for value in np.unique(label_map) if value]
        if present and rng.random() < mistakes:
            label_map = np.where(label_map == present[0], 1 + present[0] % (classes - 1), label_map)
        noise = np.kron(rng.normal(size=(classes, SIZE // 8, SIZE // 8)), np.ones((8, 8)))
        logits = certainty * (label_map[None] == np.arange(classes)[:, None, None]) + noise
        values = np.exp(logits - logits.max(axis=0))
        file = out / path.relative_to(masks).with_suffix(".npy")
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, np.round(values / values.sum(axis=0), 4).astype(np.float32))


def _palette_indices(path: Path) -> Any:
    with Image.open(path) as image:
        return np.array(image)


MODELS = {"a": (1, 2.5, 0.1), "b": (2, 2.0, 0.2), "c": (3, 1.5, 0.3)}
"""Seed, certainty and share of mistakes of three models that are only drawn."""


def draw_all_predictions(folder: Path) -> None:
    """Out-of-fold and test predictions of each of `MODELS`."""
    for name, (seed, certainty, mistakes) in MODELS.items():
        for part, add in (("oof", 0), ("test", 100)):
            draw_predictions(
                folder / f"work/masks-{part}", folder / f"work/drawn/{name}-{part}",
                seed=seed + add, certainty=certainty, mistakes=mistakes,
            )  # fmt: skip


def write_presence(folder: Path) -> None:
    """A presence file as `presence` writes it: the first class in half of the photos."""
    names = (folder / "work/masks-test/classes.txt").read_text(encoding="utf-8").split("\n")[1:-1]
    images = [
        {
            "id": image["id"],
            "file_name": image["file_name"],
            "shares": [1 / len(names)] * len(names) if n % 2 else [0.5] + [0.5 / (len(names) - 1)] * (len(names) - 1),
        }
        for n, image in enumerate(_read(folder / "data/test.json")["images"])
    ]
    value = {"format": "trashkit-presence", "version": 1, "classes": names, "source": {}, "images": images}
    _write(folder / "settings/presence.json", value)


def damage_submission(folder: Path) -> None:
    """A submission with a row missing, a value too few and a value that is not a class."""
    lines = (folder / "work/a.csv").read_text(encoding="utf-8").splitlines()
    image, _, values = lines[2].rpartition(",")
    lines[2] = f"{image},{values.rpartition(' ')[0]}"
    image, _, values = lines[3].rpartition(",")
    lines[3] = f"{image},{values.rpartition(' ')[0]} 99"
    del lines[1]
    (folder / "work/bad.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def other_test_file(folder: Path) -> None:
    """The test part with other ids, which no submission of the story fits."""
    value = _read(folder / "data/test.json")
    for image in value["images"]:
        image["id"] += 1000
        image["file_name"] = f"elsewhere/{image['file_name']}"
    _write(folder / "work/other-test.json", value)


def copy_photos(folder: Path) -> None:
    """Three photos of the test part under plain names, one of them turned, and a file that is not a photo."""
    photos = folder / "work/photos"
    photos.mkdir()
    for n, image in enumerate(_read(folder / "data/test.json")["images"][:3]):
        photo = cv2.imdecode(np.fromfile(folder / "data/images" / image["file_name"], np.uint8), cv2.IMREAD_COLOR)
        assert photo is not None
        photo = cv2.rotate(photo, cv2.ROTATE_90_CLOCKWISE) if n == 1 else photo[: photo.shape[0] - 20 * n]
        cv2.imencode(".png", photo)[1].tofile(photos / f"{n}.png")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 not a photo")


def copy_run(folder: Path) -> None:
    """A second run of the same network and fold, to average with the first."""
    shutil.copytree(folder / "work/runs/folds/small/fold-0", folder / "work/runs/again/fold-0")
