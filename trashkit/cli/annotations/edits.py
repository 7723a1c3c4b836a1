"""`trashkit edits`: show, count, apply, invert and merge edit logs, or make one from two annotation files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.options import Annotations, Json, OutFile, Overwrite
from trashkit.cli.output import command, note, show, table, unused, warn

if TYPE_CHECKING:
    from trashkit.edits.edit import Edit

app = Commands(
    cls=default_group("show"),
    help="Edit logs: show one (the default), count, apply, invert, merge, or make one from two annotation files.",
    no_args_is_help=True,
)

Log = Annotated[Path, typer.Argument(metavar="LOG.jsonl", help="Edit log, as written by fix and review.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only edits with this reason. Repeatable.")]
Authors = Annotated[list[str] | None, typer.Option("--author", help="Only edits by this check or person. Repeatable.")]
Kinds = Annotated[
    list[str] | None,
    typer.Option("--kind", help="Only edits of this kind, such as relabel, reshape, delete or add. Repeatable."),
]


@app.command("show")
def show_log(
    log: Log,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    json: Json = False,
) -> None:
    """Show the edits of a log, before and after.

    Examples:

      trashkit edits show edits.jsonl

      trashkit edits show edits.jsonl --author G003 --json
    """
    from trashkit.edits.describe import describe
    from trashkit.edits.log import to_record

    edits = _read(log, reason, author, kind)
    lines = [line for edit in edits for line in describe(edit)]
    show({"edits": [to_record(edit) for edit in edits]}, json=json, human=[*lines, f"{len(edits)} edits"])


@app.command()
def stats(
    log: Log,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    json: Json = False,
) -> None:
    """Count the edits of a log by kind, reason, author and person.

    A fix that was accepted in a review counts for its check as the author, and for the reviewer as a person.

    Examples:

      trashkit edits stats edits.jsonl
    """
    from trashkit.edits.apply import stats as count

    counts = count(_read(log, reason, author, kind))
    rows = [
        [what, name, number]
        for what in ("kinds", "blocks", "reasons", "authors", "people", "relabels")
        for name, number in counts[what].items()
    ]
    human = f"{counts['edits']} edits of {counts['rows']} rows, {counts['decisions']} of them decisions"
    show(counts, json=json, human=[table(["by", "value", "edits"], rows), human])


@app.command()
def apply(
    file: Annotations,
    log: Log,
    out: OutFile,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    skip_dependent: Annotated[
        bool, typer.Option("--skip-dependent", help="Skip selected edits that depend on edits that are not selected.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Apply an edit log, or some of its edits, to the file that it was made for.

    If a row has changed since its edit was recorded, the edit is refused and named, and nothing is written. The same
    holds for selected edits that depend on others that are not selected, such as a ring repair after repeated vertices
    were dropped.

    Examples:

      trashkit edits apply ANN.json review.jsonl --out REVIEWED.json

      trashkit edits apply ANN.json review.jsonl --out RELABELLED.json --kind relabel

      trashkit edits apply ANN.json fix.jsonl --out RINGS.json --author G003 --skip-dependent
    """
    from trashkit.coco import read, write
    from trashkit.edits.apply import apply as run
    from trashkit.edits.log import to_record
    from trashkit.edits.selection import describe_dependent, independent

    whole, chosen = _select(log, reason, author, kind, required=True)
    choice = independent(whole, chosen, skip_dependent=skip_dependent)
    edits, skipped = choice.edits, choice.dependent
    write(run(read(file), edits), out, overwrite=overwrite)
    if skipped:
        note(f"{len(skipped)} edits skipped: {describe_dependent(skipped)}")
    done = sum(not edit.is_decision for edit in edits)
    result = {
        "out": out,
        "edits": done,
        "decisions": len(edits) - done,
        "skipped": [{"edit": to_record(edit), "needs": [to_record(one) for one in needs]} for edit, needs in skipped],
    }
    show(result, json=json, human=f"{done} edits applied", wrote=out, next=command("audit", out))


@app.command()
def invert(
    file: Annotations,
    log: Log,
    out: OutFile,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the edit log that undoes another one. ANN.json is the file before or after those edits.

    Applied to the edited file it restores the original, byte for byte if trashkit wrote that file.

    Examples:

      trashkit edits invert FIXED.json edits.jsonl --out undo.jsonl
    """
    from trashkit.coco import read
    from trashkit.edits.apply import invert as run
    from trashkit.edits.log import write_log

    inverse = run(read(file), _read(log, reason, author, kind))
    write_log(out, inverse, overwrite=overwrite)
    show({"out": out, "edits": len(inverse)}, json=json, human=f"{len(inverse)} edits", wrote=out)


@app.command()
def merge(
    one: Log,
    other: Log,
    out: OutFile,
    prefer_first: Annotated[
        bool, typer.Option("--prefer-first", help="Resolve conflicts in favour of the first log.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Merge two people's edit logs for the same file; conflicts are listed and give exit code 1.

    Two edits are in conflict if they cannot both be right: different new values of one field, a change and a deletion,
    a fix that one applies and the other rejects, or new rows with the same id. Equal edits are kept once, with the
    names of both people.

    Examples:

      trashkit edits merge anna.jsonl ben.jsonl --out both.jsonl
    """
    from trashkit.audit.registry import checks
    from trashkit.edits.describe import brief
    from trashkit.edits.log import to_record, write_log
    from trashkit.edits.merge import left_out, merge_logs

    theirs = _read(other)
    names = {code: check.name for code, check in checks().items()}
    merged, conflicts = merge_logs(_read(one), theirs, names=names)
    refused = bool(conflicts) and not prefer_first
    named = [{"message": c.message, "one": to_record(c.one), "other": to_record(c.other)} for c in conflicts]
    result = {"out": None if refused else out, "edits": len(merged), "conflicts": named}
    lines = [f"{c.message}: {brief(c.one)} in {one}, {brief(c.other)} in {other}" for c in conflicts]
    lines.append(f"{len(merged)} edits, {len(conflicts)} conflicts")
    if refused:
        show(result, json=json, human=[*lines, "nothing written: add --prefer-first, or remove one of each pair"])
        raise typer.Exit(1)
    write_log(out, merged, overwrite=overwrite)
    if conflicts:
        note(
            f"{len(left_out(theirs, conflicts))} edits of {other} are left out, which are in conflict or belong to them"
        )
    show(result, json=json, human=lines, wrote=out, next=command("edits", "stats", out))


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="Annotation file before editing.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The same file after editing in another tool.")],
    out: OutFile,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Match by id only, and count rounding, new ids and lost fields as edits."),
    ] = False,
    part: Annotated[
        bool, typer.Option("--part", help="NEW.json holds only some of the images; ignore the others.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Reason to record with the edits.")] = "edited-elsewhere",
    author: Annotated[str, typer.Option("--author", help="Author to record with the edits.")] = "diff",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make an edit log from a file that was edited in CVAT, Label Studio, labelme or by hand.

    Images are matched by file name, categories by name, and annotations by id or, where a tool renumbered them, by
    shape. New ids, rounding and fields that a tool always drops are not edits.

    Examples:

      trashkit edits diff ANN.json cvat/instances_default.json --out cvat.jsonl --author anna

      trashkit edits diff ANN.json one-task.json --out one-task.jsonl --part
    """
    from trashkit.coco import read
    from trashkit.edits.apply import stats as count
    from trashkit.edits.diff import diff as run
    from trashkit.edits.log import write_log

    before = read(old)
    found = run(before, read(new), exact=exact, part=part, reason=reason, author=author)
    write_log(out, found.edits, overwrite=overwrite)
    gone = sum(edit.kind == "delete" and edit.block == "images" for edit in found.edits)
    if 3 * gone > before.count("images"):
        warn(
            f"{new} lacks {gone} of the {before.count('images')} images, so the log deletes them with their "
            "annotations; if it has only some of the images, add --part"
        )
    for block, number in found.renumbered.items():
        note(f"{number} {block} have different ids in {new}: they were matched by name or shape and keep the old ids")
    for block, names in found.left_alone.items():
        note(f"fields of {block} that only one of the files has are ignored: {', '.join(names)}")
    kinds = count(found.edits)["kinds"]
    result = {"out": out, "edits": len(found.edits), "kinds": kinds, "renumbered": found.renumbered}
    rows = [[kind, number] for kind, number in kinds.items()]
    edited = unused(old.with_name(f"{old.stem}-edited{old.suffix}"))
    following = command("edits", "apply", old, out, "--out", edited) if found.edits else ""
    human: list[Any] = [table(["kind", "edits"], rows)] if rows else []
    human.append(f"{len(found.edits)} edits")
    show({**result, "left_alone": found.left_alone}, json=json, human=human, wrote=out, next=following)


def _read(
    log: Path, reasons: list[str] | None = None, authors: list[str] | None = None, kinds: list[str] | None = None
) -> list[Edit]:
    return _select(log, reasons, authors, kinds)[1]


def _select(
    log: Path, reasons: list[str] | None, authors: list[str] | None, kinds: list[str] | None, *, required: bool = False
) -> tuple[list[Edit], list[Edit]]:
    """All edits of a log, and the selected ones. required: whether selecting none is an error."""
    from trashkit.edits.log import read_log
    from trashkit.edits.selection import select_known

    edits, torn = read_log(log)
    if torn:
        warn(torn)
    selected = select_known(
        edits, reasons=reasons or (), authors=authors or (), kinds=kinds or (), name=str(log), required=required
    )
    return edits, selected
