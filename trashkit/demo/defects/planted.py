"""Plant structural and geometric errors, one function per type, to measure the audit with.

Each function takes a generator and a `NoisyDataset`, plants one error on records without errors, and returns whether it
found a suitable record. All of these errors can be found from the file or the photos alone; wrong labels are in
`mislabel.py`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import shapely
import shapely.affinity

from trashkit.demo.defects.noisy_dataset import NoisyDataset, Record, pick, reshape, shape

Plant = Callable[[np.random.Generator, NoisyDataset], bool]
_DEFECT = "defect"


def _large(noisy: NoisyDataset) -> float:
    return noisy.side * noisy.side / 160


def duplicate_annotation_id(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """Two annotations of different images have the same id."""
    free = noisy.free_annotations()
    first = pick(rng, free)
    second = pick(rng, [a for a in free if first is not None and a["image_id"] != first["image_id"]])
    if first is None or second is None:
        return False
    was, second["id"] = second["id"], first["id"]
    noisy.note(_DEFECT, "duplicate-annotation-id", [first, second], detail={"was": was})
    return True


def dangling_image(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An annotation refers to an image that does not exist."""
    return _on_one(rng, noisy, "dangling-image", lambda a: _set(a, "image_id", 10_000_000 + a["id"]))


def dangling_category(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An annotation refers to a category that does not exist."""
    return _on_one(rng, noisy, "dangling-category", lambda a: _set(a, "category_id", 99))


def wrong_area(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The area field is far from the polygon's area."""
    factor = float(rng.choice([0.4, 0.6, 1.5, 2.5]))
    return _on_one(rng, noisy, "wrong-area", lambda a: _set(a, "area", round(a["area"] * factor, 2)))


def null_area(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The area field is null."""
    return _on_one(rng, noisy, "null-area", lambda a: _set(a, "area", None))


def nan_area(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The area field is NaN, which is not valid JSON."""
    return _on_one(rng, noisy, "nan-area", lambda a: _set(a, "area", float("nan")))


def wrong_bbox(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The box does not match its polygon by some pixels."""
    by = float(rng.integers(4, 12))
    return _on_one(
        rng,
        noisy,
        "wrong-bbox",
        lambda a: _set(a, "bbox", [a["bbox"][0], a["bbox"][1], a["bbox"][2] + by, a["bbox"][3] + by]),
    )


def empty_segmentation(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The segmentation is an empty list; the box is kept."""
    return _on_one(rng, noisy, "empty-segmentation", lambda a: _set(a, "segmentation", []))


def odd_coordinates(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """A ring lacks its last y coordinate."""
    return _on_one(
        rng,
        noisy,
        "odd-coordinates",
        lambda a: _set(a, "segmentation", [a["segmentation"][0][:-1], *a["segmentation"][1:]]),
    )


def too_few_points(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An additional ring has two points."""
    return _on_one(
        rng, noisy, "too-few-points", lambda a: _set(a, "segmentation", [*a["segmentation"], a["segmentation"][0][:4]])
    )


def repeated_vertices(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """A vertex is repeated three times."""
    return _on_one(
        rng,
        noisy,
        "repeated-vertices",
        lambda a: _set(
            a, "segmentation", [a["segmentation"][0][:2] * 2 + a["segmentation"][0], *a["segmentation"][1:]]
        ),
    )


def _set(annotation: Record, key: str, value: object) -> Record:
    annotation[key] = value
    return {"field": key}


def _on_one(rng: np.random.Generator, noisy: NoisyDataset, name: str, change: Callable[[Record], Record]) -> bool:
    annotation = pick(rng, noisy.free_annotations())
    if annotation is None:
        return False
    image = [i for i in noisy.images if i["id"] == annotation["image_id"]]
    noisy.note(_DEFECT, name, [annotation], detail=change(annotation), images=image)
    return True


def self_intersecting_ring(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """Two vertices are swapped, so that the ring crosses itself."""
    for _ in range(20):
        annotation = pick(rng, noisy.free_annotations(_large(noisy)))
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
        noisy.note(_DEFECT, "self-intersecting-ring", [annotation], detail={"vertices": [a, b]})
        return True
    return False


def out_of_bounds(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An outline extends some pixels beyond the image border."""
    side = noisy.side
    at_edge = [
        a for a in noisy.free_annotations() if a["bbox"][0] + a["bbox"][2] >= side and len(a["segmentation"]) == 1
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
    noisy.note(_DEFECT, "out-of-bounds", [annotation], detail={"pixels": by})
    return True


def ring_outside(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An additional ring lies entirely outside the image."""
    annotation = pick(rng, noisy.free_annotations())
    if annotation is None:
        return False
    x, y, r = noisy.side + 8.0, float(rng.integers(5, noisy.side // 2)), 10.0
    reshape(annotation, [*annotation["segmentation"], [x, y, x + r, y, x + r, y + r, x, y + r]])
    noisy.note(_DEFECT, "ring-outside", [annotation], detail={"ring": len(annotation["segmentation"]) - 1})
    return True


def zero_area(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An additional annotation has collinear points."""
    image = pick(rng, [i for i in noisy.images if id(i) not in noisy.busy])
    if image is None:
        return False
    x, y = (float(v) for v in rng.integers(4, noisy.side - 24, 2))
    added = {
        "id": noisy.next_id("annotations"),
        "image_id": image["id"],
        "category_id": int(rng.integers(1, 11)),
        "segmentation": [[x, y, x + 8, y + 8, x + 16, y + 16]],
        "area": 0.0,
        "bbox": [x, y, 16.0, 16.0],
        "iscrowd": 0,
    }
    noisy.annotations.append(added)
    noisy.note(_DEFECT, "zero-area", [added])
    return True


def overlapping_parts(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An additional ring of an annotation overlaps the first one by half."""
    annotation = pick(rng, [a for a in noisy.free_annotations(_large(noisy)) if len(a["segmentation"]) == 1])
    if annotation is None:
        return False
    w, h = annotation["bbox"][2:]
    points = np.reshape(annotation["segmentation"][0], (-1, 2))
    # A box around the vertex farthest inside the image: half inside the object, half outside.
    x, y = points[np.argmin(np.abs(points - noisy.side / 2).max(axis=1))]
    x0, x1 = max(0.0, x - w / 6), min(float(noisy.side), x + w / 6)
    y0, y1 = max(0.0, y - h / 6), min(float(noisy.side), y + h / 6)
    ring = [round(v, 1) for v in (x0, y0, x1, y0, x1, y1, x0, y1)]
    common = shape(annotation).intersection(shapely.Polygon(np.reshape(ring, (-1, 2)))).area
    if not 2 < common < 0.9 * (x1 - x0) * (y1 - y0):
        return False
    reshape(annotation, [*annotation["segmentation"], ring])
    noisy.note(_DEFECT, "overlapping-parts", [annotation], detail={"ring": 1})
    return True


def exact_duplicate(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An annotation occurs twice, with different ids."""
    return _twice(rng, noisy, "exact-duplicate", 0.0)


def near_duplicate(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An object is annotated twice with slightly different outlines."""
    return _twice(rng, noisy, "near-duplicate", noisy.side / 400)


def _twice(rng: np.random.Generator, noisy: NoisyDataset, name: str, move: float) -> bool:
    annotation = pick(rng, noisy.free_annotations(_large(noisy)))
    if annotation is None:
        return False
    added = copy.deepcopy(annotation)
    added["id"] = noisy.next_id("annotations")
    if move:
        dx, dy = rng.uniform(-move, move, 2)
        grown = shapely.affinity.translate(shape(annotation), dx, dy).intersection(
            shapely.box(0, 0, noisy.side, noisy.side)
        )
        parts = [p for p in getattr(grown, "geoms", [grown]) if p.geom_type == "Polygon"]
        reshape(added, [np.round(np.asarray(p.exterior.coords)[:-1], 1).ravel().tolist() for p in parts])
    noisy.annotations.append(added)
    noisy.note(_DEFECT, name, [annotation, added])
    return True


def box_as_mask(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """The segmentation is the bounding box."""
    round_ones = [a for a in noisy.free_annotations(_large(noisy)) if a["area"] < 0.75 * a["bbox"][2] * a["bbox"][3]]
    annotation = pick(rng, round_ones)
    if annotation is None:
        return False
    x, y, w, h = annotation["bbox"]
    reshape(annotation, [[x, y, x + w, y, x + w, y + h, x, y + h]])
    noisy.note(_DEFECT, "box-as-mask", [annotation])
    return True


def other_scale(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """All annotations of an image are scaled by two."""
    image = pick(rng, [i for i in noisy.free_images() if _reaches(noisy, i)])
    if image is None:
        return False
    annotations = noisy.of_image(image)
    for annotation in annotations:
        annotation["segmentation"] = [[2 * v for v in ring] for ring in annotation["segmentation"]]
        annotation["bbox"] = [2 * v for v in annotation["bbox"]]
        annotation["area"] = 4 * annotation["area"]
    noisy.busy.add(id(image))
    noisy.note(_DEFECT, "other-scale", annotations, detail={"scale": 2.0}, images=[image])
    return True


def _reaches(noisy: NoisyDataset, image: Record) -> bool:
    """Whether the image has several objects and some reach far enough to leave the image when scaled by two."""
    boxes = [a["bbox"] for a in noisy.of_image(image)]
    return len(boxes) >= 3 and max(max(b[0] + b[2], b[1] + b[3]) for b in boxes) > 0.7 * noisy.side


def swapped_axes(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """All polygons of an image have x and y swapped; the boxes do not."""
    image = pick(rng, [i for i in noisy.free_images() if len(noisy.of_image(i)) >= 3])
    if image is None:
        return False
    annotations = noisy.of_image(image)
    for annotation in annotations:
        annotation["segmentation"] = [
            np.reshape(ring, (-1, 2))[:, ::-1].ravel().tolist() for ring in annotation["segmentation"]
        ]
    noisy.busy.add(id(image))
    noisy.note(_DEFECT, "swapped-axes", annotations, images=[image])
    return True


def dangling_license(rng: np.random.Generator, noisy: NoisyDataset) -> bool:
    """An image refers to a licence that does not exist."""
    image = pick(rng, noisy.free_images())
    if image is None:
        return False
    image["license"] = 9
    noisy.note(_DEFECT, "dangling-license", [image], block="images", detail={"field": "license"})
    return True


def unused_category(rng: np.random.Generator, noisy: NoisyDataset) -> bool:  # noqa: ARG001
    """A category has no annotations."""
    if any(c["id"] == 11 for c in noisy.categories):
        return False
    added = {"id": 11, "name": "UNKNOWN", "supercategory": "UNKNOWN"}
    noisy.categories.append(added)
    noisy.note(_DEFECT, "unused-category", [added], block="categories")
    return True


# Planted at every noise level except "none", in this order: errors of whole images first, as they need clean images.
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
# Only at noise level "heavy": NaN makes the JSON non-strict, and an unused category changes the number of classes.
HEAVY_DEFECTS: tuple[Plant, ...] = (nan_area, unused_category)
