"""Label Studio: a JSON list of tasks with polygon and brush regions.

Polygons of one part keep their coordinates (percent of the image, read to 1e-5 pixels); everything else becomes a
brush mask in Label Studio's own run lengths. What it cannot hold: annotation ids, an order of overlaps other than that
of the list, polygons of several parts.

Format: https://labelstud.io/guide/export; run lengths: github.com/thi-ng/umbrella, package rle-pack.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Image, Segmentation
from trashkit.errors import TrashkitError
from trashkit.interop.draft import Draft, Imported, number, whole
from trashkit.interop.folders import by_base, class_names, named_photo, read_json, shown_size, stems, suffix_of
from trashkit.interop.job import Job
from trashkit.interop.labelme import held as held_exactly
from trashkit.interop.shapes import Shape, as_mask, same_pixels
from trashkit.masks import mask, rle_from_mask
from trashkit.photos import photo_path
from trashkit.progress import Progress, silent

_DECIMALS = 5
_RUN_BITS = (3, 4, 8, 16)


def write(job: Job, out: Path) -> None:
    """Write ``tasks.json``, ``labeling_config.xml``, ``classes.txt``, and the photos under ``images/PART``.

    Tasks name their photos as Label Studio's local storage serves them, below a folder ``images``.
    """
    names = stems(job.images)
    tasks = []
    for task, (part, image) in enumerate(job.each(), start=1):
        name = f"{part}/{names[image.row]}{suffix_of(image)}"
        result = [
            _region(shape, number, image, job.dataset.classes.names[shape.class_index])
            for number, shape in enumerate(job.drawn(image, _held), start=1)
        ]
        data = {"image": f"/data/local-files/?d=images/{name}", "part": part}
        tasks.append({"id": task, "data": data, "annotations": [{"result": result}]})
        job.photo(image, out / "images" / name)
    (out / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "classes.txt").write_text("".join(f"{name}\n" for name in job.dataset.classes.names), encoding="utf-8")
    (out / "labeling_config.xml").write_text(_config(job), encoding="utf-8")


def _config(job: Job) -> str:
    colors = job.dataset.classes.colors[1:]
    labels = [
        f"      <Label value={quoteattr(name)} background={quoteattr('#' + bytes(color).hex())}/>"
        for name, color in zip(job.class_names, colors, strict=True)
    ]
    blocks = []
    for kind, name in (("PolygonLabels", "polygon"), ("BrushLabels", "brush")):
        blocks += [f'    <{kind} name="{name}" toName="image">', *labels, f"    </{kind}>"]
    return "\n".join(["<View>", '    <Image name="image" value="$image" zoom="true"/>', *blocks, "</View>"]) + "\n"


def _held(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    if isinstance(segmentation, list) and len(segmentation) == 1:
        sides = (image.width, image.height)
        ring = [
            round(value / sides[n % 2] * 100 / 100 * sides[n % 2], _DECIMALS) for n, value in enumerate(segmentation[0])
        ]
        if same_pixels([[ring]], segmentation, image.height, image.width):
            return [[ring]]
    return held_exactly(as_mask(segmentation, image.height, image.width), image)


def _region(shape: Shape, position: int, image: Image, label: str) -> dict[str, Any]:
    common = {
        "id": f"r{position}",
        "to_name": "image",
        "original_width": image.width,
        "original_height": image.height,
        "image_rotation": 0,
    }
    if isinstance(shape.segmentation, list):
        ring = shape.segmentation[0]
        points = [[x / image.width * 100, y / image.height * 100] for x, y in zip(ring[0::2], ring[1::2], strict=True)]
        value: dict[str, Any] = {"points": points, "closed": True, "polygonlabels": [label]}
        return {**common, "from_name": "polygon", "type": "polygonlabels", "value": value}
    covered = mask(shape.segmentation, image.height, image.width)
    value = {"format": "rle", "rle": encode_brush(covered), "brushlabels": [label]}
    return {**common, "from_name": "brush", "type": "brushlabels", "value": value}


def encode_brush(covered: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] as the bytes of Label Studio's brush: RGBA values, all four alike, in runs of one value."""
    flat = covered.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, *edges.tolist()]
    lengths = np.diff([*starts, flat.size]) * 4
    bits = [f"{flat.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    for start, length in zip(starts, lengths.tolist(), strict=True):
        value = "11111111" if flat[start] else "00000000"
        left = length
        while left:
            run = min(left, 1 << _RUN_BITS[-1])
            choice = next(n for n, size in enumerate(_RUN_BITS) if run <= 1 << size)
            bits.append(f"1{choice:02b}{run - 1:0{_RUN_BITS[choice]}b}{value}")
            left -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))


def decode_brush(data: list[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of a brush: where the fourth value of a pixel is not 0. ValueError for damaged bytes."""
    raw = bytes(data)
    text = f"{int.from_bytes(raw):0{8 * len(raw)}b}" if raw else ""
    place = 0

    def take(size: int) -> int:
        nonlocal place
        place += size
        if place > len(text):
            raise ValueError("it ends too early")
        return int(text[place - size : place], 2)

    total = take(32)
    if total != height * width * 4:
        raise ValueError(f"it has {total} values, an image of {width}x{height} has {height * width * 4}")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values = np.zeros(total, np.uint8)
    done = 0
    while done < total:
        same = take(1)
        until = done + 1 + take(sizes[take(2)])
        if until > total:
            raise ValueError("its runs are longer than the image")
        if same:
            values[done:until] = take(word) != 0
        else:
            for position in range(done, until):
                values[position] = take(word) != 0
        done = until
    return values.reshape(height, width, 4)[:, :, 3].astype(np.bool_)


def read(
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read an export in JSON, or a folder with ``tasks.json`` or one other JSON file.

    Taken are polygons, rectangles, ellipses and brushes of each task's first annotation that was not cancelled; the
    data's photo is the first value that names one. Raises TrashkitError naming file, task and region for anything else.
    """
    path = _file(source)
    tasks = read_json(path)
    if not isinstance(tasks, list):
        raise TrashkitError(f"{path} is no list of tasks", hint="export from Label Studio as JSON (not JSON-MIN)")
    folder = images or next((f for f in (path.parent / "images", path.parent) if f.is_dir()), path.parent)
    known = by_base(folder)
    given = class_names(names, path.parent, "classes.txt")
    draft = Draft(given[1:] if given else ())
    for done, task in enumerate(tasks):
        place = f"{path}, task {task.get('id', done) if isinstance(task, dict) else done}"
        _task(task, place, folder, known, draft)
        progress("reading tasks", done + 1, len(tasks))
    return draft.finish(folder)


def _file(source: Path) -> Path:
    if not source.is_dir():
        return source
    found = [source / "tasks.json"] if (source / "tasks.json").is_file() else sorted(source.glob("*.json"))
    if len(found) != 1:
        raise TrashkitError(f"{source} holds {len(found)} JSON files", hint="name the export of Label Studio itself")
    return found[0]


def _task(task: Any, place: str, folder: Path, known: Any, draft: Draft) -> None:
    data = task.get("data") if isinstance(task, dict) else None
    texts = [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []
    written = data.get("image") if isinstance(data, dict) and isinstance(data.get("image"), str) else None
    written = written or next((text for text in texts if "." in text), None)
    if written is None:
        raise TrashkitError(f"{place} names no photo in data", hint="export from Label Studio as JSON (not JSON-MIN)")
    name = named_photo(written, folder, known)
    annotations = [a for a in task.get("annotations") or [] if isinstance(a, dict) and not a.get("was_cancelled")]
    result = annotations[0].get("result") if annotations else []
    if not isinstance(result, list) or not all(isinstance(region, dict) for region in result):
        raise TrashkitError(f"{place}: its result is no list of regions", hint="export it again")
    sized = next((region for region in result if region.get("original_width")), None)
    if sized is not None:
        width = whole(sized.get("original_width"), place, "original_width")
        height = whole(sized.get("original_height"), place, "original_height")
    else:
        width, height = shown_size(photo_path(folder, name))
    image = draft.image(name, width, height)
    for position, region in enumerate(result):
        _add(region, image, f"{place}, region {region.get('id', position)}", draft)


def _add(region: dict[str, Any], image: dict[str, Any], place: str, draft: Draft) -> None:
    kind, value = region.get("type"), region.get("value")
    if kind not in ("polygonlabels", "brushlabels", "rectanglelabels", "ellipselabels"):
        draft.skip(f"regions of type {kind}", place)
        return
    labels = value.get(kind) if isinstance(value, dict) else None
    if not isinstance(value, dict) or not isinstance(labels, list) or not labels or not isinstance(labels[0], str):
        raise TrashkitError(f"{place} has no label", hint="label it in Label Studio, or delete it")
    if region.get("image_rotation"):
        draft.skip("regions on a photo that was turned in Label Studio", place)
        return
    width, height = int(image["width"]), int(image["height"])
    if kind == "brushlabels":
        try:
            if value.get("format", "rle") != "rle":
                raise ValueError(f"format {value.get('format')}")
            covered = decode_brush(value["rle"], height, width)
        except (ValueError, TypeError, KeyError) as error:
            raise TrashkitError(f"{place}: its brush cannot be read: {error}", hint="export it again") from error
        draft.add(image, labels[0], rle_from_mask(covered), place)
        return
    ring = [
        round(percent / 100 * (width, height)[n % 2], _DECIMALS) for n, percent in enumerate(_ring(kind, value, place))
    ]
    draft.add(image, labels[0], [ring], place)


def _ring(kind: str, value: dict[str, Any], place: str) -> list[float]:
    """Corners in percent of the image."""
    if kind == "polygonlabels":
        points = value.get("points")
        if not isinstance(points, list) or not all(isinstance(p, list) and len(p) == 2 for p in points):
            raise TrashkitError(f"{place} has no list of points", hint="export it again")
        return [number(coordinate, place, "a point") for point in points for coordinate in point]
    x, y = number(value.get("x"), place, "x"), number(value.get("y"), place, "y")
    if number(value.get("rotation", 0), place, "rotation"):
        raise TrashkitError(f"{place} is turned, which is not understood", hint="draw it as a polygon")
    if kind == "rectanglelabels":
        w, h = number(value.get("width"), place, "width"), number(value.get("height"), place, "height")
        return [x, y, x + w, y, x + w, y + h, x, y + h]
    rx, ry = number(value.get("radiusX"), place, "radiusX"), number(value.get("radiusY"), place, "radiusY")
    turns = [2 * math.pi * step / 64 for step in range(64)]
    return [c for turn in turns for c in (x + rx * math.cos(turn), y + ry * math.sin(turn))]
