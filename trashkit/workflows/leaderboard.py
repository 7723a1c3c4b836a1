"""Record submissions in a ledger with their validation, and assess a ledger with the split that it was validated on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trashkit.coco import OFFICIAL_NAMES, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.leaderboard import ledger as ledgers
from trashkit.leaderboard.assessment import Assessment, assess
from trashkit.leaderboard.comparable import comparable_entries
from trashkit.leaderboard.evidence import (
    evidence_files,
    evidence_folder,
    evidence_from,
    evidence_key,
    predicted_pixels,
    write_evidence,
)
from trashkit.leaderboard.ledger import (
    Entry,
    Ledger,
    RunReference,
    SplitReference,
    ValidationRecord,
    check_scores,
    read_ledger,
    same_evidence,
)
from trashkit.leaderboard.score_only import use_scores_only
from trashkit.metrics.evaluate import evaluate_parts, require_labels
from trashkit.predictions.reading import open_predictions, out_of_fold
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.progress import Log, Progress, discard, silent
from trashkit.raster.masks import PaintOrder
from trashkit.split.adversarial_validation import distinguishable
from trashkit.split.files import Split, load_split
from trashkit.submit import trace


@dataclass(frozen=True)
class SubmissionDetails:
    """What is recorded with a submission, named as the options of ``trashkit leaderboard add``.

    public, private: scores. run: a run folder or any name. name: short name, by default that of the file. split: the
    split file of the run. oof: out-of-fold predictions, by default those of `run`, scored against the annotations
    `truth` at `size` pixels. validation: validation score if there are no such predictions. order, classes: as in the
    scoring of predictions.
    """

    public: float | None = None
    private: float | None = None
    run: str = ""
    name: str = ""
    split: Path | None = None
    oof: Path | None = None
    truth: Path | None = None
    validation: float | None = None
    size: int = 256
    order: PaintOrder = "area"
    classes: str | None = None


@dataclass(frozen=True)
class Recorded:
    """Result of `record_submission`. old: the entry as it was before, None for a new submission."""

    entry: Entry
    old: Entry | None


def record_submission(
    csv: Path,
    ledger: Path,
    details: SubmissionDetails,
    *,
    progress: Progress = silent,
    log: Log = discard,
    warn: Log = discard,
) -> Recorded:
    """Append a submission to a ledger, or new information about a recorded one, with its evidence.

    If the submission is refused, no evidence file is left behind. TrashkitError for a missing file, invalid scores, and
    a recorded submission without new information (`trashkit.leaderboard.ledger.append`).
    """
    if not csv.is_file():
        raise TrashkitError(f"there is no file {csv}", hint="give the submission CSV")
    digest, now = sha256(csv), datetime.now(UTC).isoformat(timespec="seconds")
    held = read_ledger(ledger)
    old = held.find(digest)
    entry = Entry(details.name or csv.stem, str(csv.absolute()), digest, now, details.public, details.private)
    if details.validation is not None:
        if details.oof is not None or details.truth is not None:
            raise TrashkitError("--validation is for submissions without --oof", hint="leave one of them out")
        entry = replace(entry, validation=ValidationRecord(miou=details.validation))
    check_scores(entry, held)
    if details.name and old is not None and details.name != old.name:
        log(f"the submission is already recorded and keeps its name {old.name}")
    before = evidence_files(ledger)
    kept: str | None = None
    try:
        if old is None or details.run or details.split or details.oof or details.truth:
            entry = _describe(entry, csv, held, details, progress=progress, warn=warn)
        matrices = _evidence_path(old if old is not None and same_evidence(old, entry) else entry)
        entry = ledgers.append(ledger, entry if details.run or old is None else replace(entry, run=None))
        kept = matrices
    finally:
        for path in evidence_files(ledger) - before:
            # Refused, or the same matrices as before: files that no line refers to are removed.
            if path.name.startswith(digest[:16]) and kept != f"{path.parent.name}/{path.name}":
                path.unlink(missing_ok=True)
        if not before and evidence_folder(ledger).is_dir() and not any(evidence_folder(ledger).iterdir()):
            evidence_folder(ledger).rmdir()
    return Recorded(entry, old)


def _evidence_path(entry: Entry) -> str | None:
    """File of an entry's evidence, relative to the folder of its ledger."""
    evidence = None if entry.validation is None else entry.validation.evidence
    return None if evidence is None else evidence.file


def _describe(
    entry: Entry, csv: Path, ledger: Ledger, details: SubmissionDetails, *, progress: Progress, warn: Log
) -> Entry:
    """The entry with predicted pixels, run, split, trace and validation; writes the evidence file."""
    oof = details.oof
    if oof is not None and details.truth is None:
        raise TrashkitError("--oof needs the annotations that it is scored against", hint="add --data ANN.json")
    if oof is None and details.truth is not None:
        found = out_of_fold(Path(details.run)) if details.run and Path(details.run).is_dir() else []
        if not found or found == [Path(details.run)]:
            where = f"in {details.run}" if details.run else "without --run"
            raise TrashkitError(
                f"there are no out-of-fold probabilities {where}", hint="add --oof STORE, or leave --data out"
            )
        oof = Path(details.run)
    dataset = None if details.truth is None else read_dataset(details.truth, classes=details.classes)
    names = OFFICIAL_NAMES if dataset is None else dataset.classes.names
    layout = CsvLayout(height=details.size, width=details.size, classes=len(names))
    origin: dict[str, Any] = dict(trace(csv)) if csv.with_name(csv.name + ".json").exists() else {}
    split = None
    if details.split is not None:
        load_split(details.split)
        split = SplitReference(str(details.split.absolute()), sha256(details.split))
    pixels = predicted_pixels(csv, layout, progress=progress)
    validation = entry.validation
    if oof is not None and dataset is not None:
        require_labels(dataset)
        parts = [open_predictions(path, dataset, layout=layout, classes=details.classes) for path in out_of_fold(oof)]
        size = (details.size, details.size)
        scored = evaluate_parts(parts, size=size, order=details.order, partial=True, progress=progress)
        if scored.left_out:
            warn(f"{scored.left_out} images of {details.truth} have no out-of-fold prediction")
        ids = [dataset.image_by_row[row].id for row in scored.images]
        key = evidence_key(entry.sha256, scored, ledger)
        validation = replace(
            write_evidence(evidence_from(scored, ids, pixels), ledger.path, key),
            oof=str(oof.absolute()),
            truth=str(details.truth),
            truth_sha256=dataset.coco.sha256,
            size=details.size,
        )
    manifest = Path(details.run) / "manifest.json"
    return replace(
        entry,
        images=len(pixels),
        pixels=dict(zip(names, pixels.sum(axis=0).tolist(), strict=True)),
        run=RunReference(details.run, sha256(manifest) if details.run and manifest.is_file() else None),
        split=split,
        trace=origin,
        validation=validation,
    )


def open_ledger(path: Path, *, warn: Log = discard) -> Ledger:
    """Read a ledger that must exist; incomplete lines are skipped with a warning."""
    if not path.exists():
        raise TrashkitError(
            f"there is no ledger {path}", hint="trashkit leaderboard add SUB.csv --public SCORE creates one"
        )
    found = read_ledger(path)
    if found.damaged:
        lines = ", ".join(map(str, found.damaged))
        warn(f"{path}: line {lines} is incomplete and was skipped; add that submission again")
    return found


def assess_ledger(
    ledger: Ledger,
    split: Path | None = None,
    *,
    public_share: float = 0.5,
    history: bool = False,
    level: float = 0.95,
    seed: int = 0,
    log: Log = discard,
    warn: Log = discard,
) -> Assessment:
    """Estimate the hidden scores of a ledger's submissions, with the split's image weights and folds.

    split: by default the latest split recorded with a submission that has weights, if the file is unchanged. Its
    weights by similarity to the test photos weight the images, and its folds are tried as validation subsets. Other
    arguments as in `trashkit.leaderboard.assessment.assess`. TrashkitError for a split of other images.
    """
    weights: Mapping[Any, float] = {}
    folds: Sequence[Sequence[Any]] = []
    loaded = None
    if use_scores_only(ledger):
        if split is not None or history:
            warn("validation scores alone cannot be weighted by image: --split and --history have no effect")
    else:
        loaded = split_of(ledger, split, log=log) if split is not None else recorded_split(ledger, log=log)
    if loaded is not None:
        weights = image_weights(loaded, log=log)
        folds = [fold.val for fold in loaded.folds]
    return assess(
        ledger, image_weights=weights, folds=folds, public_share=public_share, history=history, level=level, seed=seed
    )


def image_weights(split: Split, *, log: Log = discard) -> dict[Any, float]:
    """Weights of a split's images by id, by similarity to the test photos; empty if it has no meaningful ones."""
    similarity = split.quality.get("test_likeness") or {}
    if "auc" in similarity and not distinguishable(float(similarity["auc"]), float(similarity.get("auc_sd") or 0)):
        log(f"train and test photos cannot be distinguished (AUC {similarity['auc']:.3f}): images have equal weights")
        return {}
    return {image_id: float(weight) for image_id, weight in similarity.get("weights", [])}


def split_of(ledger: Ledger, path: Path, *, log: Log = discard) -> Split:
    """Read the split of a ledger's submissions; TrashkitError if they were validated on other images."""
    loaded, held = load_split(path), comparable_entries(ledger)
    validations = [entry.validation for entry in held.entries if entry.validation is not None]
    truths = {str(validation.truth): validation.truth_sha256 for validation in validations}
    hint = f"give the split of {', '.join(truths)}, or leave --split out"
    known = {image_id for fold in loaded.folds for image_id in (*fold.train, *fold.val)}
    absent = [image_id for image_id in held.image_ids if image_id not in known]
    if absent:
        raise TrashkitError(
            f"{path} is of another data set: it lacks {len(absent)} of the {len(held.image_ids)} validated images, "
            f"such as image id {absent[0]}",
            hint=hint,
        )
    source = loaded.source.get("sha256")
    recorded = any(entry.split is not None and entry.split.sha256 == sha256(path) for entry in held.entries)
    if source and all(truths.values()) and source not in truths.values() and not recorded:
        raise TrashkitError(
            f"{path} was made from {loaded.source.get('path')}, which is not the file that the submissions were "
            f"validated on ({', '.join(truths)})",
            hint=hint,
        )
    if not loaded.quality.get("test_likeness"):
        log(f"{path} was made without test photos (trashkit split --test): images have equal weights")
    return loaded


def recorded_split(ledger: Ledger, *, log: Log = discard) -> Split | None:
    """The latest split recorded with a submission that has image weights, if its file is unchanged."""
    for entry in reversed(ledger.entries):
        if entry.split is None:
            continue
        path = Path(entry.split.path)
        if not path.is_file() or sha256(path) != entry.split.sha256:
            continue
        try:
            loaded = load_split(path)
            if loaded.quality.get("test_likeness"):
                loaded = split_of(ledger, path, log=log)
                log(f"images are weighted by similarity to the test photos from {path}, the split of {entry.name}")
                return loaded
        except TrashkitError as error:
            log(f"the split recorded with {entry.name} is not used: {error.message}")
    return None
