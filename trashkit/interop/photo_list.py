"""A COCO file of the photos of a folder, without annotations: what predict and submit need of photos without labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.images.photos import photo_info
from trashkit.progress import Progress, silent
from trashkit.report.photo_overlays import find_photos


def list_photos(folder: Path, *, labelled: Coco | None = None, progress: Progress = silent) -> Coco:
    """Return a COCO file of all photos of a folder and its subfolders, sorted by name, with ids from 1.

    labelled: a file of the same folder; photos that it lists are left out, and its categories are taken over. Sizes are
    those after EXIF rotation. Raises TrashkitError for a photo that cannot be read, and where no photo is left.
    """
    found = find_photos([folder])
    records = labelled.records("images") if labelled is not None else []
    known = {record.get("file_name") for record in records if isinstance(record, dict)}
    left = [(path, name) for path, name in zip(found.paths, found.names, strict=True) if name not in known]
    if not left:
        raise TrashkitError(
            f"all {len(found.paths)} photos of {folder} are in {labelled and labelled.path} already",
            hint="add photos to the folder, or name another one",
        )
    images: list[dict[str, Any]] = []
    for n, (path, name) in enumerate(left, start=1):
        width, height = photo_info(path).oriented_size
        images.append({"id": n, "file_name": name, "width": width, "height": height})
        progress("reading photos", n, len(left))
    categories = labelled.records("categories") if labelled is not None else []
    return Coco.of({"images": images, "annotations": [], "categories": categories})
