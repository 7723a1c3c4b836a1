"""A review from files to decisions: what to review and to compare with, and the FiftyOne App on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from trashkit.audit import read_settings
from trashkit.audit.views.photo_folder import wrong_folder
from trashkit.coco import Coco, Dataset, read
from trashkit.edits.edit import Edit
from trashkit.files import real_path
from trashkit.images.near_duplicates import Matching
from trashkit.progress import Progress, silent
from trashkit.review.comparison import Comparison, drawable, open_comparisons, open_other_version
from trashkit.review.fiftyone_app.app import OpenedReview, open_review, remove_old_reviews, review_in_use, serve
from trashkit.review.fiftyone_app.database import fiftyone_ready
from trashkit.review.fiftyone_app.server.guard import Access, new_token
from trashkit.review.fiftyone_app.server.process import Server
from trashkit.review.session import ReviewSession
from trashkit.review.shared_cases import read_cases
from trashkit.review.stored_reviews import LABEL_MAPS
from trashkit.workflows.review_findings import findings_from_audit, findings_from_file, label_error_stores

Message = Callable[[str], None]
"""Called with one line for the user."""


def _no_message(_: str) -> None:
    pass


@dataclass(frozen=True)
class ReviewInputs:
    """Files of a review.

    annotations, images: the COCO file and the folder of its photos. log: the edit log; None for a review that only
    shows what an empty log would. reviewer: author of the decisions. findings: what `trashkit audit --json` wrote, in
    place of an audit. config: file with thresholds of the checks, see `read_settings`. cache: folder for
    the results of audits. cases: a file of cases that a teammate shared.

    predictions: stores, runs, submission CSVs, COCO files or pseudo-labels to compare with; out-of-fold stores also
    add label errors to the findings. against: other versions of the annotation file. label_maps: draw the
    annotations as label maps even if there is nothing to compare with. test, test_images: a test set, and the folder of
    its photos if it is another one. classes: the class map of comparisons.
    """

    annotations: Path
    images: Path
    log: Path | None = None
    reviewer: str = "reviewer"
    findings: Path | None = None
    config: Path | None = None
    cache: Path | None = None
    cases: Path | None = None
    predictions: tuple[Path, ...] = ()
    against: tuple[Path, ...] = ()
    label_maps: bool = False
    test: Path | None = None
    test_images: Path | None = None
    classes: str | None = None
    near_duplicate_matching: Matching = "normal"


@dataclass(frozen=True)
class PreparedReview:
    """A review ready to be shown.

    datasets: the file under review and the test set, as comparisons need them; empty if there is nothing to compare.
    """

    inputs: ReviewInputs
    session: ReviewSession
    datasets: tuple[Dataset, ...] = ()
    comparisons: tuple[Comparison, ...] = ()


def prepare_review(
    inputs: ReviewInputs, *, progress: Progress = silent, note: Message = _no_message, warn: Message = _no_message
) -> PreparedReview:
    """Read everything that a review needs, and audit the file unless findings are given.

    Files to compare with are opened first, so that mistakes show before the audit. Raises TrashkitError for files that
    cannot be read or do not fit each other.
    """
    coco = read(inputs.annotations)
    _check_photo_folder(coco, inputs.images, "--images", warn)
    datasets, comparisons = _open_comparisons(inputs, coco, warn)
    settings = read_settings(inputs.config)
    if inputs.findings is not None:
        findings, fixes = findings_from_file(coco, inputs.findings, settings=settings, progress=progress)
    else:
        findings, fixes = findings_from_audit(
            coco,
            settings=settings,
            images=inputs.images,
            against=inputs.test if inputs.test_images is None else None,
            near_duplicate_matching=inputs.near_duplicate_matching,
            stores=label_error_stores(comparisons),
            cache=inputs.cache,
            on_cached=lambda: note("using the cached audit of these files"),
            progress=progress,
        )
    log = inputs.log or inputs.annotations.with_suffix(".no-edits")  # a file that does not exist: nothing is decided
    session = ReviewSession(coco, findings, fixes, log, reviewer=inputs.reviewer, images=inputs.images)
    if session.incomplete_line():
        warn(session.incomplete_line())
    if inputs.cases is not None:
        session.shared, missing = read_cases(inputs.cases, session)
        number = len(session.shared.cases)
        note(f'{number} case{"" if number == 1 else "s"} of "{session.shared.title}" in the view "shared cases"')
        if missing:
            warn(f"{missing} of its cases are not in {coco.path}")
    return PreparedReview(inputs, session, datasets, comparisons)


def _open_comparisons(
    inputs: ReviewInputs, coco: Coco, warn: Message
) -> tuple[tuple[Dataset, ...], tuple[Comparison, ...]]:
    if not (inputs.predictions or inputs.against or inputs.label_maps):
        return (), ()
    datasets = []
    for one in (coco, *([read(inputs.test)] if inputs.test is not None else [])):
        dataset, left_out = drawable(one, classes=inputs.classes)
        datasets.append(dataset)
        if left_out:
            warn(f"{one.path}: {left_out} annotations cannot be drawn and are left out of comparisons")
    found = []
    for path in inputs.predictions:
        found += open_comparisons(path, datasets, classes=inputs.classes)
    found += [open_other_version(path, datasets[0], classes=inputs.classes) for path in inputs.against]
    return tuple(datasets), tuple(found)


def _check_photo_folder(coco: Coco, folder: Path, option: str, warn: Message) -> None:
    """Warn about missing photos. option: the option that gives the folder, for the hint."""
    missing, number, hint = wrong_folder(coco, folder)
    if missing == number and number:
        warn(f"none of the {number} photos is in {folder}; {hint.replace('--images', option)}")
    elif missing:
        verb = "is" if missing == 1 else "are"
        warn(f"{missing} of the {number} photos {verb} not in {folder}: only their outlines are shown")


# ------------------------------------------------------------ the App
@dataclass
class ReviewApp:
    """The FiftyOne App on a review; see `review_app`.

    connect_seconds: how long FiftyOne and its database took. own_database: whether it is the one that trashkit runs.
    """

    prepared: PreparedReview
    home: Path
    server: Server
    connect_seconds: float
    own_database: bool = True
    opened: OpenedReview | None = field(default=None, init=False)

    def fill(
        self, *, progress: Progress = silent, note: Message = _no_message, warn: Message = _no_message
    ) -> OpenedReview:
        """Build or find the App's data set, with the test set and all comparisons. Removes old reviews."""
        inputs, session = self.prepared.inputs, self.prepared.session
        test = None
        if inputs.test is not None:
            images = inputs.test_images or inputs.images
            test = ReviewSession.without_findings(read(inputs.test), images=images)
            _check_photo_folder(test.coco, images, "--test-images", warn)
        opened = self.opened = open_review(session, self.home, test=test, progress=progress)
        if self.prepared.datasets:
            from trashkit.review.fiftyone_app.label_map_fields import add_comparisons

            folder = self.home / LABEL_MAPS / opened.dataset.name
            for name, one in add_comparisons(
                opened.dataset, self.prepared.datasets, self.prepared.comparisons, folder, progress=progress
            ):
                where = "" if one.dataset_index == 0 else f" of the test set's {len(one.images)} images"
                note(f"{one.path} is the field {name}{where}; saved views show the worst images first")
        removed = remove_old_reviews(self.home) if self.own_database else ""
        if removed:
            note(removed)
        return opened

    def serve(
        self,
        *,
        browser: bool = True,
        on_ready: Callable[[str, float], None] = lambda *_: None,
        on_edits: Callable[[list[Edit], list[str]], None] = lambda *_: None,
    ) -> None:
        """Run the App until Ctrl-C or SIGTERM.

        on_ready: called with its address, and the seconds that its server took. on_edits: called with edits taken over
        from the Annotate tab, and problems.
        """
        if self.opened is None:
            raise ValueError("call fill() before serve()")
        session = self.prepared.session
        session.create_log()
        start = time.monotonic()
        serve(
            session,
            self.opened,
            self.server,
            browser=browser,
            on_ready=lambda address: on_ready(address, time.monotonic() - start),
            on_edits=on_edits,
        )


@contextmanager
def review_app(prepared: PreparedReview, home: Path, *, port: int, database_uri: str = "") -> Iterator[ReviewApp]:
    """Start FiftyOne, its database and the App's server for a review, and end them afterwards.

        with review_app(prepare_review(inputs), home, port=5151) as app:
            app.fill()
            app.serve()

    home: folder of the review's database. database_uri: use this MongoDB instead of starting one. The App shows files
    of the photo folders and its own label maps, and lets in who has the address given to ``on_ready``.
    """
    start = time.monotonic()
    inputs = prepared.inputs
    shown = (inputs.images, inputs.test_images, home / LABEL_MAPS)
    access = Access(port, new_token(), tuple(real_path(folder) for folder in shown if folder is not None))
    with fiftyone_ready(home, database_uri, access=access) as server:
        if server is None:
            raise ValueError("no server was started")
        with review_in_use(prepared.session, home):
            yield ReviewApp(prepared, home, server, time.monotonic() - start, own_database=not database_uri)
