"""Check a submission: failures that a server would refuse, and warnings."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.names import ByName
from trashkit.predictions import submission_csv
from trashkit.predictions.reading import images_by_name
from trashkit.predictions.submission_csv import CsvLayout, Row
from trashkit.progress import Progress, silent
from trashkit.raster.masks import dataset_label_map
from trashkit.readers import open_file

SAME = 0.999
"""Share of equal pixels from which two submissions count as the same."""

MIX_FACTOR = 3.0
"""A class whose share of the pixels differs by this factor from the training data is reported ..."""

MIX_FLOOR = 0.002
"""... if it has at least this share in one of the two."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a submission: what is wrong, where (line from 1, image) and how to fix it."""

    code: str
    message: str
    cure: str = ""
    line: int | None = None
    file_name: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Result of `check`: failures make the server or its scorer refuse the file, warnings do not.

    rows: in the file. images: in the data. shares: share of the pixels of each class, [C] float64; 0 where no row could
    be read.
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


@dataclass(slots=True)
class Findings:
    """What a check of another format than the CSV collects. pixels: int64 [256], by class."""

    failures: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, np.int64))


def layout_for(dataset: Dataset, *, sample: Path | None = None, size: tuple[int, int] = (256, 256)) -> CsvLayout:
    """Return the CSV layout for these images: their number of classes, and the header of a sample if given.

    size: (height, width). Raises TrashkitError unless the sample's first line names two columns.
    """
    layout = CsvLayout(classes=len(dataset.classes), height=size[0], width=size[1])
    if sample is None:
        return layout
    columns = submission_csv.read_header(sample).split(",")
    if len(columns) != 2 or not all(columns):
        raise TrashkitError(
            f"{sample}: its first line names {len(columns)} columns, a submission has two",
            hint=f"a sample submission begins with {layout.header}",
        )
    return replace(layout, image_column=columns[0], values_column=columns[1])


@dataclass(slots=True)
class _Rows:
    """What one pass over the rows collects."""

    names: list[str] = field(default_factory=list)
    lines: ByName[int] = field(default_factory=ByName)
    failures: list[Problem] = field(default_factory=list)
    background: list[Problem] = field(default_factory=list)
    digests: dict[bytes, list[str]] = field(default_factory=dict)
    blank: int = 0
    first_blank: int = 0
    last: int = 1
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    rows: int = 0


def count_values(labels: NDArray[np.uint8]) -> NDArray[np.int64]:
    """How often each value occurs in an array, int64 [256]. In parts: bincount takes eight bytes per value."""
    flat = labels.reshape(-1)
    parts = (flat[start : start + (1 << 20)] for start in range(0, flat.size, 1 << 20))
    return sum((np.bincount(part, minlength=256) for part in parts), np.zeros(256, np.int64))


def check(
    path: str | Path,
    dataset: Dataset,
    *,
    layout: CsvLayout | None = None,
    train: Dataset | None = None,
    against: Sequence[Path] = (),
    progress: Progress = silent,
) -> Report:
    """Check a submission CSV against the images of `dataset`.

    Fails: header, unknown, missing and repeated images, names in another form of Unicode, number of values, values that
    are not classes, spacing. Warns: row order, rows with background only, equal rows, blank lines, Windows line ends
    and byte order mark; with `train` (data with labels) also a different class mix, and with `against` (earlier
    submissions) a class mix unlike theirs or nearly equal pixels.
    Raises TrashkitError only for files that cannot be read, and for images that share a file name.
    """
    path = Path(path)
    layout = layout or layout_for(dataset)
    wanted = ByName((name, position) for position, name in enumerate(images_by_name(dataset)))
    seen = _Rows()
    with ExitStack() as stack:
        others = [_Earlier.of(one, layout, stack) for one in against]
        for row in submission_csv.read(path, layout):
            _check_row(row, wanted, layout, seen)
            if row.label_map is not None:
                for other in others:
                    other.compare(row, layout)
            progress("checking rows", min(seen.rows, len(wanted)), len(wanted))
    failures = [*_header(path, layout), *seen.failures, *_missing(wanted, seen), *_other_form(dataset, seen)]
    warnings = [*_encoding(path), *_blank(seen), *_order(wanted, seen), *seen.background, *_same_rows(seen)]
    total = seen.pixels.sum()
    shares = seen.pixels[: layout.classes] / max(total, 1)
    if train is not None and total:
        warnings += _mix(shares, train, dataset.classes.names, (layout.height, layout.width))
    for other in others:
        warnings += [*other.sameness(), *other.mix(seen.pixels, layout.classes, dataset.classes.names)]
    return Report(path, seen.rows, len(wanted), dataset.classes.names, shares, tuple(failures), tuple(warnings))


@dataclass(slots=True)
class _Earlier:
    """An earlier submission: the places of its rows, and its counts against the checked one."""

    path: Path
    file: BinaryIO
    rows: dict[str, Row]
    pixels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(256, dtype=np.int64))
    equal: int = 0
    compared: int = 0

    @classmethod
    def of(cls, path: Path, layout: CsvLayout, stack: ExitStack) -> _Earlier:
        """Open the file until `stack` closes. TrashkitError where it cannot be read."""
        rows = ByName((row.file_name, row) for row in submission_csv.read(path, layout, values=False))
        return cls(path, stack.enter_context(open_file(path)), rows)

    def compare(self, row: Row, layout: CsvLayout) -> None:
        """Count a valid row of the checked submission against this one's row of the same image."""
        if row.file_name not in self.rows or row.label_map is None:
            return
        own = submission_csv.read_at(self.file, self.rows[row.file_name], layout).label_map
        if own is not None:
            self.pixels += count_values(own)
            self.equal += int(np.count_nonzero(own == row.label_map))
            self.compared += own.size

    def sameness(self) -> Iterator[Problem]:
        if self.compared and self.equal >= SAME * self.compared:
            yield Problem(
                "sameness",
                f"only {self.compared - self.equal:,} of {self.compared:,} pixels differ from {self.path}",
                "make sure that this is not an earlier submission",
            )

    def mix(self, pixels: NDArray[np.int64], classes: int, names: tuple[str, ...]) -> Iterator[Problem]:
        """Classes with a very different share of the pixels."""
        if pixels.sum() and self.pixels.sum():
            found, usual = (counts[:classes] / counts.sum() for counts in (pixels, self.pixels))
            yield from _unlike(found, usual, names, f"in {self.path}")


def _header(path: Path, layout: CsvLayout) -> Iterator[Problem]:
    found = submission_csv.read_header(path)
    if found == layout.header:
        return
    shown = repr(found if len(found) <= 60 else found[:57] + "...") if found else "empty"
    yield Problem("header", f"the first line is {shown}", f"it must be {layout.header}", line=1)


def _encoding(path: Path) -> Iterator[Problem]:
    with open_file(path) as file:
        first = file.readline(1 << 16)
    if first.startswith(submission_csv.BOM):
        yield Problem("byte-order-mark", "the file begins with a byte order mark", "write plain UTF-8", line=1)
    if first.endswith(b"\r\n"):
        yield Problem("line-ends", "it has Windows line ends (CR LF)", "write LF only", line=1)


def _blank(seen: _Rows) -> Iterator[Problem]:
    if seen.blank:
        message = f"blank lines between rows: {seen.blank}"
        yield Problem("blank-line", message, "delete them: not every reader skips them", seen.first_blank)


def _check_row(row: Row, wanted: dict[str, int], layout: CsvLayout, seen: _Rows) -> None:
    seen.rows += 1
    if row.line > seen.last + 1:
        seen.first_blank = seen.first_blank or seen.last + 1
        seen.blank += row.line - seen.last - 1
    seen.last = row.line
    if row.file_name not in wanted:
        cure = _suggestion(row.file_name, wanted)
        seen.failures.append(Problem("unknown-image", "the data has no such image", cure, row.line, row.file_name))
    elif row.file_name in seen.lines:
        message = f"the image already has a row, in line {seen.lines[row.file_name]}"
        seen.failures.append(Problem("doubled-image", message, "delete one of the two", row.line, row.file_name))
    else:
        seen.lines[row.file_name] = row.line
        seen.names.append(row.file_name)
    if row.label_map is None:
        seen.failures.append(Problem("values", row.problem, row.cure, row.line, row.file_name))
        return
    counts = count_values(row.label_map)
    seen.pixels += counts
    if counts[0] == layout.count:
        cure = "check the photo and its prediction"
        seen.background.append(Problem("all-background", "every pixel is background", cure, row.line, row.file_name))
    else:
        digest = hashlib.blake2b(row.label_map.tobytes(), digest_size=16).digest()
        seen.digests.setdefault(digest, []).append(row.file_name)


def _suggestion(name: str, wanted: dict[str, int]) -> str:
    """The name that was probably meant."""
    plain = name.strip().replace("\\", "/").removeprefix("./")
    meant = [known for known in wanted if known.casefold() == plain.casefold()]
    if not meant:
        meant = [known for known in wanted if PurePosixPath(known).name == PurePosixPath(plain).name]
    if len(meant) == 1:
        return f"write it as {meant[0]}"
    return f"use names as in the data, such as {next(iter(wanted))}"


def _missing(wanted: dict[str, int], seen: _Rows) -> Iterator[Problem]:
    for name in wanted:
        if name not in seen.lines:
            yield Problem("missing-image", "the image has no row", "predict it and add its row", file_name=name)


def _order(wanted: dict[str, int], seen: _Rows) -> Iterator[Problem]:
    positions = [wanted[name] for name in seen.names]
    for before, after, name in zip(positions, positions[1:], seen.names[1:], strict=False):
        if after < before:
            message = "rows do not follow the order of the data"
            yield Problem("order", message, "harmless where the server joins by name", seen.lines[name], name)
            return


def _other_form(dataset: Dataset, seen: _Rows) -> Iterator[Problem]:
    exact = {image.file_name for image in dataset.images}
    others = [name for name in seen.names if name not in exact]
    if others:
        message = f"{len(others)} names are in another form of Unicode (NFC or NFD) than in the data"
        cure = "write names as in the data: a server may compare them byte by byte"
        yield Problem("name-form", message, cure, seen.lines[others[0]], others[0])


def _same_rows(seen: _Rows) -> Iterator[Problem]:
    groups = [names for names in seen.digests.values() if len(names) > 1]
    if groups:
        count = sum(map(len, groups))
        message = f"{count} rows have the same values as another, first {groups[0][0]} and {groups[0][1]}"
        cure = "expected only for identical photos"
        yield Problem("same-rows", message, cure, seen.lines.get(groups[0][1]), groups[0][1])


def _mix(
    shares: NDArray[np.float64], train: Dataset, names: tuple[str, ...], size: tuple[int, int]
) -> Iterator[Problem]:
    if train.classes.names != names:
        raise TrashkitError(
            f"{train.coco.path or 'the training data'} has different classes than the data of the submission",
            hint="use the same --classes for both",
        )
    pixels = np.zeros(256, dtype=np.int64)
    for image in train.images:
        pixels += count_values(dataset_label_map(train, image.row, size=size))
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
                "check overlays of this class",
            )
