"""What the numbers of classes mean: the one place that knows, for each format, whether number 0 is background.

A list of names does not say what its first number is. In label maps number 0 is background, which a list may or may not
contain; in YOLO number 0 is the first class. The numbers that occur in the files are evidence. Where two readings
remain, the import stops and shows both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trashkit.coco import OFFICIAL_NAMES
from trashkit.coco.classes import normalized_name
from trashkit.errors import TrashkitError
from trashkit.interop.names.lists import BLANK, NameList, as_option, find_names
from trashkit.interop.names.words import is_background, is_ignored, is_unlabeled, may_be_background

Zero = Literal["background", "class", "unknown"]
"""What number 0 is in a format whose list of names does not say so; "unknown" where tools differ."""

ClassZero = Literal["background", "class"]
"""The value of --class-zero: number 0 is background, or the first class."""


@dataclass(frozen=True, slots=True)
class GivenNames:
    """What the user says about names. text: the value of --names. zero: of --class-zero."""

    text: str | None = None
    zero: ClassZero | None = None


NOT_GIVEN = GivenNames()

_SHOWN = 4


@dataclass(frozen=True, slots=True)
class ClassTable:
    """The meaning of the numbers in files. Numbers in none of the three have no name.

    names: of the classes. background, ignored: names of the numbers that do not stand for a class.
    """

    names: Mapping[int, str]
    background: Mapping[int, str] = field(default_factory=dict)
    ignored: Mapping[int, str] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by number."""
        return tuple(dict.fromkeys(name for _, name in sorted(self.names.items())))

    @property
    def all_names(self) -> dict[int, str]:
        """The name of every number, by number."""
        return dict(sorted({**self.names, **self.background, **self.ignored}.items()))

    def __str__(self) -> str:
        shown = [f"{number} {name[:40]}" for number, name in self.all_names.items()]
        return ", ".join([*shown[:_SHOWN], *(["..."] if len(shown) > _SHOWN else [])])


def table_of(names: Mapping[int, str] | Sequence[str]) -> ClassTable:
    """The table of names by number; background and ignored ones are known by their names.

    Next to a name for background, those for pixels without label are ignored.
    """
    numbered = names if isinstance(names, Mapping) else dict(enumerate(names))
    numbered = {number: name for number, name in numbered.items() if not name.startswith(BLANK)}
    ignored = {number: name for number, name in numbered.items() if is_ignored(name)}
    background = {number: name for number, name in numbered.items() if is_background(name)}
    unlabeled = [number for number, name in background.items() if is_unlabeled(name)]
    for number in unlabeled[len(unlabeled) == len(background) :]:  # next to background, such pixels do not count
        ignored[number] = background.pop(number)
    classes = {n: name for n, name in numbered.items() if n not in background and n not in ignored}
    return ClassTable(classes, background, ignored)


def order_of(found: NameList | None) -> tuple[str, ...]:
    """Class names in their order, for formats that name the class of each shape; numbers mean nothing there."""
    if found is None:
        return ()
    classes = table_of(found.names if found.other is None else found.other).classes
    _refuse_doubles(dict(enumerate(classes)), found.place)
    return classes


def names_in_order(given: str, choice: ClassZero | None = None) -> tuple[str, ...]:
    """Class names of predictions by number, from the value of --names; background is "Background"."""
    found = find_names(given, [])
    table = class_table(found, "background", choice=choice) if found is not None else ClassTable({})
    names = {**dict.fromkeys(table.background, "Background"), **table.names}
    return tuple(name for _, name in sorted(names.items()))


def class_table(
    found: NameList,
    zero: Zero,
    *,
    choice: ClassZero | None = None,
    used: Callable[[], Collection[int]] = tuple,
) -> ClassTable:
    """The meaning of a list of names in a format.

    zero: what number 0 is in the format. choice: the value of --class-zero. used: returns the numbers in the files,
    without ignored ones. Raises TrashkitError for two names that would become one class, and where two readings remain,
    showing both with the option that chooses.
    """
    names = found.names
    if found.exported and choice is None and (zero == "class" or names[0] == "Background"):
        first = 0 if zero == "class" else 1
        return ClassTable(dict(enumerate(names[first:], start=first)), dict(enumerate(names[:first])))
    if found.other is not None:
        possible = [
            one
            for one in (found.names, found.other)
            if set(used()) <= _readings(found, one, zero)[0].table.all_names.keys()
        ]
        if len(possible) != 1:
            tables = [_readings(found, one, zero)[0].table for one in (found.names, found.other)]
            options = f"{as_option(found.names)} or {as_option(found.other)}"
            raise _undecided(found, found.question, tables, found.cure or f"choose with {options}")
        names = possible[0]
    if is_ignored(names[0]) and found.numbers is None:
        names = names[1:]  # labelme counts __ignore__ as -1
    if not names:
        raise TrashkitError(f"{found.place} has no class names", hint="write one name per line")
    readings = _readings(found, names, zero)
    if choice is not None:
        readings = [one for one in readings if one.choice == choice]
    elif len(readings) > 1:
        readings = _supported(readings, names, used, zero, found)
    if len(readings) > 1:
        options = " or ".join(f"--class-zero {one.choice}" for one in readings[:2])
        raise _undecided(found, _question(names), [one.table for one in readings], f"choose with {options}")
    table = readings[0].table
    _refuse_doubles(table.names, found.place)
    _refuse_doubles({**table.background}, found.place, what="background")
    return table


def _undecided(found: NameList, question: str, tables: Sequence[ClassTable], hint: str) -> TrashkitError:
    return TrashkitError(f"{found.place}: {question}: either {tables[0]}; or {tables[1]}", hint=hint)


@dataclass(frozen=True, slots=True)
class _Reading:
    """One meaning of a list, with the value of --class-zero that chooses it."""

    table: ClassTable
    choice: ClassZero


def _readings(found: NameList, names: Sequence[str], zero: Zero) -> list[_Reading]:
    """The two meanings that a list can have: 0 is background, or a class. The usual one in the format is first."""
    numbers = found.numbers if found.numbers is not None and len(found.numbers) == len(names) else range(len(names))
    written = table_of(dict(zip(numbers, names, strict=True)))
    if 0 in written.background:
        rest = names[1:]
        return [_Reading(written, "background"), _Reading(table_of(rest), "class")]
    if written.background:
        first = next(iter(written.background.values()))
        rest = [name for number, name in written.all_names.items() if number not in written.background]
        return [_Reading(written, "class"), _Reading(table_of([first, *rest]), "background")]
    if 0 not in written.all_names:  # numbers from 1, given by the file
        added = ClassTable(written.names, {0: "Background"}, written.ignored)
    else:
        added = table_of({0: "Background", **{number + 1: name for number, name in written.all_names.items()}})
    both = [_Reading(added, "background"), _Reading(written, "class")]
    return both[::-1] if zero == "class" else both


def _supported(
    readings: list[_Reading], names: Sequence[str], used: Callable[[], Collection[int]], zero: Zero, found: NameList
) -> list[_Reading]:
    """The readings that remain once the format and, where needed, the numbers in the files have been considered."""
    usual = readings[0]
    background = next(iter(table_of(names).background), None)
    if background is not None and (found.numbers is not None or (zero != "class") == (background == 0)):
        return [usual]
    numbers = used()
    most = max(numbers, default=-1)
    if any(found.colors) and not numbers:  # the label maps have colours instead
        return [usual]
    if background is not None:  # a format without background may leave it uncounted
        known = most >= max(usual.table.all_names) or (0 not in numbers and most > 0 and not found.official)
        return [usual] if background == 0 and known else readings
    added = next(one for one in readings if one.choice == "background")
    beyond = most >= max(added.table.all_names)
    if zero == "class":
        return readings if beyond and 0 not in numbers else [usual]
    states_zero = found.numbers is not None and 0 in found.numbers
    unclear = zero == "unknown" or states_zero or may_be_background(names[0])
    return readings if unclear and not beyond else [added]


def _question(names: Sequence[str]) -> str:
    place = next(iter(table_of(names).background), None)
    if place == 0:
        return f'the first name is "{names[0][:40]}", which may be class number 0 or not count'
    if place is not None:
        return f'"{names[place][:40]}", the background, is name {place + 1}, and may be number {place} or 0'
    return f'number 0 may be background or "{names[0][:40]}", the first name'


def _refuse_doubles(names: Mapping[int, str], place: str, *, what: str = "") -> None:
    """Raise TrashkitError for two names that would become one class."""
    official = {normalized_name(name) for name in OFFICIAL_NAMES}
    seen: dict[str, tuple[int, str]] = {}
    for number, name in names.items():
        plain = normalized_name(unicodedata.normalize("NFC", name))
        key = what or (plain if plain in official else " ".join(unicodedata.normalize("NFC", name).split()))
        if key in seen:
            first, other = seen[key]
            raise TrashkitError(
                f"{place}: numbers {first} ({other[:40]}) and {number} ({name[:40]}) would become one class",
                hint="give each class its own name",
            )
        seen[key] = (number, name)
