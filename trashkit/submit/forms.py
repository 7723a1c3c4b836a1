"""Forms of a submission other than the competition's, each said by a small TOML or JSON file (a profile).

    kind = "csv"                     # csv, rle-csv, png or coco-results
    size = [256, 256]                # height and width, or "native": each image's own
    columns = ["image_id", "PredictionString"]
    separator = " "                  # csv: between values
    classes = 11                     # must be the data's; left out: the data's

The other kinds know ``images`` ("file_name", "stem" or "id": how an image is named), ``empty`` (rle-csv: "row" writes
an empty row for an absent class, "none" leaves it out), ``pixel_order`` (rle-csv: "columns" or "rows"), ``values``
(png: the pixel value of each class) and ``suffix`` (png: what follows the name).
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.submission import Profile

Kind = Literal["csv", "rle-csv", "png", "coco-results"]
Naming = Literal["file_name", "stem", "id"]


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a submission; see the module. size: (height, width), None for each image's own."""

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

    def profile(self, dataset: Dataset) -> Profile:
        """The CSV profile of a form of kind "csv"."""
        assert self.size is not None, "read_form refuses a CSV of native size"
        first, second = self.columns
        return Profile(first, second, *self.size, separator=self.separator, classes=len(dataset.classes))


FORMS: Mapping[str, Form] = {
    "recycle": Form(),
    "kaggle-rle": Form("rle-csv", None, ("ImageId", "ClassId", "EncodedPixels"), images="stem"),
    "png": Form("png", None),
    "cityscapes": Form("png", None, suffix="_labelIds.png"),
    "ade20k": Form("png", None, images="stem"),
    "coco-results": Form("coco-results", None),
}
"""The forms that have a name."""

_HINT = "profiles with a name: " + ", ".join(FORMS)


def read_form(name: str) -> Form:
    """A form by its name in `FORMS`, or from a TOML or JSON file. TrashkitError where it is neither, or is wrong."""
    if name in FORMS:
        return FORMS[name]
    path = Path(name)
    if not path.is_file():
        near = get_close_matches(name, FORMS)
        raise TrashkitError(
            f"there is no profile {name}" + (f", perhaps {near[0]}" if near else ""),
            hint=f"{_HINT}; or give a TOML or JSON file",
        )
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise TrashkitError(f"{path} cannot be read as a profile: {error}", hint=_HINT) from error
    if not isinstance(value, dict):
        raise TrashkitError(f"{path} is no profile", hint='write kind = "csv", size = [256, 256] ...')
    return _form(value, path)


def _form(value: dict[str, Any], path: Path) -> Form:
    known = [field.name for field in fields(Form)]
    for key in value:
        if key not in known:
            near = get_close_matches(key, known)
            raise TrashkitError(
                f"{path}: a profile has no {key}" + (f", perhaps {near[0]}" if near else ""),
                hint=f"it may have {', '.join(known)}",
            )
    kind = _choice(value, "kind", get_args(Kind), "csv", path)
    base = next(form for form in FORMS.values() if form.kind == kind)
    form = replace(
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
    _refuse(form, path)
    return form


def _refuse(form: Form, path: Path) -> None:
    """TrashkitError for settings that do not go together."""
    wrong = ""
    if form.kind == "csv" and (len(form.columns) != 2 or form.size is None):
        wrong = "a csv has two columns and one size"
    elif form.kind == "rle-csv" and len(form.columns) not in (2, 3):
        wrong = "an rle-csv has the columns image, class and pixels, or image_class and pixels"
    elif form.kind == "coco-results" and form.size is not None:
        wrong = 'COCO results are of native size: size = "native"'
    elif form.kind == "png" and not form.suffix.lower().endswith(".png"):
        wrong = "the suffix of a png ends with .png"
    elif len(set(form.values)) != len(form.values) or any(number > 255 for number in form.values):
        wrong = "values are different numbers up to 255, one for each class"
    if not wrong and form.kind == "csv":
        try:
            first, second = form.columns
            height, width = form.size or (1, 1)
            Profile(first, second, height, width, separator=form.separator, classes=form.classes or 11)
        except ValueError as error:
            wrong = str(error)
    if wrong:
        raise TrashkitError(f"{path}: {wrong}", hint="correct the profile")


def _choice(value: dict[str, Any], key: str, choices: tuple[Any, ...], default: Any, path: Path) -> Any:
    found = value.get(key, default)
    if found not in choices:
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
        raise TrashkitError(f"{path}: {key} is no text", hint=f"write {key} in quotes")
    return value


def _whole(value: Any, key: str, path: Path) -> list[int]:
    if not isinstance(value, list | tuple) or not all(type(item) is int and item >= 0 for item in value):
        raise TrashkitError(f"{path}: {key} is {value!r}", hint=f"{key} takes whole numbers of at least 0")
    return list(value)


def fitting(form: Form, dataset: Dataset) -> Form:
    """The form for these images and classes; TrashkitError where its number of classes or values is another."""
    count = len(dataset.classes)
    for what, found in (("classes", form.classes), ("values", len(form.values) or None)):
        if found is not None and found != count:
            raise TrashkitError(
                f"the profile has {found} {what}, the data {count} classes (background included)",
                hint="correct the profile, or choose other --classes",
            )
    return replace(form, classes=count)


def form_of_profile(profile: Profile) -> Form:
    """The form of a CSV of this profile."""
    columns = (profile.image_column, profile.values_column)
    return Form("csv", (profile.height, profile.width), columns, profile.separator, profile.classes)
