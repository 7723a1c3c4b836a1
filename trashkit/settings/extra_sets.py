"""Further data sets as text: ``OTHER.json:IMAGES_DIR[:WEIGHT]``."""

from __future__ import annotations

from pathlib import Path

from trashkit.errors import TrashkitError


def split_extra(text: str) -> tuple[Path, Path, float]:
    """Annotation file, photo folder and weight (1 by default) of a data set given as ``JSON:DIR[:WEIGHT]``.

    Raises TrashkitError for a malformed text, a weight that is not above 0, and a folder that does not exist.
    """
    first, colon, last = text.rpartition(":")
    weight = 1.0
    try:
        weight = float(last)
    except ValueError:
        first, last = text, ""
    names = first.rsplit(":", 1) if colon else [text]
    if last and not 0 < weight < float("inf"):
        raise TrashkitError(
            f'--extra "{text}": the weight is {last}', hint="give a weight above 0, such as :0.5; the default is 1"
        )
    if len(names) != 2 or not all(names):
        raise TrashkitError(
            f'--extra "{text}" does not name an annotation file and a photo folder',
            hint="write OTHER.json:IMAGES_DIR or OTHER.json:IMAGES_DIR:0.5",
        )
    path, folder = Path(names[0]), Path(names[1])
    if not folder.exists() and ":" in names[0]:
        raise TrashkitError(
            f'--extra "{text}": {folder} is neither a folder nor a weight', hint="write OTHER.json:IMAGES_DIR:0.5"
        )
    if not folder.is_dir():
        raise TrashkitError(f"the photo folder {folder} does not exist", hint="write --extra OTHER.json:IMAGES_DIR:0.5")
    return path, folder, weight
