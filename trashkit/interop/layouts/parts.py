"""Parts of a data set, such as train and valid, which are folders in its file names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from trashkit.coco import Coco
from trashkit.errors import TrashkitError
from trashkit.names import composed

Part = Literal["train", "valid", "test"]


def part_of(name: str) -> Part | None:
    """The part of a data set that the name of a file or folder says, as in ``instances_val2017``; None for others."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    if words & {"test", "testing"}:
        return "test"
    if words & {"val", "valid", "validation"}:
        return "valid"
    return "train" if words & {"train", "training"} else None


def only_parts(coco: Coco, parts: Sequence[str]) -> Coco:
    """The images that lie in a folder with one of these names, without regard to case, and their annotations.

    Raises TrashkitError for a part without images.
    """
    folders = [_folders(record.get("file_name")) for record in coco.records("images")]
    wanted = {composed(part.strip()).casefold(): part for part in parts if part.strip()}
    known = {name for some in folders for name in some}
    lacking = next((part for name, part in wanted.items() if name not in known), None)
    if lacking is not None or not wanted:
        shown = ", ".join(sorted(known)[:10]) or "none"
        raise TrashkitError(f"no image is in a folder {lacking or parts}", hint=f"the folders are: {shown}")
    return coco.subset(row for row, some in enumerate(folders) if some & set(wanted))


def _folders(file_name: object) -> set[str]:
    return {composed(part).casefold() for part in str(file_name).replace("\\", "/").split("/")[:-1]}
