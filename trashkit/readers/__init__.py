"""One reader for each form of file, with limits on size, nesting, and the types of what is inside.

Everything that opens a file which another program, an earlier version or a stranger may have written reads it here.
Readers raise OSError for files that cannot be read, with the reason in ``strerror``, and ContentError, a ValueError,
for content that is not as expected; `read_json` and `read_toml` turn both into a TrashkitError that names the file.
"""

from trashkit.readers.content import (
    LARGE,
    SMALL,
    ContentError,
    PointerError,
    as_utf8,
    open_file,
    read_bytes,
    read_text,
)
from trashkit.readers.csv_text import csv_rows, iterate_csv
from trashkit.readers.json_text import MOST_LEVELS, check_nesting, checked, decode_json, read_json
from trashkit.readers.npz import decode_npz
from trashkit.readers.other_forms import (
    HEAD,
    JSON_LINES,
    is_json_lines,
    not_json,
    other_encoding,
    other_form,
    unread_picture,
)
from trashkit.readers.png import png_size
from trashkit.readers.toml_text import decode_toml, read_toml
from trashkit.readers.xml_text import parse_xml
from trashkit.readers.yaml_text import decode_yaml

__all__ = [
    "HEAD",
    "JSON_LINES",
    "LARGE",
    "MOST_LEVELS",
    "SMALL",
    "ContentError",
    "PointerError",
    "as_utf8",
    "check_nesting",
    "checked",
    "csv_rows",
    "decode_json",
    "decode_npz",
    "decode_toml",
    "decode_yaml",
    "is_json_lines",
    "iterate_csv",
    "not_json",
    "open_file",
    "other_encoding",
    "other_form",
    "parse_xml",
    "png_size",
    "read_bytes",
    "read_json",
    "read_text",
    "read_toml",
    "unread_picture",
]
