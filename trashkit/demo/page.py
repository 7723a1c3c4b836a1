"""The demo's HTML page: commands, results and overlays."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from trashkit.demo.story import Story
from trashkit.images import photos
from trashkit.outputs import write_text
from trashkit.report import html
from trashkit.report.overlay import Pixels, sheet, side_by_side


def write_page(story: Story, folder: Path) -> Path:
    """Write ``index.html`` and ``picture.jpg`` to the demo's folder; return the path of the page."""
    pictures = _overlays(folder)
    picture = sheet(pictures, columns=2)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    (folder / "picture.jpg").write_bytes(encoded.tobytes())
    page = folder / "index.html"
    write_text(page, html.page("trashkit demo", _pieces(story, picture)), overwrite=True)
    return page


def _overlays(folder: Path) -> list[Pixels]:
    """Each overlay next to its photo, in the order of file names."""
    test = json.loads((folder / "data/test.json").read_text(encoding="utf-8"))
    pairs: list[Pixels] = []
    for path in sorted((folder / "overlays").rglob("*.overlay.jpg")):
        name = path.name.removesuffix(".overlay.jpg")
        source = next(image["file_name"] for image in test["images"] if Path(image["file_name"]).stem == name)
        photo = photos.read_photo(folder / "data/images" / source)
        pairs.append(side_by_side([photo, photos.read_photo(path)]))
    return pairs


def _pieces(story: Story, picture: Pixels) -> list[html.Html]:
    numbers = story.numbers
    seconds = sum(step["seconds"] for step in story.steps)
    pairs = zip(numbers["validation_miou"], numbers["validation_miou_without_background"], strict=True)
    score = ", ".join(f"{value:.3f} ({other:.3f} without background)" for value, other in pairs)
    lead = (
        f"{numbers['findings']['error']} errors found and {numbers['edits']} edits made, validation mIoU {score}, "
        f"simulated leaderboard {numbers['public']:.3f} public and {numbers['private']:.3f} private "
        f"({numbers['public_without_background']:.3f} and {numbers['private_without_background']:.3f} without), "
        f"in {seconds:.0f} seconds."
    )
    grades = [(one.kind, ", ".join(one.codes) or "–", one.planted, one.found, one.precision) for one in story.grades]
    return [
        html.paragraph(lead, css="lead"),
        html.picture(picture, alt="test photos and the predictions of the network"),
        html.heading("Commands"),
        html.table(("command", "seconds"), [(step["command"], step["seconds"]) for step in story.steps]),
        html.heading("Planted errors and what the audit found"),
        html.paragraph(
            "Wrong classes and dropped, shifted, merged or spurious objects cannot be found from the file alone; they "
            "need photos and predictions.",
            css="note",
        ),
        html.table(("error", "codes", "planted", "found", "precision of the codes"), grades),
        html.Html('<p><a href="audit.html">Full audit report</a></p>'),
    ]
