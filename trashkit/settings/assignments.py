"""Settings as typed on the command line, ``key=value``, over those of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trashkit.readers import ContentError, decode_toml


def assigned(values: Mapping[str, Any], assignments: Sequence[str], mistakes: list[str]) -> dict[str, Any]:
    """A copy of `values` with the assignments carried out in order; what is wrong with them is added to `mistakes`.

    An assignment of another architecture leaves out `model.options`, which belong to the one in `values`.
    """
    made = _copy(values)
    _leave_out_options(made, assignments)
    for assignment in assignments:
        _assign(made, assignment, mistakes)
    return made


def _copy(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(item) if isinstance(item, Mapping) else item for key, item in value.items()}


def _leave_out_options(values: dict[str, Any], assignments: Sequence[str]) -> None:
    model = values.get("model")
    given = {
        text.strip(" \"'").lower()
        for key, _, text in (one.partition("=") for one in assignments)
        if key.strip() == "model.architecture"
    }
    if isinstance(model, dict) and given - {model.get("architecture")}:
        model.pop("options", None)


def _assign(values: dict[str, Any], assignment: str, mistakes: list[str]) -> None:
    key, equals, text = assignment.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        mistakes.append(f'"{assignment}" is not key=value, such as optimiser.lr=1e-3')
        return
    place = values
    for name in names[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            mistakes.append(f'"{key}": {name} is a setting, not a group')
            return
        place = inner
    try:
        place[names[-1]] = decode_toml(f"value = {text}")["value"]
    except ContentError:
        place[names[-1]] = text.strip()


def normalise_names(values: dict[str, Any], choices: Mapping[str, Sequence[str]]) -> None:
    """Replace common spellings of names: AdamW by adamw, DeepLabV3+ by deeplabv3plus."""
    for dotted, known in choices.items():
        *groups, last = dotted.split(".")
        place: Any = values
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        given = place.get(last) if isinstance(place, dict) else None
        if isinstance(given, str) and given not in known:
            plain = given.lower().replace("+", "plus")
            place[last] = plain if plain in known else given
