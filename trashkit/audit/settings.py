"""Thresholds and allow-lists of the audit, from `[audit]` in trashkit.toml."""

from __future__ import annotations

import ast
import inspect
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.readers import read_toml

_LARGEST = 1e12
"""Largest value of a setting."""


@dataclass(frozen=True)
class Settings:
    """Thresholds of the checks. Lengths in pixels, areas in square pixels, shares from 0 to 1."""

    rare_category: int = 10
    """A category with fewer annotations than this is rare."""
    outside: float = 0.0
    """A ring may extend this far outside its image."""
    swapped_outside: float = 5.0
    """Width and height are swapped if annotations fit only that way, and one extends this far outside now."""
    area_share: float = 0.01
    """`area` may differ by this share from the area of the union of the polygons."""
    bbox_edge: float = 1.0
    """An edge of `bbox` may be this far from the polygon's (rounding conventions differ by half a pixel)."""
    sibling_overlap: float = 1.0
    """Rings of one annotation may overlap by this area."""
    tiny_area: float = 1.0
    """An annotation with less area than this is tiny."""
    training_side: int = 512
    """Longest side of a photo at training size."""
    training_area: float = 4.0
    """An annotation that covers less than this at training size vanishes."""
    coarse_vertices: int = 5
    """An outline of at most this many corners is coarse ..."""
    coarse_side: float = 64.0
    """... if its longest side at training size is at least this."""
    speck_area: float = 16.0
    """A part or hole with less area than this is a speck or pin-hole ..."""
    speck_share: float = 0.05
    """... if it is less than this share of its annotation."""
    near_duplicate_iou: float = 0.9
    """Two annotations of one class are near duplicates above this IoU."""
    overlap_iou: float = 0.5
    """Overlaps of two annotations are reported above this IoU."""
    conflict_iou: float = 0.8
    """Two annotations of different classes are one object with two labels above this IoU."""
    contained_share: float = 0.95
    """An annotation is contained in another if more than this share of it is inside."""
    contested_share: float = 0.25
    """Pixels are contested if more than this share of the smaller annotation is covered by another class."""
    outlier_deviations: float = 6.0
    """A size, shape or count is an outlier this many (robust) standard deviations from its class's median."""
    outlier_sample: int = 30
    """Classes with fewer annotations than this have no outliers."""
    dark_photo: float = 60.0
    """A photo is dark if 95 % of its pixels are below this grey level, of 255 ..."""
    bright_photo: float = 225.0
    """... and bright if 95 % are above this."""
    blurred_photo: float = 10.0
    """A photo is blurred if the variance of its Laplacian, at 512 pixels, is below this."""
    empty_photo: float = 4.0
    """A photo is empty if the standard deviation of its grey levels is below this, of 255."""
    grey_photo: float = 2.0
    """A photo is grey if its channels differ by less than this from grey in 99 % of its pixels, of 255."""
    small_photo: int = 64
    """A photo with a shorter side than this is small."""
    usual_size: float = 0.9
    """Other sizes are reported if at least this share of the photos has the same size."""
    predicted_probability: float = 0.3
    """Label errors found by predictions are reported from this probability."""
    parts: tuple[tuple[str, str], ...] = (
        ("*cap*", "*bottle*"),
        ("*lid*", "*"),
        ("*cap*", "*"),
        ("*straw*", "*"),
        ("*label*", "*"),
        ("*pop tab*", "*can*"),
    )
    """Pairs [part, whole] of category names whose objects may be inside each other; ``*`` matches anything, and case is
    ignored. Setting this replaces the default list."""
    extend_parts: tuple[tuple[str, str], ...] = ()
    """Pairs to add to `parts`."""
    waivers: tuple[dict[str, Any], ...] = ()
    """Accepted findings, each with a reason: tables ``[[audit.waivers]]``."""


def explained() -> list[tuple[str, Any, str]]:
    """Every setting: its name, its default, and the docstring below it. Raises ValueError for one without."""
    tree = ast.parse(inspect.getsource(Settings)).body[0]
    assert isinstance(tree, ast.ClassDef)
    texts: dict[str, str] = {}
    for field, text in pairwise(tree.body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            texts[field.target.id] = " ".join(str(ast.literal_eval(text.value)).split())
    missing = [field.name for field in fields(Settings) if field.name not in texts]
    if missing:
        raise ValueError(f"write a docstring below {' and '.join(missing)}, for the reference")
    return [(field.name, field.default, texts[field.name]) for field in fields(Settings)]


def read_settings(path: Path | None = None) -> Settings:
    """Settings from the ``[audit]`` table of a TOML file; the defaults if it has none or `path` is None.

    Raises TrashkitError that names all unknown keys and invalid values.
    """
    if path is None:
        return Settings()
    content = read_toml(path)
    misspelt = [key for key in content if key != "audit" and get_close_matches(key.lower(), ["audit"], 1, 0.7)]
    if misspelt:
        raise TrashkitError(f"{path}: [{misspelt[0]}] is not a known table", hint="write [audit]")
    table = content.get("audit", {})
    if not isinstance(table, dict):
        raise TrashkitError(f"{path}: audit is not a table", hint="write [audit] and the settings below it")
    return replace(Settings(), **_checked(table, path))


def _too_large(value: Any) -> str:
    return f", and at most {_LARGEST:.0e}" if isinstance(value, int | float) and value > _LARGEST else ""


def _checked(table: dict[str, Any], path: Path) -> dict[str, Any]:
    defaults = {field.name: field.default for field in fields(Settings)}
    good: dict[str, Any] = {}
    wrong: list[str] = []
    for key, value in table.items():
        if key not in defaults:
            close = get_close_matches(key, defaults, 1)
            wrong.append(f"{key} is not a setting" + (f" (did you mean {close[0]}?)" if close else ""))
        elif key in ("parts", "extend_parts"):
            if isinstance(value, list) and all(
                isinstance(p, list) and len(p) == 2 and all(isinstance(n, str) for n in p) for p in value
            ):
                good[key] = tuple((part, whole) for part, whole in value)
            else:
                wrong.append(f"{key} is not a list of [part, whole] names")
        elif key == "waivers":
            if isinstance(value, list) and all(isinstance(w, dict) for w in value):
                good[key] = tuple(value)
            else:
                wrong.append("waivers is not a list of tables")
        elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _LARGEST:
            wrong.append(f"{key} = {str(value)[:40]} is not a number of at least 0" + _too_large(value))
        else:
            good[key] = int(value) if isinstance(defaults[key], int) else float(value)
    if wrong:
        raise TrashkitError(f"{path}: {'; '.join(wrong)}", hint=f"settings are {', '.join(defaults)}")
    return good
