"""Write core.json and training.json anew from what the commands do now; takes some minutes.

    python tests/golden/update_golden.py [--core]

--core: only the commands that need no training. Read the difference (``git diff``) before you commit it: each changed
line is a key, a number, a name or an exit code that users see change.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

from golden_record import record_all, record_core  # noqa: E402


def write(name: str, record: dict[str, Any]) -> None:
    """One step a line: short, and a difference shows which step it is."""
    lines = [
        f"{json.dumps(step)}: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}"
        for step, value in record.items()
    ]
    (HERE / name).write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core", action="store_true", help="only the commands that need no training")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        if options.core:
            write("core.json", record_core(Path(temporary), slow=True))
        else:
            core, training = record_all(Path(temporary))
            write("core.json", core)
            write("training.json", training)


if __name__ == "__main__":
    main()
