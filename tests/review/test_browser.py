"""The real App in a real browser: fixes and class changes made by clicking reach the log and the file."""

from __future__ import annotations

import html
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from trashkit.coco import read
from trashkit.edits.log import read_log

ROOT = Path(__file__).resolve().parents[2]
SYNTH = ROOT / "data" / "synth"


@contextmanager
def running(log: Path, folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """`trashkit review` as people start it; yields the App's address and the process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["review", SYNTH / "train.json", "--images", SYNTH / "images", "--edits", log, "--port", port]
    # The tests' own FiftyOne has left the address of its database.
    own = {name: value for name, value in os.environ.items() if not name.startswith("FIFTYONE_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "trashkit", *map(str, words), "--no-browser", "--reviewer", "ann"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
        env={**own, "TRASHKIT_HOME": str(folder / "home")},
    )
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            found = re.search(r"review at (http\S+)", line)
            if found:
                yield found[1], process
                break
        else:
            pytest.fail("the review did not start: " + "".join(lines))
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(30)


def wait_for(log: Path, number: int) -> list[Any]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        edits = read_log(log).edits if log.exists() else []
        if len(edits) >= number:
            return edits
        time.sleep(0.3)
    raise AssertionError(f"{log} does not come to {number} edits")


@pytest.mark.slow  # test_operators.py calls what the App calls here
@pytest.mark.browser
@pytest.mark.usefixtures("home", "interruptible")  # home skips where FiftyOne or its mongod is missing
def test_a_fix_accepted_and_a_class_changed_by_clicking(tmp_path: Path, browser: Any) -> None:
    log = tmp_path / "review.jsonl"
    with running(log, tmp_path) as (address, process):
        page = browser.new_page(viewport={"width": 1500, "height": 1000})
        page.goto(address, wait_until="domcontentloaded")
        accept = page.get_by_text("Accept fix", exact=True)
        accept.wait_for(timeout=240_000)
        dismiss = page.get_by_text("Dismiss", exact=True)
        if dismiss.count():
            dismiss.click()
        assert "0 of" in page.get_by_text("findings decided").first.inner_text()
        accept.click()
        accepted = wait_for(log, 1)
        page.get_by_text(re.compile("^[1-9] of")).first.wait_for(timeout=120_000)
        choice = page.get_by_placeholder("Type or select a value").first
        choice.click()
        choice.fill("Glass")
        page.get_by_role("option", name="Glass").click()
        page.get_by_text("Change class", exact=True).click()
        edits = wait_for(log, len(accepted) + 1)
        page.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert accepted[0].author == "G001"
    assert edits[-1].kind == "relabel"
    assert edits[-1].author == "ann"
    fixed = tmp_path / "fixed.json"
    words = ["fix", SYNTH / "train.json", "--edits", log, "--out", fixed]
    subprocess.run([sys.executable, "-m", "trashkit", *map(str, words)], check=True, capture_output=True, timeout=60)
    before, after = read(SYNTH / "train.json"), read(fixed)
    kept = {bytes(raw) for raw in after.rows("annotations")}
    changed = {row for row, raw in enumerate(before.rows("annotations")) if bytes(raw) not in kept}
    assert changed == {edit.row for edit in edits}
    glass = next(c["id"] for c in before.records("categories") if c["name"] == "Glass")
    relabelled = next(one for one in after.records("annotations") if one["id"] == edits[-1].id)
    assert relabelled["category_id"] == glass


@pytest.mark.slow  # test_operators.py calls what the App calls here
@pytest.mark.browser
@pytest.mark.usefixtures("home", "interruptible")
def test_the_app_ends_on_ctrl_c_and_leaves_no_process(tmp_path: Path) -> None:
    with running(tmp_path / "log.jsonl", tmp_path) as (_, process):
        pid = int((tmp_path / "home" / "review" / "mongodb" / "mongod.lock").read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


ATTACK = """
<!doctype html><title>elsewhere</title><script>
const app = '%(app)s', photo = '%(photo)s', tried = {};
const body = JSON.stringify({operator_uri: '@trashkit/review/leave_note', dataset_name: '%(dataset)s',
  params: {text: 'from elsewhere'}});
const answer = promise => promise.then(r => r.type === 'opaque' ? 'opaque' : 'read ' + r.status, () => 'refused');
const loaded = made => new Promise(done => {
  made.onload = () => done('loaded'); made.onerror = () => done('refused');
});
(async () => {
  for (const [name, options] of Object.entries({
    plain: {method: 'POST', mode: 'no-cors', credentials: 'include', headers: {'content-type': 'text/plain'}, body},
    json: {method: 'POST', mode: 'cors', credentials: 'include', headers: {'content-type': 'application/json'}, body},
    beacon: {method: 'POST', mode: 'no-cors', credentials: 'include', keepalive: true, body: new Blob([body])},
  })) tried[name] = await answer(fetch(app + '/operators/execute', options));
  tried.read = await answer(fetch(app + '/fiftyone', {credentials: 'include'}));
  tried.readMedia = await answer(fetch(app + photo, {credentials: 'include'}));
  const image = new Image(); image.src = app + photo; tried.image = await loaded(image);
  const script = document.createElement('script'); script.src = app + '/plugins/trashkit_review/keys.js';
  const scripted = loaded(script); document.head.append(script); tried.script = await scripted;
  tried.socket = await new Promise(done => {
    const one = new WebSocket(app.replace('http', 'ws') + '/events');
    one.onopen = () => done('open'); one.onerror = () => done('refused');
  });
  tried.events = await new Promise(done => {
    const one = new EventSource(app + '/events', {withCredentials: true});
    one.onopen = () => done('open'); one.onerror = () => { one.close(); done('refused'); };
  });
  const frame = document.createElement('iframe'); frame.name = 'frame'; document.body.append(frame);
  const form = document.createElement('form');
  Object.assign(form, {method: 'post', action: app + '/operators/execute', enctype: 'text/plain', target: 'frame'});
  const field = document.createElement('input');
  Object.assign(field, {name: body.slice(0, -1) + ', "x": "', value: '"}'});
  form.append(field); document.body.append(form); form.submit();
  await new Promise(done => setTimeout(done, 1500));
  document.title = JSON.stringify(tried);
})();
</script><body>
"""


@contextmanager
def page_elsewhere(text: str) -> Iterator[int]:
    """A page at another port; yields the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def attack(page: Any, address: str) -> dict[str, str]:
    page.goto(address, wait_until="domcontentloaded")
    page.wait_for_function("document.title.startsWith('{')", timeout=60_000)
    found: dict[str, str] = json.loads(page.title())
    return found


@pytest.mark.slow  # test_guard.py asks the guard alone
@pytest.mark.browser
@pytest.mark.usefixtures("home", "interruptible")
def test_pages_elsewhere_cannot_use_the_app_that_is_open_beside_them(tmp_path: Path, browser: Any) -> None:
    log = tmp_path / "review.jsonl"
    photo = f"/media?filepath={next((SYNTH / 'images').rglob('*.jpg'))}"
    with running(log, tmp_path) as (address, process):
        place = urlsplit(address)
        app = f"{place.scheme}://{place.netloc}"
        context = browser.new_context(viewport={"width": 1500, "height": 1000})
        page = context.new_page()
        page.goto(address, wait_until="domcontentloaded")
        page.get_by_text("Accept fix", exact=True).wait_for(timeout=240_000)
        assert "token" not in page.url
        (cookie,) = context.cookies(app)
        assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == (f"trashkit-{place.port}", True, "Strict")
        own = "async path => { const r = await fetch(path); return [r.status, r.headers.get('content-type')]; }"
        assert page.evaluate(own, photo) == [200, "image/jpeg"]
        assert page.evaluate(own, "/media?filepath=/etc/passwd")[0] == 403
        assert page.evaluate(own, "/operators/execute")[0] == 403
        assert page.evaluate("document.cookie") == ""

        text = ATTACK % {"app": app, "photo": photo, "dataset": place.path.rpartition("/")[2]}
        sandboxed = f'<iframe sandbox="allow-scripts allow-forms" srcdoc="{html.escape(text)}"></iframe>'
        elsewhere = context.new_page()
        with page_elsewhere(text) as port, page_elsewhere(sandboxed) as framed:
            for host in ("localhost", "127.0.0.1"):  # the same site, to which the cookie is sent; and another one
                tried = attack(elsewhere, f"http://{host}:{port}")
                assert set(tried.values()) <= {"refused", "opaque"}, tried
                assert tried["image"] == tried["script"] == tried["readMedia"] == "refused"
            elsewhere.goto(f"http://localhost:{framed}")  # its Origin is null
            frame = elsewhere.frames[1]
            frame.wait_for_function("document.title.startsWith('{')", timeout=60_000)
            tried = json.loads(frame.title())
            assert set(tried.values()) <= {"refused", "opaque"}, tried
            elsewhere.goto(f"http://localhost:{port}")
            elsewhere.evaluate("address => { location = address; }", f"{app}/datasets/x")
            elsewhere.get_by_text("open the address that the terminal printed").wait_for()
            elsewhere.goto(f"http://localhost:{port}")
            elsewhere.evaluate("address => { location = address; }", address)
            elsewhere.get_by_text("Accept fix", exact=True).wait_for(timeout=240_000)

        for headers, path in (
            ({"Host": f"evil.example:{place.port}"}, "/"),
            ({"Origin": "null"}, "/fiftyone"),
            ({"Cookie": ""}, "/"),
        ):
            connection = HTTPConnection("127.0.0.1", place.port or 0, timeout=30)
            own_cookie = f"{cookie['name']}={cookie['value']}"
            connection.request("GET", path, headers={"Cookie": own_cookie, "Host": place.netloc, **headers})
            answer = connection.getresponse()
            assert answer.status == 403
            assert len(answer.read().splitlines()) == 1
        assert read_log(log).edits == [] if log.exists() else True
        context.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
