"""CVAT for video 1.1: frames with a keyframe become images, named as CVAT names the frames that it exports.

CVAT writes the shape of a track in every frame, drawn or interpolated. Between keyframes it only computes them, so that
images of those frames would hold nothing that a person has seen.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from trashkit.errors import TrashkitError
from trashkit.interop.coco_builder import CocoBuilder, number, whole_number
from trashkit.interop.folders import displayed_size

Attributes = dict[str, str]
Element = tuple[str, Attributes, int]
"""Name, attributes and line of an element."""

_INTERPOLATED = {"box": ("xtl", "ytl", "xbr", "ybr"), "ellipse": ("cx", "cy", "rx", "ry")}
_LAST_NUMBER = re.compile(r"([0-9]+)[^0-9]*$")


@dataclass
class Track:
    """An object of a video: attributes and line of the element, and its shapes, in file order."""

    attributes: Attributes
    line: int
    shapes: list[Element] = field(default_factory=list)


@dataclass(frozen=True)
class Frame:
    """A frame that becomes an image: like an image of CVAT for images, with the shapes of all tracks."""

    attributes: Attributes
    line: int
    shapes: list[Element]


def frames(
    tracks: Sequence[Track],
    tasks: Sequence[Mapping[str, str]],
    path: Path,
    *,
    folder: Path | None,
    photos: Iterable[PurePosixPath],
    builder: CocoBuilder,
) -> list[Frame]:
    """The frames that have a keyframe with a visible shape, by task and number.

    tasks: id, name, subset, width and height of each task, as far as the file has them. photos: those of `folder`; the
    last number in their names is that of the frame. Tracks that are not read are counted in `builder`.
    Raises TrashkitError for a frame without a size.
    """
    by_task: dict[str, list[Track]] = {}
    for track in tracks:
        by_task.setdefault(track.attributes.get("task_id", ""), []).append(track)
    numbered = _by_number(photos)
    made = []
    for task_id, some in by_task.items():
        task = next((one for one in tasks if one.get("id") == task_id), tasks[0] if len(tasks) == 1 else {})
        subset = some[0].attributes.get("subset", task.get("subset", ""))
        shapes = _shapes_by_frame(some, path, builder)
        for frame, elements in sorted(shapes.items()):
            line = elements[0][2]
            name = _name(frame, subset if len(by_task) > 1 else "", task_id if len(by_task) > 1 else "", numbered)
            width, height = _size(task, folder, name, f"{path}, line {line}")
            made.append(Frame({"name": name, "width": width, "height": height, "task_id": task_id}, line, elements))
    return made


def _by_number(photos: Iterable[PurePosixPath]) -> dict[int, list[PurePosixPath]]:
    found: dict[int, list[PurePosixPath]] = {}
    for path in photos:
        match = _LAST_NUMBER.search(path.stem)
        if match and len(match[1]) <= 18:
            found.setdefault(int(match[1]), []).append(path)
    return found


def _shapes_by_frame(tracks: Sequence[Track], path: Path, builder: CocoBuilder) -> dict[int, list[Element]]:
    """The visible shapes of each frame that has a keyframe with a visible shape."""
    keyed: set[int] = set()
    of_track: list[dict[int, Element]] = []
    for track in tracks:
        found: dict[int, Element] = {}
        for kind, attributes, line in track.shapes:
            place = f"{path}, line {line}"
            with builder.shape(place):
                frame = whole_number(attributes.get("frame"), place, "frame")
                own = {name: value for name, value in attributes.items() if name != "group_id"}
                found[frame] = (kind, {"label": track.attributes.get("label", ""), **own}, line)
                if attributes.get("outside", "0") != "1" and attributes.get("keyframe", "1") != "0":
                    keyed.add(frame)
        of_track.append(found)
    made: dict[int, list[Element]] = {}
    sorted_frames = [sorted(shapes) for shapes in of_track]
    for frame in keyed:
        pairs = zip(of_track, sorted_frames, strict=True)
        elements = [_at(shapes, numbers, frame, path, builder=builder) for shapes, numbers in pairs]
        made[frame] = [one for one in elements if one is not None]
    return made


def _at(
    shapes: Mapping[int, Element], numbers: Sequence[int], frame: int, path: Path, *, builder: CocoBuilder
) -> Element | None:
    """The shape of a track in a frame: as written, or between two others as CVAT computes it; None outside of it.

    numbers: the frames of `shapes`, sorted.
    """
    if frame in shapes:
        return None if shapes[frame][1].get("outside") == "1" else shapes[frame]
    position = bisect_left(numbers, frame)
    if not 0 < position < len(numbers):
        return None
    before, after = numbers[position - 1], numbers[position]
    if shapes[before][1].get("outside") == "1":
        return None
    kind, attributes, line = shapes[before]
    place = f"{path}, line {line}"
    if kind == "mask" or shapes[after][1].get("outside") == "1":
        return shapes[before]  # CVAT keeps it until the next keyframe
    if kind not in _INTERPOLATED or shapes[after][0] != kind:
        builder.skip(f"elements of type {kind} between the keyframes of a track", place)
        return None
    share = (frame - before) / (after - before)
    made = []
    with builder.shape(place):
        made.append((kind, {**attributes, **_between(kind, attributes, shapes[after][1], share, place)}, line))
    return made[0] if made else None


def _between(kind: str, before: Attributes, after: Attributes, share: float, place: str) -> Attributes:
    """The position of a box or an ellipse between two others, turned by the shorter way."""
    found = {}
    for name in _INTERPOLATED[kind]:
        start, end = (number(attributes.get(name), place, name) for attributes in (before, after))
        found[name] = repr(start + share * (end - start))
    start, end = (number(attributes.get("rotation", 0), place, "rotation") for attributes in (before, after))
    found["rotation"] = repr(start + share * ((end - start + 180) % 360 - 180))
    return found


def _name(frame: int, subset: str, task_id: str, numbered: Mapping[int, Sequence[PurePosixPath]]) -> str:
    """The photo of a frame, or else the name that CVAT gives it; with a folder where there are several tasks."""
    found = numbered.get(frame, ())
    for part in (subset, f"task_{task_id}"):
        inside = [path for path in found if part and part in path.parts[:-1]]
        if len(inside) == 1:
            return inside[0].as_posix()
    if len(found) == 1 and not task_id:
        return found[0].as_posix()
    named = [path for path in found if path.stem == f"frame_{frame:06d}"]
    if len(named) == 1 and not task_id:
        return named[0].as_posix()
    parts = [part for part in (subset, f"task_{task_id}" if task_id else "") if part]
    return "/".join([*parts, f"frame_{frame:06d}.PNG"])


def _size(task: Mapping[str, str], folder: Path | None, name: str, place: str) -> tuple[str, str]:
    if "width" in task and "height" in task:
        return task["width"], task["height"]
    if folder is None or not (folder / name).is_file():
        raise TrashkitError(
            f"{place}: the size of its frame is unknown, since the file has no original_size",
            hint="give the folder of the frames as --images",
        )
    width, height = displayed_size(folder / name)
    return str(width), str(height)
