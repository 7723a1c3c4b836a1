"""Provenance of model-made labels in a COCO file, stored in the file itself as ``info.labels_of_models``.

Each entry has ``teachers`` (the models), ``files`` (images that they labelled) and ``photos``, the images whose labels
the models were trained on: file names by the key that `trashkit.pseudo.leak_guard` identifies a photo by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trashkit.coco.dataset import Coco

KEY = "labels_of_models"


def entry(teachers: Sequence[str], files: Sequence[str], photos: Mapping[str, str]) -> dict[str, Any]:
    """Build one entry of ``info.labels_of_models``."""
    return {"teachers": list(teachers), "files": list(files), "photos": dict(photos)}


def labels_of_models(coco: Coco) -> list[dict[str, Any]]:
    """Read the entries of a file; damaged ones are left out."""
    info = coco.top("info") if "info" in coco.items else None
    entries = info.get(KEY) if isinstance(info, dict) else None
    if not isinstance(entries, list):
        return []
    return [one for one in entries if isinstance(one, dict) and isinstance(one.get("photos"), dict)]


def photos_seen(entries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """File names by key of all images whose labels the models of these entries were trained on."""
    return {str(key): str(name) for one in entries for key, name in one["photos"].items()}


def merged_info(files: Sequence[Coco]) -> dict[str, Any] | None:
    """``info`` of merged files: the first file's, with the entries of all; None if no file has entries."""
    entries: list[dict[str, Any]] = []
    for coco in files:
        entries += [one for one in labels_of_models(coco) if one not in entries]
    if not entries:
        return None
    info = files[0].top("info") if "info" in files[0].items else None
    return {**(info if isinstance(info, dict) else {}), KEY: entries}
