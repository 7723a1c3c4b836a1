"""Available compute devices. torch is imported inside the functions, because importing it takes seconds."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    name: torch device string (``"cuda:0"``, ``"mps"``). model: product name.
    memory: total bytes. free: bytes not in use by any process. Both are None if the driver does not report them.
    bfloat16: whether it supports bfloat16 natively.
    """

    name: str
    model: str
    memory: int | None
    free: int | None
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class TorchReport:
    """The installed torch and its devices.

    build: what torch was compiled for: ``"CUDA 13.0"``, ``"ROCm 6.4"`` or ``"CPU"``.
    threads: CPU threads that it uses. problem: why a GPU build finds no GPU, or empty.
    """

    version: str
    build: str
    threads: int
    devices: tuple[Device, ...]
    problem: str


def torch_report() -> TorchReport:
    """Inspect torch and its devices; a failing device is reported as `problem`, not raised.

    Raises ImportError or OSError if torch is missing or cannot be loaded, RuntimeError if torchvision comes from an
    incompatible build.
    """
    import torch
    import torchvision.ops  # noqa: F401 - an incompatible torchvision build fails on this import

    if torch.version.cuda:
        build = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        build = f"ROCm {torch.version.hip}"
    else:
        build = "CPU"
    devices: list[Device] = []
    problem = ""
    try:
        for n in range(torch.cuda.device_count()):
            free, memory = torch.cuda.mem_get_info(n)
            name = torch.cuda.get_device_name(n)
            devices.append(Device(f"cuda:{n}", name, memory, free, torch.cuda.get_device_capability(n) >= (8, 0)))
    except RuntimeError as error:  # the first line names a driver that is too old
        problem = str(error).strip().partition("\n")[0]
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU", None, None, False))
    return TorchReport(torch.__version__, build, torch.get_num_threads(), tuple(devices), problem)


def reuse_freed_memory() -> None:
    """Let this process keep the memory that it frees, for later use; does nothing without glibc.

    On a CPU, torch allocates the activations of every layer anew. glibc gives large blocks back to the system each
    time, which clears their pages again: about a sixth of the time of a prediction. Peak memory stays the same.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            mallopt(option, 1 << 30)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of malloc.h


def on_cpu(device: str) -> bool:
    """Whether the device setting resolves to the CPU; accelerate needs to know to set up distributed CPU processes."""
    import torch

    found = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return device == "cpu" or not found
