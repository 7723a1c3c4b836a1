"""The results of a story of commands are those that were recorded: keys, types, numbers, names, exit codes and files.

Renew the records after a change that is meant to be seen, and read the difference before you commit it:

    python tests/golden/update_golden.py

Prose is not recorded (see `golden_record.is_prose`): a reworded message fails nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from golden_record import differences, record_all, record_core

HERE = Path(__file__).parent
"""With core.json and training.json, the committed records."""


def compare(recorded: Path, found: dict[str, Any], names: Sequence[str] | None = None) -> None:
    """Fail with every difference, each under the name of its step."""
    expected = json.loads(recorded.read_text(encoding="utf-8"))
    if names is not None:
        expected = {name: step for name, step in expected.items() if name in names}
    lines = list(differences(expected, json.loads(json.dumps(found))))
    more = [f"... and {len(lines) - 60} more"] if len(lines) > 60 else []
    text = "\n  ".join([*lines[:60], *more])
    assert not lines, f"not as recorded in {recorded.name} (renew it with update_golden.py if this is meant):\n  {text}"


@pytest.mark.slow
def test_commands_without_training(tmp_path: Path) -> None:
    found = record_core(tmp_path, slow=False)
    compare(HERE / "core.json", found, list(found))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_commands(tmp_path: Path) -> None:
    core, training = record_all(tmp_path)
    compare(HERE / "core.json", core)
    compare(HERE / "training.json", training)
