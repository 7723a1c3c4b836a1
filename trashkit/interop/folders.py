"""Folders of other tools: photos found without leaving the folder, and photos written beside labels."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import cv2

from trashkit.coco import OFFICIAL_NAMES, Dataset, Image
from trashkit.errors import TrashkitError
from trashkit.files import LEFT_BY_FILE_MANAGERS, is_file, refuse_existing
from trashkit.photos import PhotoInfo, photo_info, photo_path, read_photo

Photos = Literal["copy", "link", "none"]
"""How photos get into an export: copied, hard-linked (no space, same disk), or not at all."""

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".jfif"})


def files_in(folder: Path, suffixes: Iterable[str]) -> list[PurePosixPath]:
    """Files with these suffixes (lower case) below a folder, relative to it, sorted; links out of it are left out.

    TrashkitError where the folder does not exist.
    """
    if not folder.is_dir():
        raise TrashkitError(f"there is no folder {folder}", hint="give the folder that the other tool wrote")
    wanted, root = set(suffixes), folder.resolve()
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(parent) / name
            if path.suffix.lower() not in wanted or name.startswith("."):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                continue
            found.append(PurePosixPath(path.relative_to(folder).as_posix()))
    return sorted(found)


def photos_by_stem(folder: Path) -> dict[str, PurePosixPath]:
    """Photos below a folder by their path without suffix; TrashkitError where two share it."""
    found: dict[str, PurePosixPath] = {}
    for path in files_in(folder, PHOTO_SUFFIXES):
        stem = path.with_suffix("").as_posix()
        if stem in found:
            raise TrashkitError(f"{folder}: {found[stem]} and {path} share one label file", hint="rename one of them")
        found[stem] = path
    return found


def first_folder(source: Path, *names: str) -> Path:
    """The first of these folders that exists in `source`, else `source` itself."""
    return next((source / name for name in names if (source / name).is_dir()), source)


def named_photo(written: str, folder: Path, known: dict[str, list[PurePosixPath]]) -> str:
    """The file name of a photo that a label file names: by its path where that lies in the folder, else by its base.

    `written` may hold backslashes, ``..``, a drive, or a URL's beginning; nothing outside `folder` is ever looked at.
    known: photos by base name (see `by_base`). Where no photo is found the base name comes back.
    """
    text = written.replace("\\", "/").split("?d=")[-1].split("?")[0]
    plain = PurePosixPath(os.path.normpath(text))
    parts = [part for part in plain.parts if part not in ("..", "/", ".")]
    if not parts or "\0" in written:
        raise TrashkitError(f"{written!r} is no name of a photo", hint="correct the label file")
    # Label Studio puts eight digits and a hyphen before the names of uploaded files.
    candidates = known.get(parts[-1]) or known.get(re.sub(r"^[0-9a-f]{8}-", "", parts[-1]), [])
    for start in range(len(parts)):
        tail = PurePosixPath(*parts[start:])
        if tail in candidates:
            return tail.as_posix()
    if len(candidates) == 1:
        return candidates[0].as_posix()
    if len(candidates) > 1:
        raise TrashkitError(
            f"{written} may be {candidates[0]} or {candidates[1]} in {folder}", hint="give --images the right folder"
        )
    return parts[-1] if ":" in text or ".." in plain.parts or plain.is_absolute() else "/".join(parts)


def by_base(folder: Path | None) -> dict[str, list[PurePosixPath]]:
    """Photos below a folder by base name; empty without a folder."""
    found: dict[str, list[PurePosixPath]] = {}
    for path in files_in(folder, PHOTO_SUFFIXES) if folder else ():
        found.setdefault(path.name, []).append(path)
    return found


def shown_size(path: Path) -> tuple[int, int]:
    """(width, height) of a photo as viewers show it, turned as EXIF says."""
    return photo_info(path).turned_size


def read_json(path: Path) -> Any:
    """A JSON file's value; TrashkitError naming file, line and column where it does not parse."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    except (ValueError, RecursionError) as error:
        raise TrashkitError(f"{path} is not JSON: {error}", hint="export it again from the other tool") from error


def read_text(path: Path) -> str:
    """A text file in UTF-8, with or without byte order mark; TrashkitError naming the file for anything else."""
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise TrashkitError(f"{path} cannot be read: {error.strerror}", hint="check the path") from error
    except UnicodeDecodeError as error:
        raise TrashkitError(f"{path} is no UTF-8 text", hint="save it as UTF-8") from error


def class_names(given: str | None, source: Path, *found: str) -> tuple[str, ...] | None:
    """Class names, background first: from --names (official, a file, or a comma list), else from a file in `source`.

    found: names of files to look for, each with one name a line; CVAT's ``labelmap.txt`` (``name:r,g,b::``) too.
    Names that do not begin with a background get one. None where nothing is given and nothing found.
    """
    if given == "official":
        return OFFICIAL_NAMES
    if given is not None and not is_file(given):
        if "," not in given:
            raise TrashkitError(
                f"there is no file {given}", hint="give --names official, a file with one name a line, or A,B,C"
            )
        lines = given.split(",")
    else:
        paths = [Path(given)] if given is not None else [source / name for name in found]
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return None
        lines = read_text(path).splitlines()
    names = [line.split(":")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
    if not names or names[0].casefold() not in ("background", "_background_", "__ignore__"):
        names.insert(0, "Background")
    return ("Background", *names[1:])


def stems(images: Sequence[Image], *, flat: bool = False) -> dict[int, str]:
    """Path without suffix for the label file of each image, by row; made unique, slashes as "__" where `flat`.

    TrashkitError for file names that lead out of the folder.
    """
    found: dict[int, str] = {}
    taken: set[str] = set()
    for image in images:
        photo_path(Path(), image.file_name)
        stem = PurePosixPath(os.path.normpath(image.file_name.replace("\\", "/"))).with_suffix("").as_posix()
        stem = stem.replace("/", "__") if flat else stem
        chosen, count = stem, 1
        while chosen.casefold() in taken:
            count += 1
            chosen = f"{stem}_{count}"
        taken.add(chosen.casefold())
        found[image.row] = chosen
    return found


def suffix_of(image: Image) -> str:
    """Suffix of an image's file name, ".jpg" where it has none."""
    return PurePosixPath(image.file_name).suffix or ".jpg"


def put_photo(folder: Path | None, image: Image, target: Path, photos: Photos) -> bool:
    """Write an image's photo as `target`, so that any reader sees it as it was annotated; says whether it was turned.

    Readers differ in whether they follow EXIF. A photo with an EXIF turn is therefore written anew with its pixels
    turned (JPEG of quality 95, others as PNG content), every other one byte by byte.
    TrashkitError where a photo is missing or has another size than the annotations say.
    """
    if folder is None or photos == "none":
        return False
    source = photo_path(folder, image.file_name)
    info = photo_info(source)
    target.parent.mkdir(parents=True, exist_ok=True)
    if (image.width, image.height) not in {(info.width, info.height), info.turned_size}:
        raise TrashkitError(
            f"{source} is {info.width}x{info.height}, the annotations say {image.width}x{image.height}",
            hint="run trashkit audit with --images; it names all such photos",
        )
    if info.orientation != 1:
        _write_turned(source, image, info, target)
        return True
    if photos == "link":
        try:
            os.link(source.resolve(), target)
            return False
        except OSError:  # another disk, or a file system without links
            pass
    shutil.copyfile(source, target)
    return False


def _write_turned(source: Path, image: Image, info: PhotoInfo, target: Path) -> None:
    pixels = cv2.cvtColor(read_photo(source, (image.width, image.height)), cv2.COLOR_RGB2BGR)
    if info.format in ("JPEG", "MPO"):
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    else:
        _, data = cv2.imencode(".png", pixels)
    target.write_bytes(data.tobytes())


MARK = "trashkit-export.txt"
"""Says that a folder was written by an export, so that --overwrite may replace it."""


def refuse_foreign(out: Path, *, overwrite: bool) -> None:
    """TrashkitError unless `out` is free, or `overwrite` and a folder that an export wrote (or an empty one).

    A mistyped --out must not cost a folder of photos.
    """
    refuse_existing(out, overwrite=overwrite)
    if out.exists() and not (out / MARK).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise TrashkitError(f"{out} was not written by an export, so it is kept", hint="choose another --out")
    if not out.exists():
        return
    text = (out / MARK).read_text(encoding="utf-8", errors="replace") if (out / MARK).is_file() else ""
    written = re.search(r"^files: (\d+)$", text, re.MULTILINE)
    if written and (more := _count(out) - int(written[1])) > 0:
        raise TrashkitError(
            f"{out} holds more files than its export wrote ({more}), so it is kept",
            hint="move them, or choose another --out",
        )


def mark(folder: Path, kind: str, dataset: Dataset) -> None:
    """Write the mark, with the format, the hash of the annotations and how many files there are, itself among them."""
    text = f"format: {kind}\nannotations: {dataset.coco.path}\nsha256: {dataset.coco.sha256}\n"
    (folder / MARK).write_text(f"{text}files: {_count(folder) + 1}\n", encoding="utf-8")


def _count(folder: Path) -> int:
    return sum(name.lower() not in LEFT_BY_FILE_MANAGERS for _, _, names in os.walk(folder) for name in names)


def parts_of(dataset: Dataset, parts: dict[str, list[Any]] | None) -> dict[str, tuple[Image, ...]]:
    """Images of each part by its name, from image ids; one part "train" with all where none are given."""
    if parts is None:
        return {"train": dataset.images}
    return {name: tuple(dataset.image_by_id[image_id] for image_id in ids) for name, ids in parts.items()}
