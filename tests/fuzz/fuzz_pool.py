"""Deals cases to servers, counts results, and says how to repeat a case."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fuzz_targets import Target

HERE = Path(__file__).parent
Case = tuple[str, int]
Result = dict[str, Any]


@dataclass
class Tally:
    """What became of the cases of one target. finds: by kind and detail, the first result of each and their number."""

    cases: int = 0
    seconds: float = 0.0
    results: int = 0
    gates: int = 0
    refusals: int = 0
    finds: dict[tuple[str, str], tuple[Result, int]] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        """Count a result."""
        self.cases += 1
        self.seconds += result["seconds"]
        self.results += result["code"] == 0
        self.gates += result["code"] == 1
        self.refusals += result["code"] == 2
        for kind, detail in result["finds"]:
            first, count = self.finds.get((kind, detail), (result, 0))
            self.finds[kind, detail] = (first, count + 1)


class Server:
    """A process that answers cases."""

    def __init__(self, place: Path, work: Path, *, torch: bool) -> None:
        work.mkdir(parents=True)
        environment = {
            **os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "",
            "PYTHONPATH": os.pathsep.join([str(HERE.parent.parent), str(HERE)]), "HF_HUB_OFFLINE": "1",
            "NO_ALBUMENTATIONS_UPDATE": "1", "NO_COLOR": "1", "TERM": "dumb",
        }  # fmt: skip
        environment.pop("TRASHKIT_DEBUG", None)
        words = [sys.executable, str(HERE / "fuzz_server.py"), str(place), str(work), *(["torch"] if torch else [])]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=work
        )

    def ask(self, case: Case, seed: int) -> Result:
        """The result of a case of a target."""
        return self._answer({"target": case[0], "case": case[1], "seed": seed})

    def ask_named(self, name: str) -> Result:
        """The result of a case of `fuzz_cases.CASES`."""
        return self._answer({"named": name})

    def _answer(self, case: dict[str, Any]) -> Result:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(case) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the server of cases ended with {self.process.wait()} at {case}")
        return dict(json.loads(line))

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


def by_count(targets: Sequence[Target], count: int) -> Iterator[Case]:
    """`count` cases of each target of share 1, in turn over the targets."""
    most = {target.name: max(1, round(count * target.share)) for target in targets}
    for number in range(max(most.values())):
        yield from ((target.name, number) for target in targets if number < most[target.name])


def endless(targets: Sequence[Target]) -> Iterator[Case]:
    """Cases without end, in turn over the targets, by share."""
    done: Counter[str] = Counter()
    turn = 0
    while True:
        turn += 1
        for target in targets:
            while done[target.name] < turn * target.share:
                yield target.name, done[target.name]
                done[target.name] += 1


class Pool:
    """Runs cases in up to two servers: one of them has torch, and takes the cases that need it."""

    def __init__(self, place: Path, *, processes: int = 2) -> None:
        self.place, self.processes = place, processes

    def run(
        self, targets: Sequence[Target], cases: Iterator[Case], seed: int, *, seconds: float = float("inf"),
        told: Callable[[Result], None] = lambda _: None,
    ) -> dict[str, Tally]:  # fmt: skip
        """Run cases until they or the time are over; the tally of each target. told: is called with each result."""
        heavy = {target.name for target in targets if target.torch}
        tallies = {target.name: Tally() for target in targets}
        waiting: dict[bool, deque[Case]] = {False: deque(), True: deque()}
        end, lock, errors = time.monotonic() + seconds, threading.Lock(), []
        kinds = (
            [True]
            if heavy and (self.processes == 1 or len(heavy) == len(targets))
            else [False, True]
            if heavy
            else [False] * self.processes
        )

        def next_case(torch: bool) -> Case | None:
            with lock:
                if time.monotonic() > end or errors:
                    return None
                while True:
                    for kind in (True, False) if torch else (False,):
                        if waiting[kind]:
                            return waiting[kind].popleft()
                    # an endless run deals no more of one kind than the other server can take
                    if not torch and len(waiting[True]) > 200:
                        return None
                    try:
                        case = next(cases)
                    except StopIteration:
                        return None
                    waiting[case[0] in heavy].append(case)

        def serve(torch: bool, work: Path) -> None:
            try:
                server = Server(self.place, work, torch=torch)
                while (case := next_case(torch)) is not None:
                    result = server.ask(case, seed)
                    with lock:
                        tallies[case[0]].add(result)
                        told(result)
                server.close()
            except Exception as error:
                errors.append(error)

        with tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True) as folder:
            threads = [
                threading.Thread(target=serve, args=(kind, Path(folder) / str(n))) for n, kind in enumerate(kinds)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        if errors:
            raise errors[0]
        return tallies


def again(result: Result, seed: int) -> str:
    """The command that repeats a case."""
    return f"python tests/fuzz/run_fuzz.py --seed {seed} --only {result['target']} --case {result['case']}"


def table(tallies: dict[str, Tally], seed: int) -> str:
    """Targets with their counts, then finds by kind."""
    lines = [f"{'target':28} {'cases':>6} {'results':>8} {'gates':>6} {'refusals':>9} {'finds':>6} {'s/case':>7}"]
    for name, tally in tallies.items():
        finds = sum(count for _, count in tally.finds.values())
        pace = tally.seconds / max(1, tally.cases)
        lines.append(
            f"{name:28} {tally.cases:6} {tally.results:8} {tally.gates:6} {tally.refusals:9} {finds:6} {pace:7.2f}"
        )
    total = [
        sum(getattr(tally, key) for tally in tallies.values()) for key in ("cases", "results", "gates", "refusals")
    ]
    lines.append(f"{'total':28} {total[0]:6} {total[1]:8} {total[2]:6} {total[3]:9}")
    return "\n".join([*lines, "", *finds_table(tallies, seed)])


def finds_table(tallies: dict[str, Tally], seed: int) -> list[str]:
    """A paragraph for each find: what, how often, in which targets, and how to repeat the first."""
    found: dict[tuple[str, str], list[tuple[Result, int]]] = {}
    for tally in tallies.values():
        for key, first in tally.finds.items():
            found.setdefault(key, []).append(first)
    lines = []
    for (kind, detail), firsts in sorted(found.items()):
        targets = ", ".join(f"{result['target']} {count}x" for result, count in firsts)
        result = firsts[0][0]
        said = " | ".join(result["err"].strip().splitlines()[-2:])[:300]
        lines += [
            f"{kind}: {detail} ({targets})",
            f"  {'; '.join(result['changes'])}",
            f"  {said}",
            f"  {again(result, seed)}",
        ]
    return lines or ["no finds"]
