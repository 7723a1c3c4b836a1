"""Groups of images that must stay in one fold: near-duplicate photos, a field, a folder, a pattern, a user's file."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.near_duplicates import union

Ints = NDArray[np.intp]

FILE_HINT = 'a line "file name,group" for each image, or JSON {"file name or image id": "group"}'
HINT = "--groups field:NAME, folder, regex:PATTERN or file:GROUPS.json"


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


def group_file_notes(dataset: Dataset, rule: str) -> list[str]:
    """What of a ``file:PATH`` rule fits the data set only in part, one line each; empty for other rules."""
    kind, _, value = rule.partition(":")
    if kind != "file" or not value:
        return []
    given = _group_file(Path(value))
    names = {name for image in dataset.images for name in (str(image.id), image.file_name)}
    unknown = [name for name in given if name not in names]
    alone = [i.file_name for i in dataset.images if str(i.id) not in given and i.file_name not in given]
    lines: list[str] = []
    if unknown:
        lines.append(f"{value} names {len(unknown)} of {len(given)} images that the data set lacks, first {unknown[0]}")
    if alone:
        lines.append(
            f"{value} names no group for {len(alone)} of {len(dataset.images)} images, which stand alone, "
            f"first {alone[0]}"
        )
    return lines


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
    if not path.exists():
        raise TrashkitError(f"{path} does not exist", hint="check the path after --groups file:")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise TrashkitError(f"{path} cannot be read as groups: {error}", hint=HINT) from error
    if text.lstrip().startswith("{"):
        try:
            value = json.loads(text)
        except ValueError as error:
            raise TrashkitError(f"{path} is no JSON: {error}", hint=HINT) from error
        for key, group in value.items():
            if not isinstance(group, str | int):
                raise TrashkitError(
                    f'{path}: "{key}" has the group {json.dumps(group)}, no text or whole number', hint=FILE_HINT
                )
        return {str(key): str(group) for key, group in value.items()}
    given: dict[str, str] = {}
    for line_number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, separator, group = line.rpartition("\t" if "\t" in line else ",")
        if not separator:
            raise TrashkitError(f"{path}, line {line_number}: no tab and no comma", hint=FILE_HINT)
        name, group = name.strip(), group.strip()
        if not name or not group:
            raise TrashkitError(f"{path}, line {line_number}: name or group is empty", hint=FILE_HINT)
        if given.setdefault(name, group) != group:
            raise TrashkitError(
                f"{path}, line {line_number}: {name} is in group {given[name]} already",
                hint="give each image one group",
            )
    return given
