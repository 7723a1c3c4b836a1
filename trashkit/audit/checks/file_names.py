"""Checks of images and their file names: repeated names, names outside the folder, images without annotations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from trashkit.audit.registry import Hit, check
from trashkit.audit.views.fields import shown
from trashkit.audit.views.table import Table, repeated
from trashkit.finding import Severity


def _plain(name: str | None) -> str | None:
    return None if name is None else name.replace("\\", "/").removeprefix("./")


def _empty(coco: dict[str, Any]) -> None:
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] != 1]


@check("S030", "image-without-annotations", Severity.INFO, on="file", broken=_empty)
def image_without_annotations(table: Table) -> Iterator[Hit]:
    """An image has no annotations: it is empty, or someone forgot to annotate it.

    If no image of the file has any, as in a test set, there is one finding for the file.

    Example::

        {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}

    Fix: check it; images that are empty on purpose are useful training data.
    """
    rows = np.flatnonzero(table.annotations_per_image == 0).tolist()
    if len(rows) == len(table.image_ids) > 1:
        yield Hit(None, f"none of the {len(rows)} images has annotations", block="images")
    else:
        for row in rows:
            yield Hit(row, "image has no annotations", block="images")


def _same_name(coco: dict[str, Any]) -> None:
    coco["images"][1]["file_name"] = coco["images"][0]["file_name"]


@check("S031", "duplicate-file-name", Severity.ERROR, on="file", broken=_same_name)
def duplicate_file_name(table: Table) -> Iterator[Hit]:
    """Several images have the same file name: the photo counts twice in training, possibly with contradictory labels.

    It can also end up on both sides of a split. Reported once for each row after the first.

    Example::

        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "a.jpg"}]}

    Fix: move the annotations to one of the images and delete the other.
    """
    for name, rows in repeated([_plain(name) for name in table.file_names]):
        for row in rows[1:]:
            others = [other for other in rows if other != row]
            yield Hit(
                row,
                f"{len(rows)} images have file_name {shown(name, 80)}",
                float(len(rows)),
                related=others,
                block="images",
            )


def _case(coco: dict[str, Any]) -> None:
    coco["images"][1]["file_name"] = coco["images"][0]["file_name"].upper()


@check("S032", "file-name-case", Severity.WARNING, on="file", broken=_case)
def file_name_case(table: Table) -> Iterator[Hit]:
    """File names differ only in case: one file on macOS and Windows, two on Linux.

    Example::

        {"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "A.JPG"}]}

    Fix: rename the photos.
    """
    plain = [_plain(name) for name in table.file_names]
    for _, rows in repeated([None if name is None else name.casefold() for name in plain]):
        if len({plain[row] for row in rows}) > 1:
            names = ", ".join(shown(plain[row], 60) for row in rows[:3])
            yield Hit(
                rows[0],
                f"file names of {len(rows)} images differ only in case: {names}",
                float(len(rows)),
                related=rows[1:],
                block="images",
            )


def _same_base(coco: dict[str, Any]) -> None:
    for n in range(2):
        coco["images"][n]["file_name"] = f"batch_{n}/000001.jpg"


@check("S033", "base-name-repeated", Severity.INFO, on="file", broken=_same_base)
def base_name_repeated(table: Table) -> Iterator[Hit]:
    """Images in different folders have the same base name, ignoring case. One finding for each name.

    Tools that flatten folders (label exporters, YOLO, submission files) overwrite one with the other.

    Example::

        {"images": [{"id": 1, "file_name": "batch_1/000001.jpg"}, {"id": 2, "file_name": "batch_2/000001.JPG"}]}

    Fix: none is needed as long as the whole path is used, as `trashkit` does.
    """
    base = [None if name is None else str(_plain(name)).rpartition("/")[2].casefold() for name in table.file_names]
    for name, rows in repeated(base):
        if len({str(_plain(table.file_names[row])).rpartition("/")[0] for row in rows}) > 1:
            yield Hit(
                rows[0],
                f"base name {shown(name, 80)} is in several folders, {len(rows)} images in total",
                float(len(rows)),
                related=rows[1:],
                block="images",
            )


def _outside(coco: dict[str, Any]) -> None:
    coco["images"][0]["file_name"] = "../../photo.jpg"


@check("S034", "file-name-leaves-folder", Severity.ERROR, on="file", broken=_outside)
def file_name_leaves_folder(table: Table) -> Iterator[Hit]:
    """A file name is absolute, points outside the photo folder, or contains a control character.

    It works only on the machine where the file was made, and could access files that it should not.

    Example::

        {"images": [{"id": 1, "file_name": "/home/me/photos/a.jpg"}, {"id": 2, "file_name": "../a.jpg"}]}

    Fix: make names relative to the photo folder.
    """
    for row, name in enumerate(table.file_names):
        if name is None:
            continue
        plain = name.replace("\\", "/")
        drive = plain[1:3] == ":/"
        control = any(ord(letter) < 32 for letter in plain)
        if plain.startswith("/") or drive or control or ".." in plain.split("/"):
            yield Hit(row, f"file_name {shown(name, 80)} points outside the photo folder", block="images")


def _backslash(coco: dict[str, Any]) -> None:
    coco["images"][0]["file_name"] = "batch_1\\photo.jpg"


@check("S035", "file-name-backslash", Severity.WARNING, on="file", broken=_backslash)
def file_name_backslash(table: Table) -> Iterator[Hit]:
    """A file name separates folders by backslashes, which only Windows understands.

    Example::

        {"images": [{"id": 1, "file_name": "batch_1\\\\000001.jpg"}]}

    Fix: use forward slashes.
    """
    for row, name in enumerate(table.file_names):
        if name is not None and "\\" in name:
            yield Hit(row, f"file_name {shown(name, 80)} separates folders by backslashes", block="images")


def _leak(coco: dict[str, Any]) -> None:
    coco["against"] = {"images": [dict(coco["images"][0])], "annotations": [], "categories": coco["categories"]}


@check("S036", "file-name-in-both-files", Severity.ERROR, on="file", broken=_leak)
def file_name_in_both_files(table: Table) -> Iterator[Hit]:
    """An image has the same file name as one in the file given by `--against`: it is on both sides of a split.

    Example::

        train.json: {"images": [{"id": 1, "file_name": "a.jpg"}]}
        test.json: {"images": [{"id": 9, "file_name": "a.jpg"}]}

    Fix: remove it from one of the two, as `trashkit fix --against OTHER.json --unsafe` does. To find photos that have
    another name there, add `--images`.
    """
    if table.against is None:
        return
    theirs = {_plain(name): row for row, name in enumerate(table.against.file_names) if name is not None}
    for row, name in enumerate(table.file_names):
        if name is not None and _plain(name) in theirs:
            yield Hit(
                row,
                f"file_name {shown(name, 80)} is also images[{theirs[_plain(name)]}] of the other file",
                fix="unsafe",
                block="images",
            )
