"""Cityscapes: ``leftImg8bit`` and ``gtFine``, with the ids of Cityscapes' classes unless others are named."""

from __future__ import annotations

from pathlib import Path

from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import Layout, read_layout, write_layout
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

CITYSCAPES_NAMES = (
    *["Background"] * 4, "static", "dynamic", "ground", "road", "sidewalk", "parking", "rail track", "building", "wall",
    "fence", "guard rail", "bridge", "tunnel", "pole", "polegroup", "traffic light", "traffic sign", "vegetation",
    "terrain", "sky", "person", "rider", "car", "truck", "bus", "caravan", "trailer", "train", "motorcycle", "bicycle",
)  # fmt: skip
LAYOUT = Layout("leftImg8bit/PART", "gtFine/PART", "_leftImg8bit.png", "_gtFine_labelIds.png", names=CITYSCAPES_NAMES)


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a folder with ``leftImg8bit`` and ``gtFine``; label maps are the files ``*_gtFine_labelIds.png``."""
    return read_layout(source, LAYOUT, images=images, names=names, progress=progress)


def write(job: ExportJob, out: Path) -> None:
    """Write photos as PNG and label maps as ``*_gtFine_labelIds.png``."""
    write_layout(job, out, LAYOUT)


FORMATS = (Format("cityscapes", read, write, zero=LAYOUT.zero, marks=("gtFine",)),)
