"""The README's table: what is timed against the peers' ways, all in one run, one line a work.

    python tests/benchmarks/speed.py

Runs bench_masks, bench_loader, bench_scores and bench_submission, each in a process of its own, and prints what they
print. Run it on an idle machine: ratios bear some company, times do not.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPTS = ("bench_masks.py", "bench_loader.py", "bench_scores.py", "bench_submission.py")


def main() -> None:
    """Run every script; the first that fails ends it."""
    for script in SCRIPTS:
        print(f"\n## {script}\n", flush=True)
        subprocess.run([sys.executable, str(Path(__file__).with_name(script))], check=True)


if __name__ == "__main__":
    main()
