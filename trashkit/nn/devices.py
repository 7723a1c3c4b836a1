"""What there is to compute on. torch is imported only when asked, since that alone takes seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator.

    name: as torch addresses it (``"cuda:0"``, ``"mps"``). model: what the maker calls it.
    memory: bytes in all, free: bytes not in use by anyone; both None where the driver does not say.
    bfloat16: whether it computes in bfloat16 natively.
    """

    name: str
    model: str
    memory: int | None
    free: int | None
    bfloat16: bool


@dataclass(frozen=True, slots=True)
class TorchReport:
    """The installed torch and what it sees.

    build: ``"CUDA 13.0"``, ``"ROCm 6.4"`` or ``"CPU"``: what torch was compiled for.
    threads: CPU threads that it uses. problem: why a GPU build sees no GPU, or empty.
    """

    version: str
    build: str
    threads: int
    devices: tuple[Device, ...]
    problem: str


def torch_report() -> TorchReport:
    """Look at torch and its devices; never raises for a device that misbehaves.

    Raises ImportError or OSError where torch is missing or cannot be loaded, RuntimeError where torchvision is from
    another build and does not fit.
    """
    import torch
    import torchvision.ops  # noqa: F401 - a torchvision of another build fails right here

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
    except RuntimeError as error:  # a driver older than the build says so in its first line
        problem = str(error).strip().partition("\n")[0]
    if torch.backends.mps.is_available():
        devices.append(Device("mps", "Apple GPU", None, None, False))
    return TorchReport(torch.__version__, build, torch.get_num_threads(), tuple(devices), problem)


def on_cpu(device: str) -> bool:
    """Whether ``auto`` or ``cpu`` means the CPU here. accelerate must be told, or it does not join CPU processes."""
    import torch

    found = torch.cuda.is_available() or torch.backends.mps.is_available() or torch.xpu.is_available()
    return device == "cpu" or not found
