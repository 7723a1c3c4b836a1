"""Generate the synthetic data set: photos, clean and noisy annotations, hidden annotations of the test part."""

from __future__ import annotations

import copy
import json
import multiprocessing
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from trashkit.demo.defects.mislabel import LABEL_NOISE, PHOTO_DEFECTS, leak
from trashkit.demo.defects.noisy_dataset import NoisyDataset, Record
from trashkit.demo.defects.planted import DEFECTS, HEAVY_DEFECTS, Plant
from trashkit.demo.drawing.outlines import polygons, ring_area
from trashkit.demo.drawing.scenes import compose, photograph
from trashkit.demo.plan import CLASS_NAMES, ScenePlan, halves, make_plan
from trashkit.errors import TrashkitError
from trashkit.outputs import Output, folder_kind
from trashkit.progress import Progress, silent

Noise = Literal["none", "light", "heavy"]
Draw = Callable[[ScenePlan], list[tuple[str, bytes, list[Record]]]]
Part = tuple[list[Record], list[Record]]
"""Images and annotations."""
# Per noise level: planted defects of each type per 300 training images (at least one), and the share of wrong labels.
_LEVELS: dict[str, tuple[int, float]] = {"none": (0, 0.0), "light": (1, 0.03), "heavy": (3, 0.10)}
_LEDGER = "planted.json"
_JSON = "train|train_clean|test|planted|scenes|leaderboard/hidden"
_PARTS = rf"images/.+|({_JSON})\.json|sample_submission\.csv|README\.txt"
_SYNTHETIC = folder_kind("synthetic data set", marker=re.escape(_LEDGER), files=_PARTS)
"""Recognised by planted.json; a real data set may have files with any of the other names."""
_LIMITS = {"images": (20, 20_000), "size": (64, 1024)}
_MASTER, _SCENE, _ERRORS = 0, 1, 2


def make(
    out: Path,
    *,
    images: int = 200,
    size: int = 256,
    seed: int = 0,
    test_share: float = 0.2,
    noise: Noise = "light",
    shift: float = 0.15,
    damage_photos: bool = True,
    quality: int | None = None,
    workers: int = 1,
    overwrite: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Generate a data set of `images` square photos of `size` pixels in the folder `out`; return a summary.

    Writes train.json (with planted errors), train_clean.json (without), test.json (no annotations), images/ (all
    photos), sample_submission.csv (only the header), planted.json (the planted errors), scenes.json (photos of the same
    scene), leaderboard/hidden.json (annotations of the test part with its public and private half) and README.txt.

    noise: "none" (train.json equals train_clean.json), "light" or "heavy". shift: class shift of the test part.
    damage_photos: with noise, also plant missing, truncated, duplicate and leaked photos. quality: JPEG quality, by
    default drawn for each photo (72..95). The same arguments give the same files for any number of `workers`. Raises
    TrashkitError for values out of range, and if `out` exists and `overwrite` is not set.
    """
    _check(images, size, test_share, noise)
    made = Path(out)
    with Output(made, overwrite=overwrite, kind=_SYNTHETIC).writing() as folder:
        (folder / "images").mkdir(parents=True)
        plans = make_plan(_generator(seed, _MASTER), images, test_share, shift)
        draw = partial(_draw_scene, size=size, seed=seed, quality=quality)
        shots = dict(_drawn(folder / "images", plans, draw, workers, progress))
        parts = {part: _records([p for p in plans if p.part == part], shots, size) for part in ("train", "test")}
        side_of = halves(_generator(seed, _MASTER, 1), plans)
        noisy = _planted(_generator(seed, _ERRORS), parts, size, noise, damage_photos)
        _change_photos(folder / "images", noisy.photos)
        _write_train(folder, parts["train"], noisy)
        _write_test(folder, parts["test"], side_of, plans)
        _dump(folder / "scenes.json", {"train": _scenes_of(parts["train"][0], plans)})
        (folder / "README.txt").write_text(_README, encoding="utf-8")
    return _summary(made, parts, noisy, len(plans))


def _summary(out: Path, parts: dict[str, Part], noisy: NoisyDataset, scenes: int) -> dict[str, Any]:
    kinds = [entry["kind"] for entry in noisy.ledger()]
    classes = [annotation["category_id"] for annotation in parts["train"][1]]
    return {
        "out": str(out),
        "train_images": len(noisy.images),
        "train_annotations": len(noisy.annotations),
        "test_images": len(parts["test"][0]),
        "scenes": scenes,
        "defects": kinds.count("defect"),
        "label_errors": kinds.count("label-noise"),
        "annotations_per_class": {name: classes.count(k) for k, name in enumerate(CLASS_NAMES, 1)},
    }


def _check(images: int, size: int, test_share: float, noise: str) -> None:
    for name, value in (("images", images), ("size", size)):
        low, high = _LIMITS[name]
        if not low <= value <= high:
            raise TrashkitError(
                f"{name} is {value}, not between {low} and {high}", hint=f"choose --{name} {low} to {high}"
            )
    if not 0 <= test_share <= 0.9:
        raise TrashkitError(f"the test share is {test_share}, not between 0 and 0.9", hint="choose --test-share 0.2")
    if noise not in _LEVELS:
        raise TrashkitError(f"noise is {noise!r}, not one of {', '.join(_LEVELS)}", hint="choose --noise light")


def _generator(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _draw_scene(plan: ScenePlan, size: int, seed: int, quality: int | None) -> list[tuple[str, bytes, list[Record]]]:
    """Draw all photos of one scene: file name, JPEG bytes, annotations without ids."""
    scene = compose(_generator(seed, _SCENE, plan.number), plan.classes, size)
    out = []
    for k, file_name in enumerate(plan.file_names):
        rng = _generator(seed, _SCENE, plan.number, k + 1)
        shot = photograph(rng, scene, first=k == 0)
        level = quality or int(rng.integers(72, 96))
        done, data = cv2.imencode(".jpg", shot.photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, level])
        assert done
        tolerance = float(np.clip(size / 256, 0.7, 2.0))
        found = polygons(shot.objects, tolerance)
        out.append((file_name, data.tobytes(), [_annotation(shot.classes[n - 1], found[n]) for n in sorted(found)]))
    return out


def _annotation(class_index: int, rings: list[Any]) -> Record:
    points = np.concatenate(rings)
    low, high = points.min(axis=0), points.max(axis=0)
    return {
        "id": 0,
        "image_id": 0,
        "category_id": class_index,
        "segmentation": [ring.ravel().tolist() for ring in rings],
        "area": float(sum(ring_area(ring) for ring in rings)),
        "bbox": [float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])],
        "iscrowd": 0,
    }


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _drawn(
    folder: Path, plans: Sequence[ScenePlan], draw: Draw, workers: int, progress: Progress
) -> Iterator[tuple[str, list[Record]]]:
    """Draw all scenes and write their photos; yield each file name with its annotations."""
    total, done = sum(len(plan.file_names) for plan in plans), 0
    pool = None
    if workers > 1:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread)
    try:
        for photos in pool.map(draw, plans, chunksize=4) if pool else map(draw, plans):
            for file_name, data, annotations in photos:
                path = folder / file_name
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(data)
                done += 1
                progress("drawing photos", done, total)
                yield file_name, annotations
    finally:
        if pool:
            pool.shutdown(cancel_futures=True)


def _records(plans: Sequence[ScenePlan], shots: dict[str, list[Record]], size: int) -> Part:
    """Images and annotations of a part, sorted by file name. Image ids have gaps, so that they differ from rows."""
    images: list[Record] = []
    annotations: list[Record] = []
    for k, file_name in enumerate(sorted(name for plan in plans for name in plan.file_names)):
        image = {"id": 3 * k // 2 + 1, "width": size, "height": size, "file_name": file_name, "license": 1}
        images.append(image)
        for annotation in shots[file_name]:
            annotations.append({**annotation, "id": len(annotations) + 1, "image_id": image["id"]})
    return images, annotations


def _planted(rng: np.random.Generator, parts: dict[str, Part], size: int, noise: Noise, damage: bool) -> NoisyDataset:
    """Copy the training part and plant errors of the given noise level.

    Errors are planted in portions of about 300 images each, so that the time grows linearly with the number of images.
    """
    images, annotations = copy.deepcopy(parts["train"])
    categories = _categories()
    new_ids: dict[str, Iterator[int]] = {
        "images": count(images[-1]["id"] + 1),
        "annotations": count(len(annotations) + 1),
    }
    portions = max(1, round(len(images) / 300))
    noisy_parts = []
    for k in range(portions if noise != "none" else 0):
        own = {image["id"] for image in images[k::portions]}
        mine = [a for a in annotations if a["image_id"] in own]
        noisy_parts.append(NoisyDataset(images[k::portions], mine, categories, size, new_ids))
        test = (parts["test"][0][k::portions], parts["test"][1])
        _plant_level(rng, noisy_parts[-1], test if damage else None, noise)
    return _together(noisy_parts, images, annotations, NoisyDataset([], [], categories, size, new_ids))


def _plant_level(rng: np.random.Generator, noisy: NoisyDataset, test: Part | None, noise: Noise) -> None:
    """Plant all errors of a noise level; `test`: part to leak photos from, None leaves photos undamaged."""
    times, share = _LEVELS[noise]
    # In small data sets most images stay undamaged.
    times = min(times, max(1, len(noisy.images) // 8))
    objects = len(noisy.annotations)
    if test is not None:
        _plant_all(rng, noisy, PHOTO_DEFECTS, times)
        for row in rng.permutation(len(test[0]))[:times].tolist():
            leak(noisy, test[0][row], [a for a in test[1] if a["image_id"] == test[0][row]["id"]])
    _plant_all(rng, noisy, DEFECTS, times)
    if noise == "heavy":
        _plant_all(rng, noisy, HEAVY_DEFECTS, times)
    for plant, part in LABEL_NOISE:
        _plant_all(rng, noisy, (plant,), max(1, round(objects * share * part)))


def _together(
    noisy_parts: Sequence[NoisyDataset], images: list[Record], annotations: list[Record], whole: NoisyDataset
) -> NoisyDataset:
    """Merge the portions: existing records in their original order, then the new ones."""
    if not noisy_parts:
        whole.images, whole.annotations = images, annotations
        return whole
    kept = {id(a) for noisy in noisy_parts for a in noisy.annotations}
    old = {id(record) for record in (*images, *annotations)}
    whole.images = images + [i for noisy in noisy_parts for i in noisy.images if id(i) not in old]
    whole.annotations = [a for a in annotations if id(a) in kept]
    whole.annotations += [a for noisy in noisy_parts for a in noisy.annotations if id(a) not in old]
    whole.planted = [entry for noisy in noisy_parts for entry in noisy.planted]
    whole.photos = [change for noisy in noisy_parts for change in noisy.photos]
    return whole


def _plant_all(rng: np.random.Generator, noisy: NoisyDataset, plants: Sequence[Plant], times: int) -> None:
    """Plant each type of error `times` times, with up to ten attempts each."""
    for plant in plants:
        for _ in range(times):
            any(plant(rng, noisy) for _ in range(10))


def _change_photos(folder: Path, changes: Sequence[tuple[str, str, Any]]) -> None:
    """Apply the planned changes to the photo files: delete, truncate, copy, rename."""
    for file_name, action, value in changes:
        path = folder / file_name
        if action == "delete":
            path.unlink()
        elif action == "truncate":
            data = path.read_bytes()
            path.write_bytes(data[: int(len(data) * value)])
        elif action == "copy":
            shutil.copyfile(path, folder / value)
        else:
            path.rename(folder / value)


def _categories() -> list[Record]:
    return [{"id": k, "name": name, "supercategory": name} for k, name in enumerate(CLASS_NAMES, 1)]


def _coco(images: list[Record], annotations: list[Record], categories: list[Record], about: str) -> Record:
    return {
        "info": {
            "description": f"trashkit synthetic scenes, {about}",
            "url": "",
            "version": "1.0",
            "year": 2026,
            "contributor": "trashkit",
            "date_created": "2026-01-01",
        },
        "licenses": [{"id": 1, "name": "MIT", "url": "https://opensource.org/license/mit"}],
        "images": images,
        "annotations": annotations,
        "categories": categories,
    }


def _dump(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def _write_train(folder: Path, clean: Part, noisy: NoisyDataset) -> None:
    """Write the training part with and without errors, and the list of planted errors."""
    _dump(folder / "train.json", _coco(noisy.images, noisy.annotations, noisy.categories, "training part"))
    _dump(folder / "train_clean.json", _coco(*clean, _categories(), "training part without errors"))
    (folder / _LEDGER).write_text(_lines(noisy.ledger()), encoding="utf-8")


def _write_test(folder: Path, test: Part, side_of: dict[str, str], plans: Sequence[ScenePlan]) -> None:
    """Write the test part without annotations, and its hidden annotations."""
    images = test[0]
    _dump(folder / "test.json", _coco(images, [], _categories(), "test part"))
    hidden = _coco(*test, _categories(), "truth of the test part")
    sides = ("public", "private")
    hidden["leaderboard"] = {side: [i["id"] for i in images if side_of[i["file_name"]] == side] for side in sides}
    hidden["scenes"] = _scenes_of(images, plans)
    (folder / "leaderboard").mkdir()
    _dump(folder / "leaderboard" / "hidden.json", hidden)
    (folder / "sample_submission.csv").write_text("image_id,PredictionString\n", encoding="utf-8")


def _scenes_of(images: Sequence[Record], plans: Sequence[ScenePlan]) -> list[Record]:
    """Scene number of each image, and the image's index among the photos of its scene."""
    where = {name: (plan.number, k) for plan in plans for k, name in enumerate(plan.file_names)}
    out = []
    for image in images:
        scene, shot = where[image["file_name"]]
        out.append({"image_id": image["id"], "file_name": image["file_name"], "scene": scene, "shot": shot})
    return out


def _lines(records: Sequence[Record]) -> str:
    return "[\n" + ",\n".join(json.dumps(r, ensure_ascii=False) for r in records) + "\n]\n"


_README = """\
Synthetic trash scenes, drawn by trashkit. Nothing here is a photograph.

train.json              what a user gets: annotations with planted errors (see planted.json)
train_clean.json        the same images without errors; with noise "none" the two are equal
test.json               the test images, without annotations
images/                 all photos; file_name in the JSON files is relative to this folder
sample_submission.csv   the header of a submission
planted.json            truth: every planted error with its type, rows and ids; needs_photos: not in the JSON alone
scenes.json             truth: which training photos show the same scene (near-duplicates)
leaderboard/hidden.json truth: annotations of the test part and its public and private half; for the scorer only

Classes follow the long tail of the real competition (Battery is rare); each has at least 10 objects in the training
part and 4 in the test part, which raises the rare ones in small sets.
"""
