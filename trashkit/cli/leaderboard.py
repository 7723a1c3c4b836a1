"""``trashkit leaderboard``: every submission recorded, and what the record says about the score nobody shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.leaderboard_evidence import bare_validation, evidence_files, evidence_key
from trashkit.cli.leaderboard_split import given_split, likeness_weights, recorded_split
from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, short, show, table, warn
from trashkit.cli.submit_form import paint_order

if TYPE_CHECKING:
    from trashkit.leaderboard.ledger import Entry, Ledger

app = Commands(
    cls=default_group("list"),
    help="Record submissions with their scores and validation (list is the default), and estimate the hidden score.",
    no_args_is_help=False,
)

LedgerFile = Annotated[Path, typer.Option("--ledger", help="Ledger to read, or to add to.")]
LEDGER = Path("leaderboard.jsonl")
Level = Annotated[float, typer.Option("--level", min=0.5, max=0.999, help="Level of the intervals.")]
PublicShare = Annotated[
    float, typer.Option("--public-share", min=0.05, max=0.95, help="Share of the test photos in the public half.")
]
History = Annotated[
    bool,
    typer.Option(
        "--history/--no-history",
        help="Try a validation subset that follows the leaderboard; used only if it wins on left-out submissions.",
    ),
]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of resampling and search.")]
SplitFile = Annotated[
    Path | None,
    typer.Option("--split", help="SPLIT.json: its test-likeness weighs the images, its folds are tried as subsets."),
]


@app.command()
def add(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission that was, or may be, uploaded.")],
    public: Annotated[float | None, typer.Option("--public", help="Its score on the public half.")] = None,
    private: Annotated[float | None, typer.Option("--private", help="Its score on the private half.")] = None,
    run: Annotated[str, typer.Option("--run", help="Run it came from: a run folder, or any name.")] = "",
    name: Annotated[str, typer.Option("--name", help="Short name; default: the name of the file.")] = "",
    split: Annotated[Path | None, typer.Option("--split", help="SPLIT.json that the run was trained with.")] = None,
    oof: Annotated[
        Path | None,
        typer.Option("--oof", help="Out-of-fold store, or run folder; default: those in --run, if there are any."),
    ] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="Annotations that --oof is scored against.")] = None,
    validation: Annotated[
        float | None,
        typer.Option("--validation", help="Its validation score, where no out-of-fold predictions are at hand."),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Side in pixels of scoring and of the CSV.")] = 256,
    order: Annotated[str, typer.Option("--order", help="Paint order: area, class, length or file.")] = "area",
    ledger: LedgerFile = LEDGER,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Append a submission, or what came later for one that is recorded: scores, validation, its run or split.

    Kept are the hashes of submission, run and split, what validation said (out-of-fold confusion of every image) and
    the classes that the submission shows. A submission without --public is a candidate that the proxy ranks with the
    others. Of a recorded submission what is new is appended; where nothing is, it is refused.

    Examples:

      trashkit leaderboard add submission.csv --public 0.8209 --run runs/first --truth train.json --split split.json

      trashkit leaderboard add submission.csv --private 0.7702

      trashkit leaderboard add candidate.csv --run runs/other --oof runs/other --truth train.json

      trashkit leaderboard add other-tool.csv --public 0.74 --validation 0.61
    """
    from dataclasses import replace
    from datetime import UTC, datetime

    from trashkit.errors import TrashkitError
    from trashkit.files import sha256
    from trashkit.leaderboard.bare import is_bare
    from trashkit.leaderboard.evidence import evidence_folder
    from trashkit.leaderboard.ledger import Entry, append, read_ledger, refuse_scores, same_evidence

    wanted = paint_order(order)
    if not csv.is_file():
        raise TrashkitError(f"there is no file {csv}", hint="give the submission CSV")
    digest, now = sha256(csv), datetime.now(UTC).isoformat(timespec="seconds")
    held = read_ledger(ledger)
    old = held.find(digest)
    entry = Entry(name or csv.stem, str(csv.absolute()), digest, now, public, private)
    if validation is not None:
        entry = replace(entry, validation=bare_validation(validation, oof, truth))
    refuse_scores(entry, held)
    if name and old is not None and name != old.name:
        note(f"it is recorded already and keeps its name {old.name}")
    before = evidence_files(ledger)
    try:
        if old is None or run or split or oof or truth:
            entry = _described(entry, csv, run, split, oof, truth, size, wanted, ledger, classes)
        matrices = entry.validation.get("evidence", {}).get("file")
        if old is not None and same_evidence(old, entry):
            matrices = old.validation.get("evidence", {}).get("file")  # the same matrices are there already
        entry = append(ledger, entry if run or old is None else replace(entry, run={}))
    except BaseException:
        matrices = None
        raise
    finally:
        for path in evidence_files(ledger) - before:
            # Refused or the same as before: a file that no line names is not left behind.
            if path.name.startswith(digest[:16]) and matrices != f"{path.parent.name}/{path.name}":
                path.unlink(missing_ok=True)
        if not before and evidence_folder(ledger).is_dir() and not any(evidence_folder(ledger).iterdir()):
            evidence_folder(ledger).rmdir()
    if old is not None and entry.validation and entry.validation != old.validation:
        note(f"{entry.name}: the new validation counts from now on")
    scores = ", ".join(f"{side} {value:.4f}" for side in ("public", "private") if (value := getattr(entry, side)))
    word = "bare validation score" if is_bare(entry) else "out of fold"
    oof_score = "no validation" if entry.miou is None else f"{word} {entry.miou:.4f}"
    if entry.miou is None and old is None:
        warn("without --oof and --truth, or --validation, the proxy cannot use this submission")
    show(
        entry.as_json(),
        json=json,
        human=f"{entry.name}: {scores or 'no score yet'}, {oof_score}",
        wrote=ledger,
        next=command("leaderboard", "proxy", *_ledger_option(ledger)),
    )


def _ledger_option(ledger: Path) -> list[object]:
    return [] if ledger == LEDGER else ["--ledger", ledger]


def _described(
    entry: Entry,
    csv: Path,
    run: str,
    split: Path | None,
    oof: Path | None,
    truth: Path | None,
    size: int,
    order: Any,
    ledger: Path,
    classes: str | None,
) -> Entry:
    """The entry with all that can be found out about the submission."""
    from dataclasses import replace

    from trashkit.coco import OFFICIAL_NAMES, read_dataset
    from trashkit.errors import TrashkitError
    from trashkit.evaluate import evaluate_parts, require_labels
    from trashkit.files import sha256
    from trashkit.leaderboard.evidence import evidence_of, predicted_pixels, write_evidence
    from trashkit.predictions import open_predictions, out_of_fold
    from trashkit.split.files import load_split
    from trashkit.submission import Profile
    from trashkit.submit import trace

    if oof is not None and truth is None:
        raise TrashkitError("--oof needs the annotations that it is scored against", hint="add --truth ANN.json")
    if oof is None and truth is not None:
        found = out_of_fold(Path(run)) if run and Path(run).is_dir() else []
        if not found or found == [Path(run)]:
            raise TrashkitError(
                f"there are no out-of-fold probabilities in {run or 'no run'}", hint="add --oof STORE, or leave --truth"
            )
        oof = Path(run)
    dataset = None if truth is None else read_dataset(truth, classes=classes)
    names = OFFICIAL_NAMES if dataset is None else dataset.classes.names
    profile = Profile(height=size, width=size, classes=len(names))
    origin: dict[str, Any] = {}
    if csv.with_name(csv.name + ".json").exists():
        origin = trace(csv)
    recorded_split = {}
    if split is not None:
        load_split(split)
        recorded_split = {"path": str(split.absolute()), "sha256": sha256(split)}
    with progress() as report:
        pixels = predicted_pixels(csv, profile, progress=report)
        validation = dict(entry.validation)
        if oof is not None and dataset is not None:
            require_labels(dataset)
            parts = [open_predictions(path, dataset, profile=profile, classes=classes) for path in out_of_fold(oof)]
            scored = evaluate_parts(parts, size=(size, size), order=order, partial=True, progress=report)
            if scored.left_out:
                warn(f"{scored.left_out} images of {truth} have no out-of-fold prediction")
            ids = [dataset.image_by_row[row].id for row in scored.images]
            validation = {
                **write_evidence(evidence_of(scored, ids, pixels), ledger, evidence_key(entry, scored, ledger)),
                "oof": str(oof.absolute()),
                "truth": str(truth),
                "truth_sha256": dataset.coco.sha256,
                "size": size,
            }
    manifest = Path(run) / "manifest.json"
    return replace(
        entry,
        images=len(pixels),
        pixels=dict(zip(names, pixels.sum(axis=0).tolist(), strict=True)),
        run={"name": run, **({"manifest_sha256": sha256(manifest)} if run and manifest.is_file() else {})},
        split=recorded_split,
        trace=origin,
        validation=validation,
    )


def _read(ledger: Path) -> Ledger:
    from trashkit.errors import TrashkitError
    from trashkit.leaderboard.ledger import read_ledger

    if not ledger.exists():
        raise TrashkitError(
            f"there is no ledger {ledger}", hint="trashkit leaderboard add SUB.csv --public SCORE begins one"
        )
    found = read_ledger(ledger)
    if found.damaged:
        lines = ", ".join(map(str, found.damaged))
        warn(f"{ledger}: line {lines} is half written and was skipped; add that submission again")
    return found


@app.command("list")
def list_entries(ledger: LedgerFile = LEDGER, json: Json = False) -> None:
    """List the recorded submissions: validation, public and private score.

    Examples:

      trashkit leaderboard

      trashkit leaderboard list --ledger old/leaderboard.jsonl --json
    """
    found = _read(ledger)
    rows = [
        (short(entry.name, 20), entry.time[:10], entry.miou, _interval(entry), entry.public, entry.private,
         entry.run.get("name", ""))
        for entry in found.entries
    ]  # fmt: skip
    columns = ["submission", "added", "out of\nfold", "± 95 %", "public", "private", "run"]
    shown = table(columns, rows, tight=True)
    shown.columns[-1].no_wrap = False
    show(
        {"ledger": ledger, "submissions": [entry.as_json() for entry in found.entries], "damaged": found.damaged},
        json=json,
        human=shown if found.entries else f"{ledger} holds no submission yet",
        next=command("leaderboard", "proxy", *_ledger_option(ledger))
        if found.entries
        else command("leaderboard", "add", "SUB.csv", "--public", "SCORE", *_ledger_option(ledger)),
    )


def _interval(entry: Entry) -> str:
    from trashkit.leaderboard.bare import is_bare

    ends = entry.validation.get("interval")
    return f"{(ends[1] - ends[0]) / 2:.4f}" if ends else "bare" if is_bare(entry) else ""


@app.command()
def plot(
    out: Annotated[Path, typer.Option("--html", "--out", help="Page to write.")] = Path("leaderboard.html"),
    ledger: LedgerFile = LEDGER,
    split: SplitFile = None,
    public_share: PublicShare = 0.5,
    history: History = False,
    level: Level = 0.95,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Draw validation against public and private scores, the proxy's estimates with intervals, and what it says.

    One HTML page. Candidates, which have no public score, stand among the estimates.

    Examples:

      trashkit leaderboard plot --html leaderboard.html
    """
    from trashkit.files import refuse_existing, refuse_inputs, write_text
    from trashkit.leaderboard.evidence import evidence_folder
    from trashkit.leaderboard.page import ledger_page

    refuse_inputs(out, [evidence_folder(ledger)])
    refuse_existing(out, overwrite=overwrite)
    found = _read(ledger)
    said: dict[str, Any] = {}
    if any(entry.miou is not None for entry in found.entries):
        said = _said(found, split, public_share, history=history, level=level, seed=seed)
    write_text(out, ledger_page(found, said, level=level), overwrite=overwrite)
    estimates = [row for row in said.get("submissions", []) if "interval" in row]
    show(
        {"path": out, "submissions": len(found.entries), "estimates": len(estimates)},
        json=json,
        human=f"{len(found.entries)} submissions, {len(estimates)} of them with an estimate of the hidden score",
        wrote=out,
        next=command("leaderboard", "proxy", *_ledger_option(ledger)),
    )


@app.command()
def proxy(
    ledger: LedgerFile = LEDGER,
    split: SplitFile = None,
    public_share: PublicShare = 0.5,
    history: History = False,
    level: Level = 0.95,
    seed: Seed = 0,
    json: Json = False,
) -> None:
    """Estimate the hidden score of every recorded submission, say how sure the order is, and which two to choose.

    From out-of-fold confusion, weighted by test-likeness (--split) and by the class mix that the submissions show on
    the test photos, calibrated by the public scores as far as they can be trusted. Below five submissions with public
    score it says that it knows too little. Where submissions have bare validation scores (add --validation) and too
    few have more, offset and slope alone are learned, and it says how weak that is.

    Examples:

      trashkit leaderboard proxy

      trashkit leaderboard proxy --split split.json --json
    """
    said = _said(_read(ledger), split, public_share, history=history, level=level, seed=seed)
    shown = said["submissions"]
    rows = [
        (
            short(row["name"]),
            row["out_of_fold"],
            row["public"],
            row.get("expected"),
            f"{row['interval'][0]:.3f} to {row['interval'][1]:.3f}" if "interval" in row else "",
            f"{row['ahead_of_next']:.0%}" if row.get("ahead_of_next") is not None else "",
        )
        for row in shown
    ]
    validation = "validation" if said["evidence"] == "scores" else "out of\nfold"
    columns = ["submission", validation, "public", "expected", f"{level:.0%} interval", "beats\nnext"]
    title = "expected score on the hidden half" if said["enough"] else ""
    human: list[Any] = [table(columns, rows, title=title, tight=True)]
    if said["errors"]:
        names = {
            "proxy": "this estimate" + (", its subset chosen anew" if (said["history"] or {}).get("used") else ""),
            "plain_offset": "plain out-of-fold score and mean offset",
            "plain": "plain out-of-fold score",
            "mean": "mean of the others",
        }
        errors = [(names[key], value) for key, value in said["errors"].items()]
        human.append(table(["public score of a left-out submission from", "mean error"], errors))
    human += said["says"]
    show(said, json=json, human=human, next=command("leaderboard", "plot", *_ledger_option(ledger)))


def _said(
    ledger: Ledger,
    split: Path | None,
    public_share: float,
    *,
    history: bool = False,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Any]:
    """All that the proxy says, JSON-ready, with what the split knows of the images."""
    from trashkit.leaderboard.bare import scores_count
    from trashkit.leaderboard.verdict import verdict

    likeness: dict[Any, float] = {}
    folds: list[Any] = []
    if scores_count(ledger):
        if split is not None or history:
            warn("bare validation scores cannot be weighed by image: --split and --history change nothing")
        loaded = None
    else:
        loaded = given_split(ledger, split) if split is not None else recorded_split(ledger)
    if loaded is not None:
        likeness = likeness_weights(loaded)
        folds = [fold.val for fold in loaded.folds]
    return verdict(
        ledger, likeness=likeness, folds=folds, public_share=public_share, history=history, level=level, seed=seed
    )
