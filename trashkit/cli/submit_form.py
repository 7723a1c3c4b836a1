"""Options that the commands of ``trashkit submit`` share, and what they mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    from trashkit.coco import Dataset
    from trashkit.submission import Profile
    from trashkit.submit import Form

SIZE = 256
"""Side of the competition's label maps."""

Data = Annotated[Path, typer.Option("--data", help="COCO file that lists the images, such as test.json.")]
Sample = Annotated[Path | None, typer.Option("--sample", help="Sample submission whose header is taken.")]
Size = Annotated[int, typer.Option("--size", min=1, help="Side of the submission's label maps in pixels.")]
ProfileName = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME|FILE",
        help="Form of the submission: recycle (the default), kaggle-rle, png, cityscapes, ade20k, coco-results, or a "
        "TOML or JSON file; instead of --sample and --size.",
    ),
]
Train = Annotated[Path | None, typer.Option("--train", help="Training annotations, to compare the class mix.")]
Against = Annotated[
    list[Path] | None,
    typer.Option(
        "--against", metavar="CSV", help="Earlier submission to compare sameness and class mix; may be repeated."
    ),
]
Out = Annotated[Path, typer.Option("--out", help="File to write.")]


def form_of(data: Path, sample: Path | None, size: int, classes: str | None) -> tuple[Dataset, Profile]:
    """The images that are asked for, and the form of their submission."""
    from trashkit.coco import read_dataset
    from trashkit.submit import profile_of

    dataset = read_dataset(data, classes=classes, labels=False)
    return dataset, profile_of(dataset, sample=sample, size=(size, size))


def numbers(text: str | None) -> list[float] | None:
    """Numbers from an option such as ``--weights 2,1,0.5``; TrashkitError for anything else."""
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise TrashkitError(f"{text!r} is no list of numbers", hint="write them as in --weights 2,1,0.5") from error


def paint_order(text: str) -> Any:
    """A paint order by name; TrashkitError for an unknown one."""
    if text not in ("area", "class", "length", "file"):
        raise TrashkitError(f'there is no paint order "{text}"', hint="choose --order from: area, class, length, file")
    return text


def refuse_with_form(*given: object) -> None:
    """Refuse options of the competition's CSV beside --profile."""
    if any(given):
        raise TrashkitError(
            "--sample, --size, --train and --against are for the competition's CSV",
            hint="leave them out with --profile",
        )


def any_form(
    data: Path, sample: Path | None, size: int, form: str | None, classes: str | None
) -> tuple[Dataset, Profile, Form | None]:
    """The images that are asked for, and the form of their submission: a profile, or the competition's CSV (None)."""
    from trashkit.submit import read_form
    from trashkit.submit.forms import fitting

    if form is not None:
        refuse_with_form(sample, size != SIZE)
    dataset, profile = form_of(data, sample, size, classes)
    if form is None:
        return dataset, profile, None
    found = fitting(read_form(form), dataset)
    return dataset, found.profile(dataset) if found.kind == "csv" else profile, found


def same_form(sample: Path | None, size: int, form: str | None, classes: str | None) -> tuple[object, ...]:
    """The options that say a submission's form, for the next command line."""
    options = (("--sample", sample), ("--profile", form), ("--classes", classes))
    words: list[object] = [word for name, value in options if value is not None for word in (name, value)]
    return (*words, "--size", size) if size != SIZE else tuple(words)
