"""One edit: a change of one row of a COCO file, or a decision about it that changes nothing."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from trashkit.coco.dataset import Coco, encode
from trashkit.errors import TrashkitError
from trashkit.readers import MOST_LEVELS

Kind = Literal["relabel", "reshape", "delete", "add", "renumber", "change", "merge", "reject", "unusable", "note"]
"""relabel: another category. reshape: another segmentation. renumber: another id. change: any other field.
merge: a reshape that absorbs other rows, which separate edits of kind delete remove. reject (a proposed fix is not
wanted), unusable (the image must not be used) and note are decisions: they change nothing."""

KINDS: tuple[str, ...] = get_args(Kind)
DECISIONS = frozenset({"reject", "unusable", "note"})
_CHECK_CODE = "[A-Z][0-9]{3}"


@dataclass(frozen=True, slots=True)
class Edit:
    """One record about one row of the source file.

    kind: see `Kind`. source: SHA-256 of the source file. block, row: the place in the source file, counted from 0; row
    is None for an added row. All edits of a log refer to rows of the same file, so deletions do not shift rows.
    reason: a short name to group by, such as a check's name. author: a check's code or a person. accepted_by: people
    who accepted the edit in a review, other than its author; empty if nobody did, or if that is not known.
    id: the row's id in the source file, for people to read; rows are found by `row` and `fingerprint`.
    fingerprint: of the row in the source file (see `fingerprint`), None for an added row.
    before, after: the fields that change with their values; a field missing in one of them is missing in the row.
    The whole row for delete (after is None) and add (before is None); both None for decisions.
    related: other rows of the block that the edit is about. note: free text. time: ISO 8601, None if unknown.
    at: position of an added row in the resulting file; None appends it.
    before_text, after_text: exact JSON text of the whole row, only if the values alone would not reproduce it.
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
    accepted_by: tuple[str, ...] = ()

    @property
    def is_decision(self) -> bool:
        """Whether the edit changes nothing in the file."""
        return self.kind in DECISIONS

    @property
    def people(self) -> tuple[str, ...]:
        """Who is responsible for the edit: those who accepted it, and its author unless that is a check."""
        author = () if re.fullmatch(_CHECK_CODE, self.author) else (self.author,)
        return tuple(dict.fromkeys((*author, *self.accepted_by)))

    @property
    def by(self) -> str:
        """Author and reviewers as in messages: ``G003, accepted by anna``."""
        return f"{self.author}, accepted by {' and '.join(self.accepted_by)}" if self.accepted_by else self.author

    @property
    def place(self) -> str:
        """The row as in messages: ``annotations[308] (id 309)``."""
        if self.row is None:
            return f"a row added to {self.block}"
        return f"{self.block}[{self.row}]" + ("" if self.id is None else f" (id {self.id!r})")


def canonical(value: Any) -> str:
    """A text that is the same for equal JSON values: keys sorted, integers without fraction, no spaces.

    True and 1 differ, 1 and 1.0 do not, NaN equals NaN. Raises TrashkitError for lists that are nested too deeply.
    """
    try:
        return json.dumps(_normalised(value, MOST_LEVELS), sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise TrashkitError("a row has lists nested too deeply to be edited", hint="fix it by hand") from error


def _normalised(value: Any, levels: int) -> Any:
    if isinstance(value, float):
        return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else value
    if not isinstance(value, list | tuple | Mapping):
        return value
    if not levels:
        raise RecursionError
    if isinstance(value, Mapping):
        return {str(key): _normalised(item, levels - 1) for key, item in value.items()}
    return [_normalised(item, levels - 1) for item in value]


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

    after: the new values by field. remove: fields to remove. current: the row after earlier edits of the same log, None
    if there are none. kind: by default relabel, reshape, renumber or change, depending on the fields.
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
    """The row after earlier edits, and its JSON text."""
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
    """An edit that deletes one row, which may be any JSON value. current: as in `change`."""
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
    """An edit that adds a new row to a block, at its end unless `at` gives its position in the result."""
    return Edit("add", block, None, reason, author, id_of(record), coco.sha256, None, None, record, note=note, at=at)


def decide(
    coco: Coco, kind: Kind, block: str, row: int, *, reason: str, author: str, note: str = "", time: str | None = None
) -> Edit:
    """A decision about one row: kind is reject, unusable or note.

    The `reason` of a rejected fix is the check's code.
    """
    if kind not in DECISIONS:
        raise ValueError(f"{kind} is not one of {', '.join(sorted(DECISIONS))}")
    record = coco.record(block, row)
    return Edit(kind, block, row, reason, author, id_of(record), coco.sha256, fingerprint(record), note=note, time=time)
