"""Predictions of any form, a store, a submission CSV or a COCO file, as label maps of the images of a data set."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit import submission
from trashkit.coco import Coco, Dataset, Image, read_dataset
from trashkit.errors import TrashkitError
from trashkit.masks import PaintOrder, dataset_label_map, resize_nearest
from trashkit.run import read_run
from trashkit.run_folder import is_run
from trashkit.store import Probabilities, is_store, open_store
from trashkit.submission import Profile

Kind = Literal["store", "csv", "coco"]


def images_by_name(dataset: Dataset) -> dict[str, Image]:
    """Images by file name, in file order; TrashkitError where two share one, since a CSV cannot tell them apart."""
    found: dict[str, Image] = {}
    for image in dataset.images:
        if image.file_name in found:
            raise TrashkitError(
                f"{dataset.coco.path or 'the data'}: two images are named {image.file_name}, "
                "and a submission knows images by name",
                hint="give each image its own file_name",
            )
        found[image.file_name] = image
    return found


def match_rows(store: Probabilities, dataset: Dataset) -> list[int]:
    """The row of each image of `dataset` in a store, joined by image id and file name together.

    Raises TrashkitError naming the first image that the store lacks, or knows under another name or id.
    """
    found = _match(store, dataset)
    for image, row in zip(dataset.images, found, strict=True):
        if row is None:
            raise TrashkitError(
                f"{store.path} is from other images: it lacks {image.file_name} (id {image.id}), "
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
        if row is not None and store.file_names[row] != image.file_name:
            raise TrashkitError(
                f"{store.path} is from other images: id {image.id} is {store.file_names[row]} there, "
                f"and {image.file_name} in {dataset.coco.path or 'the data'}",
                hint="give the data that the store was made from",
            )
        rows.append(row)
    return rows


def class_lookup(names: Sequence[str], dataset: Dataset, source: str) -> NDArray[np.uint8]:
    """Table [256] uint8 from class indices of predictions with these class names to those of `dataset`, by name.

    Data without categories takes the predictions' indices as they are. Raises TrashkitError for a class that the data
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
                hint="give both the same --classes",
            )
        lookup[position] = index[name]
    return lookup


def enlarge_nearest(label_map: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A label map at a larger (height, width) such that `resize_nearest` gives back just what came in.

    Each pixel takes the value whose sampling place is the last at or before it. Exact wherever `size` is at least the
    label map's; below that, pixels are lost as in any reduction.
    """
    if label_map.shape == tuple(size):
        return label_map
    rows, columns = (_sources(*pair) for pair in zip(size, label_map.shape, strict=True))
    return label_map[rows[:, None], columns[None, :]]


def at_size(label_map: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """A label map at another (height, width): `enlarge_nearest` where that is no smaller, else `resize_nearest`."""
    larger = size[0] >= label_map.shape[0] and size[1] >= label_map.shape[1]
    return enlarge_nearest(label_map, size) if larger else resize_nearest(label_map, size)


def _sources(large: int, small: int) -> NDArray[np.intp]:
    """For each of `large` places, which of `small` values it takes."""
    line = np.arange(large, dtype=np.float32)[None, :]
    # OpenCV itself says where it samples, so that the inverse cannot drift from it.
    sampled = cv2.resize(line, (small, 1), interpolation=cv2.INTER_NEAREST)[0]
    sources: NDArray[np.intp] = np.maximum(np.searchsorted(sampled, line[0], side="right") - 1, 0)
    return sources


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions in some file, opened for the images of `dataset`.

    kind: what the file is. size: (height, width) of what it holds, None where each image has its native size.
    images: those images of `dataset` (their rows) that the file has. extra: how many more images it has.
    """

    path: Path
    kind: Kind
    dataset: Dataset
    size: tuple[int, int] | None
    images: tuple[int, ...]
    extra: int
    _content: Any

    def label_maps(self, size: tuple[int, int] | None = None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        """Pairs (row of the image in the data, label map uint8 [H, W]), in the file's own order.

        size: (height, width) wanted, None for each image's native size. Probabilities are resampled before the
        argmax, label maps from a CSV are sampled at the nearest pixel, COCO is rasterised at native size and then
        sampled. Class indices are those of `dataset`. Raises TrashkitError for rows whose values are wrong.
        """
        if self.kind == "store":
            return self._from_store(size)
        if self.kind == "csv":
            return self._from_csv(size)
        return self._from_coco(size)

    def _wanted(self, row: int, size: tuple[int, int] | None) -> tuple[int, int]:
        image = self.dataset.image_by_row[row]
        return size or (image.height, image.width)

    def _from_store(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        store, rows = self._content
        lookup = class_lookup(store.classes, self.dataset, str(self.path))
        for row, store_row in rows:
            yield row, lookup[store.label_map(store_row, self._wanted(row, size))]

    def _from_csv(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        profile, by_name = self._content
        for line in submission.read(self.path, profile):
            row = by_name.get(line.file_name)
            if row is None:
                continue
            yield row, at_size(submission.require(line, self.path), self._wanted(row, size))

    def _from_coco(self, size: tuple[int, int] | None) -> Iterator[tuple[int, NDArray[np.uint8]]]:
        theirs, rows, order = self._content
        lookup = class_lookup(theirs.classes.names, self.dataset, str(self.path))
        for row, their_row in rows:
            yield row, lookup[dataset_label_map(theirs, their_row, order=order, size=size)]


def open_predictions(
    path: Path,
    dataset: Dataset,
    *,
    profile: Profile | None = None,
    order: PaintOrder = "area",
    classes: str | Path | None = None,
) -> Predictions:
    """Open a store, a submission CSV, a COCO file or a list of COCO results for the images of `dataset`.

    profile: form of a CSV; the competition's with the data's number of classes by default. order, classes: paint
    order and class map of a COCO file. In COCO results, the higher score lies on top.
    Raises TrashkitError if the file is missing, none of these, unfinished, or shares no image with the data.
    """
    if not path.exists():
        raise TrashkitError(f"there is no {path}", hint="give a store, a submission CSV or a COCO file")
    if is_store(path) or path.is_dir():
        opened = _open_store(path, dataset)
    elif _looks_like_json(path):
        opened = _open_coco(path, dataset, order, classes)
    else:
        opened = _open_csv(path, dataset, profile or Profile(classes=len(dataset.classes)))
    if not opened.images:
        raise TrashkitError(
            f"{path} has none of the {len(dataset)} images of {dataset.coco.path or 'the data'}",
            hint="give the annotations of the images that were predicted",
        )
    return opened


def out_of_fold(path: Path) -> list[Path]:
    """The out-of-fold stores in a run folder, or in the runs below it, by path; [path] where there is none.

    A store that joins all folds of a recipe stands for those of its folds.
    """
    if not path.is_dir() or is_store(path):
        return [path]
    stores = {found.parent for found in path.glob("**/oof/zarr.json")}
    if not stores and is_run(path):
        run = read_run(path)
        why = "it validated no images" if run.status == "complete" else "it is unfinished"
        raise TrashkitError(
            f"the run {path} has no out-of-fold predictions: {why}",
            hint="predict a data set with it, or finish it with `trashkit train ... --resume`",
        )
    return sorted(store for store in stores if store.parent.parent / "oof" not in stores) or [path]


def _looks_like_json(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(64).removeprefix(submission.BOM).lstrip()[:1] in (b"{", b"[")


def _open_store(path: Path, dataset: Dataset) -> Predictions:
    store = open_store(path)
    store.require_complete()
    class_lookup(store.classes, dataset, str(path))
    matched = zip(dataset.images, _match(store, dataset), strict=True)
    rows = [(image.row, row) for image, row in matched if row is not None]
    images = tuple(row for row, _ in rows)
    return Predictions(path, "store", dataset, store.size, images, len(store) - len(rows), (store, rows))


def _open_csv(path: Path, dataset: Dataset, profile: Profile) -> Predictions:
    header = submission.read_header(path)
    if header != profile.header:
        if not path.stat().st_size:
            raise TrashkitError(f"{path} is empty", hint="give a store, a submission CSV or a COCO file")
        if path.suffix.lower() == ".json":
            raise TrashkitError(f"{path} is no JSON", hint="give a COCO file or a list of COCO results")
        shown = header if len(header) <= 60 else header[:57] + "..."
        raise TrashkitError(
            f"{path}, line 1: a submission begins with {profile.header}, this with {shown!r}",
            hint="give a store, a submission CSV or a COCO file",
        )
    by_name = {name: image.row for name, image in images_by_name(dataset).items()}
    lines: dict[str, int] = {}
    for row in submission.read(path, profile, values=False):
        if row.file_name in lines:
            raise TrashkitError(
                f"{path}, line {row.line}: {row.file_name} has a row already, in line {lines[row.file_name]}",
                hint="delete one of the two",
            )
        lines[row.file_name] = row.line
    images = tuple(by_name[name] for name in lines if name in by_name)
    size = (profile.height, profile.width)
    return Predictions(path, "csv", dataset, size, images, len(lines) - len(images), (profile, by_name))


def _open_coco(path: Path, dataset: Dataset, order: PaintOrder, classes: str | Path | None) -> Predictions:
    results = _results(path, dataset)
    if results is None:
        theirs = read_dataset(path, classes=classes)
    else:
        theirs, order = read_dataset(results, classes=classes), "file"
    class_lookup(theirs.classes.names, dataset, str(path))
    rows = []
    for image in dataset.images:
        other = theirs.image_by_id.get(image.id)
        if other is None:
            continue
        if (other.file_name, other.width, other.height) != (image.file_name, image.width, image.height):
            raise TrashkitError(
                f"{path} is from other images: id {image.id} is {other.file_name} of {other.width}x{other.height} "
                f"there, {image.file_name} of {image.width}x{image.height} in {dataset.coco.path or 'the data'}",
                hint="give the annotations of the images that were predicted",
            )
        rows.append((image.row, other.row))
    images = tuple(row for row, _ in rows)
    return Predictions(path, "coco", dataset, None, images, len(theirs) - len(rows), (theirs, rows, order))


def results_as_dataset(path: Path, dataset: Dataset) -> Dataset:
    """A list of COCO results as annotations of `dataset`'s images, the least certain first: paint it in file order.

    Its classes are numbered as those of `dataset`. TrashkitError for anything else than such a list.
    """
    found = _results(path, dataset)
    if found is None:
        raise TrashkitError(f"{path} is no list of COCO results", hint="it begins with [")
    made = read_dataset(found)
    if made.classes.index_of == dataset.classes.index_of:
        return made
    own = dataset.classes.index_of
    annotations = tuple(replace(one, class_index=own[one.category_id]) for one in made.annotations)
    return replace(made, annotations=annotations, classes=dataset.classes)


def _results(path: Path, dataset: Dataset) -> Coco | None:
    """A list of COCO results as a data set with the images and categories of `dataset`; None for other files."""
    with path.open("rb") as file:
        if file.read(64).removeprefix(submission.BOM).lstrip()[:1] != b"[":
            return None
    try:
        results = json.loads(path.read_bytes())
    except ValueError as error:
        raise TrashkitError(
            f"{path} is not JSON: {error}", hint="give a COCO file or a list of COCO results"
        ) from error
    if not all(isinstance(result, dict) for result in results):
        raise TrashkitError(
            f"{path} is no list of COCO results", hint="each is an object with image_id and category_id"
        )
    # The most certain is painted last, and so lies on top; sorting keeps equal scores in file order.
    results.sort(key=lambda result: float(result.get("score") or 0.0))
    annotations = [{"id": number, **result} for number, result in enumerate(results, start=1)]
    images, categories = dataset.coco.records("images"), dataset.coco.records("categories")
    return Coco.of({"images": images, "categories": categories, "annotations": annotations}, path)
