"""What many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Same examples every time, so that a run fails for what was changed and not by chance; no deadline on busy machines.
settings.register_profile("same-every-time", deadline=None, derandomize=True)
settings.load_profile("same-every-time")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos and annotations, named by TRASHKIT_REAL_DATA; skips loudly without it."""
    folder = os.environ.get("TRASHKIT_REAL_DATA")
    if not folder:
        pytest.skip("TRASHKIT_REAL_DATA is not set: nothing was tried on real photos")
    path = Path(folder)
    assert path.is_dir(), f"TRASHKIT_REAL_DATA={folder} is not a folder"
    return path
