"""YOLO segmentation: one text file per photo, one line per shape, a class number and corners from 0 to 1.

What it cannot hold: annotation ids, crowds, an order of overlapping shapes, several parts, holes. Parts and holes are
joined into one ring by bridges without width, which the even-odd rule of the usual rasterisers paints rightly; where
that would change a pixel, the parts become lines of their own. Corners are written with ten decimals and read to 1e-5
pixels, so that coordinates come back as they were.

Format: https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from trashkit.coco import Image, Segmentation
from trashkit.errors import TrashkitError
from trashkit.interop.draft import Draft, Imported, number
from trashkit.interop.folders import (
    class_names,
    files_in,
    first_folder,
    photos_by_stem,
    read_text,
    shown_size,
    stems,
    suffix_of,
)
from trashkit.interop.job import Job
from trashkit.interop.shapes import Ring, one_ring, pieces, rings_of, same_pixels
from trashkit.masks import mask
from trashkit.progress import Progress, silent

_DECIMALS = 5


def write(job: Job, out: Path) -> None:
    """Write ``images/PART``, ``labels/PART`` and ``data.yaml`` into `out`. Class 0 is the first after background."""
    # Flat, since readers take the last folder named "images" in a photo's path for the one beside "labels".
    names = stems(job.images, flat=True)
    for part, image in job.each():
        target = out / "labels" / part / f"{names[image.row]}.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for shape in job.drawn(image, _held):
            assert isinstance(shape.segmentation, list)
            lines.append(f"{shape.class_index - 1} {_normalised(shape.segmentation[0], image)}\n")
        target.write_text("".join(lines))
        job.photo(image, out / "images" / part / f"{names[image.row]}{suffix_of(image)}")
    (out / "data.yaml").write_text(_yaml(job), encoding="utf-8")


def _yaml(job: Job) -> str:
    lines = ["# YOLO segmentation data set written by trashkit", "path: ."]
    lines += [f"{part}: images/{part}" for part in job.parts]
    if "val" not in job.parts:
        lines.append(f"val: images/{next(iter(job.parts))}")
    lines.append("names:")
    lines += [f"  {index}: {json.dumps(name, ensure_ascii=False)}" for index, name in enumerate(job.class_names)]
    return "\n".join(lines) + "\n"


def _normalised(ring: Ring, image: Image) -> str:
    sides = (image.width, image.height)
    return " ".join(f"{value / sides[n % 2]:.10f}".rstrip("0").rstrip(".") for n, value in enumerate(ring))


def _held(segmentation: Segmentation, image: Image) -> list[Segmentation]:
    """As one ring where that covers the same pixels, else one row for each ring, or for each piece without holes."""
    height, width = image.height, image.width
    rings = [_as_read(ring, image) for ring in rings_of(segmentation, height, width)]
    if not rings:
        return []
    if len(rings) == 1:
        joined: list[Segmentation] = [[rings[0]]]
    else:
        joined = [[one_ring(rings)]]
    if same_pixels(joined, segmentation, height, width):
        return joined
    apart: list[Segmentation] = [[ring] for ring in rings]
    if same_pixels(apart, segmentation, height, width):
        return apart
    return pieces(mask(segmentation, height, width))


def _as_read(ring: Ring, image: Image) -> Ring:
    """A ring as `read` gives it back: inside the image, and to 1e-5 pixels."""
    sides = (image.width, image.height)
    return [round(min(max(value, 0.0), float(sides[n % 2])), _DECIMALS) for n, value in enumerate(ring)]


def read(
    source: Path, *, images: Path | None = None, names: str | None = None, progress: Progress = silent
) -> Imported:
    """Read a folder with ``images/`` and ``labels/`` (each with or without train, val ... below).

    Class names come from `names` or from ``data.yaml``; sizes from the photos, as viewers show them. Photos without a
    label file have no annotations. Lines with a box alone (four numbers) become rectangles, which is noted.
    Raises TrashkitError naming file and line for anything that is no such line, and for classes without a name.
    """
    photo_folder = images or first_folder(source, "images")
    label_folder = first_folder(source, "labels")
    known = _names(source, names)
    draft = Draft(known)
    photos = photos_by_stem(photo_folder)
    labels = {
        path.with_suffix("").as_posix(): path
        for path in files_in(label_folder, [".txt"])
        if path.name not in ("classes.txt", "train.txt", "val.txt", "test.txt")
    }
    lost = next((path for stem, path in labels.items() if stem not in photos), None)
    if lost is not None:
        raise TrashkitError(
            f"{label_folder / lost} has no photo in {photo_folder}", hint="give the folder of the photos with --images"
        )
    for done, (stem, photo) in enumerate(photos.items()):
        width, height = shown_size(photo_folder / photo)
        image = draft.image(photo.as_posix(), width, height)
        path = label_folder / labels[stem] if stem in labels else None
        for line, text in enumerate(read_text(path).splitlines() if path else (), start=1):
            if text.strip():
                name, ring = _line(text, known, (width, height), f"{path}, line {line}", draft)
                draft.add(image, name, [ring], f"{path}, line {line}")
        progress("reading labels", done + 1, len(photos))
    return draft.finish(photo_folder)


def _line(text: str, names: tuple[str, ...], size: tuple[int, int], place: str, draft: Draft) -> tuple[str, Ring]:
    first, *rest = text.split()
    index = number(first, place, "the class")
    if index != int(index) or not 0 <= index < len(names):
        raise TrashkitError(
            f"{place}: there is no class {first}", hint=f"classes are 0 to {len(names) - 1}, see data.yaml"
        )
    values = [number(value, place, "a coordinate") for value in rest]
    if len(values) == 4:
        draft.skip("boxes taken as rectangles", place)
        x, y, w, h = values
        left, top, right, bottom = x - w / 2, y - h / 2, x + w / 2, y + h / 2
        values = [left, top, right, top, right, bottom, left, bottom]
    if len(values) < 6 or len(values) % 2:
        raise TrashkitError(
            f"{place}: {len(values)} numbers after the class are no outline",
            hint="write x and y of three or more corners",
        )
    return names[int(index)], [round(value * size[n % 2], _DECIMALS) for n, value in enumerate(values)]


def _names(source: Path, given: str | None) -> tuple[str, ...]:
    """Class names by class number, without background."""
    found = class_names(given, source, "classes.txt") if given else None
    if found is not None:
        return found[1:]
    for path in (source / "data.yaml", source / "dataset.yaml", source / "data.yml"):
        if path.is_file():
            return yaml_names(read_text(path), path)
    found = class_names(None, source, "classes.txt")
    if found is None:
        raise TrashkitError(f"{source} has no data.yaml that names the classes", hint="name them with --names A,B,C")
    return found[1:]


def yaml_names(text: str, path: Path) -> tuple[str, ...]:
    """The list or map ``names`` of a data.yaml, in block or flow form; no other YAML is understood or needed."""
    lines = [line.split(" #")[0].rstrip() for line in text.splitlines()]
    start = next((n for n, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise TrashkitError(f"{path} has no entry names", hint="name the classes with --names A,B,C")
    flow = lines[start].partition(":")[2].strip()
    if flow:
        rest = iter(lines[start + 1 :])
        while flow[0] in "[{" and flow[-1] not in "]}":
            following = next(rest, None)
            if following is None:
                break
            flow += " " + following.strip()
        items = [item.strip() for item in re.findall(r"""(?:[^,'"]|'[^']*'|"[^"]*")+""", flow.strip("[]{} "))]
    else:
        items = []
        for line in lines[start + 1 :]:
            if line and not line.startswith((" ", "-")):
                break
            if line.strip():
                items.append(line.strip().removeprefix("-").strip())
    numbered: dict[int, str] = {}
    for place, item in enumerate(items):
        match = re.match(r"""(\d+)\s*:\s*(.*)""", item)
        index, name = (int(match[1]), match[2]) if match else (place, item)
        numbered[index] = _unquoted(name)
    if sorted(numbered) != list(range(len(numbered))) or not all(numbered.values()):
        raise TrashkitError(f"{path}: its names cannot be read", hint="name the classes with --names A,B,C")
    return tuple(numbered[index] for index in range(len(numbered)))


def _unquoted(text: str) -> str:
    if text[:1] == '"' and text[-1:] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return text[1:-1].replace("''", "'") if text[:1] == "'" and text[-1:] == "'" else text
