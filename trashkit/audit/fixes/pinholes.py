"""Fill pin-holes in and between annotations: a deliberate edit of the ground truth, with counts before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from trashkit.audit.fixes.fix_run import FixRun
from trashkit.audit.fixes.repair import unite_rings
from trashkit.audit.fixes.specks import small_holes
from trashkit.coco.dataset import Coco, is_valid_id
from trashkit.coco.segmentation import check_segmentation
from trashkit.coco.strict import Annotation, Dataset, Segmentation, read_dataset
from trashkit.edits.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.finding import RowFinding, Severity
from trashkit.progress import Progress, silent
from trashkit.raster.masks import dataset_label_map, despeckle, mask, polygons_from_label_map, rle_from_mask

Bools = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]
COUNTS = ("pixels_before", "pixels_after", "parts_before", "parts_after", "holes_before", "holes_after")


@dataclass(frozen=True)
class FilledPinholes:
    """Edits that fill pin-holes, and by class name the counts COUNTS over the label maps of all images.

    parts: 8-connected regions of the class. holes: 4-connected regions of anything else that a part encloses.
    skipped: descriptions of what was not changed and why: images with an annotation that cannot be rasterised, and
    annotations without an image.
    """

    edits: list[Edit]
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()


def fill_pinholes(
    coco: Coco,
    *,
    despeckle: int | None = None,
    fill_holes: int = 0,
    classes: str | None = None,
    progress: Progress = silent,
) -> FilledPinholes:
    """Edits that fill tiny holes of the ground truth, at the images' native size.

    despeckle: 3 or 5 fills background between annotations as `trashkit.raster.masks.despeckle` does; each pixel goes
    to an adjacent annotation of its class. fill_holes: fill holes of up to this many pixels inside one annotation.
    Polygons are united with the filled pixels and keep their other vertices; if the result would not rasterise to
    exactly these pixels, it becomes an RLE. Area and box are updated. Outer outlines never change, and nothing is
    removed. Images with an annotation that cannot be rasterised are skipped and listed.
    Raises TrashkitError for other filter sizes, and as `read_dataset` does for images and categories.
    """
    if despeckle not in (None, 3, 5):
        raise TrashkitError(
            f"--despeckle takes 3 or 5, not {despeckle}", hint="3 fills single pixels, 5 fills specks of up to 3x3"
        )
    dataset, skipped = _without_broken_images(coco, classes)
    run = FixRun(coco)
    counts = np.zeros((len(dataset.classes), len(COUNTS)), np.int64)
    for done, image in enumerate(dataset.images):
        progress("filling pin-holes", done, len(dataset.images))
        before = dataset_label_map(dataset, image.row)
        counts[:, 0::2] += _counts(before, len(dataset.classes))
        shapes = {annotation.row: annotation for annotation in dataset.annotations_of(image.row)}
        if fill_holes > 0:
            _fill_inside(run, shapes, before.shape, fill_holes)
        if despeckle is not None:
            labels = _painted(run, dataset, image.row, before)
            _fill_between(run, shapes, labels, 3 if despeckle == 3 else 5)
        counts[:, 1::2] += _counts(_painted(run, dataset, image.row, before), len(dataset.classes))
    named = {
        name: dict(zip(COUNTS, map(int, row), strict=True))
        for name, row in zip(dataset.classes.names, counts, strict=True)
        if row.any() and name != "Background"
    }
    return FilledPinholes(run.rows.edits, named, skipped)


def _without_broken_images(coco: Coco, classes: str | None) -> tuple[Dataset, tuple[str, ...]]:
    """The data set without images that have a broken annotation, rows as in `coco`, and what was left out."""
    count = coco.count("annotations") if "annotations" in coco.blocks() else 0
    no_annotations = read_dataset(
        coco.replace("annotations", dict.fromkeys(range(count))) if count else coco, classes=classes
    )
    bad: dict[int, str] = {}
    images: dict[Any, str] = {}
    for row, record in enumerate(coco.records("annotations")):
        place = f"annotations[{row}]"
        if not isinstance(record, dict):
            bad[row] = f"{place} is not an object"
            continue
        image_id, category_id = record.get("image_id"), record.get("category_id")
        image = no_annotations.image_by_id.get(image_id) if is_valid_id(image_id) else None
        place += f" (id {record.get('id')!r})"
        if image is None:
            bad[row] = f"{place} has no image"
            continue
        reason = check_segmentation(record.get("segmentation"), image.height, image.width)
        if not (is_valid_id(category_id) and category_id in no_annotations.classes.index_of):
            reason = f"category_id {category_id!r} is not a category"
        if reason:
            bad[row] = ""
            images.setdefault(image.id, f"image {image.file_name}: {place}: {reason}")
    if not bad:
        return read_dataset(coco, classes=classes), ()
    kept = [row for row in range(count) if row not in bad]
    sound = read_dataset(coco.replace("annotations", dict.fromkeys(bad)), classes=classes)
    left = {image.row for image in sound.images if image.id not in images}
    annotations = tuple(replace(one, row=kept[one.row]) for one in sound.annotations if one.image_row in left)
    drawable = tuple(image for image in sound.images if image.row in left)
    skipped = (*images.values(), *filter(None, bad.values()))
    return Dataset(coco, drawable, annotations, sound.classes), skipped


def _finding(annotation: Annotation, reason: str, pixels: int) -> RowFinding:
    what = f"{pixels} pixel{'s' * (pixels != 1)} filled"
    return RowFinding(reason, reason, Severity.INFO, "annotations", annotation.row, what, annotation.id, fix="safe")


def _shape(run: FixRun, annotation: Annotation) -> Segmentation:
    segmentation: Segmentation = run.rows.record("annotations", annotation.row)["segmentation"]
    return segmentation


def _fill_inside(run: FixRun, shapes: dict[int, Annotation], size: Sequence[int], most: int) -> None:
    """Fill holes of single annotations."""
    for annotation in shapes.values():
        box, covered = _crop(_shape(run, annotation), size)
        holes = small_holes(covered, most + 1)
        if holes.any():
            _grow(run, annotation, _placed(holes, box, size), "fill-holes")


def _crop(segmentation: Segmentation, size: Sequence[int]) -> tuple[tuple[slice, slice], Bools]:
    """Where the box of a segmentation is, and its mask cropped to the box."""
    covered = mask(segmentation, size[0], size[1])
    left, top, wide, high = cv2.boundingRect(covered.view(np.uint8))
    box = slice(top, top + high), slice(left, left + wide)
    return box, covered[box]


def _placed(part: Bools, box: tuple[slice, slice], size: Sequence[int]) -> Bools:
    whole = np.zeros((size[0], size[1]), bool)
    whole[box] = part
    return whole


def _fill_between(run: FixRun, shapes: dict[int, Annotation], labels: Labels, size: Literal[3, 5]) -> None:
    """Fill background by a mode filter, as part of an adjacent annotation of the class."""
    window = _window(labels, size)
    cropped = labels[window]
    filled = despeckle(cropped, size)
    changed = filled != cropped
    gains: dict[int, Bools] = {}
    for value in np.unique(filled[changed]).tolist():
        masks = {
            row: mask(_shape(run, annotation), *labels.shape)[window]
            for row, annotation in shapes.items()
            if annotation.class_index == value
        }
        part = np.asarray(changed & (filled == value), np.uint8)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(part, connectivity=8)
        for number in range(1, count):
            left, top, wide, high = (int(v) for v in stats[number][:4])
            crop = slice(max(top - size, 0), top + high + size), slice(max(left - size, 0), left + wide + size)
            region = regions[crop] == number
            home = _neighbour(masks, crop, region, size)
            if home is not None:
                gains.setdefault(home, np.zeros(cropped.shape, bool))[crop] |= region
    for row, gained in sorted(gains.items()):
        _grow(run, shapes[row], _placed(gained, window, labels.shape), "despeckle")


def _window(labels: Labels, margin: int) -> tuple[slice, slice]:
    """The part of a label map that is not background, with a margin around it."""
    left, top, wide, high = cv2.boundingRect(np.asarray(labels != 0, np.uint8))
    return (
        slice(max(top - margin, 0), top + high + margin),
        slice(max(left - margin, 0), left + wide + margin),
    )


def _neighbour(masks: dict[int, Bools], crop: tuple[slice, slice], region: Bools, size: int) -> int | None:
    """Row of the mask that has most pixels within `size` // 2 of a region; None if no mask has any."""
    near = cv2.dilate(region.astype(np.uint8), np.ones((size, size), np.uint8)) != 0
    touching = {row: int((covered[crop] & near).sum()) for row, covered in masks.items()}
    best = max(touching, key=lambda row: touching[row], default=None)
    return best if best is not None and touching[best] else None


def _grow(run: FixRun, annotation: Annotation, gained: Bools, reason: str) -> None:
    """Add pixels to one annotation."""
    height, width = gained.shape
    old = _shape(run, annotation)
    wanted = mask(old, height, width) | gained
    new: Any = None
    if isinstance(old, list):
        squares = [ring for part in polygons_from_label_map(gained.view(np.uint8), 1) for ring in _rings(part)]
        new = unite_rings([*old, *squares])
        if not np.array_equal(mask(new, height, width), wanted):
            new = None
    if new is None:
        new = rle_from_mask(wanted)
    run.reshape(_finding(annotation, reason, int(gained.sum())), new, kind="safe")


def _rings(part: Segmentation) -> list[list[float]]:
    return part if isinstance(part, list) else []


def _painted(run: FixRun, dataset: Dataset, image_row: int, before: Labels) -> Labels:
    """The label map after the edits so far; `before` if they change no annotation of the image."""
    annotations = dataset.annotations_of(image_row)
    if not any(run.rows.is_changed("annotations", annotation.row) for annotation in annotations):
        return before
    changed = tuple(
        replace(a, segmentation=_shape(run, a), area=float(run.rows.record("annotations", a.row).get("area", a.area)))
        for a in annotations
    )
    images = (dataset.image_by_row[image_row],)
    return dataset_label_map(Dataset(dataset.coco, images, changed, dataset.classes), image_row)


def _counts(labels: Labels, classes: int) -> npt.NDArray[np.int64]:
    """Pixels, parts and holes of each class, int64 [classes, 3]."""
    counts = np.zeros((classes, 3), np.int64)
    # With a margin, everything outside the objects is one region that touches the border, and no hole.
    labels = labels[_window(labels, 1)]
    for value in np.unique(labels).tolist():
        if 0 < value < classes:
            one = np.asarray(labels == value, np.uint8)
            counts[value, 0] = int(one.sum())
            counts[value, 1] = cv2.connectedComponents(one, connectivity=8)[0] - 1
            counts[value, 2] = _holes(one)
    return counts


def _holes(one: Labels) -> int:
    """How many 4-connected regions of zeros do not touch the border."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(1 - one, connectivity=4)
    height, width = one.shape
    left, top, wide, high = (stats[1:count, n] for n in range(4))
    return int(((left > 0) & (top > 0) & (left + wide < width) & (top + high < height)).sum())
