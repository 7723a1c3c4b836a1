"""Guard of inputs and outputs, groups with a default command, and exceptions as messages and exit codes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from functools import wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import typer
from typer.core import TyperGroup

from trashkit.cli.failures import explain, explain_known
from trashkit.cli.help import OUTPUTS, layout, shown
from trashkit.cli.output import say
from trashkit.cli.project import ProjectCommand
from trashkit.cli.suffixes import check_suffixes
from trashkit.errors import TrashkitError
from trashkit.files import is_file, real_path
from trashkit.outputs import Output
from trashkit.predictions.folder import STORE
from trashkit.runs.folder import RUN_FOLDER

WORK_FOLDERS = ("cache",)
"""Parameters that name work folders. Every other path among the parameters is an input."""


Function = TypeVar("Function", bound=Callable[..., Any])


class Commands(typer.Typer):
    """Commands that never overwrite their inputs, even with --overwrite."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"cls": Group, **options})

    def command(self, name: str | None = None, *, many: bool = False, **options: Any) -> Callable[[Function], Function]:
        """Register a command as typer does. many: --out may be a folder of several results, which is not replaced."""
        register = super().command(name, **{"cls": ProjectCommand, **options})

        def keep(function: Function) -> Function:
            register(_guarding_inputs(function, many=many))
            return function

        return keep


def _guarding_inputs(function: Callable[..., Any], *, many: bool) -> Callable[..., Any]:
    @wraps(function)
    def call(**values: Any) -> Any:
        outs = [(name, values[name]) for name in OUTPUTS if isinstance(values.get(name), Path)]
        for name, out in outs:
            if str(out) in ("", "."):
                raise TrashkitError(f"--{name} is the current folder", hint=f"add a name, as in --{name} NAME")
            Output(out).check_place()
        if values.get("resume") and values.get("overwrite"):
            raise TrashkitError("--resume and --overwrite cannot be combined", hint="use only one of them")
        if "overwrite" in values and not values.get("resume"):
            inputs = [
                path
                for name, value in values.items()
                if name not in (*OUTPUTS, *WORK_FOLDERS)
                for path in _paths(value)
            ]
            for _, out in outs:
                inside = real_path(out) if many else None
                Output(out).check_inputs([path for path in inputs if inside not in real_path(path).parents])
                Output(out).check_outside((RUN_FOLDER, STORE))
        check_suffixes(function, values)
        return function(**values)

    return call


def _paths(value: Any) -> Iterator[Path]:
    """The paths that a parameter names, including the notes of submissions.

    Of text such as FILE:FOLDER:WEIGHT or file:FILE, the parts that are existing files.
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


class Group(TyperGroup):
    """A group of commands, with help as `trashkit.cli.help` lays it out."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.help = layout(self.help or "")

    def get_params(self, ctx: Any) -> list[Any]:
        """Options of the group itself."""
        return shown(super().get_params(ctx))


class DefaultGroup(Group):
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


class Root(Group):
    """The trashkit command: shows errors in one line and sets the exit code."""

    order: ClassVar[list[str]] = []
    """Names of the commands in the order in which help lists them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All commands, in the order of their registration."""
        return sorted(super().list_commands(ctx), key=self.order.index)

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Parse the arguments before the command's name."""
        try:
            return super().make_context(*args, **options)
        except KeyboardInterrupt as stopped:
            say("stopped", "", "run the same command again")
            raise typer.Exit(130) from stopped
        except Exception as error:
            _refuse_usage(error)
            raise

    def invoke(self, ctx: Any) -> Any:
        """Run a command; exit 2 for usage and input errors and for crashes, 130 for Ctrl-C."""
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        try:
            return self._invoke_explained(ctx, words)
        except KeyboardInterrupt as stopped:  # also while another error is being shown
            again = ""
            if _resumes(self, words):
                way = "--resume in place of --overwrite" if "--overwrite" in words else "--resume"
                again = f", with {way} to continue where it stopped"
            say("stopped", "", f"run the same command again{again}")
            raise typer.Exit(130) from stopped

    def _invoke_explained(self, ctx: Any, words: Sequence[str]) -> Any:
        try:
            return super().invoke(ctx)
        except TrashkitError as error:
            say("error", *explain_known(error))
            raise typer.Exit(2) from error
        except Exception as error:
            _refuse_usage(error, " ".join(["trashkit", *_find(self, words)[1]]))
            # exits carry their own code
            if hasattr(error, "exit_code") or isinstance(error, typer.Abort):
                raise
            say("error", *explain(error))
            raise typer.Exit(2) from error


def _refuse_usage(error: Exception, command: str = "trashkit") -> None:
    """Show a usage error in one line and exit; do nothing for any other error, or for help.

    command: its name, for errors without a context (an option without its value).
    """
    if not hasattr(error, "format_message") or type(error).__name__ == "NoArgsIsHelpError":
        return
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else command
    message = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    say("error", message[:1].lower() + message[1:], f"{path} --help lists what it takes")
    raise typer.Exit(getattr(error, "exit_code", 2)) from error


def _resumes(group: Any, words: Sequence[str]) -> bool:
    """Whether the command that these arguments name has --resume."""
    return any(parameter.name == "resume" for parameter in _find(group, words)[0].params)


def _find(group: Any, words: Sequence[str]) -> tuple[Any, list[str]]:
    """Return the command that these arguments name (or a group's default), and the parts of its name."""
    found, path = group, []
    for word in words:
        if not hasattr(found, "commands"):
            break
        if word in found.commands:
            path.append(word)
        found = found.commands.get(word) or found.commands.get(getattr(found, "default", ""), found)
    return found, path
