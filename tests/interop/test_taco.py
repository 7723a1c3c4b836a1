"""The TACO download from a local server that fails in every possible way."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.download import RetryPolicy
from trashkit.interop.taco import Downloaded, download

QUICK = RetryPolicy(rate=500, timeout=0.5, deadline=5, tries=3, wait=0.01, longest=0.05)


def jpeg(number: int, width: int = 60, height: int = 40) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (height, width, 3)).astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format="JPEG", quality=90)
    return out.getvalue()


class Site:
    """A web site that records its requests. ways: how it responds, by path."""

    def __init__(self) -> None:
        self.ways: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.ranges: list[str] = []
        self.times: list[float] = []
        self.url = ""
        self.delay = 0.0

    def annotations(self, count: int, **more: Any) -> bytes:
        images = [
            {
                "id": n,
                "width": 60,
                "height": 40,
                "file_name": f"batch_{n % 2}/{n:04}.jpg",
                "flickr_url": f"{self.url}/photo/{n}.jpg",
                "coco_url": None,
                "flickr_640_url": f"{self.url}/small/{n}.jpg",
                **more,
            }
            for n in range(count)
        ]
        shape = [[6, 4, 30, 4, 30, 20, 6, 20]]
        annotations = [
            {"id": n, "image_id": n, "category_id": n % 2, "segmentation": shape, "area": 384.0, "bbox": [6, 4, 24, 16]}
            for n in range(count)
        ]
        categories = [{"id": 0, "name": "Glass bottle"}, {"id": 1, "name": "Drink can"}]
        return json.dumps({"images": images, "annotations": annotations, "categories": categories}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def answer(self, code: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Length", headers.pop("length", str(len(body))))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        site = self.site
        site.asked[self.path] += 1
        site.times.append(time.monotonic())
        site.agents.add(self.headers.get("User-Agent", ""))
        time.sleep(site.delay)
        way = site.ways.get(self.path, "good")
        first = site.asked[self.path] == 1
        number = int("".join(c for c in self.path if c.isdigit()) or 0)
        body = jpeg(number) if "/photo/" in self.path else jpeg(number, 600, 400)
        if self.path == "/annotations.json":
            self.answer(200, site.annotations(8))
        elif way in ("404", "410", "500"):
            self.answer(int(way))
        elif way == "503 once" and first:
            self.answer(503, Retry_After="1")
        elif way == "429 once" and first:
            self.answer(429, Retry_After="1")
        elif way in ("too long", "too short"):
            self.answer(200, body, length=str(len(body) + (50 if way == "too long" else -50)))
            self.close_connection = True
        elif way == "trickle":
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            for place in range(0, len(body), 40):
                self.wfile.write(body[place : place + 40])
                time.sleep(0.05)
        elif way in ("cut once", "cut always") and (first or way == "cut always"):
            self.answer(200, body[: len(body) // 2], length=str(len(body)), ETag='"v1"')
            self.close_connection = True
        elif way == "cut once" and self.headers.get("Range"):
            site.ranges.append(self.headers["Range"])
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.answer(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", ETag='"v1"')
        elif way == "slow once" and first:
            time.sleep(0.8)
            self.close_connection = True
        elif way == "no photo":
            self.answer(200, b"<html>sorry</html>")
        elif way == "damaged once" and first:
            self.answer(200, body[: len(body) // 2])
        elif way == "placeholder":
            self.answer(200, jpeg(1, 50, 37))
        elif way == "file":
            self.answer(302, Location="file:///etc/passwd")
        elif way == "moved":
            self.answer(302, Location=self.path.replace("/photo/", "/photo/moved/"))
        else:
            self.answer(200, body)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    handler = type("BoundHandler", (Handler,), {"site": made})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


def get(site: Site, out: Path, **options: Any) -> Downloaded:
    return download(out, source=f"{site.url}/annotations.json", **{"policy": QUICK, **options})


def test_photos_and_annotations_are_complete(site: Site, tmp_path: Path) -> None:
    made = get(site, tmp_path / "t", classes="taco")
    assert (made.new, made.present, made.dead, made.failed) == (8, 0, (), ())
    for number in range(8):
        assert (tmp_path / f"t/images/batch_{number % 2}/{number:04}.jpg").read_bytes() == jpeg(number)
    data = read_dataset(made.annotations)
    assert (len(data), len(data.annotations), len(data.classes)) == (8, 8, 11)
    assert {data.classes.names[a.class_index] for a in data.annotations} == {"Glass", "Metal"}
    assert json.loads((tmp_path / "t/published.json").read_text())["categories"][0]["name"] == "Glass bottle"
    assert all(agent.startswith("trashkit/") for agent in site.agents)
    assert set(site.asked.values()) == {1}


def test_every_failure_is_retried_or_reported(site: Site, tmp_path: Path) -> None:
    ways = ["404", "503 once", "cut once", "slow once", "no photo", "damaged once", "placeholder", "moved"]
    site.ways = {f"/photo/{number}.jpg": way for number, way in enumerate(ways)}
    made = get(site, tmp_path / "t")
    assert [name for name, _ in made.dead] == ["batch_0/0000.jpg", "batch_0/0006.jpg"]
    assert "HTTP 404" in made.dead[0][1]
    assert "50x37 instead of 60x40" in made.dead[1][1]
    assert [name for name, _ in made.failed] == ["batch_0/0004.jpg"]
    assert made.new == 5
    there = sorted(path.name for path in (tmp_path / "t/images").rglob("*.jpg"))
    assert there == ["0001.jpg", "0002.jpg", "0003.jpg", "0005.jpg", "0007.jpg"]
    assert not list((tmp_path / "t").rglob(".*"))
    assert len(read_dataset(made.annotations)) == 5
    assert site.ranges == [f"bytes={len(jpeg(2)) // 2}-"]
    assert (tmp_path / "t/images/batch_0/0002.jpg").read_bytes() == jpeg(2)
    assert site.asked["/photo/0.jpg"] == 1
    lines = [json.loads(line) for line in (tmp_path / "t/photos.jsonl").read_text().splitlines()]
    assert Counter(line["state"] for line in lines) == {"new": 5, "dead": 2, "failed": 1}


def test_it_never_reads_files_or_leaves_its_folder(site: Site, tmp_path: Path) -> None:
    site.ways = {"/photo/0.jpg": "file"}
    made = get(site, tmp_path / "t", limit=1)
    assert len(made.dead) == 1
    own = json.loads(site.annotations(1, flickr_url="file:///etc/passwd"))
    (tmp_path / "own.json").write_text(json.dumps(own))
    made = download(tmp_path / "u", source=str(tmp_path / "own.json"), policy=QUICK)
    assert "not an http or https URL" in made.dead[0][1]
    own["images"][0]["file_name"] = "../../outside.jpg"
    (tmp_path / "own.json").write_text(json.dumps(own))
    with pytest.raises(TrashkitError, match="leaves the image folder"):
        download(tmp_path / "v", source=str(tmp_path / "own.json"), policy=QUICK)


def test_urls_and_names_that_cannot_be_are_said_so(tmp_path: Path, site: Site) -> None:
    source = tmp_path / "own.json"
    for url in ("http://[bad", "http://\ud800/"):
        source.write_bytes(site.annotations(1, flickr_url=url))
        made = download(tmp_path / "t", source=str(source), policy=QUICK, overwrite=True)
        assert len([*made.dead, *made.failed]) == 1
        assert json.loads((tmp_path / "t/photos.jsonl").read_text())["url"] == url
    own = json.loads(site.annotations(1))
    for name in ("x" * 250 + ".jpg", "a/" * 2000 + "b.jpg"):
        own["images"][0]["file_name"] = name
        source.write_text(json.dumps(own))
        with pytest.raises(TrashkitError, match=r"the file_name of images\[0\] is too long"):
            download(tmp_path / "v", source=str(source), policy=QUICK)
        assert not (tmp_path / "v").exists()


def test_resume_requests_only_what_is_missing(site: Site, tmp_path: Path) -> None:
    site.ways = {"/photo/3.jpg": "500"}
    first = get(site, tmp_path / "t")
    assert [name for name, _ in first.failed] == ["batch_1/0003.jpg"]
    with pytest.raises(TrashkitError, match="exists"):
        get(site, tmp_path / "t")
    with pytest.raises(TrashkitError, match="was started with size original"):
        get(site, tmp_path / "t", resume=True, size="640")
    damaged = tmp_path / "t/images/batch_1/0005.jpg"
    damaged.write_bytes(damaged.read_bytes()[:500])
    site.ways, before = {}, site.asked.copy()
    made = get(site, tmp_path / "t", resume=True)
    assert (made.new, made.present) == (2, 6)
    assert {path for path, count in site.asked.items() if count > before[path]} == {"/photo/3.jpg", "/photo/5.jpg"}
    assert damaged.read_bytes() == jpeg(5)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.jpg").write_bytes(b"x")
    with pytest.raises(TrashkitError, match="is not a folder of a download"):
        get(site, tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine/holiday.jpg").exists()


@pytest.mark.slow
def test_a_killed_download_resumes_with_the_same_result(site: Site, tmp_path: Path) -> None:
    site.delay = 0.15
    line = [sys.executable, "-m", "trashkit", "data", "taco", "--annotations", f"{site.url}/annotations.json"]
    line += ["--rate", "50", "--workers", "2", "--out", str(tmp_path / "t")]
    started = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    until = time.monotonic() + 60
    while not list((tmp_path / "t").rglob("000?.jpg")) and time.monotonic() < until:
        time.sleep(0.02)
    os.kill(started.pid, signal.SIGKILL)
    started.wait()
    some = len(list((tmp_path / "t").rglob("000?.jpg")))
    assert 0 < some < 8
    done = subprocess.run([*line, "--resume", "--json"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["present"] >= some
    whole = get(site, tmp_path / "whole")

    def state(folder: Path) -> dict[str, str]:
        files = [path for path in folder.rglob("*") if path.is_file() and path.name != "photos.jsonl"]
        return {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(files)
        }

    assert whole.new == 8
    assert state(tmp_path / "t") == state(tmp_path / "whole")


def test_retry_after_is_respected(site: Site, tmp_path: Path) -> None:
    site.ways = {"/photo/0.jpg": "429 once"}
    policy = RetryPolicy(rate=500, timeout=2, tries=3, wait=0.01, longest=60)
    made = get(site, tmp_path / "t", limit=1, policy=policy)
    assert (made.new, made.failed) == (1, ())
    times = sorted(site.times)
    assert site.asked["/photo/0.jpg"] == 2
    assert times[-1] - times[-2] >= 0.95


def test_responses_of_a_wrong_length_are_rejected_and_downloaded_on_resume(site: Site, tmp_path: Path) -> None:
    site.ways = {"/photo/0.jpg": "too long", "/photo/1.jpg": "too short", "/photo/2.jpg": "trickle"}
    policy = RetryPolicy(rate=500, timeout=0.5, deadline=0.6, tries=2, wait=0.01, longest=0.05)
    made = get(site, tmp_path / "t", limit=4, policy=policy)
    assert {name for name, _ in made.failed} == {"batch_0/0000.jpg", "batch_1/0001.jpg", "batch_0/0002.jpg"}
    assert [path.name for path in (tmp_path / "t/images").rglob("*.jpg")] == ["0003.jpg"]
    assert not list((tmp_path / "t").rglob("*.part"))
    site.ways = {}
    again = get(site, tmp_path / "t", limit=4, resume=True)
    assert (again.new, again.present, again.failed) == (3, 1, ())
    assert (tmp_path / "t/images/batch_0/0002.jpg").read_bytes() == jpeg(2)


def test_requests_are_rate_limited(site: Site, tmp_path: Path) -> None:
    get(site, tmp_path / "t", policy=RetryPolicy(rate=20, timeout=2, tries=1), workers=8)
    times = sorted(site.times)[1:]  # the annotations come first, at a pace of their own
    assert times[-1] - times[0] >= 7 / 20 * 0.9


def test_small_photos_get_scaled_annotations(site: Site, tmp_path: Path) -> None:
    made = get(site, tmp_path / "t", size="640", limit=2)
    data = read_dataset(made.annotations)
    assert [(image.width, image.height) for image in data.images] == [(600, 400)] * 2
    assert data.annotations[0].segmentation == [[60.0, 40.0, 300.0, 40.0, 300.0, 200.0, 60.0, 200.0]]
    assert (data.annotations[0].area, data.annotations[0].bbox) == (38400.0, (60.0, 40.0, 240.0, 160.0))


def test_missing_annotations_are_one_clear_error(site: Site, tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match=r"annotations could not be downloaded: .*HTTP 404"):
        site.ways["/gone.json"] = "404"
        download(tmp_path / "t", source=f"{site.url}/gone.json", policy=QUICK)
    assert not list(tmp_path.iterdir())
