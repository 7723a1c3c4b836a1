"""An annotation file while errors are planted in it: mutable records and a list of the planted errors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

Record = dict[str, Any]


@dataclass(slots=True)
class NoisyDataset:
    """Mutable images, annotations and categories of train.json, planned photo changes, and the planted errors.

    Errors refer to records; rows are only known at the end (`ledger`). `busy` holds the `id()` of records that already
    have an error, so that errors do not overlap.
    """

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]
    side: int
    # Counters of new ids by block; shared by all parts of one file.
    new_ids: dict[str, Iterator[int]]
    busy: set[int] = field(default_factory=set)
    planted: list[tuple[Record, list[Record], list[Record]]] = field(default_factory=list)
    # (file name, action, value): delete, truncate to a share, copy to a name, rename to a name.
    photos: list[tuple[str, str, Any]] = field(default_factory=list)

    def next_id(self, block: str) -> int:
        """Return an unused id of the block."""
        return next(self.new_ids[block])

    def of_image(self, image: Record) -> list[Record]:
        """Annotations of the image, in file order."""
        return [a for a in self.annotations if a["image_id"] == image["id"]]

    def free_annotations(self, least_area: float = 0.0) -> list[Record]:
        """Annotations of at least `least_area` pixels without an error, on images without an error."""
        taken = {image["id"] for image in self.images if id(image) in self.busy}
        return [
            a
            for a in self.annotations
            if id(a) not in self.busy and a["image_id"] not in taken and a["segmentation"] and a["area"] >= least_area
        ]

    def free_images(self) -> list[Record]:
        """Images without an error whose annotations have no error either."""
        touched = {a["image_id"] for a in self.annotations if id(a) in self.busy}
        return [image for image in self.images if id(image) not in self.busy and image["id"] not in touched]

    def note(
        self,
        kind: str,
        name: str,
        records: list[Record],
        *,
        block: str = "annotations",
        detail: Record | None = None,
        images: list[Record] | None = None,
        photos: bool = False,
    ) -> None:
        """Record a planted error. records: affected records of `block`. images: affected images, if known."""
        self.busy.update(id(record) for record in records)
        entry = {"type": name, "kind": kind, "block": block, "needs_photos": photos, "detail": detail or {}}
        self.planted.append((entry, records, images or []))

    def ledger(self) -> list[Record]:
        """Planted errors with the current rows of their records; a removed record has no row."""
        rows = {
            "images": {id(r): k for k, r in enumerate(self.images)},
            "annotations": {id(r): k for k, r in enumerate(self.annotations)},
            "categories": {id(r): k for k, r in enumerate(self.categories)},
        }
        by_id = {image["id"]: image for image in self.images}
        out = []
        for entry, records, images in self.planted:
            block = entry["block"]
            about = records if block == "annotations" else []
            shown = records if block == "images" else images
            shown = shown or [by_id[a["image_id"]] for a in about if a["image_id"] in by_id]
            out.append(
                {
                    "type": entry["type"],
                    "kind": entry["kind"],
                    "block": block,
                    "rows": [rows[block][id(r)] for r in records if id(r) in rows[block]],
                    "annotation_ids": [a["id"] for a in about],
                    "image_ids": list(dict.fromkeys(image["id"] for image in shown)),
                    "file_names": list(dict.fromkeys(image["file_name"] for image in shown)),
                    "needs_photos": entry["needs_photos"],
                    "detail": entry["detail"],
                }
            )
        return out


def shape(annotation: Record) -> Any:
    """The union of an annotation's rings as a shapely geometry."""
    rings = [np.reshape(ring, (-1, 2)) for ring in annotation["segmentation"]]
    return shapely.union_all([shapely.make_valid(shapely.Polygon(ring)) for ring in rings])


def reshape(annotation: Record, rings: list[list[float]]) -> None:
    """Set an annotation's rings, and its area and box to match."""
    annotation["segmentation"] = rings
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    annotation["area"] = round(float(shape(annotation).area), 4)
    annotation["bbox"] = [float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])]


def rings_of(geometry: Any) -> list[list[float]]:
    """Outer rings of a geometry's polygons, rounded to two decimals."""
    parts = [part for part in getattr(geometry, "geoms", [geometry]) if part.geom_type == "Polygon" and part.area > 0]
    return [np.round(np.asarray(part.exterior.coords)[:-1], 2).ravel().tolist() for part in parts]


def pick(rng: np.random.Generator, records: list[Record]) -> Record | None:
    """Draw one of the records; None if there are none."""
    return records[int(rng.integers(len(records)))] if records else None
