"""Help at 80 columns: options grouped in panels, paragraphs that reflow, examples that never wrap."""

from __future__ import annotations

import inspect
import re
from enum import Enum
from pathlib import Path
from typing import Any, get_args

from typer.core import TyperCommand

INPUT, ACTION, OUTPUT, ADVANCED = "Input", "What to do", "Output", "Advanced"
PANELS = (INPUT, ACTION, OUTPUT, ADVANCED)
"""Help panels of a command's options, in the order in which they are shown."""

OUTPUTS = ("out", "html", "onnx", "overlay", "preview")
"""Parameters that name what a command writes."""
ABOUT_OUTPUT = (*OUTPUTS, "edits", "write_edits", "write_baseline", "overwrite", "resume", "json", "help")
"""Parameters shown in the output panel."""

OLD_NAMES = {"truth": "--truth"}
"""Earlier names of options, by their parameters: they still work, and no help shows them."""

EXAMPLE_WIDTH = 76
"""Columns for an example: an 80-column terminal less the margins of the help text."""


class Command(TyperCommand):
    """A command whose help is laid out by `PANELS` and `layout`.

    A parameter goes to the panel that its declaration names, else to output by its name (`ABOUT_OUTPUT`), else to
    input where it is a path, else to "What to do".
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = layout(self.help or "")

    def make_parser(self, ctx: Any) -> Any:
        """The parser, which also takes the names in `OLD_NAMES`."""
        parser = super().make_parser(ctx)
        for param in self.get_params(ctx):
            if param.name in OLD_NAMES:
                parser.add_option(param, [OLD_NAMES[param.name]], param.name)
        return parser

    def get_params(self, ctx: Any) -> list[Any]:
        """Arguments as declared, then options by panel."""
        params = shown(super().get_params(ctx))
        for param in params:
            if param.param_type_name == "option":
                param.rich_help_panel = param.rich_help_panel or panel_of(param)
        return sorted(params, key=_place)


def shown(params: list[Any]) -> list[Any]:
    """The same parameters; each option describes its value (typer would show ``<bool>`` or ``<str>``)."""
    for param in params:
        if param.param_type_name == "option" and param.metavar is None:
            param.metavar = _metavar(param)
    return params


def _metavar(param: Any) -> str | None:
    """The placeholder of an option's value if none is declared; None leaves it to typer (choices)."""
    if param.is_flag:
        return ""  # typer would show <bool>
    annotation = _annotation(param)
    for kind, metavar in ((Path, "PATH"), (int, "N"), (float, "X"), (str, "TEXT")):
        if _is_a(annotation, kind):
            return metavar
    return None


def _annotation(param: Any) -> Any:
    return getattr(getattr(param, "type_descriptor", None), "annotation", None)


def _place(param: Any) -> int:
    if param.param_type_name == "argument":
        return -1
    return PANELS.index(param.rich_help_panel) if param.rich_help_panel in PANELS else len(PANELS)


def panel_of(param: Any) -> str:
    """The panel of an option that names none."""
    if param.name in ABOUT_OUTPUT:
        return OUTPUT
    return INPUT if _is_a(_annotation(param), Path) else ACTION


def _is_a(annotation: Any, kind: type) -> bool:
    """Whether a type, or one inside it (``list[Path]``, ``Path | None``), is `kind`; enumerations are not texts."""
    if isinstance(annotation, type) and not get_args(annotation):
        return issubclass(annotation, kind) and not issubclass(annotation, Enum)
    return any(_is_a(part, kind) for part in get_args(annotation))


def layout(text: str) -> str:
    """A docstring as help text: paragraphs on one line each, examples broken between options with a backslash.

    Indented lines other than examples (lists, tables) stay as they are.
    """
    prose, heading, examples = inspect.cleandoc(text).partition("Examples:")
    paragraphs = [
        part if re.search(r"^\s", part, re.M) else " ".join(part.split("\n")) for part in prose.strip().split("\n\n")
    ]
    if heading:
        lines = [line.strip() for line in re.sub(r"\\\n\s*", "", examples).splitlines() if line.strip()]
        paragraphs += ["Examples:", *(example(line) for line in lines)]
    return "\n\n".join(paragraphs)


def example(line: str, width: int = EXAMPLE_WIDTH) -> str:
    """An example command, indented by two columns, on several lines where it is longer than `width`."""
    if len(line) + 2 <= width:
        return f"  {line}"
    # Each option stays on one line with its value.
    pieces = re.split(r" (?=--)", line)
    lines, current = [], pieces[0]
    for piece in pieces[1:]:
        if len(current) + len(piece) + 5 > width:
            lines.append(current)
            current = f"    {piece}"
        else:
            current += f" {piece}"
    return "\n".join("  " + part for part in " \\\n".join([*lines, current]).split("\n"))
