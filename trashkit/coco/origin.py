"""Where labels in a COCO file come from that models made: ``info.labels_of_models``, so that it goes with the file.

Each entry: ``teachers`` (the models), ``files`` (images that they labelled) and ``photos``, the images whose labels
these models have seen: file names by what `trashkit.pseudo.guard.Photos` knows a photo by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trashkit.coco.dataset import Coco

KEY = "labels_of_models"


def entry(teachers: Sequence[str], files: Sequence[str], photos: Mapping[str, str]) -> dict[str, Any]:
    """One entry of ``info.labels_of_models``."""
    return {"teachers": list(teachers), "files": list(files), "photos": dict(photos)}


def labels_of_models(coco: Coco) -> list[dict[str, Any]]:
    """The entries of a file; those that are damaged are left out."""
    info = coco.top("info") if "info" in coco.items else None
    entries = info.get(KEY) if isinstance(info, dict) else None
    if not isinstance(entries, list):
        return []
    return [one for one in entries if isinstance(one, dict) and isinstance(one.get("photos"), dict)]


def photos_seen(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """File names by key of all images whose labels reached the models of some entries."""
    return {str(key): str(name) for one in entries for key, name in one["photos"].items()}


def joined_info(files: Sequence[Coco]) -> dict[str, Any] | None:
    """``info`` of several files that become one: the first file's, with the entries of all; None to leave it as is."""
    entries: list[dict[str, Any]] = []
    for coco in files:
        entries += [one for one in labels_of_models(coco) if one not in entries]
    if not entries:
        return None
    info = files[0].top("info") if "info" in files[0].items else None
    return {**(info if isinstance(info, dict) else {}), KEY: entries}
