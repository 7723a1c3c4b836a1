"""What is being reviewed: the file, its findings, their proposed fixes, and the edit log with what was decided."""

from __future__ import annotations

import fcntl
import hashlib
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from trashkit.coco import Coco
from trashkit.coco.classes import Color, class_map
from trashkit.coco.dataset import ids_in
from trashkit.coco.edit import Edit, same_value, with_fields
from trashkit.coco.edit_log import append_log, read_log, write_log
from trashkit.coco.edits import apply
from trashkit.errors import TrashkitError
from trashkit.finding import Finding

Place = tuple[str, int]
Status = Literal["open", "fixed", "rejected", "unusable"]
BLOCKS = ("annotations", "images")
"""Blocks whose rows have a place in the App."""


PLAIN_NOTE = "note"
"""The reason of a note without a tag; any other reason of a note is its tag."""


@dataclass(frozen=True, slots=True)
class Case:
    """One shared case: the row of its image, of its annotation if it is about one, tags and a note."""

    image: int
    annotation: int | None
    tags: tuple[str, ...]
    note: str


@dataclass(frozen=True, slots=True)
class Shared:
    """Cases that a team mate shared: a title, who it was, and the cases in their order."""

    title: str
    by: str
    cases: tuple[Case, ...]


@dataclass(frozen=True, slots=True)
class Fix:
    """The proposed fix of a finding.

    alone: edits that cure it in the file as it is. together: those that cure all fixable findings of the row at once,
    where later edits build on earlier ones. added: annotations that it adds besides.
    """

    alone: tuple[Edit, ...]
    together: tuple[Edit, ...]
    added: tuple[Edit, ...] = ()


@dataclass(frozen=True)
class Standing:
    """Rows as the log leaves them.

    records: rows that the log changes, None where it deletes them. added: rows that it adds, in its order. of: edits
    and decisions by row.
    """

    edits: tuple[Edit, ...] = ()
    records: Mapping[Place, Any] = field(default_factory=dict)
    added: tuple[Edit, ...] = ()
    of: Mapping[Place, tuple[Edit, ...]] = field(default_factory=dict)


class Room:
    """One review of one file with one log.

    findings: about rows of `coco`, see `trashkit.finding`. fixes: the proposed fix by position in `findings`, for those
    that have one. log: the edit log, which need not exist yet. reviewer: who decides. images: folder of the photos.
    shared: a team mate's cases, shown besides.
    Raises TrashkitError where the log is about another file or does not apply.
    """

    def __init__(
        self,
        coco: Coco,
        findings: Sequence[Finding],
        fixes: Mapping[int, Fix],
        log: Path,
        *,
        reviewer: str,
        images: Path | None = None,
        shared: Shared | None = None,
    ) -> None:
        self.coco, self.findings, self.fixes = coco, tuple(findings), fixes
        self.log, self.reviewer, self.images, self.shared = Path(log), reviewer, images, shared
        self._seen: tuple[int, int] | None = None
        self._standing = Standing()
        self._mutex, self._held = threading.RLock(), False
        self.check_log()

    def check_log(self) -> None:
        """Refuse a log that does not fit the file."""
        # Before its rows are looked up: a log of another file may name rows that this one lacks.
        edits = read_log(self.log).edits if self.log.exists() else []
        foreign = next((edit for edit in edits if edit.source not in ("", self.coco.sha256)), None)
        if foreign is not None:
            raise TrashkitError(
                f"{self.log} is about another file than {self.coco.path or 'this one'} "
                f"({foreign.source[:12]}, not {self.coco.sha256[:12]})",
                hint="review the file that the log was begun with, or name a new --edits LOG.jsonl",
            )
        apply(self.coco, edits)

    # ------------------------------------------------------------ the log
    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else writes to the log meanwhile: the App's server and the command both do. May be nested."""
        with self._mutex:
            if self._held:
                yield
                return
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.with_name(f".{self.log.name}.lock").open("w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                self._held = True
                try:
                    yield
                finally:
                    self._held = False

    def standing(self) -> Standing:
        """Rows as the log on disk leaves them now; read again only when the log has changed."""
        try:
            status = self.log.stat()
            seen = (status.st_mtime_ns, status.st_size)
        except FileNotFoundError:
            seen = (0, 0)
        if seen != self._seen:
            edits = tuple(read_log(self.log).edits) if seen != (0, 0) else ()
            self._standing, self._seen = _standing(self.coco, edits), seen
        return self._standing

    def begin(self) -> None:
        """Make the log where there is none yet: a review without decisions is an empty one."""
        with self.locked():
            self.log.touch()

    def torn(self) -> str:
        """About a last line of the log that a killed writer left unfinished; empty where all is whole."""
        return read_log(self.log).torn if self.log.exists() else ""

    def write(self, edits: Sequence[Edit]) -> None:
        """Append to the log; it is flushed to disk before this returns."""
        if edits:
            append_log(self.log, edits)
            self._seen = None

    def rewrite(self, edits: Sequence[Edit]) -> None:
        """Put other contents into the log, whole or not at all: for undoing and for rows that were added."""
        write_log(self.log, edits, overwrite=True)
        self._seen = None

    # ------------------------------------------------------------ rows
    def record(self, block: str, row: int) -> Any:
        """A row as the log leaves it; None where it is deleted."""
        records = self.standing().records
        return records[block, row] if (block, row) in records else self.coco.record(block, row)

    def current(self, block: str, row: int) -> Any:
        """A row as the log leaves it, None where the log does not change it."""
        return self.standing().records.get((block, row))

    @cached_property
    def images_rows(self) -> list[Any]:
        """Rows of ``images`` as they stand in the file."""
        return self.coco.records("images")

    @cached_property
    def image_row(self) -> dict[Any, int]:
        """Row of an image by its id; the first one counts."""
        rows = reversed(list(enumerate(self.images_rows)))
        return {image["id"]: row for row, image in rows if isinstance(image, dict) and ids_in(image.get("id"))}

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
        return self.image_row.get(wanted) if ids_in(wanted) else None

    def size(self, image_row: int | None) -> tuple[int, int] | None:
        """(width, height) that the file gives, None where they are not usable."""
        image = self.images_rows[image_row] if image_row is not None else None
        if not isinstance(image, dict):
            return None
        sides = (image.get("width"), image.get("height"))
        if all(isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < 2**31 for v in sides):
            return int(sides[0]), int(sides[1])  # type: ignore[arg-type]
        return None

    @cached_property
    def names(self) -> dict[Any, str]:
        """Category names by id; a name that two categories share is told apart by its id."""
        found: dict[Any, str] = {}
        for category in self.coco.records("categories"):
            if isinstance(category, dict) and ids_in(category.get("id")) and category["id"] not in found:
                name = str(category.get("name"))
                taken = name in found.values()
                found[category["id"]] = f"{name} ({category['id']})" if taken else name
        return found

    @cached_property
    def colors(self) -> dict[str, Color]:
        """Class colours by category name: the official ones where the names are."""
        rows = [c for c in self.coco.records("categories") if isinstance(c, dict) and ids_in(c.get("id"))]
        try:
            classes = class_map([row for row in rows if isinstance(row.get("name"), str)])
        except TrashkitError:
            return {}
        of = {key: classes.colors[index] for key, index in classes.index_of.items()}
        return {name: of[key] for key, name in self.names.items() if key in of}

    def class_name(self, record: Any) -> str:
        """The class of an annotation's record, as people read it."""
        wanted = record.get("category_id") if isinstance(record, dict) else None
        return self.names.get(wanted, f"category {wanted}") if ids_in(wanted) else "no category"

    # ------------------------------------------------------------ findings
    @cached_property
    def findings_of(self) -> dict[Place, tuple[int, ...]]:
        """Findings (their positions) by the row that they are about."""
        found: dict[Place, list[int]] = defaultdict(list)
        for n, finding in enumerate(self.findings):
            if finding.row is not None:
                found[finding.block, finding.row].append(n)
        return {place: tuple(some) for place, some in found.items()}

    def image_row_of(self, finding: Finding) -> int | None:
        """The image on which a finding shows; None for findings about categories, the file, or rows without image."""
        if finding.row is None:
            return None
        if finding.block == "images":
            return finding.row if isinstance(self.images_rows[finding.row], dict) else None
        if finding.block == "annotations":
            return self.image_of(self.coco.record("annotations", finding.row))
        return None

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Findings that the App can show, worst first: by severity, then code, then score."""
        shown = [n for n, finding in enumerate(self.findings) if self.image_row_of(finding) is not None]
        return tuple(sorted(shown, key=lambda n: (*badness(self.findings[n]), n)))

    def status(self, n: int) -> Status:
        """What became of a finding."""
        finding, of = self.findings[n], self.standing().of
        if finding.row is None:
            return "open"
        mine, place = (finding.code, finding.name), (finding.block, finding.row)
        for edit in reversed(of.get(place, ())):
            if edit.kind == "reject" and edit.reason in mine and n in self._rejected_by(edit, n):
                return "rejected"
            if edit.kind in ("delete", "merge") or (not edit.is_decision and {edit.author, edit.reason} & {*mine}):
                return "fixed"
        if n in self.fixes and self._is_done(self.fixes[n], place):
            return "fixed"
        image = self.image_row_of(finding)
        if image is not None and any(edit.kind == "unusable" for edit in of.get(("images", image), ())):
            return "unusable"
        return "open"

    def _is_done(self, fix: Fix, place: Place) -> bool:
        """Whether the row is as the fix would have it; another fix may have cured it too."""
        if fix.added and all(map(self.is_added, fix.added)):
            return True
        now = self.current(*place)
        return now is not None and any(edits and is_done(now, _last(edits)) for edits in (fix.alone, fix.together))

    def siblings(self, n: int) -> list[int]:
        """Findings of one check about one row, such as objects that one image lacks."""
        finding = self.findings[n]
        if finding.row is None:
            return [n]
        return [m for m in self.findings_of[finding.block, finding.row] if self.findings[m].code == finding.code]

    def _rejected_by(self, edit: Edit, n: int) -> list[int]:
        """A rejection that begins with a finding's message is about that one alone, else about all of its row."""
        siblings = self.siblings(n)
        return [m for m in siblings if edit.note.startswith(self.findings[m].message)] or siblings

    def is_added(self, edit: Edit) -> bool:
        """Whether the log adds the annotation that a proposed fix adds, however it was reshaped since."""
        return any(same_addition(one, edit) for one in self.standing().added)

    def fresh_id(self, taken: Iterable[Edit] = ()) -> int:
        """A whole number above all ids of annotations in the file and the log, and of the edits `taken`."""
        added = (edit.after for edit in (*self.standing().added, *taken) if edit.kind == "add")
        ids = [one.get("id") for one in added if isinstance(one, dict)]
        return max([self._highest_id, *(value for value in ids if type(value) is int and value < 2**53)]) + 1

    @cached_property
    def _highest_id(self) -> int:
        ids = [one.get("id") for one in self.coco.records("annotations") if isinstance(one, dict)]
        return max((value for value in ids if type(value) is int and value < 2**53), default=0)

    def progress(self) -> tuple[int, int]:
        """(decided, all) of the findings that the App can show."""
        return sum(self.status(n) != "open" for n in self.order), len(self.order)

    @cached_property
    def key(self) -> str:
        """Changes whenever the App has to be filled anew: another file, other findings or fixes, folder or log."""
        digest = hashlib.sha256(self.coco.sha256.encode())
        for part in (str(self.images), str(self.log.resolve()), repr(self.findings), repr(sorted(self.fixes))):
            digest.update(part.encode(errors="surrogatepass"))
        return digest.hexdigest()[:12]


def same_addition(one: Edit, other: Edit) -> bool:
    """Whether two edits add the annotation of one finding, however one of them was reshaped since."""
    return [one.author, one.note, one.after.get("image_id")] == [other.author, other.note, other.after.get("image_id")]


def badness(finding: Finding) -> tuple[int, str, float]:
    """Sorts worst first: severity, code, then the larger score."""
    return finding.severity.rank, finding.code, -(finding.score if finding.score is not None else 0.0)


def is_done(now: Any, edit: Edit) -> bool:
    """Whether a row has the values already that an edit would give it."""
    if edit.kind == "delete" or not isinstance(now, dict) or not edit.after:
        return False
    return all(key in now and same_value(now[key], value) for key, value in edit.after.items())


def _last(edits: Sequence[Edit]) -> Edit:
    """Edits of one row as one, with the values that they lead to."""
    after: dict[str, Any] = {}
    for edit in edits:
        after |= edit.after or {}
    return replace(edits[-1], after=after)


def _standing(coco: Coco, edits: tuple[Edit, ...]) -> Standing:
    records: dict[Place, Any] = {}
    added: list[Edit] = []
    of: dict[Place, list[Edit]] = defaultdict(list)
    for edit in edits:
        if edit.row is None:
            added.append(edit)
            continue
        place = (edit.block, edit.row)
        of[place].append(edit)
        if edit.is_decision:
            continue
        before = records[place] if place in records else coco.record(*place)
        records[place] = None if edit.kind == "delete" else with_fields(before, edit.before, edit.after)
    return Standing(edits, records, tuple(added), {place: tuple(some) for place, some in of.items()})
