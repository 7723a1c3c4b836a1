"""ADE20K as scene parsing challenges use it: ``images`` and ``annotations``, each with training and validation."""

from __future__ import annotations

from pathlib import Path

from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import Layout, read_layout, write_layout
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

LAYOUT = Layout("images/PART", "annotations/PART", parts=(("train", "training"), ("val", "validation")), flat=True)


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a folder with ``images`` and ``annotations``."""
    return read_layout(source, LAYOUT, images=images, names=names, progress=progress)


def write(job: ExportJob, out: Path) -> None:
    """Write ``images/training``, ``annotations/training`` and so on."""
    write_layout(job, out, LAYOUT)


FORMATS = (Format("ade20k", read, write, zero=LAYOUT.zero, marks=("annotations",)),)
