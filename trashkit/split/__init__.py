"""Split a data set into folds: search, quality report, check, export, and splits of other tools."""

from trashkit.split.files import Split, open_split, write_split
from trashkit.split.make import make_split

__all__ = [
    "Split",
    "make_split",
    "open_split",
    "write_split",
]
