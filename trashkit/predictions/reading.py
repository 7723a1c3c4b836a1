"""Read predictions (a store, a submission CSV or a COCO file) as label maps of the images of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, Image, read_dataset
from trashkit.errors import TrashkitError
from trashkit.names import ByName, composed
from trashkit.predictions import submission_csv
from trashkit.predictions.coco_results import dataset_of, first_character, read_results
from trashkit.predictions.header import native_out_of_range
from trashkit.predictions.store import Probabilities, is_store, open_store
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.raster.masks import PaintOrder, dataset_label_map, resize_nearest
from trashkit.runs.folder import MANIFEST, is_run
from trashkit.runs.run import read_run

Kind = Literal["store", "csv", "coco"]


def images_by_name(dataset: Dataset) -> dict[str, Image]:
    """Return images by file name, in file order; TrashkitError where two share one, which a CSV cannot tell apart.

    The forms of Unicode are one name, as everywhere that names are compared.
    """
    found: ByName[Image] = ByName()
    for image in dataset.images:
        if image.file_name in found:
            raise TrashkitError(
                f"{dataset.coco.path or 'the data'}: two images are named {image.file_name}, "
                "and a submission identifies images by name",
                hint="give each image its own file_name",
            )
        found[image.file_name] = image
    return found


def match_rows(store: Probabilities, dataset: Dataset) -> list[int]:
    """Return the row of each image of `dataset` in a store, joined by image id and file name together.

    Raises TrashkitError naming the first image that the store lacks, or has under another name.
    """
    check_image_sizes(dataset)
    found = _match(store, dataset)
    for image, row in zip(dataset.images, found, strict=True):
        if row is None:
            raise TrashkitError(
                f"{store.path} was made for other images: it lacks {image.file_name} (id {image.id}), "
                f"its first is {store.file_names[0]} (id {store.image_ids[0]})",
                hint=f"predict the images of {dataset.coco.path or 'this data'}, or give the data it was made from",
            )
    return [row for row in found if row is not None]


def _match(store: Probabilities, dataset: Dataset) -> list[int | None]:
    """As `match_rows`, None for images that the store lacks; a known id with another name is still an error."""
    by_id = {image_id: row for row, image_id in enumerate(store.image_ids)}
    rows: list[int | None] = []
    for image in dataset.images:
        row = by_id.get(image.id)
        if row is not None and composed(store.file_names[row]) != composed(image.file_name):
            raise TrashkitError(
                f"{store.path} was made for other images: id {image.id} is {store.file_names[row]} there, "
                f"and {image.file_name} in {dataset.coco.path or 'the data'}",
                hint="give the data that the store was made from",
            )
        rows.append(row)
    check_native_sizes(
        store, [(image, row) for image, row in zip(dataset.images, rows, strict=True) if row is not None]
    )
    return rows


def check_image_sizes(dataset: Dataset) -> None:
    """Raise TrashkitError, naming the first image, for sizes that no photo has: such label maps are not made."""
    sizes = np.array([(image.height, image.width) for image in dataset.images], dtype=object)
    small = np.minimum(sizes, 1 << 30).astype(np.int64).reshape(-1, 2)  # the data may hold integers of any size
    for row in native_out_of_range(small)[:1]:
        image = dataset.images[row]
        raise TrashkitError(
            f"{image.file_name} has {image.width}x{image.height} pixels in {dataset.coco.path or 'the data'}, "
            "more than photos can have",
            hint="correct the size of the image in the data",
        )


def check_native_sizes(store: Probabilities, pairs: Iterable[tuple[Image, int]]) -> None:
    """Raise TrashkitError, naming the first image, where a store was made for images of other sizes.

    pairs: images of a data set with their rows in the store.
    """
    for image, row in pairs:
        height, width = store.native_sizes[row].tolist()
        if (height, width) != (image.height, image.width):
            raise TrashkitError(
                f"{store.path} was made for {image.file_name} of {width}x{height} pixels, "
                f"in the data it has {image.width}x{image.height}",
                hint="predict this data again, or give the data that the store was made from",
            )


def class_lookup(names: Sequence[str], dataset: Dataset, source: str) -> NDArray[np.uint8]:
    """Return a table [256] uint8 from class indices of predictions with these class names to those of `dataset`.

    Data without categories takes the predictions' indices unchanged. Raises TrashkitError for a class that the data
    lacks.
    """
    lookup = np.arange(256, dtype=np.uint8)
    if not dataset.coco.count("categories") and len(names) <= len(dataset.classes):
        return lookup
    index = {name: position for position, name in enumerate(dataset.classes.names)}
    for position, name in enumerate(names):
        if name not in index:
            raise TrashkitError(
                f"{source} has the class {name!r}, which {dataset.coco.path or 'the data'} lacks "
                f"(it has {', '.join(dataset.classes.names)})",
                hint="use the same --classes for both",
            )
        lookup[position] = index[name]
    return lookup


def enlarge_nearest(label_map: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a label map at a larger (height, width) from which `resize_nearest` gives back the original.

    Each pixel takes the value whose sampling position is the last at or before it. Exact where `size` is at least the
    label map's.
    """
    if label_map.shape == tuple(size):
        return label_map
    rows, columns = (_sources(*pair) for pair in zip(size, label_map.shape, strict=True))
    return label_map[rows[:, None], columns[None, :]]


def at_size(label_map: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a label map at another (height, width): by `enlarge_nearest` if not smaller, else `resize_nearest`."""
    larger = size[0] >= label_map.shape[0] and size[1] >= label_map.shape[1]
    return enlarge_nearest(label_map, size) if larger else resize_nearest(label_map, size)


def _sources(large: int, small: int) -> NDArray[np.intp]:
    """For each of `large` positions, which of `small` values it takes."""
    line = np.arange(large, dtype=np.float32)[None, :]
    # OpenCV itself gives the sampling positions, so the inverse always agrees with it.
    sampled = cv2.resize(line, (small, 1), interpolation=cv2.INTER_NEAREST)[0]
    sources: NDArray[np.intp] = np.maximum(np.searchsorted(sampled, line[0], side="right") - 1, 0)
    return sources


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in a file, opened for the images of `dataset`.

    kind: of the file. size: (height, width) of its label maps, None where each image has its native size.
    images: rows of the images of `dataset` that the file has. extra: how many more images it has.
    """

    path: Path
    kind: Kind
    dataset: Dataset
    size: tuple[int, int] | None
    images: tuple[int, ...]
    extra: int
    _content: Any

    def label_maps(self, size: tuple[int, int] | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Yield pairs (row of the image in the data, label map uint8 [H, W]), in the file's order.

        size: (height, width), None for each image's native size. Probabilities are resampled before the
        argmax, label maps from a CSV are sampled at the nearest pixel, COCO is rasterised at native size and then
        sampled. Class indices are those of `dataset`. Raises TrashkitError for rows whose values are wrong.
        """
        if self.kind == "store":
            return self._from_store(size)
        if self.kind == "csv":
            return self._from_csv(size)
        return self._from_coco(size)

    @property
    def coco(self) -> tuple[Dataset, tuple[tuple[int, int], ...]] | None:
        """For kind "coco": the predicted data set, and pairs (row in `dataset`, row in it) of its images; else None."""
        if self.kind != "coco":
            return None
        theirs, rows, _ = self._content
        return theirs, rows

    def _wanted(self, row: int, size: tuple[int, int] | None) -> tuple[int, int]:
        image = self.dataset.image_by_row[row]
        return size or (image.height, image.width)

    def _from_store(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        store, rows = self._content
        lookup = class_lookup(store.classes, self.dataset, str(self.path))
        for row, store_row in rows:
            yield row, lookup[store.label_map(store_row, self._wanted(row, size))]

    def _from_csv(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        layout, by_name = self._content
        for line in submission_csv.read(self.path, layout):
            row = by_name.get(line.file_name)
            if row is None:
                continue
            yield row, at_size(submission_csv.require(line, self.path), self._wanted(row, size))

    def _from_coco(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        theirs, rows, order = self._content
        lookup = class_lookup(theirs.classes.names, self.dataset, str(self.path))
        for row, their_row in rows:
            yield row, lookup[dataset_label_map(theirs, their_row, order=order, size=size)]


def open_predictions(
    path: str | Path,
    dataset: Dataset,
    *,
    layout: CsvLayout | None = None,
    order: PaintOrder = "area",
    classes: str | Path | None = None,
) -> Predictions:
    """Open a store, a submission CSV, a COCO file or a list of COCO results for the images of `dataset`.

    layout: of a CSV; the competition's with the data's number of classes by default. order, classes: paint
    order and class map of a COCO file. In COCO results, the higher score lies on top.
    Raises TrashkitError if the file is missing, none of these, unfinished, or shares no image with the data.
    """
    path = Path(path)
    if not path.exists():
        raise TrashkitError(f"there is no {path}", hint="give a store, a submission CSV or a COCO file")
    check_image_sizes(dataset)
    if is_store(path) or path.is_dir():
        opened = _open_store(path, dataset)
    elif _looks_like_json(path):
        opened = _open_coco(path, dataset, order, classes)
    else:
        opened = _open_csv(path, dataset, layout or CsvLayout(classes=len(dataset.classes)))
    if not opened.images:
        raise TrashkitError(
            f"{path} has none of the {len(dataset)} images of {dataset.coco.path or 'the data'}",
            hint="give the annotations of the images that were predicted",
        )
    return opened


def out_of_fold(path: Path, *, partial: bool = False) -> list[Path]:
    """Return the out-of-fold stores in a run folder or in the runs below it; [path] where there are none.

    A store that joins all folds of a recipe replaces those of its folds. Raises TrashkitError for an unfinished run,
    whose images would be missing, unless `partial`.
    """
    if not path.is_dir() or is_store(path):
        return [path]
    stores = {found.parent for found in path.glob("**/oof/zarr.json")}
    joined = {store.parent for store in stores if not is_run(store.parent)}
    runs = [found.parent for found in sorted(path.glob(f"**/{MANIFEST}")) if found.parent.parent not in joined]
    for run in (read_run(folder) for folder in runs if is_run(folder)):
        if run.status == "complete" and not (stores or run.path != path):
            raise TrashkitError(
                f"the run {path} has no out-of-fold predictions: it validated no images",
                hint="predict a data set with it",
            )
        if run.status != "complete" and not (partial and stores):
            raise TrashkitError(
                f"the run {run.path} is unfinished, so its out-of-fold predictions are missing or incomplete",
                hint="finish it with `trashkit train ... --resume`, or give the stores of finished runs (RUN/oof)",
            )
    return sorted(store for store in stores if store.parent.parent / "oof" not in stores) or [path]


def _looks_like_json(path: Path) -> bool:
    return first_character(path) in (b"{", b"[")


def _open_store(path: Path, dataset: Dataset) -> Predictions:
    store = open_store(path)
    store.require_complete()
    class_lookup(store.classes, dataset, str(path))
    matched = zip(dataset.images, _match(store, dataset), strict=True)
    rows = [(image.row, row) for image, row in matched if row is not None]
    images = tuple(row for row, _ in rows)
    return Predictions(path, "store", dataset, store.size, images, len(store) - len(rows), (store, rows))


def _open_csv(path: Path, dataset: Dataset, layout: CsvLayout) -> Predictions:
    header = submission_csv.read_header(path)
    if header != layout.header:
        if not path.stat().st_size:
            raise TrashkitError(f"{path} is empty", hint="give a store, a submission CSV or a COCO file")
        if path.suffix.lower() == ".json":
            raise TrashkitError(f"{path} is not JSON", hint="give a COCO file or a list of COCO results")
        shown = header if len(header) <= 60 else header[:57] + "..."
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {layout.header}, not with {shown!r}",
            hint="give a store, a submission CSV or a COCO file",
        )
    by_name = ByName((name, image.row) for name, image in images_by_name(dataset).items())
    lines: ByName[int] = ByName()
    for row in submission_csv.read(path, layout, values=False):
        if row.file_name in lines:
            raise TrashkitError(
                f"{path}, line {row.line}: {row.file_name} already has a row, in line {lines[row.file_name]}",
                hint="delete one of the two",
            )
        lines[row.file_name] = row.line
    images = tuple(by_name[name] for name in lines if name in by_name)
    size = (layout.height, layout.width)
    return Predictions(path, "csv", dataset, size, images, len(lines) - len(images), (layout, by_name))


def _open_coco(path: Path, dataset: Dataset, order: PaintOrder, classes: str | Path | None) -> Predictions:
    results = read_results(path, dataset)
    if results is None:
        theirs = read_dataset(path, classes=classes)
    else:
        theirs, order = dataset_of(results, classes), "file"
    class_lookup(theirs.classes.names, dataset, str(path))
    rows = []
    for image in dataset.images:
        other = theirs.image_by_id.get(image.id)
        if other is None:
            continue
        names, sizes = (composed(other.file_name), composed(image.file_name)), (other.width, other.height)
        if names[0] != names[1] or sizes != (image.width, image.height):
            raise TrashkitError(
                f"{path} was made for other images: id {image.id} is {other.file_name} of {other.width}x{other.height} "
                f"there, {image.file_name} of {image.width}x{image.height} in {dataset.coco.path or 'the data'}",
                hint="give the annotations of the images that were predicted",
            )
        rows.append((image.row, other.row))
    return coco_predictions(path, dataset, theirs, rows, order)


def coco_predictions(
    path: Path, dataset: Dataset, theirs: Dataset, rows: Sequence[tuple[int, int]], order: PaintOrder = "area"
) -> Predictions:
    """Return predictions from a data set read from `path`. rows: pairs of image rows in `dataset` and in `theirs`."""
    images = tuple(row for row, _ in rows)
    return Predictions(path, "coco", dataset, None, images, len(theirs) - len(rows), (theirs, tuple(rows), order))
