"""How a file in `trashkit.interop.formats` declares its formats."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trashkit.interop.coco_builder import ImportedAnnotations
from trashkit.interop.export_job import ExportJob
from trashkit.interop.names.table import Zero


@dataclass(frozen=True, slots=True)
class Format:
    """An annotation format of another tool.

    name: as in ``trashkit data import NAME``. read: called as ``read(source, images=..., names=..., progress=...)``,
    whose arguments are those of `trashkit.interop.registry.import_annotations`. write: writes a data set into an empty
    folder. zero: what class number 0 is; None where shapes have the names of classes. marks: files or folders by which
    the folder of a data set is known, if it was unpacked into another one (see `trashkit.interop.folders.nested_root`).
    """

    name: str
    read: Callable[..., ImportedAnnotations]
    write: Callable[[ExportJob, Path], None]
    zero: Zero | None = None
    marks: tuple[str, ...] = ()
