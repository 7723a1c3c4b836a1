"""Which classes a photo shows, as a classifier of whole photos says, and predictions weighed by it.

A file of JSON: ``{"format", "version", "classes": [...], "source": {...}, "images": [{"id", "file_name", "shares":
[...]}]}``, the shares in the order of the classes. `trashkit.nn.photo_classes` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, why_unread
from trashkit.files import write_text

FORMAT, VERSION = "trashkit-presence", 1

FLOOR = 0.01
"""Added to each share before it weighs anything: no classifier is so sure that a class may not be seen at all."""


@dataclass(frozen=True, eq=False)
class Presence:
    """classes: names of the objects' classes, without background. image_ids, file_names: of N photos.

    shares: float64 [N, classes], the part of each photo's objects that is expected to be of each class; rows sum to 1.
    source: how it was made.
    """

    classes: tuple[str, ...]
    image_ids: tuple[Any, ...]
    file_names: tuple[str, ...]
    shares: NDArray[np.float64]
    source: Mapping[str, Any] = field(default_factory=dict)

    def of(self, image_ids: Sequence[Any], file_names: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
        """Shares [images, classes] of the images named, their classes in the order of `names` (no background).

        Raises TrashkitError naming the first image or class that it lacks.
        """
        lacking = set(names).symmetric_difference(self.classes)
        if lacking:
            raise TrashkitError(
                f"the presence file has other classes: {', '.join(sorted(lacking))}", hint="make it from the same data"
            )
        rows = {pair: n for n, pair in enumerate(zip(self.image_ids, self.file_names, strict=True))}
        found = []
        for pair in zip(image_ids, file_names, strict=True):
            if pair not in rows:
                raise TrashkitError(
                    f"the presence file lacks {pair[1]} (id {pair[0]})", hint="make it for the images of the store"
                )
            found.append(rows[pair])
        return self.shares[found][:, [self.classes.index(name) for name in names]]


def weigh(probabilities: NDArray[np.float32], shares: NDArray[np.float64], power: float = 1.0) -> NDArray[np.float32]:
    """Probabilities [C, H, W] with those of the objects' classes multiplied by ``(shares + FLOOR) ** power``.

    Each pixel keeps its probability of background and, in sum, of objects. shares: [C - 1]. power: 0 changes nothing.
    If a pixel and the whole photo were independent witnesses of the pixel's class, 1 would be Bayes' rule under a
    uniform prior.
    """
    weighed = probabilities.copy()
    weighed[1:] *= ((shares + FLOOR) ** power).astype(np.float32)[:, None, None]
    total = weighed[1:].sum(axis=0)
    weighed[1:] *= np.divide(probabilities[1:].sum(axis=0), total, out=np.ones_like(total), where=total > 0)
    return weighed


def write_presence(presence: Presence, path: Path, *, overwrite: bool = False) -> None:
    """Write the file: a line for each photo, six digits, the same bytes for the same values."""
    head = {"format": FORMAT, "version": VERSION, "classes": presence.classes, "source": presence.source}
    rows = [
        json.dumps({"id": image_id, "file_name": name, "shares": [round(v, 6) for v in shares]}, ensure_ascii=False)
        for image_id, name, shares in zip(
            presence.image_ids, presence.file_names, presence.shares.tolist(), strict=True
        )
    ]
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [\n' + ",\n".join(rows) + "\n]}\n"
    write_text(path, text, overwrite=overwrite)


def read_presence(path: Path) -> Presence:
    """Read what `write_presence` wrote. TrashkitError where it is missing or something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}")
        images = value["images"]
        shares = np.array([image["shares"] for image in images], dtype=np.float64)
        classes = tuple(str(name) for name in value["classes"])
        if shares.shape != (len(images), len(classes)) or not (np.isfinite(shares).all() and (shares >= 0).all()):
            raise ValueError("its shares are no table of numbers, one for each class")
        ids, names = tuple(image["id"] for image in images), tuple(str(image["file_name"]) for image in images)
        return Presence(classes, ids, names, shares, dict(value.get("source", {})))
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no file {path}", hint="trashkit presence makes one") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        text = f"it lacks {error}" if isinstance(error, KeyError) else why_unread(error)
        raise TrashkitError(f"{path} is no presence file: {text}", hint="trashkit presence makes one") from error
