"""Convert a submission to COCO annotations, and COCO annotations to a submission."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image, Segmentation, write
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.names import ByName
from trashkit.predictions.reading import at_size, check_image_sizes, images_by_name, open_predictions
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder, pixel_area, polygons_from_label_map
from trashkit.raster.measures import bounding_box
from trashkit.submit.check import count_values, layout_for
from trashkit.submit.labels import open_submission, write_submission
from trashkit.submit.profiles import SubmissionProfile, fit_profile, profile_of_layout


@dataclass(frozen=True, slots=True)
class Exported:
    """Result of `to_coco`. lossy: images smaller than the submission, which cannot give all its pixels back."""

    path: Path
    images: int
    annotations: int
    lossy: tuple[str, ...]


def to_coco(
    path: Path,
    dataset: Dataset,
    out: Path,
    *,
    layout: CsvLayout | None = None,
    profile: SubmissionProfile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Exported:
    """Write a submission as COCO annotations of `dataset`'s images, at their native size.

    One annotation per connected component and class: a polygon, or an RLE where it has holes, so that nothing is lost.
    `from_coco` gives back the same submission for images of at least its size (others are listed in the result).
    Images and everything else are copied from the data's file, except its annotations; missing categories are added.
    profile: another format than the competition's CSV.
    """
    layout = layout or layout_for(dataset)
    profile = fit_profile(profile or profile_of_layout(layout), dataset)
    if profile.kind == "csv":
        layout = profile.layout(dataset)
    found: dict[int, list[tuple[int, Segmentation]]] = {}
    check_image_sizes(dataset)
    with open_submission(path, layout, profile, dataset) as labels:
        names = ByName((name, None) for name in labels.names)
        by_name = {name: image for name, image in images_by_name(dataset).items() if name in names}
        require_all(tuple(image.row for image in by_name.values()), dataset, path)
        for done, (name, image) in enumerate(by_name.items()):
            label_map = at_size(labels.read(name), (image.height, image.width))
            present = np.flatnonzero(count_values(label_map))
            found[image.row] = [
                (int(index), segmentation)
                for index in present[present > 0]
                for segmentation in polygons_from_label_map(label_map, int(index))
            ]
            progress("tracing regions", done + 1, len(dataset))
    used = {index for regions in found.values() for index, _ in regions}
    category_ids, added = _categories(dataset, used)
    annotations: list[dict[str, Any]] = []
    for image in dataset.images:
        for index, segmentation in found[image.row]:
            shape = _shape(segmentation, image.height, image.width)
            record = {"id": len(annotations) + 1, "image_id": image.id, "category_id": category_ids[index]}
            annotations.append({**record, "segmentation": segmentation, **shape, "iscrowd": 0})
    old = dict.fromkeys(range(dataset.coco.count("annotations")))
    coco = dataset.coco.replace("annotations", old, annotations).replace("categories", append=added)
    write(coco, out, overwrite=overwrite)
    height, width = profile.size or (0, 0)
    lossy = [image.file_name for image in dataset.images if image.height < height or image.width < width]
    return Exported(out, len(dataset), len(annotations), tuple(lossy))


def _shape(segmentation: Segmentation, height: int, width: int) -> dict[str, Any]:
    """`area` in pixels and `bbox` (x, y, width, height) of a segmentation that covers something."""
    return {"area": pixel_area(segmentation, height, width), "bbox": bounding_box(segmentation)}


def _categories(dataset: Dataset, used: set[int]) -> tuple[dict[int, Any], list[dict[str, Any]]]:
    """Category id of each class index, and the categories to add for used classes that have none."""
    ids: dict[int, Any] = {}
    for category_id, index in dataset.classes.index_of.items():
        ids.setdefault(index, category_id)
    taken = set(dataset.classes.index_of)
    added: list[dict[str, Any]] = []
    for index in sorted(used - set(ids)):
        new = index
        while new in taken:
            new += 1
        taken.add(new)
        ids[index] = new
        name = dataset.classes.names[index]
        added.append({"id": new, "name": name, "supercategory": name})
    return ids, added


def from_coco(
    path: Path,
    dataset: Dataset,
    out: Path,
    *,
    layout: CsvLayout | None = None,
    order: PaintOrder = "area",
    classes: str | Path | None = None,
    profile: SubmissionProfile | None = None,
    overwrite: bool = False,
    progress: Progress = silent,
) -> int:
    """Write COCO annotations (a file, or a list of results) as a submission for `dataset`; return the number of rows.

    Rasterised at native size in `order`, then sampled at the submission's size (``cv2.INTER_NEAREST``). Images are
    joined by id and file name; one without annotations is background. A note of where it comes from is written next to
    it, see `trashkit.submit.trace`. profile: another format than the competition's CSV.
    TrashkitError for images that the file lacks.
    """
    layout = layout or layout_for(dataset)
    predictions = open_predictions(path, dataset, layout=layout, order=order, classes=classes)
    if predictions.kind != "coco":
        raise TrashkitError(f"{path} is not a COCO file", hint="give COCO annotations or results")
    require_all(predictions.images, dataset, path)
    profile = profile or profile_of_layout(layout)
    images = dataset.image_by_row

    def rows() -> Iterator[tuple[Image, NDArray[np.uint8]]]:
        for done, (row, label_map) in enumerate(predictions.label_maps(profile.size)):
            yield images[row], label_map
            progress("rasterising", done + 1, len(dataset))

    origin = {"made_by": "submit from-coco", "annotations": str(path.absolute()), "annotations_sha256": sha256(path)}
    return write_submission(rows(), dataset, out, profile, overwrite=overwrite, order=order, **origin)


def require_all(images: tuple[int, ...], dataset: Dataset, path: Path) -> None:
    """TrashkitError, naming the first, unless all images of the data are there."""
    present = set(images)
    lacking = [image.file_name for image in dataset.images if image.row not in present]
    if lacking:
        raise TrashkitError(
            f"{path} lacks {len(lacking)} of {len(dataset)} images, first {lacking[0]}",
            hint=f"give predictions for all images of {dataset.coco.path or 'the data'}",
        )
