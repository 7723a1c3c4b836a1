"""Fixtures and options of many tests."""

from __future__ import annotations

import functools
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.testing
from hypothesis import settings

# Same examples every time, so that a run fails for what was changed and not by chance; no deadline on busy machines.
settings.register_profile("same-every-time", deadline=None, derandomize=True)
settings.load_profile("same-every-time")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--fuzz-minutes", type=float, default=0, help="run tests/fuzz for so long, not a number of cases")
    parser.addoption("--fuzz-seed", type=int, default=0, help="other cases of tests/fuzz")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes, and says so among the skipped, unless it is asked for."""
    if config.getoption("--slow") or "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: --slow runs it"))


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Names bytes and long values by their argument: processes that share the tests must agree on every name.

    Compressed bytes may hold the time, and pages of text help nobody who reads a failure.
    """
    long = isinstance(val, (str, int)) and not isinstance(val, bool) and len(repr(val)) > 100
    return argname if long or isinstance(val, bytes) else None


@pytest.fixture(scope="session", autouse=True)
def _commands_built_once() -> Iterator[None]:
    """Let CliRunner build the program's tree of commands once per session.

    It would at every call, which takes longer than most commands do; the declarations never change.
    """
    build = typer.testing._get_command
    built_once = functools.cache(build)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            typer.testing, "_get_command", lambda app: (built_once if app.info.name == "trashkit" else build)(app)
        )
        yield


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos and annotations, named by TRASHKIT_REAL_DATA; skips with a reason without it."""
    folder = os.environ.get("TRASHKIT_REAL_DATA")
    if not folder:
        pytest.skip("TRASHKIT_REAL_DATA is not set: nothing was tried on real photos")
    path = Path(folder)
    assert path.is_dir(), f"TRASHKIT_REAL_DATA={folder} is not a folder"
    return path


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT interrupts this process and those that it starts, even where pytest runs as `... &` of a script.

    A shell without job control starts background jobs with SIGINT ignored, and children inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
