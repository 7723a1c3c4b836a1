"""Options that the commands of ``trashkit submit`` share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.predictions.submission_csv import CsvLayout
    from trashkit.submit import SubmissionProfile

SIZE = 256
"""Side of the competition's label maps."""

Sample = Annotated[Path | None, typer.Option("--sample", help="Sample submission to take the header from.")]
Size = Annotated[int, typer.Option("--size", min=1, help="Side of the submission's label maps in pixels.")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Submission format: recycle (default), kaggle-rle, png, cityscapes, ade20k, coco-results, or a "
        "TOML or JSON file. Replaces --sample and --size.",
    ),
]
Train = Annotated[Path | None, typer.Option("--train", help="Training annotations, to compare the class mix with.")]
Against = Annotated[
    list[Path] | None,
    typer.Option("--against", metavar="CSV", help="Earlier submission to compare with. Repeatable."),
]


def data_and_layout(data: Path, sample: Path | None, size: int, classes: str | None) -> tuple[Dataset, CsvLayout]:
    """Read --data, and return it with the layout of its submission CSV."""
    from trashkit.coco import read_dataset
    from trashkit.submit import layout_for

    dataset = read_dataset(data, classes=classes, labels=False)
    return dataset, layout_for(dataset, sample=sample, size=(size, size))


def numbers(text: str | None) -> list[float] | None:
    """Numbers from an option such as ``--weights 2,1,0.5``; TrashkitError for anything else."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TrashkitError(f"{text!r} is not a list of numbers", hint="write them as in --weights 2,1,0.5") from error


def refuse_with_profile(*given: object) -> None:
    """Refuse options of the competition's CSV together with --profile."""
    if any(given):
        raise TrashkitError(
            "--sample, --size, --train and --against are for the competition's CSV",
            hint="leave them out with --profile",
        )


def any_profile(
    data: Path, sample: Path | None, size: int, profile: str | None, classes: str | None
) -> tuple[Dataset, CsvLayout, SubmissionProfile | None]:
    """Read --data, and return it with the layout of a CSV and the profile (None for the competition's CSV)."""
    from trashkit.submit import read_profile
    from trashkit.submit.profiles import fit_profile

    if profile is not None:
        refuse_with_profile(sample, size != SIZE)
    dataset, layout = data_and_layout(data, sample, size, classes)
    if profile is None:
        return dataset, layout, None
    found = fit_profile(read_profile(profile), dataset)
    return dataset, found.layout(dataset) if found.kind == "csv" else layout, found


def profile_options(sample: Path | None, size: int, profile: str | None, classes: str | None) -> tuple[object, ...]:
    """Return the options that describe the submission's format, for the next command."""
    options = (("--sample", sample), ("--profile", profile), ("--classes", classes))
    words: list[object] = [word for name, value in options if value is not None for word in (name, value)]
    return (*words, "--size", size) if size != SIZE else tuple(words)
