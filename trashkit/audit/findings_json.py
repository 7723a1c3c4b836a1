"""An audit as JSON text, piece by piece: a million findings in seconds and little memory."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from trashkit.audit.engine import AuditResult
from trashkit.finding import Finding

_BATCH = 2000


def json_pieces(result: AuditResult) -> Iterator[bytes]:
    """The object ``{"summary": {...}, "findings": [...]}``, one finding a line; NaN and infinities become null."""
    yield b'{"summary": ' + msgspec.json.encode(result.summary) + b',\n"findings": ['
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
            # ids beyond 64 bits and texts with lone surrogates
            record = dataclasses.asdict(finding)
            if record["score"] is not None and not math.isfinite(record["score"]):
                record["score"] = None
            yield json.dumps(record).encode()
