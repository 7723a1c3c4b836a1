"""TOML: limits on nesting, dotted keys and numbers."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers.content import ContentError, decode_text, read_bytes
from trashkit.readers.json_text import MOST_LEVELS, check_nesting

_MOST = 4 << 20
"""Most bytes: the parser takes up to a second for each MiB."""
_TOKEN = re.compile(r"""[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+'|\.|[ \t]++|.""", re.DOTALL)


def decode_toml(text: bytes | str) -> dict[str, Any]:
    """Return the tables of a TOML text.

    Raises ContentError where it does not parse, is nested or has a dotted key of more than 100 parts, or holds an
    integer of more than 4,300 digits.
    """
    text = decode_text(text)
    if len(text) > _MOST:
        raise ContentError(f"it is larger than {_MOST >> 20} MiB")
    # A key of n parts takes n² steps and bytes.
    if text.count(".") > MOST_LEVELS and _most_dots(text) > MOST_LEVELS:
        raise ContentError(f"it has a key of more than {MOST_LEVELS} parts")
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ContentError(f"it is nested more than {MOST_LEVELS} levels deep") from None
    except tomllib.TOMLDecodeError as error:
        raise ContentError(" ".join(str(error).split())[:160]) from error
    except (ValueError, OverflowError) as error:  # integers and dates
        reason = "an integer of more than 4300 digits" if "digits" in str(error) else "a number or date out of range"
        raise ContentError(f"it contains {reason}") from error
    check_nesting(value)
    if _HEXADECIMAL.search(text) and _largest(value) >= 10**4300:  # unlike decimal ones, they may have any length
        raise ContentError("it contains an integer of more than 4300 digits")
    return value


_HEXADECIMAL = re.compile(r"0[xob][0-9A-Fa-f_]{3500}")


def _largest(value: Any) -> int:
    """The largest integer in tables and lists; 0 if there is none."""
    if isinstance(value, dict | list):
        return max(map(_largest, value.values() if isinstance(value, dict) else value), default=0)
    return value if isinstance(value, int) else 0


def _most_dots(text: str) -> int:
    """The most dots in a chain of words, as in ``a."b".c``."""
    most = dots = 0
    for token in _TOKEN.finditer(text):
        word = token[0]
        if word == ".":
            dots += 1
            most = max(most, dots)
        elif not (word[0].isalnum() or word[0] in "_-\"' \t"):
            dots = 0
    return most


def read_toml(path: Path | str, *, name: str = "", hint: str = "correct the file") -> dict[str, Any]:
    """Return the tables of a TOML file, see `decode_toml`.

    name: of the file in messages, the path by default. Raises TrashkitError with this hint for whatever is wrong.
    """
    name = name or str(path)
    try:
        data = read_bytes(path)
    except OSError as error:
        raise TrashkitError(f"{name} cannot be read: {read_error_reason(error)}", hint=hint) from error
    try:
        return decode_toml(data)
    except ContentError as error:
        raise TrashkitError(f"{name} is not TOML: {error}", hint=error.hint or hint) from error
