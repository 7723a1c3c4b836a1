"""The named cases end as they should: most of them in one clear line, with nothing left behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz_cases import CASES, NamedCase
from fuzz_pool import Server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("cases")
    server = Server(Path(folder), folder / "work", torch=False)
    yield server
    server.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_hostile_file(case: NamedCase, server: Server) -> None:
    result = server.ask_named(case.name)
    assert (result["finds"], result["code"]) == ([], case.code), result["err"]
