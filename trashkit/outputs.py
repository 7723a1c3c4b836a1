"""The guard in front of every output: what may be replaced, and writing atomically.

An output is written under a temporary name and renamed when it is complete, so a killed process never leaves half a
file. An existing file or folder is replaced with ``overwrite`` only, and only where it is an earlier output of the same
kind: a mistyped ``--out`` must not cost a folder of photos. Inputs are never replaced.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from trashkit.errors import TrashkitError
from trashkit.files import FILE_MANAGER_NAMES, real_path, remove, remove_folder, remove_leftovers, temporary_name
from trashkit.names import quoted


@dataclass(frozen=True, slots=True)
class OutputKind:
    """A kind of output: how an earlier one is recognised, and which files belong to it.

    name: as messages call it, such as "run folder". is_one: whether an existing path is one, or is empty and may become
    one. foreign: what a folder holds that does not belong to it, as in "a.jpg, which this command did not write"; empty
    where there is nothing. is_free: whether an existing folder counts as absent. is_resumable: whether ``--resume``
    would continue an existing one. owns: whether the entry `name` of `folder` is part of one: no other output may be
    written there.
    """

    name: str
    is_one: Callable[[Path], bool]
    foreign: Callable[[Path], str] = lambda _: ""
    is_free: Callable[[Path], bool] = lambda _: False
    is_resumable: Callable[[Path], bool] = lambda _: False
    owns: Callable[[Path, str], bool] = lambda _folder, _name: False


def folder_kind(name: str, *, marker: str, files: str = "") -> OutputKind:
    """A kind of folder that is recognised by the names in it.

    marker, files: patterns of file names with "/", relative to the folder. At least one name must match `marker`, all
    others `files`, else the folder is kept.
    """

    def names(folder: Path) -> list[str]:
        found = sorted(Path(place, name) for place, _, inside in os.walk(folder) for name in inside)
        return [path.relative_to(folder).as_posix() for path in found if path.name.lower() not in FILE_MANAGER_NAMES]

    def is_one(folder: Path) -> bool:
        found = names(folder)
        return not found or any(re.fullmatch(marker, one) for one in found)

    def foreign(folder: Path) -> str:
        foreign_names = (one for one in names(folder) if not (re.fullmatch(marker, one) or re.fullmatch(files, one)))
        first = next(foreign_names, "")
        return first and f"{first}, which this command did not write"

    return OutputKind(name, is_one, foreign)


_FORMS = {
    "an HTML page": (".html", ".htm"),
    "JSON": (".json",),
    "JSON Lines": (".jsonl", ".ndjson"),
    "CSV": (".csv", ".tsv"),
    "a picture": (".png", ".jpg", ".jpeg", ".svg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".pdf"),
    "an ONNX file": (".onnx",),
    "XML": (".xml",),
    "YAML": (".yaml", ".yml"),
    "TOML": (".toml",),
    "text": (".txt", ".md"),
    "a spreadsheet": (".xlsx", ".xls", ".ods"),
    "an archive": (".zip", ".gz", ".tar", ".tgz", ".7z", ".xz", ".bz2"),
    "NumPy arrays": (".npy", ".npz"),
    "weights": (".pt", ".pth", ".ckpt", ".safetensors"),
    "a Python pickle": (".pkl", ".pickle"),
    "a Parquet file": (".parquet",),
}
_FORM_OF = {suffix: form for form, suffixes in _FORMS.items() for suffix in suffixes}


def check_suffix(path: Path, writes: str, suffixes: Iterable[str] = (), *, option: str = "--out") -> None:
    """Raise TrashkitError where the suffix of an output belongs to another form than the one that is written.

    writes: what is written, as in "an HTML page". suffixes: of that form, the usual one first; none for a folder. Names
    without suffix, and with one that belongs to no known form, pass.
    """
    suffix, accepted = path.suffix.lower(), tuple(suffixes)
    if suffix not in _FORM_OF or suffix in accepted:
        return
    name = path.with_suffix(accepted[0] if accepted else "")
    raise TrashkitError(
        f"{path} ends as {_FORM_OF[suffix]} does ({suffix}), but this writes {writes}",
        hint=f"{option} {quoted(str(name))}",
    )


@dataclass(frozen=True, slots=True)
class Output:
    """A file or folder to write, and what it may replace.

    overwrite: replace an earlier output. resume: continue one; it may then hold files that do not belong to it. kind:
    what an earlier output must be; None for any file. parts: further outputs that are written with this one, such as
    the note of a submission. resumable: whether messages may name ``--resume``.
    """

    path: Path
    overwrite: bool = False
    resume: bool = False
    kind: OutputKind | None = None
    parts: tuple[Output, ...] = ()
    resumable: bool = True

    def check(self) -> None:
        """Raise TrashkitError unless the output may be written: nothing is there, or what may be replaced or resumed.

        Its parent must be a folder or able to become one. Devices, pipes and dangling links are always refused.
        """
        path, kind = self.path, self.kind
        self.check_place()
        if path.exists() and not (kind is not None and kind.is_free(path)):
            self._check_existing()
        if kind is not None:
            self.check_outside([kind])
        for part in self.parts:
            part.check()

    def check_place(self) -> None:
        """Raise TrashkitError where nothing can be written: onto devices, pipes and dangling links, or into files."""
        path = self.path
        if not path.name or path.name == "..":
            raise TrashkitError(f"{path} does not name a file or folder", hint="add a name, as in --out NAME")
        if path.is_symlink() and not path.exists():
            raise TrashkitError(f"{path} is a broken symbolic link", hint="remove the link, or choose another name")
        if path.exists() and not path.is_file() and not path.is_dir():
            raise TrashkitError(
                f"{path} is neither a file nor a folder, so it is not replaced", hint="choose another name"
            )
        self._check_parent()

    def _check_existing(self) -> None:
        path, kind = self.path, self.kind
        if not (self.overwrite or self.resume):
            if kind is not None and self.resumable and kind.is_resumable(path):
                raise TrashkitError(
                    f"{path} already exists",
                    hint="add --resume to continue it, --overwrite to start again, or choose another --out",
                )
            raise TrashkitError(f"{path} already exists", hint="choose another name, or add --overwrite")
        if kind is None:
            return
        foreign = "" if self.resume else kind.foreign(path)
        if foreign:
            raise TrashkitError(
                f"{path} holds {foreign}, so it is not replaced",
                hint="move these files away, or choose another --out",
            )
        if not kind.is_one(path):
            raise TrashkitError(f"{path} is not a {kind.name}, so it is not replaced", hint="choose another --out")

    def _check_parent(self) -> None:
        for parent in self.path.parents:
            if parent.is_symlink() and not parent.exists():
                raise TrashkitError(
                    f"{parent} is a broken symbolic link", hint="remove the link, or choose another name"
                )
            if parent.exists():
                if not parent.is_dir():
                    raise TrashkitError(
                        f"{parent} is a file, so {self.path} cannot be written", hint="choose another --out"
                    )
                if not os.access(parent, os.W_OK):
                    raise TrashkitError(f"the folder {parent} is not writable", hint="choose another --out")
                return

    def check_inputs(self, inputs: Iterable[Path | str | None]) -> None:
        """Raise TrashkitError where writing the output would destroy an input.

        That is the input itself, also through another spelling or a link, or a folder that holds the input (a written
        folder replaces the one that was there). None and names that do not exist are skipped.
        """
        out = self.path
        where = real_path(out)
        for given in inputs:
            if given is None:
                continue
            path = Path(given)
            real = real_path(path)
            # samefile also sees hard links and file systems that ignore case.
            if where == real or (out.exists() and path.exists() and out.samefile(path)):
                raise TrashkitError(f"{out} is an input and would be overwritten", hint="choose another name")
            if path.exists() and where in real.parents:
                raise TrashkitError(
                    f"{out} holds the input {path} and would be overwritten", hint="choose another name"
                )

    def check_outside(self, kinds: Iterable[OutputKind]) -> None:
        """Raise TrashkitError where the output would be part of an existing output of one of these kinds."""
        place = real_path(self.path)
        wanted = list(kinds)
        for folder in place.parents:
            name = place.relative_to(folder).parts[0]
            for kind in wanted:
                if kind.owns(folder, name):
                    raise TrashkitError(f"{self.path} is part of the {kind.name} {folder}", hint="choose another name")

    @contextmanager
    def writing(self) -> Iterator[Path]:
        """Yield a temporary sibling to write a file or folder to; it is renamed when the block ends.

        Checks first (see `check`). An exception in the block removes what was written and leaves an existing output
        unchanged. A folder never replaces a file, a file never a folder, and only a picture replaces a picture: it may
        be one of the user's photos. Parent folders are created; leftovers of killed processes are removed.
        """
        self.check()
        path = self.path
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_name(path)
        remove(temporary)
        remove_leftovers(path)
        try:
            yield temporary
            if path.exists() and temporary.exists() and path.is_dir() != temporary.is_dir():
                raise TrashkitError(f"{path} is a {'folder' if path.is_dir() else 'file'}", hint="choose another name")
            if path.is_file() and temporary.is_file() and _is_picture(path) and not _is_picture(temporary):
                raise TrashkitError(f"{path} is an image, so it is not replaced", hint="choose another name")
            if path.is_dir() and temporary.is_dir():
                _exchange(path, temporary)
            else:
                temporary.replace(path)
        except BaseException as error:
            if isinstance(error, OSError):
                _name_file(error, path, temporary)
            with suppress(OSError):  # the first error counts, such as that of a broken disk
                remove(temporary)
            raise

    def remove(self) -> None:
        """Remove an earlier output folder, if there is one, after `check`."""
        self.check()
        if self.path.exists():
            remove_folder(self.path)


def _name_file(error: OSError, path: Path, temporary: Path) -> None:
    """Name the output in an error about its temporary file, or about writing to an open file, which names none."""
    if error.filename is None and error.errno in _WHILE_WRITING:
        error.filename = str(path)
    elif isinstance(error.filename, str) and (error.filename + os.sep).startswith(f"{temporary}{os.sep}"):
        error.filename = str(path) + error.filename.removeprefix(str(temporary))


_WHILE_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def _exchange(old: Path, new: Path) -> None:
    """Put the folder `new` in the place of `old`, which is moved away first and removed last: removing takes long."""
    moved = temporary_name(old, moved=True)
    remove(moved)
    old.rename(moved)
    try:
        new.rename(old)
    except BaseException:
        moved.rename(old)
        raise
    remove(moved)


_PICTURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF", b"II*\0", b"MM\0*", b"BM")
"""First bytes of JPEG, PNG, GIF, WebP, TIFF and BMP files."""


def _is_picture(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(8).startswith(_PICTURES)


def write_bytes(path: Path, data: bytes, *, overwrite: bool = False) -> None:
    """Write a file atomically."""
    with Output(Path(path), overwrite).writing() as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a UTF-8 file atomically; lone surrogates, which UTF-8 does not have, are escaped as in JSON."""
    write_bytes(path, text.encode(errors="backslashreplace"), overwrite=overwrite)
