"""Pascal VOC segmentation: ``JPEGImages``, ``SegmentationClass`` and lists of names in ``ImageSets``."""

from __future__ import annotations

from pathlib import Path

from trashkit.errors import TrashkitError
from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.format import Format
from trashkit.interop.label_map_folders import Layout, read_layout, write_layout
from trashkit.interop.names.table import NOT_GIVEN, GivenNames
from trashkit.progress import Progress, silent

VOC_NAMES = (
    "Background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable",
    "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
LAYOUT = Layout("JPEGImages", "SegmentationClass", flat=True, names=VOC_NAMES)


def read(
    source: Path, *, images: Path | None = None, names: GivenNames = NOT_GIVEN, progress: Progress = silent
) -> ImportedAnnotations:
    """Read a folder such as ``VOC2012``. Raises TrashkitError, with the reason, for one that has only boxes."""
    boxes = source / "Annotations"
    if boxes.is_dir() and not (source / "SegmentationClass").is_dir() and any(boxes.glob("*.xml")):
        raise TrashkitError(
            f"{source} has only boxes (Annotations/*.xml), and no label maps (SegmentationClass/*.png)",
            hint="give a data set with outlines or label maps",
        )
    return read_layout(source, LAYOUT, images=images, names=names, progress=progress)


def write(job: ExportJob, out: Path) -> None:
    """Write photos, palette PNGs and ``ImageSets/Segmentation/PART.txt``."""
    write_layout(job, out, LAYOUT, sets=True)


FORMATS = (Format("voc", read, write, zero=LAYOUT.zero, marks=("SegmentationClass",)),)
