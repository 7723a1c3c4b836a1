"""Following a run: curves for TensorBoard and other trackers, and the page that grows while it trains.

Nothing leaves the machine unless a tracker that sends things is asked for by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker

from trashkit.config import unknown
from trashkit.errors import TrashkitError
from trashkit.nn.record import TrainData
from trashkit.report.run_page import siblings, write_report
from trashkit.run import Run, read_run

AUTO = "auto"
"""TensorBoard where it is installed."""
LOCAL = "tensorboard"
PACKAGES = {"comet_ml": "comet_ml", "dvclive": "dvclive"}
Row = Mapping[str, Any]
AfterEpoch = Callable[[Sequence[Row]], None]


def tracker_names(asked: Sequence[str]) -> list[str]:
    """The trackers to use. asked: names of accelerate's trackers, ``auto`` or ``none``.

    Raises TrashkitError for unknown ones, and for those whose package is not installed (but for ``auto``).
    """
    known = [str(getattr(name, "value", name)) for name in LOGGER_TYPE_TO_CLASS]
    if "none" in asked and len(set(asked)) > 1:
        raise TrashkitError("--track none goes with no other tracker", hint="leave it out, or the others")
    found = []
    for name in dict.fromkeys(asked):
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


def scalars(row: Row) -> dict[str, float]:
    """Numbers of a row of metrics.jsonl by the names of their curves, such as ``iou/Metal``."""
    found: dict[str, float] = {}
    for key, value in row.items():
        inner = value.items() if key == "iou" and isinstance(value, Mapping) else [("", value)]
        for name, number in inner:
            if isinstance(number, int | float) and not math.isnan(number) and key not in ("epoch", "step"):
                found[f"{key}/{name}" if name else key] = float(number)
    return found


def start_trackers(names: Sequence[str], run: Run, epochs_done: int) -> list[GeneralTracker]:
    """Open trackers for a run; TensorBoard writes into its folder and forgets what a killed run wrote too much."""
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
                hint="log in to it or set it to work offline, or leave out --track, and go on with --resume",
            ) from error
        if name != LOCAL:  # TensorBoard makes a table of its own of them, in a folder with the time as its name
            tracker.store_init_configuration(dict(run.manifest.get("settings") or {}))
        trackers.append(tracker)
    return trackers


def follower(
    run: Run,
    data: TrainData,
    names: Sequence[str],
    *,
    epochs_done: int,
    say: Callable[[str], None],
    then: AfterEpoch,
) -> tuple[AfterEpoch, Callable[[], None]]:
    """What to call with all rows after each epoch, which calls `then`, and once at the end. Both write the run's page.

    names: of trackers, see `tracker_names`.
    """
    trackers = start_trackers(names, run, epochs_done)

    def report(*, complete: bool) -> None:
        try:
            now = read_run(run.path)
            others = siblings(now) if complete else []
            write_report(now, dataset=data.dataset if complete else None, photos=data.folder, others=others)
        except (OSError, TrashkitError) as error:  # a page that cannot be written must not stop a training
            say(f"the report could not be written: {error}")

    def after_epoch(rows: Sequence[Row]) -> None:
        for tracker in trackers:
            tracker.log(scalars(rows[-1]), step=int(rows[-1]["epoch"]))
        report(complete=False)
        then(rows)

    def at_end() -> None:
        for tracker in trackers:
            tracker.finish()
        report(complete=True)

    return after_epoch, at_end
