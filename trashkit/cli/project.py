"""Values that commands take from the project file, trashkit.toml, where no option gives them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.main

from trashkit.cli.help import INPUT, Command
from trashkit.cli.output import note, set_project, unused, warn
from trashkit.cli.suffixes import command_key
from trashkit.errors import TrashkitError
from trashkit.files import exists, is_file, real_path

if TYPE_CHECKING:
    from trashkit.settings.project import Project

NONE = "none"
"""Value of --project for: no project file."""
Given = Mapping[str, Any]
"""Parameters given on the command line, by name, as typed."""


@dataclass(frozen=True)
class Value:
    """What a parameter takes from a project.

    key: what messages and results call it: a key of ``[project]``, or "split", "out" ... of: its value, None for
    nothing; by default that of `key`. unless: parameters with which the value is not taken.
    """

    key: str
    unless: tuple[str, ...] = ()
    of: Callable[[Project, Given], Any] | None = None

    def read(self, project: Project, given: Given) -> Any:
        """The value, None where there is none."""
        if any(given.get(name) for name in self.unless):
            return None
        return getattr(project, self.key) if self.of is None else self.of(project, given)


# --- values that are made up from `runs` -----------------------------------------------------------------------------


def _inside(*parts: str) -> Callable[[Project, Given], Path]:
    """A name below `runs`."""
    return lambda project, _: project.output(*parts)


def _split(project: Project, _: Given) -> Path | None:
    path = project.runs / "split.json"
    return path if is_file(path) else None


def _training(project: Project, given: Given) -> Path:
    """runs/RECIPE for one run, runs/folds for several."""
    recipes = [Path(one).stem for one in given.get("recipe") or ["default"]]
    several = len(recipes) > 1 or given.get("fold") == "all"
    return project.output("folds" if several else recipes[0])


def _prediction(project: Project, given: Given) -> Path | None:
    """RUN/test for one run of the project."""
    runs = [Path(one) for one in given.get("runs") or ()]
    inside = real_path(project.output())
    if len(runs) != 1 or not runs[0].is_dir() or inside not in real_path(runs[0]).parents:
        return None
    return runs[0] / "test"


def _settings(project: Project, _: Given) -> Path:
    return project.path


def _extra(project: Project, _: Given) -> tuple[str, ...]:
    return project.auto.extra


def _photo_test(project: Project, given: Given) -> Path | None:
    """The test set, where there are photos to compare."""
    return project.test if given.get("images") or project.images else None


DATA, IMAGES, TEST = Value("data"), Value("images"), Value("test")
CLASSES, GROUPS, SPLIT, CONFIG = Value("classes"), Value("groups"), Value("split", of=_split), Value("", of=_settings)
_CSV = ("profile",)
_TRAINING = {"data": DATA, "images": IMAGES, "classes": CLASSES}
_SUBMISSION = {"data": TEST, "sample": Value("sample", _CSV), "classes": CLASSES}
_PHOTOS = ("overlay",)
_WITHOUT_PHOTOS = ("edits", "despeckle", "fill_holes")

USES: Mapping[str, Mapping[str, Value]] = {
    "auto": {
        "data": DATA,
        "images": IMAGES,
        "test": Value("test", ("photos",)),
        "sample": Value("sample", ("photos",)),
        "classes": CLASSES,
        "groups": GROUPS,
        "extra": Value("extra", of=_extra),
        "out": Value("out", of=_inside("auto")),
        "config": CONFIG,
    },
    "audit": {
        "annotations": Value("data", ("explain",)),
        "images": Value("images", ("explain",)),
        "against": Value("test", ("explain",)),
        "config": CONFIG,
    },
    "fix": {
        "annotations": DATA,
        "images": Value("images", _WITHOUT_PHOTOS),
        "against": Value("test", _WITHOUT_PHOTOS),
        "config": CONFIG,
    },
    "review": {
        "annotations": DATA,
        "images": IMAGES,
        "edits": Value("edits", ("html", "open_"), _inside("review.jsonl")),
        "classes": CLASSES,
        "config": CONFIG,
    },
    "split.search": {
        "annotations": DATA,
        "images": IMAGES,
        "test": Value("test", of=_photo_test),
        "groups": GROUPS,
        "classes": CLASSES,
        "out": Value("out", of=_inside("split.json")),
    },
    "split.export": {"split": SPLIT, "data": DATA},
    "split.show_split": {"split": SPLIT, "classes": CLASSES},
    "split.check": {"split": SPLIT, "data": DATA, "images": IMAGES, "groups": GROUPS, "classes": CLASSES},
    "train": {
        **_TRAINING,
        "split": Value("split", ("all_data",), _split),
        "out": Value("out", ("preview", "profile", "suggest"), _training),
    },
    "pseudo": {**_TRAINING, "unlabeled": TEST, "out": Value("out", of=_inside("pseudo"))},
    "sweep": {**_TRAINING, "split": SPLIT, "out": Value("out", of=_inside("sweep"))},
    "predict": {
        "data": Value("test", _PHOTOS),
        "images": Value("images", _PHOTOS),
        "out": Value("out", _PHOTOS, _prediction),
    },
    "presence": {"annotations": DATA, "images": IMAGES, "split": Value("split", ("test",), _split), "classes": CLASSES},
    "sheets": _TRAINING,
    "score": {"truth": DATA, "data": DATA, "classes": CLASSES},
    "compare": {"truth": DATA, "data": DATA, "classes": CLASSES},
    "submit.make": {
        **_SUBMISSION,
        "train": Value("data", _CSV),
        "out": Value("out", _CSV, _inside("submission.csv")),
    },
    "submit.check": {**_SUBMISSION, "train": Value("data", _CSV)},
    "submit.to_coco": _SUBMISSION,
    "submit.from_coco": _SUBMISSION,
    "submit_compare.diff": {"data": TEST, "images": IMAGES, "classes": CLASSES},
    "submit_compare.vote": _SUBMISSION,
    "leaderboard.add": {"split": SPLIT, "classes": CLASSES},
    "runs": {"folder": Value("runs")},
}
"""By command, as `command_key` gives it, and parameter. Parameters that a command does not have are skipped."""

_FILES = ("data", "test", "sample")
"""Keys that name files; `images` names a folder."""


def _declared(
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="FILE",
            help=f"Project file with values for options that are not given; {NONE} to use no file. Default: the "
            "nearest trashkit.toml in this folder or above.",
            rich_help_panel=INPUT,
            expose_value=False,
        ),
    ] = None,
) -> None:
    """Hold the declaration of --project."""


def project_option() -> Any:
    """Build the option --project of a command."""
    holder = typer.Typer(add_completion=False)
    holder.command()(_declared)
    return next(param for param in typer.main.get_command(holder).params if param.name == "project")


class ProjectCommand(Command):
    """A command that takes from the project file what its options leave open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        names = {param.name for param in self.params}
        row = USES.get(command_key(self.callback), {}) if self.callback is not None else {}
        self.uses = {name: value for name, value in row.items() if name in names}
        if self.uses:
            self.params.append(project_option())

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments, with values of the project in place of what they leave open, and say which."""
        set_project(None)
        project, taken = None, {}
        if self.uses and not ctx.resilient_parsing:
            given = self.make_parser(ctx).parse_args(args=list(args))[0]
            if not given.get("help") and (project := _find(given)) is not None:
                taken = self._values(project, given)
                ctx.default_map = {**(ctx.default_map or {}), **taken}
        rest: list[str] = super().parse_args(ctx, args)
        if project is not None:
            self._tell(ctx, project, {name: value for name, value in taken.items() if _is_taken(ctx, name)})
        return rest

    def _values(self, project: Project, given: Given) -> dict[str, Any]:
        """Values by parameter. A file that the command line already names is not taken for another parameter."""
        named = {real_path(one) for one in _texts(given.values()) if exists(one)}
        values: dict[str, Any] = {}
        for name, value in self.uses.items():
            if given.get(name):
                continue
            found = value.read(project, given)
            if found is None or found == () or (value.key in _FILES and real_path(found) in named):
                continue
            values[name] = [str(one) for one in found] if isinstance(found, tuple) else str(found)
        return values

    def _tell(self, ctx: Any, project: Project, taken: Mapping[str, Any]) -> None:
        by_key = {self.uses[name].key: value for name, value in taken.items() if name != "config"}
        for key, value in by_key.items():
            _check_exists(project, key, Path(str(value)))
        words = [f"{key} {' '.join(value) if isinstance(value, list) else value}" for key, value in by_key.items()]
        if "config" in self.uses and project.has_audit:
            words.append("audit settings")
        if words:
            note(f"using {project.path}: {', '.join(words)}")
            named = _is_typed(ctx, "project") or _is_typed(ctx, "config")
            knows = [key for key in (*_FILES, "images") if getattr(project, key) is not None]
            set_project({"file": str(project.path), "values": by_key}, partial(_shortened, project, named), knows)


PLACEHOLDERS = ("ANN.json", "TEST.json", "DIR", "RUN", "split.json", "submission.csv")
"""Values in next commands for which a project has its own."""
_DEFAULTS = {"split": "split.search", "submit": "submit.make"}


def _shortened(project: Project, named: bool, words: Sequence[object]) -> list[object]:
    """The words of a next command without what it takes from the project itself; with --project where that is named."""
    first, second = [str(word).replace("-", "_") for word in (*words, "", "")][:2]
    inner = next((key for key in (f"{first}.{second}", f"{first}_compare.{second}") if key in USES), "")
    row = USES.get(inner or _DEFAULTS.get(first, first))
    if row is None:
        return list(words)
    rest = list(words[2:] if inner else words[1:])
    kept = list(words[: len(words) - len(rest)])
    given = _given(rest)

    def is_known(name: str, value: object) -> bool:
        use = row.get(name)
        if use is None or use is CONFIG or any(one.strip("_") in given for one in use.unless):
            return False
        try:
            own = use.read(project, given)
        except TrashkitError:  # `runs` is not inside the project
            return False
        return isinstance(own, str | Path) and (str(own) == str(value) or str(value) in PLACEHOLDERS)

    if rest and "annotations" in row and is_known("annotations", rest[0]):
        rest.pop(0)
    while rest:
        word = rest.pop(0)
        name = str(word)[2:].replace("-", "_")
        if not (str(word).startswith("--") and rest and is_known(name, rest[0])):
            kept.append(word)
            continue
        rest.pop(0)
        if name == "out" and exists(own := row[name].read(project, given)):  # it would be refused
            kept += [word, unused(own)]
    return [*kept, "--project", project.path] if named else kept


def _given(words: Sequence[object]) -> dict[str, Any]:
    """The options of a next command by parameter, as far as values of a project depend on them; flags are True."""
    given: dict[str, Any] = {}
    for word, after in zip(words, (*words[1:], "--"), strict=True):
        if str(word).startswith("--"):
            name = str(word)[2:].replace("-", "_")
            value = True if str(after).startswith("--") else str(after)
            given[name] = [*given.get(name, ()), value] if name == "recipe" else value
    return given


def _is_typed(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _find(given: Given) -> Project | None:
    """The project that --project (or its alias --config) names, or the nearest one."""
    from trashkit.settings.project import find_project, read_project

    named = [given[name] for name in ("project", "config") if given.get(name)]
    if len(named) > 1:
        raise TrashkitError("--config and --project are the same option", hint="give only --project")
    if named and str(named[0]).lower() == NONE:
        return None
    return read_project(Path(named[0])) if named else find_project(warn=warn)


def _is_taken(ctx: Any, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "DEFAULT_MAP"


def _check_exists(project: Project, key: str, path: Path) -> None:
    """Raise TrashkitError where a file or folder that the project names is not there."""
    if key not in (*_FILES, "images"):
        return
    reason = ""
    if not exists(path):
        reason = "does not exist"
    elif key in _FILES and path.is_dir():
        reason = "is a folder"
    elif key == "images" and not path.is_dir():
        reason = "is a file"
    elif not os.access(path, os.R_OK):
        reason = "cannot be read"
    if reason:
        raise TrashkitError(
            f"{project.path}: {key} = {path} {reason}", hint=f"correct {key} in {project.path}, or give the option"
        )


def _texts(values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from _texts(value)
