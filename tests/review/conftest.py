"""What the review's tests share: rooms, and a FiftyOne with a database of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trashkit.cli.review_findings import Asked, findings_of
from trashkit.coco import read
from trashkit.review.room import Room

ROOT = Path(__file__).resolve().parents[2]
SYNTH = ROOT / "data" / "synth"

MakeRoom = Callable[..., Room]


@pytest.fixture(scope="session")
def make_room() -> MakeRoom:
    """A room of an annotation file (the embedded one) with all findings and fixes."""

    known: dict[Path, Any] = {}

    def make(log: Path, annotations: Path = SYNTH / "train.json", images: Path = SYNTH / "images") -> Room:
        coco = read(annotations)
        if annotations not in known:
            known[annotations] = findings_of(coco, Asked(images))
        findings, fixes = known[annotations]
        return Room(coco, findings, fixes, log, reviewer="ann", images=images)

    return make


@pytest.fixture
def room(make_room: MakeRoom, tmp_path: Path) -> Room:
    return make_room(tmp_path / "log.jsonl")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a database that FiftyOne is connected to; skips loudly without FiftyOne or its mongod."""
    spec = find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("FiftyOne is not installed: the review App was not tried")
    if not (Path(spec.submodule_search_locations[0]) / "db" / "bin" / "mongod").is_file():
        pytest.skip("FiftyOne's mongod is missing (see `trashkit doctor`): the review App was not tried")
    from trashkit.review.database import fiftyone_ready

    folder = tmp_path_factory.mktemp("review")
    with fiftyone_ready(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Review:
    """A review as its App's server has it, operators called as the App calls them."""

    def __init__(self, room: Room, home: Path) -> None:
        from trashkit.review.app import open_review
        from trashkit.review.desk import desk_of

        opened = open_review(room, home)
        self.dataset, self.built = opened.dataset, opened.built
        desk = desk_of(self.dataset)
        assert desk is not None
        self.desk, self.room = desk, desk.room

    def do(self, operator: str, rows: list[int] | None = None, **params: Any) -> dict[str, Any]:
        import fiftyone.operators as foo

        from trashkit.review.board import ids_of

        ids = ids_of(self.dataset)
        labels = [{"label_id": ids.of("annotations", row), "field": "annotations"} for row in rows or []]
        context = {"dataset": self.dataset, "params": params, "selected_labels": labels}
        result = foo.execute_operator(f"@trashkit/review/{operator}", context)
        assert result.error is None, result.error
        return dict(result.result)

    def stored(self, row: int) -> dict[str, Any] | None:
        """The label of an annotation as the database holds it."""
        from fiftyone.core.fields import ObjectId

        from trashkit.review.board import ids_of

        key = ObjectId(ids_of(self.dataset).of("annotations", row))
        found = self.dataset._sample_collection.find_one({"annotations.polylines._id": key})
        return next((one for one in found["annotations"]["polylines"] if one["_id"] == key), None) if found else None


@pytest.fixture(scope="session")
def enter(home: Path) -> Callable[[Room], Review]:
    """Opens a room as the App does."""
    return lambda room: Review(room, home)


FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader"]


@pytest.fixture
def browser() -> Iterator[Any]:
    """Headless Chromium; skips loudly without it or Playwright."""
    if find_spec("playwright") is None:
        pytest.skip("Playwright is not installed: nothing was clicked")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("there is no chromium: nothing was clicked")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield started
        started.close()
