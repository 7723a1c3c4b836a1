"""Reviews that the App's database folder keeps: old ones are removed, never one that is in use."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from trashkit.files import lock, remove

PREFIX = "trashkit-"
"""Of the names of reviews, which are those of their data sets."""
SESSIONS, LABEL_MAPS, AUDITS = "rooms", "label-maps", "audits"
"""Folders: the session of each review, its label maps, and cached audits."""
DAY = 86_400.0
KEEP_DAYS = 60
KEEP_BYTES = 1 << 30
"""Reviews that nobody opened for so many days are removed, and the oldest ones of more than so many bytes in total."""


@dataclass(frozen=True, slots=True)
class _Review:
    """A stored review. used: when it was last opened, in seconds; 0 if unknown. size: bytes."""

    name: str
    used: float
    size: int


def session_file(home: Path, name: str) -> Path:
    """The file of a review's session. home: the review's folder."""
    return home / SESSIONS / f"{name}.json"


@contextmanager
def in_use(home: Path, name: str) -> Iterator[None]:
    """Mark a review as in use, by any number of processes, so that `remove_old` keeps it."""
    with _lock(home, name) as file:
        lock(file, shared=True)
        yield


def remove_old(
    home: Path, stored: Mapping[str, int], delete: Callable[[str], None], *, now: float | None = None
) -> tuple[int, int]:
    """Remove old reviews and cached audits. Returns the number of reviews and the bytes of all that was removed.

    stored: bytes in the database by name of the data set. delete: removes one from the database. A review that was
    opened within a day, or is in use, is kept.
    """
    now = time.time() if now is None else now
    reviews = sorted(_reviews(home, stored), key=lambda review: review.used)
    total = sum(review.size for review in reviews)
    number = freed = 0
    for review in reviews:
        age = (now - review.used) / DAY
        if age < 1 or (age < KEEP_DAYS and total <= KEEP_BYTES):
            continue
        with _lock(home, review.name) as file:
            try:
                lock(file, wait=False)
            except OSError:
                continue
            if review.name in stored:
                delete(review.name)
            remove(home / LABEL_MAPS / review.name)
            remove(session_file(home, review.name))
            remove(_lock_file(home, review.name))
        number, freed, total = number + 1, freed + review.size, total - review.size
    for path in home.glob(f"{AUDITS}/*.json"):
        about = path.stat()
        if now - about.st_mtime > KEEP_DAYS * DAY:
            remove(path)
            freed += about.st_size
    return number, freed


def _reviews(home: Path, stored: Mapping[str, int]) -> Iterator[_Review]:
    names = {path.stem for path in home.glob(f"{SESSIONS}/{PREFIX}*.json")}
    names |= {path.name for path in home.glob(f"{LABEL_MAPS}/{PREFIX}*")}
    for name in names | {name for name in stored if name.startswith(PREFIX)}:
        session = session_file(home, name)
        files = [session, *(home / LABEL_MAPS / name).rglob("*")]
        sizes = [path.lstat().st_size for path in files if path.is_file()]
        yield _Review(name, session.stat().st_mtime if session.is_file() else 0.0, stored.get(name, 0) + sum(sizes))


def _lock_file(home: Path, name: str) -> Path:
    return home / SESSIONS / f".{name}.in-use"


@contextmanager
def _lock(home: Path, name: str) -> Iterator[IO[str]]:
    """The open file whose lock says that a review is in use."""
    path = _lock_file(home, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        yield file
