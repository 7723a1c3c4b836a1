"""Which build of torch the `run` script installs."""

from __future__ import annotations

import pytest

from .conftest import PINNED, Machine


def test_cpu_torch_comes_from_its_own_index(machine: Machine) -> None:
    machine.python(unreachable=0)
    assert machine.run("setup", TORCH="cpu").returncode == 0
    index = "--index-url https://download.pytorch.org/whl/cpu --no-deps"
    assert machine.installs()[0] == f"{PINNED} {index} torch torchvision"


def test_cpu_torch_falls_back_to_the_default_index(machine: Machine) -> None:
    machine.python(unreachable=1)
    done = machine.run("setup", TORCH="cpu")
    assert "cannot be reached" in done.stderr
    assert machine.installs()[0] == f"{PINNED} torch torchvision"


def test_cuda_torch_comes_from_the_default_index(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cuda")
    calls = machine.called()
    assert not [line for line in calls if line.startswith("probe")]
    assert any(line.endswith(f"install {PINNED} torch torchvision") for line in calls)


@pytest.mark.parametrize(("exit_code", "from_cpu_index"), [(0, False), (9, True)])
def test_auto_takes_cuda_only_where_nvidia_smi_finds_a_gpu(
    machine: Machine, exit_code: int, from_cpu_index: bool
) -> None:
    machine.python(unreachable=0)
    machine.program("nvidia-smi", f"#!/bin/sh\nexit {exit_code}\n")
    machine.run("setup", TORCH="auto")
    assert ("--index-url" in machine.installs()[0]) == from_cpu_index


def test_unknown_torch_setting_is_rejected_first(machine: Machine) -> None:
    machine.python()
    done = machine.run("demo", TORCH="gpu")
    assert done.returncode == 2
    assert "TORCH=cpu, TORCH=cuda or TORCH=auto" in done.stderr
    assert machine.called() == []


def test_another_torch_replaces_both_packages(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    assert machine.run("demo", TORCH="cuda").returncode == 0
    calls = [line.partition("--no-input ")[2] for line in machine.called() if "--no-input" in line]
    assert calls[:2] == ["uninstall --yes torch torchvision", f"install {PINNED} torch torchvision"]


def test_unset_torch_keeps_the_installed_build(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]
