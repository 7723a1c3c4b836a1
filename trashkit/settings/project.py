"""The project file: trashkit.toml, which names a project's files for all commands."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import is_file, real_path
from trashkit.progress import discard
from trashkit.readers import read_toml

FILE_NAME = "trashkit.toml"
VERSION = 1
"""Version of the file's tables; a file without `version` counts as this one."""
CLASS_MAPS = ("official", "own", "taco")
"""Values of `classes` that are not files."""
GROUPINGS = ("field", "folder", "regex")
"""Kinds of `groups` that name no file."""


@dataclass(frozen=True)
class Auto:
    """The table ``[auto]``.

    extra: further data sets, each "JSON:DIR[:WEIGHT]".
    """

    extra: tuple[str, ...] = ()


@dataclass(frozen=True)
class Project:
    """A project file. Its paths are relative to the working folder here, and to the file in the file itself.

    path: the file. data: COCO file with annotations. images: folder of the photos of `data` and `test`. test: COCO file
    of the test photos. sample: sample submission. classes: "official", "own", "taco" or a JSON file. runs: folder of
    everything that commands write without ``--out``. groups: as ``split --groups`` takes them. auto: the table
    ``[auto]``. has_audit: whether there is a table ``[audit]``, which `trashkit.audit.settings` reads.
    """

    path: Path
    data: Path | None = None
    images: Path | None = None
    test: Path | None = None
    sample: Path | None = None
    classes: str | None = None
    runs: Path = Path("runs")
    groups: tuple[str, ...] = ()
    auto: Auto = Auto()
    has_audit: bool = False

    @property
    def folder(self) -> Path:
        """The folder of the file, to which its paths are relative."""
        return self.path.parent

    def output(self, *parts: str) -> Path:
        """A path below `runs`, for a command that writes where its user named no place.

        Raises TrashkitError where `runs` is not inside the project's folder: a project file may come from anywhere, and
        must not decide that something is written elsewhere.
        """
        inside = real_path(self.folder)
        real = real_path(self.runs)
        if real != inside and inside not in real.parents:
            raise TrashkitError(
                f'{self.path}: runs = "{self.runs}" is outside of the folder of the file, so nothing is written there',
                hint="name a folder below it, or give --out",
            )
        return self.runs.joinpath(*parts)


_TABLES = {
    "project": ("data", "images", "test", "sample", "classes", "runs", "groups"),
    "auto": tuple(field.name for field in fields(Auto)),
}
_LISTS = ("groups", "extra")
_TOP = ("version", "project", "auto", "audit")


def find_project(start: Path = Path(), *, warn: Callable[[str], None] = discard) -> Project | None:
    """Read the nearest trashkit.toml in `start` or a folder above it; None if there is none.

    A file in a folder above must belong to the owner of `start`, to this process's user or to root, as anybody can
    place one in a shared folder such as /tmp; another one is not read, and `warn` is told. Raises TrashkitError as
    `read_project` does.
    """
    real = real_path(start)
    for depth, folder in enumerate((real, *real.parents)):
        if not is_file(folder / FILE_NAME):
            continue
        path = start.joinpath(*[".."] * depth, FILE_NAME)
        if depth and not _is_trusted(folder / FILE_NAME, real):
            warn(f"{path} belongs to another user and is not used; --project {path} uses it")
            return None
        return read_project(path)
    return None


def _is_trusted(path: Path, start: Path) -> bool:
    trusted = {0, start.stat().st_uid, os.geteuid() if hasattr(os, "geteuid") else 0}
    return path.stat().st_uid in trusted


def read_project(path: Path) -> Project:
    """Read a project file. One with the table ``[audit]`` only is a project without values.

    Whether the files that it names exist is left to those who use them. Raises TrashkitError that names all unknown
    keys and wrong values, and for files of a newer version.
    """
    if path.is_dir():
        raise TrashkitError(f"{path} is a folder", hint=f"name the file, such as {path / FILE_NAME}")
    content = read_toml(path, hint=f"correct {path}, or leave it out with --project none")
    _check_version(content.get("version", VERSION), path)
    wrong = _wrong_tables(content)
    tables: dict[str, dict[str, Any]] = {}
    for table, keys in _TABLES.items():
        given = content.get(table, {})
        if isinstance(given, dict):
            tables[table] = given
            wrong += _wrong_keys(given, table, keys)
        else:
            wrong.append(f"{table} is not a table")
    if wrong:
        raise TrashkitError(
            f"{path}: {'; '.join(wrong)}",
            hint=f"[project] takes {', '.join(_TABLES['project'])}; [auto] takes {', '.join(_TABLES['auto'])}",
        )
    return _project(path, tables["project"], tables["auto"], has_audit="audit" in content)


def _project(path: Path, values: dict[str, Any], auto: dict[str, Any], *, has_audit: bool) -> Project:
    folder = path.parent

    def place(key: str) -> Path | None:
        return folder / values[key] if key in values else None

    classes = values.get("classes")
    groups = values.get("groups", ())
    return Project(
        path,
        data=place("data"),
        images=place("images"),
        test=place("test"),
        sample=place("sample"),
        classes=classes if classes is None or classes in CLASS_MAPS else str(folder / classes),
        runs=place("runs") or folder / "runs",
        groups=tuple(_grouping(one, folder) for one in ([groups] if isinstance(groups, str) else groups)),
        auto=Auto(tuple(_extra(one, folder) for one in auto.get("extra", ()))),
        has_audit=has_audit,
    )


def _grouping(text: str, folder: Path) -> str:
    kind, _, name = text.partition(":")
    return f"file:{folder / name}" if kind == "file" else text


def _extra(text: str, folder: Path) -> str:
    data, _, rest = text.partition(":")
    images, colon, weight = rest.partition(":")
    return f"{folder / data}:{folder / images}{colon}{weight}"


def _check_version(version: Any, path: Path) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise TrashkitError(f"{path}: version = {str(version)[:40]} is not a version", hint=f"version = {VERSION}")
    if version > VERSION:
        raise TrashkitError(
            f"{path} is of version {version}, written for a newer trashkit; this one reads version {VERSION}",
            hint="update trashkit, or leave the file out with --project none",
        )


def _wrong_tables(content: dict[str, Any]) -> list[str]:
    """What is wrong at the top of the file. A file without this module's tables may have tables of other programs."""
    ours = any(key in content for key in ("version", *_TABLES))
    return [
        _unknown(f"[{key}]" if isinstance(content[key], dict) else key, "table", close and f"[{close}]")
        for key in content
        if key not in _TOP and ((close := _nearest(key, _TOP)) or ours)
    ]


def _wrong_keys(given: dict[str, Any], table: str, keys: tuple[str, ...]) -> list[str]:
    wrong = []
    for key, value in given.items():
        if key not in keys:
            wrong.append(_unknown(key, f"key of [{table}]", _nearest(key, keys)))
        elif isinstance(value, str) or (key in _LISTS and isinstance(value, list)):
            wrong += [f"{key} = {_shown(one)} {fault}" for one in _all(value) if (fault := _fault(one, key))]
        else:
            wrong.append(f"{key} = {_shown(value)} is not " + ("a list of texts" if key in _LISTS else "a text"))
        if key == "extra" and isinstance(value, str):
            wrong.append("extra is not a list")
    return wrong


def _fault(value: Any, key: str) -> str:
    """What is wrong with a text; empty if nothing is."""
    if not isinstance(value, str):
        return "is not a text"
    if not value.strip():
        return "is empty"
    if any(ord(one) < 32 for one in value):
        return "has control characters"
    if key == "extra" and (len(parts := value.split(":")) not in (2, 3) or not all(parts)):
        return "is not JSON:DIR[:WEIGHT]"
    return ""


def _all(value: Any) -> Iterable[Any]:
    return value if isinstance(value, list) else [value]


def _nearest(key: str, keys: Iterable[str]) -> str:
    return next(iter(get_close_matches(key.lower(), list(keys), 1, 0.6)), "")


def _unknown(key: str, what: str, close: str) -> str:
    return f"{_shown(key)} is not a known {what}" + (f" (did you mean {close}?)" if close else "")


def _shown(value: Any) -> str:
    return value[:60] if isinstance(value, str) else str(value)[:60]
