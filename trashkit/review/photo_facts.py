"""What photos show before anything is trained: brightness, contrast, saturation, and what near-duplicates share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from trashkit import near_duplicates, photos
from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent

COLOUR_SIDE = 64
"""Colours are measured with a photo's longer side at this many pixels, as on the audit's page."""


class PhotoFacts(NamedTuple):
    """One photo. brightness, contrast: mean and standard deviation of grey; saturation: mean of HSV's; all 0 .. 255.
    look: what near-duplicates are told by, None where it was not asked for."""

    brightness: float
    contrast: float
    saturation: float
    look: near_duplicates.Look | None


def measure(paths: Sequence[Path], *, looks: bool = False, progress: Progress = silent) -> list[PhotoFacts | None]:
    """Facts of photos, several decoded at a time; None for those that cannot be read."""

    def one(path: Path) -> PhotoFacts | None:
        try:
            photo = photos.thumbnail(path, near_duplicates.LONGEST if looks else COLOUR_SIDE)
        except TrashkitError:
            return None
        small = photos.shrink(photo, COLOUR_SIDE)
        grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
        saturation = float(cv2.cvtColor(small, cv2.COLOR_RGB2HSV)[..., 1].mean())
        look = near_duplicates.look(photo) if looks else None
        return PhotoFacts(float(grey.mean()), float(np.std(grey)), saturation, look)

    found: list[PhotoFacts | None] = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for facts in pool.map(one, paths):
            if len(found) % 50 == 0:
                progress("looking at photos", len(found), len(paths))
            found.append(facts)
    return found


def alike(facts: Sequence[PhotoFacts | None], *, progress: Progress = silent) -> list[int | None]:
    """The group of near-duplicates of each photo, counted from 1; None for photos that are like no other."""
    known = [(n, one.look) for n, one in enumerate(facts) if one is not None and one.look is not None]
    groups = near_duplicates.near_groups([look for _, look in known], progress=progress)
    sizes = Counter(groups.tolist())
    named = {group: k for k, group in enumerate((g for g in dict.fromkeys(groups.tolist()) if sizes[g] > 1), start=1)}
    found: list[int | None] = [None] * len(facts)
    for (n, _), group in zip(known, groups.tolist(), strict=True):
        found[n] = named.get(group)
    return found
