"""XML: elements by callback, without document types and entities, with limits on nesting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from xml.parsers import expat

from trashkit.readers.content import ContentError, as_utf8
from trashkit.readers.json_text import MOST_LEVELS
from trashkit.readers.other_forms import HEAD, XML, other_form

Start = Callable[[str, dict[str, str], int], None]
End = Callable[[str, str, int], None]


def parse_xml(data: bytes, start: Start, end: End) -> None:
    """Parse an XML document.

    start: called with name, attributes and line of each element. end: called with name, the element's own text (without
    that of its children) and line. Raises ContentError, with the line, where it is not XML, declares a document type or
    entities, or is nested more than 100 levels deep; exceptions of the callbacks pass.
    """
    found = other_form(data[:HEAD])
    if found is not None and found.reason != XML.reason:
        raise ContentError(*found)
    start_of_text = as_utf8(data[: HEAD // 4 * 4]).lstrip()[:1]
    if start_of_text != b"<":
        what = {b"": "it is empty", b"{": "it is JSON, not XML", b"[": "it is JSON, not XML"}
        raise ContentError(what.get(start_of_text, "it is text without XML"))
    parser = expat.ParserCreate()
    parser.buffer_text = True
    texts: list[list[str]] = []

    def refuse(*_: Any) -> None:
        raise ContentError(f"line {parser.CurrentLineNumber}: it declares a document type or an entity")

    def on_start(name: str, attributes: dict[str, str]) -> None:
        if len(texts) >= MOST_LEVELS:
            raise ContentError(f"line {parser.CurrentLineNumber}: it is nested more than {MOST_LEVELS} levels deep")
        texts.append([])
        start(name, attributes, parser.CurrentLineNumber)

    def on_end(name: str) -> None:
        end(name, "".join(texts.pop()), parser.CurrentLineNumber)

    def on_text(text: str) -> None:
        texts[-1].append(text)

    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = on_start, on_end, on_text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)  # at once: in pieces, a long attribute would be scanned again with each of them
    except expat.ExpatError as error:
        raise ContentError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from error
    except (UnicodeDecodeError, LookupError) as error:
        raise ContentError("its encoding is not supported") from error
