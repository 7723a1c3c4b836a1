"""An annotation file while errors are planted into it: plain records, and a ledger of what was done to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import shapely

Record = dict[str, Any]


@dataclass(slots=True)
class Draft:
    """Mutable images, annotations and categories of train.json, photos to change, and what was planted.

    Plants name records, not rows: rows are known only when all is done (`ledger`). `busy` holds `id()` of the records
    that already carry an error, so that errors do not mix.
    """

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]
    side: int
    # Where new ids come from, by block; shared by all drafts of one file.
    new_ids: dict[str, Iterator[int]]
    busy: set[int] = field(default_factory=set)
    planted: list[tuple[Record, list[Record], list[Record]]] = field(default_factory=list)
    # (file name, what to do, with what): delete, truncate to a share, copy to another name, rename.
    photos: list[tuple[str, str, Any]] = field(default_factory=list)

    def next_id(self, block: str) -> int:
        """An id that no record of the block has."""
        return next(self.new_ids[block])

    def of_image(self, image: Record) -> list[Record]:
        """The annotations that name the image, in file order."""
        return [a for a in self.annotations if a["image_id"] == image["id"]]

    def free_annotations(self, least_area: float = 0.0) -> list[Record]:
        """Annotations without an error so far, of at least `least_area` pixels, on images without one."""
        taken = {image["id"] for image in self.images if id(image) in self.busy}
        return [
            a
            for a in self.annotations
            if id(a) not in self.busy and a["image_id"] not in taken and a["segmentation"] and a["area"] >= least_area
        ]

    def free_images(self) -> list[Record]:
        """Images that neither carry an error themselves nor hold an annotation with one."""
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
        """Write an error down. `records` are of `block`; `images` the images concerned, where known."""
        self.busy.update(id(record) for record in records)
        entry = {"type": name, "kind": kind, "block": block, "needs_photos": photos, "detail": detail or {}}
        self.planted.append((entry, records, images or []))

    def ledger(self) -> list[Record]:
        """What was planted, with rows in the file as it now stands; a removed record has no row."""
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
    """Set an annotation's rings, with the area and box that belong to them."""
    annotation["segmentation"] = rings
    points = np.concatenate([np.reshape(ring, (-1, 2)) for ring in rings])
    low, high = points.min(axis=0), points.max(axis=0)
    annotation["area"] = round(float(shape(annotation).area), 4)
    annotation["bbox"] = [float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])]


def rings_of(geometry: Any) -> list[list[float]]:
    """The outer rings of a geometry's polygons, rounded to hundredths."""
    parts = [part for part in getattr(geometry, "geoms", [geometry]) if part.geom_type == "Polygon" and part.area > 0]
    return [np.round(np.asarray(part.exterior.coords)[:-1], 2).ravel().tolist() for part in parts]


def pick(rng: np.random.Generator, records: list[Record]) -> Record | None:
    """One of the records, or None where there is none."""
    return records[int(rng.integers(len(records)))] if records else None
