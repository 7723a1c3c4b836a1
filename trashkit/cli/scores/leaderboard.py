"""``trashkit leaderboard``: record submissions, and estimate their hidden scores."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.options import Classes, Json, Level, Overwrite, PaintOrder, Seed
from trashkit.cli.output import command, note, progress, short, show, stacked, table, unused, warn

if TYPE_CHECKING:
    from trashkit.leaderboard.ledger import Entry

app = Commands(
    cls=default_group("list"),
    help="Record submissions with their scores and validation (list is the default), and estimate the hidden score.",
    no_args_is_help=False,
)

LedgerFile = Annotated[Path, typer.Option("--ledger", help="Ledger file.")]
LEDGER = Path("leaderboard.jsonl")
PublicShare = Annotated[
    float, typer.Option("--public-share", min=0.05, max=0.95, help="Share of the test photos behind the public score.")
]
History = Annotated[
    bool,
    typer.Option(
        "--history/--no-history",
        help="Search for a validation subset that tracks the leaderboard; used only if it wins on held-out "
        "submissions.",
    ),
]
SplitFile = Annotated[
    Path | None,
    typer.Option(
        "--split", "-S", help="Split whose test similarity weights the images and whose folds are tried as subsets."
    ),
]


@app.command()
def add(
    csv: Annotated[Path, typer.Argument(metavar="SUB.csv", help="Submission that was or may be uploaded.")],
    public: Annotated[float | None, typer.Option("--public", help="Public score.")] = None,
    private: Annotated[float | None, typer.Option("--private", help="Private score.")] = None,
    run: Annotated[str, typer.Option("--run", help="Run that made it: a run folder or any name.")] = "",
    name: Annotated[str, typer.Option("--name", help="Short name; default: the file name.")] = "",
    split: Annotated[Path | None, typer.Option("--split", "-S", help="Split that the run was trained with.")] = None,
    oof: Annotated[
        Path | None,
        typer.Option("--oof", help="Out-of-fold store or run folder; default: that of --run."),
    ] = None,
    truth: Annotated[
        Path | None, typer.Option("--data", "-d", help="COCO file with the annotations that --oof is scored against.")
    ] = None,
    validation: Annotated[
        float | None,
        typer.Option("--validation", help="Validation score, if there are no out-of-fold predictions."),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Side of the label maps in pixels.")] = 256,
    order: PaintOrder = "area",
    ledger: LedgerFile = LEDGER,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Record a submission, or add scores, validation, run or split to one that is recorded.

    The ledger keeps hashes of the submission, run and split, the out-of-fold confusion matrix of every image, and the
    classes that the submission predicts. A submission without --public is a candidate, which the proxy ranks with the
    others. A command that adds nothing new is refused.

    Examples:

      trashkit leaderboard add submission.csv --public 0.8209 --run runs/first --data train.json --split split.json

      trashkit leaderboard add submission.csv --private 0.7702

      trashkit leaderboard add candidate.csv --run runs/other --oof runs/other --data train.json

      trashkit leaderboard add other-tool.csv --public 0.74 --validation 0.61
    """
    from trashkit.metrics.summary import miou_text
    from trashkit.workflows.leaderboard import SubmissionDetails, record_submission

    details = SubmissionDetails(
        public=public,
        private=private,
        run=run,
        name=name,
        split=split,
        oof=oof,
        truth=truth,
        validation=validation,
        size=size,
        order=order,
        classes=classes,
    )
    with progress() as report:
        done = record_submission(csv, ledger, details, progress=report, log=note, warn=warn)
    entry, old = done.entry, done.old
    if old is not None and entry.validation is not None and entry.validation != old.validation:
        note(f"{entry.name}: the new validation replaces the earlier one")
    scores = ", ".join(f"{side} {value:.4f}" for side in ("public", "private") if (value := getattr(entry, side)))
    what = "validation score" if entry.score_only else "out of fold"
    validated = "no validation" if entry.miou is None else f"{what} {miou_text(entry.miou, entry.iou, digits=4)}"
    if entry.miou is None and old is None:
        warn("without --oof and --data, or --validation, the proxy cannot use this submission")
    show(
        entry.as_json(),
        json=json,
        human=f"{entry.name}: {scores or 'no score yet'}, {validated}",
        wrote=ledger,
        next="" if entry.miou is None else command("leaderboard", "proxy", *_ledger_option(ledger)),
    )


def _ledger_option(ledger: Path) -> list[object]:
    return [] if ledger == LEDGER else ["--ledger", ledger]


@app.command("list")
def list_entries(ledger: LedgerFile = LEDGER, json: Json = False) -> None:
    """List the recorded submissions: validation, public and private score.

    Examples:

      trashkit leaderboard

      trashkit leaderboard list --ledger old/leaderboard.jsonl --json
    """
    from trashkit.metrics.summary import without_background
    from trashkit.workflows.leaderboard import open_ledger

    found = open_ledger(ledger, warn=warn)
    rows = [
        (short(entry.name, 20), entry.time[:10], entry.miou, _interval(entry), without_background(entry.iou),
         entry.public, entry.private, entry.run.name if entry.run else "")
        for entry in found.entries
    ]  # fmt: skip
    submissions = [
        {**entry.as_json(), "miou_without_background": without_background(entry.iou)} for entry in found.entries
    ]
    columns: list[Any] = [
        "submission",
        "added",
        stacked("out of", "fold"),
        "± 95 %",
        stacked("without", "background"),
        "public",
        "private",
        "run",
    ]
    shown = table(columns, rows, tight=True)
    shown.columns[-1].no_wrap = False
    show(
        {"ledger": ledger, "submissions": submissions, "damaged": found.damaged},
        json=json,
        human=shown
        if found.entries
        else f"{ledger} has no submissions yet: `trashkit leaderboard add SUB.csv --public SCORE` adds one",
        next=command("leaderboard", "proxy", *_ledger_option(ledger))
        if any(entry.miou is not None for entry in found.entries)
        else "",
    )


def _interval(entry: Entry) -> str:
    """Half width of the validation's interval; "none" for a score alone."""
    ends = entry.validation.interval if entry.validation else None
    return f"{(ends[1] - ends[0]) / 2:.4f}" if ends else "none" if entry.score_only else ""


@app.command()
def plot(
    out: Annotated[Path, typer.Option("--html", "--out", "-o", help="Page to write.")] = Path("leaderboard.html"),
    ledger: LedgerFile = LEDGER,
    split: SplitFile = None,
    public_share: PublicShare = 0.5,
    history: History = False,
    level: Level = 0.95,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write an HTML page that plots validation against public and private scores, with the proxy's estimates.

    Candidates, which have no public score, are among the estimates.

    Examples:

      trashkit leaderboard plot --html leaderboard.html
    """
    from trashkit.leaderboard.evidence import evidence_folder
    from trashkit.leaderboard.page import ledger_page
    from trashkit.outputs import Output, write_text
    from trashkit.workflows.leaderboard import assess_ledger, open_ledger

    Output(out).check_inputs([evidence_folder(ledger)])
    Output(out, overwrite=overwrite).check()
    found = open_ledger(ledger, warn=warn)
    assessment = None
    if any(entry.miou is not None for entry in found.entries):
        assessment = assess_ledger(
            found, split, public_share=public_share, history=history, level=level, seed=seed, log=note, warn=warn
        )
    write_text(out, ledger_page(found, assessment, level=level), overwrite=overwrite)
    estimates = sum(one.interval is not None for one in assessment.submissions) if assessment else 0
    show(
        {"path": out, "submissions": len(found.entries), "estimates": estimates},
        json=json,
        human=f"{len(found.entries)} submissions, {estimates} of them with an estimate of the hidden score",
        wrote=out,
        next=command("leaderboard", "proxy", *_ledger_option(ledger)) if assessment is not None else "",
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
    """Estimate the hidden score of every recorded submission, and recommend which two to choose.

    Estimates come from out-of-fold confusion matrices, weighted by similarity to the test photos (--split) and by the
    class mix that the submissions predict there, and calibrated on the public scores as far as these can be trusted.
    With fewer than five public scores it says that there is too little evidence. If most submissions have only a
    validation score (add --validation), it fits just an offset and a slope, and says how weak that is.

    Examples:

      trashkit leaderboard proxy

      trashkit leaderboard proxy --split split.json --json
    """
    from trashkit.workflows.leaderboard import assess_ledger, open_ledger

    found = assess_ledger(
        open_ledger(ledger, warn=warn),
        split,
        public_share=public_share,
        history=history,
        level=level,
        seed=seed,
        log=note,
        warn=warn,
    )
    rows = [
        (
            short(one.name),
            one.out_of_fold,
            one.public,
            one.expected,
            f"{one.interval[0]:.3f} to {one.interval[1]:.3f}" if one.interval is not None else "",
            f"{one.ahead_of_next:.0%}" if one.ahead_of_next is not None else "",
        )
        for one in found.submissions
    ]
    validation = "validation" if found.evidence == "scores" else stacked("out of", "fold")
    columns: list[Any] = [
        "submission",
        validation,
        "public",
        "expected",
        f"{level:.0%} interval",
        stacked("beats", "next"),
    ]
    title = "expected score on the hidden half" if found.enough else ""
    human: list[Any] = [table(columns, rows, title=title, tight=True)]
    if found.errors:
        used = found.subset is not None and found.subset.validation.used
        names = {
            "proxy": "this estimate" + (", with a subset chosen without it" if used else ""),
            "plain_offset": "plain out-of-fold score and mean offset",
            "plain": "plain out-of-fold score",
            "mean": "mean of the others",
        }
        errors = [(names[key], value) for key, value in found.errors.items()]
        human.append(table(["public score of a left-out submission from", "mean error"], errors))
    human += found.says
    show(
        found.as_json(),
        json=json,
        human=human,
        next=command("leaderboard", "plot", "--html", unused("leaderboard.html"), *_ledger_option(ledger)),
    )
