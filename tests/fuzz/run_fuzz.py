"""Fuzz commands by hand: ``python tests/fuzz/run_fuzz.py --minutes 60``.

Prints a table of targets, then the finds with the command that repeats each. Exit code 1 where there are finds.
"""

from __future__ import annotations

import argparse
import fnmatch
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent.parent)]

from fuzz_place import build  # noqa: E402
from fuzz_pool import Pool, again, by_count, endless, table  # noqa: E402
from fuzz_targets import TARGETS  # noqa: E402


def main() -> int:
    """Parse the options, run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5, help="how long")
    parser.add_argument("--count", type=int, default=0, help="cases of each target instead of --minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="*", help="targets, as a pattern; several with commas")
    parser.add_argument("--case", type=int, help="only this case, with everything that it printed")
    parser.add_argument("--keep", type=Path, help="with --case: keep its folder here")
    parser.add_argument("--place", type=Path, help="a folder with the good files, made if it is not there")
    options = parser.parse_args()
    targets = [one for one in TARGETS if any(fnmatch.fnmatch(one.name, pattern) for pattern in options.only.split(","))]
    if not targets:
        parser.error(f"no target is named {options.only}: {', '.join(one.name for one in TARGETS)}")
    with tempfile.TemporaryDirectory(prefix="fuzz-place-") as folder:
        place = options.place or Path(folder)
        if not place.is_dir() or not any(place.iterdir()):
            place.mkdir(parents=True, exist_ok=True)
            build(place)
        if options.case is not None:
            return show_case(targets[0].name, options, place)
        cases = by_count(targets, options.count) if options.count else endless(targets)
        seconds = float("inf") if options.count else 60 * options.minutes
        seen: set[Any] = set()

        def tell(result: dict[str, Any]) -> None:
            for find in map(tuple, result["finds"]):
                if (find, result["target"]) not in seen:
                    seen.add((find, result["target"]))
                    said = " | ".join(result["err"].strip().splitlines()[-3:])[-400:]
                    print(f"{find[0]}: {find[1]}: {again(result, options.seed)}", flush=True)
                    print(f"    {'; '.join(result['changes'])}: {said}", flush=True)

        tallies = Pool(place, processes=options.processes).run(targets, cases, options.seed, seconds=seconds, told=tell)
    print(table(tallies, options.seed))
    return int(any(tally.finds for tally in tallies.values()))


def show_case(name: str, options: argparse.Namespace, place: Path) -> int:
    """Run one case in this process's fork, and print all about it."""
    from fuzz_server import load_packages, run_case
    from fuzz_targets import BY_NAME

    load_packages(torch=BY_NAME[name].torch)
    work = options.keep or Path(tempfile.mkdtemp(prefix="fuzz-case-"))  # a fork's exit removes a TemporaryDirectory
    work.mkdir(parents=True, exist_ok=True)
    result = run_case(name, options.seed, options.case, place.resolve(), work.resolve())
    if not options.keep:
        shutil.rmtree(work, ignore_errors=True)
    out, err = result.pop("out"), result.pop("err")
    for key, value in result.items():
        print(f"{key}: {value}")
    print(f"--- stdout\n{out}\n--- stderr\n{err}")
    return int(bool(result["finds"]))


if __name__ == "__main__":
    sys.exit(main())
