"""The note of a submission: a JSON file next to it that says what made it, found by the submission's hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NotRequired, Required, TypedDict, cast

from trashkit import __version__
from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.outputs import Output
from trashkit.readers import ContentError, checked, decode_json, read_text

SHORTEST = 6
"""Fewest hash digits that may identify a submission."""


class SubmissionNote(TypedDict, total=False):
    """The note of a submission. Which entries it has depends on what the submission was made from.

    sha256: of the submission. trashkit: the version that wrote it. store, store_fingerprint, store_manifest: of the
    store. annotations, annotations_sha256, order: of a submission from COCO. voters, weights: of a vote. data,
    data_sha256: COCO file of the images. size: [height, width], None for native.
    """

    sha256: str
    trashkit: str
    made_by: str
    store: str
    store_fingerprint: str
    store_manifest: dict[str, Any]
    annotations: str
    annotations_sha256: str
    order: str
    voters: list[Voter]
    weights: list[float]
    data: str | None
    data_sha256: str | None
    size: list[int] | None


class Voter(TypedDict):
    """A submission of a vote: its path, hash and own note. state: added by a trace."""

    path: str
    sha256: str
    note: SubmissionNote | None
    state: NotRequired[str]


def note_path(path: Path) -> Path:
    """Return the path of a submission's note: its name with ``.json`` appended."""
    return path.with_name(path.name + ".json")


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, or over the names and hashes of a folder's files."""
    if not path.is_dir():
        return sha256(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    text = "".join(f"{sha256(file)}  {file.relative_to(path).as_posix()}\n" for file in files)
    return hashlib.sha256(text.encode()).hexdigest()


def write_note(out: Path, dataset: Dataset, digest: str, size: tuple[int, int] | None, **entries: Any) -> None:
    """Write the note of a submission. size: (height, width), None for native. entries: what it was made from."""
    origin = {
        "sha256": digest,
        "trashkit": __version__,
        **entries,
        "data": str(dataset.coco.path.absolute()) if dataset.coco.path else None,
        "data_sha256": dataset.coco.sha256,
        "size": list(size) if size else None,
    }
    with Output(note_path(out), overwrite=True).writing() as temporary:
        temporary.write_text(json.dumps(origin, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def voter_entry(path: Path) -> Voter:
    """Return what a note says of a voter: its path, hash, and its own note if it has one."""
    digest = digest_of(path)
    note = _read(note_path(path))
    return {"path": str(path.absolute()), "sha256": digest, "note": note if _is_of(note, digest) else None}


def is_note(path: Path) -> bool:
    """Whether a file is the note of a submission."""
    return "trashkit" in (_read(path) or {})


class _NoteForm(TypedDict, total=False):
    """What a note must have to be followed; any version of trashkit writes it so."""

    sha256: Required[str]
    trashkit: str
    made_by: str
    store: str | None
    store_fingerprint: str | None
    store_manifest: dict[str, Any] | None
    annotations: str | None
    annotations_sha256: str | None
    order: str | None
    voters: list[_VoterForm] | None
    weights: list[float] | None
    data: str | None
    data_sha256: str | None
    size: list[int] | None


class _VoterForm(TypedDict, total=False):
    path: Required[str]
    sha256: Required[str]
    note: _NoteForm | None
    state: str | None


def _read(path: Path) -> SubmissionNote | None:
    try:
        value = decode_json(read_text(path))
        checked(value, _NoteForm)
    except (OSError, ContentError):
        return None
    return cast(SubmissionNote, value)


def _is_of(note: SubmissionNote | None, digest: str) -> bool:
    return note is not None and str(note["sha256"]).startswith(digest)


def find_note(what: str | Path, folders: Iterable[Path] = ()) -> SubmissionNote:
    """Return the note of the submission `what`: a file, a folder, or the first digits of a SHA-256.

    The note next to a file is used if it has the file's hash, else any note below `folders` (or in the submission's own
    folder) that has: files are renamed and copied. Raises TrashkitError where there is none, saying whether the file
    was changed after its note was written, and where the digits fit several submissions.
    """
    path = Path(what)
    if path.exists():
        digest = digest_of(path)
        own = _read(note_path(path))
        if own is not None and _is_of(own, digest):
            return own
        for note in _notes((path.parent, *folders)):
            if _is_of(note, digest):
                return note
        raise _no_note(path, own)
    text = str(what).lower()
    if set(text) <= set("0123456789abcdef") and 0 < len(text) < SHORTEST:
        raise TrashkitError(
            f"{text} is not a file, and too short for the hash of a submission",
            hint=f"give at least the first {SHORTEST} digits of its SHA-256",
        )
    if not set(text) <= set("0123456789abcdef"):
        raise TrashkitError(
            f"there is no file {path}", hint="give a submission that exists, or the first digits of its SHA-256"
        )
    found = {note["sha256"]: note for note in _notes(folders) if _is_of(note, text)}
    if len(found) != 1:
        many = f"{len(found)} submissions have" if found else "no note of a submission has"
        raise TrashkitError(f"{many} a hash that begins with {text}", hint="search another folder with --in FOLDER")
    return next(iter(found.values()))


def _no_note(path: Path, own: SubmissionNote | None) -> TrashkitError:
    note = note_path(path)
    if own is not None:
        return TrashkitError(f"{path} was changed after {note} was written", hint="make the submission again")
    if note.exists():
        return TrashkitError(f"{note} is damaged", hint="make the submission again")
    return TrashkitError(
        f"{path} has no note of what made it: {note} is missing",
        hint="trashkit submit make writes one; --in FOLDER searches another folder",
    )


def _notes(folders: Iterable[Path]) -> Iterator[SubmissionNote]:
    for folder in dict.fromkeys(Path(folder) for folder in folders):
        for path in sorted(folder.glob("**/*.json") if folder.is_dir() else ()):
            # Other JSON files may be large; a note names its submission, whose name ends before ".json".
            if "." in path.stem or path.with_suffix("").exists():
                note = _read(path)
                if note is not None and "trashkit" in note:
                    yield note
