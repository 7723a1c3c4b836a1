"""A review session: the annotation file, its findings, their proposed fixes, and the edit log of decisions."""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from trashkit.coco import Coco
from trashkit.coco.classes import Color, class_map
from trashkit.coco.dataset import image_size, is_valid_id
from trashkit.edits.apply import apply
from trashkit.edits.edit import Edit, same_value
from trashkit.edits.log import append_log, read_log, write_log
from trashkit.edits.working_copy import Place, WorkingCopy
from trashkit.errors import TrashkitError
from trashkit.files import exists, lock, open_lock, real_path
from trashkit.finding import Finding, RowFinding
from trashkit.images.photos import photo_path
from trashkit.review.app_text import as_stored

Status = Literal["open", "fixed", "rejected", "unusable"]
BLOCKS = ("annotations", "images")
"""Blocks whose rows the App shows."""
PLAIN_NOTE = "note"
"""The reason of a note without a tag. Any other reason of a note is its tag."""


@dataclass(frozen=True, slots=True)
class SharedCase:
    """A shared case: the row of its image, the row of its annotation if it is about one, tags and a note."""

    image: int
    annotation: int | None
    tags: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class SharedCases:
    """Cases that a teammate shared, in order. by: the name of the reviewer who shared them."""

    title: str
    by: str
    cases: tuple[SharedCase, ...]


@dataclass(frozen=True, slots=True)
class ProposedFix:
    """The proposed fix of a finding.

    edits: fix only this finding, in the unchanged file. row_edits: fix all fixable findings of the row at once; later
    ones build on earlier ones. additions: edits that add annotations.
    """

    edits: tuple[Edit, ...]
    row_edits: tuple[Edit, ...]
    additions: tuple[Edit, ...] = ()


class ReviewSession:
    """A review of one file with one edit log.

    findings: about rows of `coco`, see `trashkit.finding`. fixes: proposed fixes, by position in `findings`. log: the
    edit log, which need not exist yet. reviewer: author of the decisions. images: folder of the photos. shared: cases
    that a teammate shared.
    Raises TrashkitError if the log is about another file or does not apply.
    """

    def __init__(
        self,
        coco: Coco,
        findings: Sequence[Finding],
        fixes: Mapping[int, ProposedFix],
        log: Path,
        *,
        reviewer: str,
        images: Path | None = None,
        shared: SharedCases | None = None,
    ) -> None:
        self.coco, self.findings, self.fixes = coco, tuple(findings), fixes
        self.log, self.reviewer, self.images, self.shared = Path(log), reviewer, images, shared
        self._seen: tuple[int, int] | None = None
        self._working_copy = WorkingCopy(coco)
        self._mutex, self._held = threading.RLock(), False
        self.check_log()

    @classmethod
    def without_findings(cls, coco: Coco, *, images: Path | None = None) -> ReviewSession:
        """A session to look at a file without findings and decisions, such as a test set."""
        log = (coco.path or Path("annotations.json")).with_suffix(".no-edits")
        return cls(coco, [], {}, log, reviewer="", images=images)

    def check_log(self) -> None:
        """Raise TrashkitError if the log does not fit the file."""
        # First of all the source: a log of another file may name rows that this one lacks.
        edits = read_log(self.log).edits if exists(self.log) else []
        foreign = next((edit for edit in edits if edit.source not in ("", self.coco.sha256)), None)
        if foreign is not None:
            raise TrashkitError(
                f"{self.log} was made for a different file than {self.coco.path or 'this one'} "
                f"({foreign.source[:12]}, not {self.coco.sha256[:12]})",
                hint="review the file that the log was started with, or give a new --edits LOG.jsonl",
            )
        apply(self.coco, edits)
        lacking = next((one for one in edits if one.row is not None and one.row >= self.coco.count(one.block)), None)
        if lacking is not None:
            raise TrashkitError(
                f"{self.log} has a {lacking.kind} about {lacking.place}, which {self.coco.path or 'the file'} lacks",
                hint="remove that line, or give a new --edits LOG.jsonl",
            )
        if not all(isinstance(one.after, dict) for one in edits if one.kind == "add" and one.block == "annotations"):
            raise TrashkitError(f"{self.log} adds an annotation that is not an object", hint="remove that line")

    # ------------------------------------------------------------ the log
    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the log, which both the App's server and the command write. May be nested."""
        with self._mutex:
            if self._held:
                yield
                return
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with open_lock(self.log.with_name(f".{self.log.name}.lock")) as file:
                lock(file)
                self._held = True
                try:
                    yield
                finally:
                    self._held = False

    def working_copy(self) -> WorkingCopy:
        """Rows as the log on disk leaves them now; read again only when the log has changed."""
        try:
            status = self.log.stat()
            seen = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            seen = (0, 0)
        if seen != self._seen:
            edits = read_log(self.log).edits if seen != (0, 0) else []
            self._working_copy, self._seen = self._working_copy.with_edits(edits), seen
        return self._working_copy

    def create_log(self) -> None:
        """Create the log if it does not exist: a review without decisions leaves an empty log."""
        with self.locked():
            self.log.touch()

    def incomplete_line(self) -> str:
        """A message about an incomplete last line of the log, which a killed writer left; empty if there is none."""
        return read_log(self.log).torn if exists(self.log) else ""

    def write(self, edits: Sequence[Edit]) -> None:
        """Append edits to the log, and flush it to disk."""
        if edits:
            append_log(self.log, edits)
            self._seen = None

    def rewrite(self, edits: Sequence[Edit]) -> None:
        """Replace the contents of the log atomically: for undoing, and to change rows that were added."""
        write_log(self.log, edits, overwrite=True)
        self._seen = None

    # ------------------------------------------------------------ rows
    def record(self, block: str, row: int) -> Any:
        """A row as the log leaves it; None if it is deleted."""
        return self.working_copy().record(block, row)

    def current(self, block: str, row: int) -> Any:
        """A row as the log leaves it; None if the log does not change it."""
        return self.working_copy().changed(block, row)

    def is_changed(self, place: Place) -> bool:
        """Whether the log changes or deletes a row."""
        return self.working_copy().is_changed(*place)

    def edits_of(self, place: Place) -> tuple[Edit, ...]:
        """Edits and decisions about a row, in order."""
        return self.working_copy().edits_of(place)

    @cached_property
    def image_records(self) -> list[Any]:
        """Rows of ``images`` as the file has them."""
        return self.coco.records("images")

    @cached_property
    def image_row_by_id(self) -> dict[Any, int]:
        """Row of an image by its id. If an id occurs twice, the first row counts."""
        rows = reversed(list(enumerate(self.image_records)))
        return {image["id"]: row for row, image in rows if isinstance(image, dict) and is_valid_id(image.get("id"))}

    @cached_property
    def annotations_of(self) -> dict[int, list[int]]:
        """Rows of annotations by row of their image, as the source file has them."""
        found: dict[int, list[int]] = defaultdict(list)
        for row, record in enumerate(self.coco.records("annotations")):
            image = self.image_of(record)
            if image is not None:
                found[image].append(row)
        return found

    def image_of(self, record: Any) -> int | None:
        """The image row of an annotation's record."""
        wanted = record.get("image_id") if isinstance(record, dict) else None
        return self.image_row_by_id.get(wanted) if is_valid_id(wanted) else None

    def images_of(self, edits: Iterable[Edit]) -> set[int]:
        """Rows of the images that edits are about, directly or through an annotation."""
        found: set[int | None] = set()
        for edit in edits:
            if edit.block == "images":
                found.add(edit.row)
            elif edit.block == "annotations":
                record = edit.after if edit.row is None else self.coco.record("annotations", edit.row)
                found.add(self.image_of(record))
        return {row for row in found if row is not None}

    def photo_path(self, image_row: int) -> Path:
        """Absolute path of an image's photo, in the resolved folder; one that does not exist for an unusable file name.

        A photo may be a link to a file elsewhere.
        """
        image = self.image_records[image_row]
        name = image.get("file_name") if isinstance(image, dict) else None
        try:
            return photo_path(real_path(self.images or Path()), name)  # type: ignore[arg-type]
        except TrashkitError:
            return Path(f"/missing/{image_row}.jpg")

    def image_size(self, image_row: int | None) -> tuple[int, int] | None:
        """(height, width) of an image in pixels as the file gives it; None if it is unusable."""
        return image_size(self.image_records[image_row], rounded=True) if image_row is not None else None

    @cached_property
    def category_names(self) -> dict[Any, str]:
        """Category names by id. If two categories share a name, the id is appended to the second one."""
        found: dict[Any, str] = {}
        for category in self.coco.records("categories"):
            if isinstance(category, dict) and is_valid_id(category.get("id")) and category["id"] not in found:
                name = as_stored(str(category.get("name")))
                taken = name in found.values()
                found[category["id"]] = f"{name} ({category['id']})" if taken else name
        return found

    @cached_property
    def class_colors(self) -> dict[str, Color]:
        """Colours in which classes are shown, by category name."""
        rows = [c for c in self.coco.records("categories") if isinstance(c, dict) and is_valid_id(c.get("id"))]
        try:
            classes = class_map([row for row in rows if isinstance(row.get("name"), str)])
        except TrashkitError:
            return {}
        of = {key: classes.shown_colors[index] for key, index in classes.index_of.items()}
        return {name: of[key] for key, name in self.category_names.items() if key in of}

    def class_name(self, record: Any) -> str:
        """The class of an annotation's record, for display."""
        wanted = record.get("category_id") if isinstance(record, dict) else None
        if not is_valid_id(wanted):
            return "no category"
        return self.category_names.get(wanted, as_stored(f"category {wanted}"))

    # ------------------------------------------------------------ findings
    @cached_property
    def findings_of(self) -> dict[Place, tuple[int, ...]]:
        """Positions of findings by the row that they are about."""
        found: dict[Place, list[int]] = defaultdict(list)
        for n, finding in enumerate(self.findings):
            if finding.row is not None:
                found[finding.block, finding.row].append(n)
        return {place: tuple(some) for place, some in found.items()}

    def row_finding(self, n: int) -> RowFinding:
        """A finding about a row, by its position. Raises TrashkitError if it is about the whole file."""
        finding = self.findings[n]
        if not isinstance(finding, RowFinding):
            raise TrashkitError(
                f"{finding.code} {finding.name} is about the whole file", hint="choose a finding about a row"
            )
        return finding

    def image_row_of(self, finding: Finding) -> int | None:
        """The row of the image that shows a finding; None for findings about categories, the file, or no image."""
        if finding.row is None:
            return None
        if finding.block == "images":
            return finding.row if isinstance(self.image_records[finding.row], dict) else None
        if finding.block == "annotations":
            return self.image_of(self.coco.record("annotations", finding.row))
        return None

    def finding_class(self, n: int) -> str:
        """The class, in the source file, of the annotation that a finding is about; empty for other findings."""
        finding = self.findings[n]
        if finding.block != "annotations" or finding.row is None:
            return ""
        return self.class_name(self.coco.record("annotations", finding.row))

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Findings that the App can show, worst first: by severity, then code, then score."""
        shown = [n for n, finding in enumerate(self.findings) if self.image_row_of(finding) is not None]
        return tuple(sorted(shown, key=lambda n: (*severity_key(self.findings[n]), n)))

    def status(self, n: int) -> Status:
        """Whether a finding is still open, or how it was decided."""
        finding = self.findings[n]
        if finding.row is None:
            return "open"
        mine, place = (finding.code, finding.name), (finding.block, finding.row)
        for edit in reversed(self.edits_of(place)):
            if edit.kind == "reject" and edit.reason in mine and n in self._rejected_by(edit, n):
                return "rejected"
            if edit.kind in ("delete", "merge") or (not edit.is_decision and {edit.author, edit.reason} & {*mine}):
                return "fixed"
        if n in self.fixes and self._is_done(self.fixes[n], place):
            return "fixed"
        image = self.image_row_of(finding)
        if image is not None and any(edit.kind == "unusable" for edit in self.edits_of(("images", image))):
            return "unusable"
        return "open"

    def _is_done(self, fix: ProposedFix, place: Place) -> bool:
        """Whether the row is as the fix would leave it, whichever edit did that."""
        if fix.additions and all(map(self.is_added, fix.additions)):
            return True
        now = self.current(*place)
        return now is not None and any(edits and is_done(now, _last(edits)) for edits in (fix.edits, fix.row_edits))

    def siblings(self, n: int) -> list[int]:
        """Findings of the same check about the same row, such as several missing objects of one image."""
        finding = self.findings[n]
        if finding.row is None:
            return [n]
        return [m for m in self.findings_of[finding.block, finding.row] if self.findings[m].code == finding.code]

    def _rejected_by(self, edit: Edit, n: int) -> list[int]:
        """The findings that a rejection is about: that with whose message its note begins, else all siblings."""
        siblings = self.siblings(n)
        return [m for m in siblings if edit.note.startswith(self.findings[m].message)] or siblings

    def is_added(self, edit: Edit) -> bool:
        """Whether the log adds the annotation that a proposed fix adds, even if it was changed since."""
        return any(same_addition(one, edit) for one in self.working_copy().added)

    def fresh_id(self, taken: Iterable[Edit] = ()) -> int:
        """An annotation id above all whole-number ids in the file, the log, and the edits `taken`."""
        return self.working_copy().highest_id("annotations", taken) + 1

    def progress(self) -> tuple[int, int]:
        """(decided, total) findings, of those that the App can show."""
        return sum(self.status(n) != "open" for n in self.order), len(self.order)

    @cached_property
    def key(self) -> str:
        """Identifies the App's data set: changes with the file, findings, fixes, photo folder and log."""
        digest = hashlib.sha256(self.coco.sha256.encode())
        for part in (str(self.images), str(real_path(self.log)), repr(self.findings), repr(sorted(self.fixes))):
            digest.update(part.encode(errors="surrogatepass"))
        return digest.hexdigest()[:12]


def same_addition(one: Edit, other: Edit) -> bool:
    """Whether two edits add the annotation of the same finding, even if one of them was changed since."""
    return [one.author, one.note, one.after.get("image_id")] == [other.author, other.note, other.after.get("image_id")]


def severity_key(finding: Finding) -> tuple[int, str, float]:
    """Sort key, worst first: by severity, then code, then the larger score."""
    return finding.severity.rank, finding.code, -(finding.score if finding.score is not None else 0.0)


def is_done(now: Any, edit: Edit) -> bool:
    """Whether a row already has the values that an edit would give it."""
    if edit.kind == "delete" or not isinstance(now, dict) or not edit.after:
        return False
    return all(key in now and same_value(now[key], value) for key, value in edit.after.items())


def _last(edits: Sequence[Edit]) -> Edit:
    """The last edit of a row, with the values that all of them lead to."""
    after: dict[str, Any] = {}
    for edit in edits:
        after |= edit.after or {}
    return replace(edits[-1], after=after)
