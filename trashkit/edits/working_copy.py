"""The working copy: rows of a file with edits applied, as fixes and reviews use it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from trashkit.coco.dataset import Coco, image_size, is_valid_id
from trashkit.edits.edit import Edit, Kind, add, change, delete, with_fields

Place = tuple[str, int]
"""Block and row, as the source file counts them."""


class WorkingCopy:
    """Rows of a file with a growing list of edits applied. The file itself and its row numbers do not change.

    coco: the source file, to whose rows all edits refer. edits: all edits so far in order, including decisions.
    added: the edits that add rows, which have no row numbers. The `before` values of edits are not checked; see
    `trashkit.edits.apply.apply`.
    """

    def __init__(self, coco: Coco, edits: Iterable[Edit] = ()) -> None:
        self.coco = coco
        self.edits: list[Edit] = []
        self.added: list[Edit] = []
        self._changed: dict[Place, Any] = {}
        self._deleted: set[Place] = set()
        self._edits_of: dict[Place, list[Edit]] = {}
        self._highest_id: dict[str, int] = {}
        self._highest_in_source: dict[str, int] = {}
        for edit in edits:
            self.append(edit)

    def append(self, edit: Edit) -> None:
        """Apply one more edit."""
        self.edits.append(edit)
        if edit.row is None:
            self.added.append(edit)
            self._note_id(edit.block, edit.after)
            return
        place = (edit.block, edit.row)
        self._edits_of.setdefault(place, []).append(edit)
        if edit.is_decision:
            return
        if edit.kind == "delete":
            self._changed[place] = None
            self._deleted.add(place)
        else:
            self._changed[place] = with_fields(self.record(*place), edit.before, edit.after)
            self._deleted.discard(place)
            self._note_id(edit.block, edit.after)
        if edit.block == "images":
            self.__dict__.pop("sizes", None)

    def with_edits(self, edits: Iterable[Edit]) -> WorkingCopy:
        """A working copy of the same file with other edits, which does not read the file's ids again."""
        other = WorkingCopy(self.coco, edits)
        other._highest_in_source = self._highest_in_source
        return other

    # ------------------------------------------------------------ reading
    def record(self, block: str, row: int) -> Any:
        """A row after the edits; None if it is deleted."""
        place = (block, row)
        return self._changed[place] if place in self._changed else self.coco.record(block, row)

    def changed(self, block: str, row: int) -> Any:
        """A row after the edits; None if they do not change it, or delete it."""
        return self._changed.get((block, row))

    def is_changed(self, block: str, row: int) -> bool:
        """Whether an edit changes or deletes the row."""
        return (block, row) in self._changed

    def has(self, block: str, row: int) -> bool:
        """Whether the source file has the row and no edit deletes it."""
        return 0 <= row < self.coco.count(block) and (block, row) not in self._deleted

    def remaining_rows(self, block: str) -> list[int]:
        """Source rows that are not deleted, in order: the row in the source by position in the edited file."""
        return [row for row in range(self.coco.count(block)) if (block, row) not in self._deleted]

    @property
    def has_deletions(self) -> bool:
        """Whether any row is deleted, so that positions in the edited file differ from rows of the source."""
        return bool(self._deleted)

    def edits_of(self, place: Place) -> tuple[Edit, ...]:
        """Edits and decisions about one row, in order."""
        return tuple(self._edits_of.get(place, ()))

    def places(self) -> Iterable[Place]:
        """All rows that an edit or a decision is about."""
        return self._edits_of.keys()

    @cached_property
    def sizes(self) -> dict[Any, tuple[int, int]]:
        """(height, width) in pixels by image id, after the edits.

        If ids repeat, the first image with a usable size counts; images without a usable size are left out.
        """
        found: dict[Any, tuple[int, int]] = {}
        for row in range(self.coco.count("images")):
            image = self.record("images", row)
            size = image_size(image)
            if size and is_valid_id(image.get("id")):
                found.setdefault(image["id"], size)
        return found

    def size_of(self, annotation: Any) -> tuple[int, int] | None:
        """(height, width) of the image that an annotation record refers to; None if it is unknown."""
        image_id = annotation.get("image_id") if isinstance(annotation, dict) else None
        return self.sizes.get(image_id) if is_valid_id(image_id) else None

    # ------------------------------------------------------------ ids
    def highest_id(self, block: str, more: Iterable[Edit] = ()) -> int:
        """The largest integer id of a block in the source, in the edits and in `more` planned edits; 0 if none."""
        if block not in self._highest_id:
            if block not in self._highest_in_source:
                self._highest_in_source[block] = max(_whole_ids(self.coco.records(block)), default=0)
            edited = (edit.after for edit in self.edits if edit.block == block)
            self._highest_id[block] = max([self._highest_in_source[block], *_whole_ids(edited)])
        planned = (edit.after for edit in more if edit.block == block)
        return max([self._highest_id[block], *_whole_ids(planned)])

    def fresh_id(self, block: str) -> int:
        """A new id above `highest_id`. It is reserved, so each call returns another one."""
        self._highest_id[block] = self.highest_id(block) + 1
        return self._highest_id[block]

    def _note_id(self, block: str, record: Any) -> None:
        if block in self._highest_id:
            self._highest_id[block] = max([self._highest_id[block], *_whole_ids([record])])

    # ------------------------------------------------------------ editing
    def change(
        self,
        block: str,
        row: int,
        after: Mapping[str, Any],
        *,
        reason: str,
        author: str,
        kind: Kind | None = None,
        remove: Iterable[str] = (),
        note: str = "",
        related: Iterable[int] = (),
    ) -> Edit:
        """Give fields of a row new values, and return the edit; see `trashkit.edits.edit.change`."""
        edit = change(
            self.coco,
            block,
            row,
            after,
            reason=reason,
            author=author,
            current=self.changed(block, row),
            kind=kind,
            remove=remove,
            note=note,
            related=related,
        )
        self.append(edit)
        return edit

    def delete(
        self, block: str, row: int, *, reason: str, author: str, note: str = "", related: Iterable[int] = ()
    ) -> Edit:
        """Delete a row, and return the edit."""
        edit = delete(
            self.coco,
            block,
            row,
            reason=reason,
            author=author,
            current=self.changed(block, row),
            note=note,
            related=related,
        )
        self.append(edit)
        return edit

    def add(self, block: str, record: Any, *, reason: str, author: str, note: str = "") -> Edit:
        """Append a new row, and return the edit."""
        edit = add(self.coco, block, record, reason=reason, author=author, note=note)
        self.append(edit)
        return edit


def _whole_ids(records: Iterable[Any]) -> Iterator[int]:
    for record in records:
        value = record.get("id") if isinstance(record, dict) else None
        if type(value) is int and value < 2**53:
            yield value
