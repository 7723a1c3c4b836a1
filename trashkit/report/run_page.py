"""The HTML page of a run: curves, scores by class, confusion, calibration, photos, and comparison with other runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Dataset
from trashkit.coco.classes import shown_colors
from trashkit.errors import TrashkitError
from trashkit.files import real_path
from trashkit.metrics.scores import Confusion, bootstrap_iou, bootstrap_miou_difference, interval
from trashkit.metrics.summary import finds_almost_nothing, miou_text, without_background
from trashkit.outputs import write_text
from trashkit.predictions.store import open_store
from trashkit.progress import Progress, silent
from trashkit.raster.masks import PaintOrder
from trashkit.readers import ContentError, read_text
from trashkit.report.calibration import Calibration
from trashkit.report.error_tables import error_tables
from trashkit.report.html import (
    Card,
    Html,
    bars,
    collapsible,
    color_key,
    gallery,
    heading,
    join,
    lines,
    matrix,
    page,
    paragraph,
    rgb,
    table,
)
from trashkit.report.run_errors import EACH, cards, score_store, select_photos
from trashkit.runs.folder import OOF, REPORT, SETTINGS
from trashkit.runs.json_values import differences
from trashkit.runs.manifest import RunSpec
from trashkit.runs.metrics import Validation, read_metrics, read_validation
from trashkit.runs.run import Run, find_runs

REFRESH = 20
"""Seconds after which the page of an unfinished run reloads."""
MOST_CLASSES = 12
"""With more classes, fewer photos of each are shown."""
_LINES = 6


def write_report(
    run: Run,
    *,
    dataset: Dataset | None = None,
    photos: Path | None = None,
    others: Sequence[Run] = (),
    out: Path | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the page of a run in its current state, and return its path.

    dataset, photos: what the run was validated on; without them, or before the run is complete, calibration and photos
    are left out. others: runs to compare with. out: ``report.html`` in the run folder by default.
    """
    path = out or run.path / REPORT
    unfinished = run.status != "complete"
    pieces = list(_pieces(run, dataset, photos, others, progress))
    write_text(path, page(f"Run {run.path.name}", pieces, refresh=REFRESH if unfinished else 0), overwrite=True)
    return path


def siblings(run: Run) -> list[Run]:
    """The other runs in the parent folder that were trained on the same annotations."""
    try:
        found = find_runs(run.path.parent)
    except (OSError, TrashkitError):
        return []
    data = [one.identity.get("data") for one in (run, *found)]
    return [
        other
        for other, theirs in zip(found, data[1:], strict=True)
        if other.path.parent == run.path.parent and real_path(other.path) != real_path(run.path) and theirs == data[0]
    ]


def _pieces(
    run: Run, dataset: Dataset | None, photos: Path | None, others: Sequence[Run], progress: Progress
) -> Iterable[object]:
    rows, validation = read_metrics(run.path), read_validation(run.path)
    yield from _summary(run, rows)
    yield from _choice(run)
    if rows:
        yield heading("Training")
        yield from _curves(run, rows)
    if validation is not None:
        yield heading("Classes")
        yield from _classes(validation)
        yield heading("Confusion")
        yield from _confusion(validation)
    if dataset is not None and photos is not None and run.status == "complete" and (run.path / OOF).exists():
        yield from _predictions(run, dataset, photos, progress)
    elif validation is not None:
        yield heading("Images")
        yield paragraph(
            "Photos with truth and prediction, and calibration, follow when the run is complete.", css="note"
        )
        yield from _image_table(validation)
    if others:
        yield heading("Other runs")
        yield from _comparison(run, validation, others)
    yield from _settings(run)


def _summary(run: Run, rows: Sequence[Mapping[str, Any]]) -> Iterable[object]:
    wanted, inputs = run.wanted, run.inputs
    state = "Complete" if run.status == "complete" else f"{len(rows)} of {wanted} epochs done"
    score = ""
    if not math.isnan(run.miou):
        last = next((row["miou_interval"] for row in reversed(rows) if row.get("miou_interval")), None)
        found = run.scores.get("miou_interval") or last
        between = f", 95 % interval {found[0]:.4f} to {found[1]:.4f}" if found and None not in found else ""
        other = without_background(run.iou.values())
        score = f" Validation mIoU {run.miou:.4f}{between}; {other:.4f} without background."
    yield paragraph(f"{state}.{score}", css="lead")
    if finds_almost_nothing(run.iou.values()):
        yield paragraph(f"Validation mIoU {miou_text(run.miou, run.iou.values())}.", css="warning")
    device = run.manifest.get("device")
    facts = [
        f"{inputs.get('training_images')} images to train on, {inputs.get('validation_images')} to validate on",
        f"recipe {run.manifest.get('recipe')}" if run.manifest.get("recipe") else "",
        f"{device.get('processes')} x {device.get('name')}" if device else "",
        f"started {run.manifest.get('started')}",
        f"{rows[-1]['seconds'] / 60:.1f} minutes" if rows and rows[-1].get("seconds") is not None else "",
    ]
    yield paragraph("; ".join(fact for fact in facts if fact), css="note")


def _choice(run: Run) -> Iterable[object]:
    choice = run.manifest.get("choice")
    if not choice:
        return
    yield paragraph(f"Checkpoint used: {choice['chosen']} ({choice['reason']}).")
    if choice.get("margin") is not None:
        text = f"Difference to the best other candidate: {choice['margin']:+.4f} mIoU"
        yield paragraph(f"{text}, 95 % interval {_span(choice.get('margin_interval'), sign=True)}.", css="note")
    body = [
        [
            one["name"],
            one["what"],
            one["miou"],
            one.get("miou_without_background"),
            _span(one.get("interval")),
            one.get("difference"),
            _span(one.get("difference_interval"), sign=True),
        ]
        for one in choice["candidates"]
    ]
    columns = ["checkpoint", "what", "mIoU", "without background", "95 %", "difference", "95 % (paired)"]
    yield collapsible(f"{len(body)} candidate checkpoints", [table(columns, body)])


def _span(values: Sequence[float | None] | None, *, sign: bool = False) -> str:
    if not values or values[0] is None or values[1] is None:
        return "–"
    form = "{:+.4f} to {:+.4f}" if sign else "{:.4f} to {:.4f}"
    return form.format(*values)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[key])) for row in rows if isinstance(row.get(key), int | float)]


def _present_series(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    """Series by name, of the keys that the rows have."""
    found = {name: _series(rows, key) for name, key in keys.items()}
    return {name: one for name, one in found.items() if one}


def _spec(run: Run) -> RunSpec | None:
    """The network of a run; None where its manifest does not describe one."""
    try:
        return run.spec
    except TrashkitError:
        return None


def _curves(run: Run, rows: Sequence[Mapping[str, Any]]) -> Iterable[object]:
    scores = {"moving average": _series(rows, "miou"), "smoothed": _series(rows, "smoothed")}
    others = [(float(row["epoch"]), without_background(row["iou"].values())) for row in rows if row.get("iou")]
    scores["without background"] = [(epoch, other) for epoch, other in others if not math.isnan(other)]
    for n, name in enumerate(("lower end, 95 %", "upper end, 95 %")):
        ends = [(float(row["epoch"]), row["miou_interval"][n]) for row in rows if row.get("miou_interval")]
        scores[name] = [(epoch, end) for epoch, end in ends if end is not None]
    charts = [
        lines("Loss", _present_series(rows, {"segmentation": "loss", "class presence": "presence_loss"}), x="epochs"),
        lines("Learning rate", _present_series(rows, {"decoder": "lr", "encoder": "lr_encoder"}), x="epochs"),
    ]
    if scores["moving average"]:
        charts.append(lines("Validation mIoU", scores, x="epochs"))
    spec = _spec(run)
    names = spec.class_names if spec is not None and any(row.get("iou") for row in rows) else ()
    colors = dict(zip(names, _class_colors(len(names)), strict=True))
    for start in range(0, len(names), _LINES):
        part = names[start : start + _LINES]
        found = {name: _class_series(rows, name) for name in part}
        shown = {name: one for name, one in found.items() if one}
        charts.append(lines("IoU by class", shown, x="epochs", colors=colors))
    yield join(charts)


def _class_colors(count: int) -> list[str]:
    """CSS colours of classes in charts: as on photos, and grey for the background, which is not drawn there."""
    return ["#999", *(rgb(color) for color in shown_colors(count)[1:])][:count]


def _class_series(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    found = [(float(row["epoch"]), (row.get("iou") or {}).get(name)) for row in rows]
    return [(epoch, float(value)) for epoch, value in found if value is not None]


def _classes(validation: Validation) -> Iterable[object]:
    pooled = Confusion(validation.per_image.sum(axis=0), validation.names)
    drawn = bootstrap_iou(validation.per_image)
    images = (validation.per_image.sum(axis=2) > 0).sum(axis=0)
    values, precision, recall, support = pooled.iou(), pooled.precision(), pooled.recall(), pooled.support()
    colors = _class_colors(len(validation.names))
    yield bars(
        f"IoU on {len(validation.per_image)} validation images, mean {miou_text(pooled.miou(), values.tolist())}",
        [(name, float(value), colors[n]) for n, (name, value) in enumerate(zip(validation.names, values, strict=True))],
        longest=1.0,
    )
    body = []
    for n, name in enumerate(validation.names):
        low, high = interval(drawn[:, n])
        few = "few images, so the interval is too narrow" if 0 < images[n] < 5 else ""
        if not images[n]:
            few = "in no validation image" + (", but predicted in some" if pooled.matrix[:, n].any() else "")
        body.append(
            [
                name,
                None if math.isnan(values[n]) else float(values[n]),
                _span([low, high]) if not math.isnan(low) else "–",
                None if math.isnan(precision[n]) else float(precision[n]),
                None if math.isnan(recall[n]) else float(recall[n]),
                int(images[n]),
                f"{support[n] / max(1, support.sum()):.2%}",
                few,
            ]
        )
    yield table(["class", "IoU", "95 %", "precision", "recall", "images", "share of pixels", ""], body)


def _confusion(validation: Validation) -> Iterable[object]:
    pooled = validation.per_image.sum(axis=0)
    support = pooled.sum(axis=1, keepdims=True)
    shares = np.where(support > 0, pooled / np.maximum(support, 1), np.nan)
    yield matrix(
        "Rows: truth. Columns: prediction. Share of each true class's pixels",
        shares,
        validation.names,
        validation.names,
    )
    wrong = pooled.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    total = max(1, int(pooled.sum()))
    pairs = [divmod(int(place), len(validation.names)) for place in order]
    body = [[validation.names[a], validation.names[b], f"{wrong[a, b] / total:.2%}"] for a, b in pairs if wrong[a, b]]
    yield collapsible("The largest confusions", [table(["truth", "prediction", "share of all pixels"], body)])


def _image_table(validation: Validation) -> Iterable[object]:
    scores = [Confusion(one, validation.names).miou() for one in validation.per_image]
    order = sorted((score, name) for score, name in zip(scores, validation.files, strict=True) if not math.isnan(score))
    yield collapsible("Images with the lowest mIoU", [table(["image", "mIoU"], [[n, s] for s, n in order[:20]])])


def _predictions(run: Run, dataset: Dataset, photos: Path, progress: Progress) -> Iterable[object]:
    store = open_store(run.path / OOF)
    order: PaintOrder = (run.manifest.get("settings") or {}).get("data", {}).get("paint_order", "area")
    scores = score_store(store, dataset, order, progress)
    yield heading("Calibration")
    yield from _calibration(scores.calibration)
    yield heading("Errors")
    pooled = Confusion(scores.per_image.sum(axis=0), dataset.classes.names)
    yield from error_tables(scores.errors, pooled, store.file_names)
    yield heading("Photos")
    yield paragraph(
        "Best and worst photos, and for each class those with most missed and false positive pixels: truth on the "
        "left, prediction on the right.",
        css="note",
    )
    names = dataset.classes.names
    yield color_key(dict(list(zip(names, dataset.classes.shown_colors, strict=True))[1:]))
    selected = select_photos(scores.per_image, names, EACH if len(names) <= MOST_CLASSES else EACH // 2)
    made: list[Card] = cards(selected, store, dataset, photos, order=order, progress=progress)
    yield gallery(made)


def _calibration(found: Calibration) -> Iterable[object]:
    confidence, accuracy = found.mean_confidence(), found.accuracy()
    points = [(float(a), float(b)) for a, b in zip(confidence, accuracy, strict=True) if not math.isnan(a)]
    low = points[0][0] if points else 0.0
    chart = lines(
        "Reliability: accuracy by confidence",
        {"this run": points, "perfect": [(low, low), (1.0, 1.0)]},
        x="confidence",
    )
    over = float((found.confidence - found.right).sum() / max(1, found.pixels.sum()))
    word = "overconfident" if over > 0 else "underconfident"
    yield chart
    yield paragraph(
        f"Expected calibration error {found.error():.4f} in {len(confidence)} bins; "
        f"on average {word} by {abs(over):.4f}."
    )


def _comparison(run: Run, validation: Validation | None, others: Sequence[Run]) -> Iterable[object]:
    names = _names([run, *others])
    body = [[names[0], "this run", run.miou, without_background(run.iou.values()), "–", "–", run.epochs, ""]]
    for name, other in zip(names[1:], others, strict=True):
        theirs = read_validation(other.path)
        same = (
            validation is not None
            and theirs is not None
            and validation.files == theirs.files
            and validation.names == theirs.names
        )
        difference, between = None, "different validation images"
        if same and validation is not None and theirs is not None:
            drawn = bootstrap_miou_difference(validation.per_image, theirs.per_image)
            difference = float(
                Confusion(theirs.per_image.sum(axis=0), theirs.names).miou()
                - Confusion(validation.per_image.sum(axis=0), validation.names).miou()
            )
            between = _span(interval(drawn), sign=True)
        old, new = (_settings_of(one) for one in (run, other))
        changed = "; ".join(differences(old, new)) or "the same settings"
        without = without_background(other.iou.values())
        body.append([name, other.state, other.miou, without, difference, between, other.epochs, changed])
    columns = ["run", "status", "validation mIoU", "without background", "difference", "95 % (paired)"]
    columns += ["epochs", "settings"]
    yield table(columns, body)


def _names(found: Sequence[Run]) -> list[str]:
    """Paths of runs relative to their common folder."""
    paths = [real_path(run.path) for run in found]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return [str(path.relative_to(shared)) for path in paths]


def _settings_of(run: Run) -> dict[str, Any]:
    """The settings of a run, and its number of processes, each of which has a batch of that size."""
    device = run.manifest.get("device")
    processes = device.get("processes") if device else None
    return {**(run.manifest.get("settings") or {}), "processes": processes}


def _settings(run: Run) -> Iterable[object]:
    try:
        text = read_text(run.path / SETTINGS)
    except (OSError, ContentError):
        return
    yield collapsible("Settings", [Html("<pre>"), text, Html("</pre>")])
    command = run.manifest.get("command")
    if command:
        yield collapsible("Command line", [Html("<pre>"), str(command), Html("</pre>")])
