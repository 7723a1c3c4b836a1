"""constraints.txt pins one version of everything that pyproject.toml asks for, on every supported Python."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


def load_lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", ROOT / "scripts" / "lock.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lock = load_lock()
TEXT = lock.LOCK.read_text(encoding="utf-8")
PINS: list[Requirement] = lock.read_pins(TEXT)


@pytest.mark.parametrize("python", lock.supported_pythons())
def test_every_dependency_is_pinned_within_its_bounds(python: str) -> None:
    pins = lock.pins_for(PINS, python)
    wrong = []
    for wanted in lock.declared():
        pin = pins.get(canonicalize_name(wanted.name))
        if pin is None:
            wrong.append(f"{wanted} has no pin")
        elif not wanted.specifier.contains(pin):
            wrong.append(f"{wanted} is pinned to {pin}")
    assert not wrong, "constraints.txt is out of date, call ./run lock:\n" + "\n".join(wrong)


@pytest.mark.parametrize("python", lock.supported_pythons())
def test_no_package_has_two_pins(python: str) -> None:
    names = [
        canonicalize_name(pin.name) for pin in PINS if not pin.marker or pin.marker.evaluate({"python_version": python})
    ]
    assert len(names) == len(set(names))


def test_pins_are_names_and_public_versions_only() -> None:
    """No addresses, hashes, local paths or local versions such as +cpu: the index decides which build is installed."""
    lines = [line for line in TEXT.splitlines() if line and not line.startswith("#")]
    shape = re.compile(
        r'[a-z0-9-]+==[0-9][a-z0-9.]*( ; python_version [<>=]+ "3\.\d+"( or python_version [<>=]+ "3\.\d+")*)?'
    )
    assert not [line for line in lines if not shape.fullmatch(line)]
    assert [line.partition("==")[0] for line in lines] == sorted(line.partition("==")[0] for line in lines)


def test_lines_share_a_pin_where_pythons_agree() -> None:
    resolved = {
        "3.11": {"numpy": "2.3", "rich": "15.0", "exceptiongroup": "1.3"},
        "3.12": {"numpy": "2.4", "rich": "15.0"},
        "3.13": {"numpy": "2.4", "rich": "15.0"},
    }
    assert lock.lock_lines(resolved) == [
        "exceptiongroup==1.3",
        'numpy==2.3 ; python_version == "3.11"',
        'numpy==2.4 ; python_version == "3.12" or python_version >= "3.13"',
        "rich==15.0",
    ]
    pins = lock.read_pins("# comment\n" + "\n".join(lock.lock_lines(resolved)))
    assert lock.pins_for(pins, "3.11") == resolved["3.11"]
    assert lock.pins_for(pins, "3.14")["numpy"] == "2.4"


def test_pins_outside_new_bounds_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "constraints.txt"
    path.write_text("zarr==3.0.1\nrich==14.0.0\ndonfig==0.8.1.post1\n", encoding="utf-8")
    monkeypatch.setattr(lock, "LOCK", path)
    assert [str(pin) for pin in lock.kept_pins()] == ["rich==14.0.0", "donfig==0.8.1.post1"]


def test_packages_used_through_private_apis_have_upper_bounds() -> None:
    """Their private parts may change in any release, so a newer series is tried before it is allowed."""
    private = {"fiftyone", "timm", "zarr", "accelerate", "optuna"}
    unbounded = {
        one.name
        for one in lock.declared()
        if one.name in private and not any(part.operator in ("<", "==", "~=") for part in one.specifier)
    }
    assert not unbounded
