"""Groups of images that must stay in one fold, by a field, a folder, a pattern or a file."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import exists
from trashkit.images.near_duplicates import connected_groups
from trashkit.names import ByName, composed
from trashkit.readers import ContentError, decode_json, read_text

Ints = NDArray[np.intp]

FILE_HINT = 'a line "file name,group" for each image, or JSON {"file name or image id": "group"}'
HINT = "--groups field:NAME, folder, regex:PATTERN or file:GROUPS.json"


def number_groups(labels: Sequence[Hashable]) -> Ints:
    """Group numbers 0 .. G-1 in order of first appearance; each None is a group of its own."""
    seen: dict[Hashable, int] = {}
    result = np.empty(len(labels), dtype=np.intp)
    for n, label in enumerate(labels):
        key: Hashable = ("alone", n) if label is None else ("group", label)
        result[n] = seen.setdefault(key, len(seen))
    return result


def merge_groups(first: Ints, second: Ints) -> Ints:
    """The finest grouping that keeps both: groups that share an image are merged."""
    pairs: list[tuple[int, int]] = []
    for group in (first, second):
        home: dict[int, int] = {}
        pairs += [(home.setdefault(int(g), n), n) for n, g in enumerate(group)]
    return connected_groups(len(first), pairs)


def groups_by_rule(dataset: Dataset, rule: str) -> Ints:
    """[N] group number of each image by a rule, images in file order.

    ``field:NAME``: value of a key of the image's row; dots go into objects (``field:extra.scene``). ``folder``: folder
    part of ``file_name``. ``regex:PATTERN``: match of the pattern in ``file_name`` (its capture groups if it has any).
    ``file:PATH``: a JSON object from image id or file name to group, or a text file with ``file name or id, tab or
    comma, group`` per line. Images without a value are groups of their own.
    Raises TrashkitError for an unknown rule, an invalid pattern or file, or a rule that matches no image.
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
        raise TrashkitError(f'"{rule}" is not a grouping rule', hint=HINT)
    if all(label is None for label in labels):
        raise TrashkitError(f"--groups {rule} matches none of {len(labels)} images", hint=HINT)
    return number_groups(labels)


def group_file_warnings(dataset: Dataset, rule: str) -> list[str]:
    """Warnings where the file of a ``file:PATH`` rule does not match the data set; empty for other rules."""
    kind, _, value = rule.partition(":")
    if kind != "file" or not value:
        return []
    given = _group_file(Path(value))
    names = {composed(name) for image in dataset.images for name in (str(image.id), image.file_name)}
    unknown = [name for name in given if name not in names]
    alone = [i.file_name for i in dataset.images if str(i.id) not in given and i.file_name not in given]
    lines: list[str] = []
    if unknown:
        lines.append(f"{value} names {len(unknown)} of {len(given)} images that the data set lacks, first {unknown[0]}")
    if alone:
        lines.append(
            f"{value} has no group for {len(alone)} of {len(dataset.images)} images, first {alone[0]}; "
            "each is a group of its own"
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
        raise TrashkitError(f'--groups regex: "{pattern}" is not a regular expression: {error}', hint=HINT) from error
    found = [compiled.search(name) for name in names]
    return [None if match is None else (match.groups() or match.group()) for match in found]


def _group_file(path: Path) -> ByName[str]:
    if not exists(path):
        raise TrashkitError(f"{path} does not exist", hint="check the path after --groups file:")
    try:
        text = read_text(path)
    except (OSError, ContentError) as error:
        raise TrashkitError(f"{path} cannot be read as groups: {read_error_reason(error)}", hint=HINT) from error
    if text.lstrip().startswith("{"):
        try:
            value = decode_json(text, dict[str, Any])
        except ContentError as error:
            raise TrashkitError(f"{path} is not JSON: {error}", hint=HINT) from error
        for key, group in value.items():
            if isinstance(group, bool) or not isinstance(group, str | int):
                raise TrashkitError(
                    f'{path}: "{key}" has the group {json.dumps(group)}, not a string or integer', hint=FILE_HINT
                )
        return ByName((str(key), str(group)) for key, group in value.items())
    given: ByName[str] = ByName()
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
                f"{path}, line {line_number}: {name} is already in group {given[name]}",
                hint="give each image one group",
            )
    return given
