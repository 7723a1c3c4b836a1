"""Runs cases, each in a fork of a process that has loaded all packages: ``python fuzz_server.py PLACE WORK [torch]``.

A case is a line of JSON on stdin, its result a line on stdout. Limits hold for each fork: time, memory beyond what is
loaded, size of files. Nothing reaches the network.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import shlex
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from fuzz_cases import CASES_BY_NAME, NamedCase
from fuzz_judge import judge, snapshot
from fuzz_mutate import mutate
from fuzz_place import EARLIER
from fuzz_targets import BY_NAME, Target

CPU_SECONDS = 20
WAITING_SECONDS = 8
"""A case that waits for so long, as for a pipe, without computing anything, does not end."""
WALL_SECONDS = 240
"""Of a case on a busy machine."""
MORE_MEMORY = 2304 << 20
"""Bytes of address space that a case may take."""
_RLIMIT_FILE = 512 << 20


def load_packages(*, torch: bool) -> None:
    """Import what commands import inside their functions, without starting a thread."""
    for name in (
        "cv2", "zarr", "numcodecs", "scipy.ndimage", "shapely", "PIL.Image", "PIL.ImageFile", "pycocotools.mask",
        "pandas", "sklearn", "rich.table", "yaml", "onnxruntime", "onnx", "trashkit.cli.app",
    ):  # fmt: skip
        with contextlib.suppress(ImportError):
            __import__(name)
    import trashkit

    root = Path(trashkit.__file__).parent
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        if "fiftyone_app" not in parts and (torch or "nn" not in parts) and parts[-1] not in ("__init__", "__main__"):
            with contextlib.suppress(ImportError):
                __import__(".".join(parts))
    import cv2

    cv2.setNumThreads(0)
    # building the tree of commands takes longer than most commands
    import typer.main

    from trashkit.cli.app import app

    built = typer.main.get_command(app)
    build = typer.main.get_command
    typer.main.get_command = lambda given: built if given is app else build(given)


def no_network(*_: Any, **__: Any) -> None:
    """Stands in for everything that connects to other machines."""
    raise OSError(101, "Network is unreachable")


def run_command(words: list[str], encoding: str) -> int:
    """Run a command in this process as the console script does, and return its exit code."""
    from trashkit.__main__ import main

    sys.argv = ["trashkit", *words]
    sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding, errors="strict")
    sys.stderr = io.TextIOWrapper(
        os.fdopen(2, "wb", closefd=False), encoding, errors="backslashreplace", line_buffering=True
    )
    code: Any = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            os.write(2, b"Exception ignored while flushing\n")
    return code if isinstance(code, int) else 1 if code else 0


def limited(call: Callable[[], int], folder: Path, work: Path) -> None:
    """The life of a fork: limits, then the call."""
    os.setsid()
    for number, path in ((0, os.devnull), (1, work / "out"), (2, work / "err")):
        os.dup2(os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for kind, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + MORE_MEMORY),
        (resource.RLIMIT_FSIZE, _RLIMIT_FILE),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (most, most))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS + 5))
    errors = os.fdopen(os.dup(2), "w")
    faulthandler.register(signal.SIGUSR1, file=errors)
    faulthandler.register(signal.SIGXCPU, file=errors, chain=True)
    socket.socket.connect = no_network  # type: ignore[method-assign,assignment]
    socket.getaddrinfo = no_network  # type: ignore[assignment]
    os.chdir(folder)
    os._exit(call())


def forked(call: Callable[[], int], folder: Path, work: Path) -> dict[str, Any]:
    """Make a call in a fork, and return how it ended: status, seconds, memory in bytes, out and err."""
    for name in ("tmp", "home"):
        shutil.rmtree(work / name, ignore_errors=True)
        (work / name).mkdir()
    os.environ.update(TMPDIR=str(work / "tmp"), HOME=str(work / "home"), XDG_CACHE_HOME=str(work / "home"))
    start = time.monotonic()
    process = os.fork()
    if process == 0:
        try:
            limited(call, folder, work)
        finally:
            os._exit(99)
    computed, since, stuck = -1, start, False
    while True:
        ended, status, used = os.wait4(process, os.WNOHANG)
        now = time.monotonic()
        if ended:
            break
        ticks, waits = _ticks(process)
        if ticks > computed + 1 or not waits:
            computed, since = ticks, now
        if (now - since > WAITING_SECONDS or now - start > WALL_SECONDS) and not stuck:
            stuck = True
            os.kill(process, signal.SIGUSR1)  # says where it is
            time.sleep(0.2)
            os.kill(process, signal.SIGKILL)
        time.sleep(0.002 if now - start < 0.5 else 0.05)
    seconds = time.monotonic() - start
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process, signal.SIGKILL)  # what the command started
    read = [(work / name).read_bytes()[: 8 << 20] if (work / name).exists() else b"" for name in ("out", "err")]
    left = sorted(path.name for path in (work / "tmp").iterdir())
    return {
        "status": status,
        "stuck": stuck,
        "seconds": seconds,
        "memory": used.ru_maxrss * 1024,
        "out": read[0],
        "err": read[1],
        "left": left,
    }


def _ticks(process: int) -> tuple[int, bool]:
    """Hundredths of a second that a process has computed, and whether it waits for something else than a processor."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), fields[0] in "SD"


def copy_files(patterns: Sequence[str], place: Path, folder: Path) -> None:
    """Copy files and folders."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for pattern in patterns:
        for path in place.glob(pattern):
            to = folder / path.relative_to(place)
            if path.is_dir():
                shutil.copytree(path, to, dirs_exist_ok=True)
            elif not to.exists():
                to.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, to)


def damage(target: Target, folder: Path, rng: random.Random) -> list[str]:
    """Damage one or two files of a target. Each pattern and each suffix is as likely as any other."""
    changes = []
    for _ in range(rng.choice([1, 1, 1, 2])):
        found = [
            path
            for path in sorted(folder.glob(rng.choice(target.victims.split())))
            if path.is_file() and not path.is_symlink()
        ]
        suffixes = sorted({path.suffix for path in found})
        if suffixes:
            suffix = rng.choice(suffixes)
            path = rng.choice([one for one in found if one.suffix == suffix])
            changes.append(f"{path.relative_to(folder)}: {mutate(path, rng)}")
    return changes


def run_case(name: str, seed: int, number: int, place: Path, work: Path) -> dict[str, Any]:
    """Run one case of a target in ``WORK/case``, and return its result. Case -1 damages nothing."""
    target = BY_NAME[name]
    rng = random.Random(f"{seed}/{name}/{number}")
    folder = work / "case"
    copy_files(target.files, place, folder)
    json_wanted = not target.text and rng.random() < 0.5
    encoding = rng.choice(["utf-8"] * 15 + ["ascii"]) if number >= 0 else "utf-8"
    changes = damage(target, folder, rng) if number >= 0 else []
    words = [*target.words, *(["--json"] if json_wanted else [])]
    return {
        "target": name,
        "case": number,
        "changes": changes,
        **run_words(words, folder, work, json_wanted=json_wanted, encoding=encoding),
    }


def run_named(case: NamedCase, work: Path) -> dict[str, Any]:
    """Run a named case, and return its result."""
    folder = work / "case"
    copy_files(case.needs.split(), EARLIER, folder)
    case.damage(folder)
    words = shlex.split(case.command)
    return {"changes": [case.name], **run_words(words, folder, work, json_wanted=False, encoding=case.encoding)}


def run_words(
    words: list[str], folder: Path, work: Path, *, json_wanted: bool, encoding: str = "utf-8"
) -> dict[str, Any]:
    """Run a command in a folder, and return how it ended, with finds."""
    before = snapshot(folder)
    ended = forked(lambda: run_command(words, encoding), folder, work)
    # what a command appends to or continues is named after the options that do so
    continued = tuple(word for option, word in pairwise(words) if option in ("--write-edits", "--baseline"))
    if "--resume" in words:
        continued += (words[words.index("--out") + 1],)
    if words[:2] == ["leaderboard", "add"]:
        continued += ("leaderboard",)
    if words[0] == "report" and "--out" not in words:
        continued += (words[1],)
    finds = judge(
        ended["status"], ended["out"], ended["err"], before, snapshot(folder), appended=continued,
        json_wanted=json_wanted, memory=ended["memory"], stuck=ended["stuck"], left=ended["left"],
    )  # fmt: skip
    return {
        "words": words,
        "code": os.waitstatus_to_exitcode(ended["status"]),
        "seconds": round(ended["seconds"], 3),
        "memory": ended["memory"] >> 20,
        "finds": [(find.kind, find.detail) for find in finds],
        "out": ended["out"][-2000:].decode(errors="replace"),
        "err": ended["err"][-2000:].decode(errors="replace"),
    }


def main() -> None:
    """Answer cases until stdin ends."""
    place, work = Path(sys.argv[1]), Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    load_packages(torch="torch" in sys.argv[3:])
    for line in sys.stdin:
        case = json.loads(line)
        if "named" in case:
            result = run_named(CASES_BY_NAME[case["named"]], work)
        else:
            result = run_case(case["target"], case["seed"], case["case"], place, work)
        print(json.dumps(result), file=answers, flush=True)


if __name__ == "__main__":
    main()
