"""Lists of class names as files and options give them, before their numbers get a meaning.

A file has one name per line, or is CVAT's ``labelmap.txt`` (``name:r,g,b:parts:actions``), a ``data.yaml``, or JSON.
Names are taken literally: a colon, a quote, a comma or a leading ``#`` may be part of one.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trashkit.coco import OFFICIAL_NAMES
from trashkit.coco.classes import Color
from trashkit.errors import TrashkitError
from trashkit.files import is_file
from trashkit.interop.folders import MARKER, read_text
from trashkit.interop.names.tables import columns_of
from trashkit.interop.names.words import is_background, is_ignored
from trashkit.readers import ContentError, csv_rows, decode_yaml

_HEADER = re.compile(r"#\s*label\s*:\s*color_rgb\b|name[ ,;\t]+r[ ,;\t]+g[ ,;\t]+b$")
_NUMBERED = re.compile(r"([0-9]{1,5})\s*[:=\t]\s*(\S.*)")
_LONGEST = 1000
"""Characters of a line from which on it is a name and nothing else."""
_SPACED = re.compile(r"([0-9]{1,5})[ ,;]+(\S.*)")
_AFTER = re.compile(r"(\S.*?)[ ,;:=\t]+([0-9]{1,5})")
_THREE = r"[0-9]{1,3}[ ,;\t]+[0-9]{1,3}[ ,;\t]+[0-9]{1,3}"
_NAME_COLOR = re.compile(rf"(?P<name>.*\S)[ ,;\t]+(?P<color>{_THREE})|(?P<first>{_THREE})[ ,;\t]+(?P<last>\S.*)")
_ITEM = re.compile(r"^\s*item\s*\{", re.MULTILINE)
_KEYS = ("names", "id2label", "classes", "class_names", "labels")
"""Keys under which JSON files of other programs have a list or a map of names."""
BLANK = "\0"
"""Beginning of what stands for a blank line in a second reading of a list."""
_COLOR = re.compile(r" *[0-9]{1,3} *, *[0-9]{1,3} *, *[0-9]{1,3} *")
_HINT = "give the class names as --names A,B,C"
_EXPORTED = ("classes.txt", "labels.txt", "labelmap.txt")
"""Lists that exports of trashkit have."""


@dataclass(frozen=True, slots=True)
class NameList:
    """Names in the order in which a file or an option has them.

    place: how messages refer to it. numbers: the number of each name, where the file says it. colors: the colour of
    each name, where the file says it. other: the names in a second reading of the same text, and question: what is
    unclear about it. cure: what to do then, where no value of --names chooses. official: whether these are the ten
    classes of --names official. exported: whether an export of trashkit wrote the file, so that each name is meant
    literally.
    """

    place: str
    names: tuple[str, ...]
    numbers: tuple[int, ...] | None = None
    colors: tuple[Color | None, ...] = ()
    other: tuple[str, ...] | None = None
    question: str = ""
    cure: str = ""
    official: bool = False
    exported: bool = False


def find_names(given: str | None, folders: Sequence[Path], *found: str) -> NameList | None:
    """The list of class names of a data set; None if no names are given and no file is found.

    given: the value of --names: "official", a file, or names with commas. found: names of files in `folders` to take
    them from otherwise. Raises TrashkitError for lists that cannot be read, and for two files that disagree.
    """
    if given == "official":
        return NameList("--names official", OFFICIAL_NAMES, official=True)
    if given is not None and not is_file(given):
        return _from_option(given)
    if given is not None:
        return read_names(Path(given))
    paths = dict.fromkeys(folder / name for folder in folders for name in found)
    return agreed([path for path in paths if path.is_file()])


def agreed(paths: Sequence[Path]) -> NameList | None:
    """The list in the first of these files. Raises TrashkitError where another one has other classes."""
    lists = [replace(read_names(path), exported=(path.parent / MARKER).is_file()) for path in paths]
    for other in lists[1:]:
        first = lists[0]
        if _classes(other) != _classes(first):
            raise TrashkitError(
                f"{first.place} and {other.place} have different class names: {_shown(first)}; and {_shown(other)}",
                hint=f"choose with --names {first.place} or --names {other.place}",
            )
    return lists[0] if lists else None


def _classes(found: NameList) -> list[str]:
    return [name.strip() for name in found.names if not is_background(name) and not is_ignored(name)]


def _shown(found: NameList) -> str:
    return ", ".join(name[:40] for name in found.names[:4]) + (", ..." if len(found.names) > 4 else "")


def _from_option(given: str) -> NameList:
    if "," not in given:
        raise TrashkitError(
            f"there is no file {given}",
            hint="give --names official, a file with one name per line, or A,B,C (and for one class A,)",
        )
    names = _between_commas(given)
    if not names:
        raise TrashkitError(f"--names {given} has no names", hint="give --names A,B,C")
    return NameList("--names", names)


def _between_commas(text: str) -> tuple[str, ...]:
    """Names between commas; a name in double quotes may contain commas."""
    try:
        fields = [field for row in csv_rows(text, skip_spaces=True) for field in row]
    except ContentError:
        fields = text.split(",")
    return tuple(field.strip() for field in fields if field.strip())


def read_names(path: Path) -> NameList:
    """The list in a file. Raises TrashkitError where it has no names, or is not in the form that it seems to have."""
    text = read_text(path)
    if path.name in _EXPORTED and (path.parent / MARKER).is_file():
        return _exported(text, path)
    if path.suffix.lower() in (".yaml", ".yml") or re.search(r"^names[ \t]*:", text, re.MULTILINE):
        return names_from_yaml(text, path)
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return _from_value(decode_yaml(text, as_text=True), path)
        except ContentError as error:
            if path.suffix.lower() == ".json":
                raise TrashkitError(f"{path} cannot be read as a list of names: {error}", hint=_HINT) from error
        except TrashkitError:
            if path.suffix.lower() == ".json":
                raise
    return _from_items(text, path) if _ITEM.search(text) else _from_text(text, path)


def _from_text(text: str, path: Path) -> NameList:
    """The list in a file with one name, or one row of a table, on each line."""
    written = text.replace("\r\n", "\n").strip("\n").split("\n")
    lines = [line.strip() for line in written if line.strip() and not _HEADER.match(line.strip())]
    if not lines:
        raise TrashkitError(f"{path} has no class names", hint="write one name per line")
    try:
        columns = columns_of(lines)
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read: {error}", hint="give each line a number of its own") from error
    if columns is not None:
        return NameList(str(path), *columns)
    plain = [line for line in lines if not line.startswith("#") or _label(line)]
    if path.name == "labelmap.txt" or (plain and all(_label(line) for line in plain)):
        return _from_label_map(plain, path)
    found = _from_lines(lines, path)
    return _with_blank_lines(found, written) if found.names == tuple(lines) else found


def _exported(text: str, path: Path) -> NameList:
    """The list that an export of trashkit wrote: one name per line, each meant literally, or with its colour."""
    lines = [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]
    if path.name == "labelmap.txt":
        return _from_label_map([line for line in lines if not _HEADER.match(line)], path)
    if not lines:
        raise TrashkitError(f"{path} has no class names", hint="write one name per line")
    return NameList(str(path), tuple(lines))


def _with_blank_lines(found: NameList, written: Sequence[str]) -> NameList:
    """A list of one name per line, with a second reading in which blank lines between names count."""
    blank = [number for number, line in enumerate(written, start=1) if not line.strip()]
    if not blank or len(written) - len(blank) < len(found.names):
        return found
    padded = tuple(line.strip() or f"{BLANK}{number}" for number, line in enumerate(written, start=1))
    question = f"line {blank[0]} is blank, and may count as a number without a name"
    cure = f'delete the blank lines, or begin each line with its number, as in "0: {found.names[0][:40]}"'
    return replace(found, other=padded, question=question, cure=cure)


def _from_items(text: str, path: Path) -> NameList:
    """A label map of TensorFlow: ``item { id: 1 name: "can" }``."""
    pairs = []
    for item in re.findall(r"\bitem\s*\{(.*?)\}", text, re.DOTALL):
        number = re.search(r"\bid\s*:\s*([0-9]{1,9})", item)
        name = re.search(r"""\bname\s*:\s*(?:"([^"\n]+)"|'([^'\n]+)')""", item)
        if number is None or name is None:
            raise TrashkitError(f"{path}: an item has no id or no name", hint=_HINT)
        pairs.append((int(number[1]), (name[1] or name[2]).strip()))
    pairs.sort()
    if len({number for number, _ in pairs}) < len(pairs):
        raise TrashkitError(f"{path} gives one number to two names", hint="give each class its own number")
    return NameList(str(path), tuple(name for _, name in pairs), tuple(number for number, _ in pairs))


def names_from_yaml(text: str, path: Path) -> NameList:
    """The list or map ``names`` of a data.yaml, numbered from 0. Raises TrashkitError where it has none."""
    try:
        value = decode_yaml(text, as_text=True)
    except ContentError as error:
        raise TrashkitError(f"{path} cannot be read as YAML: {error}", hint=_HINT) from error
    names = value.get("names") if isinstance(value, dict) else None
    if not names:
        raise TrashkitError(f'{path} has no entry "names"', hint=_HINT)
    found = _from_value(names, path)
    count = value.get("nc")
    if isinstance(count, str) and count.strip().isdecimal() and count.strip() != str(len(found.names)):
        raise TrashkitError(
            f"{path}: nc is {count.strip()[:20]}, but there are {len(found.names)} names", hint="correct nc or names"
        )
    if found.numbers is not None and found.numbers != tuple(range(len(found.names))):
        raise TrashkitError(f"{path}: its class numbers are not 0, 1, 2 and so on", hint="name every class")
    return replace(found, numbers=found.numbers or tuple(range(len(found.names))))


def _from_value(value: Any, path: Path) -> NameList:
    """Names from a list, a map of numbers to names or of names to numbers, or COCO's categories."""
    bad = TrashkitError(f"{path}: its names cannot be read", hint=_HINT)
    inner = [key for key in _KEYS if isinstance(value, dict) and isinstance(value.get(key), dict | list)]
    if inner:
        return _from_value(value[inner[0]], path)
    if isinstance(value, dict) and isinstance(value.get("categories"), list):
        rows = [row for row in value["categories"] if isinstance(row, dict)]
        value = {row.get("id"): row.get("name") for row in rows}
    if isinstance(value, list):
        names, numbers = value, None
    elif isinstance(value, dict) and all(_is_number(key) for key in value):
        pairs = sorted((int(key), name) for key, name in value.items())
        names, numbers = [name for _, name in pairs], tuple(number for number, _ in pairs)
    elif isinstance(value, dict) and all(_is_number(number) for number in value.values()):
        ordered = sorted((int(number), name) for name, number in value.items())
        names, numbers = [name for _, name in ordered], tuple(number for number, _ in ordered)
    else:
        raise bad
    if not names or not all(isinstance(name, str) and name.strip() for name in names):
        raise bad
    if numbers is not None and len(set(numbers)) < len(numbers):
        raise TrashkitError(f"{path} gives one number to two names", hint="give each class its own number")
    if (path.parent / MARKER).is_file():  # as they were exported
        return NameList(str(path), tuple(names), numbers)
    return NameList(str(path), tuple(name.strip() for name in names), numbers)


def _is_number(value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(r"\s*[0-9]{1,9}\s*", value) is not None


def _label(line: str) -> tuple[str, Color | None] | None:
    """Name and colour of a line ``name:r,g,b:parts:actions``, ``name:r,g,b``, ``name r g b`` or ``r g b name``."""
    plain = _NAME_COLOR.fullmatch(line) if len(line) < _LONGEST else None
    if plain is not None:
        values = [int(part) for part in re.findall(r"[0-9]+", plain["color"] or plain["first"])]
        name = plain["name"] or plain["last"]
        return (name, (values[0], values[1], values[2])) if max(values) < 256 and not name.endswith(":") else None
    for fields in (line.rsplit(":", 3), line.rsplit(":", 1)):
        if len(fields) in (2, 4) and fields[0].strip() and _COLOR.fullmatch(fields[1]):
            red, green, blue = (int(part) for part in fields[1].split(","))
            if max(red, green, blue) < 256:
                return fields[0].strip(), (red, green, blue)
    return None


def _from_label_map(lines: Sequence[str], path: Path) -> NameList:
    names, colors = [], []
    for line in lines:
        found = _label(line) or ((line[:-3].strip(), None) if line.endswith(":::") else None)
        if found is None or not found[0]:
            raise TrashkitError(
                f"{path}: {line[:80]!r} is not of the form name:r,g,b::", hint="write name:r,g,b:: on each line"
            )
        names.append(found[0])
        colors.append(found[1])
    if not names:
        raise TrashkitError(f"{path} has no class names", hint="write name:r,g,b:: on each line")
    return NameList(str(path), tuple(names), None, tuple(colors))


def _from_lines(lines: Sequence[str], path: Path) -> NameList:
    place = str(path)
    pairs = _numbered(lines) or _numbered([line for line in lines if not line.startswith("#")])
    if pairs:
        return NameList(place, tuple(name for _, name in pairs), tuple(number for number, _ in pairs))
    bare = [line.removesuffix(",").rstrip() for line in lines]
    if all(len(line) > 2 and line[0] == line[-1] and line[0] in "\"'" for line in bare):
        return NameList(place, tuple(line[1:-1] for line in bare))
    marked = next((line for line in lines if line.startswith("#")), None)
    if marked is not None:
        others = tuple(line for line in lines if not line.startswith("#"))
        question = f'line {lines.index(marked) + 1}, "{marked[:40]}", may be a name or a comment'
        return NameList(place, tuple(lines), other=others, question=question)
    if len(lines) == 1 and "," in lines[0]:
        several = _between_commas(lines[0])
        return NameList(place, several, other=tuple(lines), question="its only line may be several names or one")
    return NameList(place, tuple(lines))


def _numbered(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Number and name of each line, sorted, where all lines have both; else nothing.

    ``3: name`` has a number anyway; ``3 name`` and ``name 3`` only if the numbers of all lines are 0, 1, 2 and so on.
    """
    if max(map(len, lines), default=_LONGEST) >= _LONGEST:
        return []
    matches = [_NUMBERED.fullmatch(line) for line in lines]
    pairs = sorted((int(match[1]), match[2].strip()) for match in matches if match)
    if len(pairs) == len(lines) == len({number for number, _ in pairs}):
        return pairs
    for pattern, number, name in ((_SPACED, 1, 2), (_AFTER, 2, 1)):
        matches = [pattern.fullmatch(line) for line in lines]
        pairs = [(int(match[number]), match[name].strip()) for match in matches if match]
        if len(lines) > 1 and [first for first, _ in pairs] == list(range(len(lines))):
            return pairs
    return []


def as_option(names: Sequence[str]) -> str:
    """The option --names with these names, to type in a shell; in words where they are many."""
    if not names:
        return "--names A,B,C"
    if len(names) > 12:
        return f"--names FILE with {len(names)} names as JSON, from {names[0][:40]!r} on"
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([*names, *([""] if len(names) == 1 else [])])
    quoted = text.getvalue().replace("'", "'\\''")
    return f"--names '{quoted}'"
