"""Label changes as patches: edits and edit logs, which can be made, applied, inverted and merged."""

from trashkit.edits.apply import apply, invert
from trashkit.edits.edit import Edit
from trashkit.edits.log import EditLog, read_log, write_log

__all__ = [
    "Edit",
    "EditLog",
    "apply",
    "invert",
    "read_log",
    "write_log",
]
