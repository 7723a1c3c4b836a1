"""What many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Same examples every time, so that a run fails for what was changed and not by chance; no deadline on busy machines.
settings.register_profile("same-every-time", deadline=None, derandomize=True)
settings.load_profile("same-every-time")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="also run the tests that take minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what takes minutes, and says so among the skipped, unless it is asked for."""
    if config.getoption("--slow") or "slow" in config.getoption("-m"):
        return
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: --slow runs it"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos and annotations, named by TRASHKIT_REAL_DATA; skips loudly without it."""
    folder = os.environ.get("TRASHKIT_REAL_DATA")
    if not folder:
        pytest.skip("TRASHKIT_REAL_DATA is not set: nothing was tried on real photos")
    path = Path(folder)
    assert path.is_dir(), f"TRASHKIT_REAL_DATA={folder} is not a folder"
    return path
