"""An export in progress: what is written, where photos come from, and what is to be told about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from trashkit.coco import Dataset, Image
from trashkit.interop.folders import Photos, put_photo
from trashkit.interop.shapes import Hold, Shape, drawn
from trashkit.masks import LabelMap, PaintOrder, dataset_label_map
from trashkit.progress import Progress, silent


@dataclass
class Job:
    """What every writer gets.

    folder: where the photos lie, None writes annotations alone. photos: how they are taken over. parts: images by the
    name of their part (train, val ...). order: paint order that the label maps follow. target: where it will lie.
    classes: what the data set was read with, see `trashkit.coco.class_map`.
    """

    dataset: Dataset
    parts: dict[str, tuple[Image, ...]]
    folder: Path | None = None
    photos: Photos = "copy"
    order: PaintOrder = "area"
    target: Path = Path()
    classes: str | Path | None = None
    progress: Progress = silent
    shapes: int = 0
    seen: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    more: list[str] = field(default_factory=list)
    written: dict[int, Path] = field(default_factory=dict)

    @property
    def images(self) -> tuple[Image, ...]:
        """All images of all parts."""
        return tuple(image for images in self.parts.values() for image in images)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names without background, by class index from 1."""
        return self.dataset.classes.names[1:]

    def each(self) -> Iterator[tuple[str, Image]]:
        """Every image with the name of its part, telling how far it is."""
        total, done = len(self.images), 0
        for part, images in self.parts.items():
            for image in images:
                yield part, image
                done += 1
                self.progress("writing images", done, total)

    def drawn(self, image: Image, hold: Hold) -> tuple[Shape, ...]:
        """The shapes of an image in a format that holds segmentations as `hold` says."""
        found = drawn(self.dataset, image, hold, order=self.order)
        self.shapes += len(found.shapes)
        if found.seen:
            self.seen.append(image.file_name)
        return found.shapes

    def label_map(self, image: Image) -> LabelMap:
        """The label map of an image at its native size."""
        return dataset_label_map(self.dataset, image.row, order=self.order)

    def photo(self, image: Image, target: Path) -> None:
        """Put the image's photo where the format wants it, and remember where that is."""
        self.written[image.row] = target
        if put_photo(self.folder, image, target, self.photos):
            self.turned.append(image.file_name)

    def notes(self) -> tuple[str, ...]:
        """What was changed on the way, one line each."""
        lines = list(self.more)
        if self.seen:
            lines.append(
                f"{len(self.seen)} images are written as the regions that are seen, since the format has no paint "
                f"order, first {self.seen[0]}"
            )
        if self.turned:
            lines.append(f"{len(self.turned)} photos were turned as their EXIF says, first {self.turned[0]}")
        return tuple(lines)
