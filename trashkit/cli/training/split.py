"""``trashkit split``: search, export, show and check splits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.options import Classes, Data, Html, Json, NearDuplicateMatching, OutFolder, Overwrite, Seed
from trashkit.cli.output import command, note, progress, show, unused, warn
from trashkit.cli.training.split_tables import outlier_table, quality_tables, search_tables, show_notes

app = Commands(
    cls=default_group("search"),
    help="Search for folds stratified by pixels, instances and images per class (the default), export, show, check.",
    no_args_is_help=True,
)

Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--groups",
        metavar="field:NAME|folder|regex:PATTERN|file:PATH",
        help="Images that must stay in one fold: those with the same value of a field, folder, or match of a "
        "pattern, or the groups of a file (JSON from image id or file name to group, or lines FILE "
        "NAME,GROUP). Repeatable.",
    ),
]
Images = Annotated[
    Path | None, typer.Option("--images", "-i", help="Folder of the photos; keeps near-duplicates in one fold.")
]
SplitFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPLIT.json|FOLDS.csv|LIST.txt|FOLDER",
        help="Split to read: SPLIT.json, a CSV with image_id or file_name and fold, a list of validation "
        "images, or a folder with train and val of each fold as COCO files or lists.",
    ),
]


@app.command()
def search(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file to split.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Split file to write.")],
    folds: Annotated[int | None, typer.Option("--folds", help="Number of folds; default: 5.")] = None,
    holdout: Annotated[
        float | None, typer.Option("--holdout", help="Hold out one validation set of this share instead of folds.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Number of splits to search, each with its own seed.")] = 1,
    seed: Seed = 0,
    groups: Groups = None,
    images: Images = None,
    near_duplicate_matching: NearDuplicateMatching = "normal",
    test: Annotated[Path | None, typer.Option("--test", help="COCO file of the test photos.")] = None,
    test_images: Annotated[
        Path | None, typer.Option("--test-images", help="Folder of the test photos; default: --images.")
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="auto|none|NAME|RUN",
            help="Encoder whose features help to distinguish test photos from training photos, in addition to "
            "colour, texture, sharpness and size: a timm name or a run. auto: an installed package's "
            "weights, on a GPU or for up to 2,000 photos (about a minute on one core).",
        ),
    ] = "auto",
    trials: Annotated[
        int | None, typer.Option("--trials", help="Number of swaps to try; default: 200 million.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option("--seconds", help="Stop after this time instead; the result then depends on the machine."),
    ] = None,
    starts: Annotated[int, typer.Option("--starts", help="Number of starts that share the trials.")] = 4,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="CRITERION=FACTOR",
            help="Weight of a criterion relative to its default, 0 to ignore it: images, pixel_share, instances, "
            "support (images of each class), object_size, objects_per_image or statistics. Repeatable.",
        ),
    ] = None,
    compare_peers: Annotated[
        bool, typer.Option("--compare-peers", help="Compare with other splitters on the same data, best of many seeds.")
    ] = False,
    peer_seeds: Annotated[int, typer.Option("--peer-seeds", min=1, help="Seeds to try for each other splitter.")] = 100,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Split a data set into folds with equal class distributions.

    Every fold gets its share of each class's pixels, instances and images, of object sizes and of crowded images; rare
    classes come first, and groups of images are never split. The same seed gives the same split. Ctrl-C keeps the best
    split so far.

    Examples:

      trashkit split train.json --out split.json

      trashkit split train.json --out split.json --images photos --groups folder --compare-peers

      trashkit split train.json --out split.json --holdout 0.2 --seed 3

      trashkit split train.json --out split.json --images photos --test test.json --encoder auto
    """
    from trashkit.outputs import Output
    from trashkit.split.files import write_split
    from trashkit.workflows.split import SplitOptions, make_split_from_files

    Output(out, overwrite=overwrite).check()
    options = SplitOptions(
        folds=folds,
        holdout=holdout,
        repeats=repeats,
        seed=seed,
        groups=groups or (),
        images=images,
        near_duplicate_matching=near_duplicate_matching,
        test=test,
        test_images=test_images,
        encoder=encoder,
        trials=trials,
        seconds=seconds,
        starts=starts,
        weights=_weights(weight or []),
        peers=compare_peers,
        peer_seeds=peer_seeds,
        classes=classes,
    )
    with progress() as report:
        made = make_split_from_files(annotations, options, progress=report, log=note, warn=warn)
    write_split(made.split, out, overwrite=overwrite)
    show_notes(made, peer_seeds)
    show(
        made.split.as_json(),
        json=json,
        human=[*search_tables(made.result, made.peers), *outlier_table(made.split.quality)],
        wrote=out,
        next=_training(annotations, images, out, classes)
        or command("split", "show", out, "--html", unused(out.with_suffix(".html"))),
    )


def _training(data: Path | None, images: Path | None, split: Path, classes: str | None) -> str:
    """The command that trains on all folds of a split; empty while the annotations or photos are unknown."""
    if data is None or images is None or not (data.is_file() and images.is_dir()):
        return ""
    same = ("--classes", classes) if classes else ()
    out = unused("runs/folds")
    return command("train", "--data", data, "--images", images, "--split", split, "--fold", "all", *same, "--out", out)


def _recorded(split: Path) -> tuple[Path | None, Path | None]:
    """The annotations and photos that a split was made from; None for what it does not record, as in other formats."""
    from trashkit.errors import TrashkitError
    from trashkit.split.files import load_split

    try:
        source = load_split(split).source
    except TrashkitError:
        return None, None
    settings = source.get("settings")
    found = source.get("path"), settings.get("images") if isinstance(settings, dict) else None
    data, images = (Path(one) if isinstance(one, str) else None for one in found)
    return data, images


def _weights(given: list[str]) -> dict[str, float]:
    """``CRITERION=FACTOR`` options as numbers by criterion."""
    from trashkit.errors import TrashkitError

    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise TrashkitError(f"--weight {text} is not CRITERION=FACTOR", hint="such as support=3") from None
    return found


@app.command()
def export(
    split: SplitFile,
    data: Data,
    out: OutFolder,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write each fold as two COCO files, fold-K/train.json and fold-K/val.json, with rows and ids unchanged.

    Examples:

      trashkit split export split.json --data train.json --out folds
    """
    from trashkit.coco import read_dataset
    from trashkit.split.files import export_folds, read_split

    dataset = read_dataset(data)
    written = export_folds(read_split(split, dataset), dataset, out, overwrite=overwrite)
    show(
        {"files": written},
        json=json,
        human=f"{len(written)} files",
        wrote=out,
        next=command("audit", written[0]),
    )


@app.command("show")
def show_split(
    split: SplitFile,
    data: Annotated[
        Path | None, typer.Option("--data", "-d", help="COCO annotation file; required for splits made by other tools.")
    ] = None,
    html: Html = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show what each fold contains, in the terminal or as an HTML page.

    Examples:

      trashkit split show split.json

      trashkit split show split.json --html split.html
    """
    from trashkit.outputs import write_text
    from trashkit.split.page import split_page
    from trashkit.workflows.split import split_quality

    recorded = _recorded(split)
    quality = split_quality(split, data, classes=classes, log=note)
    if html is not None:
        write_text(html, split_page(quality, title=f"Split {split.name}"), overwrite=overwrite)
    show(
        quality,
        json=json,
        human=[*quality_tables(quality), *quality.get("explained", []), *outlier_table(quality)],
        wrote=html,
        next=_training(data or recorded[0], recorded[1], split, classes),
    )


@app.command()
def check(
    split: SplitFile,
    data: Data,
    groups: Groups = None,
    images: Images = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Check that a split of trashkit or another tool fits the data, does not leak, and has every class in every fold.

    The exit code is 1 if it is not a partition, or if a group (near-duplicates with --images, or --groups) is in both
    train and val of a fold. Without these options, the groups recorded in the split are checked.

    Examples:

      trashkit split check split.json --data train.json --images photos

      trashkit split check folds.csv --data train.json --groups folder
    """
    from trashkit.split.quality import merge_repeats
    from trashkit.workflows.split import check_split_file

    with progress() as report:
        done = check_split_file(
            split, data, groups=groups, images=images, classes=classes, progress=report, log=note, warn=warn
        )
    checked = done.check
    photos: list[object] = [] if images is None else ["--images", images]
    photos += [word for group in groups or () for word in ("--groups", group)]
    human: list[Any] = [f"{finding.severity}: {finding.message}" for finding in checked.findings]
    if checked.quality:
        merged = merge_repeats(checked.quality)
        human += [*quality_tables(merged), *merged["explained"]]
    if checked.passed:
        human.append("the split is valid" + ("" if done.grouped else "; add --images or --groups to check for leaks"))
    show(
        {
            "passed": checked.passed,
            "findings": [
                {
                    "code": finding.code,
                    "severity": finding.severity,
                    "message": finding.message,
                    "row": finding.row,
                    "image_id": finding.image_id,
                    "file_name": finding.file_name,
                    "related": finding.related,
                    "related_count": finding.related_count,
                }
                for finding in checked.findings
            ],
            "quality": checked.quality,
        },
        json=json,
        human=human,
        next="" if checked.passed else command("split", data, *photos, "--out", unused("split.json")),
    )
    if not checked.passed:
        raise typer.Exit(1)
