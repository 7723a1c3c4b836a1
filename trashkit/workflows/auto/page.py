"""The page of `trashkit auto`: data, plan, scores, what was tried and what it gained, pictures, and how to go on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trashkit.audit.registry import checks
from trashkit.coco.classes import shown_colors
from trashkit.errors import TrashkitError
from trashkit.images.photos import read_photo
from trashkit.metrics.scores import DEFINITIONS, bootstrap_iou, bootstrap_miou, interval
from trashkit.metrics.summary import NOTHING_FOUND, finds_almost_nothing
from trashkit.outputs import write_text
from trashkit.progress import Progress, silent
from trashkit.report import html
from trashkit.report.error_tables import error_tables
from trashkit.report.overlay import Pixels
from trashkit.workflows.auto.options import OPTIONS, predictions
from trashkit.workflows.auto.plan import PAGE, Plan, read_plan
from trashkit.workflows.auto.record import DECIDED, Entry, Record, decided_options
from trashkit.workflows.auto.run import in_words
from trashkit.workflows.auto.steps import all_steps, labelled_photos
from trashkit.workflows.score import FileScores, ScoringOptions, score_files

SHOWN, SIDE = 12, 640
"""Number of overlays on the page, and their longest side in pixels."""
IN_TRUTH, WITHOUT = "pooled_present_in_truth", "pooled_no_background"


@dataclass(frozen=True)
class AutoPage:
    """A written page, and the out-of-fold scores on it; interval: 95 % of the mIoU of the classes in the truth."""

    path: Path
    miou: float
    miou_in_truth: float
    miou_without_background: float
    interval: tuple[float, float]


def write_auto_page(out: Path, *, progress: Progress = silent) -> AutoPage:
    """Write ``index.html`` in a folder of `trashkit auto`, about what is done there.

    Raises TrashkitError before the networks are trained and scored.
    """
    plan, record = read_plan(out), Record(out).steps
    if "score" not in record:
        raise TrashkitError(f"{out} has no scores yet", hint=f"trashkit auto --resume --out {out}")
    decided = decided_options(record)
    taken = {name: value for name, value in decided.items() if value is not None}
    options, photos = ScoringOptions(classes=plan.request.classes, errors=True), labelled_photos(plan)
    before = score_files([predictions(plan, photos, {}).paths[0]], plan.fixed, options, progress=progress)
    after = before
    if taken:
        after = score_files([predictions(plan, photos, taken).paths[0]], plan.fixed, options, progress=progress)
    pieces = [
        *_summary(plan, record, after),
        *_scores(plan, before, after, changed=bool(taken)),
        *_tried(plan, record),
        *_pictures(plan, record),
        *_data(record),
        *_plan(plan, record, decided),
        *_files(plan),
    ]
    write_text(out / PAGE, html.page(f"trashkit auto: {plan.request.data.name}", pieces), overwrite=True)
    found = after.evaluation.definitions()
    return AutoPage(out / PAGE, after.miou, found[IN_TRUTH], found[WITHOUT], _intervals(after)[IN_TRUTH])


# --- scores ----------------------------------------------------------------------------------------------------------


def _intervals(scores: FileScores) -> dict[str, tuple[float, float]]:
    matrices = scores.evaluation.per_image
    bare = bootstrap_iou(matrices)[:, 1:]
    known = ~np.isnan(bare)
    mean = np.where(known, bare, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return {
        "pooled": scores.interval,
        IN_TRUTH: interval(bootstrap_miou(matrices, in_truth=True)),
        WITHOUT: interval(np.where(known.any(axis=1), mean, np.nan)),
    }


def _summary(plan: Plan, record: Mapping[str, Entry], scores: FileScores) -> Iterable[object]:
    found = scores.evaluation.definitions()
    iou = scores.evaluation.confusion.iou().tolist()
    low, high = _intervals(scores)[IN_TRUTH]
    verdict = f" That means: {NOTHING_FOUND}." if finds_almost_nothing(iou) else ""
    yield html.paragraph(
        f"mIoU {found[IN_TRUTH]:.3f} on photos that the networks had not seen (95 %: {low:.3f} to {high:.3f}), "
        f"{found[WITHOUT]:.3f} without background.{verdict}",
        css="lead",
    )
    seconds = plan.planned + sum(entry["seconds"] for entry in record.values())
    facts = [
        f"{plan.inputs.labelled} labelled photos",
        f"{plan.inputs.extra} photos of other data sets" if plan.inputs.extra else "",
        f"{plan.inputs.unlabelled} photos to predict",
        f"{plan.choices.folds} networks of {' and '.join(plan.choices.recipes)} at {plan.choices.size} px",
        f"{in_words(seconds)} of {plan.request.minutes:g} minutes",
        f"planned {plan.made[:16].replace('T', ' ')} UTC",
    ]
    yield html.paragraph("; ".join(fact for fact in facts if fact), css="note")


def _scores(plan: Plan, before: FileScores, after: FileScores, *, changed: bool) -> Iterable[object]:
    yield html.heading("Scores, out of fold")
    yield html.paragraph(
        "Each labelled photo is predicted by the one network that did not train on it. Photos without labels are "
        f"predicted by the mean of all {plan.choices.folds}, which is usually better than these scores."
    )
    columns = ["mIoU", "as trained", "95 %"] + (["with what was taken", "95 %"] if changed else [])
    rows = []
    for name, what in (
        (IN_TRUTH, "of the classes in the truth"),
        ("pooled", DEFINITIONS["pooled"].partition(";")[0] + ", classes that are only predicted count 0"),
        (WITHOUT, "the same without background"),
    ):
        row: list[object] = [what]
        for one in (before, after)[: 1 + changed]:
            row += [_three(one.evaluation.definitions()[name]), _span(_intervals(one)[name])]
        rows.append(row)
    yield html.table(columns, rows)
    found = after.evaluation
    names, pooled = found.names, found.confusion
    images = (found.per_image.sum(axis=2) > 0).sum(axis=0).tolist()
    colors = ["#999", *(html.rgb(color) for color in shown_colors(len(names))[1:])]
    shown = [n for n, value in enumerate(pooled.iou().tolist()) if not math.isnan(value)]
    yield html.bars(
        "IoU of each class", [(names[n], float(pooled.iou()[n]), colors[n]) for n in shown], form="{:.3f}", longest=1.0
    )
    precision, recall = pooled.precision().tolist(), pooled.recall().tolist()
    body = [
        [
            names[n],
            _three(pooled.iou().tolist()[n]),
            _span(after.class_intervals[n]),
            _three(precision[n]),
            _three(recall[n]),
            images[n],
            "few photos: no more than a hint" if 0 < images[n] < 5 else "" if images[n] else "no labelled photo has it",
        ]
        for n in shown
    ]
    yield html.table(["class", "IoU", "95 %", "precision", "recall", "photos", ""], body)
    kept = [n for n in shown if pooled.support()[n]]
    matrix = pooled.matrix[np.ix_(kept, shown)].astype(float)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    title = "Confusion. Rows: truth. Columns: prediction. Share of each true class's pixels"
    yield html.matrix(title, shares, [names[n] for n in kept], [names[n] for n in shown])
    if found.errors is not None:
        yield html.heading("Where the score is lost")
        yield from error_tables(found.errors, pooled, after.files)


def _three(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _span(values: Sequence[float], form: str = "{:.3f} to {:.3f}") -> str:
    return "–" if any(math.isnan(value) for value in values) else form.format(*values)


# --- what was tried --------------------------------------------------------------------------------------------------


def _tried(plan: Plan, record: Mapping[str, Entry]) -> Iterable[object]:
    yield html.heading("What was tried")
    yield html.paragraph(
        "Each row is tried on top of those above that were taken. Where there are several values, the best is chosen "
        "on all folds but one and judged on that one, in turn. It is taken if the 95 % interval of its gain, over "
        "resampled photos, lies above 0."
    )
    rows: list[list[object]] = []
    for option in OPTIONS:
        entry = record.get(f"{DECIDED}{option.name}")
        if option.name in plan.skipped:
            rows.append([option.title, option.why, "–", "–", "–", f"not tried: {plan.skipped[option.name]}"])
        elif entry is not None:
            found = entry["result"]
            values = ", ".join(
                f"{value}: {_three(miou)}" for value, miou in zip(option.values, found["candidates"], strict=True)
            )
            taken = f"taken, {found['value']}" if found["taken"] else "not taken: within the noise"
            if not found["taken"] and found["interval"][1] < 0:
                taken = "not taken: it is worse"
            gain = f"{found['gain']:+.4f}"
            span = _span(found["interval"], "{:+.4f} to {:+.4f}")
            rows.append([option.title, option.why, f"{_three(found['base'])} → {values}", gain, span, taken])
    columns = ["step", "what it does", "mIoU without → with each value", "gain, judged", "95 %", ""]
    yield html.table(columns, rows)


# --- pictures, data, plan --------------------------------------------------------------------------------------------


def _pictures(plan: Plan, record: Mapping[str, Entry]) -> Iterable[object]:
    files = sorted((plan.out / "overlays").glob("*.jpg")) if "overlays" in record else []
    if not files:
        return
    chosen = [files[n] for n in sorted({round(n) for n in np.linspace(0, len(files) - 1, min(SHOWN, len(files)))})]
    yield html.heading("Predicted photos")
    yield html.paragraph(f"{len(chosen)} of {len(files)}; all are in {plan.out / 'overlays'}.", css="note")
    yield html.gallery([html.Card(path.stem, html.picture(_small(path), alt=path.stem)) for path in chosen])


def _small(path: Path) -> Pixels:
    photo = read_photo(path)
    scale = SIDE / max(photo.shape[:2])
    if scale >= 1:
        return photo
    size = (max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale)))
    return np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8)


def _data(record: Mapping[str, Entry]) -> Iterable[object]:
    yield html.heading("Labels")
    summary: Mapping[str, Any] = record["audit"]["result"].get("summary", {}) if "audit" in record else {}
    counts = summary.get("by_severity", {})
    found = ", ".join(f"{counts.get(name, 0)} {name}" for name in ("error", "warning", "info"))
    fixed = record["fix"]["result"] if "fix" in record else {}
    back = fixed.get("summary", {}).get("kept_back", 0)
    more = f"; {back} more are unsafe, and are applied with --unsafe" if back else ""
    yield html.paragraph(f"Findings of the audit: {found}. {fixed.get('edits', 0)} fixes applied{more}.")
    codes = summary.get("by_code", {})
    if codes:
        titles = {code: check.title.rstrip(".,") for code, check in checks().items()}
        most = sorted(codes.items(), key=lambda one: -one[1])[:20]
        yield html.table(["check", "what it finds", "findings"], [[code, titles.get(code, ""), n] for code, n in most])
    yield html.paragraph(html.Html('<a href="audit.html">The audit, finding by finding</a>'))


def _plan(plan: Plan, record: Mapping[str, Entry], decided: Mapping[str, str | None]) -> Iterable[object]:
    yield html.heading("The plan, and how long it took")
    yield html.table(["choice", "value", "why"], [[one.what, one.value, one.why] for one in plan.choices.reasons])
    rows: list[list[object]] = [["plan", "read the inputs, time a few training steps", "–", in_words(plan.planned)]]
    steps = [step for step in all_steps(plan, decided) if step.name != "page"]
    for step in steps:
        took = in_words(record[step.name]["seconds"]) if step.name in record else "–"
        rows.append([step.name, step.why, in_words(step.seconds), took])
    yield html.table(["step", "what for", "expected", "took"], rows)
    typed = "\n".join(step.typed(plan.request.launch) for step in steps)
    yield html.collapsible("All commands, as they can be typed", [html.Html("<pre>"), typed, html.Html("</pre>")])


def _files(plan: Plan) -> Iterable[object]:
    out, request = plan.out, plan.request
    rows: list[tuple[Path, str]] = [
        (plan.fixed, "the labels as they were trained on"),
        (out / "edits.jsonl", "every change to them; `trashkit edits invert` undoes it"),
        (plan.split, "the folds"),
        *((plan.networks(recipe), f"networks of {recipe}, with a report.html each") for recipe in plan.choices.recipes),
        (out / "overlays", "predicted photos"),
        (out / "submission.csv", "the submission, checked"),
        (out / "plan.json", "the plan"),
    ]
    yield html.heading("Files")
    yield html.table(["", ""], [[str(path), what] for path, what in rows if path.exists()])
    yield html.heading("How to go on")
    networks = plan.networks(plan.choices.recipes[0])
    yield html.table(
        ["for", "type"],
        [
            ["other photos", f"trashkit predict {networks} PHOTO... --overlay seen"],
            ["what is left to correct", f"trashkit review {plan.fixed} --images {request.images} --edits review.jsonl"],
            [
                "labels that networks doubt",
                f"trashkit audit {plan.fixed} --images {request.images} --predictions {out}",
            ],
            ["new photos, or new labels", f"trashkit auto --resume --out {out}"],
        ],
    )
