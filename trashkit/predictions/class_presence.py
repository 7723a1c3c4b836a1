"""Class presence: which classes each photo shows, and reweighting predictions by it.

A file is JSON: ``{"format", "version", "classes": [...], "source": {...}, "images": [{"id", "file_name", "shares":
[...]}]}``, the shares in the order of the classes. `trashkit.workflows.prediction.presence` makes them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.outputs import write_text
from trashkit.readers import LARGE, checked, decode_json, read_bytes

FORMAT, VERSION = "trashkit-presence", 1

FLOOR = 0.01
"""Added to each share, so that no classifier rules a class out completely."""


@dataclass(frozen=True, eq=False)
class ClassPresence:
    """The expected share of each class among the objects of each photo.

    classes: names without background. image_ids, file_names: of N photos. shares: float64 [N, classes], rows sum to 1.
    source: how it was made.
    """

    classes: tuple[str, ...]
    image_ids: tuple[Any, ...]
    file_names: tuple[str, ...]
    shares: NDArray[np.float64]
    source: Mapping[str, Any] = field(default_factory=dict)

    def of(self, image_ids: Sequence[Any], file_names: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
        """Return the shares [images, classes] of these images, classes in the order of `names` (no background).

        Raises TrashkitError naming the first image or class that is missing.
        """
        lacking = set(names).symmetric_difference(self.classes)
        if lacking:
            raise TrashkitError(
                f"the presence file has different classes: {', '.join(sorted(lacking))}",
                hint="make it from the same data",
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


def reweight(
    probabilities: NDArray[np.float32], shares: NDArray[np.float64], power: float = 1.0
) -> NDArray[np.float32]:
    """Return probabilities [C, H, W] whose object classes are multiplied by ``(shares + FLOOR) ** power``.

    Each pixel keeps its probability of background and, in sum, of objects. shares: [C - 1]. power: 0 changes nothing; 1
    is Bayes' rule under a uniform prior if pixel and photo are independent evidence of the pixel's class.
    """
    reweighted = probabilities.copy()
    reweighted[1:] *= ((shares + FLOOR) ** power).astype(np.float32)[:, None, None]
    total = reweighted[1:].sum(axis=0)
    reweighted[1:] *= np.divide(probabilities[1:].sum(axis=0), total, out=np.ones_like(total), where=total > 0)
    return reweighted


def write_presence(presence: ClassPresence, path: Path, *, overwrite: bool = False) -> None:
    """Write the file: one line per photo, six digits, the same bytes for the same values."""
    head = {"format": FORMAT, "version": VERSION, "classes": presence.classes, "source": presence.source}
    rows = [
        json.dumps({"id": image_id, "file_name": name, "shares": [round(v, 6) for v in shares]}, ensure_ascii=False)
        for image_id, name, shares in zip(
            presence.image_ids, presence.file_names, presence.shares.tolist(), strict=True
        )
    ]
    text = json.dumps(head, ensure_ascii=False)[:-1] + ', "images": [\n' + ",\n".join(rows) + "\n]}\n"
    write_text(path, text, overwrite=overwrite)


class _ImageForm(TypedDict):
    id: int | str
    file_name: str
    shares: list[float]


class _SourceForm(TypedDict, total=False):
    seen: int


class _PresenceForm(TypedDict):
    format: str
    classes: list[str]
    images: list[_ImageForm]
    source: NotRequired[_SourceForm]


def read_presence(path: Path) -> ClassPresence:
    """Read what `write_presence` wrote. TrashkitError where it is missing or another kind of file."""
    try:
        value = decode_json(read_bytes(path, most=LARGE))
        checked(value, _PresenceForm)
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']!r}")
        images, classes = value["images"], tuple(value["classes"])
        if not images or len(set(classes)) < max(1, len(classes)):
            raise ValueError("it has no images, or classes that are missing or occur twice")
        if any(len(image["shares"]) != len(classes) for image in images):
            raise ValueError("its shares are not a table of numbers, one for each class")
        shares = np.array([image["shares"] for image in images], dtype=np.float64)
        # More than the sum of all shares, 1, would overflow in 32 bits at some power.
        if not ((shares >= 0) & (shares <= 1.001)).all():
            raise ValueError("its shares are not numbers from 0 to 1")
        ids, names = tuple(image["id"] for image in images), tuple(image["file_name"] for image in images)
        return ClassPresence(classes, ids, names, shares, value.get("source", {}))
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no file {path}", hint="trashkit presence makes one") from error
    except (OSError, ValueError) as error:
        text = read_error_reason(error)
        raise TrashkitError(f"{path} is not a presence file: {text}", hint="trashkit presence makes one") from error
