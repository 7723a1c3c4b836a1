"""Errors planted on purpose: one function per type, each written down, so that an audit can be measured.

Every function takes a generator and a draft, plants one error on records that carry none yet and returns whether it
found a place. All of them can be found from the file (or, where noted, the photos) alone; wrong labels are in
`mislabel.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import shapely
import shapely.affinity

from trashkit.demo.draft import Draft, Record, pick, reshape, shape

Plant = Callable[[np.random.Generator, Draft], bool]
_DEFECT = "defect"


def _large(draft: Draft) -> float:
    return draft.side * draft.side / 160


def duplicate_annotation_id(rng: np.random.Generator, draft: Draft) -> bool:
    """A second annotation, of another image, carries an id that is in use."""
    free = draft.free_annotations()
    first = pick(rng, free)
    second = pick(rng, [a for a in free if first is not None and a["image_id"] != first["image_id"]])
    if first is None or second is None:
        return False
    was, second["id"] = second["id"], first["id"]
    draft.note(_DEFECT, "duplicate-annotation-id", [first, second], detail={"was": was})
    return True


def dangling_image(rng: np.random.Generator, draft: Draft) -> bool:
    """An annotation names an image that is not there."""
    return _on_one(rng, draft, "dangling-image", lambda a: _set(a, "image_id", 10_000_000 + a["id"]))


def dangling_category(rng: np.random.Generator, draft: Draft) -> bool:
    """An annotation names a category that is not there."""
    return _on_one(rng, draft, "dangling-category", lambda a: _set(a, "category_id", 99))


def wrong_area(rng: np.random.Generator, draft: Draft) -> bool:
    """The area field is far from the polygon's area."""
    factor = float(rng.choice([0.4, 0.6, 1.5, 2.5]))
    return _on_one(rng, draft, "wrong-area", lambda a: _set(a, "area", round(a["area"] * factor, 2)))


def null_area(rng: np.random.Generator, draft: Draft) -> bool:
    """The area field is null."""
    return _on_one(rng, draft, "null-area", lambda a: _set(a, "area", None))


def nan_area(rng: np.random.Generator, draft: Draft) -> bool:
    """The area field is NaN, which JSON does not have."""
    return _on_one(rng, draft, "nan-area", lambda a: _set(a, "area", float("nan")))


def wrong_bbox(rng: np.random.Generator, draft: Draft) -> bool:
    """The box is some pixels off its polygon."""
    by = float(rng.integers(4, 12))
    return _on_one(
        rng,
        draft,
        "wrong-bbox",
        lambda a: _set(a, "bbox", [a["bbox"][0], a["bbox"][1], a["bbox"][2] + by, a["bbox"][3] + by]),
    )


def empty_segmentation(rng: np.random.Generator, draft: Draft) -> bool:
    """The segmentation is an empty list; the box remains."""
    return _on_one(rng, draft, "empty-segmentation", lambda a: _set(a, "segmentation", []))


def odd_coordinates(rng: np.random.Generator, draft: Draft) -> bool:
    """A ring has lost its last y."""
    return _on_one(
        rng,
        draft,
        "odd-coordinates",
        lambda a: _set(a, "segmentation", [a["segmentation"][0][:-1], *a["segmentation"][1:]]),
    )


def too_few_points(rng: np.random.Generator, draft: Draft) -> bool:
    """A further ring of two points."""
    return _on_one(
        rng, draft, "too-few-points", lambda a: _set(a, "segmentation", [*a["segmentation"], a["segmentation"][0][:4]])
    )


def repeated_vertices(rng: np.random.Generator, draft: Draft) -> bool:
    """A vertex stands three times in a row."""
    return _on_one(
        rng,
        draft,
        "repeated-vertices",
        lambda a: _set(
            a, "segmentation", [a["segmentation"][0][:2] * 2 + a["segmentation"][0], *a["segmentation"][1:]]
        ),
    )


def _set(annotation: Record, key: str, value: object) -> Record:
    annotation[key] = value
    return {"field": key}


def _on_one(rng: np.random.Generator, draft: Draft, name: str, change: Callable[[Record], Record]) -> bool:
    annotation = pick(rng, draft.free_annotations())
    if annotation is None:
        return False
    image = [i for i in draft.images if i["id"] == annotation["image_id"]]
    draft.note(_DEFECT, name, [annotation], detail=change(annotation), images=image)
    return True


def self_intersecting_ring(rng: np.random.Generator, draft: Draft) -> bool:
    """Two vertices have changed places, so that the ring crosses itself."""
    for _ in range(20):
        annotation = pick(rng, draft.free_annotations(_large(draft)))
        if annotation is None:
            return False
        points = np.reshape(annotation["segmentation"][0], (-1, 2)).copy()
        if len(points) < 6:
            continue
        a = int(rng.integers(len(points)))
        b = (a + int(rng.integers(2, len(points) - 2))) % len(points)
        points[[a, b]] = points[[b, a]]
        if shapely.Polygon(points).is_valid:
            continue
        annotation["segmentation"] = [points.ravel().tolist(), *annotation["segmentation"][1:]]
        draft.note(_DEFECT, "self-intersecting-ring", [annotation], detail={"vertices": [a, b]})
        return True
    return False


def out_of_bounds(rng: np.random.Generator, draft: Draft) -> bool:
    """An object at the border is drawn some pixels beyond it."""
    side = draft.side
    at_edge = [
        a for a in draft.free_annotations() if a["bbox"][0] + a["bbox"][2] >= side and len(a["segmentation"]) == 1
    ]
    annotation = pick(rng, at_edge)
    if annotation is None:
        return False
    by = int(rng.integers(2, 7))
    points = np.reshape(annotation["segmentation"][0], (-1, 2)).copy()
    points[points[:, 0] >= side, 0] += by
    if not shapely.Polygon(points).is_valid:
        return False
    reshape(annotation, [points.ravel().tolist()])
    draft.note(_DEFECT, "out-of-bounds", [annotation], detail={"pixels": by})
    return True


def ring_outside(rng: np.random.Generator, draft: Draft) -> bool:
    """A further ring lies wholly outside the image."""
    annotation = pick(rng, draft.free_annotations())
    if annotation is None:
        return False
    x, y, r = draft.side + 8.0, float(rng.integers(5, draft.side // 2)), 10.0
    reshape(annotation, [*annotation["segmentation"], [x, y, x + r, y, x + r, y + r, x, y + r]])
    draft.note(_DEFECT, "ring-outside", [annotation], detail={"ring": len(annotation["segmentation"]) - 1})
    return True


def zero_area(rng: np.random.Generator, draft: Draft) -> bool:
    """A further annotation whose points lie on one line."""
    image = pick(rng, [i for i in draft.images if id(i) not in draft.busy])
    if image is None:
        return False
    x, y = (float(v) for v in rng.integers(4, draft.side - 24, 2))
    added = {
        "id": draft.next_id("annotations"),
        "image_id": image["id"],
        "category_id": int(rng.integers(1, 11)),
        "segmentation": [[x, y, x + 8, y + 8, x + 16, y + 16]],
        "area": 0.0,
        "bbox": [x, y, 16.0, 16.0],
        "iscrowd": 0,
    }
    draft.annotations.append(added)
    draft.note(_DEFECT, "zero-area", [added])
    return True


def overlapping_parts(rng: np.random.Generator, draft: Draft) -> bool:
    """A further ring of the same annotation overlaps the first by half."""
    annotation = pick(rng, [a for a in draft.free_annotations(_large(draft)) if len(a["segmentation"]) == 1])
    if annotation is None:
        return False
    w, h = annotation["bbox"][2:]
    points = np.reshape(annotation["segmentation"][0], (-1, 2))
    # A box round the corner that lies farthest inside the picture: half in the object, half beside it.
    x, y = points[np.argmin(np.abs(points - draft.side / 2).max(axis=1))]
    x0, x1 = max(0.0, x - w / 6), min(float(draft.side), x + w / 6)
    y0, y1 = max(0.0, y - h / 6), min(float(draft.side), y + h / 6)
    ring = [round(v, 1) for v in (x0, y0, x1, y0, x1, y1, x0, y1)]
    common = shape(annotation).intersection(shapely.Polygon(np.reshape(ring, (-1, 2)))).area
    if not 2 < common < 0.9 * (x1 - x0) * (y1 - y0):
        return False
    reshape(annotation, [*annotation["segmentation"], ring])
    draft.note(_DEFECT, "overlapping-parts", [annotation], detail={"ring": 1})
    return True


def exact_duplicate(rng: np.random.Generator, draft: Draft) -> bool:
    """An annotation stands twice, under two ids."""
    return _twice(rng, draft, "exact-duplicate", 0.0)


def near_duplicate(rng: np.random.Generator, draft: Draft) -> bool:
    """An object is annotated twice with slightly different outlines."""
    return _twice(rng, draft, "near-duplicate", draft.side / 400)


def _twice(rng: np.random.Generator, draft: Draft, name: str, move: float) -> bool:
    annotation = pick(rng, draft.free_annotations(_large(draft)))
    if annotation is None:
        return False
    added = copy.deepcopy(annotation)
    added["id"] = draft.next_id("annotations")
    if move:
        dx, dy = rng.uniform(-move, move, 2)
        grown = shapely.affinity.translate(shape(annotation), dx, dy).intersection(
            shapely.box(0, 0, draft.side, draft.side)
        )
        parts = [p for p in getattr(grown, "geoms", [grown]) if p.geom_type == "Polygon"]
        reshape(added, [np.round(np.asarray(p.exterior.coords)[:-1], 1).ravel().tolist() for p in parts])
    draft.annotations.append(added)
    draft.note(_DEFECT, name, [annotation, added])
    return True


def box_as_mask(rng: np.random.Generator, draft: Draft) -> bool:
    """The segmentation is only the box."""
    round_ones = [a for a in draft.free_annotations(_large(draft)) if a["area"] < 0.75 * a["bbox"][2] * a["bbox"][3]]
    annotation = pick(rng, round_ones)
    if annotation is None:
        return False
    x, y, w, h = annotation["bbox"]
    reshape(annotation, [[x, y, x + w, y, x + w, y + h, x, y + h]])
    draft.note(_DEFECT, "box-as-mask", [annotation])
    return True


def other_scale(rng: np.random.Generator, draft: Draft) -> bool:
    """All annotations of an image are drawn at twice its size."""
    image = pick(rng, [i for i in draft.free_images() if _reaches(draft, i)])
    if image is None:
        return False
    annotations = draft.of_image(image)
    for annotation in annotations:
        annotation["segmentation"] = [[2 * v for v in ring] for ring in annotation["segmentation"]]
        annotation["bbox"] = [2 * v for v in annotation["bbox"]]
        annotation["area"] = 4 * annotation["area"]
    draft.busy.add(id(image))
    draft.note(_DEFECT, "other-scale", annotations, detail={"scale": 2.0}, images=[image])
    return True


def _reaches(draft: Draft, image: Record) -> bool:
    """Several objects, some in the far half: else twice the size stays inside and nothing tells."""
    boxes = [a["bbox"] for a in draft.of_image(image)]
    return len(boxes) >= 3 and max(max(b[0] + b[2], b[1] + b[3]) for b in boxes) > 0.7 * draft.side


def swapped_axes(rng: np.random.Generator, draft: Draft) -> bool:
    """All polygons of an image have x and y exchanged; the boxes were not, which tells."""
    image = pick(rng, [i for i in draft.free_images() if len(draft.of_image(i)) >= 3])
    if image is None:
        return False
    annotations = draft.of_image(image)
    for annotation in annotations:
        annotation["segmentation"] = [
            np.reshape(ring, (-1, 2))[:, ::-1].ravel().tolist() for ring in annotation["segmentation"]
        ]
    draft.busy.add(id(image))
    draft.note(_DEFECT, "swapped-axes", annotations, images=[image])
    return True


def dangling_license(rng: np.random.Generator, draft: Draft) -> bool:
    """An image names a licence that is not there."""
    image = pick(rng, draft.free_images())
    if image is None:
        return False
    image["license"] = 9
    draft.note(_DEFECT, "dangling-license", [image], block="images", detail={"field": "license"})
    return True


def unused_category(rng: np.random.Generator, draft: Draft) -> bool:  # noqa: ARG001
    """A category that no annotation has."""
    if any(c["id"] == 11 for c in draft.categories):
        return False
    added = {"id": 11, "name": "UNKNOWN", "supercategory": "UNKNOWN"}
    draft.categories.append(added)
    draft.note(_DEFECT, "unused-category", [added], block="categories")
    return True


# Planted at every level of noise but "none", in this order; images first, since they need untouched ones.
DEFECTS: tuple[Plant, ...] = (
    other_scale,
    swapped_axes,
    dangling_license,
    duplicate_annotation_id,
    dangling_image,
    dangling_category,
    self_intersecting_ring,
    out_of_bounds,
    ring_outside,
    wrong_area,
    null_area,
    wrong_bbox,
    empty_segmentation,
    odd_coordinates,
    too_few_points,
    repeated_vertices,
    zero_area,
    overlapping_parts,
    exact_duplicate,
    near_duplicate,
    box_as_mask,
)
# Only with noise "heavy": a NaN makes the file non-strict JSON, a stray category changes the number of classes.
HEAVY_DEFECTS: tuple[Plant, ...] = (nan_area, unused_category)
