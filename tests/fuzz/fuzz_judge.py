"""What counts as a find: any answer but a result or one clear line, and any file beside an error."""

from __future__ import annotations

import json
import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path

MOST_MEMORY = 2 << 30
"""Bytes; of a process that has loaded all packages, which takes a tenth of it, or a third with torch."""

Snapshot = dict[str, tuple[int, int, int, int]]

_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)
_CONTROLS_IN_JSON = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_FORGED = re.compile(r"^\s*(next: |::error::|error: )FORGED-LINE", re.MULTILINE)
_NOISE = re.compile(
    r"\.py:\d+: \w*Warning|^\[ ?WARN|^\[ERROR|\[[EWF]:onnxruntime|OpenCV|Exception ignored|^Fatal Python",
    re.M,
)
"""Not the lines of libjpeg and libpng, which OpenCV cannot turn off."""
_CRASH = re.compile(r"trashkit crashed at (\S+): (\w+)")


@dataclass(frozen=True)
class Find:
    """kind: what is wrong, in a word or two. detail: where, without what differs from case to case."""

    kind: str
    detail: str


def snapshot(folder: Path) -> Snapshot:
    """Inode, size, time of change and mode of everything below a folder; links are not followed."""
    found: Snapshot = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            state = path.lstat()
            size = 0 if path.is_dir() else state.st_size
            times = 0 if path.is_dir() else state.st_mtime_ns
            found[path.relative_to(folder).as_posix()] = (state.st_ino, size, times, state.st_mode)
    return found


def refusal_fault(out: str, err: str) -> str:
    """What is wrong with the answer of a command that ended with 2; empty where nothing is."""
    lines = err.splitlines()
    starts = [n for n, line in enumerate(lines) if line.startswith("error: ")]
    if len(starts) != 1:
        return f"{len(starts)} error lines"
    after = lines[starts[0] + 1 :]
    if len(after) > 1 or (after and not re.match(r"  \S", after[0])):
        return "more than an error line and a hint"
    return "stdout has text beside an error" if out.strip() else ""


def _ended(status: int, err: str, stuck: bool) -> Find | None:
    """A find where the process was killed."""
    if not os.WIFSIGNALED(status):
        return None
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU or stuck:
        frames = [one for one in re.findall(r'File "([^"]+)", line (\d+)', err) if "/trashkit/" in one[0]]
        # only the file: the line depends on when the time was over
        return Find("waits" if stuck else "time", Path(frames[0][0]).name if frames else "unknown place")
    return Find("signal", signal.Signals(number).name)


def judge(
    status: int, out: bytes, err: bytes, before: Snapshot, after: Snapshot, *, appended: tuple[str, ...],
    json_wanted: bool, memory: int, stuck: bool, left: list[str],
) -> list[Find]:  # fmt: skip
    """The finds in how one command ended.

    status: of `os.wait`. appended: files that a successful command may change, besides its outputs. memory: peak in
    bytes. stuck: whether it was killed since it waited in vain. left: what is left in the folder for temporary files.
    """
    text, errors = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
    if (ended := _ended(status, errors, stuck)) is not None:
        return [ended]
    finds: list[Find] = []
    code = os.WEXITSTATUS(status)
    crash = _CRASH.search(errors)
    if crash:
        finds.append(Find("crash", f"{crash[2]} at {crash[1]}"))
    elif "Traceback (most recent call last)" in errors or "this is a bug" in errors:
        finds.append(Find("traceback", errors.strip().splitlines()[-1][:80]))
    elif code not in (0, 1, 2):
        finds.append(Find("exit code", str(code)))
    elif code == 2 and (fault := refusal_fault(text, errors)):
        finds.append(Find("form of refusal", fault))
    if "out of memory" in errors:
        finds.append(Find("memory", "asks for too much"))
    elif memory > MOST_MEMORY:
        finds.append(Find("memory", "peak above 2 GB"))
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    finds += _file_finds(code, changed, before, appended, left)
    if json_wanted and code in (0, 1) and not crash:
        try:
            json.loads(text, parse_constant=lambda name: 1 / 0)
        except (ValueError, ZeroDivisionError):
            finds.append(Find("JSON", "stdout is not strict JSON"))
    if (_CONTROLS_IN_JSON if json_wanted else _CONTROLS).search(text) or _CONTROLS.search(errors):
        finds.append(Find("terminal", "raw control characters"))
    if _FORGED.search(text) or _FORGED.search(errors):
        finds.append(Find("terminal", "a forged line"))
    if (noise := _NOISE.search(errors)) is not None:
        finds.append(Find("noise", re.sub(r"\d+", "N", noise[0].strip())))
    return finds


def _file_finds(
    code: int, changed: list[str], before: Snapshot, appended: tuple[str, ...], left: list[str]
) -> list[Find]:
    finds = []
    inputs = [name for name in changed if name in before and not (code != 2 and name.startswith(appended))]
    if inputs:
        finds.append(Find("files", f"changes its input {_shape(inputs[0])}"))
    new = [name for name in changed if name not in before]
    begun = {name.partition("/")[0] for name in new if re.fullmatch(r"[^/]+/c(\.\d+)+", name)}
    # stores with an image or more: --resume continues them
    new = [name for name in new if name.partition("/")[0] not in begun]
    if code == 2 and new:
        finds.append(Find("files", f"output {_shape(new[0])} beside an error"))
    elif any(".part" in name for name in new):
        finds.append(Find("files", "leaves a temporary file"))
    if left and not any("crash" in name for name in left):
        finds.append(Find("files", "leaves something in the folder for temporary files"))
    return finds


def _shape(name: str) -> str:
    """A name without process numbers and hashes."""
    return re.sub(r"[0-9a-f]{8,}|\d{3,}", "N", name)
