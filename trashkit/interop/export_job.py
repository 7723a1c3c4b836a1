"""An export in progress: what to write, where photos come from, and notes for the user."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trashkit.coco import Dataset, Image
from trashkit.interop.folders import PhotoMode, write_photo
from trashkit.interop.geometry.shapes import Representation, Shape, image_shapes
from trashkit.progress import Progress, silent
from trashkit.raster.masks import LabelMap, PaintOrder, dataset_label_map


@dataclass
class ExportJob:
    """What the ``write`` function of a format gets.

    parts: images by name of their part (train, val ...). folder: the photos; None to write only annotations. photos:
    how photos get into the export. order: paint order of the label maps. target: the final folder of the export.
    classes: the class map that the data set was read with, see `trashkit.coco.class_map`.
    shapes: how many annotations or label maps were written; ``write`` counts them unless it uses `shapes_of`.
    extra_notes: lines for the user. photo_paths: where the photo of each image was written, by row.
    """

    dataset: Dataset
    parts: dict[str, tuple[Image, ...]]
    folder: Path | None = None
    photos: PhotoMode = "copy"
    order: PaintOrder = "area"
    target: Path = Path()
    classes: str | Path | None = None
    progress: Progress = silent
    shapes: int = 0
    extra_notes: list[str] = field(default_factory=list)
    photo_paths: dict[int, Path] = field(default_factory=dict)
    _flattened: list[str] = field(default_factory=list)
    _rotated: list[str] = field(default_factory=list)

    @property
    def images(self) -> tuple[Image, ...]:
        """All images of all parts."""
        return tuple(image for images in self.parts.values() for image in images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names without background, by class index from 1."""
        return self.dataset.classes.names[1:]

    def images_by_part(self) -> Iterator[tuple[str, Image]]:
        """Every image with the name of its part; reports progress."""
        total, done = len(self.images), 0
        for part, images in self.parts.items():
            for image in images:
                yield part, image
                done += 1
                self.progress("writing images", done, total)

    def shapes_of(self, image: Image, represent: Representation) -> tuple[Shape, ...]:
        """The shapes to write for an image, such that reading them back gives the same label map.

        represent: see `trashkit.interop.geometry.shapes.Representation`.
        """
        found = image_shapes(self.dataset, image, represent, order=self.order)
        self.shapes += len(found.shapes)
        if found.flattened:
            self._flattened.append(image.file_name)
        return found.shapes

    def label_map(self, image: Image) -> LabelMap:
        """The label map of an image at its native size."""
        return dataset_label_map(self.dataset, image.row, order=self.order)

    def photo(self, image: Image, target: Path) -> None:
        """Write the image's photo to the path that the format wants, and remember that path."""
        self.photo_paths[image.row] = target
        if write_photo(self.folder, image, target, self.photos):
            self._rotated.append(image.file_name)

    def notes(self) -> tuple[str, ...]:
        """What was changed in the export, one line each."""
        lines = list(self.extra_notes)
        if self._flattened:
            lines.append(
                f"{len(self._flattened)} images are written as their visible regions, since the format has no paint "
                f"order, first {self._flattened[0]}"
            )
        if self._rotated:
            lines.append(f"{len(self._rotated)} photos were rotated according to EXIF, first {self._rotated[0]}")
        return tuple(lines)
