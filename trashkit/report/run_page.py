"""One page about a run: curves, classes, confusion, calibration, photos, and how it compares with other runs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.files import write_text
from trashkit.masks import PaintOrder
from trashkit.progress import Progress, silent
from trashkit.report.calibration import Calibration
from trashkit.report.html import (
    Card,
    Html,
    bars,
    color_key,
    folded,
    gallery,
    heading,
    join,
    lines,
    matrix,
    page,
    paragraph,
    rgb,
    table,
)  # fmt: skip
from trashkit.report.overlay import shown_color
from trashkit.report.run_errors import EACH, cards, choose, judge
from trashkit.run import Run, Validation, differences, find_runs, read_metrics, read_validation
from trashkit.run_folder import OOF, REPORT, SETTINGS  # fmt: skip
from trashkit.scores import Confusion, bootstrap_iou, bootstrap_miou_difference, interval
from trashkit.store import open_store

REFRESH = 20
"""Seconds after which the page of a run that is not complete loads itself again."""
MOST_CLASSES = 12
"""Of more classes, fewer photos each are shown."""
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
    """Write ``report.html`` of a run as far as it has come, and return its path.

    dataset, photos: what it was validated on; without them, or before out-of-fold probabilities are there, calibration
    and photos are left out. others: runs to compare with. out: another file to write.
    """
    path = out or run.path / REPORT
    unfinished = run.status != "complete"
    pieces = list(_pieces(run, dataset, photos, others, progress))
    write_text(path, page(f"Run {run.path.name}", pieces, refresh=REFRESH if unfinished else 0), overwrite=True)
    return path


def siblings(run: Run) -> list[Run]:
    """Other runs on the same data beside this one, in the folder that holds its folder; others are not looked at."""
    try:
        found = find_runs(run.path.parent)
    except (OSError, TrashkitError):
        return []
    data = [(one.manifest.get("identity") or {}).get("data") for one in (run, *found)]
    return [
        other
        for other, theirs in zip(found, data[1:], strict=True)
        if other.path.parent == run.path.parent and other.path.resolve() != run.path.resolve() and theirs == data[0]
    ]


def _pieces(
    run: Run, dataset: Dataset | None, photos: Path | None, others: Sequence[Run], progress: Progress
) -> Iterable[object]:
    rows, seen = read_metrics(run.path), read_validation(run.path)
    yield from _lead(run, rows)
    yield from _choice(run)
    if rows:
        yield heading("Training")
        yield from _curves(run, rows)
    if seen is not None:
        yield heading("Classes")
        yield from _classes(run, seen)
        yield heading("Confusion")
        yield from _confusion(seen)
    if dataset is not None and photos is not None and run.status == "complete" and (run.path / OOF).exists():
        yield from _predictions(run, dataset, photos, progress)
    elif seen is not None:
        yield heading("Images")
        yield paragraph("Photos with truth and prediction, and calibration, come when the run is complete.", css="note")
        yield from _image_table(seen)
    if others:
        yield heading("Other runs")
        yield from _comparison(run, seen, others)
    yield from _settings(run)


def _lead(run: Run, rows: Sequence[Mapping[str, Any]]) -> Iterable[object]:
    wanted, inputs = run.wanted, run.manifest.get("inputs") or {}
    state = "complete" if run.status == "complete" else f"{len(rows)} of {wanted} epochs done"
    score = ""
    if not math.isnan(run.miou):
        found = run.scores.get("miou_interval") or (rows[-1].get("miou_interval") if rows else None)
        between = f", 95 % interval {found[0]:.4f} to {found[1]:.4f}" if found and None not in found else ""
        score = f" Validation mIoU {run.miou:.4f}{between}."
    yield paragraph(f"{state}.{score}", css="lead")
    device = run.manifest.get("device") or {}
    facts = [
        f"{inputs.get('training_images')} images to train on, {inputs.get('validation_images')} to validate on",
        f"recipe {run.manifest.get('recipe')}" if run.manifest.get("recipe") else "",
        f"{device.get('processes')} x {device.get('name')}" if device else "",
        f"started {run.manifest.get('started')}",
        f"{rows[-1]['seconds'] / 60:.1f} minutes" if rows else "",
    ]
    yield paragraph("; ".join(fact for fact in facts if fact), css="note")


def _choice(run: Run) -> Iterable[object]:
    choice = run.manifest.get("choice")
    if not choice:
        return
    yield paragraph(f"Used with checkpoint {choice['chosen']}: {choice['reason']}.")
    if choice.get("margin") is not None:
        text = f"Against the best of the other candidates: {choice['margin']:+.4f} mIoU"
        yield paragraph(f"{text}, 95 % interval {_span(choice['margin_interval'], sign=True)}.", css="note")
    body = [
        [
            one["name"],
            one["what"],
            one["miou"],
            _span(one.get("interval")),
            one.get("difference"),
            _span(one.get("difference_interval"), sign=True),
        ]
        for one in choice["candidates"]
    ]
    columns = ["checkpoint", "what", "mIoU", "95 %", "difference", "95 % (paired)"]
    yield folded(f"{len(body)} candidates for its weights", [table(columns, body)])


def _span(values: Sequence[float | None] | None, *, sign: bool = False) -> str:
    if not values or values[0] is None or values[1] is None:
        return "–"
    form = "{:+.4f} to {:+.4f}" if sign else "{:.4f} to {:.4f}"
    return form.format(*values)


def _series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(float(row["epoch"]), float(row[key])) for row in rows if isinstance(row.get(key), int | float)]


def _there(rows: Sequence[Mapping[str, Any]], keys: Mapping[str, str]) -> dict[str, list[tuple[float, float]]]:
    """Series by their names, of those keys that the rows have."""
    found = {name: _series(rows, key) for name, key in keys.items()}
    return {name: one for name, one in found.items() if one}


def _curves(run: Run, rows: Sequence[Mapping[str, Any]]) -> Iterable[object]:
    scores = {"moving average": _series(rows, "miou"), "smoothed": _series(rows, "smoothed")}
    for n, name in enumerate(("lower end, 95 %", "upper end, 95 %")):
        ends = [(float(row["epoch"]), row["miou_interval"][n]) for row in rows if row.get("miou_interval")]
        scores[name] = [(epoch, end) for epoch, end in ends if end is not None]
    charts = [
        lines("Loss", _there(rows, {"of labels": "loss", "of which classes are seen": "presence_loss"}), x="epochs"),
        lines("Learning rate", _there(rows, {"decoder": "lr", "encoder": "lr_encoder"}), x="epochs"),
    ]
    if scores["moving average"]:
        charts.append(lines("Validation mIoU", scores, x="epochs"))
    names = [
        name for name in run.manifest.get("model", {}).get("class_names", []) if any(row.get("iou") for row in rows)
    ]
    for start in range(0, len(names), _LINES):
        part = names[start : start + _LINES]
        found = {name: _class_series(rows, name) for name in part}
        charts.append(lines("IoU by class", {name: one for name, one in found.items() if one}, x="epochs"))
    yield join(charts)


def _class_series(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    found = [(float(row["epoch"]), (row.get("iou") or {}).get(name)) for row in rows]
    return [(epoch, float(value)) for epoch, value in found if value is not None]


def _classes(run: Run, seen: Validation) -> Iterable[object]:
    pooled = Confusion(seen.per_image.sum(axis=0), seen.names)
    drawn = bootstrap_iou(seen.per_image)
    images = (seen.per_image.sum(axis=2) > 0).sum(axis=0)
    values, precision, recall, support = pooled.iou(), pooled.precision(), pooled.recall(), pooled.support()
    found = [tuple(color) for color in run.manifest.get("model", {}).get("class_colors", [])]
    colors = [rgb(shown_color(color)) for color in found] or ["#2f7ed8"] * len(seen.names)
    yield bars(
        f"IoU on {len(seen.per_image)} validation images, mean {pooled.miou():.4f}",
        [(name, float(value), colors[n]) for n, (name, value) in enumerate(zip(seen.names, values, strict=True))],
        longest=1.0,
    )
    body = []
    for n, name in enumerate(seen.names):
        low, high = interval(drawn[:, n])
        few = "few images: the interval is too narrow" if 0 < images[n] < 5 else ""
        if not images[n]:
            few = "in no validation image" + (", and seen in some in error" if pooled.matrix[:, n].any() else "")
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


def _confusion(seen: Validation) -> Iterable[object]:
    pooled = seen.per_image.sum(axis=0)
    support = pooled.sum(axis=1, keepdims=True)
    shares = np.where(support > 0, pooled / np.maximum(support, 1), np.nan)
    yield matrix("Rows: truth. Columns: prediction. Share of each true class's pixels", shares, seen.names, seen.names)
    wrong = pooled.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    total = max(1, int(pooled.sum()))
    pairs = [divmod(int(place), len(seen.names)) for place in order]
    body = [[seen.names[a], seen.names[b], f"{wrong[a, b] / total:.2%}"] for a, b in pairs if wrong[a, b]]
    yield folded("The largest confusions", [table(["truth", "prediction", "share of all pixels"], body)])


def _image_table(seen: Validation) -> Iterable[object]:
    scores = [Confusion(one, seen.names).miou() for one in seen.per_image]
    order = sorted((score, name) for score, name in zip(scores, seen.files, strict=True) if not math.isnan(score))
    yield folded("Images with the lowest mIoU", [table(["image", "mIoU"], [[n, s] for s, n in order[:20]])])


def _predictions(run: Run, dataset: Dataset, photos: Path, progress: Progress) -> Iterable[object]:
    store = open_store(run.path / OOF)
    order: PaintOrder = (run.manifest.get("settings") or {}).get("data", {}).get("paint_order", "area")
    judged = judge(store, dataset, order, progress)
    yield heading("Calibration")
    yield from _calibration(judged.calibration)
    yield heading("Photos")
    yield paragraph(
        "Best and worst photos, and for each class those where most of its pixels are missed or seen in error: truth "
        "on the left, prediction on the right.",
        css="note",
    )
    names = dataset.classes.names
    shown = map(shown_color, dataset.classes.colors)
    yield color_key(dict(list(zip(names, shown, strict=True))[1:]))
    chosen = choose(judged.per_image, names, EACH if len(names) <= MOST_CLASSES else EACH // 2)
    made: list[Card] = cards(chosen, store, dataset, photos, order=order, progress=progress)
    yield gallery(made)


def _calibration(found: Calibration) -> Iterable[object]:
    sure, right = found.mean_confidence(), found.accuracy()
    points = [(float(a), float(b)) for a, b in zip(sure, right, strict=True) if not math.isnan(a)]
    low = points[0][0] if points else 0.0
    chart = lines(
        "Reliability: share of right pixels by confidence",
        {"this run": points, "perfect": [(low, low), (1.0, 1.0)]},
        x="confidence",
    )
    over = float((found.confidence - found.right).sum() / max(1, found.pixels.sum()))
    word = "more sure than right" if over > 0 else "less sure than right"
    yield chart
    yield paragraph(
        f"Expected calibration error {found.error():.4f} in {len(sure)} bins; on average {abs(over):.4f} {word}."
    )


def _comparison(run: Run, seen: Validation | None, others: Sequence[Run]) -> Iterable[object]:
    names = _names([run, *others])
    body = [[names[0], "this run", _known(run.miou), "–", "–", run.epochs, ""]]
    for name, other in zip(names[1:], others, strict=True):
        theirs = read_validation(other.path)
        same = seen is not None and theirs is not None and seen.files == theirs.files and seen.names == theirs.names
        difference, between = None, "other validation images"
        if same and seen is not None and theirs is not None:
            drawn = bootstrap_miou_difference(seen.per_image, theirs.per_image)
            difference = float(
                Confusion(theirs.per_image.sum(axis=0), theirs.names).miou()
                - Confusion(seen.per_image.sum(axis=0), seen.names).miou()
            )
            between = _span(interval(drawn), sign=True)
        old, new = (_told(one) for one in (run, other))
        changed = "; ".join(differences(old, new)) or "the same settings"
        body.append([name, other.state, _known(other.miou), difference, between, other.epochs, changed])
    columns = ["run", "status", "validation mIoU", "difference", "95 % (paired)", "epochs", "settings"]
    yield table(columns, body)


def _names(found: Sequence[Run]) -> list[str]:
    """Paths of runs from the folder on that holds them all."""
    paths = [run.path.resolve() for run in found]
    shared = Path(os.path.commonpath([path.parent for path in paths]))
    return [str(path.relative_to(shared)) for path in paths]


def _told(run: Run) -> dict[str, Any]:
    """What a run was told, and on how many processes: each has a batch of its own."""
    processes = (run.manifest.get("device") or {}).get("processes")
    return {**(run.manifest.get("settings") or {}), "processes": processes}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _settings(run: Run) -> Iterable[object]:
    try:
        text = (run.path / SETTINGS).read_text(encoding="utf-8")
    except OSError:
        return
    yield folded("Settings", [Html("<pre>"), text, Html("</pre>")])
    command = run.manifest.get("command")
    if command:
        yield folded("Command line", [Html("<pre>"), str(command), Html("</pre>")])
