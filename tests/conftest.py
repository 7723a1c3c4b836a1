"""What many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with real photos and annotations, named by TRASHKIT_REAL_DATA; skips loudly without it."""
    folder = os.environ.get("TRASHKIT_REAL_DATA")
    if not folder:
        pytest.skip("TRASHKIT_REAL_DATA is not set: nothing was tried on real photos")
    path = Path(folder)
    assert path.is_dir(), f"TRASHKIT_REAL_DATA={folder} is not a folder"
    return path
