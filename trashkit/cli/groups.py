"""Commands that keep their inputs, groups with a default command, and exceptions as messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperGroup

from trashkit.cli.output import console
from trashkit.errors import TrashkitError
from trashkit.files import is_file, real_path, refuse_inputs
from trashkit.run_folder import refuse_parts

OUTPUTS = ("out", "html", "onnx", "overlay", "preview")
"""Parameters that name what a command writes."""
WORKPLACES = ("cache",)
"""Parameters that name folders which it works in. Every other path among its parameters is an input."""


Function = TypeVar("Function", bound=Callable[..., Any])


class Commands(typer.Typer):
    """Commands of which none writes over what it was given to read, whatever --overwrite says."""

    def command(self, name: str | None = None, *, many: bool = False, **options: Any) -> Callable[[Function], Function]:
        """As `typer.Typer.command`. many: --out may be a folder of several results, which is not replaced whole."""
        register = super().command(name, **options)

        def keep(function: Function) -> Function:
            register(_keeping_inputs(function, many=many))
            return function

        return keep


def _keeping_inputs(function: Callable[..., Any], *, many: bool) -> Callable[..., Any]:
    @wraps(function)
    def call(**values: Any) -> Any:
        outs = [(name, values[name]) for name in OUTPUTS if isinstance(values.get(name), Path)]
        for name, out in outs:
            if str(out) in ("", "."):
                raise TrashkitError(f"--{name} is this very folder", hint=f"name what to write, such as --{name} NAME")
        if values.get("resume") and values.get("overwrite"):
            raise TrashkitError("--resume keeps what --overwrite removes", hint="give one of them")
        if "overwrite" in values and not values.get("resume"):
            inputs = [
                path for name, value in values.items() if name not in (*OUTPUTS, *WORKPLACES) for path in _paths(value)
            ]
            for _, out in outs:
                inside = real_path(out) if many else None
                refuse_inputs(out, [path for path in inputs if inside not in real_path(path).parents])
                refuse_parts(out)
        return function(**values)

    return call


def _paths(value: Any) -> Iterator[Path]:
    """The paths that a parameter names, with the notes of submissions among them.

    Of texts such as FILE:FOLDER:WEIGHT or file:FILE the files that there are.
    """
    if isinstance(value, Path):
        yield value
        if is_file(note := f"{value}.json") and is_file(value):
            yield Path(note)
    elif isinstance(value, str):
        yield from (Path(part) for part in value.split(":") if is_file(part))
    elif isinstance(value, list):
        for one in value:
            yield from _paths(one)


class DefaultGroup(TyperGroup):
    """A group in which `default` runs when no subcommand is named: ``split ANN.json`` is ``split search ANN.json``."""

    default = ""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default's name in front of arguments that name no subcommand."""
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            mistyped = bool(args) and get_close_matches(args[0], self.commands) and not Path(args[0]).exists()
            if not mistyped:
                args = [self.default, *args]
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The group's help, then the options of its default command."""
        super().format_help(ctx, formatter)
        command = self.commands[self.default]
        with ctx.__class__(command, info_name=self.default, parent=ctx) as inner:
            command.format_help(inner, formatter)


def default_group(name: str) -> type[DefaultGroup]:
    """A group class whose default command is `name`, for ``typer.Typer(cls=default_group("search"))``."""
    return type(f"DefaultGroup_{name}", (DefaultGroup,), {"default": name})


class Root(TyperGroup):
    """The trashkit command: turns what goes wrong into one line, and into the right exit code."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the words before the command's name."""
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt as stopped:
            say("stopped", "", "run the same command again")
            raise typer.Exit(130) from stopped
        except Exception as error:
            _refuse_usage(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run a command; 2 for what the user can mend and for crashes, 130 for Ctrl-C."""
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            return self._invoke_explained(ctx, words)
        except KeyboardInterrupt as stopped:  # also while another error was being told
            again = ""
            if _resumes(self, words):
                way = "--resume in place of --overwrite" if "--overwrite" in words else "--resume"
                again = f", with {way} to go on where it stopped"
            say("stopped", "", f"run the same command again{again}")
            raise typer.Exit(130) from stopped

    def _invoke_explained(self, ctx: Any, words: Sequence[str]) -> Any:
        try:
            return super().invoke(ctx)
        except TrashkitError as error:
            say("error", error.message, error.hint)
            raise typer.Exit(2) from error
        except Exception as error:
            _refuse_usage(error, " ".join(["trashkit", *_find(self, words)[1]]))
            # exits know their own code
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort) or _is_closed_pipe(error):
                raise
            message, hint = explain(error)
            say("error", message, hint)
            raise typer.Exit(2) from error


def _refuse_usage(error: Exception, command: str = "trashkit") -> None:
    """Say in one line which word of the command line is wrong, and exit; nothing for any other error, or for help.

    command: what was typed, for errors that do not know it themselves (an option without its value).
    """
    if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else command
    message = " ".join(error.format_message().split()).rstrip(".")
    say("error", message[:1].lower() + message[1:], f"{path} --help lists what it takes")
    raise typer.Exit(getattr(error, "exit_code", 2)) from error


def _resumes(group: Any, words: Sequence[str]) -> bool:
    """Whether the command that these words name has --resume."""
    return any(parameter.name == "resume" for parameter in _find(group, words)[0].params)


def _find(group: Any, words: Sequence[str]) -> tuple[Any, list[str]]:
    """The command that these words name, a group's default among them, and those of the words that name it."""
    found, path = group, []
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word in found.commands:
            path.append(word)
        found = found.commands.get(word) or found.commands.get(getattr(found, "default", ""), found)
    return found, path


def _is_closed_pipe(error: Exception) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def say(kind: str, message: str, hint: str) -> None:
    """One line on stderr that says what is wrong, one that says what to type."""
    err = console(stderr=True)
    err.print(f"{kind}: {message}" if message else kind, soft_wrap=True)
    if hint:
        err.print(f"  {hint}", soft_wrap=True)


EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "segmentation_models_pytorch": "train",
    "albumentations": "train",
    "accelerate": "train",
    "safetensors": "train",
    "psutil": "train",
    "yaml": "train",
    "optuna": "sweep",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "fiftyone": "review",
}
"""Which extra brings a package that a command misses."""


def explain(error: Exception) -> tuple[str, str]:
    """Message and hint for an exception that no command foresaw."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        wanted = f"trashkit[{EXTRAS[package]}]" if package in EXTRAS else package
        return f"this needs the package {package}, which is not installed", f"pip install '{wanted}'"
    if isinstance(error, OSError) and error.strerror:
        where = f" ({error.filename})" if error.filename else ""
        hint = (
            "free some space and run it again" if error.errno == errno.ENOSPC else "check the path and its permissions"
        )
        return f"{error.strerror}{where}", hint
    if (
        type(error).__name__ == "DistBackendError"
        or "Connection closed by peer" in str(error)
        or (isinstance(error, RuntimeError) and "Connection reset by peer" in str(error))
    ):
        return (
            "another process of this training ended, so this one cannot go on",
            "its own lines say why (out of memory, killed); the same command with --resume goes on",
        )
    if isinstance(error, MemoryError):
        return "out of memory", "use a smaller size, fewer workers or fewer images at a time"
    if os.environ.get("TRASHKIT_DEBUG"):
        traceback.print_exc(file=sys.stderr)
    last = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(last.filename).name}:{last.lineno}"
    text = " ".join(str(error).split())[:300]
    return (
        f"trashkit crashed at {place}: {type(error).__name__}: {text}",
        "this is a bug: run it again with TRASHKIT_DEBUG=1 and report what it prints",
    )
