"""Doctor: what it finds, the commands it suggests, and that it neither hangs nor prints secrets."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from trashkit import doctor
from trashkit.cli.app import app


def test_an_installed_package() -> None:
    check = doctor.check_package(Requirement("numpy>=1.0"), "")
    assert (check.status, check.required, check.hint) == ("ok", True, "")


def test_a_package_that_is_too_old_has_a_command_to_upgrade_it() -> None:
    check = doctor.check_package(Requirement("numpy>=999"), "")
    assert check.status == "problem"
    assert check.hint == "pip install 'numpy>=999'"


def test_a_missing_package_of_an_extra_is_optional() -> None:
    check = doctor.check_package(Requirement("no-such-package-anywhere>=1"), "train")
    assert (check.status, check.required, check.hint) == ("missing", False, "pip install 'trashkit[train]'")


def test_package_that_cannot_be_imported_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> Any:
        raise OSError("libGL.so.1: cannot open shared object file\nmore")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    check = doctor.check_package(Requirement("numpy"), "")
    assert check.status == "problem"
    assert check.detail.endswith("cannot be imported: OSError: libGL.so.1: cannot open shared object file")


def test_only_required_packages_make_it_fail() -> None:
    fine = doctor.Check("a", "b", "missing", "", required=False)
    broken = doctor.Check("a", "b", "problem", "", required=True)
    assert doctor.Diagnosis((fine,)).ok
    assert not doctor.Diagnosis((fine, broken)).ok


def test_installed_trashkit_names_its_requirements() -> None:
    found = {(wanted.name, extra) for wanted, extra in doctor.requirements()}
    assert {("numpy", ""), ("torch", "train"), ("fiftyone", "review")} <= found
    assert not [extra for _, extra in found if extra == "all"]


def pretend_fiftyone(monkeypatch: pytest.MonkeyPatch, folder: Path, program: str | None) -> None:
    if program is not None:
        mongod = folder / "db" / "bin" / "mongod"
        mongod.parent.mkdir(parents=True)
        mongod.write_text(f"#!/bin/sh\n{program}\n")
        mongod.chmod(0o755)
    spec = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(doctor, "find_spec", lambda name: spec)


@pytest.mark.parametrize(
    ("program", "status", "detail"),
    [
        ("echo db version v6.0.5", "ok", "6.0.5"),
        ("echo db version v4.4.1", "problem", "4.4.1, but FiftyOne needs 6.0 or newer"),
        ("exit 127", "problem", "does not run"),
        ("echo hello", "problem", "unknown"),
        (None, "missing", "mongod is not at"),
    ],
)
def test_mongod(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str | None, status: str, detail: str) -> None:
    pretend_fiftyone(monkeypatch, tmp_path, program)
    (check,) = doctor._mongod("")
    assert check.status == status
    assert detail in check.detail
    assert bool(check.hint) == (status != "ok")


def test_an_external_database_is_tried_and_its_password_hidden() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (check,) = doctor._mongod(f"mongodb://me:secret@127.0.0.1:{port}/db")
    assert check.status == "ok"
    (gone,) = doctor._mongod(f"mongodb://me:secret@127.0.0.1:{port}/db")
    assert gone.status == "problem"
    assert "secret" not in str((check, gone))


@pytest.mark.parametrize("uri", ["http://x", "mongodb://", "mongodb://h:port", "mongodb://[", "x"])
def test_an_invalid_database_address(uri: str) -> None:
    (check,) = doctor._mongod(uri)
    assert check.status == "problem"
    assert "FIFTYONE_DATABASE_URI" in check.hint


def test_a_network_without_answers_does_not_hang(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(*_: object, **__: object) -> None:
        time.sleep(30)
        raise OSError("nobody answered")

    monkeypatch.setattr(urllib.request, "urlopen", hang)
    start = time.monotonic()
    assert not doctor.reachable("example.org", seconds=0.2)
    assert time.monotonic() - start < 10


def test_a_refused_connection_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise urllib.error.HTTPError("https://x", 403, "Forbidden", {}, None)  # type: ignore[arg-type]

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    assert doctor.reachable("example.org")


def test_only_json_is_on_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["doctor", "--offline", "--json"])
    answer = json.loads(done.stdout)
    assert done.exit_code == (0 if answer["ok"] else 1)
    assert {"group", "name", "status", "detail", "hint", "required"} == set(answer["checks"][0])
    assert {check["status"] for check in answer["checks"] if check["group"] == "network"} == {"skipped"}
