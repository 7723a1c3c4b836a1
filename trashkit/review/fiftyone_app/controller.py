"""The state behind the App's operators and panels: a data set, its review session, and the current finding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.edits.edit import Edit
from trashkit.errors import TrashkitError
from trashkit.finding import Finding
from trashkit.review import decisions
from trashkit.review.decisions import Decision
from trashkit.review.fiftyone_app.dataset_sync import ids_of, refresh, take_over
from trashkit.review.fiftyone_app.sample_documents import ANNOTATIONS, MAX_ADDITIONS, ORIGINAL, PROPOSED
from trashkit.review.session import ReviewSession
from trashkit.review.session_file import load_session


@dataclass
class ReviewController:
    """The data set of one review, as the App's server has it.

    current: the finding being reviewed, as a position in the session's findings. code, class_name, decided: the filter
    of Next and Previous: findings of one check or class only, and whether decided ones are included.
    """

    dataset: Any
    session: ReviewSession
    current: int | None = None
    code: str = ""
    class_name: str = ""
    decided: bool = False

    # ------------------------------------------------------------ what the App has selected
    def rows(self, selected: Sequence[dict[str, Any]]) -> list[int]:
        """Rows of the annotations that the selected labels refer to, proposals and originals included.

        Raises TrashkitError if only other labels are selected: the current finding must not be taken in their place.
        """
        ids = ids_of(self.dataset)
        found, others = [], 0
        for label in selected:
            rows = [ids.row(kind, label.get("label_id")) for kind in (ANNOTATIONS, PROPOSED, ORIGINAL)]
            found += [row for row in rows if row is not None][:1]
            others += not any(row is not None for row in rows)
        if others and not found and not self.additions(selected):
            raise TrashkitError(
                "the selected label is not an annotation of the file",
                hint="edit what was drawn in this review in the Annotate tab; here, select an annotation or nothing",
            )
        return list(dict.fromkeys(found))

    def additions(self, selected: Iterable[dict[str, Any]]) -> list[int]:
        """The findings whose proposed new annotations are selected."""
        ids = ids_of(self.dataset)
        numbers = (ids.row("addition", label.get("label_id")) for label in selected)
        return list(dict.fromkeys(number // MAX_ADDITIONS for number in numbers if number is not None))

    def image_rows(self, sample_ids: Iterable[Any]) -> list[int]:
        """Rows of the images with these sample ids."""
        ids = ids_of(self.dataset)
        return [row for row in (ids.row("image", one) for one in sample_ids) if row is not None]

    def findings(self, rows: Sequence[int], code: str | None = None) -> list[int]:
        """The open findings of these annotations (of one code); without rows, the current finding if it is open."""
        session = self.session
        if not rows:
            return [] if self.current is None or session.status(self.current) != "open" else [self.current]
        mine = [n for row in rows for n in session.findings_of.get((ANNOTATIONS, row), ())]
        return [n for n in mine if session.status(n) == "open" and code in (None, "", session.findings[n].code)]

    def annotation_rows(self, rows: Sequence[int]) -> list[int]:
        """These rows; without rows, that of the current finding. Raises TrashkitError if it is not an annotation's."""
        if rows:
            return list(rows)
        finding = self.finding
        if finding is None or finding.block != ANNOTATIONS or finding.row is None:
            raise TrashkitError("no annotation is selected", hint="click an outline, or go to a finding")
        return [finding.row]

    # ------------------------------------------------------------ going from finding to finding
    @property
    def finding(self) -> Finding | None:
        """The current finding."""
        return self.session.findings[self.current] if self.current is not None else None

    @property
    def is_open(self) -> bool:
        """Whether there is a current finding and it is still open."""
        return self.current is not None and self.session.status(self.current) == "open"

    def chosen(self) -> list[int]:
        """Findings that pass the filter of check and class, worst first, whether decided or not."""
        session = self.session
        return [
            n
            for n in session.order
            if self.code in ("", session.findings[n].code) and self.class_name in ("", session.finding_class(n))
        ]

    def choose(self, code: str, class_name: str, decided: bool) -> None:
        """Set the filter, and go to the first finding that passes unless the current one does."""
        self.code, self.class_name, self.decided = code, class_name, decided
        if self.current not in self.chosen() or not (decided or self.is_open):
            self.current = None
            self.step()

    def safe_fixes(self) -> list[int]:
        """Open findings with a safe fix, of the current finding's check and of the class in the filter."""
        finding, session = self.finding, self.session
        if finding is None:
            return []
        found = [n for n in session.order if session.findings[n].code == finding.code and n in session.fixes]
        found = [n for n in found if session.findings[n].fix == "safe" and not session.fixes[n].additions]
        found = [n for n in found if self.class_name in ("", session.finding_class(n))]
        return [n for n in found if session.status(n) == "open"]

    def step(self, forward: bool = True) -> int | None:
        """Go to the next or previous finding that passes the filter, in order from worst, and return it.

        Does nothing if there is no other one.
        """
        order, session = self.session.order, self.session
        if not order:
            return None
        chosen = set(self.chosen())
        at = order.index(self.current) if self.current in order else (-1 if forward else len(order))
        ahead = [*order[at + 1 :], *order[: max(at, 0)]] if forward else [*order[:at][::-1], *order[at + 1 :][::-1]]
        candidates = (n for n in ahead if n in chosen and (self.decided or session.status(n) == "open"))
        self.current = next(candidates, self.current)
        return self.current

    def label_of_finding(self) -> dict[str, str] | None:
        """The current finding's label as the App names it, or only its sample if it has none."""
        finding, ids = self.finding, ids_of(self.dataset)
        image = self.session.image_row_of(finding) if finding is not None else None
        if finding is None or image is None or finding.row is None:
            return None
        sample = {"sample_id": ids.of("image", image)}
        if finding.block != ANNOTATIONS or self.session.record(ANNOTATIONS, finding.row) is None:
            return sample
        return {**sample, "label_id": ids.of(ANNOTATIONS, finding.row), "field": ANNOTATIONS}

    # ------------------------------------------------------------ deciding
    def decide(self, decision: Decision) -> list[Edit]:
        """Write a decision to the log and refresh the images that it is about, with the log locked."""
        with self.session.locked():
            self._take_over()
            edits = decisions.make(self.session, decision)
            refresh(self.dataset, self.session, self.session.images_of(edits))
        return edits

    def undo(self) -> list[Edit]:
        """Undo the last decision."""
        with self.session.locked():
            self._take_over()
            edits = decisions.undo(self.session)
            refresh(self.dataset, self.session, self.session.images_of(edits))
        return edits

    def _take_over(self) -> None:
        """Take over what the Annotate tab has just saved, which refreshing the images would lose."""
        self.dataset.reload()
        take_over(self.dataset, self.session, self.dataset.info["looked"])


_CONTROLLERS: dict[str, ReviewController] = {}


def controller_of(dataset: Any) -> ReviewController | None:
    """The controller of a data set that `trashkit review` made, always the same one; None for any other data set."""
    path = dataset.info.get("room") if dataset is not None else None
    if not path:
        return None
    controller = _CONTROLLERS.get(dataset.name)
    if controller is None:
        controller = _CONTROLLERS[dataset.name] = ReviewController(dataset, load_session(Path(path)))
    return controller
