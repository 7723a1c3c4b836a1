"""What is wrong with a submission, and what is strange about it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trashkit import submission
from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.masks import dataset_label_map
from trashkit.predictions import images_by_name
from trashkit.progress import Progress, silent
from trashkit.submission import Profile, Row

SAME = 0.999
"""From this share of equal pixels on, two submissions count as the same."""

MIX_FACTOR = 3.0
"""A class whose share of the pixels differs by this factor from the training data is reported ..."""

MIX_FLOOR = 0.002
"""... if it has at least this share in one of the two."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing about a submission: what, where (line from 1, image) and what to do about it."""

    code: str
    message: str
    cure: str = ""
    line: int | None = None
    file_name: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Result of `check`: failures make the server or its scorer refuse the file, warnings are only strange.

    rows: how many the file has; images: how many are wanted. shares: share of the pixels of each class, [C] float64
    (all 0 where no row could be read).
    """

    path: Path
    rows: int
    images: int
    classes: tuple[str, ...]
    shares: NDArray[np.float64]
    failures: tuple[Problem, ...]
    warnings: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing failed."""
        return not self.failures


def profile_of(dataset: Dataset, *, sample: Path | None = None, size: tuple[int, int] = (256, 256)) -> Profile:
    """The form of a submission for these images: their number of classes, and the header of a sample if there is one.

    size: (height, width). Raises TrashkitError unless the sample's first line names two columns.
    """
    profile = Profile(classes=len(dataset.classes), height=size[0], width=size[1])
    if sample is None:
        return profile
    columns = submission.read_header(sample).split(",")
    if len(columns) != 2 or not all(columns):
        raise TrashkitError(
            f"{sample}: its first line names {len(columns)} columns, a submission has two",
            hint=f"a sample submission begins with {profile.header}",
        )
    return replace(profile, image_column=columns[0], values_column=columns[1])


@dataclass(slots=True)
class _Seen:
    """What is gathered in one pass over the rows."""

    names: list[str] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    failures: list[Problem] = field(default_factory=list)
    background: list[Problem] = field(default_factory=list)
    digests: dict[bytes, list[str]] = field(default_factory=dict)
    blank: list[int] = field(default_factory=list)
    last: int = 1
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    rows: int = 0


def check(
    path: Path,
    dataset: Dataset,
    *,
    profile: Profile | None = None,
    train: Dataset | None = None,
    against: Sequence[Path] = (),
    progress: Progress = silent,
) -> Report:
    """Check a submission CSV against the images it is for.

    Fails: header, unknown, missing and doubled images, number of values, values that are no class, spacing. Warns: row
    order, rows of background alone, rows that are the same, blank lines, Windows line ends and byte order mark; with
    `train` (data with labels) also a class mix unlike it, with `against` (earlier submissions) also a class mix
    unlike theirs, and pixels that are nearly all the same as in one of them.
    Raises TrashkitError only for files that cannot be read, and for images that share a file name.
    """
    profile = profile or profile_of(dataset)
    wanted = {name: position for position, name in enumerate(images_by_name(dataset))}
    seen = _Seen()
    with ExitStack() as stack:
        others = [_Earlier.of(one, profile, stack) for one in against]
        for row in submission.read(path, profile):
            _look(row, wanted, profile, seen)
            if row.label_map is not None:
                for other in others:
                    other.compare(row, profile)
            progress("checking rows", min(seen.rows, len(wanted)), len(wanted))
    failures = [*_header(path, profile), *seen.failures, *_missing(wanted, seen)]
    warnings = [*_form(path), *_blank(seen), *_order(wanted, seen), *seen.background, *_same_rows(seen)]
    total = seen.pixels.sum()
    shares = seen.pixels[: profile.classes] / max(total, 1)
    if train is not None and total:
        warnings += _mix(shares, train, dataset.classes.names, (profile.height, profile.width))
    for other in others:
        warnings += [*other.sameness(), *other.mix(seen.pixels, profile.classes, dataset.classes.names)]
    return Report(path, seen.rows, len(wanted), dataset.classes.names, shares, tuple(failures), tuple(warnings))


@dataclass(slots=True)
class _Earlier:
    """An earlier submission: where its rows lie, and what was counted next to those of the one that is checked."""

    path: Path
    file: BinaryIO
    rows: dict[str, Row]
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    equal: int = 0
    compared: int = 0

    @classmethod
    def of(cls, path: Path, profile: Profile, stack: ExitStack) -> _Earlier:
        """Opened for as long as the stack. TrashkitError where it cannot be read."""
        rows = {row.file_name: row for row in submission.read(path, profile, values=False)}
        return cls(path, stack.enter_context(path.open("rb")), rows)

    def compare(self, row: Row, profile: Profile) -> None:
        """Count one row of the other submission, which is sound, against this one's of the same image."""
        if row.file_name not in self.rows or row.label_map is None:
            return
        own = submission.read_at(self.file, self.rows[row.file_name], profile).label_map
        if own is not None:
            self.pixels += np.bincount(own.ravel(), minlength=256)
            self.equal += int(np.count_nonzero(own == row.label_map))
            self.compared += own.size

    def sameness(self) -> Iterator[Problem]:
        if self.compared and self.equal >= SAME * self.compared:
            yield Problem(
                "sameness",
                f"only {self.compared - self.equal:,} of {self.compared:,} pixels differ from {self.path}",
                "make sure that this is not the submission you made before",
            )

    def mix(self, pixels: NDArray[np.int64], classes: int, names: tuple[str, ...]) -> Iterator[Problem]:
        """Classes whose share of the pixels is quite another one."""
        if pixels.sum() and self.pixels.sum():
            found, usual = (counts[:classes] / counts.sum() for counts in (pixels, self.pixels))
            yield from _unlike(found, usual, names, f"in {self.path}")


def _header(path: Path, profile: Profile) -> Iterator[Problem]:
    found = submission.read_header(path)
    if found == profile.header:
        return
    shown = repr(found if len(found) <= 60 else found[:57] + "...") if found else "empty"
    yield Problem("header", f"the first line is {shown}", f"it must be {profile.header}", line=1)


def _form(path: Path) -> Iterator[Problem]:
    with path.open("rb") as file:
        first = file.readline(1 << 16)
    if first.startswith(submission.BOM):
        yield Problem("byte-order-mark", "the file begins with a byte order mark", "write plain UTF-8", line=1)
    if first.endswith(b"\r\n"):
        yield Problem("line-ends", "its lines end as on Windows (CR LF)", "write LF alone", line=1)


def _blank(seen: _Seen) -> Iterator[Problem]:
    if seen.blank:
        message = f"blank lines between rows: {len(seen.blank)}"
        yield Problem("blank-line", message, "delete them, not every reader passes over them", seen.blank[0])


def _look(row: Row, wanted: dict[str, int], profile: Profile, seen: _Seen) -> None:
    seen.rows += 1
    seen.blank += range(seen.last + 1, row.line)
    seen.last = row.line
    if row.file_name not in wanted:
        cure = _suggestion(row.file_name, wanted)
        seen.failures.append(Problem("unknown-image", "no such image is asked for", cure, row.line, row.file_name))
    elif row.file_name in seen.lines:
        message = f"the image has a row already, in line {seen.lines[row.file_name]}"
        seen.failures.append(Problem("doubled-image", message, "delete one of the two", row.line, row.file_name))
    else:
        seen.lines[row.file_name] = row.line
        seen.names.append(row.file_name)
    if row.label_map is None:
        seen.failures.append(Problem("values", row.problem, row.cure, row.line, row.file_name))
        return
    counts = np.bincount(row.label_map.ravel(), minlength=256)
    seen.pixels += counts
    if counts[0] == profile.count:
        cure = "look at the picture and its prediction"
        seen.background.append(Problem("all-background", "every pixel is background", cure, row.line, row.file_name))
    else:
        digest = hashlib.blake2b(row.label_map.tobytes(), digest_size=16).digest()
        seen.digests.setdefault(digest, []).append(row.file_name)


def _suggestion(name: str, wanted: dict[str, int]) -> str:
    """How the image was probably meant."""
    plain = name.strip().replace("\\", "/").removeprefix("./")
    meant = [known for known in wanted if known.casefold() == plain.casefold()]
    if not meant:
        meant = [known for known in wanted if PurePosixPath(known).name == PurePosixPath(plain).name]
    if len(meant) == 1:
        return f"write it as {meant[0]}"
    return f"names are as in the data, such as {next(iter(wanted))}"


def _missing(wanted: dict[str, int], seen: _Seen) -> Iterator[Problem]:
    for name in wanted:
        if name not in seen.lines:
            yield Problem("missing-image", "the image has no row", "predict it and add its row", file_name=name)


def _order(wanted: dict[str, int], seen: _Seen) -> Iterator[Problem]:
    positions = [wanted[name] for name in seen.names]
    for before, after, name in zip(positions, positions[1:], seen.names[1:], strict=False):
        if after < before:
            message = "rows do not follow the order of the data"
            yield Problem("order", message, "harmless where the server joins by name", seen.lines[name], name)
            return


def _same_rows(seen: _Seen) -> Iterator[Problem]:
    groups = [names for names in seen.digests.values() if len(names) > 1]
    if groups:
        count = sum(map(len, groups))
        message = f"{count} rows have the very same values as another, first {groups[0][0]} and {groups[0][1]}"
        cure = "expected only for photos that are the same"
        yield Problem("same-rows", message, cure, seen.lines.get(groups[0][1]), groups[0][1])


def _mix(
    shares: NDArray[np.float64], train: Dataset, names: tuple[str, ...], size: tuple[int, int]
) -> Iterator[Problem]:
    if train.classes.names != names:
        raise TrashkitError(
            f"{train.coco.path or 'the training data'} has other classes than the data of the submission",
            hint="give both the same --classes",
        )
    pixels = np.zeros(256, dtype=np.int64)
    for image in train.images:
        pixels += np.bincount(dataset_label_map(train, image.row, size=size).ravel(), minlength=256)
    expected = pixels[: len(names)] / max(int(pixels[: len(names)].sum()), 1)
    yield from _unlike(shares, expected, names, "in the training data")


def _unlike(
    shares: NDArray[np.float64], expected: NDArray[np.float64], names: tuple[str, ...], where: str
) -> Iterator[Problem]:
    for name, found, usual in zip(names, shares, expected, strict=True):
        high, low = max(found, usual), min(found, usual)
        if high >= MIX_FLOOR and high > MIX_FACTOR * low:
            yield Problem(
                "class-mix",
                f"{name} covers {found:.2%} of the pixels, {where} {usual:.2%}",
                "look at overlays of this class",
            )
