"""Groups of images that must stay in one fold: near-duplicate photos, a field, a folder, a pattern, a user's file."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError

Ints = NDArray[np.intp]
Hashes = NDArray[np.uint64]

BANDS = 4
MAX_DISTANCE = 7
"""Largest Hamming distance that `close_pairs` can search for: 4 bands of 16 bits, of which one then differs in at
most one bit."""
HINT = "--groups field:NAME, folder, regex:PATTERN or file:GROUPS.json"


def union(count: int, pairs: Iterable[tuple[int, int]]) -> Ints:
    """[count] group numbers 0 .. G-1 in order of first member, where each pair is in one group (union-find)."""
    parent = list(range(count))

    def root(n: int) -> int:
        while parent[n] != n:
            parent[n] = parent[parent[n]]
            n = parent[n]
        return n

    for one, other in pairs:
        a, b = root(one), root(other)
        if a != b:
            parent[max(a, b)] = min(a, b)
    return number([root(n) for n in range(count)])


def number(labels: Sequence[Hashable]) -> Ints:
    """Group numbers 0 .. G-1 in order of first appearance. None stands for "alone"."""
    seen: dict[Hashable, int] = {}
    result = np.empty(len(labels), dtype=np.intp)
    for n, label in enumerate(labels):
        key: Hashable = ("alone", n) if label is None else ("group", label)
        result[n] = seen.setdefault(key, len(seen))
    return result


def joined(first: Ints, second: Ints) -> Ints:
    """The finest grouping that breaks neither: groups that share an image become one."""
    pairs: list[tuple[int, int]] = []
    for group in (first, second):
        home: dict[int, int] = {}
        pairs += [(home.setdefault(int(g), n), n) for n, g in enumerate(group)]
    return union(len(first), pairs)


def close_pairs(hashes: Hashes, distance: int) -> list[tuple[int, int]]:
    """Pairs of positions whose 64-bit hashes differ in at most `distance` bits, at least enough to join every group.

    hashes: uint64 [N]. distance: 0 .. 7. Equal hashes are chained rather than paired all with all. The others are
    found by multi-index hashing (Norouzi et al. 2012): of four 16-bit bands one differs in at most ``distance // 4``
    bits, so only hashes in neighbouring buckets of a band are compared.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance must lie in 0 .. {MAX_DISTANCE}, not {distance}")
    unique, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    pairs = [(int(first[p]), n) for n, p in enumerate(place) if first[p] != n]
    flips = [0] if distance < BANDS else [0, *(1 << bit for bit in range(16))]
    found: set[tuple[int, int]] = set()
    for band in range(BANDS if distance else 0):
        key = (unique >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(key, kind="stable")
        ordered = key[order]
        for flip in flips:
            wanted = key ^ np.uint64(flip)
            low, high = np.searchsorted(ordered, wanted), np.searchsorted(ordered, wanted, side="right")
            left = np.repeat(np.arange(len(unique)), high - low)
            offset = np.arange(len(left)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
            right = order[np.repeat(low, high - low) + offset]
            once = left < right
            left, right = left[once], right[once]
            near = np.bitwise_count(unique[left] ^ unique[right]) <= distance
            found.update(zip(left[near].tolist(), right[near].tolist(), strict=True))
    return pairs + sorted((int(first[a]), int(first[b])) for a, b in found)


def named_groups(dataset: Dataset, rule: str) -> Ints:
    """[N] group number of each image by a rule, images in file order.

    ``field:NAME`` the value of a key of the image's row, dots go into objects (``field:extra.scene``); images without
    it stand alone. ``folder`` the folder part of ``file_name``. ``regex:PATTERN`` what the pattern finds in
    ``file_name`` (its groups where it has some); images where it finds nothing stand alone. ``file:PATH`` a JSON
    object from image id or file name to group, or a text with ``file name or id, tab or comma, group`` per line.
    Raises TrashkitError for an unknown rule, a broken pattern or file, or a rule that finds no group at all.
    """
    kind, _, value = rule.partition(":")
    if kind == "folder" and not value:
        labels: list[Hashable] = [image.file_name.rpartition("/")[0] for image in dataset.images]
    elif kind == "field" and value:
        labels = [_field(dataset.coco.record("images", image.row), value) for image in dataset.images]
    elif kind == "regex" and value:
        labels = _matches([image.file_name for image in dataset.images], value)
    elif kind == "file" and value:
        given = _group_file(Path(value))
        labels = [given.get(str(image.id), given.get(image.file_name)) for image in dataset.images]
    else:
        raise TrashkitError(f'"{rule}" is no rule for groups', hint=HINT)
    if all(label is None for label in labels):
        raise TrashkitError(f"--groups {rule} finds a group for none of {len(labels)} images", hint=HINT)
    return number(labels)


def _field(record: Any, name: str) -> Hashable:
    for part in name.split("."):
        record = record.get(part) if isinstance(record, dict) else None
    return None if record is None else json.dumps(record, sort_keys=True)


def _matches(names: list[str], pattern: str) -> list[Hashable]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise TrashkitError(f'--groups regex: "{pattern}" is no regular expression: {error}', hint=HINT) from error
    found = [compiled.search(name) for name in names]
    return [None if match is None else (match.groups() or match.group()) for match in found]


def _group_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TrashkitError(f"{path} cannot be read as groups: {error}", hint=HINT) from error
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise TrashkitError(f"{path} is no JSON: {error}", hint=HINT) from error
        return {str(key): json.dumps(group, sort_keys=True) for key, group in value.items()}
    given: dict[str, str] = {}
    for line_number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, separator, group = line.rpartition("\t" if "\t" in line else ",")
        if not separator:
            raise TrashkitError(f"{path}, line {line_number}: no tab and no comma", hint="write: file name,group")
        given[name.strip()] = group.strip()
    return given
