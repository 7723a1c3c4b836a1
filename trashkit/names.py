"""How names from files are shown: nothing in them can imitate a line of ours, move the cursor, or be invisible.

Names of files, categories and reviewers come from other people. Everything that prints text escapes it here: the
command line does so for each line that it prints, pages for all their text.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterable
from typing import Any, TypeVar

V = TypeVar("V")

_INVISIBLE = (
    "\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_LOOK_INVISIBLE = re.compile(f"[{_INVISIBLE}]")
"""What Unicode lists as ignorable by default, and what is drawn as nothing, such as the Hangul filler."""
_CI_COMMAND = re.compile(r"^\s*:(?=:)|#(?=#\w*\[)")
"""Where CI systems look for commands: ``::error::`` at the start of a line, ``##[error]`` and ``##vso[`` anywhere."""
_JOINED_SCRIPTS = re.compile("[\u0600-\u109f\u1780-\u18aa\ufb50-\ufdff\ufe70-\ufefc]")
"""Arabic, the scripts of India, Myanmar, Khmer and Mongolian: they use joiners inside words."""


def composed(name: str) -> str:
    """A name in Unicode's composed form (NFC), by which names are compared: macOS decomposes those of files."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


class ByName(dict[str, V]):
    """Values by name, for which the forms of Unicode are one (see `composed`). Names come back composed."""

    def __init__(self, items: Iterable[tuple[str, V]] = ()) -> None:
        super().__init__()
        for name, value in items:
            self[name] = value

    def __setitem__(self, name: str, value: V) -> None:
        super().__setitem__(composed(name), value)

    def __getitem__(self, name: str) -> V:
        return super().__getitem__(composed(name))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(composed(name))

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name, or `default`."""
        return super().get(composed(name), default)

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The value of a name, which becomes `default` if it has none."""
        return super().setdefault(composed(name), default)


def printable(text: str, *, page: bool = False) -> str:
    """Escape what a terminal would obey and what a reader would not see, as in ``\\n``, ``\\x1b`` and ``\\u200b``.

    That is: control characters and line ends, bidirectional controls, zero-width and other invisible characters,
    surrogates, and characters of no or private meaning. Joiners stand inside words of scripts that need them and inside
    emoji, and so does the selector of a coloured emoji; all other text stands as it is. What CI systems take for a
    command gets a backslash inside. page: for HTML, where line ends, tabs and such commands stand.
    """
    if not page and ("##" in text or "::" in text):
        text = _CI_COMMAND.sub(lambda found: f"{found[0]}\\", text)
    if text.isprintable() and (text.isascii() or not _LOOK_INVISIBLE.search(text)):
        return text
    return "".join(
        one
        if (page and one in "\n\t") or _is_visible(text, at)
        else one.encode("unicode_escape", "surrogatepass").decode()
        for at, one in enumerate(text)
    )


def _is_visible(text: str, at: int) -> bool:
    one = text[at]
    if one in "\u200c\u200d\ufe0e\ufe0f":
        before, after = text[at - 1 : at] if at else "", text[at + 1 : at + 2]
        if one in "\ufe0e\ufe0f":
            return _is_symbol(before) or (before != "" and before in "0123456789#*" and after == "\u20e3")
        words = bool(_JOINED_SCRIPTS.match(before) and _JOINED_SCRIPTS.match(after))
        picture = one == "\u200d" and (before == "\ufe0f" or _is_symbol(before)) and _is_symbol(after)
        return words or picture
    if unicodedata.category(one) == "Zs":
        return True
    return one.isprintable() and not _LOOK_INVISIBLE.match(one)


def _is_symbol(one: str) -> bool:
    return one != "" and unicodedata.category(one) in ("So", "Sk", "Sm") and one != "\u2800"


def printable_cell(text: str) -> str:
    """As `printable`, for text that may be wrapped anywhere: every ``::`` that may start a command gets a backslash."""
    return re.sub(r":(?=:[\w-]+[^:]*::)", r":\\", printable(text)) if "::" in text else printable(text)


def shortened(text: str, most: int) -> str:
    """Shorten a text to `most` characters in the middle, since names often differ at the end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most - 1 - most // 2) :]}"


def quoted(word: str) -> str:
    """Quote a word of a command line to copy: as `shlex.quote`, and ``$'...'`` where it holds what `printable` escapes.

    bash, zsh and ksh read both; bytes of a file name that are not UTF-8 are kept.
    """
    if printable(word) == word:
        return shlex.quote(word)
    escaped = []
    for at, one in enumerate(word):
        if one in "\\'":
            escaped.append(f"\\{one}")
        elif _is_visible(word, at) and not _CI_COMMAND.match(word, at):
            escaped.append(one)
        else:
            data = one.encode("utf-8", "surrogateescape" if "\udc80" <= one <= "\udcff" else "surrogatepass")
            # always three digits, so that a digit that follows is not part of it
            escaped.append("".join(f"\\{byte:03o}" for byte in data))
    return f"$'{''.join(escaped)}'"


_NOT_ASCII = re.compile(r"[^\x00-\x7f]")


def json_escaped(text: str, *, ascii_only: bool = False) -> str:
    """Write what `printable` escapes as JSON escapes, in a JSON text: the values stay the same.

    ascii_only: write all other characters that are not ASCII as escapes, too.
    """
    if "##" in text:
        text = re.sub(r"#(?=#\w*\[)", r"\\u0023", text)
    if text.isascii() and "\x7f" not in text:
        return text
    if ascii_only:
        return _NOT_ASCII.sub(lambda found: _json_escape(found[0]), text).replace("\x7f", "\\u007f")
    # Outside strings, JSON has only ASCII; line by line, since most lines have nothing to escape.
    return "\n".join(
        line
        if line.isprintable() and not _LOOK_INVISIBLE.search(line)
        else "".join(one if one == "\t" or _is_visible(line, at) else _json_escape(one) for at, one in enumerate(line))
        for line in text.split("\n")
    )


def _json_escape(one: str) -> str:
    data = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{data[n]:02x}{data[n + 1]:02x}" for n in range(0, len(data), 2))
