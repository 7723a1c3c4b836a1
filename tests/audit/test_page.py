"""The audit page: complete, escaped, of limited size, and filtered by its script."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.output.page import PER_CODE, audit_page
from trashkit.audit.output.page_drawings import BLANK, BLUE, OUTSIDE, RED, SIDE, RowLookup, draw_finding
from trashkit.audit.registry import checks
from trashkit.coco import Coco, read
from trashkit.finding import Finding
from trashkit.report.data_statistics import box_coverage

NASTY = "<script>alert('x')</script>\"&'<img src=x onerror=y>"


class Page(HTMLParser):
    """Tags, cards and text of a page; fails for tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.cards: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "article":
            self.cards.append(dict(attrs))
        for name, value in attrs:
            assert not name.startswith("on")
            if name in ("src", "href"):
                assert value is not None and value.startswith("data:image/jpeg;base64,")
        if tag not in ("meta", "img", "br", "wbr"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def page_of(coco: dict[str, Any], **more: Any) -> str:
    whole = Coco.of(coco)
    return audit_page(whole, audit(whole, **more), **more)


def broken() -> dict[str, Any]:
    coco = clean_file()
    coco["annotations"][0]["segmentation"] = [[100, 100, 200, 200, 100, 200, 200, 100]]
    coco["annotations"][1]["area"] = 2.0
    coco["annotations"][12]["bbox"] = [0, 0, 5, 5]
    return coco


def test_findings_are_drawn_without_photos_and_statistics_are_shown() -> None:
    text = page_of(broken())
    page = Page(text)
    codes = {str(card["data-code"]).split()[0] for card in page.cards}
    assert {"G003", "G022", "G023"} <= codes
    assert {card["data-class"] for card in page.cards} == {"Bottle", "Can"}
    assert {card["data-severity"] for card in page.cards} >= {"error", "warning"}
    for words in ("Annotations per class", "Share of all annotated pixels", "Objects per image", "Where objects lie"):
        assert words in page.text
    assert page.tags.count("img") >= len(page.cards)
    assert page.tags.count("script") == 1


def test_the_page_of_a_clean_file() -> None:
    page = Page(page_of(clean_file()))
    assert "No findings." in page.text
    assert page.cards == []


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=30))
def test_all_text_is_escaped(text: str) -> None:
    coco = broken()
    for word in (NASTY, text):
        for block, field in (("images", "file_name"), ("categories", "name")):
            for record in coco[block]:
                record[field] = word
        coco["annotations"][3]["category_id"] = word
        page = Page(page_of(coco))
        assert page.tags.count("script") == 1
        assert len(page.cards) > 3


def test_names_are_shown_unchanged() -> None:
    coco = broken()
    coco["images"][0]["file_name"] = NASTY
    assert NASTY in Page(page_of(coco)).text


@pytest.mark.parametrize("code", [code for code, check in checks().items() if check.broken is not None])
def test_a_page_is_made_for_every_broken_example(code: str, tmp_path: Path) -> None:
    check = checks()[code]
    assert check.broken is not None
    coco = clean_file()
    text = check.broken(coco)
    other = Coco.of(coco.pop("against")) if "against" in coco else None
    (tmp_path / "broken.json").write_text(text if text is not None else json.dumps(coco), encoding="utf-8")
    whole = read(tmp_path / "broken.json")
    page = Page(audit_page(whole, audit(whole, select=[code], against=other), against=other))
    assert any(str(card["data-code"]).startswith(code) for card in page.cards)


def test_empty_and_absurd_files() -> None:
    Page(page_of({"images": [], "annotations": [], "categories": []}))
    coco = clean_file()
    coco["images"][0].update(width=10**9, height=1)
    coco["images"][1].update(width=float("inf"))
    coco["annotations"][0]["bbox"] = [float("nan"), 1e308, 1e308, -1e308]
    coco["annotations"][1]["area"] = float("inf")
    Page(page_of(coco))


def test_leaks_are_drawn_side_by_side_and_the_page_stays_small(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for n in range(40):
        photo = np.asarray(Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((200, 200), 0))
        Image.fromarray(photo).save(tmp_path / f"{n}.png")
        Image.fromarray(photo).save(tmp_path / f"test{n}.png")
        rows.append({"id": n, "file_name": f"{n}.png", "width": 200, "height": 200})
    coco = {"images": rows, "annotations": [], "categories": []}
    test = {**coco, "images": [{**row, "file_name": f"test{row['id']}.png"} for row in rows]}
    text = page_of(coco, images=tmp_path, against=Coco.of(test))
    page = Page(text)
    assert len([card for card in page.cards if str(card["data-code"]).startswith("I011")]) == PER_CODE
    assert "Compared with the other file" in page.text and "Brightness of photos" in page.text
    assert len(text) < 2_000_000


def test_box_coverage_equals_a_loop_over_boxes() -> None:
    rng = np.random.default_rng(2)
    first = rng.integers(0, 31, (50, 2))
    last = first + rng.integers(1, 12, (50, 2)).clip(max=32 - first)
    wanted = np.zeros((32, 32))
    for (left, top), (right, bottom) in zip(first, last, strict=True):
        wanted[top:bottom, left:right] += 1
    assert (box_coverage(first, last, 32) == wanted).all()


def colored(picture: Any, color: tuple[int, int, int]) -> Any:
    """Where a picture has about this colour."""
    return np.abs(picture.astype(int) - color).max(axis=2) < 40


def test_annotations_at_another_scale_are_drawn_outside_the_image() -> None:
    coco = clean_file()
    coco["images"][0].update(width=320, height=240)
    whole = Coco.of(coco)
    (finding,) = audit(whole, select=["G013"]).findings
    drawn = draw_finding(RowLookup(whole, None), finding)
    assert drawn is not None and max(drawn.shape) <= SIDE + 1
    outside = (drawn == OUTSIDE).all(axis=2)
    red = colored(drawn, RED)
    photo = (drawn == BLANK).all(axis=2)
    right = np.flatnonzero(photo.any(axis=0)).max()
    assert outside.mean() > 0.3 and photo.any()
    assert red[:, right + 3 :].sum() > 50, "outlines beyond the image's border"
    assert red[:, :right].sum() > 50


def test_a_ring_outside_its_image_is_drawn() -> None:
    coco = clean_file()
    coco["annotations"][0]["segmentation"].append([900, 10, 1000, 10, 1000, 110])
    whole = Coco.of(coco)
    (finding,) = audit(whole, select=["G011"]).findings
    drawn = draw_finding(RowLookup(whole, None), finding)
    assert drawn is not None
    beyond = np.flatnonzero((drawn == BLANK).all(axis=2).any(axis=0)).max() + 3
    assert colored(drawn, RED)[:, beyond:].sum() > 20


def test_the_box_in_the_file_is_drawn_with_the_outline() -> None:
    whole = Coco.of(broken())
    findings = audit(whole, select=["G023", "G003"]).findings
    for finding in findings:
        drawn = draw_finding(RowLookup(whole, None), finding)
        assert drawn is not None and colored(drawn, RED).any()
        assert colored(drawn, BLUE).any() == (finding.code == "G023")
    assert len(findings) >= 2


def test_all_codes_have_a_bar_and_all_findings_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    names = sorted(checks())[:25]
    findings = [
        Finding(code, checks()[code].name, checks()[code].severity, "images", None, f"message {code} {n}")
        for code in names
        for n in range(4)
    ]
    coco = Coco.of(clean_file())
    result = replace(audit(coco), findings=findings)
    page = Page(audit_page(coco, result))
    bars = "".join(part.split("</svg>")[0] for part in audit_page(coco, result).split("<svg")[1:4])
    assert all(f"{code} {checks()[code].name}<" in bars for code in names)
    assert all(finding.message in page.text for finding in findings)
    assert "100 of 100" in page.text and "not shown" not in page.text
    monkeypatch.setattr("trashkit.audit.output.page.MOST_ROWS", 30)
    assert "70 more are not shown" in Page(audit_page(coco, result)).text


CHOOSE = """<script>
const box = document.querySelector('select[data-facet="%s"]');
box.value = '%s'; box.dispatchEvent(new Event('change'));
</script></body>"""


@pytest.mark.browser
@pytest.mark.parametrize(("facet", "value"), [("class", "Can"), ("severity", "warning"), ("code", "G003 invalid-ring")])
def test_filters_in_a_browser(facet: str, value: str, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium: the page's filters were not tried")
    text = page_of(broken())
    (tmp_path / "page.html").write_text(text.replace("</body>", CHOOSE % (facet, value)), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'user'}"]
    shown = subprocess.run(
        [*command, "--dump-dom", (tmp_path / "page.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=90,
        check=True,
    ).stdout
    cards = re.findall(r"<article[^>]*>", shown)
    assert len(cards) == len(Page(text).cards)
    for card in cards:
        assert ("hidden" in card) == (f'data-{facet}="{value}"' not in card)
    hits = sum("hidden" not in card for card in cards)
    assert 0 < hits < len(cards)
    assert f"<output>{hits} of {len(cards)}</output>" in shown
