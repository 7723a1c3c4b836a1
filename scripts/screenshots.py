"""Take the screenshots in docs, on the synthetic data set: python scripts/screenshots.py."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
SYNTH, DOCS = ROOT / "data" / "synth", ROOT / "docs"
FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader"]
COLORS = 256


def main() -> None:
    """Make an audit page and start a review in a temporary folder, and take the screenshots."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "synth"  # the App shows paths: keep those of this machine out
        shutil.copytree(SYNTH, data)
        html = Path(folder) / "audit.html"
        words = ["audit", data / "train.json", "--images", data / "images", "--html", html, "--quiet"]
        subprocess.run([sys.executable, "-m", "trashkit", *map(str, words)], check=False)  # 1: there are findings
        audit_page(html)
        words = ["review", data / "train.json", "--images", data / "images", "--edits", Path(folder) / "log.jsonl"]
        process = subprocess.Popen(
            [sys.executable, "-m", "trashkit", *map(str, words), "--no-browser", "--port", "5199"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "TRASHKIT_HOME": folder},
        )
        try:
            assert process.stdout is not None
            found = next(filter(None, (re.search(r"review at (http\S+)", line) for line in process.stdout)))
            draw(found[1])
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(60)


def audit_page(html: Path) -> None:
    """The top of the audit page, with the first findings."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1200})
        page.goto(html.as_uri())
        save(page, DOCS / "audit-page.png")
        browser.close()


def draw(address: str) -> None:
    """The review panel next to the images, and one image in the viewer."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        page = browser.new_page(viewport={"width": 1360, "height": 860})
        page.goto(address, wait_until="domcontentloaded")
        page.get_by_text("Accept fix", exact=True).wait_for(timeout=240_000)
        if page.get_by_text("Dismiss", exact=True).count():
            page.get_by_text("Dismiss", exact=True).click()
        for _ in range(12):  # to a finding whose fix reshapes an outline, in a file with a plain name
            shown = page.inner_text("body")
            if "ring" in shown and "fix: reshape" in shown and re.search(r"batch[ _]0", shown):
                break
            page.get_by_text("Next", exact=True).click()
            page.wait_for_timeout(2500)
        page.wait_for_timeout(3000)
        save(page, DOCS / "how-to" / "review-panel.png")
        page.get_by_text("Open", exact=True).click()
        page.wait_for_timeout(40000)
        save(page, DOCS / "how-to" / "review-viewer.png")
        browser.close()


def save(page: Any, path: Path) -> None:
    """Save a small PNG: few colours are enough for an interface."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture = picture.resize((picture.width * 4 // 5, picture.height * 4 // 5), Image.Resampling.LANCZOS)
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
