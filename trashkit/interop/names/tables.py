"""Class names as a table with a header, such as ``id,name`` or ``name;colour;number``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from trashkit.readers import ContentError, csv_rows

_NAMES = frozenset({"name", "class", "label", "classname", "labelname", "category", "categoryname", "displayname"})
_NUMBERS = frozenset(
    {"id", "index", "idx", "number", "value", "classid", "labelid", "categoryid", "classindex", "pixel", "pixelvalue"}
)
_OTHERS = frozenset({"r", "g", "b", "red", "green", "blue", "color", "colour", "rgb", "hex", "supercategory", "count"})


def columns_of(lines: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...] | None] | None:
    """Names, and their numbers where there is a column of them, in the order of the numbers; None without a header.

    The first line is a header if all its fields, separated by commas, semicolons or tabs, are usual words for columns;
    other fields may be among them, as in the objectInfo150.txt of ADE20K, if each line below has a number of its own.
    Raises ContentError for a header above lines that do not fit.
    """
    delimiter = next((one for one in "\t;," if one in lines[0]), ",")
    header = [re.sub(r"[\W_]", "", field).casefold() for field in lines[0].split(delimiter)]
    name = next((at for at, field in enumerate(header) if field in _NAMES), None)
    number = next((at for at, field in enumerate(header) if field in _NUMBERS), None)
    is_header = set(header) <= _NAMES | _NUMBERS | _OTHERS
    if name is None or len(header) < 2 or not (is_header or number is not None):
        return None
    rows = _rows(lines[1:], delimiter, len(header))
    names = [row[name] for row in rows]
    if number is None:
        return (tuple(names), None) if rows and all(names) else None
    numbers = [int(row[number]) if re.fullmatch("[0-9]{1,9}", row[number]) else -1 for row in rows]
    if rows and all(names) and min(numbers) >= 0 and len(set(numbers)) == len(numbers):
        pairs = sorted(zip(numbers, names, strict=True))
        return tuple(text for _, text in pairs), tuple(first for first, _ in pairs)
    if is_header and len(lines) > 1:
        raise ContentError(f'its first line is the header of a table, "{lines[0][:40]}", but other lines do not fit it')
    return None


def _rows(lines: Sequence[str], delimiter: str, width: int) -> list[list[str]]:
    """The fields of each line; nothing if a line has another number of them."""
    try:
        rows = csv_rows("\n".join(lines), delimiter=delimiter, skip_spaces=True)
    except ContentError:
        return []
    return [[field.strip() for field in row] for row in rows] if all(len(row) == width for row in rows) else []
