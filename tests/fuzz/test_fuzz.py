"""Damaged and hostile files end in a result or in one clear line, for every command that reads files.

``--fuzz-minutes N`` runs for that long instead of a fixed number of cases, ``--fuzz-seed N`` runs other cases.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from fuzz_place import build
from fuzz_pool import Pool, Tally, by_count, endless, finds_table, table
from fuzz_targets import TARGETS

from trashkit.cli.app import app

CASES = 12
"""Of each target of share 1: all together take about five minutes on two cores."""
MOST_SECONDS = 900

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good files; read-only."""
    folder = tmp_path_factory.mktemp("place")
    build(folder)
    return folder


@pytest.fixture(scope="session")
def tallies(place: Path, request: pytest.FixtureRequest) -> dict[str, Tally]:
    """What became of the cases of the targets whose tests were selected."""
    wanted = {one.callspec.params.get("name") for one in request.session.items if hasattr(one, "callspec")}
    targets = [target for target in TARGETS if target.name in wanted]
    seed, minutes = request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-minutes")
    cases = endless(targets) if minutes else by_count(targets, CASES)
    found = Pool(place).run(targets, cases, seed, seconds=60 * minutes or MOST_SECONDS)
    print("\n" + table(found, seed))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", [target.name for target in TARGETS])
def test_damaged_files_are_refused_in_one_line(
    name: str, tallies: dict[str, Tally], request: pytest.FixtureRequest
) -> None:
    found = {name: tallies[name]}
    if not tallies[name].cases:
        pytest.skip(f"{MOST_SECONDS} seconds were over before its first case")
    assert not tallies[name].finds, "\n".join(finds_table(found, request.config.getoption("--fuzz-seed")))


@pytest.mark.slow
@pytest.mark.parametrize("name", [""])  # after those with names, whose cases it counts
def test_number_of_cases(name: str, tallies: dict[str, Tally], request: pytest.FixtureRequest) -> None:
    wanted = len(list(by_count([target for target in TARGETS if target.name in tallies], CASES)))
    done = sum(tally.cases for tally in tallies.values())
    if done < wanted and not request.config.getoption("--fuzz-minutes"):
        pytest.skip(f"{done} of {wanted} cases were run in {MOST_SECONDS} seconds")


@pytest.mark.slow
def test_undamaged_files_are_read(place: Path) -> None:
    """Else nothing would be tested but the first check."""
    results: list[dict[str, Any]] = []
    found = Pool(place).run(TARGETS, ((target.name, -1) for target in TARGETS), 0, told=results.append)
    assert [(one["target"], one["err"]) for one in results if one["code"] == 2] == []
    assert sum(tally.cases for tally in found.values()) == len(TARGETS)


NOT_FUZZED = {
    "auto": "reads with other commands, which are fuzzed",
    "data synth": "reads nothing",
    "demo": "reads nothing",
    "doctor": "reads nothing",
    "export": "reads a run, as predict does",
    "presence": "reads annotations, photos and splits, as train does",
    "recipes list": "reads nothing",
}


def _commands(group: typer.Typer, before: str = "") -> Iterator[tuple[str, Any]]:
    for info in group.registered_commands:
        assert info.callback is not None
        yield f"{before}{info.name or info.callback.__name__}", info.callback
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _commands(inner.typer_instance, f"{before}{inner.name} ")


def test_every_command_that_reads_files_is_fuzzed() -> None:
    commands = dict(_commands(app))
    defaults = {"split": "search", "submit": "make", "edits": "show", "leaderboard": "list", "recipes": "list"}
    fuzzed = set()
    for target in TARGETS:
        first, second = [*target.words, ""][:2]
        fuzzed.add(
            first
            if first in commands
            else f"{first} {second}"
            if f"{first} {second}" in commands
            else f"{first} {defaults[first]}"
        )
    reads = {
        name for name, command in commands.items() if re.search(r"\bPath\b|\bstr\b", str(inspect.signature(command)))
    }
    assert sorted(reads - fuzzed - set(NOT_FUZZED)) == []
