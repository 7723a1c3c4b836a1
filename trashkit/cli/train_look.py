"""What ``trashkit train`` shows without training: a preview of its pictures, and suggestions."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import command, note, progress, show, table
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trashkit.coco import Dataset
    from trashkit.config import TrainConfig
    from trashkit.nn.extra import ExtraSet
    from trashkit.nn.folds import Job
    from trashkit.scores import Confusion

SHEETS = (".png", ".jpg", ".html")


def show_preview(
    job: Job, dataset: Dataset, images: Path, extra: Sequence[ExtraSet], file: Path, *, overwrite: bool, json: bool
) -> None:
    """Write the sheet of a job's first pictures to a .png, .jpg or .html file."""
    import tempfile

    import cv2
    import numpy as np

    from trashkit.files import refuse_existing, refuse_inputs, replacing, write_text
    from trashkit.nn.folds import beside
    from trashkit.nn.preview import as_page, as_sheet, preview
    from trashkit.nn.record import TrainData
    from trashkit.report.overlay import class_shares

    if file.suffix.lower() not in SHEETS:
        raise TrashkitError(f"{file} is no name of a sheet", hint=f"let it end in one of {', '.join(SHEETS)}")
    refuse_existing(file, overwrite=overwrite)
    refuse_inputs(file, [images / one.file_name for one in dataset.images])
    data = TrainData(dataset, images, job.train, job.val, "", beside(extra, job, images))
    with tempfile.TemporaryDirectory() as place, progress() as report:
        seen, drawn_from = preview(job.config, data, Path(place), progress=report)
    few = f", drawn from {drawn_from} of {data.count} photos to train on" if drawn_from < data.count else ""
    title = f"{job.recipe}, {job.config.data.size} px, augment {job.config.data.augment}{few}"
    if file.suffix.lower() == ".html":
        write_text(file, as_page(seen, dataset.classes, title), overwrite=overwrite)
    else:
        sheet = cv2.cvtColor(as_sheet(seen, dataset.classes, title), cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(file.suffix.lower(), sheet)
        assert done
        with replacing(file, overwrite=overwrite) as temporary:
            temporary.write_bytes(encoded.tobytes())
    every = np.concatenate([one.labels.ravel() for one in seen]).reshape(1, -1)
    shares = {dataset.classes.names[index]: share for index, share in class_shares(every, dataset.classes)}
    result = {"pictures": [one.file_name for one in seen], "photos": drawn_from, "shares": shares}
    human = f"{len(seen)} pictures as the network sees them, label maps beside them, ignored parts hatched{few}"
    show(result, json=json, human=human, wrote=file)


def show_suggestions(
    config: TrainConfig,
    recipe: str | None,
    dataset: Dataset,
    images: Path | None,
    out: Path | None,
    *,
    given: Sequence[object],
    json: bool,
) -> None:
    """Print what the data, its audit and the out-of-fold errors of `out` point to, and the settings to type.

    given: further words of the command line, which what is to be typed next begins with.
    """
    from trashkit.audit import audit
    from trashkit.nn.suggest import gather, suggest, together

    with progress() as report:
        findings = audit(dataset.coco, images=images, progress=report).findings
        errors = _out_of_fold(dataset, out)
        facts = gather(dataset, config, findings=findings, images=images, errors=errors, progress=report)
    found = suggest(facts)
    if errors is None:
        note("without errors of a run: --out RUN of a trained one adds what its out-of-fold predictions show")
    result = {
        "recipe": recipe,
        "suggestions": [
            {"topic": one.topic, "reason": one.reason, "set": list(one.settings), "instead": one.instead}
            for one in found
        ],
        "together": together(found),
    }
    rows: list[list[str]] = []
    for one in found:
        types = [f"--set {shlex.quote(setting)}" for setting in one.settings] + ([one.instead] if one.instead else [])
        rows += [[one.topic if not n else "", one.reason if not n else "", text] for n, text in enumerate(types)]
    human: list[Any] = [table(["what", "why", "to type"], rows)] if rows else ["nothing stands out in this data set"]
    arguments: list[Any] = ["--data", dataset.coco.path, "--images", images or "DIR"]
    arguments += [*(["--recipe", recipe] if recipe else []), *given]
    first = next((one.settings for one in found if one.settings), ())
    if first:
        human.append("Each is a guess from counts: try them one at a time, against the same folds.")
    for setting in first:
        arguments += ["--set", setting]
    show(result, json=json, human=human, next=command("train", *arguments, "--out", "RUN"))


def own_recipe(out: Path | None, say: Callable[[str], None]) -> list[str] | None:
    """The settings of a run, or of the best run below a folder, as a recipe; None where there is none."""
    from trashkit.run import find_runs
    from trashkit.run_folder import SETTINGS

    if out is None or not out.is_dir():
        return None
    for run in find_runs(out):
        if (run.path / SETTINGS).is_file():
            say(f"settings of {run.path}")
            return [str(run.path / SETTINGS)]
    return None


def _out_of_fold(dataset: Dataset, out: Path | None) -> Confusion | None:
    """Errors of a run's out-of-fold store, or of all folds below a folder of runs."""
    if out is None:
        return None
    if not out.exists():
        note(f"there is no run at {out}")
        return None
    from trashkit.evaluate import evaluate
    from trashkit.predictions import open_predictions
    from trashkit.run_folder import OOF

    stores = [place for place in (out / OOF, *sorted(out.glob(f"*/{OOF}"))) if place.exists()]
    if not stores:
        raise TrashkitError(f"{out} holds no out-of-fold predictions", hint="name a trained run, or leave out --out")
    note(f"errors of {stores[0]}")
    return evaluate(open_predictions(stores[0], dataset), partial=True).confusion
