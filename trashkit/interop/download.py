"""Parallel downloads with a rate limit, retries with increasing waits, and atomic writes."""

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
"""HTTP status codes for which a retry is pointless."""

_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of requests and retries.

    rate: requests per second in total. timeout: seconds without data. deadline: seconds per file. tries: attempts per
    URL. wait: seconds before the second attempt, doubled for each further one. limit: bytes per file. longest: most
    seconds that a server's Retry-After may pause all requests.
    """

    rate: float = 4.0
    timeout: float = 30.0
    deadline: float = 600.0
    tries: int = 4
    wait: float = 1.0
    limit: int = 200_000_000
    longest: float = 60.0


@dataclass(frozen=True, slots=True)
class DownloadItem:
    """A file to download: its URLs in order of preference, and the target path."""

    urls: tuple[str, ...]
    target: Path


@dataclass(frozen=True, slots=True)
class DownloadResult:
    """Result of one download. state: "new", "dead" (a retry would not help) or "failed" (it may help)."""

    item: DownloadItem
    state: str
    url: str = ""
    bytes: int = 0
    reason: str = ""


class PermanentError(Exception):
    """Raised by a `verify` function for content that a retry would not change."""


def _is_web(url: str) -> bool:
    try:
        return urllib.parse.urlsplit(url).scheme in ("http", "https")
    except ValueError:  # such as a bracket without its other half
        return False


class _OnlyWeb(urllib.request.HTTPRedirectHandler):
    """Follows only redirects to http and https."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:  # noqa: PLR0917
        if not _is_web(newurl):
            raise urllib.error.HTTPError(
                req.full_url, 410, "it redirects to something that is not http or https", headers, fp
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _RateLimiter:
    """Lets one request start every 1 / rate seconds. A server that asks for a pause delays all requests."""

    def __init__(self, rate: float, stop: threading.Event) -> None:
        self._gap = 1.0 / rate
        self._next = time.monotonic()
        self._lock = threading.Lock()
        self._stop = stop

    def turn(self) -> None:
        """Wait until this request may start."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
        self._stop.wait(start - now)

    def hold(self, seconds: float) -> None:
        """Start no request before this many seconds have passed."""
        with self._lock:
            self._next = max(self._next, time.monotonic() + seconds)


@dataclass(slots=True)
class _Client:
    """State that the download threads share."""

    verify: Callable[[Path, DownloadItem], None]
    policy: RetryPolicy
    stop: threading.Event
    pace: _RateLimiter
    opener: urllib.request.OpenerDirector


def download_files(
    items: Sequence[DownloadItem],
    verify: Callable[[Path, DownloadItem], None],
    *,
    workers: int = 4,
    policy: RetryPolicy | None = None,
) -> Iterator[DownloadResult]:
    """Download files in parallel, and yield each result when it is done. Targets appear only once verified.

    verify: called with the temporary file. Raises `PermanentError` if the content is wrong, or TrashkitError if it is
    wrong but a retry may help. Closing the iterator, or Ctrl-C, stops all threads; complete files are kept.
    """
    policy = policy or RetryPolicy()
    stop = threading.Event()
    client = _Client(verify, policy, stop, _RateLimiter(policy.rate, stop), urllib.request.build_opener(_OnlyWeb))
    todo = iter(items)
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running: set[Future[DownloadResult]] = set()
        try:
            while True:
                # Submit only a few at a time, so that stopping does not wait for thousands.
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


def _fetch(client: _Client, item: DownloadItem) -> DownloadResult:
    """Download one file, trying its URLs in turn."""
    if not item.urls:
        return DownloadResult(item, "dead", reason="the annotations give no URL")
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
                return DownloadResult(item, "new", url, size)
            dead &= state == "dead"
            reasons.append(f"{url}: {reason}")
    finally:
        part.unlink(missing_ok=True)
    return DownloadResult(item, "dead" if dead else "failed", item.urls[0], reason="; ".join(reasons))


def _try_url(client: _Client, item: DownloadItem, url: str, part: Path) -> tuple[str, str]:
    """("new", "") once the file is complete and verified, else ("dead" or "failed", reason)."""
    if not _is_web(url):
        return "dead", "it is not an http or https URL"
    # A fixed seed per URL: waits are spread out, and a run is reproducible.
    spread = random.Random(url.encode(errors="backslashreplace"))
    until = time.monotonic() + client.policy.deadline
    version, reason = "", "stopped"
    for attempt in range(client.policy.tries):
        pause = client.policy.wait * 2 ** (attempt - 1) * (0.5 + spread.random()) if attempt else 0.0
        if not client.stop.wait(pause):
            client.pace.turn()
        if client.stop.is_set() or time.monotonic() > until:
            break
        try:
            _receive(client, url, part, version, until)
            client.verify(part, item)
        except PermanentError as error:
            return "dead", str(error)
        except urllib.error.HTTPError as error:
            reason, version = _refused(client, error, part, version)
            if error.code in GONE or error.code < 400:  # a redirect to something other than http or https
                return "dead", reason
        except TrashkitError as error:
            reason, version = error.message.replace(part.name, item.target.name), ""
        except (OSError, http.client.HTTPException, ValueError) as error:
            version = getattr(error, "version", "")
            reason = str(getattr(error, "reason", "") or error) or type(error).__name__
        else:
            return "new", ""
    return "failed", reason


def _refused(client: _Client, error: urllib.error.HTTPError, part: Path, version: str) -> tuple[str, str]:
    """The reason and the version for the next attempt, after an HTTP error."""
    if error.code in (429, 503):
        client.pace.hold(min(_retry_after(error), client.policy.longest))
    if error.code == 416:  # the partial file is longer than the file: start again
        part.unlink(missing_ok=True)
        version = ""
    return f"HTTP {error.code}", version


def _receive(client: _Client, url: str, part: Path, version: str, until: float) -> None:
    """Download a file, or the rest of it, to its partial file.

    version: ETag or date of the partial file, so that the server can continue it; "" to start again. A body that ends
    too early raises `_TruncatedError`, and the next attempt continues the partial file if the server supports it.
    """
    have = part.stat().st_size if version and part.exists() else 0
    headers = {"User-Agent": AGENT, "Accept": "image/*,application/json;q=0.9,*/*;q=0.5", "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    request = urllib.request.Request(urllib.parse.quote(url, safe=":/?&=%#+,;@!$'()*~[]"), headers=headers)
    with client.opener.open(request, timeout=client.policy.timeout) as answer:
        if have and (answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-")):
            have = 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length and length.isdigit() else None
        got = have
        with part.open("ab" if have else "wb") as file:
            while (total or 0) <= client.policy.limit and (block := answer.read1(_BLOCK)):
                file.write(block)
                got += len(block)
                if got > client.policy.limit:
                    break
                if client.stop.is_set() or time.monotonic() > until:
                    raise OSError("stopped" if client.stop.is_set() else "it took too long")
        if max(got, total or 0) > client.policy.limit:
            raise PermanentError(f"it has more than {client.policy.limit:,} bytes")
        if total is not None and got < total:
            tag = answer.headers.get("ETag", "") or answer.headers.get("Last-Modified", "")
            raise _TruncatedError(f"it ended after {got:,} of {total:,} bytes", "" if tag.startswith("W/") else tag)


class _TruncatedError(OSError):
    """A body that ended too early. version: see `_receive`."""

    def __init__(self, message: str, version: str) -> None:
        super().__init__(message)
        self.version = version


def _retry_after(error: urllib.error.HTTPError) -> float:
    """Seconds to wait according to Retry-After, which is a number or a date; 5 without one."""
    text = error.headers.get("Retry-After", "") if error.headers else ""
    if text.strip().isdigit():
        return float(text)
    with contextlib.suppress(TypeError, ValueError, IndexError):
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    return 5.0
