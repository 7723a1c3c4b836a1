"""The note beside a submission that says what made it, found again by the submission's hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from trashkit import __version__
from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.files import replacing, sha256

SHORTEST = 6
"""Fewest digits by which a submission may be named."""


def note_path(path: Path) -> Path:
    """Where the note of a submission lies: its name with ``.json`` appended."""
    return path.with_name(path.name + ".json")


def digest_of(path: Path) -> str:
    """SHA-256 of a file, or over the names and hashes of a folder's files."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def write_note(out: Path, dataset: Dataset, digest: str, size: tuple[int, int] | None, **entries: Any) -> None:
    """Say next to a submission what made it. size: (height, width), None for native; entries: its own origin."""
    origin = {
        "sha256": digest,
        "trashkit": __version__,
        **entries,
        "data": str(dataset.coco.path.absolute()) if dataset.coco.path else None,
        "data_sha256": dataset.coco.sha256,
        "size": list(size) if size else None,
    }
    with replacing(note_path(out), overwrite=True) as temporary:
        temporary.write_text(json.dumps(origin, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def member(path: Path) -> dict[str, Any]:
    """A submission that went into another one: where it lies, its hash, and its own note where it has one."""
    digest = digest_of(path)
    note = _read(note_path(path))
    return {"path": str(path.absolute()), "sha256": digest, "note": note if _is_of(note, digest) else None}


def is_note(path: Path) -> bool:
    """Whether a file is the note of a submission."""
    return "trashkit" in (_read(path) or {})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("sha256"), str) else None


def _is_of(note: Mapping[str, Any] | None, digest: str) -> bool:
    return note is not None and str(note["sha256"]).startswith(digest)


def find_note(what: str | Path, folders: Iterable[Path] = ()) -> dict[str, Any]:
    """The note of a submission: of the file or folder `what`, or by the first digits of its SHA-256.

    The note beside it is taken where its hash is that of the file. Otherwise any note below `folders` (or in the
    submission's own folder) with that hash is: files are renamed and copied. Raises TrashkitError where there is none,
    saying whether the file was changed after its note was written, and where some digits fit several submissions.
    """
    path = Path(what)
    if path.exists():
        digest = digest_of(path)
        beside = _read(note_path(path))
        if beside is not None and _is_of(beside, digest):
            return beside
        for note in _notes((path.parent, *folders)):
            if _is_of(note, digest):
                return note
        raise _no_note(path, beside)
    text = str(what).lower()
    if set(text) <= set("0123456789abcdef") and 0 < len(text) < SHORTEST:
        raise TrashkitError(
            f"{text} is no file, and too short for the hash of a submission",
            hint=f"give at least the first {SHORTEST} digits of its SHA-256",
        )
    if not set(text) <= set("0123456789abcdef"):
        raise TrashkitError(
            f"there is no file {path}", hint="give a submission that exists, or the first digits of its SHA-256"
        )
    found = {note["sha256"]: note for note in _notes(folders) if _is_of(note, text)}
    if len(found) != 1:
        many = f"{len(found)} submissions have" if found else "no note of a submission has"
        raise TrashkitError(f"{many} a hash that begins with {text}", hint="look elsewhere with --in FOLDER")
    return next(iter(found.values()))


def _no_note(path: Path, beside: dict[str, Any] | None) -> TrashkitError:
    note = note_path(path)
    if beside is not None:
        return TrashkitError(f"{path} was changed after {note} was written", hint="make the submission again")
    if note.exists():
        return TrashkitError(f"{note} is damaged", hint="make the submission again")
    return TrashkitError(
        f"{path} has no note of what made it: {note} is missing",
        hint="trashkit submit make writes one; --in FOLDER looks for it elsewhere",
    )


def _notes(folders: Iterable[Path]) -> Iterator[dict[str, Any]]:
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        for path in sorted(folder.glob("**/*.json") if folder.is_dir() else ()):
            # Other JSON files may be large; a note names its submission, whose name ends before ".json".
            if "." in path.stem or path.with_suffix("").exists():
                note = _read(path)
                if note is not None and "trashkit" in note:
                    yield note
