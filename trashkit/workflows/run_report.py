"""The report page of a run: its files are found, checked, and compared with other runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.outputs import Output
from trashkit.progress import Log, Progress, discard, silent
from trashkit.report.run_page import siblings, write_report
from trashkit.runs.folder import REPORT, VALIDATION
from trashkit.runs.metrics import read_validation
from trashkit.runs.run import Run, read_run


@dataclass(frozen=True)
class RunReport:
    """A written page. others: runs that the first is compared with. with_photos: whether the page shows photos."""

    path: Path
    run: Run
    others: tuple[Run, ...]
    with_photos: bool


def report_runs(
    paths: Sequence[Path],
    *,
    out: Path | None = None,
    data: Path | None = None,
    images: Path | None = None,
    classes: str | None = None,
    overwrite: bool = False,
    log: Log = discard,
    progress: Progress = silent,
) -> RunReport:
    """Write the page of the first run, compared with the others on the same validation images.

    out: ``RUN/report.html`` by default. data, images: annotations and photo folder of the run, if they have moved;
    without them the page has no photos. With one path it is compared with the runs in the same folder. Raises
    TrashkitError for paths that are not runs, classes that differ from the run's, and an `out` that exists.
    """
    found = [read_run(path) for path in paths]
    if len({real_path(run.path) for run in found}) < len(found):
        raise TrashkitError("a run is given twice", hint="trashkit report RUN OTHER...")
    first = found[0]
    photos = images or Path(str(first.inputs.get("images", "")))
    dataset = _dataset(first, data, classes, log)
    if out is not None and real_path(out) != real_path(first.path / REPORT):
        output = Output(out, overwrite=overwrite)
        output.check()
        files = [photos / one.file_name for one in dataset.images] if dataset is not None else []
        output.check_inputs([*paths, data, photos, first.inputs.get("data"), *files])
    if dataset is not None and not photos.is_dir():
        log(f"the photo folder {photos} does not exist, so the page has no photos; give it as --images DIR")
        dataset = None
    if (first.path / VALIDATION).exists() and read_validation(first.path) is None:
        log(f"{first.path / VALIDATION} is damaged, so the page has no scores by class")
    others = found[1:] or siblings(first)
    path = write_report(first, dataset=dataset, photos=photos, others=others, out=out, progress=progress)
    return RunReport(path, first, tuple(others), dataset is not None)


def _dataset(run: Run, data: Path | None, classes: str | None, log: Log) -> Dataset | None:
    """What the run was trained on; None, with a logged line, if it does not exist."""
    path = data or Path(str(run.inputs.get("data", "")))
    if not path.is_file():
        log(f"{path} does not exist, so the page has no photos; give it as --data ANN.json")
        return None
    found = read_dataset(path, classes=classes)
    names = run.spec.class_names
    if found.classes.names != names:
        raise TrashkitError(
            f"{path} has the classes {', '.join(found.classes.names)}, but the run has {', '.join(names)}",
            hint="give the same --classes as in training",
        )
    return found
