"""One change, or one decision without a change, about one row of a COCO file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trashkit.coco.dataset import Coco, encode
from trashkit.errors import TrashkitError

Kind = Literal["relabel", "reshape", "delete", "add", "renumber", "change", "merge", "reject", "unusable", "note"]
"""relabel: another category. reshape: another segmentation. renumber: another id. change: any other field.
merge: a reshape that takes in other rows, which edits of kind delete remove. reject (a proposed fix is not wanted),
unusable (the image is) and note are decisions: they change nothing."""

KINDS: tuple[str, ...] = get_args(Kind)
DECISIONS = frozenset({"reject", "unusable", "note"})


@dataclass(frozen=True, slots=True)
class Edit:
    """One record about one row of the source file.

    kind: see `Kind`. source: SHA-256 of the file whose rows are counted. block, row: the place in that file, counted
    from 0; row is None for an added row. All edits of a log count rows in the same file, so deletions shift nothing.
    reason: a short name to group by, such as a check's name. author: a check's code or a person.
    id: the row's id as it stands in the source file, for people to read; rows are found by `row` and `fingerprint`.
    fingerprint: of the row as it stands in the source file (see `fingerprint`), None for an added row.
    before, after: the fields that change with their values; a field missing in one of them is missing in the row.
    The whole row for delete (after is None) and add (before is None); both None for decisions.
    related: other rows of the block that it concerns. note: free text. time: when, ISO 8601, if the author says so.
    at: position of an added row in the resulting file; None appends.
    before_text, after_text: exact JSON text of the whole row, kept only where the values alone would not give it back.
    """

    kind: Kind
    block: str
    row: int | None
    reason: str
    author: str
    id: Any = None
    source: str = ""
    fingerprint: str | None = None
    before: Any = None
    after: Any = None
    related: tuple[int, ...] = ()
    note: str = ""
    time: str | None = None
    at: int | None = None
    before_text: str | None = None
    after_text: str | None = None

    @property
    def is_decision(self) -> bool:
        """Whether it changes nothing in the file."""
        return self.kind in DECISIONS

    @property
    def place(self) -> str:
        """The row as messages name it: ``annotations[308] (id 309)``."""
        if self.row is None:
            return f"a row added to {self.block}"
        return f"{self.block}[{self.row}]" + ("" if self.id is None else f" (id {self.id!r})")


def canonical(value: Any) -> str:
    """One text for equal JSON values: keys sorted, whole numbers without a fraction, no spaces.

    True and 1 differ, 1 and 1.0 do not, NaN equals NaN. Raises TrashkitError for lists nested past all measure.
    """
    try:
        return json.dumps(_even(value), sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise TrashkitError("a row nests its lists too deeply to be edited", hint="mend it by hand") from error


def _even(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else value
    if isinstance(value, list | tuple):
        return [_even(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _even(item) for key, item in value.items()}
    return value


def same_value(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal in the sense of `canonical`."""
    return canonical(one) == canonical(other)


def fingerprint(record: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a row's canonical JSON."""
    return hashlib.sha256(canonical(record).encode()).hexdigest()[:16]


def with_fields(record: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """A row with the fields of `after` in place of those of `before`; kept fields keep their order."""
    kept = {key: value for key, value in record.items() if key in after or key not in before}
    return {**kept, **after}


def changed_fields(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields in which two rows differ, as `before` and `after` of an edit."""
    before = {key: value for key, value in old.items() if key not in new or not same_value(value, new[key])}
    after = {key: value for key, value in new.items() if key not in old or not same_value(value, old[key])}
    return before, after


def change(
    coco: Coco,
    block: str,
    row: int,
    after: Mapping[str, Any],
    *,
    reason: str,
    author: str,
    current: Mapping[str, Any] | None = None,
    kind: Kind | None = None,
    remove: Iterable[str] = (),
    note: str = "",
    related: Iterable[int] = (),
) -> Edit:
    """An edit that gives fields of one row new values.

    after: the new values by field. remove: fields to take away. current: the row as earlier edits of the same log leave
    it, where there are any. kind: by default relabel, reshape, renumber or change, by the fields.
    The row must be a JSON object.
    """
    source = coco.record(block, row)
    record, text = _current(coco, block, row, source, current)
    gone = set(remove)
    before = {key: record[key] for key in (*after, *sorted(gone)) if key in record}
    changed = with_fields(record, before, after)
    restored = _text(with_fields(changed, after, before))
    return Edit(
        kind or _kind({*after, *gone}, block),
        block,
        row,
        reason,
        author,
        id_of(source),
        coco.sha256,
        fingerprint(source),
        before,
        dict(after),
        tuple(related),
        note,
        before_text=text if restored != text else None,
    )


def _text(value: Any) -> str:
    return bytes(encode(value)).decode()


def _current(coco: Coco, block: str, row: int, source: Any, current: Any) -> tuple[Any, str]:
    """The row as the edits before leave it, and its JSON text."""
    if current is None or current == source:
        return source, bytes(coco.raw(block, row)).decode()
    return current, _text(current)


def _kind(fields: set[str], block: str) -> Kind:
    if "id" in fields:
        return "renumber"
    if block == "annotations" and "category_id" in fields:
        return "relabel"
    return "reshape" if "segmentation" in fields else "change"


def delete(
    coco: Coco,
    block: str,
    row: int,
    *,
    reason: str,
    author: str,
    current: Mapping[str, Any] | None = None,
    note: str = "",
    related: Iterable[int] = (),
) -> Edit:
    """An edit that takes one row away; the row may be any JSON value."""
    source = coco.record(block, row)
    record, text = _current(coco, block, row, source, current)
    return Edit(
        "delete",
        block,
        row,
        reason,
        author,
        id_of(source),
        coco.sha256,
        fingerprint(source),
        record,
        None,
        tuple(related),
        note,
        before_text=text if _text(record) != text else None,
    )


def id_of(record: Any) -> Any:
    """The ``id`` of a row if it is a scalar, else None."""
    value = record.get("id") if isinstance(record, Mapping) else None
    return value if isinstance(value, int | float | str) else None


def add(
    coco: Coco, block: str, record: Any, *, reason: str, author: str, at: int | None = None, note: str = ""
) -> Edit:
    """An edit that puts a new row into a block, at its end unless `at` names its position in the result."""
    return Edit("add", block, None, reason, author, id_of(record), coco.sha256, None, None, record, note=note, at=at)


def decide(
    coco: Coco, kind: Kind, block: str, row: int, *, reason: str, author: str, note: str = "", time: str | None = None
) -> Edit:
    """A decision without change about one row: kind is reject, unusable or note.

    A rejected fix names the check's code as its `reason`.
    """
    if kind not in DECISIONS:
        raise ValueError(f"{kind} is not one of {', '.join(sorted(DECISIONS))}")
    record = coco.record(block, row)
    return Edit(kind, block, row, reason, author, id_of(record), coco.sha256, fingerprint(record), note=note, time=time)
