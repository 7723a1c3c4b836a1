"""Which Python the `run` script makes the environment with."""

from __future__ import annotations

import pytest

from .conftest import PINNED, Machine


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"python3": "3.9", "python3.12": "3.12"}, "3.12"),
        ({"python3": "3.13"}, "3.13"),
        ({"python3.11": "3.11", "python3.14": "3.14"}, "3.11"),
    ],
)
def test_the_first_python_that_is_new_enough_is_taken(machine: Machine, versions: dict[str, str], chosen: str) -> None:
    for name, version in versions.items():
        machine.python(name, version)
    done = machine.run("setup")
    assert done.returncode == 0, done.stderr
    assert f"with Python {chosen} " in done.stderr


def test_shims_without_a_python_are_skipped(machine: Machine) -> None:
    """pyenv puts shims on PATH that only print which versions provide a command."""
    machine.program("python3", "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
    machine.python("python3.12", "3.12")
    assert machine.run("setup").returncode == 0


def test_an_old_python_is_reported_with_the_names_tried(machine: Machine) -> None:
    machine.python("python3", "3.9")
    done = machine.run("demo")
    assert done.returncode == 2
    assert "Python 3.11 or newer is required" in done.stderr
    assert "python3.13 python3.12 python3.11 python3.14" in done.stderr
    assert "python3:3.9" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_no_python_at_all(machine: Machine) -> None:
    done = machine.run("demo")
    assert done.returncode == 2
    assert "none of them" in done.stderr


def test_missing_venv_module_names_the_package(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    done = machine.run("demo")
    assert done.returncode == 2
    assert "apt install python3.11-venv" in done.stderr


def test_missing_venv_module_passes_to_another_python(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    machine.python("python3.13", "3.13")
    assert "with Python 3.13 " in machine.run("setup").stderr


UV = """#!/bin/sh
echo "uv $*" >>"$CALLS"
for last; do :; done
mkdir -p "$last/bin"; : >"$last/pyvenv.cfg"; cp "{python}" "$last/bin/python"
"""


def test_uv_makes_the_environment_where_venv_is_missing_and_pip_fills_it(machine: Machine) -> None:
    machine.python("python3", "3.11", venv=False)
    machine.program("uv", UV.replace("{python}", str(machine.bin / "python3")))
    done = machine.run("setup")
    assert done.returncode == 0, done.stderr
    calls = machine.called()
    assert [line for line in calls if line.startswith("uv ")] == [
        f"uv venv --allow-existing --seed --python {machine.bin / 'python3'} {machine.project / '.venv'}"
    ]
    assert any(line.endswith(f"install {PINNED} torch torchvision") for line in calls)


def test_uv_is_not_used_where_python_can_do_it(machine: Machine) -> None:
    machine.python()
    machine.program("uv", UV)
    machine.run("setup")
    assert not [line for line in machine.called() if line.startswith("uv ")]


def test_another_python_makes_another_environment(machine: Machine) -> None:
    machine.python("python3", "3.11")
    machine.python("a python", "3.13")
    machine.run("setup")
    machine.called()
    done = machine.run("demo", PYTHON=str(machine.bin / "a python"))
    assert "does not run with Python 3.13" in done.stderr
    assert machine.called()[0].startswith("-m venv")
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_an_upgraded_system_python_is_noticed(machine: Machine) -> None:
    """After a system upgrade from 3.11 to 3.13, packages are where the new Python does not look."""
    machine.python("python3", "3.11")
    machine.run("setup")
    machine.called()
    machine.python("python3", "3.13")
    (machine.project / ".venv" / "bin" / "python").write_text((machine.bin / "python3").read_text())
    assert machine.run("demo").returncode == 0
    assert any("--editable" in line for line in machine.called())
