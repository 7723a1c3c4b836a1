"""Lets the tests of this folder import the modules beside them."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

if sys.platform != "linux":  # cases run in forks, and are watched through /proc
    collect_ignore = ["test_fuzz.py", "test_fuzz_cases.py"]
