"""Submission profiles: formats other than the competition's, each described by a small TOML or JSON file.

    kind = "csv"                     # csv, rle-csv, png or coco-results
    size = [256, 256]                # height and width, or "native": each image's own
    columns = ["image_id", "PredictionString"]
    separator = " "                  # csv: between values
    classes = 11                     # must equal the data's, which is the default

The other kinds have ``images`` ("file_name", "stem" or "id": how an image is named), ``empty`` (rle-csv: "row" writes
an empty row for an absent class, "none" leaves it out), ``pixel_order`` (rle-csv: "columns" or "rows"), ``values``
(png: the pixel value of each class) and ``suffix`` (png: what follows the name).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from trashkit.coco import Dataset, Image
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import without_suffix
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.readers import decode_json, decode_toml, read_text

Kind = Literal["csv", "rle-csv", "png", "coco-results"]
Naming = Literal["file_name", "stem", "id"]


@dataclass(frozen=True, slots=True)
class SubmissionProfile:
    """The format of a submission; see the module. size: (height, width), None for each image's own."""

    kind: Kind = "csv"
    size: tuple[int, int] | None = (256, 256)
    columns: tuple[str, ...] = ("image_id", "PredictionString")
    separator: str = " "
    classes: int | None = None
    images: Naming = "file_name"
    empty: Literal["row", "none"] = "row"
    pixel_order: Literal["columns", "rows"] = "columns"
    values: tuple[int, ...] = ()
    suffix: str = ".png"

    def layout(self, dataset: Dataset) -> CsvLayout:
        """Return the CSV layout of a profile of kind "csv"."""
        assert self.size is not None, "read_form refuses a CSV of native size"
        first, second = self.columns
        return CsvLayout(first, second, *self.size, separator=self.separator, classes=len(dataset.classes))


PROFILES: Mapping[str, SubmissionProfile] = {
    "recycle": SubmissionProfile(),
    "kaggle-rle": SubmissionProfile("rle-csv", None, ("ImageId", "ClassId", "EncodedPixels"), images="stem"),
    "png": SubmissionProfile("png", None),
    "cityscapes": SubmissionProfile("png", None, suffix="_labelIds.png"),
    "ade20k": SubmissionProfile("png", None, images="stem"),
    "coco-results": SubmissionProfile("coco-results", None),
}
"""The named profiles."""

_HINT = "named profiles: " + ", ".join(PROFILES)


def read_profile(name: str) -> SubmissionProfile:
    """Return a profile by its name in `PROFILES`, or from a TOML or JSON file; TrashkitError for anything else."""
    if name in PROFILES:
        return PROFILES[name]
    path = Path(name)
    if not path.is_file():
        near = get_close_matches(name, PROFILES)
        raise TrashkitError(
            f"there is no profile {name}" + (f" (did you mean {near[0]}?)" if near else ""),
            hint=f"{_HINT}; or give a TOML or JSON file",
        )
    try:
        text = read_text(path)
        value = decode_json(text) if path.suffix.lower() == ".json" else decode_toml(text)
    except (OSError, ValueError) as error:
        raise TrashkitError(f"{path} cannot be read as a profile: {read_error_reason(error)}", hint=_HINT) from error
    if not isinstance(value, dict):
        raise TrashkitError(f"{path} is not a profile", hint='write kind = "csv", size = [256, 256] ...')
    return _profile(value, path)


def _profile(value: dict[str, Any], path: Path) -> SubmissionProfile:
    known = [field.name for field in fields(SubmissionProfile)]
    for key in value:
        if key not in known:
            near = get_close_matches(key, known)
            raise TrashkitError(
                f"{path}: a profile has no {key}" + (f" (did you mean {near[0]}?)" if near else ""),
                hint=f"it may have {', '.join(known)}",
            )
    kind = _choice(value, "kind", get_args(Kind), "csv", path)
    base = next(profile for profile in PROFILES.values() if profile.kind == kind)
    profile = replace(
        base,
        size=_size(value.get("size", base.size), path),
        columns=tuple(_texts(value.get("columns", list(base.columns)), "columns", path)),
        separator=_texts([value.get("separator", base.separator)], "separator", path)[0],
        suffix=_texts([value.get("suffix", base.suffix)], "suffix", path)[0],
        classes=_whole([value["classes"]], "classes", path)[0] if "classes" in value else None,
        images=_choice(value, "images", get_args(Naming), base.images, path),
        empty=_choice(value, "empty", ("row", "none"), base.empty, path),
        pixel_order=_choice(value, "pixel_order", ("columns", "rows"), base.pixel_order, path),
        values=tuple(_whole(value.get("values", []), "values", path)),
    )
    _refuse(profile, path)
    return profile


def _refuse(profile: SubmissionProfile, path: Path) -> None:
    """TrashkitError for settings that contradict each other."""
    wrong = ""
    if profile.kind == "csv" and (len(profile.columns) != 2 or profile.size is None):
        wrong = "a csv has two columns and one size"
    elif profile.kind == "rle-csv" and len(profile.columns) not in (2, 3):
        wrong = "an rle-csv has the columns image, class and pixels, or image_class and pixels"
    elif profile.kind == "coco-results" and profile.size is not None:
        wrong = 'COCO results are of native size: size = "native"'
    elif profile.kind == "png" and not profile.suffix.lower().endswith(".png"):
        wrong = "the suffix of a png ends with .png"
    elif len(set(profile.values)) != len(profile.values) or any(number > 255 for number in profile.values):
        wrong = "values are different numbers up to 255, one for each class"
    if not wrong and profile.kind == "csv":
        try:
            first, second = profile.columns
            height, width = profile.size or (1, 1)
            CsvLayout(first, second, height, width, separator=profile.separator, classes=profile.classes or 11)
        except ValueError as error:
            wrong = str(error)
    if wrong:
        raise TrashkitError(f"{path}: {wrong}", hint="correct the profile")


def _choice(value: dict[str, Any], key: str, choices: tuple[Any, ...], default: Any, path: Path) -> Any:
    found = value.get(key, default)
    if not isinstance(found, str) or found not in choices:
        raise TrashkitError(f"{path}: {key} is {found!r}", hint="choose one of " + ", ".join(choices))
    return found


def _size(value: Any, path: Path) -> tuple[int, int] | None:
    if value is None or value == "native":
        return None
    sides = _whole(value if isinstance(value, list | tuple) else [value], "size", path)
    if len(sides) not in (1, 2) or min(sides) < 1 or max(sides) > 1 << 15:
        raise TrashkitError(f"{path}: size is {value!r}", hint='write size = [height, width] or size = "native"')
    return sides[0], sides[-1]


def _texts(value: Any, key: str, path: Path) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        raise TrashkitError(f"{path}: {key} is not text", hint=f"write {key} in quotes")
    return value


def _whole(value: Any, key: str, path: Path) -> list[int]:
    if not isinstance(value, list | tuple) or not all(type(item) is int and item >= 0 for item in value):
        raise TrashkitError(f"{path}: {key} is {value!r}", hint=f"{key} takes whole numbers of at least 0")
    return list(value)


def fit_profile(profile: SubmissionProfile, dataset: Dataset) -> SubmissionProfile:
    """Return the profile with the number of classes of `dataset`; TrashkitError where it says another number."""
    count = len(dataset.classes)
    for what, found in (("classes", profile.classes), ("values", len(profile.values) or None)):
        if found is not None and found != count:
            raise TrashkitError(
                f"the profile has {found} {what}, the data {count} classes (background included)",
                hint="correct the profile, or choose other --classes",
            )
    return replace(profile, classes=count)


def profile_of_layout(layout: CsvLayout) -> SubmissionProfile:
    """Return the profile of a CSV with this layout."""
    columns = (layout.image_column, layout.values_column)
    return SubmissionProfile("csv", (layout.height, layout.width), columns, layout.separator, layout.classes)


def image_key(image: Image, profile: SubmissionProfile) -> str:
    """Return the name of an image in the profile."""
    if profile.images == "id":
        return str(image.id)
    if profile.images == "stem":
        return PurePosixPath(image.file_name).stem
    return without_suffix(image.file_name).as_posix() if profile.kind == "png" else image.file_name


def images_by_key(dataset: Dataset, profile: SubmissionProfile) -> dict[str, Image]:
    """Return images by their name in the profile; TrashkitError where two share one."""
    found: dict[str, Image] = {}
    for image in dataset.images:
        key = image_key(image, profile)
        if key in found:
            raise TrashkitError(
                f"{found[key].file_name} and {image.file_name} are both named {key}",
                hint='set images = "file_name" or "id" in the profile',
            )
        found[key] = image
    return found
