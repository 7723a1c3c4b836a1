"""Download of TACO: the official or unofficial annotations, and the photos that they list.

Source: P. F. Proenca and P. Simoes, "TACO: Trash Annotations in Context for Litter Detection", 2020,
https://github.com/pedropro/TACO. Each photo has its own licence.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from trashkit.coco import Coco, read, write
from trashkit.coco.dataset import is_valid_id
from trashkit.errors import TrashkitError
from trashkit.files import is_empty
from trashkit.images.photos import photo_info, photo_path, read_photo
from trashkit.interop.coco_builder import with_classes
from trashkit.interop.download import DownloadItem, DownloadResult, PermanentError, RetryPolicy, download_files
from trashkit.interop.folders import MAX_BYTES
from trashkit.outputs import Output, OutputKind
from trashkit.progress import Progress, silent
from trashkit.readers import ContentError, checked, decode_json, read_bytes

OFFICIAL = "https://raw.githubusercontent.com/pedropro/TACO/master/data/annotations.json"
UNOFFICIAL = "https://raw.githubusercontent.com/pedropro/TACO/master/data/annotations_unofficial.json"

NOTE = "download.json"
"""The file in a download's folder with its settings."""

PhotoSize = Literal["original", "640"]
Verify = Callable[[Path, DownloadItem], None]
"""Checks a downloaded file; see `trashkit.interop.download.download_files`."""
_URLS: dict[str, tuple[str, ...]] = {
    "original": ("flickr_url", "coco_url"),
    "640": ("flickr_640_url",),
}


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Result of `download`.

    annotations: COCO file of the photos that were downloaded. new, present: photos downloaded now, and before. dead,
    failed: (file name, reason) of photos whose link is dead, and of those that may be tried again.
    """

    path: Path
    annotations: Path
    images: int
    new: int
    present: int
    dead: tuple[tuple[str, str], ...]
    failed: tuple[tuple[str, str], ...]


def download(
    out: Path,
    *,
    source: str = OFFICIAL,
    size: PhotoSize = "original",
    classes: str | Path | None = None,
    limit: int | None = None,
    workers: int = 4,
    policy: RetryPolicy | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Downloaded:
    """Download annotations and photos into a folder, and write ``annotations.json`` for the downloaded photos.

    source: URL or path of the annotations. size: "original", or "640" for photos of 640 pixels, to which the
    annotations are scaled. classes: a class map to apply, such as "taco" for the ten classes. limit: only the first so
    many images. resume: continue a download; photos that are complete are not requested again. The file as published is
    kept as ``published.json``, and ``photos.jsonl`` logs the source of every photo, or why it is missing. Raises
    TrashkitError if the annotations cannot be downloaded, or `out` was written by something else. Photos that could not
    be downloaded are listed in the result.
    """
    fresh = not out.exists()
    _prepare(out, {"source": source, "size": size, "limit": limit}, resume=resume, overwrite=overwrite)
    try:
        coco = _annotations(out, source, policy or RetryPolicy())
        rows = _rows(coco, limit)
        names = {row: photo_path(out / "images", record["file_name"]) for row, record in rows.items()}
    except TrashkitError:
        if fresh:
            shutil.rmtree(out)
        raise
    verify = _verifier({names[row]: record for row, record in rows.items()}, size)
    items = [
        DownloadItem(tuple(r[key] for key in _URLS[size] if isinstance(r.get(key), str) and r[key]), names[row])
        for row, r in rows.items()
    ]
    results, present = _download_photos(out, items, verify, workers=workers, policy=policy, progress=progress)
    downloaded = [row for row, path in names.items() if path.exists()]
    coco = _scaled(coco, downloaded, names) if size == "640" else coco.subset(downloaded)
    if classes is not None:
        coco = with_classes(coco, classes)
    target = out / "annotations.json"
    write(coco, target, overwrite=True)

    def by_state(state: str) -> tuple[tuple[str, str], ...]:
        chosen = sorted((one for one in results if one.state == state), key=lambda one: one.item.target)
        return tuple((_file_name(out, one.item), one.reason) for one in chosen)

    new = sum(one.state == "new" for one in results)
    return Downloaded(out, target, len(items), new, present, by_state("dead"), by_state("failed"))


def _download_photos(
    out: Path,
    items: list[DownloadItem],
    verify: Verify,
    *,
    workers: int,
    policy: RetryPolicy | None,
    progress: Progress,
) -> tuple[list[DownloadResult], int]:
    """Download the photos that are not there yet, and log each. Returns the results, and how many were there."""
    sizes = _logged_sizes(out / "photos.jsonl")
    missing = [item for item in items if not _is_complete(item, verify, sizes.get(_file_name(out, item)))]
    present = len(items) - len(missing)
    progress("photos", present, len(items))
    results: list[DownloadResult] = []
    with (out / "photos.jsonl").open("a", encoding="utf-8", errors="backslashreplace") as log:
        for done, one in enumerate(download_files(missing, verify, workers=workers, policy=policy), start=1):
            results.append(one)
            record = {"file_name": _file_name(out, one.item), "state": one.state, "url": one.url, "bytes": one.bytes}
            log.write(json.dumps({**record, "reason": one.reason}, ensure_ascii=False) + "\n")
            log.flush()
            progress("photos", present + done, len(items))
    return results, present


def _file_name(out: Path, item: DownloadItem) -> str:
    return item.target.relative_to(out / "images").as_posix()


def _prepare(out: Path, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or continue one that was started with the same settings."""
    note = out / NOTE
    output = Output(out, overwrite=overwrite, resume=resume, kind=DOWNLOAD)
    output.check()
    known = _settings(note)
    if overwrite:
        output.remove()
    elif known is not None and known != settings:
        key = next(key for key in settings if known.get(key) != settings[key])
        raise TrashkitError(
            f"{out} was started with {key} {' '.join(str(known.get(key)).split())[:80]}, not {settings[key]}",
            hint="choose another --out, or add --overwrite",
        )
    out.mkdir(parents=True, exist_ok=True)
    for part in out.rglob(".*.part"):  # left by a killed run
        part.unlink(missing_ok=True)
    with Output(note, overwrite=True).writing() as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _settings(note: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = decode_json(read_bytes(note), dict[str, Any])
        return found
    except (OSError, ContentError):
        return None


def _is_download(folder: Path) -> bool:
    return _settings(folder / NOTE) is not None


DOWNLOAD = OutputKind(
    "folder of a download", lambda folder: is_empty(folder) or _is_download(folder), is_resumable=_is_download
)


def _annotations(out: Path, source: str, policy: RetryPolicy) -> Coco:
    """The annotations as published, downloaded unless they are there already."""
    path = out / "published.json"
    if path.exists():
        return read(path)
    if not source.startswith(("http://", "https://")):
        coco = read(Path(source))
        write(coco, path)
        return coco

    def parses(part: Path, _: DownloadItem) -> None:
        if "images" not in read(part).blocks():
            raise PermanentError("it is not a COCO file")

    found = next(iter(download_files([DownloadItem((source,), path)], parses, workers=1, policy=policy)))
    if found.state != "new":
        raise TrashkitError(
            f"the annotations could not be downloaded: {found.reason}",
            hint="check the connection, or give a file as --annotations",
        )
    return read(path)


_LONGEST_NAME = 200
"""Most bytes of a folder or file name; most file systems allow 255, and downloads begin under a longer name."""


def _rows(coco: Coco, limit: int | None) -> dict[int, dict[str, Any]]:
    """The images to download by row. Raises TrashkitError for rows without a usable file name or size."""
    found: dict[int, dict[str, Any]] = {}
    folded: set[str] = set()
    for row, record in enumerate(coco.records("images")[:limit]):
        sized = isinstance(record, dict) and all(
            isinstance(record.get(side), int) and record[side] > 0 for side in ("width", "height")
        )
        if not sized or not isinstance(record.get("file_name"), str) or not is_valid_id(record.get("id")):
            raise TrashkitError(
                f"{coco.path}: images[{row}] has no id, file_name or size", hint="give TACO's own annotations"
            )
        parts = photo_path(Path(), record["file_name"]).parts
        if len(parts) > 50 or max(len(os.fsencode(part)) for part in parts) > _LONGEST_NAME:
            raise TrashkitError(
                f"{coco.path}: the file_name of images[{row}] is too long", hint="give TACO's own annotations"
            )
        if record["file_name"].casefold() in folded:
            raise TrashkitError(f"{coco.path}: two images are named {record['file_name']}", hint="rename one of them")
        folded.add(record["file_name"].casefold())
        found[row] = record
    return found


def _verifier(records: dict[Path, dict[str, Any]], size: PhotoSize) -> Verify:
    """A function that checks that a photo decodes completely and has the size of its annotations."""

    def verify(path: Path, item: DownloadItem) -> None:
        record = records[item.target]
        info = photo_info(path)
        wanted = (record["width"], record["height"])
        sizes = {(info.width, info.height), info.oriented_size}
        if size == "original":
            fits = wanted in sizes
        else:
            fits = any(abs(w * wanted[1] - h * wanted[0]) <= 2 * max(wanted) and max(w, h) >= 320 for w, h in sizes)
        if not fits:
            # Flickr serves a small picture that says "no longer available".
            raise PermanentError(f"it is {info.width}x{info.height} instead of {wanted[0]}x{wanted[1]}")
        read_photo(path)

    return verify


class _Logged(msgspec.Struct):
    file_name: str
    state: str
    bytes: int


def _logged_sizes(path: Path) -> dict[str, int]:
    """Bytes of the photos downloaded before, by file name. Incomplete lines, left by a kill, are skipped."""
    found: dict[str, int] = {}
    try:
        lines = read_bytes(path, most=MAX_BYTES).split(b"\n")
    except OSError:
        return found
    for line in lines:
        try:
            record = decode_json(line, _Logged)
        except ContentError:
            continue
        if record.state == "new":
            found[record.file_name] = record.bytes
    return found


def _is_complete(item: DownloadItem, verify: Verify, size: int | None) -> bool:
    """Whether a photo is there and passes the check; it is deleted if it does not.

    A file that has the logged size was verified before, and is not decoded again.
    """
    if not item.target.exists():
        return False
    if size is not None and item.target.stat().st_size == size:
        return True
    try:
        verify(item.target, item)
    except (TrashkitError, PermanentError):
        item.target.unlink()
        return False
    return True


def _scaled(coco: Coco, rows: list[int], paths: dict[int, Path]) -> Coco:
    """The file with only the images of these rows, scaled to the sizes of their photos."""
    factors: dict[Any, tuple[float, float]] = {}
    changes: dict[int, Any] = {}
    for row in rows:
        record = coco.record("images", row)
        info = photo_info(paths[row])
        across = (record["width"] > record["height"]) == (info.width > info.height)
        width, height = (info.width, info.height) if across else info.oriented_size
        factors[record["id"]] = (width / record["width"], height / record["height"])
        changes[row] = {**record, "width": width, "height": height}
    moved: dict[int, Any] = {}
    for row, record in enumerate(coco.records("annotations")):
        image_id = record.get("image_id") if isinstance(record, dict) else None
        sides = factors.get(image_id) if is_valid_id(image_id) else None
        if sides is None or not isinstance(record.get("segmentation"), list):
            continue
        try:
            rings = checked(record["segmentation"], list[list[float]])
            new = {**record, "segmentation": [_scaled_numbers(ring, sides) for ring in rings]}
            if isinstance(record.get("area"), int | float):
                new["area"] = round(record["area"] * sides[0] * sides[1], 4)
            if isinstance(record.get("bbox"), list):
                new["bbox"] = _scaled_numbers(checked(record["bbox"], list[float]), sides)
        except (ContentError, OverflowError) as error:
            raise TrashkitError(
                f"{coco.path}: annotations[{row}] cannot be scaled: {error}", hint="give TACO's own annotations"
            ) from error
        moved[row] = new
    return coco.replace("images", changes).replace("annotations", moved).subset(rows)


def _scaled_numbers(values: list[float], sides: tuple[float, float]) -> list[float]:
    return [round(value * sides[n % 2], 4) for n, value in enumerate(values)]
