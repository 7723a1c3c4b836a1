"""Names that do not stand for a class: the usual words for background, and for pixels that do not count."""

from __future__ import annotations

import re
import unicodedata

_BACKGROUND = frozenset(
    {
        *("background", "backgroud", "backround", "bg", "bgr", "bkg", "배경", "背景", "hintergrund", "arriereplan"),
        *("arrièreplan", "fondo", "sfondo", "fundo", "achtergrond", "фон", "tło"),
    }
)
"""Names of background, as `_plain` writes them."""
_UNLABELED = frozenset(
    {
        *("unlabeled", "unlabelled", "unannotated", "nolabel", "noclass", "noobject", "nothing", "none", "null"),
        *("void", "없음"),
    }
)
"""Names of what has no label: background, unless the list has that as well."""
_PERHAPS_BACKGROUND = frozenset({"unknown", "other", "others", "empty", "misc", "rest", "기타", "其他", "その他"})


def is_background(name: str) -> bool:
    """Whether a name is one of the usual words for background, in any case and with any punctuation."""
    return _plain(name) in _BACKGROUND or is_unlabeled(name)


def is_unlabeled(name: str) -> bool:
    """Whether a name stands for what has no label, which some lists have next to background."""
    return _plain(name) in _UNLABELED


def may_be_background(name: str) -> bool:
    """Whether a name is background in some data sets and a class in others."""
    return _plain(name) in _PERHAPS_BACKGROUND


def is_ignored(name: str) -> bool:
    """Whether a name stands for pixels that count for no class, such as labelme's ``__ignore__``."""
    marked = not name.strip()[:1].isalnum()
    return (marked and _plain(name) in ("ignore", "ignored")) or _plain(name) == "ignorelabel"


def _plain(name: str) -> str:
    """The letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]", "", unicodedata.normalize("NFC", name).casefold())
