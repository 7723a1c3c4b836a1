"""What a review shows beside the annotations: another version, predictions, pseudo-labels, the test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note, warn

if TYPE_CHECKING:
    from trashkit.coco import Coco, Dataset
    from trashkit.review.app import Opened
    from trashkit.review.beside import Beside
    from trashkit.review.room import Room


@dataclass(frozen=True)
class Besides:
    """What was asked for. images: where the photos of the test set are."""

    predictions: tuple[Path, ...]
    against: tuple[Path, ...]
    test: Path | None
    images: Path
    label_maps: bool
    classes: str | None

    def opened(self, coco: Coco) -> tuple[list[Dataset], list[Beside]]:
        """The data sets that predictions may be about, and all files opened: mistakes show before the App starts."""
        from trashkit.coco import read
        from trashkit.review.beside import drawable, open_beside, open_version

        if not (self.predictions or self.against or self.label_maps):
            return [], []
        parts = []
        for one in (coco, *([read(self.test)] if self.test is not None else [])):
            dataset, left_out = drawable(one, classes=self.classes)
            parts.append(dataset)
            if left_out:
                warn(f"{one.path}: {left_out} annotations cannot be drawn, and are left out of comparisons")
        found = [one for path in self.predictions for one in open_beside(path, parts, classes=self.classes)]
        found += [open_version(path, parts[0], classes=self.classes) for path in self.against]
        return parts, found

    def test_room(self) -> Room | None:
        """The test set as a review without findings."""
        from trashkit.coco import read
        from trashkit.review.room import Room

        if self.test is None:
            return None
        return Room(read(self.test), [], {}, self.test.with_suffix(".no-edits"), reviewer="", images=self.images)

    def add(self, opened: Opened, parts: Sequence[Dataset], beside: Sequence[Beside], home: Path, report: Any) -> None:
        """Put all of it into the App's data set; what was put there before from the same files is left as it is."""
        if not parts:
            return
        from trashkit.review.compare import add_comparisons

        folder = home / "label-maps" / opened.dataset.name
        for name, one in add_comparisons(opened.dataset, parts, beside, folder, progress=report):
            where = "" if one.part == 0 else f" of the test set's {len(one.images)} images"
            note(f"{one.path} is the field {name}{where}; saved views show the worst images first")


def label_error_stores(beside: Sequence[Beside]) -> tuple[Path, ...]:
    """Stores of the images under review, to look for label errors with: those of the path that was named first.

    Predictions of one training cover each image once, which two paths would not.
    """
    mine = [one.path for one in beside if one.part == 0 and one.kind == "store"]
    seen: set[Any] = set()
    chosen: list[Path] = []
    for one in beside:
        if one.path in mine and not seen & set(one.images):
            seen |= set(one.images)
            chosen.append(one.path)
    return tuple(chosen)
