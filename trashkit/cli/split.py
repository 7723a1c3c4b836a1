"""``trashkit split``: search folds that can be trusted, export them, show them, check any split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.cli.groups import Commands, default_group
from trashkit.cli.output import Classes, Json, Overwrite, command, note, progress, show, warn
from trashkit.cli.split_photos import factors, look
from trashkit.cli.split_tables import (
    foreign_table,
    likeness_report,
    peer_report,
    quality_tables,
    search_tables,
    tell,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from trashkit.coco import Dataset
    from trashkit.split.peers import Peer

app = Commands(
    cls=default_group("search"),
    help="Search folds stratified by pixels, instances and images of each class (the default), export, show, check.",
    no_args_is_help=True,
)

Groups = Annotated[
    list[str] | None,
    typer.Option(
        "--groups",
        metavar="field:NAME|folder|regex:PATTERN|file:PATH",
        help="What must stay in one fold; may be given several times. The file is a JSON object from image id or file "
        "name to group, or a text with a line FILE NAME,GROUP for each image; images it does not name stand alone.",
    ),
]
Images = Annotated[
    Path | None, typer.Option("--images", help="Folder of the photos: near-duplicates then stay in one fold.")
]
SplitFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPLIT.json|FOLDS.csv|LIST.txt|FOLDER",
        help="Split to read: of trashkit, or a CSV of image_id or file_name and fold, a list of validation images, a "
        "folder with train and val of each fold as COCO files or lists.",
    ),
]
Data = Annotated[Path, typer.Option("--data", help="The COCO file that the split is of.")]


@app.command()
def search(
    annotations: Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO file to split.")],
    out: Annotated[Path, typer.Option("--out", help="Split to write.")],
    folds: Annotated[int | None, typer.Option("--folds", help="Number of folds. Default: 5.")] = None,
    holdout: Annotated[
        float | None, typer.Option("--holdout", help="One validation set of this share instead of folds.")
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", help="Search this many times, each from another seed.")] = 1,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the search.")] = 0,
    groups: Groups = None,
    images: Images = None,
    test: Annotated[
        Path | None, typer.Option("--test", help="COCO file of the test photos, in --images or --test-images.")
    ] = None,
    test_images: Annotated[Path | None, typer.Option("--test-images", help="Folder of the test photos.")] = None,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder",
            metavar="auto|none|NAME|RUN",
            help="What tells test photos from training photos beside colour, texture, sharpness and size: features of "
            "a pretrained encoder, or of a run. auto: weights of an installed package, on a GPU or for up to 2,000 "
            "photos, which take about a minute of one core, ten times as long as without.",
        ),
    ] = "auto",
    trials: Annotated[
        int | None, typer.Option("--trials", help="Swaps to try; more takes longer. Default: 200 million.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option("--seconds", help="Stop by time instead; the result then depends on the machine.")
    ] = None,
    starts: Annotated[int, typer.Option("--starts", help="Starts that share the trials.")] = 4,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight",
            metavar="CRITERION=FACTOR",
            help="How much more than by default a criterion counts, 0 for not at all: images, pixel_share, instances, "
            "support (images of each class), object_size, objects_per_image, statistics; several may be given.",
        ),
    ] = None,
    compare_peers: Annotated[
        bool, typer.Option("--compare-peers", help="Measure other splitters on the same data, best of many seeds.")
    ] = False,
    peer_seeds: Annotated[int, typer.Option("--peer-seeds", min=1, help="Seeds for each other splitter.")] = 100,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Split a data set into folds that each look like the whole.

    Every fold gets its share of each class's pixels, instances and images, of object sizes and of crowded images;
    rare classes come first, and groups of images are never broken. The same seed gives the same split. Ctrl-C keeps
    the best so far.

    Examples:

      trashkit split train.json --out split.json

      trashkit split train.json --out split.json --images photos --groups folder --compare-peers

      trashkit split train.json --out split.json --holdout 0.2 --seed 3

      trashkit split train.json --out split.json --images photos --test test.json --encoder auto
    """
    from trashkit.coco import read_dataset
    from trashkit.errors import TrashkitError
    from trashkit.files import refuse_existing
    from trashkit.split.files import Split, write_split
    from trashkit.split.make import make_split
    from trashkit.split.peers import compare_peers as measure
    from trashkit.split.search import DEFAULT_TRIALS

    refuse_existing(out, overwrite=overwrite)
    if test is not None and images is None:
        raise TrashkitError("--test needs the photos", hint="add --images DIR (and --test-images DIR)")
    if test is None and encoder not in ("auto", "none"):
        raise TrashkitError("--encoder compares training with test photos", hint="add --test TEST.json")
    if folds is not None and holdout is not None:
        raise TrashkitError("--folds and --holdout exclude each other", hint="give one of them")
    if seconds is not None and not 0 < seconds < float("inf"):
        raise TrashkitError(f"--seconds {seconds:g} is no time", hint="give seconds above 0, such as --seconds 10")
    weights = factors(weight or [])
    dataset = read_dataset(annotations, classes=classes)
    _tell_group_files(dataset, groups or [])
    options: dict[str, Any] = {}
    peers: list[Peer] = []
    with progress() as report:
        alike = look(dataset, images, test, test_images, encoder, seed, options, report)
        made = make_split(
            dataset,
            folds=5 if folds is None else folds,
            holdout=holdout,
            repeats=repeats,
            seed=seed,
            rules=groups or (),
            trials=trials if trials is not None else 10**15 if seconds is not None else DEFAULT_TRIALS,
            seconds=seconds,
            starts=starts,
            weights=weights,
            progress=report,
            settings={
                "images": str(images) if images else None,
                "test": str(test) if test else None,
                **({"encoder": encoder} if test else {}),
                "classes": classes,
            },
            **options,
        )
        if compare_peers and not made.found[-1].interrupted:
            peers = measure(made.plan, seeds=peer_seeds, seed=seed, progress=report)
    quality = dict(made.split.quality)
    if peers:
        quality["peers"] = {peer.name: peer_report(peer) for peer in peers}
    if alike is not None:
        quality["test_likeness"] = likeness_report(*alike)
    split = Split(made.split.folds, quality, made.split.seed, made.split.source)
    write_split(split, out, overwrite=overwrite)
    tell(made, peers, peer_seeds, alike and alike[0])
    show(
        split.as_json(),
        json=json,
        human=[*search_tables(made, peers), *foreign_table(quality)],
        wrote=out,
        next=command("split", "show", out, "--html", out.with_suffix(".html")),
    )


def _tell_group_files(dataset: Dataset, rules: list[str]) -> None:
    from trashkit.split.groups import group_file_notes

    for rule in rules:
        for line in group_file_notes(dataset, rule):
            warn(line)


def _settings(path: Path) -> dict[str, Any]:
    """What the split was searched with; empty where it was made elsewhere."""
    from trashkit.split.elsewhere import is_foreign
    from trashkit.split.files import load_split

    found = {} if is_foreign(path) else load_split(path).source.get("settings")
    return found if isinstance(found, dict) else {}


def _classes(path: Path, given: str | None) -> str | None:
    """--classes, or else those that the split was searched with."""
    recorded = _settings(path).get("classes")
    if given is not None or not isinstance(recorded, str):
        return given
    note(f"classes: {recorded}, as the split was made")
    return recorded


@app.command()
def export(
    split: SplitFile,
    data: Data,
    out: Annotated[Path, typer.Option("--out", help="Folder to write.")],
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Write each fold as two COCO files, fold-K/train.json and fold-K/val.json, rows and ids untouched.

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
        Path | None, typer.Option("--data", help="The COCO file it is of; needed for splits made elsewhere.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Page to write.")] = None,
    classes: Classes = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Show what each fold holds, in the terminal or as a page with bars.

    Examples:

      trashkit split show split.json

      trashkit split show split.json --html split.html
    """
    from trashkit.coco import read_dataset
    from trashkit.errors import TrashkitError
    from trashkit.files import write_text
    from trashkit.split.check import check_split
    from trashkit.split.files import load_split, read_split
    from trashkit.split.page import split_page
    from trashkit.split.quality import over_repeats

    if data is not None:
        dataset = read_dataset(data, classes=_classes(split, classes))
        quality = over_repeats(check_split(read_split(split, dataset), dataset).quality)
    else:
        quality = dict(load_split(split).quality)
    if not {"criteria", "per_class", "folds"} <= quality.keys():
        raise TrashkitError(f"{split} holds no report of its own", hint="add --data ANN.json")
    if html is not None:
        write_text(html, split_page(quality, title=f"Split {split.name}"), overwrite=overwrite)
    show(
        quality,
        json=json,
        human=[*quality_tables(quality), *quality.get("explained", []), *foreign_table(quality)],
        wrote=html,
        next=command(
            "train", "--split", split, "--fold", "all", "--data", data or "ANN.json", "--images", "DIR", "--out", "RUN"
        ),
    )


def _recorded(path: Path, groups: list[str] | None, images: Path | None) -> tuple[list[str], Path | None]:
    """Groups and photos as given, else as the split was made, where they are still there."""
    settings = _settings(path)
    if groups is None and settings.get("groups"):
        groups = []
        for rule in map(str, settings["groups"]):
            if rule.startswith("file:") and not Path(rule.removeprefix("file:")).exists():
                warn(f"the split was made with --groups {rule}, which is gone: leaks between those groups are not seen")
            else:
                note(f"groups: {rule}, as the split was made")
                groups.append(rule)
    if images is None and settings.get("near_duplicates") and settings.get("images"):
        folder = Path(str(settings["images"]))
        if folder.is_dir():
            note(f"near-duplicates: of the photos in {folder}, as the split was made")
            images = folder
        else:
            warn(f"the split was made with the photos in {folder}, which are gone: give --images to see leaks")
    return groups or [], images


@app.command()
def check(
    split: SplitFile,
    data: Data,
    groups: Groups = None,
    images: Images = None,
    classes: Classes = None,
    json: Json = False,
) -> None:
    """Test a split, made here or elsewhere: does it fit the data, does it leak, does each fold hold each class.

    Exit code 1 where it is no partition or where a group (near-duplicates with --images, or --groups) is in train and
    in val of a fold. Without these options, the groups that the split was searched with.

    Examples:

      trashkit split check split.json --data train.json --images photos

      trashkit split check folds.csv --data train.json --groups folder
    """
    from trashkit.coco import read_dataset
    from trashkit.split.appearance import appearance, near_duplicates
    from trashkit.split.check import check_split
    from trashkit.split.files import open_split
    from trashkit.split.quality import over_repeats

    dataset = read_dataset(data, classes=_classes(split, classes))
    loaded = open_split(split, dataset)
    if loaded.source.get("form"):
        note(f"{split} was read as {loaded.source['form']}; number of folds: {len(loaded.folds)}")
    for line in loaded.source.get("notes", []):
        warn(line)
    groups, images = _recorded(split, groups, images)
    _tell_group_files(dataset, groups)
    photo_group: NDArray[np.intp] | None = None
    if images is not None:
        with progress() as report:
            photo_group = near_duplicates(appearance(dataset, images, progress=report))
    checked = check_split(loaded, dataset, rules=groups, photo_group=photo_group)
    human: list[Any] = [f"{finding.severity}: {finding.message}" for finding in checked.findings]
    if checked.quality:
        whole = over_repeats(checked.quality)
        human += [*quality_tables(whole), *whole["explained"]]
    if checked.passed:
        human.append(
            "the split is sound" + ("" if groups or images else "; leaks need --images or --groups to be seen")
        )
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
        next="" if checked.passed else command("split", data, "--out", "NEW_SPLIT.json"),
    )
    if not checked.passed:
        raise typer.Exit(1)
