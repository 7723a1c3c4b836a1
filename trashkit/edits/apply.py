"""Apply, invert, filter and count edits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any

import msgspec

from trashkit.coco.dataset import Coco, decode, encode
from trashkit.edits.edit import Edit, canonical, fingerprint, same_value, with_fields
from trashkit.edits.working_copy import Place
from trashkit.errors import TrashkitError

_DELETED = object()


class _Finder:
    """Finds the rows of edits: by their place in the source file, else by their fingerprint."""

    def __init__(self, coco: Coco) -> None:
        self.coco = coco
        self.known: dict[Place, str] = {}
        self.by_print: dict[str, dict[str, list[int]]] = {}

    def fingerprint(self, block: str, row: int) -> str:
        if (block, row) not in self.known:
            self.known[block, row] = fingerprint(self.coco.record(block, row))
        return self.known[block, row]

    def find(self, edit: Edit) -> int | str:
        """The row that an edit is about, or a message why there is none."""
        assert edit.row is not None
        if edit.row < self.coco.count(edit.block) and edit.fingerprint in (
            None,
            self.fingerprint(edit.block, edit.row),
        ):
            return edit.row
        if edit.source == self.coco.sha256:
            return "differs from what the edit replaces, although the file is the same: the log was changed by hand"
        if edit.block not in self.by_print:
            index: dict[str, list[int]] = {}
            for row in range(self.coco.count(edit.block)):
                index.setdefault(self.fingerprint(edit.block, row), []).append(row)
            self.by_print[edit.block] = index
        rows = self.by_print[edit.block].get(edit.fingerprint or "", [])
        if len(rows) == 1:
            return rows[0]
        return f"matches {len(rows)} rows" if rows else "has changed since the edit was made"


class _Block:
    """Rows of one block while edits are applied."""

    def __init__(self, coco: Coco, name: str) -> None:
        self.name = name
        self.rows = coco.rows(name)
        self.current: dict[int, Any] = {}
        self.texts: dict[int, str | None] = {}
        self.added: list[Edit] = []

    def record(self, row: int) -> Any:
        return self.current[row] if row in self.current else decode(self.rows[row])

    def apply(self, edit: Edit, row: int) -> str:
        """Apply one edit. Returns an empty text, or a message why it cannot be applied."""
        record = self.record(row)
        if record is _DELETED:
            return "was deleted by an earlier edit"
        if edit.kind == "delete":
            if not same_value(record, edit.before):
                return "has changed since the edit was made"
            self.current[row] = _DELETED
            return ""
        if not isinstance(record, dict) or not isinstance(edit.before, dict) or not isinstance(edit.after, dict):
            return "is not an object with fields"
        for key in {**edit.before, **edit.after}:
            if (key in record) != (key in edit.before) or (
                key in record and not same_value(record[key], edit.before[key])
            ):
                return f'has another value of "{key}" than the one that the edit replaces'
        new = with_fields(record, edit.before, edit.after)
        text = edit.after_text if edit.after_text and same_value(decode(edit.after_text.encode()), new) else None
        # The text also gives the order of the fields, which later edits keep.
        self.current[row] = new if text is None else decode(text.encode())
        self.texts[row] = text
        return ""

    def result(self) -> tuple[msgspec.Raw, ...]:
        rows = []
        for row, raw in enumerate(self.rows):
            if row not in self.current:
                rows.append(raw)
            elif self.current[row] is not _DELETED:
                rows.append(_as_text(self.current[row], self.texts.get(row)))
        placed = sorted((edit for edit in self.added if edit.at is not None), key=lambda edit: edit.at or 0)
        for edit in placed:
            rows.insert(edit.at or 0, _as_text(edit.after, edit.after_text))
        rows += [_as_text(edit.after, edit.after_text) for edit in self.added if edit.at is None]
        return tuple(rows)


def _as_text(record: Any, text: str | None) -> msgspec.Raw:
    return (
        msgspec.Raw(text.encode()) if text is not None and same_value(decode(text.encode()), record) else encode(record)
    )


def apply(coco: Coco, edits: Iterable[Edit]) -> Coco:
    """Apply edits to a file in their order; rows without edits keep their exact text.

    Row numbers refer to the source file, so deletions do not shift them. An edit matches if the row has the edit's
    fingerprint and the fields that it replaces have their `before` values after earlier edits. In a file other than the
    log's source, a row that has moved is found by its fingerprint. Decisions change nothing.
    Raises TrashkitError if any row does not match, naming the first one and counting the others.
    """
    coco.require_unique_keys()
    finder = _Finder(coco)
    blocks: dict[str, _Block] = {}
    problems: list[str] = []
    for edit in edits:
        if edit.is_decision:
            continue
        if not isinstance(coco.items.get(edit.block, ()), tuple):
            problems.append(f'"{edit.block}" is not a list of rows')
            continue
        block = blocks.setdefault(edit.block, _Block(coco, edit.block))
        if edit.row is None:
            block.added.append(edit)
            continue
        row = finder.find(edit)
        problem = row if isinstance(row, str) else block.apply(edit, row)
        if problem:
            problems.append(f"{edit.place} {problem} ({edit.kind}: {edit.reason})")
    for block in blocks.values():
        problems += _already_there(coco, block)
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise TrashkitError(
            f"{coco.path or 'the annotations'}: {problems[0]}{more}",
            hint="apply the log to the file that it was made for, or leave out these edits",
        )
    if not blocks:
        return coco
    changed = {name: block.result() for name, block in blocks.items()}
    return Coco({**coco.items, **changed}, coco.path)


def _already_there(coco: Coco, block: _Block) -> list[str]:
    """Rows to add that a file other than the log's source already has, since the log was applied to it before."""
    foreign = [edit for edit in block.added if edit.source not in ("", coco.sha256)]
    if not foreign:
        return []
    there = {canonical(decode(raw)) for raw in block.rows}
    return [f"{edit.place} (id {edit.id!r}) already exists" for edit in foreign if canonical(edit.after) in there]


def invert(coco: Coco, edits: Sequence[Edit]) -> list[Edit]:
    """The log that undoes edits: applied to their result, it restores the source file byte for byte.

    coco: the file before or after `edits`. Decisions are left out. Raises TrashkitError if `coco` is neither.
    """
    edits = [edit for edit in edits if not edit.is_decision]
    if not edits:
        return []
    if all(edit.source == coco.sha256 for edit in edits):
        return _inverse(apply(coco, edits), edits)
    inverse = _inverse(coco, edits)
    try:
        apply(coco, inverse)
    except TrashkitError as error:
        raise TrashkitError(
            f"{error.message}: it is neither the file before these edits nor the one after them",
            hint="pass the file before or after these edits",
        ) from error
    return inverse


def _inverse(result: Coco, edits: Sequence[Edit]) -> list[Edit]:
    """Inverse edits in reverse order; `result` is the file after the edits."""
    inverse: list[Edit] = []
    for block in dict.fromkeys(edit.block for edit in edits):
        inverse += _inverse_of_block(result, block, [edit for edit in edits if edit.block == block])
    return inverse


def _inverse_of_block(result: Coco, block: str, edits: Sequence[Edit]) -> list[Edit]:
    chains: dict[int, list[Edit]] = {}
    for edit in edits:
        if edit.row is not None:
            chains.setdefault(edit.row, []).append(edit)
    deleted = {row for row, chain in chains.items() if chain[-1].kind == "delete"}
    added = [edit for edit in edits if edit.row is None]
    kept = (row for row in range(result.count(block) + len(deleted) - len(added)) if row not in deleted)
    order: list[int | Edit] = list(kept)
    for edit in sorted((edit for edit in added if edit.at is not None), key=lambda edit: edit.at or 0):
        order.insert(edit.at or 0, edit)
    order += [edit for edit in added if edit.at is None]
    place = {(item if isinstance(item, int) else id(item)): at for at, item in enumerate(order)}
    inverse: list[Edit] = []
    for edit in reversed(edits):
        if edit.row is None:
            inverse.append(_inverse_of_addition(result, edit, place[id(edit)]))
        elif edit.row not in deleted:
            if edit.row not in place:
                raise TrashkitError(
                    f"{result.path}: it has no row for {edit.place}", hint="pass the file before or after these edits"
                )
            inverse.append(_inverse_of_change(result, edit, place[edit.row]))
        elif edit.kind == "delete":
            inverse.append(_inverse_of_deletion(result, chains[edit.row]))
    return inverse


def _inverse_of_addition(result: Coco, edit: Edit, at: int) -> Edit:
    """The deletion of an added row."""
    raw = bytes(result.raw(edit.block, at)).decode()
    record = decode(raw.encode())
    return replace(
        edit,
        kind="delete",
        row=at,
        source=result.sha256,
        fingerprint=fingerprint(record),
        before=edit.after,
        after=None,
        at=None,
        before_text=raw if bytes(encode(edit.after)).decode() != raw else None,
        after_text=None,
    )


def _inverse_of_change(result: Coco, edit: Edit, row: int) -> Edit:
    record = result.record(edit.block, row)
    return replace(
        edit,
        row=row,
        id=record.get("id") if isinstance(record, dict) else None,
        source=result.sha256,
        fingerprint=fingerprint(record),
        before=edit.after,
        after=edit.before,
        before_text=edit.after_text,
        after_text=edit.before_text,
    )


def _inverse_of_deletion(result: Coco, chain: Sequence[Edit]) -> Edit:
    """The addition of a deleted row as it was before its first edit."""
    record, text = chain[-1].before, chain[-1].before_text
    for edit in reversed(chain[:-1]):
        record, text = with_fields(record, edit.after, edit.before), edit.before_text
        if text is not None:
            record = decode(text.encode())  # with its order of fields, see _Block.apply
    last = chain[-1]
    return replace(
        last,
        kind="add",
        row=None,
        source=result.sha256,
        fingerprint=None,
        before=None,
        after=record,
        at=last.row,
        before_text=None,
        after_text=text,
    )


def select(
    edits: Iterable[Edit],
    *,
    reasons: Collection[str] = (),
    authors: Collection[str] = (),
    kinds: Collection[str] = (),
) -> list[Edit]:
    """The edits with these reasons, authors and kinds; an empty collection selects all.

    authors: check codes, or people, whether they made an edit or accepted it in a review.
    """
    return [
        edit
        for edit in edits
        if (not reasons or edit.reason in reasons)
        and (not authors or not {edit.author, *edit.accepted_by}.isdisjoint(authors))
        and (not kinds or edit.kind in kinds)
    ]


def stats(edits: Iterable[Edit]) -> dict[str, Any]:
    """Counts of a log: edits, rows and decisions; edits by kind, block, reason, author and person; relabels.

    people: see `Edit.people`. An edit that two people accepted counts for both.
    """
    edits = list(edits)
    relabels = Counter(
        f"{edit.before.get('category_id')} -> {edit.after.get('category_id')}"
        for edit in edits
        if edit.kind == "relabel"
    )
    return {
        "edits": len(edits),
        "rows": len({(edit.block, edit.row) for edit in edits if edit.row is not None}),
        "decisions": sum(edit.is_decision for edit in edits),
        "kinds": dict(Counter(edit.kind for edit in edits).most_common()),
        "blocks": dict(Counter(edit.block for edit in edits).most_common()),
        "reasons": dict(Counter(edit.reason for edit in edits).most_common()),
        "authors": dict(Counter(edit.author for edit in edits).most_common()),
        "people": dict(Counter(person for edit in edits for person in edit.people).most_common()),
        "relabels": dict(relabels.most_common()),
        "sources": list(dict.fromkeys(edit.source for edit in edits)),
    }
