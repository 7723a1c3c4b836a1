"""A part of a data set: images by the number and the form of their annotations, all relabelled if wanted."""

from __future__ import annotations

from typing import Any

from trashkit.coco.classes import normalized_name
from trashkit.coco.dataset import Coco
from trashkit.coco.strict import Annotation, read_dataset
from trashkit.errors import TrashkitError

BOX_POINTS = 5
"""Points of a ring that is a box: four corners, and the first one again in a closed ring."""


def select(
    coco: Coco, *, most: int | None = None, least: int = 1, outlined: bool = False, relabel_to: str | None = None
) -> Coco:
    """Return a file with some of the images, and their annotations.

    most, least: number of annotations of an image. outlined: leave out images with an annotation that is a mere box,
    that is, a polygon with a ring of at most `BOX_POINTS` points; masks (RLE) count as outlined. relabel_to: name of
    the category that all annotations get; it is added where the file has none of this name. Everything else stays as
    it is. Raises TrashkitError for a file that `read_dataset` refuses, and where no image is left.
    """
    dataset = read_dataset(coco, classes="own")
    rows = [
        image.row
        for image in dataset.images
        if least <= (count := len(found := dataset.annotations_of(image.row)))
        and (most is None or count <= most)
        and not (outlined and any(map(is_box, found)))
    ]
    if not rows:
        raise TrashkitError(
            f"none of the {len(dataset)} images of {coco.path} is selected", hint="select by fewer conditions"
        )
    kept = coco.subset(rows)
    return kept if relabel_to is None else _relabelled(kept, relabel_to)


def is_box(annotation: Annotation) -> bool:
    """Whether a ring of a polygon has at most `BOX_POINTS` points."""
    shape = annotation.segmentation
    return isinstance(shape, list) and any(len(ring) <= 2 * BOX_POINTS for ring in shape)


def _relabelled(coco: Coco, name: str) -> Coco:
    categories: list[dict[str, Any]] = coco.records("categories")
    same = (one["id"] for one in categories if normalized_name(one["name"]) == normalized_name(name))
    category = next(same, None)
    if category is None:
        category = max((one["id"] for one in categories if isinstance(one["id"], int)), default=0) + 1
        coco = coco.replace("categories", append=[{"id": category, "name": name, "supercategory": name}])
    records = coco.records("annotations")
    changed = {n: {**one, "category_id": category} for n, one in enumerate(records) if one["category_id"] != category}
    return coco.replace("annotations", changed)
