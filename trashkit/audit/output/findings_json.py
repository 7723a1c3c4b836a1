"""An audit as JSON text in pieces, so that a million findings take seconds and little memory."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from trashkit.audit.engine import AuditResult
from trashkit.finding import Finding

_BATCH = 2000


def json_pieces(result: AuditResult, about: Mapping[str, Any] | None = None) -> Iterator[bytes]:
    """The object ``{"summary": {...}, "findings": [...]}``, one finding a line; NaN and infinities become null.

    about: further keys of the object and their values, which come first.
    """
    first = {key: json.dumps(value).encode() for key, value in (about or {}).items()}
    first["summary"] = msgspec.json.encode(result.summary)
    yield b"{" + b",\n".join(b'"%s": %s' % (key.encode(), value) for key, value in first.items()) + b',\n"findings": ['
    encode = msgspec.json.Encoder().encode
    for start in range(0, len(result.findings), _BATCH):
        batch = result.findings[start : start + _BATCH]
        yield b",\n" if start else b"\n"
        yield b",\n".join(_encoded(batch, encode))
    yield b"\n]}\n"


def _encoded(batch: Sequence[Finding], encode: Any) -> Iterator[bytes]:
    for finding in batch:
        try:
            yield encode(finding)
        except (msgspec.MsgspecError, UnicodeEncodeError, OverflowError):
            # integers of more than 64 bits, or strings with lone surrogates
            record = dataclasses.asdict(finding)
            if record["score"] is not None and not math.isfinite(record["score"]):
                record["score"] = None
            yield json.dumps(record).encode()
