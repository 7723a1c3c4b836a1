"""Experiment trackers (TensorBoard, W&B ...) and the report page that is updated during training.

Nothing leaves the machine unless a tracker that uploads data is requested by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from trashkit.errors import TrashkitError
from trashkit.nn.training.train_data import TrainData
from trashkit.progress import Log
from trashkit.report.run_page import siblings, write_report
from trashkit.runs.metrics import EpochRow
from trashkit.runs.run import Run, read_run
from trashkit.settings.training import unknown

AUTO = "auto"
"""TensorBoard, if it is installed."""
LOCAL = "tensorboard"
PACKAGES = {"comet_ml": "comet_ml", "dvclive": "dvclive"}
AfterEpoch = Callable[[Sequence[EpochRow]], None]
"""Called with all rows of metrics.jsonl after each epoch."""


def tracker_names(requested: Sequence[str]) -> list[str]:
    """The trackers to use. requested: names of accelerate's trackers, ``auto`` or ``none``.

    Raises TrashkitError for unknown names, and for trackers that are not installed (except with ``auto``).
    """
    known = [str(getattr(name, "value", name)) for name in LOGGER_TYPE_TO_CLASS]
    if "none" in requested and len(set(requested)) > 1:
        raise TrashkitError("--track none cannot be combined with other trackers", hint="leave out one of them")
    found = []
    for name in dict.fromkeys(requested):
        if name == "none":
            continue
        if name == AUTO:
            found += [LOCAL] if find_spec(LOCAL) is not None else []
            continue
        if name not in known:
            raise TrashkitError(unknown("tracker", name, [*sorted(known), AUTO, "none"]), hint="--track NAME")
        if find_spec(PACKAGES.get(name, name)) is None:
            raise TrashkitError(f"the tracker {name} is not installed", hint=f"pip install {name}")
        found.append(name)
    return list(dict.fromkeys(found))


def scalars(row: EpochRow) -> dict[str, float]:
    """The numbers of a row of metrics.jsonl by curve name, such as ``iou/Metal``."""
    found: dict[str, float] = {}
    for key, value in row.items():
        inner = value.items() if key == "iou" and isinstance(value, Mapping) else [("", value)]
        for name, number in inner:
            if isinstance(number, int | float) and not math.isnan(number) and key not in ("epoch", "step"):
                found[f"{key}/{name}" if name else key] = float(number)
    return found


def start_trackers(names: Sequence[str], run: Run, epochs_done: int) -> list[GeneralTracker]:
    """Open trackers for a run. TensorBoard writes into the run folder and drops epochs after `epochs_done`."""
    trackers = []
    for name in names:
        kind = next(kind for key, kind in LOGGER_TYPE_TO_CLASS.items() if str(getattr(key, "value", key)) == name)
        if name == LOCAL:
            tracker = kind("", str(run.path / LOCAL), purge_step=epochs_done + 1)
        elif kind.requires_logging_directory:
            tracker = kind(run.path.name, str(run.path / name))
        else:
            tracker = kind(run.path.name)
        try:
            tracker.start()
        except Exception as error:  # each tracker raises its own kind
            text = " ".join(str(error).split())[:160]
            raise TrashkitError(
                f"the tracker {name} cannot start: {text}",
                hint="log in, or switch it to offline mode, or leave out --track; then continue with --resume",
            ) from error
        if name != LOCAL:  # TensorBoard would put them into a separate folder named by the time
            tracker.store_init_configuration(dict(run.manifest.get("settings") or {}))
        trackers.append(tracker)
    return trackers


class RunTracker:
    """Sends the metrics of each epoch to trackers and updates the run's report page.

    trackers: names, see `tracker_names`. after_epoch: called with all rows after each epoch.
    """

    def __init__(
        self,
        run: Run,
        data: TrainData,
        trackers: Sequence[str],
        *,
        epochs_done: int,
        after_epoch: AfterEpoch | None,
        log: Log,
    ) -> None:
        self.run = run
        self.data = data
        self.trackers = start_trackers(trackers, run, epochs_done)
        self.callback = after_epoch
        self.log = log

    def after_epoch(self, rows: Sequence[EpochRow]) -> None:
        """Record the last of all rows so far."""
        for tracker in self.trackers:
            tracker.log(scalars(rows[-1]), step=int(rows[-1]["epoch"]))
        self._write_report(complete=False)
        if self.callback is not None:
            self.callback(rows)

    def close(self) -> None:
        """Close the trackers and write the page of the complete run."""
        for tracker in self.trackers:
            tracker.finish()
        self._write_report(complete=True)

    def _write_report(self, *, complete: bool) -> None:
        try:
            run = read_run(self.run.path)
            others = siblings(run) if complete else []
            dataset = self.data.dataset if complete else None
            write_report(run, dataset=dataset, photos=self.data.folder, others=others)
        except (OSError, TrashkitError) as error:  # must not stop a training
            self.log(f"the report could not be written: {error}")
