"""RLE in other notations than COCO's: sizes as [width, height], escaped and quoted counts, missing last zeros."""

from __future__ import annotations

import base64
import contextlib
import re
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from trashkit.audit.readings.evidence import Evidence, as_number, box_agrees, evidence_of, proof
from trashkit.audit.views.run_lengths import NO_BOX, RunLengths, run_length_mask
from trashkit.raster.masks import MOST_PIXELS, mask, rle_from_mask

_FIRST_CODE, _LAST_CODE = 48, 111
"""Compressed counts have the characters from 0 to o (pycocotools, rleToString)."""

_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}", re.ASCII)


class Candidate(NamedTuple):
    """One reading. transposed: its rows and columns have to be exchanged. needs: what has to agree with it."""

    segmentation: dict[str, Any]
    read: RunLengths
    how: str
    transposed: bool = False
    needs: str = "box"


def is_rle(value: Any) -> bool:
    """Whether a segmentation is meant as an RLE."""
    return isinstance(value, dict) and "counts" in value


def mask_reading(
    value: dict[str, Any], evidence: Evidence, height: int, width: int
) -> tuple[dict[str, Any], str] | None:
    """An RLE for an image [height, width] in pixels and why; None if nothing proves one, or if two readings agree."""
    found: dict[str, tuple[dict[str, Any], str]] = {}
    for candidate in _candidates(value, height, width):
        box, area = candidate.read.box, candidate.read.area
        if candidate.transposed:
            box = (box[1], box[0], box[3], box[2])
        agrees = proof(evidence, box, area) if area > 0 else None
        if agrees is None:
            continue
        boxed = evidence.box is not None and box_agrees(evidence.box, box)
        exact = evidence.area is not None and abs(evidence.area - area) <= 0.01 * area
        if (candidate.needs == "box" and not boxed) or (candidate.needs == "both" and not (boxed and exact)):
            continue
        why = f"{candidate.how}, and {agrees}" if agrees else candidate.how
        segmentation = candidate.segmentation
        if candidate.transposed:
            segmentation = rle_from_mask(mask(segmentation, width, height).T)
        found.setdefault(_key(segmentation, height, width), (segmentation, why))
    return next(iter(found.values())) if len(found) == 1 else None


def pixel_rows(value: Any, height: float, width: float) -> npt.NDArray[np.bool_] | None:
    """A mask [H, W] that is a list of rows with a number (0, or one other) for each pixel; None for anything else."""
    if not isinstance(value, list) or len(value) != height:
        return None
    if any(not isinstance(row, list) or len(row) != width for row in value):
        return None
    if any(type(pixel) not in (bool, int, float) for row in value for pixel in row):
        return None
    pixels = np.array(value, np.float64)
    covered = pixels != 0
    return covered if len(np.unique(pixels[covered])) <= 1 else None


def pixel_rows_reading(covered: npt.NDArray[np.bool_], evidence: Evidence) -> tuple[dict[str, Any], str] | None:
    """A mask [H, W] as RLE and why; None if it is empty, or if bbox or area contradict it."""
    if not covered.any():
        return None
    agrees = proof(evidence, _box(covered), float(covered.sum()))
    why = "it has a number for each pixel of the image"
    return None if agrees is None else (rle_from_mask(covered), f"{why}, and {agrees}" if agrees else why)


def other_mask(record: dict[str, Any], read: RunLengths) -> tuple[dict[str, Any], str] | None:
    """The mask that an annotation's bbox and area prove where they contradict the one that it has, and what is wrong.

    read: the mask as it is, which must be one without problems. Its counts may run along rows, or count the background
    as the object.
    """
    evidence = evidence_of(record)
    height, width = read.size
    value = record.get("segmentation")
    if evidence.box is None or box_agrees(evidence.box, read.box) or height * width > MOST_PIXELS or not is_rle(value):
        return None
    if evidence.area is None or read.lengths is None:
        return None
    along_rows = abs(evidence.area - read.area) <= 0.01 * read.area
    rest = height * width - read.area
    if not along_rows and not abs(evidence.area - rest) <= 0.01 * rest:
        return None
    runs = np.repeat(np.arange(len(read.lengths)) % 2, read.lengths).astype(np.bool_)
    if along_rows:
        covered = runs.reshape(height, width)
        what = "counts run along rows, as bbox and area show, but COCO has columns"
    else:
        covered, what = ~runs.reshape(width, height).T, "counts are those of the background, as bbox and area show"
    return (rle_from_mask(covered), what) if box_agrees(evidence.box, _box(covered)) else None


def _box(covered: npt.NDArray[np.bool_]) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a mask [H, W]."""
    rows, columns = np.flatnonzero(covered.any(axis=1)), np.flatnonzero(covered.any(axis=0))
    return (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)) if len(rows) else NO_BOX


def _key(segmentation: dict[str, Any], height: int, width: int) -> str:
    return str(rle_from_mask(mask(segmentation, height, width))["counts"])


def _candidates(value: dict[str, Any], height: int, width: int) -> Iterator[Candidate]:
    if height * width > MOST_PIXELS:
        return
    size = _size(value.get("size"))
    same, exchanged = size == [height, width], size == [width, height] and height != width
    if size is not None and not same and not exchanged:
        return
    for counts, what in _counts(value.get("counts")):
        label = what or "its size is that of the image"
        if exchanged:
            label = f"{what + ', and ' if what else ''}its size is [width, height]"
        segmentation = {**value, "size": [height, width], "counts": counts}
        read = run_length_mask(segmentation, height, width)
        if read.lengths is not None:
            how = f"{label}, its counts fill the image" if what and same else label
            yield Candidate(segmentation, read, how, needs="fill" if same else "box")
            if exchanged:
                other = {**segmentation, "size": [width, height]}
                how = f"{label} and its counts run along rows"
                yield Candidate(other, run_length_mask(other, width, height), how, transposed=True)
        elif isinstance(counts, list) and same and 0 < sum(counts) < height * width and min(counts) >= 0:
            rest = height * width - sum(counts)
            full = [*counts, rest] if len(counts) % 2 == 0 else [*counts[:-1], counts[-1] + rest]
            padded = {**segmentation, "counts": full}
            yield Candidate(
                padded, run_length_mask(padded, height, width), "only its last zeros are missing", needs="both"
            )


def _size(size: Any) -> list[int] | None:
    """A size of two whole numbers, also as text or as an object with height and width."""
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        size = [size["height"], size["width"]]
    if not isinstance(size, list | tuple) or len(size) != 2:
        return None
    sides = [as_number(side) for side in size]
    return [int(side) for side in sides if side is not None and side == int(side)] if None not in sides else None


def _counts(counts: Any) -> Iterator[tuple[Any, str]]:
    """Notations of counts: the value itself, and what it was before it was quoted or escaped."""
    while isinstance(counts, list) and len(counts) == 1 and isinstance(counts[0], list):
        counts = counts[0]
    if isinstance(counts, list):
        numbers = [as_number(number) for number in counts]
        if not any(number is None or number != int(number) for number in numbers):
            whole = [int(number) for number in numbers if number is not None]
            if whole and min(whole) >= _FIRST_CODE and max(whole) <= _LAST_CODE:
                yield "".join(map(chr, whole)), "its counts are the character codes of compressed counts"
            yield whole, "" if all(type(number) is int for number in counts) else "its counts are whole numbers"
        return
    if not isinstance(counts, str):
        return
    yield counts, ""
    plain, quoted = counts.strip(), ""
    if plain != counts:
        yield plain, "its counts have spaces or line ends around them"
    if re.fullmatch(r"b'.*'|b\".*\"", plain, re.DOTALL):
        plain, quoted = plain[2:-1], "its counts are the text of a bytes object"
        yield plain, quoted
    if "\\\\" in plain:
        yield plain.replace("\\\\", "\\"), f"{quoted + ', ' if quoted else ''}its counts have doubled backslashes"
        yield plain.replace("\\\\\\\\", "\\"), "its counts have backslashes escaped twice"
    decoded = _from_base64(plain)
    if decoded:
        yield decoded, f"{quoted + ', ' if quoted else ''}its counts are encoded in base64"
    pieces = [piece for piece in re.split(r"[\s,;]+", counts.strip("[] ")) if piece]
    if len(pieces) > 2 and all(piece.isdecimal() and len(piece) < 11 for piece in pieces):
        yield [int(piece) for piece in pieces], "its counts are a list written as text"


def _from_base64(text: str) -> str | None:
    """Compressed counts from base64, also if zlib packed them before; None if the text is something else."""
    if not _BASE64.fullmatch(text) or len(text) % 4:
        return None
    found = base64.b64decode(text)
    with contextlib.suppress(zlib.error):
        found = zlib.decompressobj().decompress(found, MOST_PIXELS)
    return found.decode() if found and all(_FIRST_CODE <= code <= _LAST_CODE for code in found) else None
