"""Data files that `trashkit init` writes itself: a mark in their ``info`` says so, until somebody edits them.

So a second ``init`` makes them anew from their sources, and neither takes them for sources nor replaces work on them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from trashkit.coco import Coco

KEY = "trashkit_init"
_BLOCKS = ("images", "annotations", "categories")


def mark(coco: Coco, sources: Sequence[str]) -> Coco:
    """Return the file with a mark. sources: what it is made of, relative to its folder; none for a list of photos."""
    info = coco.top("info") if "info" in coco.items else None
    entry = {"sources": list(sources), "sha256": _digest(coco)}
    marked = Coco.of({"info": {**(info if isinstance(info, dict) else {}), KEY: entry}})
    return Coco({**coco.items, **marked.items})


def sources_of(coco: Coco) -> list[str] | None:
    """What a file is made of; None for a file that has no mark, or was edited since."""
    info = coco.top("info") if "info" in coco.items else None
    entry = info.get(KEY) if isinstance(info, dict) else None
    if not isinstance(entry, dict) or not isinstance(entry.get("sources"), list):
        return None
    return [str(one) for one in entry["sources"]] if entry.get("sha256") == _digest(coco) else None


def can_be_made_anew(coco: Coco, folder: Path) -> bool:
    """Whether `trashkit init` wrote a file, nobody has edited it, and its sources are still in the folder."""
    sources = sources_of(coco)
    return sources is not None and all((folder / one).exists() for one in sources)


def _digest(coco: Coco) -> str:
    found = hashlib.sha256()
    for block in _BLOCKS:
        for row in coco.rows(block):
            found.update(bytes(row) + b"\n")
        found.update(b"\n")
    return found.hexdigest()[:32]
