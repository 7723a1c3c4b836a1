"""Options that several commands share, each declared once.

A command takes one by annotating its parameter with it: ``images: Images``, ``seed: Seed = 0``. Options that only one
command has are declared in its own module. Choices are written out, since reading them from the library's tables would
load numpy for every `--help`; `tests/cli/test_options.py` holds them against the tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from trashkit.cli.help import ADVANCED

# Input

Annotations = Annotated[Path, typer.Argument(metavar="ANN.json", help="COCO annotation file. Never modified.")]
Data = Annotated[Path, typer.Option("--data", "-d", metavar="ANN.json", help="COCO annotation file.")]
TestData = Annotated[
    Path, typer.Option("--data", "-d", metavar="TEST.json", help="COCO file that lists the images, such as test.json.")
]
Truth = Annotated[Path, typer.Option("--data", "-d", metavar="ANN.json", help="COCO file with the true annotations.")]
_IMAGES = typer.Option("--images", "-i", metavar="DIR", help="Folder of the photos.")
Images = Annotated[Path, _IMAGES]
OptionalImages = Annotated[Path | None, _IMAGES]
MovedData = Annotated[
    Path | None, typer.Option("--data", "-d", metavar="ANN.json", help="Annotations, if they moved since the run.")
]
MovedImages = Annotated[
    Path | None, typer.Option("--images", "-i", metavar="DIR", help="Folder of the photos, if it moved since the run.")
]
SplitFile = Annotated[
    Path | None, typer.Option("--split", "-S", metavar="SPLIT.json", help="Split that the folds are taken from.")
]
Extra = Annotated[
    list[str] | None,
    typer.Option(
        "--extra",
        metavar="JSON:DIR[:WEIGHT]",
        help="Add another data set to the training images; classes are matched by name. Repeatable.",
    ),
]
Config = Annotated[
    Path | None,
    typer.Option("--config", metavar="FILE", help="Earlier name of --project.", hidden=True),
]

# What to do

Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="official|own|taco|MAP",
        help="Map categories to classes: the ten official ones, the file's own, TACO's, or a JSON file. "
        "Default: official where all names match, else own.",
        rich_help_panel=ADVANCED,
    ),
]
Fold = Annotated[str | None, typer.Option("--fold", metavar="K", help="Fold to validate on; 0 by default.")]
Recipe = Annotated[
    str | None, typer.Option("--recipe", metavar="NAME|FILE.toml", help="Recipe or settings file to start from.")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", "-s", metavar="KEY=VALUE", help="Change one setting, such as epochs=5. Repeatable."),
]
TrainingSeed = Annotated[int | None, typer.Option("--seed", min=0, help="Same as --set seed=N.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Random seed.", rich_help_panel=ADVANCED)]
Select = Annotated[
    list[str] | None,
    typer.Option("--select", metavar="CODES", help="Only these checks, such as G003,G or invalid-ring."),
]
Ignore = Annotated[list[str] | None, typer.Option("--ignore", metavar="CODES", help="Skip these checks.")]
NearDuplicateMatching = Annotated[
    Literal["off", "strict", "normal"],
    typer.Option(
        "--near-duplicate-matching",
        help="How certain near-duplicates must be (with --images); off skips the search for them.",
        rich_help_panel=ADVANCED,
    ),
]
Size = Annotated[int, typer.Option("--size", min=1, help="Side in pixels at which label maps are compared.")]
CsvSize = Annotated[
    int,
    typer.Option("--csv-size", min=1, help="Side of the label maps in a submission CSV.", rich_help_panel=ADVANCED),
]
PaintOrder = Annotated[
    Literal["area", "class", "length", "file"],
    typer.Option(
        "--order",
        help="Paint order, which decides what overlapping annotations show: by descending area, by class, by polygon "
        "length, or as in the file.",
        rich_help_panel=ADVANCED,
    ),
]
StoreType = Annotated[
    Literal["uint8", "float16"],
    typer.Option("--dtype", help="Number type of the store; float16 takes twice the space.", rich_help_panel=ADVANCED),
]
Tta = Annotated[
    Literal["none", "flip", "flips", "d4", "scales", "scales-flip"],
    typer.Option("--tta", help="Test-time augmentation: the views of a photo whose predictions are averaged."),
]
Device = Annotated[
    Literal["auto", "cpu"],
    typer.Option("--device", help="cpu ignores a GPU.", rich_help_panel=ADVANCED),
]
Level = Annotated[
    float, typer.Option("--level", min=0.5, max=0.999, help="Level of the intervals.", rich_help_panel=ADVANCED)
]
AllData = Annotated[bool, typer.Option("--all-data", help="Train on all images, without validation.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything and print the plan, without training.")]
Weights = Annotated[
    str | None, typer.Option("--weights", metavar="W,W,...", help="One weight per input, such as 2,1,1.")
]

# Output

OutFile = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="File to write.")]
OutFolder = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Folder to write.")]
OutStore = Annotated[Path, typer.Option("--out", "-o", metavar="STORE", help="Probability store to write.")]
_OUT_RUN = typer.Option("--out", "-o", metavar="RUN", help="Run folder to write.")
OutRun = Annotated[Path, _OUT_RUN]
OptionalOutRun = Annotated[Path | None, _OUT_RUN]
Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Also write a self-contained HTML page.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout, everything else on stderr.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")]
Resume = Annotated[
    bool, typer.Option("--resume", help="Continue an output that was started with the same inputs and settings.")
]
