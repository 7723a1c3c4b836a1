"""Other people's COCO files: classes mapped, files merged, rows otherwise as they are."""

from __future__ import annotations

from pathlib import Path

from trashkit.coco import merge as merge_files
from trashkit.coco import read as read_coco
from trashkit.coco import write as write_coco
from trashkit.errors import TrashkitError
from trashkit.interop.draft import Imported, with_classes
from trashkit.interop.job import Job
from trashkit.photos import photo_path
from trashkit.progress import Progress, silent


def read(
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read a COCO file, or all ``*.json`` of a folder as one (see `trashkit.coco.merge`), rows and ids as they are."""
    if names is not None:
        raise TrashkitError("a COCO file names its own classes", hint="map them with --classes MAP.json")
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not paths:
        raise TrashkitError(f"{source} holds no JSON file", hint="name the COCO file itself")
    files = []
    for done, path in enumerate(paths):
        coco = read_coco(path)
        lacking = next((name for name in ("images", "annotations", "categories") if name not in coco.blocks()), None)
        if lacking is not None:
            raise TrashkitError(f'{path} has no list "{lacking}"', hint="give a COCO annotation file")
        files.append(coco)
        progress("reading files", done + 1, len(paths))
    return Imported(files[0] if len(files) == 1 else merge_files(files), images, ())


def write(job: Job, out: Path) -> None:
    """Write ``PART.json`` with classes as categories 1, 2 ..., and the photos under ``images/``, names unchanged."""
    coco = with_classes(job.dataset.coco, job.classes)
    for part, images in job.parts.items():
        small = coco.subset(image.row for image in images)
        write_coco(small, out / f"{part}.json")
        job.shapes += small.count("annotations")
    for _, image in job.each():
        job.photo(image, photo_path(out / "images", image.file_name))
