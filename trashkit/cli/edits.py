"""``trashkit edits``: logs of changes, made from two files, applied, taken back, shown, counted and merged."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.output import Json, Overwrite, command, note, show, table, warn

if TYPE_CHECKING:
    from trashkit.coco.edit import Edit

app = Commands(
    cls=default_group("show"),
    help="Edit logs: show one (the default), count, apply, invert, merge, or make one from two annotation files.",
    no_args_is_help=True,
)

Log = Annotated[Path, typer.Argument(metavar="LOG.jsonl", help="Edit log, as fix and review write it.")]
File = Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file. It is not changed.")]
Out = Annotated[Path, typer.Option("--out", help="File to write.")]
Reasons = Annotated[list[str] | None, typer.Option("--reason", help="Only edits with this reason; may be repeated.")]
Authors = Annotated[
    list[str] | None, typer.Option("--author", help="Only edits by this check code or person; may be repeated.")
]
Kinds = Annotated[
    list[str] | None, typer.Option("--kind", help="Only edits of this kind: relabel, reshape, delete, add, ...")
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
    from trashkit.coco.edit_log import to_record
    from trashkit.coco.edit_text import describe

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
    """Count the edits of a log by kind, reason and author.

    Examples:

      trashkit edits stats edits.jsonl
    """
    from trashkit.coco.edits import stats as count

    counts = count(_read(log, reason, author, kind))
    rows = [
        [what, name, number]
        for what in ("kinds", "blocks", "reasons", "authors", "relabels")
        for name, number in counts[what].items()
    ]
    human = f"{counts['edits']} edits of {counts['rows']} rows, {counts['decisions']} of them decisions"
    show(counts, json=json, human=[table(["by", "value", "edits"], rows), human])


@app.command()
def apply(
    file: File,
    log: Log,
    out: Out,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    skip_dependent: Annotated[
        bool, typer.Option("--skip-dependent", help="Leave out chosen edits that build on edits that were not chosen.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Apply a log, or the edits of one reason, author or kind, to the file that it was made for.

    An edit whose row is no longer as it was found is refused by name, and nothing is written. So are edits of a choice
    that build on others of the log (a ring mended after its repeated vertices were dropped, say) without these.

    Examples:

      trashkit edits apply ANN.json review.jsonl --out REVIEWED.json

      trashkit edits apply ANN.json review.jsonl --out RELABELLED.json --kind relabel

      trashkit edits apply ANN.json fix.jsonl --out RINGS.json --author G003 --skip-dependent
    """
    from trashkit.coco import read, write
    from trashkit.coco.edit_choice import describe_dependent, independent
    from trashkit.coco.edit_log import to_record
    from trashkit.coco.edits import apply as run

    whole, chosen = _choose(log, reason, author, kind, some=True)
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
    file: File,
    log: Log,
    out: Out,
    reason: Reasons = None,
    author: Authors = None,
    kind: Kinds = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write the log that takes another back. ANN.json is the file before or after those edits.

    Applied to the file after, it gives the file before, byte for byte where trashkit wrote that file.

    Examples:

      trashkit edits invert FIXED.json edits.jsonl --out undo.jsonl
    """
    from trashkit.coco import read
    from trashkit.coco.edit_log import write_log
    from trashkit.coco.edits import invert as run

    inverse = run(read(file), _read(log, reason, author, kind))
    write_log(out, inverse, overwrite=overwrite)
    following = command("edits", "apply", "FIXED.json", out, "--out", "BEFORE.json")
    show({"out": out, "edits": len(inverse)}, json=json, human=f"{len(inverse)} edits", wrote=out, next=following)


@app.command()
def merge(
    one: Log,
    other: Log,
    out: Out,
    prefer_first: Annotated[
        bool, typer.Option("--prefer-first", help="Where the logs disagree, the first one stands.")
    ] = False,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make two people's logs about one file one; name what they disagree on, with exit code 1.

    Examples:

      trashkit edits merge anna.jsonl ben.jsonl --out both.jsonl
    """
    from trashkit.coco.edit_log import to_record, write_log
    from trashkit.coco.edit_merge import merge_logs

    merged, conflicts = merge_logs(_read(one), _read(other))
    refused = bool(conflicts) and not prefer_first
    named = [{"message": c.message, "one": to_record(c.one), "other": to_record(c.other)} for c in conflicts]
    result = {"out": None if refused else out, "edits": len(merged), "conflicts": named}
    lines = [f"{c.message} ({c.one.author} and {c.other.author})" for c in conflicts]
    lines.append(f"{len(merged)} edits, {len(conflicts)} conflicts")
    if refused:
        show(result, json=json, human=[*lines, "nothing written: add --prefer-first, or take one of each pair out"])
        raise typer.Exit(1)
    write_log(out, merged, overwrite=overwrite)
    following = command("edits", "apply", "ANN.json", out, "--out", "REVIEWED.json")
    show(result, json=json, human=lines, wrote=out, next=following)


@app.command()
def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD.json", help="Annotation file before editing.")],
    new: Annotated[Path, typer.Argument(metavar="NEW.json", help="The same after editing in another tool.")],
    out: Out,
    exact: Annotated[
        bool,
        typer.Option("--exact", help="Match by id alone, and count rounding, new numbers and lost fields as edits."),
    ] = False,
    part: Annotated[
        bool, typer.Option("--part", help="NEW.json holds some of the images only: leave the others alone.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Reason that the edits are to carry.")] = "edited-elsewhere",
    author: Annotated[str, typer.Option("--author", help="Who made them.")] = "diff",
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Make an edit log from a file that was edited in CVAT, Label Studio, labelme or by hand.

    Images match by file name, categories by name, annotations by id or, where a tool gave them new numbers, by their
    shape. New numbers, rounding and fields that a tool drops everywhere are no edits.

    Examples:

      trashkit edits diff ANN.json cvat/instances_default.json --out cvat.jsonl --author anna

      trashkit edits diff ANN.json one-task.json --out one-task.jsonl --part
    """
    from trashkit.coco import read
    from trashkit.coco.edit_diff import diff as run
    from trashkit.coco.edit_log import write_log
    from trashkit.coco.edits import stats as count

    before = read(old)
    found = run(before, read(new), exact=exact, part=part, reason=reason, author=author)
    write_log(out, found.edits, overwrite=overwrite)
    gone = sum(edit.kind == "delete" and edit.block == "images" for edit in found.edits)
    if 3 * gone > before.count("images"):
        warn(
            f"{new} lacks {gone} of the {before.count('images')} images, and the log deletes them with their "
            "annotations: if it is an export of some of the images, add --part"
        )
    for block, number in found.renumbered.items():
        note(f"{number} {block} have other ids in {new}: matched by name or shape, the old ids stay")
    for block, names in found.left_alone.items():
        note(f"fields of {block} that one file has nowhere are left alone: {', '.join(names)}")
    kinds = count(found.edits)["kinds"]
    result = {"out": out, "edits": len(found.edits), "kinds": kinds, "renumbered": found.renumbered}
    rows = [[kind, number] for kind, number in kinds.items()]
    following = command("edits", "apply", old, out, "--out", "EDITED.json")
    human: list[Any] = [table(["kind", "edits"], rows)] if rows else []
    human.append(f"{len(found.edits)} edits")
    show({**result, "left_alone": found.left_alone}, json=json, human=human, wrote=out, next=following)


def _read(
    log: Path, reasons: list[str] | None = None, authors: list[str] | None = None, kinds: list[str] | None = None
) -> list[Edit]:
    return _choose(log, reasons, authors, kinds)[1]


def _choose(
    log: Path, reasons: list[str] | None, authors: list[str] | None, kinds: list[str] | None, *, some: bool = False
) -> tuple[list[Edit], list[Edit]]:
    """All edits of a log, and the chosen ones. some: whether choosing none is an error."""
    from trashkit.coco.edit import KINDS
    from trashkit.coco.edit_log import read_log
    from trashkit.coco.edits import select
    from trashkit.errors import TrashkitError

    for kind in kinds or []:
        if kind not in KINDS:
            raise TrashkitError(f'there is no kind of edit "{kind}"', hint=f"choose from: {', '.join(KINDS)}")
    edits, torn = read_log(log)
    if torn:
        warn(torn)
    for what, wanted, there in (
        ("reason", reasons, dict.fromkeys(edit.reason for edit in edits)),
        ("author", authors, dict.fromkeys(edit.author for edit in edits)),
    ):
        for one in wanted or []:
            if one not in there:
                known = ", ".join(sorted(there)) or "none: the log is empty"
                raise TrashkitError(f'{log} has no edit with the {what} "{one}"', hint=f"its {what}s are: {known}")
    chosen = select(edits, reasons=reasons or (), authors=authors or (), kinds=kinds or ())
    if some and edits and not chosen:
        known = ", ".join(dict.fromkeys(f"{edit.kind} by {edit.author} ({edit.reason})" for edit in edits))
        raise TrashkitError(f"no edit of {log} is chosen by these options", hint=f"it has: {known}")
    return edits, chosen
