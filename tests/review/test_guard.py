"""The guard in front of the App's server, as a plain ASGI function: who is let in, and to what."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from trashkit.review.fiftyone_app.server import guard
from trashkit.review.fiftyone_app.server.guard import TOKEN_HEADER, Access, guarded, new_token

PORT = 5151
TOKEN = "Zk3v9QmW0sYb7TqLr1xHcN5uJd8EfGaPiOoVtX2Rz6w"
"""Fixed: names of tests hold it."""
OWN = f"http://localhost:{PORT}"
COOKIE = {"cookie": f"trashkit-{PORT}={TOKEN}"}
PAGE = {**COOKIE, "origin": OWN, "sec-fetch-site": "same-origin", "content-type": "application/json"}
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)
NOTE = json.dumps({"operator_uri": "@trashkit/review/leave_note"}).encode()

Headers = dict[str, str] | list[tuple[str, str]]


class Answer:
    """What the guard sent. reached: the bodies that came through to FiftyOne's server."""

    def __init__(self, messages: list[Any], reached: list[bytes]) -> None:
        self.status: int = messages[0].get("status", 0)
        self.headers = {name.decode(): value.decode() for name, value in messages[0].get("headers", ())}
        self.body = b"".join(one.get("body", b"") for one in messages[1:])
        self.reached = reached
        self.messages = messages


def ask(
    method: str = "GET",
    path: str = "/",
    headers: Headers | None = None,
    *,
    query: str = "",
    body: bytes = b"",
    host: str | None = f"localhost:{PORT}",
    folders: tuple[Path, ...] = (),
    kind: str = "http",
) -> Answer:
    sent: list[Any] = []
    reached: list[bytes] = []

    async def server(scope: Any, receive: Any, send: Any) -> None:
        reached.append((await receive())["body"])
        theirs = [(b"access-control-allow-origin", b"*"), (b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": theirs})
        await send({"type": "http.response.body", "body": b"{}"})

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    pairs = list(headers.items()) if isinstance(headers, dict) else list(headers or ())
    pairs += [("host", host)] if host is not None else []
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in pairs]
    scope = {"type": kind, "method": method, "path": path, "query_string": query.encode("latin-1"), "headers": raw}
    asyncio.run(guarded(server, Access(PORT, TOKEN, folders))(scope, receive, send))
    return Answer(sent, reached)


def test_the_apps_own_page_comes_through_and_nothing_is_allowed_to_others() -> None:
    answer = ask(headers=COOKIE)
    assert (answer.status, len(answer.reached)) == (200, 1)
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    answer = ask("POST", "/operators/execute", PAGE, body=NOTE)
    assert (answer.status, answer.reached) == (200, [NOTE])
    own_call = {TOKEN_HEADER: TOKEN, "content-type": "application/json"}
    assert ask("POST", "/operators/execute", own_call, body=NOTE).status == 200
    for host in (f"127.0.0.1:{PORT}", f"LOCALHOST:{PORT}", f"[::1]:{PORT}"):
        origin = {**PAGE, "origin": f"http://{host.lower()}"}
        assert ask("POST", "/graphql", origin, host=host).status == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", f"evil.example:{PORT}", "localhost", f"localhost:{PORT + 1}", f"localhost.:{PORT}", "", None),
        *(
            f"localhost:{PORT}.evil.example",
            f"evil.example#localhost:{PORT}",
            f"::1:{PORT}",
            f"[::]:{PORT}",
            f"0.0.0.0:{PORT}",
        ),
        *(f" localhost:{PORT}", f"localhost:{PORT}\t", f"127.1:{PORT}", f"localhost:0{PORT}"),
    ],
)
def test_other_hosts_are_refused(host: str | None) -> None:
    answer = ask(headers={**COOKIE, TOKEN_HEADER: TOKEN}, host=host)
    assert (answer.status, answer.reached) == (403, [])
    forwarded = [*COOKIE.items(), ("x-forwarded-host", f"localhost:{PORT}"), ("forwarded", f"host=localhost:{PORT}")]
    assert ask(headers=forwarded, host=host).status == 403


def test_a_second_host_is_refused() -> None:
    assert ask(headers=[*COOKIE.items(), ("host", f"localhost:{PORT}")]).status == 403
    assert ask(headers=[*COOKIE.items(), ("Host", "evil.example")]).status == 403


@pytest.mark.parametrize(
    "origin",
    [
        *(
            "null",
            "",
            "http://evil.example",
            f"http://evil.example:{PORT}",
            "http://localhost:8000",
            "http://localhost",
        ),
        *(f"https://localhost:{PORT}", f"http://127.0.0.1:{PORT}", f"http://localhost:{PORT}.evil.example", "file://"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/operators/execute"), ("GET", "/media"), ("POST", "/events")])
def test_other_origins_are_refused(origin: str, method: str, path: str) -> None:
    headers = {**PAGE, "origin": origin}
    answer = ask(method, path, headers, body=NOTE)
    assert (answer.status, answer.reached) == (403, [])
    both = [*((name, value) for name, value in PAGE.items()), ("origin", origin)]
    assert ask(method, path, both, body=NOTE).status == 403


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something else"])
def test_requests_of_other_pages_without_an_origin_are_refused(site: str) -> None:
    for mode in ("no-cors", "navigate", "websocket"):
        headers = {**COOKIE, "sec-fetch-site": site, "sec-fetch-mode": mode}
        assert ask(headers=headers).status == 403
        assert ask("GET", "/media", headers, query="filepath=/a.jpg").status == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"cookie": ""},
        {"cookie": f"trashkit-{PORT}="},
        {"cookie": f"trashkit-{PORT}={TOKEN[:-1]}"},
        {"cookie": f"trashkit-{PORT}={TOKEN}x"},
        {"cookie": f"trashkit-{PORT + 1}={TOKEN}"},
        {"cookie": f"trashkit-{PORT}=\xff" + "x" * 60_000},
        {"cookie": f"a=trashkit-{PORT}={TOKEN}"},
        {TOKEN_HEADER: ""},
        {TOKEN_HEADER: TOKEN.swapcase()},
        {"authorization": f"Bearer {TOKEN}"},
    ],
)
def test_without_the_token_nothing_is_answered(headers: Headers) -> None:
    for method, path in (("GET", "/"), ("GET", "/fiftyone"), ("POST", "/graphql"), ("GET", "/assets/a.js")):
        answer = ask(method, path, {**dict(headers), "content-type": "application/json", "origin": OWN})
        assert (answer.status, answer.reached) == (403, [])
        assert answer.body.count(b"\n") == 1
        assert b"open the address that the terminal printed" in answer.body
        assert TOKEN.encode() not in answer.body


def test_the_printed_address_sets_the_cookie_and_leads_on_without_the_token() -> None:
    answer = ask("GET", "/datasets/a b", query=f"view=x%20y&token={TOKEN}&workspace=review")
    assert (answer.status, answer.reached) == (303, [])
    assert answer.headers["location"] == "/datasets/a%20b?view=x+y&workspace=review"
    assert answer.headers["set-cookie"] == f"trashkit-{PORT}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    assert answer.headers["cache-control"] == "no-store"


def test_the_printed_address_clicked_on_in_another_page_leads_on_from_a_page_of_ours() -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    answer = ask("GET", "/datasets/a\"b'", headers, query=f"token={TOKEN}&view=1&b=<i>")
    assert answer.status == 200
    assert "set-cookie" in answer.headers
    assert b'content="0; url=/datasets/a%22b&#39;?view=1&amp;b=%3Ci%3E"' in answer.body
    assert ask("GET", "/", {**headers, "sec-fetch-mode": "no-cors"}, query=f"token={TOKEN}").status == 403


@pytest.mark.parametrize(
    "token",
    ["", "x", TOKEN + "x", TOKEN.swapcase(), "%ff%00", "x" * 100_000],
    ids=["none", "short", "longer", "other-case", "bytes", "long"],
)
def test_another_token_is_refused(token: str) -> None:
    answer = ask("GET", "/", query=f"token={token}")
    assert (answer.status, answer.reached) == (403, [])
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["//evil.example", "/\\evil.example", "///evil.example/x", "/\r\nx: y"])
def test_the_printed_address_leads_nowhere_else(path: str) -> None:
    place = ask("GET", path, query=f"token={TOKEN}").headers["location"]
    assert not place.startswith(("//", "/\\")) and "\r" not in place


@pytest.mark.parametrize("value", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; x=y"])
def test_forms_and_plain_text_are_refused(value: str | None) -> None:
    headers = {name: text for name, text in PAGE.items() if name != "content-type"}
    answer = ask("POST", "/operators/execute", {**headers, **({"content-type": value} if value else {})}, body=NOTE)
    assert (answer.status, answer.reached) == (403, [])


def test_a_cookie_alone_changes_nothing() -> None:
    headers = {**COOKIE, "content-type": "application/json"}
    for method in ("POST", "PATCH", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "post"):
        assert ask(method, "/operators/execute", headers, body=NOTE).status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        *(
            ("GET", path)
            for path in ("/graphql", "/operators/execute", "/screenshot/a.html", "/runtime-assets/models/a/b")
        ),
        *(("GET", path) for path in ("/plugins/__init__.py", "/plugins/trashkit_review/__init__.py", "/assets/../a")),
        *(("GET", path) for path in ("/assets/a/../../b", "/datasets/../../etc/passwd", "/assets/", "/Assets/a.js")),
        *(
            ("GET", path)
            for path in ("http://localhost:5151/media", "*", "", "/media/", "/\\..\\x", "/%2e%2e/x", "/a\0b")
        ),
        *(("POST", path) for path in ("/", "/sort", "/embeddings/plot", "/frames", "/geo", "/operators/execute/")),
        *(
            ("POST", path)
            for path in ("/operators/execute/generator", "/operators/subscribe-execution-store", "/media")
        ),
        ("POST", f"/dataset/{'0' * 24}/sample/{'0' * 24}/commit-mask"),
        ("POST", "/fiftyone"),
        ("PUT", "/graphql"),
        ("DELETE", f"/dataset/{'0' * 24}/sample/{'0' * 24}"),
        ("OPTIONS", "/graphql"),
    ],
)
def test_what_the_app_does_not_ask_for_is_refused(method: str, path: str) -> None:
    answer = ask(method, path, PAGE, body=NOTE)
    assert (answer.status, answer.reached) == (403, [])
    override = {**PAGE, "x-http-method-override": "POST", "x-original-url": "/graphql", "x-rewrite-url": "/graphql"}
    assert ask(method, path, override, body=NOTE).reached == []


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "@voxel51/operators/list_files",
            "@voxel51/operators/download_file",
            "@voxel51/operators/delete_sample_field",
        ),
        *("@voxel51/operators/delete_selected_samples", "@other/plugin/run", "", None, 3, ["@trashkit/review/undo"]),
        {"$oid": "@trashkit/review/leave_note"},
    ],
)
def test_other_operators_are_refused(uri: Any) -> None:
    for path in ("/operators/execute", "/operators/resolve-type", "/operators/resolve-execution-options"):
        body = json.dumps({"operator_uri": uri}).encode()
        assert ask("POST", path, PAGE, body=body).reached == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"3",
        b"{",
        b"[" * 100_000,
        NOTE.decode().encode("utf-16"),
        b"\xff",
        b'{"operator_uri": 1' + b"0" * 5000 + b"}",
    ],
)
def test_bodies_that_are_not_calls_are_refused(body: bytes) -> None:
    answer = ask("POST", "/operators/execute", PAGE, body=body)
    assert (answer.status, answer.reached) == (403, [])


def test_the_last_of_repeated_keys_counts_as_in_fiftyone() -> None:
    twice = b'{"operator_uri": "@trashkit/review/undo", "operator_uri": "@voxel51/operators/list_files"}'
    assert ask("POST", "/operators/execute", PAGE, body=twice).status == 403


def test_a_body_that_is_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_BYTES", 1000)
    assert ask("POST", "/graphql", PAGE, body=bytes(1000)).status == 200
    assert ask("POST", "/graphql", PAGE, body=bytes(1001)).status == 403


def test_web_sockets_are_closed() -> None:
    answer = ask(headers=PAGE, kind="websocket")
    assert answer.messages == [{"type": "websocket.close", "code": 1008}]
    assert answer.reached == []


# ------------------------------------------------------------ photos
@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path.resolve() / "photos"
    (folder / "한글").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(JPEG)
    (folder / "한글" / "b c.JPG").write_bytes(JPEG)
    (folder / "page.html").write_text("<script>alert(1)</script>")
    (folder / "drawing.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>")
    (folder / "secret.jpg").write_text("BM a password")
    (folder.parent / "photos-private").mkdir()
    (folder.parent / "photos-private" / "c.jpg").write_bytes(JPEG)
    (folder.parent / "secret.txt").write_text("a password")
    return folder


def photo(path: Path | str, folder: Path, **more: Any) -> Answer:
    return ask("GET", "/media", COOKIE, query=f"filepath={quote(str(path))}", folders=(folder,), **more)


def test_photos_of_the_folder_are_shown(photos: Path) -> None:
    for name in ("a.jpg", "한글/b c.JPG"):
        answer = photo(photos / name, photos)
        assert (answer.status, answer.body) == (200, JPEG)
        assert answer.headers["content-type"] == "image/jpeg"
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert ask("HEAD", "/media", COOKIE, query=f"filepath={photos}/a.jpg", folders=(photos,)).body == b""
    assert photo(photos / "missing.jpg", photos).status == 404


@pytest.mark.parametrize("name", ["page.html", "drawing.svg", "secret.jpg", "한글", "fifo", "loop", ".", "x" * 300])
def test_what_is_not_a_picture_is_not_shown(name: str, photos: Path) -> None:
    os.mkfifo(photos / "fifo")
    (photos / "loop").symlink_to(photos / "loop")
    assert photo(photos / name, photos).status in (403, 404)


@pytest.mark.parametrize(
    "name",
    [
        *("../secret.txt", "../photos-private/c.jpg", "한글/../../photos-private/c.jpg", "./../photos-private/c.jpg"),
        *("..//photos-private//c.jpg", "", "a.jpg\0", "%2e%2e/photos-private/c.jpg", "..\\photos-private\\c.jpg"),
    ],
)
def test_files_elsewhere_are_not_shown(name: str, photos: Path) -> None:
    assert photo(f"{photos}/{name}", photos).status in (403, 404)


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "a.jpg", "~/a.jpg", "file:///etc/passwd", "", "/", "/proc/self/environ"]
)
def test_other_paths_are_refused(name: str, photos: Path) -> None:
    assert photo(name, photos).status == 403


def test_links_lead_to_pictures_only(photos: Path) -> None:
    (photos / "linked.jpg").symlink_to(photos.parent / "photos-private" / "c.jpg")
    (photos / "passwords.jpg").symlink_to(photos.parent / "secret.txt")
    (photos / "etc").symlink_to("/etc")
    assert photo(photos / "linked.jpg", photos).body == JPEG
    assert photo(photos / "passwords.jpg", photos).status == 404
    assert photo(photos / "etc" / "passwd", photos).status == 404
    assert photo(photos / "etc" / ".." / "a.jpg", photos).body == JPEG, "as the path reads, not as the link leads"


def test_two_paths_are_refused(photos: Path) -> None:
    query = f"filepath={photos}/a.jpg&filepath=/etc/passwd"
    assert ask("GET", "/media", COOKIE, query=query, folders=(photos,)).status == 403
    assert ask("GET", "/media", COOKIE, query="filename=/etc/passwd", folders=(photos,)).status == 403


def test_without_folders_no_file_is_shown(photos: Path) -> None:
    query = f"filepath={photos}/a.jpg"
    assert ask("GET", "/media", COOKIE, query=query).status == 403


def test_tokens_are_long_and_differ() -> None:
    assert len({new_token() for _ in range(100)}) == 100
    assert min(len(new_token()) for _ in range(100)) >= 43
