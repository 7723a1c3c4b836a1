"""JSON values of manifests: NaN becomes null, and two values are compared clause by clause."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any


def finite(value: Any) -> Any:
    """The value with NaN and infinities replaced by None, mappings as dicts and tuples as lists."""
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, one clause each, such as ``"epochs was 3, now 5"``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        clauses: list[str] = []
        for key in dict.fromkeys([*old, *new]):
            clauses += differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        return clauses
    if json.dumps(finite(old)) == json.dumps(finite(new)):
        return []
    return [f"{name} was {_shortened(old)}, now {_shortened(new)}"]


def _shortened(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
