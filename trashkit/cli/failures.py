"""Exceptions as one line that says what is wrong, and a hint that says what to do."""

from __future__ import annotations

import errno
import os
import re
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

from trashkit.cli.streams import StdoutError
from trashkit.errors import TrashkitError
from trashkit.names import shortened
from trashkit.readers import ContentError, PointerError

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
"""Which extra provides a package that a command lacks."""

_FILES = "raise the limit with `ulimit -n 1024`, or use fewer workers"
_SPACE = "free some space, or write to another disk, and run it again"
HINTS = {
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: "the disk or `ulimit -f` limits the size of files: write to another disk, or raise the limit",
    errno.EROFS: "write to a disk that is not read-only",
    errno.EIO: "the disk reports errors: copy what you can to another one",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.ELOOP: "a symbolic link leads back to itself: remove it",
    errno.ETXTBSY: "another program uses the file: run it again when that has ended",
}
"""What to do about an error of the system, by its number."""
LONGEST_NAME = 400
"""Most characters of a path in a message."""
_CHECK = "check the path and its permissions"

RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors that are the machine's and not a file's, even where a message blames the file."""

_MEMORY = ("out of memory", "use a smaller size, fewer workers or fewer images at a time, or free some memory")
_THREADS = (
    "no more threads or processes can be started",
    "raise the limit with `ulimit -u`, free some memory, or use --workers 1 and OMP_NUM_THREADS=1",
)
_NO_MEMORY = re.compile(
    r"insufficient memory|failed to allocate|cannot allocate memory|can't allocate memory|not enough memory"
    r"|unable to allocate|std::bad_alloc|failed to map segment|out of memory|DefaultCPUAllocator",
    re.IGNORECASE,
)
_NO_THREADS = re.compile(r"can't start new thread|can't create thread|pthread_create|thread constructor failed")
_SYSTEM = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
"""How libraries in Rust and C show an error of the system in their texts."""


def explain(error: BaseException) -> tuple[str, str]:
    """Return message and hint for an exception that is not a TrashkitError."""
    for recognise in (_stdout, _machine, _package, _system, _encoding, _other_process):
        found = recognise(error)
        if found is not None:
            return found
    return _crash(error)


def explain_known(error: TrashkitError) -> tuple[str, str]:
    """Message and hint of a TrashkitError; those of its cause where the machine, and no file, was at fault.

    For example, a photo that cannot be decoded since memory is short is not damaged. Where a reader found what the file
    really is, its hint is shown.
    """
    known = _machine(error)
    if known is None:
        reader = next(
            (one.hint for one in _chain(error) if isinstance(one, ContentError | PointerError) and one.hint), ""
        )
        return error.message, reader or error.hint
    said = known[0].partition(" (")[0].lower() in error.message.lower()
    return error.message if said else f"{error.message.partition(': ')[0]}: {_lower(known[0])}", known[1]


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An exception and its causes; at most 20, since causes can form a ring."""
    for _ in range(20):
        if error is None:
            return
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _stdout(error: BaseException) -> tuple[str, str] | None:
    if not isinstance(error, StdoutError):
        return None
    return f"the result cannot be written to stdout: {_lower(error.strerror)}", HINTS.get(error.errno or 0, _CHECK)


def _machine(error: BaseException) -> tuple[str, str] | None:
    """Where memory, threads, open files or the disk are used up, also where that is only the cause of the error."""
    return next((found for one in _chain(error) if (found := _used_up(one)) is not None), None)


def _used_up(error: BaseException) -> tuple[str, str] | None:
    if isinstance(error, TrashkitError):
        return None
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in RESOURCES:
            return _system(error)
        return {errno.ENOMEM: _MEMORY, errno.EAGAIN: _THREADS}.get(error.errno)
    text = str(error)[:10_000]
    if isinstance(error, MemoryError) or (_NO_MEMORY.search(text) and _may_lack_memory(error)):
        return _MEMORY
    if _NO_THREADS.search(text):
        return _THREADS
    found = _SYSTEM.search(text)
    number = int(found[1] or found[2]) if found else 0
    return (_lower(os.strerror(number)), HINTS[number]) if number in RESOURCES else None


def _may_lack_memory(error: BaseException) -> bool:
    library = type(error).__module__.partition(".")[0] in ("cv2", "torch", "onnxruntime", "zarr", "safetensors_rust")
    return library or isinstance(error, RuntimeError | ImportError | ValueError | SystemError | OSError)


def _package(error: BaseException) -> tuple[str, str] | None:
    if not isinstance(error, ModuleNotFoundError) or not error.name:
        return None
    package = error.name.partition(".")[0]
    wanted = f"trashkit[{EXTRAS[package]}]" if package in EXTRAS else package
    return f"this needs the package {package}, which is not installed", f"pip install '{wanted}'"


def _system(error: BaseException) -> tuple[str, str] | None:
    if not isinstance(error, OSError) or not error.strerror:
        return None
    where = f" ({_name(error.filename)})" if error.filename else ""
    return f"{error.strerror}{where}", HINTS.get(error.errno or 0, _CHECK)


def _encoding(error: BaseException) -> tuple[str, str] | None:
    if not isinstance(error, UnicodeEncodeError):
        return None
    if error.encoding == "utf-8":  # of the characters of Python, it lacks only surrogates
        around = error.object[max(error.start - 20, 0) : error.start + 20]
        return (
            f"{around!r} cannot be written as text: it contains an unpaired surrogate",
            "rename the file, class or person that has it in its name; `trashkit audit` says where it is",
        )
    what = f"the encoding {error.encoding} of this terminal or system cannot write {error.object[error.start]!r}"
    return what, "run it with PYTHONUTF8=1"


def _other_process(error: BaseException) -> tuple[str, str] | None:
    text = str(error)
    reset = isinstance(error, RuntimeError) and "Connection reset by peer" in text
    if type(error).__name__ != "DistBackendError" and "Connection closed by peer" not in text and not reset:
        return None
    return (
        "another process of this training ended, so this one cannot continue",
        "its output says why (out of memory, killed); repeat the command with --resume to continue",
    )


def _name(name: object) -> str:
    return shortened(os.fsdecode(name) if isinstance(name, str | bytes | os.PathLike) else str(name), LONGEST_NAME)


def _lower(text: str | None) -> str:
    return f"{text[0].lower()}{text[1:]}" if text else "unknown error"


def _crash(error: BaseException) -> tuple[str, str]:
    last = traceback.extract_tb(error.__traceback__)[-1:]
    place = f" at {Path(last[0].filename).name}:{last[0].lineno}" if last else ""
    text = " ".join(str(error).split())[:300]
    message = f"trashkit crashed{place}: {type(error).__name__}: {text}"
    if os.environ.get("TRASHKIT_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
        return message, "this is a bug: report it with the lines above"
    kept = _keep(error)
    if kept is None:
        return message, "this is a bug: run it again with TRASHKIT_DEBUG=1 and report what it prints"
    return message, f"this is a bug: report it with the traceback in {kept}"


def _keep(error: BaseException) -> str | None:
    """Write the traceback to a file of its own among the temporary files; None where that fails, on a full disk."""
    path = ""
    try:
        text = "".join(traceback.format_exception(error)).encode("utf-8", "backslashreplace")
        number, path = tempfile.mkstemp(prefix="trashkit-crash-", suffix=".txt")
        with os.fdopen(number, "wb") as file:
            file.write(text)
    except (OSError, MemoryError, RecursionError):
        if path:
            Path(path).unlink(missing_ok=True)
        return None
    return path
