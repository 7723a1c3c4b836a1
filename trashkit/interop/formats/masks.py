"""Plain PNG label maps: ``images/PART`` and ``labels/PART`` (or ``masks/PART``) with the same file names.

The names of label maps may also end in ``_mask`` or the like.
"""

from __future__ import annotations

from pathlib import Path

from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import Layout, read_layout, write_layout
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

LAYOUT = Layout("images/PART", "labels/PART", other_labels=("masks", "label_maps", "annotations"))


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a folder with ``images`` and ``labels``, or one with photos and label maps side by side."""
    return read_layout(source, LAYOUT, images=images, names=names, progress=progress)


def write(job: ExportJob, out: Path) -> None:
    """Write ``images/PART`` and ``labels/PART``."""
    write_layout(job, out, LAYOUT)


FORMATS = (Format("masks", read, write, zero=LAYOUT.zero, marks=("labels", "masks")),)
