"""Where the App's operators and panel work: a data set's room, the finding in hand, decisions carried out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.coco.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.review import decisions
from trashkit.review.board import ids_of, refresh, take_over
from trashkit.review.decisions import Deciding
from trashkit.review.documents import ADDITIONS, ANNOTATIONS, ORIGINAL, PROPOSED
from trashkit.review.room import Place, Room
from trashkit.review.room_file import load_room


@dataclass
class Desk:
    """One data set of a review as the App's server has it. current: the finding in hand, a position in its list.

    code, class_name, decided: what Next and Previous stop at, findings of one check or class alone, decided ones too.
    """

    dataset: Any
    room: Room
    current: int | None = None
    code: str = ""
    class_name: str = ""
    decided: bool = False

    # ------------------------------------------------------------ what is meant
    def rows(self, selected: Sequence[dict[str, Any]]) -> list[int]:
        """Rows of the annotations that the App's selection names, proposals and originals included.

        TrashkitError where something else alone is selected: it must not stand for the finding in hand.
        """
        ids = ids_of(self.dataset)
        found, others = [], 0
        for label in selected:
            rows = [ids.row(kind, label.get("label_id")) for kind in (ANNOTATIONS, PROPOSED, ORIGINAL)]
            found += [row for row in rows if row is not None][:1]
            others += not any(row is not None for row in rows)
        if others and not found and not self.additions(selected):
            raise TrashkitError(
                "the selected label is no annotation of the file",
                hint="what was drawn in this review is changed in the Annotate tab; click on an annotation, or on none",
            )
        return list(dict.fromkeys(found))

    def additions(self, selected: Iterable[dict[str, Any]]) -> list[int]:
        """The findings whose proposed new annotations are selected."""
        ids = ids_of(self.dataset)
        numbers = (ids.row("addition", label.get("label_id")) for label in selected)
        return list(dict.fromkeys(number // ADDITIONS for number in numbers if number is not None))

    def image_rows(self, sample_ids: Iterable[Any]) -> list[int]:
        """Rows of the images that ids of samples name."""
        ids = ids_of(self.dataset)
        return [row for row in (ids.row("image", one) for one in sample_ids) if row is not None]

    def findings(self, rows: Sequence[int], code: str | None = None) -> list[int]:
        """The findings meant: of these annotations those still open (of one code), else the one in hand."""
        room = self.room
        if not rows:
            return [] if self.current is None or room.status(self.current) != "open" else [self.current]
        mine = [n for row in rows for n in room.findings_of.get((ANNOTATIONS, row), ())]
        return [n for n in mine if room.status(n) == "open" and code in (None, "", room.findings[n].code)]

    def annotation_rows(self, rows: Sequence[int]) -> list[int]:
        """These annotations, or the one that the finding in hand is about. TrashkitError where there is none."""
        if rows:
            return list(rows)
        finding = self.room.findings[self.current] if self.current is not None else None
        if finding is None or finding.block != ANNOTATIONS or finding.row is None:
            raise TrashkitError("no annotation is selected", hint="click on an outline, or go to a finding")
        return [finding.row]

    # ------------------------------------------------------------ going about
    def class_of(self, n: int) -> str:
        """The class of the annotation that a finding is about, as the file has it; empty for images."""
        finding = self.room.findings[n]
        if finding.block != ANNOTATIONS or finding.row is None:
            return ""
        return self.room.class_name(self.room.coco.record(ANNOTATIONS, finding.row))

    def chosen(self) -> list[int]:
        """Findings of the check and class that were chosen, worst first, decided or not."""
        return [
            n
            for n in self.room.order
            if self.code in ("", self.room.findings[n].code) and self.class_name in ("", self.class_of(n))
        ]

    def choose(self, code: str, class_name: str, decided: bool) -> None:
        """Stop at these findings alone from now on; the first of them is taken in hand unless the present one fits."""
        self.code, self.class_name, self.decided = code, class_name, decided
        mine = self.chosen()
        if self.current not in mine or not (decided or self.room.status(self.current or 0) == "open"):
            self.current = None
            self.step()

    def safe_fixes(self) -> list[int]:
        """Open findings of the check in hand, and of the class that was chosen, whose fix is a safe one."""
        if self.current is None:
            return []
        code = self.room.findings[self.current].code
        found = [n for n in self.room.order if self.room.findings[n].code == code and n in self.room.fixes]
        found = [n for n in found if self.room.findings[n].fix == "safe" and not self.room.fixes[n].added]
        return [n for n in found if self.class_name in ("", self.class_of(n)) and self.room.status(n) == "open"]

    def step(self, forward: bool = True) -> int | None:
        """Go to the next finding that is still open, worst first, or to the one before; None where none is left.

        Only those that were chosen count, decided ones too where that was chosen.
        """
        order, room = self.room.order, self.room
        if not order:
            return None
        wanted = set(self.chosen())
        at = order.index(self.current) if self.current in order else (-1 if forward else len(order))
        ahead = [*order[at + 1 :], *order[: max(at, 0)]] if forward else [*order[:at][::-1], *order[at + 1 :][::-1]]
        there = (n for n in ahead if n in wanted and (self.decided or room.status(n) == "open"))
        self.current = next(there, self.current)
        return self.current

    def place(self) -> dict[str, str] | None:
        """The finding in hand as the App names a label, or its image alone."""
        if self.current is None:
            return None
        finding, ids = self.room.findings[self.current], ids_of(self.dataset)
        image = self.room.image_row_of(finding)
        if image is None or finding.row is None:
            return None
        sample = {"sample_id": ids.of("image", image)}
        if finding.block != ANNOTATIONS or self.room.record(ANNOTATIONS, finding.row) is None:
            return sample
        return {**sample, "label_id": ids.of(ANNOTATIONS, finding.row), "field": ANNOTATIONS}

    # ------------------------------------------------------------ deciding
    def decide(self, deciding: Deciding) -> list[Edit]:
        """Write a decision to the log and bring the images it is about in step, with nobody else writing meanwhile."""
        with self.room.locked():
            self._take_over()
            edits = decisions.make(self.room, deciding)
            refresh(self.dataset, self.room, self._images(edits))
        return edits

    def undo(self) -> list[Edit]:
        """Take the last decision back."""
        with self.room.locked():
            self._take_over()
            edits = decisions.undo(self.room)
            refresh(self.dataset, self.room, self._images(edits))
        return edits

    def _take_over(self) -> None:
        """What the Annotate tab saved a moment ago comes first, or writing the images anew would lose it."""
        self.dataset.reload()
        take_over(self.dataset, self.room, self.dataset.info["looked"])

    def _images(self, edits: Iterable[Edit]) -> set[int]:
        found: set[int] = set()
        for edit in edits:
            place: Place | None = (edit.block, edit.row) if edit.row is not None else None
            if place and edit.block == "images":
                found.add(place[1])
            elif edit.block == ANNOTATIONS:
                image = self.room.image_of(self.room.coco.record(*place) if place else edit.after)
                found |= {image} if image is not None else set()
        return found


_DESKS: dict[str, Desk] = {}


def desk_of(dataset: Any) -> Desk | None:
    """The desk of a data set that `review` made, the same one each time; None for any other data set."""
    path = dataset.info.get("room") if dataset is not None else None
    if not path:
        return None
    desk = _DESKS.get(dataset.name)
    if desk is None:
        desk = _DESKS[dataset.name] = Desk(dataset, load_room(Path(path)))
    return desk
