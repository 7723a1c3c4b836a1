"""What may be in the place of ``.venv`` and of the log: the `run` script repairs it, or says what to type."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Machine


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def folder(*inside: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        for name in inside:
            (path / name).parent.mkdir(exist_ok=True)
            (path / name).touch()

    return make


IN_THE_WAY: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "link to nothing": (".venv", link("/no/such/folder"), "is a link to a folder that does not exist"),
    "link to itself": (".venv", link(".venv"), "is a link to a folder that does not exist"),
    "link to a file": (".venv", link("pyproject.toml"), "is not a folder"),
    "file": (".venv", Path.touch, "is not a folder"),
    "pipe": (".venv", os.mkfifo, "is not a folder"),
    "other folder": (".venv", folder("bin/precious"), "exists but is not a virtual environment"),
    "log is a folder": (".venv-setup.log", Path.mkdir, "cannot be written"),
    "log is a pipe": (".venv-setup.log", os.mkfifo, "cannot be written"),
    "log is a link": (".venv-setup.log", link("pyproject.toml"), "cannot be written"),
    "log links to nothing": (".venv-setup.log", link("/no/such/file"), "cannot be written"),
}


@pytest.mark.parametrize("case", IN_THE_WAY)
def test_what_is_in_the_way_is_named_and_kept(machine: Machine, case: str) -> None:
    name, make, words = IN_THE_WAY[case]
    machine.python()
    path = machine.project / name
    make(path)
    before = (machine.project / "pyproject.toml").read_bytes()
    done = machine.run("demo")
    assert done.returncode == 2
    said = [line for line in done.stderr.splitlines() if not line.startswith(("Setting up", "["))]
    assert len(said) == 2, done.stderr
    assert said[0].startswith("run: ") and str(path) in said[0] and words in said[0]
    assert os.path.lexists(path)
    assert (machine.project / "pyproject.toml").read_bytes() == before
    # What it says works. `mv` renames a link itself.
    advice = said[1].partition(": ")[2].partition("   then")[0]
    subprocess.run(["sh", "-c", advice], check=True)
    assert machine.run("demo").returncode == 0


@pytest.mark.parametrize(
    "make",
    [folder(), folder("pyvenv.cfg"), folder("pyvenv.cfg", "bin/python"), folder("pyvenv.cfg", "bin/python/x")],
    ids=["empty", "without python", "python that does not run", "python that is a folder"],
)
def test_a_broken_environment_is_made_again(machine: Machine, make: Callable[[Path], object]) -> None:
    machine.python()
    if make.__closure__ and "bin/python/x" in str(make.__closure__[0].cell_contents):
        (machine.project / ".venv/bin/python").mkdir(parents=True)
        (machine.project / ".venv/pyvenv.cfg").touch()
    else:
        make(machine.project / ".venv")
    done = machine.run("demo")
    assert done.returncode == 0, done.stderr
    assert machine.called()[-1] == "-m trashkit demo"


def test_an_environment_whose_python_was_removed_is_made_again(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    machine.called()
    python = machine.project / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/no/such/python3.9")
    done = machine.run("demo")
    assert done.returncode == 0, done.stderr
    assert machine.called()[-1] == "-m trashkit demo"


def test_a_stamp_that_is_a_folder_is_named(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    stamp = machine.project / ".venv/.trashkit-stamp"
    stamp.unlink()
    stamp.mkdir()
    done = machine.run("demo")
    assert done.returncode == 2
    assert ".venv cannot be written" in done.stderr and "rm -rf" in done.stderr
    shutil.rmtree(machine.project / ".venv")
    assert machine.run("demo").returncode == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_checkout_that_cannot_be_written_is_named(machine: Machine) -> None:
    machine.python()
    machine.project.chmod(0o555)
    done = machine.run("demo")
    machine.project.chmod(0o755)
    assert done.returncode == 2
    assert "is not writable" in done.stderr and len(done.stderr.splitlines()) == 2
