"""Runs the steps of a story and records their results: exit codes, JSON results, and the files that were written.

Of trashkit only the command line is imported, so that modules may move. A record holds no prose: messages may be
reworded.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import golden_story as story
from golden_files import copy_embedded, set_up
from golden_story import Step
from typer.testing import CliRunner

TOLERANCE = 1e-3
"""Floats may differ by this much, absolutely or relative to the larger one."""

VARYING = {
    "started", "finished", "time", "when", "made", "date", "seconds", "images_per_second", "versions", "git", "device",
    "platform", "host", "trashkit", "threads", "processes", "memory", "left",
}  # fmt: skip
"""Keys whose values differ from run to run or from machine to machine: only their presence is recorded."""

GROWING = {"checks"}
"""Keys of lists with one entry for each check: their length is not recorded, so that a new check changes no record."""

PREDICTED = {"warnings"}
"""Keys of lists that follow from what a network predicts: only the keys of their items are recorded where numbers of
networks are not, since those differ with the number of threads."""

PROSE = {"message", "reason", "what", "title", "note", "notes", "hint", "text", "description", "place", "why", "advice",
         "explanation", "explained", "topic", "cure", "warning", "warnings", "command"}  # fmt: skip
"""Keys whose texts are written for people."""


def run_in_process(argv: list[str], folder: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that runs in `folder`, in this process."""
    from trashkit.cli.app import app

    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, argv)
    return done.exit_code, done.stdout, done.stderr


def snapshot(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file below `folder` but those of ``data/`` and ``results/``: its inode, size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] in ("data", "results") or not path.is_file():
            continue
        state = path.stat()
        found[name] = (state.st_ino, state.st_size, state.st_mtime_ns)
    return found


def tell(
    steps: Iterable[Step],
    folder: Path,
    run: Callable[[list[str], Path], tuple[int, str, str]] = run_in_process,
) -> Iterator[tuple[Step, int, str, str, list[str]]]:
    """Run steps in turn; each with its exit code, stdout, stderr and the files that it wrote or changed.

    A JSON result is also written to ``results/NAME.json``, for later steps to read.
    """
    (folder / "results").mkdir(exist_ok=True)
    for step in steps:
        if step.prepare is not None:
            with contextlib.suppress(OSError):  # an earlier step wrote nothing, and is told by its own record
                step.prepare(folder)
        before = snapshot(folder)
        code, out, err = run(shlex.split(step.command), folder)
        after = snapshot(folder)
        if parsed(out) is not None:
            (folder / "results" / f"{step.name}.json").write_text(out, encoding="utf-8")
        yield step, code, out, err, [name for name, state in after.items() if before.get(name) != state]


def parsed(text: str) -> Any:
    """The JSON value that a text is; None where it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return None


def without_paths(text: str, folder: Path) -> str:
    """A text in which the folder of the story is named ``.``."""
    return re.sub(f"{re.escape(str(folder.resolve()))}|{re.escape(str(folder))}", ".", text)


# --- outlines: what is committed -------------------------------------------------------------------------------------

MOST = 4
"""Longer lists are recorded by length, keys, first entry and sums of all numbers; so are lists of more than two lists
or objects, and objects of as many objects with equal keys, such as one for each class."""


def outline(value: Any, *, numbers: bool = True, key: str = "") -> Any:
    """A short form of a JSON value that keeps keys, types, numbers and names, and leaves out prose.

    numbers: False keeps only the type of each number, for values that depend on a trained network.
    """
    if key in VARYING:
        return "<varies>"
    if isinstance(value, Mapping):
        parts = list(value.values())
        if len(value) >= MOST and alike(parts, numbers=numbers):
            return {"<names>": list(value), "<each>": outline(parts[0], numbers=numbers), **sums(parts, numbers)}
        return {str(name): outline(item, numbers=numbers, key=str(name)) for name, item in value.items()}
    if isinstance(value, list):
        if len(value) <= (2 if any(isinstance(item, list | dict) for item in value) else MOST):
            return [outline(item, numbers=numbers, key=key) for item in value]
        short: dict[str, Any] = {} if key in GROWING else {"<length>": len(value)}
        if all(isinstance(item, dict) for item in value):
            short["<keys>"] = sorted({name for item in value for name in item})
            if key in PREDICTED and not numbers:
                return {"<keys>": short["<keys>"]}
        return {
            **short,
            "<first>": outline(value[0], numbers=numbers, key=key),
            **({} if key in GROWING else sums(value, numbers)),
        }
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int | float):
        if numbers:
            return round(value, 5) if isinstance(value, float) else value
        return type(value).__name__
    return "<text>" if is_prose(value, key) else without_hashes(value)


def without_hashes(text: str) -> str:
    """A text in which each hash of a file's content, whole or shortened, is masked: it differs between processors."""
    return re.sub(r"(?<![0-9a-z])[0-9a-f]{16}(?:[0-9a-f]{48})?(?![0-9a-z])", "<hash>", text)


def alike(parts: list[Any], *, numbers: bool) -> bool:
    """Whether values are objects with equal keys or, where numbers are not kept, numbers of one type."""
    if all(isinstance(part, dict) for part in parts):
        return all(list(part) == list(parts[0]) for part in parts)
    return not numbers and isinstance(parts[0], int | float) and len({type(part) for part in parts}) == 1


def sums(value: Any, numbers: bool) -> dict[str, Any]:
    """How many whole numbers and floats a JSON value holds, and the sums of their amounts."""
    if not numbers:
        return {}
    found = [number for number in all_numbers(value) if math.isfinite(number)]
    whole = [abs(number) for number in found if isinstance(number, int)]
    floats = [abs(number) for number in found if isinstance(number, float)]
    return {"<whole>": [len(whole), sum(whole)], "<floats>": [len(floats), round(sum(floats), 5)]}


def all_numbers(value: Any) -> Iterator[int | float]:
    """The numbers in a JSON value, but for those that vary."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            if name not in VARYING:
                yield from all_numbers(item)
    elif isinstance(value, list):
        for item in value:
            yield from all_numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def is_prose(text: str, key: str = "") -> bool:
    """Whether a text is written for people: by its key, or because it has three words or more, or a line end."""
    return key in PROSE or len(text.split()) >= 3 or "\n" in text


TOLD = {"zarr.json", "manifest.json", "pseudo.json", "labels.json"}
"""Files that are outlined wherever they lie, the first of each name that a step writes; of others below ``work/*/``
only the names are recorded."""
MACHINE = {"doctor"}
"""Steps whose results describe the machine: only their keys are recorded."""


def file_outline(path: Path, folder: Path, *, numbers: bool = True) -> Any:
    """What is recorded of a file: outlines of JSON and JSON Lines, columns and rows of a CSV; else None."""
    if len(path.relative_to(folder).parts) > 2 and path.name not in TOLD:
        return None
    text = without_paths(path.read_text(encoding="utf-8"), folder) if path.suffix in (".json", ".jsonl", ".csv") else ""
    if path.suffix == ".json":
        return outline(json.loads(text), numbers=numbers)
    if path.suffix == ".jsonl":
        return outline([json.loads(line) for line in text.splitlines()], numbers=numbers)
    if path.suffix == ".csv":
        lines = text.splitlines()
        return {"header": lines[0] if lines else "", "rows": len(lines) - 1}
    return None


def file_names(names: Iterable[str]) -> dict[str, Any]:
    """The names of files by folder; of more than eight in one folder, how many have which ending."""
    folders: dict[str, list[str]] = {}
    for name in names:
        parent, _, base = name.rpartition("/")
        base = "events.out.tfevents" if base.startswith("events.out.tfevents") else without_hashes(base)
        folders.setdefault(parent, []).append(base)
    short: dict[str, Any] = {}
    for parent, bases in sorted(folders.items()):
        endings: dict[str, int] = {}
        for base in bases:
            ending = Path(base).suffix if not re.fullmatch(r"c(\.\d+)+", base) else "c.*"
            endings[ending] = endings.get(ending, 0) + 1
        short[parent] = sorted(bases) if len(bases) <= 8 else endings
    return short


def record(steps: Iterable[Step], folder: Path, *, numbers: bool = True) -> dict[str, Any]:
    """Run steps in `folder`; what is recorded of each, by name."""
    found: dict[str, Any] = {}
    for step, code, out, _, files in tell(steps, folder):
        one: dict[str, Any] = {"command": step.command, "exit": code}
        result = parsed(without_paths(out, folder))
        if result is not None:
            one["result"] = sorted(result) if step.name in MACHINE else outline(result, numbers=numbers)
        told: dict[str, Any] = {}
        met: set[str] = set()
        for name in files:
            base = Path(name).name
            told[name] = None if base in met else file_outline(folder / name, folder, numbers=numbers)
            met |= {base} & TOLD
        one["files"] = {
            name: "<as the result>" if value == one.get("result") else value
            for name, value in told.items()
            if value is not None
        }
        one["other_files"] = file_names(name for name, value in told.items() if value is None)
        found[step.name] = {key: value for key, value in one.items() if value != {}}
    return found


REPOSITORY = Path(__file__).resolve().parents[2]


def prepare(folder: Path) -> Path:
    """A folder below `folder` in which the story can run, on the embedded data set."""
    place = folder.resolve() / "story"
    place.mkdir()
    copy_embedded(REPOSITORY / "data" / "synth", place)
    set_up(place)
    return place


def record_core(folder: Path, *, slow: bool) -> dict[str, Any]:
    """The record of `golden_story.CORE`, run below `folder`. slow: also those of `golden_story.SLOW`."""
    return record([step for step in story.CORE if slow or step.name not in story.SLOW], prepare(folder))


def record_all(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The records of `golden_story.CORE` and `golden_story.TRAINING`."""
    place = prepare(folder)
    return record(story.CORE, place), record(story.TRAINING, place, numbers=False)


# --- differences -----------------------------------------------------------------------------------------------------


def differences(old: Any, new: Any, place: str = "") -> Iterator[str]:
    """What differs between two JSON values, one line each: where, what it was, what it is now.

    Floats are equal within `TOLERANCE`; whole numbers, texts and keys must be the same.
    """
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in [*old, *(key for key in new if key not in old)]:
            where = f"{place}.{key}" if place else str(key)
            if key not in new:
                yield f"{where}: is gone (was {brief(old[key])})"
            elif key not in old:
                yield f"{where}: is new ({brief(new[key])})"
            else:
                yield from differences(old[key], new[key], where)
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) != len(new):
            yield f"{place}: {len(old)} entries, now {len(new)}"
        for n, (one, other) in enumerate(zip(old, new, strict=False)):
            yield from differences(one, other, f"{place}[{n}]")
    elif not same(old, new):
        yield f"{place}: {brief(old)}, now {brief(new)}"


def same(old: Any, new: Any) -> bool:
    """Whether two JSON scalars are equal, floats within `TOLERANCE`."""
    if isinstance(old, bool) or isinstance(new, bool) or type(old) is not type(new):
        return old is new
    if isinstance(old, float):
        return math.isclose(old, new, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return bool(old == new)


def brief(value: Any) -> str:
    """A value as a short text."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
