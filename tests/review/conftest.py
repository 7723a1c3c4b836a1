"""Fixtures for reviews: sessions, and FiftyOne with its own database."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from trashkit.coco import read
from trashkit.review.session import ReviewSession
from trashkit.workflows.review_findings import findings_from_audit

ROOT = Path(__file__).resolve().parents[2]
SYNTH = ROOT / "data" / "synth"

MakeSession = Callable[..., ReviewSession]


@pytest.fixture(scope="session")
def make_session() -> MakeSession:
    """Makes sessions of an annotation file (by default the synthetic one) with all findings and fixes."""

    known: dict[Path, Any] = {}

    def make(log: Path, annotations: Path = SYNTH / "train.json", images: Path = SYNTH / "images") -> ReviewSession:
        coco = read(annotations)
        if annotations not in known:
            known[annotations] = findings_from_audit(coco, images=images)
        findings, fixes = known[annotations]
        return ReviewSession(coco, findings, fixes, log, reviewer="ann", images=images)

    return make


@pytest.fixture
def session(make_session: MakeSession, tmp_path: Path) -> ReviewSession:
    return make_session(tmp_path / "log.jsonl")


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a database that FiftyOne is connected to; skips without FiftyOne or its mongod."""
    spec = find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("FiftyOne is not installed: the review App was not tried")
    if not (Path(spec.submodule_search_locations[0]) / "db" / "bin" / "mongod").is_file():
        pytest.skip("FiftyOne's mongod is missing (see `trashkit doctor`): the review App was not tried")
    from trashkit.review.fiftyone_app.database import fiftyone_ready

    folder = tmp_path_factory.mktemp("review")
    with fiftyone_ready(folder):
        yield folder
    shutil.rmtree(folder, ignore_errors=True)


class Review:
    """A review as in the App's server; its operators are called as the App calls them."""

    def __init__(self, session: ReviewSession, home: Path) -> None:
        from trashkit.review.fiftyone_app.app import open_review
        from trashkit.review.fiftyone_app.controller import controller_of

        opened = open_review(session, home)
        self.dataset, self.built = opened.dataset, opened.built
        controller = controller_of(self.dataset)
        assert controller is not None
        self.controller, self.session = controller, controller.session

    def do(self, operator: str, rows: list[int] | None = None, **params: Any) -> dict[str, Any]:
        import fiftyone.operators as foo

        from trashkit.review.fiftyone_app.dataset_sync import ids_of

        ids = ids_of(self.dataset)
        labels = [{"label_id": ids.of("annotations", row), "field": "annotations"} for row in rows or []]
        context = {"dataset": self.dataset, "params": params, "selected_labels": labels}
        result = foo.execute_operator(f"@trashkit/review/{operator}", context)
        assert result.error is None, result.error
        return dict(result.result)

    def stored(self, row: int) -> dict[str, Any] | None:
        """The label of an annotation as the database holds it."""
        from bson import ObjectId

        from trashkit.review.fiftyone_app import private_api
        from trashkit.review.fiftyone_app.dataset_sync import ids_of

        key = ObjectId(ids_of(self.dataset).of("annotations", row))
        found = private_api.find_samples(self.dataset, {"annotations.polylines._id": key})
        labels = [one for sample in found for one in sample["annotations"]["polylines"]]
        return next((one for one in labels if one["_id"] == key), None)


@pytest.fixture(scope="session")
def enter(home: Path) -> Callable[[ReviewSession], Review]:
    """Opens a session as the App does."""
    return lambda session: Review(session, home)


FLAGS = ["--no-sandbox", "--disable-gpu", "--use-gl=angle", "--use-angle=swiftshader"]


@pytest.fixture
def browser() -> Iterator[Any]:
    """Headless Chromium; skips without it or Playwright."""
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
