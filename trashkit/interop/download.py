"""Files from the web, in parallel and politely: a steady rate, retries that wait longer each time, whole files only."""

from __future__ import annotations

import contextlib
import http.client
import os
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from trashkit import __version__
from trashkit.errors import TrashkitError

AGENT = f"trashkit/{__version__} (data taco; annotated photos for research)"
GONE = frozenset({400, 401, 403, 404, 405, 406, 410, 414, 451})
"""Answers that another try does not change."""

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class Manners:
    """How politely to ask. rate: requests a second in all. timeout: seconds without a byte. deadline: per file.

    tries: per address. wait: seconds before the second try, doubled for each further one. limit: bytes per file.
    longest: seconds that a server may ask everybody to wait.
    """

    rate: float = 4.0
    timeout: float = 30.0
    deadline: float = 600.0
    tries: int = 4
    wait: float = 1.0
    limit: int = 200_000_000
    longest: float = 60.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch: addresses in the order of preference, and where it goes."""

    urls: tuple[str, ...]
    target: Path


@dataclass(frozen=True, slots=True)
class Fetched:
    """What became of a file. state: "new", "dead" (another try would not help) or "failed" (it may). reason: why."""

    wanted: Wanted
    state: str
    url: str = ""
    bytes: int = 0
    reason: str = ""


class DeadError(Exception):
    """Raised by a `verify` function for content that another try would not change."""


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows redirects to http and https alone."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise urllib.error.HTTPError(req.full_url, 410, "it leads to no web page", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Pace:
    """Lets one request through every 1 / rate seconds; a server that asks for a pause holds all of them."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._gap = 1.0 / rate
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self._stop = stop

    def turn(self) -> None:
        """Wait for this request's turn."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        self._stop.wait(start - now)

    def hold(self, seconds: float) -> None:
        """No request before this many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass(slots=True)
class _Client:
    """What the threads share."""

    verify: Callable[[Path, Wanted], None]
    manners: Manners
    stop: threading.Event
    pace: _Pace
    opener: urllib.request.OpenerDirector


def fetch_all(
    wanted: Sequence[Wanted],
    verify: Callable[[Path, Wanted], None],
    *,
    workers: int = 4,
    manners: Manners | None = None,
) -> Iterator[Fetched]:
    """Fetch files in parallel, yielding each as it is done. A file appears under its name only whole and verified.

    verify: called with the temporary file; raises `DeadError` or TrashkitError where it is not what was wanted (the
    latter is tried again). Closing the iterator, or Ctrl-C, stops all threads; what is complete stays.
    """
    manners = manners or Manners()
    stop = threading.Event()
    client = _Client(verify, manners, stop, _Pace(manners.rate, stop), urllib.request.build_opener(_OnlyWeb))
    todo = iter(wanted)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running: set[Future[Fetched]] = set()
        try:
            while True:
                # Few are handed out at a time, so that stopping does not wait for thousands.
                while len(running) < 2 * workers and (item := next(todo, None)) is not None:
                    running.add(pool.submit(_fetch, client, item))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            stop.set()
            for future in running:
                future.cancel()


def _fetch(client: _Client, item: Wanted) -> Fetched:
    """One file: every address in turn, each with its tries."""
    if not item.urls:
        return Fetched(item, "dead", reason="the annotations name no address")
    item.target.parent.mkdir(parents=True, exist_ok=True)
    part = item.target.with_name(f".{item.target.name}.{os.getpid()}.part")
    reasons: list[str] = []
    dead = True
    try:
        for url in item.urls:
            part.unlink(missing_ok=True)
            state, reason = _try_url(client, item, url, part)
            if state == "new":
                size = part.stat().st_size
                part.replace(item.target)
                return Fetched(item, "new", url, size)
            dead &= state == "dead"
            reasons.append(f"{url}: {reason}")
    finally:
        part.unlink(missing_ok=True)
    return Fetched(item, "dead" if dead else "failed", item.urls[0], reason="; ".join(reasons))


def _try_url(client: _Client, item: Wanted, url: str, part: Path) -> tuple[str, str]:
    """("new", "") once the part is whole and verified, else ("dead" or "failed", why)."""
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        return "dead", "it is no web address"
    # A fixed seed per address: waits are spread, and a run can be repeated.
    spread = random.Random(url)
    until = time.monotonic() + client.manners.deadline
    mark, reason = "", "stopped"
    for attempt in range(client.manners.tries):
        pause = client.manners.wait * 2 ** (attempt - 1) * (0.5 + spread.random()) if attempt else 0.0
        if not client.stop.wait(pause):
            client.pace.turn()
        if client.stop.is_set() or time.monotonic() > until:
            break
        try:
            _receive(client, url, part, mark, until)
            client.verify(part, item)
        except DeadError as error:
            return "dead", str(error)
        except urllib.error.HTTPError as error:
            reason, mark = _refused(client, error, part, mark)
            if error.code in GONE or error.code < 400:  # a redirect to something else than a web page
                return "dead", reason
        except TrashkitError as error:
            reason, mark = error.message.replace(part.name, item.target.name), ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            mark = getattr(error, "mark", "")
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        else:
            return "new", ""
    return "failed", reason


def _refused(client: _Client, error: urllib.error.HTTPError, part: Path, mark: str) -> tuple[str, str]:
    """The reason in words and the mark for the next try, after an answer that is an error."""
    if error.code in (429, 503):
        client.pace.hold(min(_retry_after(error), client.manners.longest))
    if error.code == 416:  # the part is longer than the file: begin afresh
        part.unlink(missing_ok=True)
        mark = ""
    return f"HTTP {error.code}", mark


def _receive(client: _Client, url: str, part: Path, mark: str, until: float) -> None:
    """Append what is missing of a file to its part.

    mark: by which the server knows the version that the part is from, "" to begin afresh. A body that ends too early
    raises `_CutError` and leaves the part, which the next try continues where the server can.
    """
    have = part.stat().st_size if mark and part.exists() else 0
    headers = {"User-Agent": AGENT, "Accept": "image/*,application/json;q=0.9,*/*;q=0.5", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    request = urllib.request.Request(urllib.parse.quote(url, safe=":/?&=%#+,;@!$'()*~[]"), headers=headers)
    with client.opener.open(request, timeout=client.manners.timeout) as answer:
        if have and (answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        got = have
        with part.open("ab" if have else "wb") as file:
            while (total or 0) <= client.manners.limit and (block := answer.read1(_BLOCK)):
                file.write(block)
                got += len(block)
                if got > client.manners.limit:
                    break
                if client.stop.is_set() or time.monotonic() > until:
                    raise OSError("stopped" if client.stop.is_set() else "it took too long")
        if max(got, total or 0) > client.manners.limit:
            raise DeadError(f"it has more than {client.manners.limit:,} bytes")
        if total is not None and got < total:
            version = answer.headers.get("ETag", "") or answer.headers.get("Last-Modified", "")
            raise _CutError(f"it ended after {got:,} of {total:,} bytes", "" if version.startswith("W/") else version)


class _CutError(OSError):
    """A body that ended too early. mark: see `_receive`."""

    def __init__(self, message: str, mark: str) -> None:
        super().__init__(message)
        self.mark = mark


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds that a server asks to wait, as a number or a date; 5 where it says nothing."""
    text = error.headers.get("Retry-After", "") if error.headers else ""
    if text.strip().isdigit():
        return float(text)
    with contextlib.suppress(TypeError, ValueError, IndexError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 5.0
