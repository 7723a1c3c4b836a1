"""Wrong labels planted on purpose (what annotators get wrong), and damage to photos."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import shapely
import shapely.affinity

from trashkit.demo.draft import Draft, Record, pick, reshape, rings_of, shape
from trashkit.demo.pen import blob

_NOISE, _DEFECT = "label-noise", "defect"
# What is taken for what: leaflets, cups, clear plastic and glass, film and plastic.
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


def class_swap(rng: np.random.Generator, draft: Draft) -> bool:
    """An object has the class that it is easily taken for."""
    annotation = pick(rng, draft.free_annotations())
    if annotation is None:
        return False
    was = annotation["category_id"]
    annotation["category_id"] = int(rng.choice(_CONFUSED[was]))
    draft.note(_NOISE, "class-swap", [annotation], detail={"was": was})
    return True


def dropped_object(rng: np.random.Generator, draft: Draft) -> bool:
    """An object was not annotated. The ledger keeps its clean record; it has no row."""
    annotation = pick(rng, draft.free_annotations())
    if annotation is None:
        return False
    draft.annotations[:] = [a for a in draft.annotations if a is not annotation]
    detail = {
        "category_id": annotation["category_id"],
        "segmentation": annotation["segmentation"],
        "area": annotation["area"],
    }
    draft.note(_NOISE, "dropped-object", [annotation], detail=detail)
    return True


def shifted(rng: np.random.Generator, draft: Draft) -> bool:
    """An outline lies beside its object, by an eighth to a quarter of its size."""
    annotation = pick(rng, draft.free_annotations(draft.side**2 / 500))
    if annotation is None:
        return False
    turn, by = rng.uniform(0, 2 * np.pi), rng.uniform(0.12, 0.25) * max(annotation["bbox"][2:])
    moved = shapely.affinity.translate(shape(annotation), by * np.cos(turn), by * np.sin(turn))
    return _replace(draft, annotation, "shifted", moved, {"pixels": round(float(by), 1)})


def coarse_outline(rng: np.random.Generator, draft: Draft) -> bool:
    """An outline drawn with a handful of corners."""
    annotation = pick(rng, [a for a in draft.free_annotations(draft.side**2 / 300) if len(a["segmentation"]) == 1])
    if annotation is None:
        return False
    rough = shape(annotation).convex_hull.simplify(float(rng.uniform(0.08, 0.12)) * max(annotation["bbox"][2:]))
    return _replace(draft, annotation, "coarse-outline", rough, {"vertices": len(rough.exterior.coords) - 1})


def _replace(draft: Draft, annotation: Record, name: str, geometry: Any, detail: Record) -> bool:
    inside = shapely.intersection(geometry, shapely.box(0, 0, draft.side, draft.side))
    rings = rings_of(inside)
    if not rings or inside.area < 12:
        return False
    reshape(annotation, rings)
    draft.note(_NOISE, name, [annotation], detail=detail)
    return True


def merged(rng: np.random.Generator, draft: Draft) -> bool:
    """Two neighbours were annotated as one object, with the class of the larger."""
    annotation = pick(rng, draft.free_annotations())
    if annotation is None:
        return False
    mates = [a for a in draft.free_annotations() if a["image_id"] == annotation["image_id"] and a is not annotation]
    if not mates:
        return False
    own = shape(annotation)
    mate = min(mates, key=lambda a: (float(own.distance(shape(a))), a["id"]))
    large, small = sorted((annotation, mate), key=lambda a: -a["area"])
    detail = {"swallowed": small["id"], "category_id": small["category_id"]}
    draft.annotations[:] = [a for a in draft.annotations if a is not small]
    reshape(large, [*large["segmentation"], *small["segmentation"]])
    draft.note(_NOISE, "merged", [large], detail=detail)
    draft.busy.add(id(small))
    return True


def spurious(rng: np.random.Generator, draft: Draft) -> bool:
    """An annotation where there is nothing but ground."""
    busy = [i for i in draft.images if id(i) not in draft.busy]
    image = pick(rng, busy)
    if image is None:
        return False
    others = shapely.union_all(
        [shape(a) for a in draft.of_image(image) if a["segmentation"] and id(a) not in draft.busy]
    )
    for _ in range(10):
        h, w = (int(v) for v in rng.uniform(0.08, 0.2, 2) * draft.side)
        at = rng.uniform(0, 1, 2) * (draft.side - w, draft.side - h)
        ring = np.round(blob(rng, h, w, 0.3, 9, margin=0.0)[::4] + at, 1)
        area = shapely.Polygon(ring)
        if not area.is_valid or area.intersection(others).area > 0:
            continue
        added: Record = {
            "id": draft.next_id("annotations"),
            "image_id": image["id"],
            "category_id": int(rng.integers(1, 11)),
            "segmentation": [],
            "area": 0.0,
            "bbox": [],
            "iscrowd": 0,
        }
        reshape(added, [ring.ravel().tolist()])
        draft.annotations.append(added)
        draft.note(_NOISE, "spurious", [added])
        return True
    return False


def missing_photo(rng: np.random.Generator, draft: Draft) -> bool:
    """The photo of an image is not there."""
    return _damage(rng, draft, "missing-photo", "delete", None)


def truncated_photo(rng: np.random.Generator, draft: Draft) -> bool:
    """The photo of an image breaks off in the middle."""
    return _damage(rng, draft, "truncated-photo", "truncate", 0.55)


def _damage(rng: np.random.Generator, draft: Draft, name: str, action: str, value: float | None) -> bool:
    image = pick(rng, draft.free_images())
    if image is None:
        return False
    draft.photos.append((image["file_name"], action, value))
    draft.note(_DEFECT, name, [image], block="images", photos=True)
    return True


def repeated_file_name(rng: np.random.Generator, draft: Draft) -> bool:
    """A photo has the base name, in capitals, of one in another folder."""
    free = draft.free_images()
    image = pick(rng, free)
    other = pick(rng, [i for i in free if image is not None and _folder(i) != _folder(image)])
    if image is None or other is None:
        return False
    was, stem = image["file_name"], other["file_name"].rsplit("/", 1)[1].rsplit(".", 1)[0]
    image["file_name"] = f"{_folder(image)}/{stem}.JPG"
    draft.photos.append((was, "rename", image["file_name"]))
    draft.note(_DEFECT, "repeated-file-name", [other, image], block="images", detail={"was": was})
    return True


def duplicate_photo(rng: np.random.Generator, draft: Draft) -> bool:
    """A photo stands in the set twice, byte for byte, with its annotations."""
    image = pick(rng, draft.free_images())
    if image is None:
        return False
    added = _import_again(draft, image, draft.of_image(image))
    detail = {"copy_of": image["file_name"]}
    draft.note(_DEFECT, "duplicate-photo", [image, added], block="images", detail=detail, photos=True)
    return True


def leak(draft: Draft, test_image: Record, annotations: list[Record]) -> None:
    """A test photo, annotated, lies among the training photos."""
    added = _import_again(draft, test_image, annotations)
    detail = {"test_file_name": test_image["file_name"], "test_image_id": test_image["id"]}
    draft.note(_DEFECT, "test-leak", [added], block="images", detail=detail, photos=True)


def _folder(image: Record) -> str:
    return str(image["file_name"]).rsplit("/", 1)[0]


def _import_again(draft: Draft, image: Record, annotations: list[Record]) -> Record:
    folder, base = image["file_name"].rsplit("/", 1)
    added = {**image, "id": draft.next_id("images"), "file_name": f"{folder}/{base.rsplit('.', 1)[0]}_copy.jpg"}
    draft.images.append(added)
    for annotation in annotations:
        fresh = copy.deepcopy(annotation)
        fresh["id"], fresh["image_id"] = draft.next_id("annotations"), added["id"]
        draft.annotations.append(fresh)
        draft.busy.add(id(fresh))
    draft.photos.append((image["file_name"], "copy", added["file_name"]))
    return added


LABEL_NOISE: tuple[tuple[Callable[[np.random.Generator, Draft], bool], float], ...] = (
    (class_swap, 0.34),
    (dropped_object, 0.22),
    (shifted, 0.14),
    (coarse_outline, 0.14),
    (merged, 0.08),
    (spurious, 0.08),
)
PHOTO_DEFECTS = (missing_photo, truncated_photo, repeated_file_name, duplicate_photo)
