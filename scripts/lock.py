"""Pin the exact version of every dependency in constraints.txt, or check what is installed against it.

./run lock               pins what pyproject.toml needs; existing pins stay where they still fit
./run lock --upgrade     pins the newest versions instead
./run lock --check       exits 1 if an installed package has another version than its pin

Versions are resolved with pip, without installing anything, for every Python named in the classifiers of
pyproject.toml and found on PATH as python3.11, python3.12 and so on. Paths of more interpreters can be given as
arguments: ./run lock --upgrade ~/.pyenv/versions/*/bin/python
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "constraints.txt"
HEAD = """\
# Exact versions of everything that ./run and CI install: pip install --constraint constraints.txt ...
# Generated from pyproject.toml, do not edit. After a change of dependencies: ./run lock
# To move to the newest versions: ./run lock --upgrade
"""


def declared() -> list[Requirement]:
    """Every requirement in pyproject.toml: dependencies, extras and dependency groups."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    project = settings["project"]
    lists = [
        project["dependencies"],
        *project["optional-dependencies"].values(),
        *settings["dependency-groups"].values(),
    ]
    found = [Requirement(line) for lines in lists for line in lines]
    return [one for one in found if canonicalize_name(one.name) != canonicalize_name(project["name"])]


def supported_pythons() -> list[str]:
    """Minor versions named in the classifiers, oldest first: ``["3.11", "3.12", "3.13"]``."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found = re.findall(r"Python :: (3\.\d+)", "\n".join(settings["project"]["classifiers"]))
    return sorted(found, key=Version)


def read_pins(text: str) -> list[Requirement]:
    """The pins of a constraints file, in order; comments and empty lines are skipped."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [Requirement(line) for line in lines if line]


def pinned_version(pin: Requirement) -> str:
    (only,) = pin.specifier
    return only.version


def pins_for(pins: Iterable[Requirement], python: str) -> dict[str, str]:
    """Version by canonical name of the pins that apply to a Python minor version on Linux."""
    environment = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return {
        canonicalize_name(pin.name): pinned_version(pin)
        for pin in pins
        if pin.marker is None or pin.marker.evaluate(environment)
    }


def lock_lines(resolved: Mapping[str, Mapping[str, str]]) -> list[str]:
    """One ``name==version`` line per package; several with markers where Pythons need different versions.

    ``resolved`` maps Python minor versions to their pins. The version for the newest Python also applies to later ones.
    """
    pythons = sorted(resolved, key=Version)
    lines = []
    for name in sorted({name for pins in resolved.values() for name in pins}):
        users: dict[str, list[str]] = {}
        for python in pythons:
            if name in resolved[python]:
                users.setdefault(resolved[python][name], []).append(python)
        for version, wanted_by in users.items():
            terms = [f'python_version {">=" if one == pythons[-1] else "=="} "{one}"' for one in wanted_by]
            lines.append(f"{name}=={version}" + (f" ; {' or '.join(terms)}" if len(users) > 1 else ""))
    return lines


def interpreters(more: Iterable[str]) -> dict[str, str]:
    """Working interpreters by minor version, from PATH and from the paths given."""
    found: dict[str, str] = {}
    for name in [*(f"python{version}" for version in supported_pythons()), *more, sys.executable]:
        command = [name, "-c", "import sys; print('%d.%d' % sys.version_info[:2], sys.executable)"]
        try:
            answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError):  # absent, or a pyenv shim without that version
            continue
        version, _, path = answer.partition(" ")
        if version in supported_pythons():
            found.setdefault(version, path)
    return found


def resolve(python: str, keep: Mapping[str, str]) -> dict[str, str] | None:
    """What pip would install into an empty environment of an interpreter; None if it finds no solution."""
    with tempfile.TemporaryDirectory() as folder:
        report, constraints = Path(folder, "report.json"), Path(folder, "keep.txt")
        constraints.write_text("".join(f"{name}=={version}\n" for name, version in keep.items()), encoding="utf-8")
        command = [
            *(sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check", "--no-input", "install"),
            *("--quiet", "--dry-run", "--ignore-installed", "--report", str(report)),
            *("--constraint", str(constraints), ".[all]", "--group", "dev"),
        ]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        if done.returncode:
            print("\n".join(line for line in done.stderr.splitlines() if line.startswith("ERROR")), file=sys.stderr)
            return None
        items = json.loads(report.read_text(encoding="utf-8"))["install"]
    source = [item["metadata"]["name"] for item in items if item["download_info"]["url"].endswith((".tar.gz", ".zip"))]
    if source:  # expected of a few packages; for one with compiled code it means a compiler on every machine
        print(f"  without a wheel for this Python: {', '.join(source)}", file=sys.stderr)
    # "+cpu" and the like name one build of a version: the index in use decides which build is installed.
    found = [item["metadata"] for item in items]
    pins: dict[str, str] = {canonicalize_name(one["name"]): Version(one["version"]).public for one in found}
    del pins["trashkit"]
    return pins


def kept_pins() -> list[Requirement]:
    """Today's pins, without those that pyproject.toml no longer allows."""
    if not LOCK.exists():
        return []
    bounds: dict[str, list[Requirement]] = {}
    for one in declared():
        bounds.setdefault(canonicalize_name(one.name), []).append(one)
    return [
        pin
        for pin in read_pins(LOCK.read_text(encoding="utf-8"))
        if all(one.specifier.contains(pinned_version(pin)) for one in bounds.get(canonicalize_name(pin.name), ()))
    ]


def update(upgrade: bool, more: Iterable[str]) -> int:
    found = interpreters(more)
    missing = [version for version in supported_pythons() if version not in found]
    if missing:
        print(f"no interpreter for Python {', '.join(missing)}: pins are not checked there", file=sys.stderr)
    kept = [] if upgrade else kept_pins()
    resolved: dict[str, dict[str, str]] = {}
    for version in sorted(found, key=Version):
        print(f"Python {version} ({found[version]})", file=sys.stderr)
        # One version for all Pythons where possible: each starts from the pins of the older ones.
        earlier = {name: pin for pins in resolved.values() for name, pin in pins.items()}
        pins = resolve(found[version], {**earlier, **pins_for(kept, version)})
        if pins is None and (earlier or kept):
            print("  the pins so far do not work for this Python: resolving it separately", file=sys.stderr)
            pins = resolve(found[version], {})
        if pins is None:
            print(f"pip finds no set of versions for Python {version}", file=sys.stderr)
            return 1
        resolved[version] = pins
    before = LOCK.read_text(encoding="utf-8").splitlines() if LOCK.exists() else []
    lines = lock_lines(resolved)
    LOCK.write_text(HEAD + "\n".join(lines) + "\n", encoding="utf-8")
    changed = sorted(set(lines) - set(before))
    print("\n".join(changed) or "nothing changed")
    print(f"wrote {LOCK.name}: {len(lines)} pins, {len(changed)} of them new", file=sys.stderr)
    return 0


def check() -> int:
    python = "{}.{}".format(*sys.version_info)
    wrong = []
    for name, version in pins_for(read_pins(LOCK.read_text(encoding="utf-8")), python).items():
        try:
            installed = Version(metadata.version(name)).public
        except metadata.PackageNotFoundError:
            continue
        if installed != Version(version).public:
            wrong.append(f"{name} {installed} is installed, constraints.txt pins {version}")
    print("\n".join(wrong) or "installed versions are the pinned ones")
    return 1 if wrong else 0


def main() -> int:
    summary, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        "./run lock", description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("python", nargs="*", help="more interpreters to resolve for")
    parser.add_argument("--upgrade", action="store_true", help="take the newest versions")
    parser.add_argument("--check", action="store_true", help="compare installed versions with the pins")
    options = parser.parse_args()
    return check() if options.check else update(options.upgrade, options.python)


if __name__ == "__main__":
    sys.exit(main())
