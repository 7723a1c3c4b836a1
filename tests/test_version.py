"""The version is written once, in trashkit/__init__.py; everything else agrees with it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import yaml

from trashkit import __version__

ROOT = Path(__file__).resolve().parent.parent


def test_pyproject_reads_the_version_from_the_package() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in settings["project"]
    assert settings["project"]["dynamic"] == ["version"]
    source = (ROOT / settings["tool"]["hatch"]["version"]["path"]).read_text(encoding="utf-8")
    assert f'__version__ = "{__version__}"' in source


def test_the_installed_package_has_that_version() -> None:
    assert metadata.version("trashkit") == __version__, "call ./run setup to update the installed metadata"


def test_the_command_prints_it() -> None:
    command = [sys.executable, "-m", "trashkit", "--version"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[-1] == __version__


def test_the_newest_release_in_the_changelog_is_that_version() -> None:
    """A heading "Unreleased" may precede it."""
    headings = re.findall(r"^## (.*)$", (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8"), re.MULTILINE)
    releases = [match[0] for heading in headings if (match := re.search(r"\d+\.\d+\.\d+\w*", heading))]
    assert releases[:1] == [__version__]
    assert headings.index(next(heading for heading in headings if __version__ in heading)) <= 1


def test_the_citation_file_names_that_version() -> None:
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == __version__
