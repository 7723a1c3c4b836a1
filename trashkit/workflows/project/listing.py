"""The files of a folder that may belong to a data set, and what each of them is."""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath

from trashkit.coco import Coco, read
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.images.photos import SUFFIXES
from trashkit.interop.layouts.parts import Part, part_of
from trashkit.names import composed
from trashkit.report.photo_overlays import holds_results
from trashkit.workflows.project.derived import can_be_made_anew

MOST_FILES = 1_000_000
_LABELS = (".json", ".xml")
MOST_READ = 50
"""Most JSON and XML files of which the content is looked at."""
SAMPLE = 200
"""How many photos of a file are searched for, evenly distributed over it."""
_START = 1 << 16
"""Bytes at the start of a file by which its form is recognised."""
_SKIPPED = ("runs", "__pycache__", "node_modules")
_LABEL_MAPS = {
    "segmentationclass": "voc", "gtfine": "cityscapes", "ann_dir": "mmsegmentation", "masks": "masks",
    "label_maps": "masks", "labels": "masks", "annotations": "masks",
}  # fmt: skip
"""Folders of label maps, and the format of `trashkit data import` that reads them next to the photos."""
NAMES_FILES = ("classes.txt", "names.txt", "labels.txt", "obj.names")


@dataclass(frozen=True)
class Listing:
    """Files below a folder, as paths relative to it. unreadable: folders that could not be listed."""

    folder: Path
    photos: tuple[PurePosixPath, ...]
    others: tuple[PurePosixPath, ...]
    unreadable: tuple[str, ...] = ()

    @cached_property
    def _places(self) -> dict[str, list[PurePosixPath]]:
        found: dict[str, list[PurePosixPath]] = defaultdict(list)
        for photo in self.photos:
            found[composed(photo.name)].append(photo)
        return found

    def root(self, names: Iterable[str], path: PurePosixPath) -> PurePosixPath | None:
        """The folder that most of the file names in a file are relative to; None where it has at most half of them.

        Of several, as where parts of a data set have photos of the same names, the one nearest to the file counts, and
        then one whose name says the same part.
        """
        some = list(names)
        some = some[:: len(some) // SAMPLE + 1]
        hits: Counter[PurePosixPath] = Counter()
        for name in map(composed, some):
            wanted = PurePosixPath(name).parts
            for photo in self._places.get(wanted[-1] if wanted else "", ()):
                parts = tuple(map(composed, photo.parts))
                if parts[-len(wanted) :] == wanted:
                    hits[PurePosixPath(*photo.parts[: len(parts) - len(wanted)])] += 1
        part = part_of(path.stem)

        def order(root: PurePosixPath) -> tuple[int, int, bool, bool, int, str]:
            near = len(PurePosixPath(os.path.commonpath([f"/{path.parent}", f"/{root}"])).parts)
            same = part is not None and part in map(part_of, root.parts)
            photos = not any(part.casefold() in _LABEL_MAPS for part in root.parts)
            return hits[root], near, same, photos, -len(root.parts), str(root)

        best = max(hits, key=order, default=None)
        return best if best is not None and 2 * hits[best] > len(some) else None


def list_folder(folder: Path) -> Listing:
    """List a folder with all below it, but without hidden folders, results and what links lead to from below.

    Links to folders are followed directly in `folder` only. Raises TrashkitError for more than a million files.
    """
    photos: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    unreadable: list[str] = []
    count = 0
    for top in _tops(folder):
        for parent, folders, names in os.walk(top, onerror=lambda error: unreadable.append(str(error.filename))):
            if Path(parent) != folder and holds_results(Path(parent), names):
                folders[:] = []
                continue
            if Path(parent) == folder:
                names_below = {name for name in folders if (folder / name).is_symlink()}
                folders[:] = [name for name in folders if name not in names_below]
            folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _SKIPPED)
            count += len(names)
            if count > MOST_FILES:
                raise TrashkitError(
                    f"{folder} holds more than {MOST_FILES:,} files",
                    hint="name a folder of one data set: trashkit init DIR",
                )
            below = PurePosixPath(Path(parent).relative_to(folder).as_posix())
            for name in sorted(names):
                if not name.startswith("."):
                    (photos if Path(name).suffix.lower() in SUFFIXES else others).append(below / name)
    return Listing(folder, tuple(photos), tuple(others), tuple(unreadable))


def _tops(folder: Path) -> Iterator[Path]:
    """The folder, and the folders that links directly in it lead to, unless those hold it."""
    yield folder
    real = real_path(folder)
    for entry in sorted(folder.iterdir()):
        if entry.is_symlink() and entry.is_dir() and entry.name not in _SKIPPED and not entry.name.startswith("."):
            target = real_path(entry)
            if target != real and target not in real.parents and real not in target.parents:
                yield entry


@dataclass
class CocoFile:
    """A COCO file of the folder. root: the folder, relative to the listing's, that its file names are relative to."""

    path: PurePosixPath
    coco: Coco
    root: PurePosixPath | None = None

    @cached_property
    def names(self) -> list[str]:
        """File names of its images."""
        names = (one.get("file_name") for one in self.coco.records("images") if isinstance(one, dict))
        return [name for name in names if isinstance(name, str) and name]

    @property
    def labelled(self) -> bool:
        """Whether it has annotations."""
        return self.coco.count("annotations") > 0

    @property
    def part(self) -> Part:
        """The part of a data set that the name of the file says, or of its folder where Roboflow wrote it."""
        named = self.path.parent.name if self.path.name == "_annotations.coco.json" else self.path.stem
        return part_of(named) or "train"

    @property
    def about(self) -> str:
        """How many images and annotations it has."""
        return f"{self.coco.count('images')} images, {self.coco.count('annotations')} annotations"


@dataclass
class Found:
    """What the files of a folder are. earlier: COCO files that an earlier `trashkit init` made, and would make anew.
    foreign: (format of `trashkit data import`, file or folder to import). not_read: number of JSON and XML files that
    were not looked at."""

    cocos: list[CocoFile] = field(default_factory=list)
    earlier: list[CocoFile] = field(default_factory=list)
    foreign: list[tuple[str, PurePosixPath]] = field(default_factory=list)
    samples: list[PurePosixPath] = field(default_factory=list)
    names: list[PurePosixPath] = field(default_factory=list)
    unknown: list[tuple[PurePosixPath, str]] = field(default_factory=list)
    not_read: int = 0


def recognise(listing: Listing) -> Found:
    """Say what each file is, by its name and how it starts. Damaged files are unknown, with the reason.

    Of JSON and XML files, `MOST_READ` are looked at, those of folders with few of them first.
    """
    found = Found()
    looked: Counter[PurePosixPath] = Counter()
    foreign: dict[tuple[str, PurePosixPath], None] = {}
    read_files = 0
    of_folder = Counter(path.parent for path in listing.others if path.suffix.lower() in _LABELS)
    for path in sorted(listing.others, key=lambda path: of_folder[path.parent]):
        suffix = path.suffix.lower()
        if suffix in _LABELS:
            looked[path.parent] += 1
            # one label file for each photo: the first three show the format
            if looked[path.parent] > 3 and any(source in (path.parent, path.parent.parent) for _, source in foreign):
                continue
            read_files += 1
            if read_files > MOST_READ:
                found.not_read += 1
                continue
        try:
            kind = _kind(listing.folder / path, suffix)
            if kind == "coco?":
                coco = read(listing.folder / path)
                if "images" in coco.blocks() and coco.count("images"):
                    known = found.earlier if can_be_made_anew(coco, listing.folder) else found.cocos
                    known.append(CocoFile(path, coco))
                elif path.name != "names.json":
                    found.unknown.append((path, "JSON without images"))
            elif kind == "sample":
                found.samples.append(path)
            elif kind == "names":
                found.names.append(path)
            elif kind:
                foreign[(kind, _source(kind, path))] = None
        except (TrashkitError, OSError) as error:
            found.unknown.append((path, getattr(error, "message", None) or str(error)))
    if found.names and not foreign and not found.cocos:
        foreign.update(dict.fromkeys(_yolo_without_yaml(listing)))
    found.foreign = list(foreign)
    return found


def label_maps(listing: Listing) -> tuple[str, PurePosixPath] | None:
    """Format and folder of PNG label maps that lie beside photos in a layout that is imported; None without any."""
    tables = [path.parent for path in listing.others if path.name == "metadata.jsonl"]
    if tables:
        top = PurePosixPath(os.path.commonpath([f"/{one}" for one in tables])[1:])
        return "huggingface", top.parent if top.parent / "classes.txt" in listing.others else top
    for path in listing.photos:
        folders = path.parts[:-1]
        at = next((n for n, part in enumerate(folders) if part.casefold() in _LABEL_MAPS), None)
        if at is None or path.suffix.lower() != ".png":
            continue
        around = PurePosixPath(*folders[:at])
        if any(one.is_relative_to(around) and folders[at] not in one.parts for one in listing.photos):
            kind = _LABEL_MAPS[folders[at].casefold()]
            return "ade20k" if kind == "masks" and "training" in folders[at + 1 :] else kind, around
    return None


def _yolo_without_yaml(listing: Listing) -> Iterator[tuple[str, PurePosixPath]]:
    """The folder around photos and text files of the same names, which are YOLO labels next to a list of classes."""
    photos = {composed(path.stem) for path in listing.photos}
    labels = [path for path in listing.others if path.suffix == ".txt" and composed(path.stem) in photos]
    if labels:
        folders = {f"/{path.parent}" for path in (*labels, *listing.photos)}
        yield "yolo", PurePosixPath(os.path.commonpath(folders)[1:])


def _source(kind: str, path: PurePosixPath) -> PurePosixPath:
    """What is imported: the file, or the folder of formats with many files."""
    if kind in ("cvat", "label-studio"):
        return path
    return path.parent.parent if kind == "voc" and path.parent.name == "Annotations" else path.parent


def _kind(path: Path, suffix: str) -> str:
    """The form of a file: "coco?", "sample", "names", a format of other tools, or "" for what is not of interest."""
    if path.name in NAMES_FILES or suffix == ".names":
        return "names"
    if path.name == "metadata.jsonl":
        return "huggingface"
    if suffix not in _FORMS:
        return ""
    if not path.is_file():
        raise TrashkitError("not a file")
    with path.open("rb") as file:
        start = file.read(_START)
    return next((kind for kind, pattern in _FORMS[suffix].items() if re.search(pattern, start)), "")


_YAML = {"yolo": rb"(?m)^names\s*:"}
_FORMS: dict[str, dict[str, bytes]] = {
    ".csv": {"sample": rb"(?i)\A[^\n]*image_id[^\n]*predictionstring"},
    ".yaml": _YAML,
    ".yml": _YAML,
    ".xml": {"cvat": rb"<annotations[\s>]", "voc": rb"<annotation[\s>]"},
    ".json": {
        "labelme": rb'(?s)"shapes"\s*:.*"imagePath"|"imagePath"\s*:.*"shapes"|"imageData"\s*:',
        "label-studio": rb'(?s)\A\s*\[\s*\{.*"(annotations|completions)"\s*:',
        "coco?": rb"",
    },
}
"""By suffix: the forms of a file, and what it begins with; the first that matches."""
