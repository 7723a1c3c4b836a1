"""Folders of other tools: finding photos and label files without leaving the folder, and writing photos."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar
from urllib.parse import unquote

import cv2

from trashkit import readers
from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import FILE_MANAGER_NAMES, is_empty, is_file, real_path
from trashkit.images.photos import SUFFIXES, PhotoInfo, photo_info, photo_path, read_photo
from trashkit.names import composed
from trashkit.outputs import OutputKind

T = TypeVar("T")

MAX_BYTES = 1 << 30
"""Most bytes of a label file."""

PhotoMode = Literal["copy", "link", "none"]
"""How photos get into an export: copied, hard-linked (same disk, no extra space), or not at all."""

PHOTO_SUFFIXES = SUFFIXES


def files_in(folder: Path, suffixes: Iterable[str]) -> list[PurePosixPath]:
    """Files with these suffixes (lower case) below a folder, relative to it, sorted.

    Links that leave the folder or are circular, pipes and devices are skipped.
    Raises TrashkitError if the folder does not exist.
    """
    if is_file(folder):
        refuse_other_form(folder)
        raise TrashkitError(f"{folder} is a file, not a folder", hint=f"give the folder it is in: {folder.parent}")
    if not folder.is_dir():
        raise TrashkitError(f"there is no folder {folder}", hint="give the folder that the other tool wrote")
    wanted, root = set(suffixes), real_path(folder)
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent) / name
            if path.suffix.lower() not in wanted or name.startswith("."):
                continue
            if (path.is_symlink() and not real_path(path).is_relative_to(root)) or not path.is_file():
                continue
            found.append(PurePosixPath(path.relative_to(folder).as_posix()))
    return sorted(found)


def refuse_other_form(path: Path) -> None:
    """Raise TrashkitError for an archive, a picture or another such file that was given in place of a folder."""
    try:
        with readers.open_file(path) as file:
            form = readers.other_form(file.read(readers.HEAD))
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint="check the path") from error
    if form is not None:
        hint = form.hint.replace("the file inside it", "the folder")
        raise TrashkitError(f"{path} is a file, not a folder: {form.reason}", hint=hint)


def photos_by_stem(folder: Path) -> dict[str, PurePosixPath]:
    """Photos below a folder by path without suffix, composed. Raises TrashkitError if two photos share one."""
    found: dict[str, PurePosixPath] = {}
    for path in files_in(folder, PHOTO_SUFFIXES):
        stem = composed(path.with_suffix("").as_posix())
        if stem in found:
            raise TrashkitError(
                f"{folder}: {found[stem]} and {path} have the same label file", hint="rename one of them"
            )
        found[stem] = path
    return found


def first_folder(source: Path, *names: str) -> Path:
    """The first of these folders that exists in `source`, else `source` itself."""
    return next((source / name for name in names if (source / name).is_dir()), source)


def nested_root(source: Path, marks: Sequence[str]) -> Path:
    """The folder of a data set: `source`, or the only one up to three levels below that has one of the marks.

    Archives are often unpacked into a folder of their own. marks: names of files or folders. `source` it is, too, if it
    has photos, or their folder.
    """
    if not marks or not source.is_dir():
        return source
    inside = {path.name for path in source.iterdir()}
    if inside & {*marks, "images", "labels"} or any(Path(name).suffix.lower() in PHOTO_SUFFIXES for name in inside):
        return source
    found = {
        path.parent
        for level in ("*", "*/*", "*/*/*")
        for mark in marks
        for path in source.glob(f"{level}/{mark}")
        if not any(part.startswith((".", "__MACOSX")) for part in path.relative_to(source).parts)
    }
    return found.pop() if len(found) == 1 else source


class PhotoNames:
    """Photos of a folder by base name. Unicode's forms of a name are the same, and so is its case if that is clear."""

    def __init__(self, paths: Iterable[PurePosixPath]) -> None:
        self._exact: dict[str, list[PurePosixPath]] = {}
        self._folded: dict[str, list[PurePosixPath]] = {}
        self._uploaded: dict[str, list[PurePosixPath]] = {}
        for path in paths:
            name = composed(path.name)
            self._uploaded.setdefault(re.sub(r"[^-\w.]", "", name.strip().replace(" ", "_")), []).append(path)
            self._exact.setdefault(name, []).append(path)
            self._folded.setdefault(name.casefold(), []).append(path)

    def named(self, name: str) -> list[PurePosixPath]:
        """The photos with this base name; if there are none, those whose name differs only in case."""
        name = composed(name)
        return self._exact.get(name) or self._folded.get(name.casefold(), [])

    def uploaded(self, name: str) -> list[PurePosixPath]:
        """The photos that Label Studio has given this name: eight digits and a hyphen, and "_" for each space.

        Other characters that are not letters, digits, ".", "-" or "_" are left out.
        """
        rest = re.sub(r"^[0-9a-f]{8}-", "", composed(name))
        return [] if rest == composed(name) else self.named(rest) or self._uploaded.get(rest, [])


def find_photo(written: str, folder: Path, known: PhotoNames, *, subset: str = "") -> str:
    """The file name, relative to `folder`, of the photo that a label file refers to.

    written: the path in the label file. It may contain backslashes, ``..``, a drive or a URL; nothing outside `folder`
    is ever accessed. It is matched by path, or else by base name; in URLs, and where no photo has the name as written,
    ``%20`` stands for a space. known: photos by base name (see `photos_by_name`).
    subset: a folder in which the photo is searched for first, unless the path begins with it.
    Returns the base name if there is no such photo.
    """
    text = _decoded(written.replace("\\", "/"), known).replace("\\", "/")
    plain = PurePosixPath(os.path.normpath(text))
    parts = [part for part in plain.parts if part not in ("..", "/", ".")]
    if not parts or "\0" in text:
        raise TrashkitError(f"{written[:200]!r} is not the name of a photo", hint="correct the label file")
    candidates = known.named(parts[-1]) or known.uploaded(parts[-1])
    tails = ["/".join(parts[start:]) for start in range(len(parts))]
    first = [f"{subset}/{tails[0]}"] if subset and parts[0] != subset else []
    for tail in [*first, *tails]:
        if found := _ending(tail, candidates):
            return found.as_posix()
    if len(candidates) == 1:
        return candidates[0].as_posix()
    if len(candidates) > 1:
        raise TrashkitError(
            f"{written} could be {candidates[0]} or {candidates[1]} in {folder}",
            hint="give the right folder as --images",
        )
    return parts[-1] if ":" in text or ".." in plain.parts or plain.is_absolute() else "/".join(parts)


def _decoded(written: str, known: PhotoNames) -> str:
    """A path without what surrounds it in a URL, and without percent encoding where that does not belong to it."""
    text = written.rpartition("?d=")[2]
    if "?d=" not in written and not known.named(text.rpartition("/")[2]):
        text = text.partition("?")[0] if "://" in written or written.startswith("/data/") else text
    decoded = unquote(text)
    if decoded == text or known.named(text.rpartition("/")[2]):
        return text
    is_url = "://" in written or written.startswith("/data/") or "?d=" in written
    return decoded if is_url or known.named(decoded.rpartition("/")[2]) else text


def _ending(tail: str, paths: Sequence[PurePosixPath]) -> PurePosixPath | None:
    """The path that is `tail`, or the only one that ends with it; case counts only where several would be left."""
    for fold in (str, str.casefold):
        wanted = fold(composed(tail))
        names = [fold(composed(path.as_posix())) for path in paths]
        same = [path for path, name in zip(paths, names, strict=True) if name == wanted]
        same = same or [path for path, name in zip(paths, names, strict=True) if name.endswith(f"/{wanted}")]
        if len(same) == 1:
            return same[0]
    return None


def photos_by_name(folder: Path | None) -> PhotoNames:
    """Photos below a folder by base name. Empty without a folder."""
    return PhotoNames(files_in(folder, PHOTO_SUFFIXES) if folder else ())


def displayed_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photo as viewers show it, rotated according to EXIF."""
    return photo_info(path).oriented_size


def check_size(folder: Path, name: str, size: tuple[int, int], place: str) -> None:
    """Raise TrashkitError unless a photo has this size (width, height), as stored or rotated according to EXIF.

    Photos that are missing or cannot be read are not checked. place: where the size was found.
    """
    path = photo_path(folder, name)
    if not is_file(path):
        return
    try:
        info = photo_info(path)
    except TrashkitError:
        return
    if size not in {(info.width, info.height), info.oriented_size}:
        raise TrashkitError(
            f"{place} says {size[0]}x{size[1]}, but the photo {path} is {info.width}x{info.height}",
            hint="give the photos that were annotated as --images",
        )


def read_json(path: Path, kind: type[T] | Any = Any) -> T | Any:
    """The value of a JSON file as a type. Raises TrashkitError, naming file and place, for anything else."""
    return readers.read_json(path, kind, hint="export it again from the other tool", most=MAX_BYTES)


def read_json_lines(path: Path, kind: type[T] | Any = Any) -> Iterator[tuple[int, T | Any]]:
    """Line number and value of each line of a JSON Lines file that is not blank. Errors as in `read_json`."""
    # Not splitlines: it also splits at characters that JSON allows in strings.
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            try:
                value = readers.decode_json(text, kind)
            except readers.ContentError as error:
                raise TrashkitError(f"{path}, line {line}: {error}", hint="write one object per line") from error
            yield line, value


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without byte order mark. Raises TrashkitError for other encodings."""
    try:
        return readers.read_text(path, most=MAX_BYTES)
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {read_error_reason(error)}", hint="check the path") from error
    except readers.ContentError as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint=error.hint or "save it as UTF-8") from error


def label_stems(images: Sequence[Image], *, flat: bool = False) -> dict[int, str]:
    """Path without suffix for the label file of each image, by row; made unique, slashes as "__" where `flat`.

    TrashkitError for file names that lead out of the folder.
    """
    found: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        plain = image.file_name.replace("\\", "/")
        for name in (image.file_name, plain):  # a backslash is part of a photo's name, and separates folders here
            photo_path(Path(), name)
        stem = PurePosixPath(os.path.normpath(plain)).with_suffix("").as_posix()
        stem = stem.replace("/", "__") if flat else stem
        chosen, count = stem, 1
        while chosen.casefold() in taken:
            count += 1
            chosen = f"{stem}_{count}"
        taken.add(chosen.casefold())
        found[image.row] = chosen
    return found


_NOT_XML = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\ud800-\\udfff\\ufffe\\uffff]")


def check_xml_names(names: Iterable[str]) -> None:
    """Raise TrashkitError for a name with a character that XML cannot store, even escaped."""
    for name in names:
        if _NOT_XML.search(name):
            raise TrashkitError(
                f"the name {name[:80]!r} has a control character, which XML cannot store", hint="rename it"
            )


def suffix_of(image: Image) -> str:
    """Suffix of an image's file name; ".jpg" if it has none."""
    return PurePosixPath(image.file_name).suffix or ".jpg"


def write_photo(folder: Path | None, image: Image, target: Path, photos: PhotoMode) -> bool:
    """Write a photo to `target`, so that any reader sees it as it was annotated. Returns whether it was rotated.

    Readers differ in whether they follow EXIF. A photo with an EXIF rotation is therefore re-encoded with its pixels
    rotated (JPEG with quality 95, other formats as PNG); every other photo is copied byte by byte.
    Raises TrashkitError if a photo is missing or does not have the size that the annotations give.
    """
    if folder is None or photos == "none":
        return False
    source = photo_path(folder, image.file_name)
    info = photo_info(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if (image.width, image.height) not in {(info.width, info.height), info.oriented_size}:
        raise TrashkitError(
            f"{source} is {info.width}x{info.height}, the annotations say {image.width}x{image.height}",
            hint="run trashkit audit with --images to list all such photos",
        )
    if info.orientation != 1:
        _write_rotated(source, image, info, target)
        return True
    if photos == "link":
        try:
            os.link(real_path(source), target)
            return False
        except OSError:  # another disk, or a file system without links
            pass
    shutil.copyfile(source, target)
    return False


def _write_rotated(source: Path, image: Image, info: PhotoInfo, target: Path) -> None:
    pixels = cv2.cvtColor(read_photo(source, (image.width, image.height)), cv2.COLOR_RGB2BGR)
    if info.format in ("JPEG", "MPO"):
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    else:
        _, data = cv2.imencode(".png", pixels)
    target.write_bytes(data.tobytes())


MARKER = "trashkit-export.txt"
"""A file in each exported folder, by which it is recognised. It holds the number of files that the export wrote."""


def _is_export(folder: Path) -> bool:
    return is_empty(folder) or (folder / MARKER).is_file()


def _foreign(folder: Path) -> str:
    """A message about files that the export did not write; empty if there are none."""
    try:
        text = readers.read_bytes(folder / MARKER).decode(errors="replace")
    except OSError:
        text = ""
    written = re.search(r"^files: ([0-9]{1,15})$", text, re.MULTILINE)
    more = _count(folder) - int(written[1]) if written else 0
    return f"more files than its export wrote ({more})" if more > 0 else ""


EXPORT = OutputKind("folder that an export wrote", _is_export, _foreign)


def write_marker(folder: Path, kind: str, dataset: Dataset) -> None:
    """Write the marker, with the format, the hash of the annotations and the number of files, including itself."""
    text = f"format: {kind}\nannotations: {dataset.coco.path}\nsha256: {dataset.coco.sha256}\n"
    (folder / MARKER).write_text(f"{text}files: {_count(folder) + 1}\n", encoding="utf-8")


def _count(folder: Path) -> int:
    return sum(name.lower() not in FILE_MANAGER_NAMES for _, _, names in os.walk(folder) for name in names)


def images_of_parts(dataset: Dataset, parts: dict[str, list[Any]] | None) -> dict[str, tuple[Image, ...]]:
    """Images by name of their part, from image ids. Without parts, all images are in "train"."""
    if parts is None:
        return {"train": dataset.images}
    return {name: tuple(dataset.image_by_id[image_id] for image_id in ids) for name, ids in parts.items()}
