"""Benchmarks for the README's table: trashkit and the usual alternatives timed in one run, one line per task.

    python tests/benchmarks/speed.py

Runs bench_masks, bench_loader, bench_scores and bench_submission, each in its own process, and prints what they
print. Run it on an idle machine: ratios tolerate some load, times do not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("bench_masks.py", "bench_loader.py", "bench_scores.py", "bench_submission.py")


def main() -> None:
    """Run every script; stop at the first failure."""
    for script in SCRIPTS:
        print(f"\n## {script}\n", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)


if __name__ == "__main__":
    main()
