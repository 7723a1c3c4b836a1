"""Write docs/reference/cli.md from the live commands, or check that it is up to date.

python scripts/reference.py            writes the page
python scripts/reference.py --check    exits 1 where the page is stale or a command lacks help or a working example
"""

from __future__ import annotations

import difflib
import inspect
import re
import shlex
import sys
import textwrap
from collections.abc import Iterator
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer.main

from trashkit.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "cli.md"
HEAD = """# Commands

Generated from the program by `python scripts/reference.py`; do not edit.

Every command takes `--help`. Exit codes: 0 success, 1 a check failed (findings, an invalid submission, a broken
installation), 2 usage or input error, 130 Ctrl-C. With `--json` the result is on stdout and everything else
on stderr.
"""


@cache
def program() -> Any:
    """The trashkit command with all its commands."""
    return typer.main.get_command(app)


def commands() -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every visible command and group with its words, ``("split", "search")``, groups before their commands."""

    def walk(words: tuple[str, ...], command: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
        if command.hidden:
            return
        yield words, command
        for name, child in sorted(getattr(command, "commands", {}).items()):
            yield from walk((*words, name), child)

    yield from walk((), program())


def parts(command: Any) -> tuple[str, list[str]]:
    """A command's prose, and its examples as single lines, from the docstring that `--help` shows."""
    text = inspect.cleandoc(command.help or "").replace("\b", "").partition("\f")[0]
    prose, _, rest = text.partition("Examples:")
    joined = re.sub(r"\\\n\s*", "", rest)
    examples = [line.strip() for line in joined.splitlines() if line.strip().startswith("trashkit")]
    return prose.strip(), examples


def options(command: Any) -> list[Any]:
    """The parameters that `--help` lists, arguments first, without --help itself."""
    shown = [param for param in command.params if not getattr(param, "hidden", False) and param.name != "help"]
    return sorted(shown, key=lambda param: param.param_type_name != "argument")


def _names(param: Any) -> str:
    if param.param_type_name == "argument":
        return f"`{param.metavar or param.name.upper()}`"
    names = ", ".join(f"`{name}`" for name in param.opts)
    if param.secondary_opts:
        names += " / " + ", ".join(f"`{name}`" for name in param.secondary_opts)
    return names


KINDS = {"str": "text", "int": "number", "float": "number", "Path": "path", "bool": "yes or no"}


def _value(param: Any) -> str:
    if param.param_type_name == "argument":
        return "required" if param.required else "optional"
    if getattr(param, "is_flag", False):
        return "flag"
    kind = param.metavar or _kind(param.type_descriptor.annotation)
    return kind + (", several times" if param.multiple else "") + ("; required" if param.required else "")


def _kind(annotation: Any) -> str:
    """A type for readers: enumerations and literals by their choices."""
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(member.value) for member in annotation)
    if get_origin(annotation) is Literal:
        return "|".join(str(choice) for choice in get_args(annotation))
    inner = [part for part in get_args(annotation) if part is not type(None)]
    if inner:
        return _kind(inner[0])
    return KINDS.get(getattr(annotation, "__name__", ""), str(annotation))


def _default(param: Any) -> str:
    value = param.default
    if param.required or value is None or callable(value) or value is False or value in ((), [], ""):
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _wrapped(prose: str) -> str:
    return "\n\n".join(
        part
        if part.startswith(" ") or "\n" in part
        else textwrap.fill(part, 120, break_long_words=False, break_on_hyphens=False)
        for part in prose.split("\n\n")
    )


def section(words: tuple[str, ...], command: Any) -> str:
    """One command's part of the page."""
    prose, examples = parts(command)
    lines = [f"{'#' * min(len(words) + 1, 4)} trashkit {' '.join(words)}".rstrip(), ""]
    lines += [_wrapped(prose), ""] if prose else []
    children = getattr(command, "commands", {})
    if children:
        default = getattr(command, "default", "")
        shown = ", ".join(f"`{name}`" for name in sorted(children) if not children[name].hidden)
        lines += [f"Commands: {shown}." + (f" Without one it is `{default}`." if default else ""), ""]
    if examples:
        lines += ["```sh", *examples, "```", ""]
    if options(command):
        lines += ["| option | value | default | |", "|---|---|---|---|"]
        for param in options(command):
            cells = (_names(param), _value(param), _default(param), getattr(param, "help", "") or "")
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines)


def page() -> str:
    """The whole page."""
    sections = [section(words, command) for words, command in commands()]
    return HEAD + "\n" + "\n".join(sections[1:])


def find(words: list[str]) -> tuple[tuple[str, ...], Any]:
    """The command that a command line runs; a group's default where it names none."""
    command: Any = program()
    path: list[str] = []
    for word in words:
        children = getattr(command, "commands", {})
        if word not in children:
            break
        command = children[word]
        path.append(word)
    default = getattr(command, "default", "")
    if default:
        return tuple(path), command.commands[default]
    return tuple(path), command


def problems() -> list[str]:
    """What is wrong with the commands' own help."""
    found = []
    for words, command in commands():
        name = " ".join(("trashkit", *words))
        prose, examples = parts(command)
        if not prose:
            found.append(f"{name}: --help says nothing")
        if words and not getattr(command, "commands", {}) and not examples:
            found.append(f"{name}: --help has no line under 'Examples:' that begins with 'trashkit'")
        found += [f"{name}: {param.name} has no help" for param in options(command) if not getattr(param, "help", "")]
        found += [
            f"{name}: the help of {param.name} does not end with a full stop"
            for param in options(command)
            if not (getattr(param, "help", "") or ".").endswith((".", ".)"))
        ]
        for example in examples:
            found += [f"{name}: example '{example}': {reason}" for reason in wrong_example(example)]
    return found


def wrong_example(line: str) -> Iterator[str]:
    """Why an example would not run: a command or an option that does not exist."""
    first = re.split(r"\s(?:[|>&]|&&)\s", line)[0]
    words = shlex.split(first, comments=True)[1:]
    path, command = find(words)
    if not path and words and not words[0].startswith("-"):
        yield f"there is no command {words[0]}"
        return
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)} | {"--help", "-h"}
    given = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    yield from (f"there is no option {word}" for word in given if word not in known)


def main() -> int:
    """Write or check; returns the exit code."""
    new, found = page(), problems()
    if "--check" not in sys.argv[1:]:
        PAGE.parent.mkdir(parents=True, exist_ok=True)
        PAGE.write_text(new, encoding="utf-8")
        sys.stdout.write("".join(f"{line}\n" for line in [f"wrote {PAGE}", *found]))
        return 1 if found else 0
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    if old != new:
        found.append(f"{PAGE} is stale: run python scripts/reference.py")
        found += list(difflib.unified_diff(old.splitlines(), new.splitlines(), "page", "program", lineterm=""))[:40]
    sys.stdout.write("".join(f"{line}\n" for line in found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
