"""Run the checks on shapes chunk by chunk, in several processes that share the file's memory."""

from __future__ import annotations

import math
import multiprocessing
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from trashkit.audit.registry import Check, Hit
from trashkit.audit.views.shapes import Shapes
from trashkit.audit.views.table import Ints, Measures, Table
from trashkit.errors import TrashkitError
from trashkit.progress import Progress, silent

CHUNK = 4096
"""Annotations per chunk: some tens of megabytes of coordinates and polygons."""

SMALL = 4 * CHUNK
"""Files with fewer annotations are measured in this process only."""

Found = list[tuple[str, list[Hit]]]


def chunks_of(table: Table) -> list[Ints]:
    """Annotation rows in chunks of about CHUNK, each of whole images; rows of unknown images come first."""
    order = np.argsort(table.image_row, kind="stable")
    image = table.image_row[order]
    starts = np.flatnonzero(np.concatenate(([True], image[1:] != image[:-1]))) if len(order) else np.zeros(0, np.int64)
    # Annotations of unknown images need not stay together.
    loose = np.arange(0, np.searchsorted(image, 0), CHUNK)
    starts = np.unique(np.concatenate((starts, loose)))
    edges = [0]
    for start in starts.tolist():
        if start - edges[-1] >= CHUNK:
            edges.append(start)
    edges.append(len(order))
    return [order[a:b] for a, b in pairwise(edges) if b > a]


def _run(table: Table, checks: Sequence[Check], rows: Ints) -> tuple[Found, tuple[Any, ...]]:
    shapes = Shapes(table, rows)
    found = []
    with np.errstate(all="ignore"):
        for check in checks:
            hits = list(check.function(shapes))
            if hits:
                found.append((check.code, hits))
        return found, (rows, shapes.area, shapes.box, shapes.vertices)


def measure(table: Table, checks: Sequence[Check], workers: int, progress: Progress = silent) -> tuple[Found, Measures]:
    """Run the checks on shapes over the whole file: hits by code, and the measured areas, boxes and vertices."""
    chunks = chunks_of(table)
    count = table.annotation_count
    area, box, vertices = np.full(count, math.nan), np.full((count, 4), math.nan), np.full(count, math.nan)
    found: Found = []
    if count < SMALL or "fork" not in multiprocessing.get_all_start_methods() or sys.platform == "darwin":
        workers = 1
    for hits, (rows, *columns) in _results(table, checks, chunks, workers, progress):
        found.extend(hits)
        area[rows], box[rows], vertices[rows] = columns
    return found, Measures(area, box, vertices)


def _results(
    table: Table, checks: Sequence[Check], chunks: list[Ints], workers: int, progress: Progress
) -> Iterator[tuple[Found, tuple[Any, ...]]]:
    """Results of all chunks. This process works too, since each forked one nominally doubles the file's memory."""
    total = len(chunks)
    context = multiprocessing.get_context("fork") if workers > 1 else multiprocessing.get_context()
    taken = context.Value("q", 0)

    def take() -> Iterator[Ints]:
        while True:
            with taken.get_lock():
                mine = taken.value
                taken.value += 1
            if mine >= total:
                return
            yield chunks[mine]

    def work(pipe: Any) -> None:
        pipe.send([_run(table, checks, rows) for rows in take()])
        pipe.close()

    children = []
    sys.stdout.flush()
    sys.stderr.flush()
    for _ in range(min(workers, total) - 1):
        ours, theirs = context.Pipe(duplex=False)
        child = context.Process(target=work, args=(theirs,), daemon=True)
        child.start()
        theirs.close()
        children.append((child, ours))
    for rows in take():
        yield _run(table, checks, rows)
        progress("measuring shapes", min(taken.value, total), total)
    for child, ours in children:
        try:
            yield from ours.recv()
        except EOFError:
            raise TrashkitError(
                "a worker process was killed, probably for lack of memory", hint="free some memory, or use --workers 1"
            ) from None
        child.join()
    progress("measuring shapes", total, total)
