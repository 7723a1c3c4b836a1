"""TACO from the web: the official or the unofficial annotations, and the photos that they name.

Source: P. F. Proenca and P. Simoes, "TACO: Trash Annotations in Context for Litter Detection", 2020,
https://github.com/pedropro/TACO. Each photo has its own licence.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trashkit.coco import Coco, read, write
from trashkit.errors import TrashkitError
from trashkit.files import remove_folder, replacing
from trashkit.interop.download import DeadError, Fetched, Manners, Wanted, fetch_all
from trashkit.interop.draft import with_classes
from trashkit.photos import photo_info, photo_path, read_photo
from trashkit.progress import Progress, silent

OFFICIAL = "https://raw.githubusercontent.com/pedropro/TACO/master/data/annotations.json"
UNOFFICIAL = "https://raw.githubusercontent.com/pedropro/TACO/master/data/annotations_unofficial.json"

PhotoSize = Literal["original", "640"]
_URLS: dict[str, tuple[str, ...]] = {
    "original": ("flickr_url", "coco_url"),
    "640": ("flickr_640_url",),
}


@dataclass(frozen=True, slots=True)
class Downloaded:
    """Result of `download`. annotations: COCO file of the photos that are there. dead, failed: (file name, why)."""

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
    manners: Manners | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Downloaded:
    """Download annotations and photos into a folder, and write ``annotations.json`` for the photos that came.

    source: address of the annotations, or a file of one's own. size: "original", or "640" for photos of 640 pixels, to
    which the annotations are scaled. classes: a class map to apply, such as "taco" for the ten classes. limit: only the
    first so many images. The file as published stays as ``published.json``; ``photos.jsonl`` tells of every photo where
    it came from, or why it did not. With `resume`, photos that are there and sound are not asked for again.
    Raises TrashkitError where the annotations cannot be had or `out` is from something else. Photos whose link is dead
    or that could not be had this time are in the result.
    """
    fresh = not out.exists()
    _prepare(out, {"source": source, "size": size, "limit": limit}, resume=resume, overwrite=overwrite)
    try:
        coco = _annotations(out, source, manners or Manners())
        rows = _rows(coco, limit)
        names = {row: photo_path(out / "images", record["file_name"]) for row, record in rows.items()}
    except TrashkitError:
        if fresh:
            shutil.rmtree(out)
        raise
    check = _verifier({names[row]: record for row, record in rows.items()}, size)
    wanted = [
        Wanted(tuple(r[key] for key in _URLS[size] if isinstance(r.get(key), str) and r[key]), names[row])
        for row, r in rows.items()
    ]
    sizes = _logged(out / "photos.jsonl")
    missing = [
        item
        for item in wanted
        if not _sound(item, check, sizes.get(item.target.relative_to(out / "images").as_posix()))
    ]
    present = len(wanted) - len(missing)
    progress("photos", present, len(wanted))
    results: list[Fetched] = []
    with (out / "photos.jsonl").open("a", encoding="utf-8") as log:
        for done, found in enumerate(fetch_all(missing, check, workers=workers, manners=manners), start=1):
            results.append(found)
            name = found.wanted.target.relative_to(out / "images").as_posix()
            record = {"file_name": name, "state": found.state, "url": found.url, "bytes": found.bytes}
            log.write(json.dumps({**record, "reason": found.reason}, ensure_ascii=False) + "\n")
            log.flush()
            progress("photos", present + done, len(wanted))
    there = [row for row, path in names.items() if path.exists()]
    small = _scaled(coco, there, names) if size == "640" else coco.subset(there)
    if classes is not None:
        small = with_classes(small, classes)
    target = out / "annotations.json"
    write(small, target, overwrite=True)

    def told(state: str) -> tuple[tuple[str, str], ...]:
        chosen = sorted((f for f in results if f.state == state), key=lambda f: f.wanted.target)
        return tuple((f.wanted.target.relative_to(out / "images").as_posix(), f.reason) for f in chosen)

    new = sum(found.state == "new" for found in results)
    return Downloaded(out, target, len(wanted), new, present, told("dead"), told("failed"))


def _prepare(out: Path, settings: dict[str, Any], *, resume: bool, overwrite: bool) -> None:
    """Make the folder, or go on in one that was begun with the same settings."""
    note = out / "download.json"
    if out.exists():
        known = _settings(note)
        if overwrite and known is not None:
            remove_folder(out)
        elif overwrite and (not out.is_dir() or any(out.iterdir())):
            raise TrashkitError(f"{out} is no folder of a download, so it is not replaced", hint="choose another --out")
        elif resume and known is not None and known != settings:
            key = next(key for key in settings if known.get(key) != settings[key])
            raise TrashkitError(
                f"{out} was begun with {key} {known.get(key)}, not {settings[key]}",
                hint="choose another --out, or add --overwrite",
            )
        elif not resume and not overwrite:
            raise TrashkitError(f"{out} exists already", hint="add --resume to go on, or choose another --out")
        elif resume and known is None and any(out.iterdir()):
            raise TrashkitError(f"{out} is no folder of a download", hint="choose another --out")
    out.mkdir(parents=True, exist_ok=True)
    for part in out.rglob(".*.part"):  # what a killed run left
        part.unlink(missing_ok=True)
    with replacing(note, overwrite=True) as temporary:
        temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")


def _settings(note: Path) -> Any:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _annotations(out: Path, source: str, manners: Manners) -> Coco:
    """The annotations as published: the file that is there already, or a fresh one."""
    path = out / "published.json"
    if path.exists():
        return read(path)
    if not source.startswith(("http://", "https://")):
        coco = read(Path(source))
        write(coco, path)
        return coco

    def parses(part: Path, _: Wanted) -> None:
        if "images" not in read(part).blocks():
            raise DeadError("it is no COCO file")

    found = next(iter(fetch_all([Wanted((source,), path)], parses, workers=1, manners=manners)))
    if found.state != "new":
        raise TrashkitError(
            f"the annotations could not be downloaded: {found.reason}",
            hint="check the connection, or give a file of your own with --annotations",
        )
    return read(path)


def _rows(coco: Coco, limit: int | None) -> dict[int, dict[str, Any]]:
    """The images to fetch by row; TrashkitError for rows without a usable name or size."""
    found: dict[int, dict[str, Any]] = {}
    folded: set[str] = set()
    for row, record in enumerate(coco.records("images")[:limit]):
        sized = isinstance(record, dict) and all(
            isinstance(record.get(side), int) and record[side] > 0 for side in ("width", "height")
        )
        if not sized or not isinstance(record.get("file_name"), str):
            raise TrashkitError(
                f"{coco.path}: images[{row}] has no file_name or no size", hint="give TACO's own annotations"
            )
        photo_path(Path(), record["file_name"])
        if record["file_name"].casefold() in folded:
            raise TrashkitError(f"{coco.path}: two images are named {record['file_name']}", hint="rename one of them")
        folded.add(record["file_name"].casefold())
        found[row] = record
    return found


def _verifier(records: dict[Path, dict[str, Any]], size: PhotoSize) -> Callable[[Path, Wanted], None]:
    """A check of one photo: it decodes whole, and has the size that its annotations were made for."""

    def verify(path: Path, item: Wanted) -> None:
        record = records[item.target]
        info = photo_info(path)
        wanted = (record["width"], record["height"])
        sizes = {(info.width, info.height), info.turned_size}
        if size == "original":
            fits = wanted in sizes
        else:
            fits = any(abs(w * wanted[1] - h * wanted[0]) <= 2 * max(wanted) and max(w, h) >= 320 for w, h in sizes)
        if not fits:
            # Flickr answers with a small picture that says "no longer available".
            raise DeadError(f"it is a picture of {info.width}x{info.height}, wanted is {wanted[0]}x{wanted[1]}")
        read_photo(path)

    return verify


def _logged(path: Path) -> dict[str, int]:
    """Bytes of the photos that came before, by file name; lines that a kill cut short are passed over."""
    found: dict[str, int] = {}
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        try:
            record = json.loads(line)
            if record["state"] == "new":
                found[str(record["file_name"])] = int(record["bytes"])
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _sound(item: Wanted, check: Callable[[Path, Wanted], None], size: int | None) -> bool:
    """Whether a photo is there and is what is wanted; one that is not is removed.

    A file of the size that was logged was verified then, and is not decoded again.
    """
    if not item.target.exists():
        return False
    if size is not None and item.target.stat().st_size == size:
        return True
    try:
        check(item.target, item)
    except (TrashkitError, DeadError):
        item.target.unlink()
        return False
    return True


def _scaled(coco: Coco, rows: list[int], paths: dict[int, Path]) -> Coco:
    """The file with images of these rows alone, sizes, outlines, boxes and areas brought to their photos' sizes."""
    factors: dict[Any, tuple[float, float]] = {}
    changes: dict[int, Any] = {}
    for row in rows:
        record = coco.record("images", row)
        info = photo_info(paths[row])
        across = (record["width"] > record["height"]) == (info.width > info.height)
        width, height = (info.width, info.height) if across else info.turned_size
        factors[record["id"]] = (width / record["width"], height / record["height"])
        changes[row] = {**record, "width": width, "height": height}
    moved: dict[int, Any] = {}
    for row, record in enumerate(coco.records("annotations")):
        sides = factors.get(record.get("image_id")) if isinstance(record, dict) else None
        if sides is None or not isinstance(record.get("segmentation"), list):
            continue
        rings = [[round(value * sides[n % 2], 4) for n, value in enumerate(ring)] for ring in record["segmentation"]]
        new = {**record, "segmentation": rings}
        if isinstance(record.get("area"), int | float):
            new["area"] = round(record["area"] * sides[0] * sides[1], 4)
        if isinstance(record.get("bbox"), list):
            new["bbox"] = [round(value * sides[n % 2], 4) for n, value in enumerate(record["bbox"])]
        moved[row] = new
    return coco.replace("images", changes).replace("annotations", moved).subset(rows)
