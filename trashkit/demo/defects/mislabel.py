"""Plant label noise (typical annotator errors) and damaged photos."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
import shapely.affinity

from trashkit.demo.defects.noisy_dataset import NoisyDataset, Record, pick, reshape, rings_of, shape
from trashkit.demo.drawing.pen import blob

_NOISE, _DEFECT = "label-noise", "defect"
# Class confusions: leaflets, cups, clear plastic and glass, film and plastic.
_CONFUSED = {
    1: (2, 8),
    2: (1, 3),
    3: (2, 1),
    4: (1, 6),
    5: (6, 4),
    6: (5, 8, 1),
    7: (6, 2),
    8: (6, 1),
    9: (4, 1),
    10: (1, 8),
}


def class_swap(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An object has a class that it is often confused with."""
    annotation = pick(rng, noisy.free_annotations())
    if annotation is None:
        return False
    was = annotation["category_id"]
    annotation["category_id"] = int(rng.choice(_CONFUSED[was]))
    noisy.note(_NOISE, "class-swap", [annotation], detail={"was": was})
    return True


def dropped_object(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An object is not annotated. planted.json keeps its clean record, which has no row."""
    annotation = pick(rng, noisy.free_annotations())
    if annotation is None:
        return False
    noisy.annotations[:] = [a for a in noisy.annotations if a is not annotation]
    detail = {
        "category_id": annotation["category_id"],
        "segmentation": annotation["segmentation"],
        "area": annotation["area"],
    }
    noisy.note(_NOISE, "dropped-object", [annotation], detail=detail)
    return True


def shifted(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An outline is shifted by an eighth to a quarter of the object's size."""
    annotation = pick(rng, noisy.free_annotations(noisy.side**2 / 500))
    if annotation is None:
        return False
    turn, by = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.25) * max(annotation["bbox"][2:])
    moved = shapely.affinity.translate(shape(annotation), by * np.cos(turn), by * np.sin(turn))
    return _replace(noisy, annotation, "shifted", moved, {"pixels": round(float(by), 1)})


def coarse_outline(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An outline has only a few vertices."""
    annotation = pick(rng, [a for a in noisy.free_annotations(noisy.side**2 / 300) if len(a["segmentation"]) == 1])
    if annotation is None:
        return False
    rough = shape(annotation).convex_hull.simplify(float(rng.uniform(0.08, 0.12)) * max(annotation["bbox"][2:]))
    return _replace(noisy, annotation, "coarse-outline", rough, {"vertices": len(rough.exterior.coords) - 1})


def _replace(noisy: NoisyDataset, annotation: Record, name: str, geometry: Any, detail: Record) -> bool:
    inside = shapely.intersection(geometry, shapely.box(0, 0, noisy.side, noisy.side))
    rings = rings_of(inside)
    if not rings or inside.area < 12:
        return False
    reshape(annotation, rings)
    noisy.note(_NOISE, name, [annotation], detail=detail)
    return True


def merged(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """Two neighbouring objects are annotated as one, with the class of the larger."""
    annotation = pick(rng, noisy.free_annotations())
    if annotation is None:
        return False
    mates = [a for a in noisy.free_annotations() if a["image_id"] == annotation["image_id"] and a is not annotation]
    if not mates:
        return False
    own = shape(annotation)
    mate = min(mates, key=lambda a: (float(own.distance(shape(a))), a["id"]))
    large, small = sorted((annotation, mate), key=lambda a: -a["area"])
    detail = {"swallowed": small["id"], "category_id": small["category_id"]}
    noisy.annotations[:] = [a for a in noisy.annotations if a is not small]
    reshape(large, [*large["segmentation"], *small["segmentation"]])
    noisy.note(_NOISE, "merged", [large], detail=detail)
    noisy.busy.add(id(small))
    return True


def spurious(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An annotation covers only background."""
    busy = [i for i in noisy.images if id(i) not in noisy.busy]
    image = pick(rng, busy)
    if image is None:
        return False
    others = shapely.union_all(
        [shape(a) for a in noisy.of_image(image) if a["segmentation"] and id(a) not in noisy.busy]
    )
    for _ in range(10):
        h, w = (int(v) for v in rng.uniform(0.08, 0.2, 2) * noisy.side)
        at = rng.uniform(0, 1, 2) * (noisy.side - w, noisy.side - h)
        ring = np.round(blob(rng, h, w, 0.3, 9, margin=0.0)[::4] + at, 1)
        area = shapely.Polygon(ring)
        if not area.is_valid or area.intersection(others).area > 0:
            continue
        added: Record = {
            "id": noisy.next_id("annotations"),
            "image_id": image["id"],
            "category_id": int(rng.integers(1, 11)),
            "segmentation": [],
            "area": 0.0,
            "bbox": [],
            "iscrowd": 0,
        }
        reshape(added, [ring.ravel().tolist()])
        noisy.annotations.append(added)
        noisy.note(_NOISE, "spurious", [added])
        return True
    return False


def missing_photo(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The photo of an image is missing."""
    return _damage(rng, noisy, "missing-photo", "delete", None)


def truncated_photo(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The photo of an image is truncated."""
    return _damage(rng, noisy, "truncated-photo", "truncate", 0.55)


def _damage(rng: np.random.Generator, noisy: NoisyDataset, name: str, action: str, value: float | None) -> bool:
    image = pick(rng, noisy.free_images())
    if image is None:
        return False
    noisy.photos.append((image["file_name"], action, value))
    noisy.note(_DEFECT, name, [image], block="images", photos=True)
    return True


def repeated_file_name(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """A photo has the same base name as one in another folder, with an upper-case extension."""
    free = noisy.free_images()
    image = pick(rng, free)
    other = pick(rng, [i for i in free if image is not None and _folder(i) != _folder(image)])
    if image is None or other is None:
        return False
    was, stem = image["file_name"], other["file_name"].rsplit("/", 1)[1].rsplit(".", 1)[0]
    image["file_name"] = f"{_folder(image)}/{stem}.JPG"
    noisy.photos.append((was, "rename", image["file_name"]))
    noisy.note(_DEFECT, "repeated-file-name", [other, image], block="images", detail={"was": was})
    return True


def duplicate_photo(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """A photo and its annotations occur twice, as identical files."""
    image = pick(rng, noisy.free_images())
    if image is None:
        return False
    added = _import_again(noisy, image, noisy.of_image(image))
    detail = {"copy_of": image["file_name"]}
    noisy.note(_DEFECT, "duplicate-photo", [image, added], block="images", detail=detail, photos=True)
    return True


def leak(noisy: NoisyDataset, test_image: Record, annotations: list[Record]) -> None:
    """A test photo, with annotations, is among the training photos."""
    added = _import_again(noisy, test_image, annotations)
    detail = {"test_file_name": test_image["file_name"], "test_image_id": test_image["id"]}
    noisy.note(_DEFECT, "test-leak", [added], block="images", detail=detail, photos=True)


def _folder(image: Record) -> str:
    return str(image["file_name"]).rsplit("/", 1)[0]


def _import_again(noisy: NoisyDataset, image: Record, annotations: list[Record]) -> Record:
    folder, base = image["file_name"].rsplit("/", 1)
    added = {**image, "id": noisy.next_id("images"), "file_name": f"{folder}/{base.rsplit('.', 1)[0]}_copy.jpg"}
    noisy.images.append(added)
    for annotation in annotations:
        fresh = copy.deepcopy(annotation)
        fresh["id"], fresh["image_id"] = noisy.next_id("annotations"), added["id"]
        noisy.annotations.append(fresh)
        noisy.busy.add(id(fresh))
    noisy.photos.append((image["file_name"], "copy", added["file_name"]))
    return added


LABEL_NOISE: tuple[tuple[Callable[[np.random.Generator, NoisyDataset], bool], float], ...] = (
    (class_swap, 0.34),
    (dropped_object, 0.22),
    (shifted, 0.14),
    (coarse_outline, 0.14),
    (merged, 0.08),
    (spurious, 0.08),
)
PHOTO_DEFECTS = (missing_photo, truncated_photo, repeated_file_name, duplicate_photo)
