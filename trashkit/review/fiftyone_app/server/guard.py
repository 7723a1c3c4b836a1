"""The guard in front of FiftyOne's server, as plain ASGI: who may call it, and what.

FiftyOne answers everybody who reaches its port, and a browser lets every page that is open reach it. So a request
passes only if

- its Host, and its Origin if it has one, are the App's own: other pages and rebound host names are refused, and so are
  requests that the browser marks as coming from another site;
- it carries the review's token, in the cookie that the printed address sets or in the header of trashkit's own calls;
- it is one of those that the App makes, see `allowed.py`, and asks for a photo of the review, see `media.py`.

Everything else is answered with status 403 and one line.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from trashkit.review.fiftyone_app.server.allowed import is_allowed, refused_body
from trashkit.review.fiftyone_app.server.media import find_photo, place_in, read_photo

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER = "x-trashkit-token"
"""The header in which trashkit's own calls send the token; other pages cannot set it."""
MOST_BYTES = 64 << 20
"""Most bytes of a request's body."""
_OPEN = "open the address that the terminal printed"
_HEADERS = {
    b"cross-origin-resource-policy": b"same-origin",
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"same-origin",
}
"""Sent with every response: other pages may neither load, frame nor reinterpret it."""
PAGE_POLICY = (
    "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""What the App's page may load: nothing from other servers."""
FILE_POLICY = "sandbox; default-src 'none'; frame-ancestors 'none'"
"""A photo that is opened as a page runs nothing."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use the App, and which files it shows.

    port: where it listens. token: see `new_token`. folders: of the photos and of the App's own label maps.
    """

    port: int
    token: str
    folders: tuple[Path, ...] = ()

    @property
    def hosts(self) -> frozenset[str]:
        """The values of the Host header that are the App's own."""
        names = ("127.0.0.1", "localhost", "[::1]")
        return frozenset(f"{name}:{self.port}" for name in names) | (frozenset(names) if self.port == 80 else set())

    @property
    def cookie(self) -> str:
        """The cookie's name. Browsers send cookies to all ports of a host, so two Apps need two names."""
        return f"trashkit-{self.port}"

    def knows(self, token: str) -> bool:
        """Whether a token is this review's."""
        return secrets.compare_digest(token.encode(errors="replace"), self.token.encode())


def new_token() -> str:
    """A random token of 256 bits."""
    return secrets.token_urlsafe(32)


@dataclass(frozen=True, slots=True)
class _Request:
    """The parts of a request that decide about it. headers: values by lower-case name."""

    method: str
    path: str
    query: bytes
    headers: dict[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> _Request:
        headers: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))
        return cls(scope["method"], scope["path"], scope["query_string"], headers)

    def header(self, name: str) -> str:
        """The value of a header; empty without it, and where it is repeated, all values."""
        return ", ".join(self.headers.get(name, ()))


def guarded(app: App, access: Access) -> App:
    """FiftyOne's server behind the guard. app: the server as ASGI."""

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await app(scope, receive, send)
        elif scope["type"] == "websocket":  # the App opens none
            await send({"type": "websocket.close", "code": 1008})
        elif scope["type"] == "http":
            await _answer(app, access, scope, receive, send)

    return guard


async def _answer(app: App, access: Access, scope: Scope, receive: Receive, send: Send) -> None:
    request = _Request.of(scope)
    reason = foreign(request, access)
    token = _token_of_address(request)
    if not reason and token is not None:
        await _enter(access, request, token, send)
        return
    reason = reason or unknown(request, access) or not_from_the_app(request, access)
    if reason:
        await _refuse(send, reason)
    elif request.path == "/media":
        await _send_photo(access, request, send)
    elif not is_allowed(request.method, request.path):
        await _refuse(send, f"{request.method} {request.path[:100]} is not part of the review App")
    elif request.method in ("GET", "HEAD"):
        await app(scope, receive, _with_headers(send))
    else:
        body = await _body(receive)
        reason = "the request is too large" if body is None else refused_body(request.path, body)
        if body is None or reason:
            await _refuse(send, reason)
        else:
            await app(scope, _replayed(body, receive), _with_headers(send))


# ------------------------------------------------------------ who asks
def foreign(request: _Request, access: Access) -> str:
    """Why a request is not addressed to the App or comes from another page; empty if neither is so."""
    hosts = [host.lower() for host in request.headers.get("host", ())]
    if len(hosts) != 1 or hosts[0] not in access.hosts:
        return f"the review App is at http://localhost:{access.port} only"
    if not request.path.startswith("/"):
        return "the request does not name a path"
    origins = request.headers.get("origin", ())
    if any(origin != f"http://{hosts[0]}" for origin in origins):
        return "other pages may not call the review App"
    if request.header("sec-fetch-site") in ("", "same-origin", "none"):
        return ""
    if _token_of_address(request) is not None and request.header("sec-fetch-mode") == "navigate":
        return ""  # the printed address, clicked on in another page, such as a terminal in the browser
    return f"other pages may not call the review App: {_OPEN}"


def unknown(request: _Request, access: Access) -> str:
    """Why a request does not belong to this review: it has no token, or another one."""
    given = request.headers.get(TOKEN_HEADER, [])
    for cookies in request.headers.get("cookie", ()):
        for cookie in cookies.split(";"):
            name, _, value = cookie.strip().partition("=")
            given = [*given, value] if name == access.cookie else given
    return "" if any(map(access.knows, given)) else f"this page belongs to a running review: {_OPEN}"


def not_from_the_app(request: _Request, access: Access) -> str:
    """Why a request that may change something does not come from the App's page or from trashkit itself."""
    if request.method in ("GET", "HEAD"):
        return ""
    own = "origin" in request.headers or request.header("sec-fetch-site") == "same-origin"
    if not own and not any(map(access.knows, request.headers.get(TOKEN_HEADER, ()))):
        return "other programs may not call the review App"
    if request.header("content-type").partition(";")[0].strip().lower() not in _JSON:
        return "the review App only takes JSON"
    return ""


_JSON = ("application/json", "application/json-patch+json", "text/event-stream")
"""Types of bodies that the App sends; a page elsewhere cannot send them without asking first. The last is an event
stream's, whose body is JSON as well."""


# ------------------------------------------------------------ the printed address
def _token_of_address(request: _Request) -> str | None:
    """The token in the address; None without one."""
    if request.method not in ("GET", "HEAD"):
        return None
    values = dict(parse_qsl(request.query.decode("latin-1"), keep_blank_values=True))
    return values.get("token")


async def _enter(access: Access, request: _Request, token: str, send: Send) -> None:
    """Set the cookie and lead to the same address without the token."""
    if not access.knows(token):
        await _refuse(send, f"the token in the address is not that of the running review: {_OPEN}")
        return
    values = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    query = urlencode([(name, value) for name, value in values if name != "token"])
    # One slash only: two would lead to another host.
    place = "/" + quote(request.path.lstrip("/\\"), safe="/:@!$&'()*+,;=~-._") + (f"?{query}" if query else "")
    cookie = f"{access.cookie}={access.token}; Path=/; HttpOnly; SameSite=Strict"
    headers = {b"set-cookie": cookie.encode(), b"cache-control": b"no-store"}
    if request.header("sec-fetch-site") in ("", "same-origin", "none"):
        await _respond(send, 303, b"", {**headers, b"location": place.encode()})
        return
    # After a click in another page the browser would not send the cookie along with a redirect, but does so for a
    # page of ours.
    shown = place.replace("&", "&amp;").replace('"', "&quot;").replace("'", "&#39;")
    page = f'<!doctype html><meta http-equiv="refresh" content="0; url={shown}"><a href="{shown}">Open the review</a>'
    await _respond(send, 200, page.encode(), {**headers, b"content-type": b"text/html; charset=utf-8"})


# ------------------------------------------------------------ answers
async def _respond(send: Send, status: int, body: bytes, headers: dict[bytes, bytes]) -> None:
    every = {b"content-length": str(len(body)).encode(), **_HEADERS, **headers}
    await send({"type": "http.response.start", "status": status, "headers": list(every.items())})
    await send({"type": "http.response.body", "body": body})


async def _refuse(send: Send, reason: str, status: int = 403) -> None:
    headers = {b"content-type": b"text/plain; charset=utf-8", b"cache-control": b"no-store"}
    await _respond(send, status, f"{reason}\n".encode(errors="replace"), headers)


async def _send_photo(access: Access, request: _Request, send: Send) -> None:
    values = parse_qsl(request.query.decode("latin-1"), keep_blank_values=True)
    names = [value for name, value in values if name == "filepath"]
    path = place_in(access.folders, names[0]) if len(names) == 1 and request.method in ("GET", "HEAD") else None
    if path is None:
        await _refuse(send, "the review App only shows the photos of the review")
        return
    photo = await asyncio.to_thread(find_photo, path)
    if photo is None:
        await _refuse(send, "there is no picture at this path", status=404)
        return
    headers = {
        b"content-type": photo.kind.encode(),
        b"content-length": str(photo.size).encode(),
        b"content-security-policy": FILE_POLICY.encode(),
        b"cache-control": b"no-cache",
        b"last-modified": photo.modified.encode(),
    }
    every = list({**_HEADERS, **headers}.items())
    await send({"type": "http.response.start", "status": 200, "headers": every})
    if request.method == "HEAD":
        await send({"type": "http.response.body", "body": b""})
        return
    async for chunk in read_photo(photo):
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _with_headers(send: Send) -> Send:
    """`send` with our headers in place of FiftyOne's permissions for other pages."""
    ours = {**_HEADERS, b"content-security-policy": PAGE_POLICY.encode()}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers: Iterable[tuple[bytes, bytes]] = message.get("headers", ())
            kept = [
                (name, value)
                for name, value in headers
                if name.lower() not in ours and not name.lower().startswith(b"access-control-")
            ]
            message = {**message, "headers": [*kept, *ours.items()]}
        await send(message)

    return sending


# ------------------------------------------------------------ bodies
async def _body(receive: Receive) -> bytes | None:
    """The body of a request; None if it is too large or the client went away."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BYTES:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give a body that was read already, then what comes after it."""
    left = [body]

    async def replayed() -> Message:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return await receive()

    return replayed
