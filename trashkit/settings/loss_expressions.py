"""Parser of loss expressions such as ``"ce + 0.5 * focal(gamma=3)"``, and of class-weight rules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class LossTerm(NamedTuple):
    """A named loss or rule with its weight in the sum and its arguments."""

    name: str
    weight: float = 1.0
    options: Mapping[str, float] = MappingProxyType({})


_NUMBER = r"[0-9.]+(?:[eE][+-]?[0-9]+)?"
_TERM = re.compile(rf"(?:({_NUMBER})\s*\*)?\s*([A-Za-z_][\w-]*)\s*(?:\((.*)\))?")
_ARGUMENT = re.compile(rf"\s*([A-Za-z_]\w*)\s*=\s*({_NUMBER})\s*")


def parse_loss(text: str) -> tuple[LossTerm, ...]:
    """The terms of ``"ce + 0.5 * focal(gamma=3)"``. Raises ValueError unless it is a weighted sum."""
    # the sign of an exponent (1e+3) does not separate terms
    return tuple(_term(term, text) for term in re.split(r"(?<![\d.][eE])\+", text))


def _term(term: str, text: str) -> LossTerm:
    match = _TERM.fullmatch(term.strip())
    arguments = match[3].split(",") if match and match[3] is not None else []
    pairs = [_ARGUMENT.fullmatch(argument) for argument in arguments]
    if not match or None in pairs:
        raise ValueError(f'"{text}" is not a weighted sum of losses such as "ce + 0.5 * dice" or "focal(gamma=3)"')
    options = {pair[1]: float(pair[2]) for pair in pairs if pair}
    return LossTerm(match[2], float(match[1]) if match[1] else 1.0, options)


def class_rule(text: str) -> LossTerm | None:
    """The rule in ``class_weights``, such as ``"inverse(power=0.5)"``; None for ``none``.

    Raises ValueError unless it is a name with optional arguments.
    """
    try:
        terms = parse_loss(text)
    except ValueError:
        terms = ()
    if len(terms) != 1 or terms[0].weight != 1:
        raise ValueError(f'"{text}" is neither a rule such as "inverse(power=0.5)" nor a table such as {{Battery = 4}}')
    return None if terms[0].name == "none" else terms[0]
