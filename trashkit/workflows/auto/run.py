"""`trashkit auto`: plan, then run the steps one after another; what is done is recorded and never done twice.

    labels ─► audit ─► fix ─► split ─► train ─► optional steps, each judged ─► predict ─► draw, submit ─► page

Each step is a command in a process of its own. Its record has a hash of the command, of the inputs it reads and of the
records of the steps before it, so a step is done again exactly if something that it depends on has changed.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.files import real_path, remove
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.provenance import now
from trashkit.workflows.auto.commands import CommandError, run_command
from trashkit.workflows.auto.options import OPTIONS
from trashkit.workflows.auto.plan import Plan, Step, write_plan
from trashkit.workflows.auto.record import DECIDED, Entry, Record, locked, next_aside, set_aside
from trashkit.workflows.auto.steps import all_steps, baseline, delivery, label_steps, page_step, trial, verdict


@dataclass(frozen=True)
class AutoResult:
    """A finished job. steps: all of them, in order. decided: value of each option that was taken, None of others.
    seconds: of this call."""

    plan: Plan
    steps: tuple[Step, ...]
    record: Mapping[str, Entry]
    decided: Mapping[str, str | None]
    seconds: float


# --- running ---------------------------------------------------------------------------------------------------------


def run_plan(plan: Plan, *, log: Log = discard, progress: Progress = silent) -> AutoResult:
    """Run all steps of a plan that are not done yet.

    log: receives each command as it can be typed, what it tells, and the time left. Raises TrashkitError for a step
    that fails; what is done stays done, and ``--resume`` continues.
    """
    began = time.monotonic()
    with locked(plan.out):
        runner = _Runner(plan, Record(plan.out), log, progress)
        runner.run(*label_steps(plan), *baseline(plan)[1])
        taken: dict[str, str] = {}
        for option in OPTIONS:
            if option.name in plan.skipped:
                log(f"# {option.title} is not tried: {plan.skipped[option.name]}")
                continue
            *tries, judge = trial(plan, option, taken)
            runner.run(*tries)
            found = verdict(option, runner.run(judge))
            runner.decide(option.name, found)
            low, high = found["interval"]
            gained = f"{found['gain']:+.4f} mIoU on photos left out of the choice, 95 % {low:+.4f} to {high:+.4f}"
            log(f"# {option.title}: {gained}: {'taken' if found['taken'] else 'not taken'}")
            if found["taken"]:
                taken[option.name] = found["value"]
        runner.run(*delivery(plan, taken))
        steps = all_steps(plan, runner.decided)
        write_plan(plan, steps)
        runner.run(page_step(plan, tuple(step.name for step in steps[:-1])))
        return AutoResult(plan, steps, runner.record.steps, runner.decided, time.monotonic() - began)


class _Runner:
    """Runs steps that are not done, and keeps the record."""

    def __init__(self, plan: Plan, record: Record, log: Log, progress: Progress) -> None:
        self.plan, self.record = plan, record
        self.log, self.progress = log, progress
        self.decided: dict[str, str | None] = {}
        self.prints: dict[str, str] = {}
        self.aside = next_aside(plan.out)

    def run(self, *steps: Step) -> dict[str, Any]:
        """Run these steps, and return the result of the last one."""
        result: dict[str, Any] = {}
        for step in steps:
            self.prints[step.name] = self._fingerprint(step)
            done = self.record.steps.get(step.name)
            if done is not None and not self._is_current(step, done):
                self._clear(step, done)
                done = None
            result = done["result"] if done is not None else self._run(step)
        return result

    def decide(self, name: str, found: dict[str, Any]) -> None:
        """Note the verdict on an option."""
        self.decided[name] = found["value"] if found["taken"] else None
        key = f"{DECIDED}{name}"
        if key not in self.record.steps or self.record.steps[key]["result"] != found:
            entry: Entry = {"fingerprint": "", "seconds": 0.0, "finished": now(), "made": [], "result": found}
            self.record.steps[key] = entry
            self.record.write()

    def _fingerprint(self, step: Step) -> str:
        parts = [*step.words, *(self.plan.inputs.roles[role] for role in step.reads)]
        parts += [self.prints[name] for name in step.after]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]

    def _is_current(self, step: Step, done: Entry) -> bool:
        return done["fingerprint"] == self.prints[step.name] and all(Path(path).exists() for path in done["made"])

    def _clear(self, step: Step, done: Entry) -> None:
        """Set aside what a step made of other inputs."""
        old = [path for path in map(Path, done["made"]) if path.exists() and self._is_ours(path)]
        if old and done["fingerprint"] != self.prints[step.name]:
            set_aside(old, self.aside)
        del self.record.steps[step.name]
        self.record.write()

    def _is_ours(self, path: Path) -> bool:
        return real_path(self.plan.out) in real_path(path).parents

    def _run(self, step: Step) -> dict[str, Any]:
        if not step.resumes:
            for path in step.makes:  # left by an interrupted run, or made of other inputs
                if self._is_ours(path):
                    remove(path)
        self.log(f"$ {step.typed(self.plan.request.launch)}")
        self.log(f"  {step.why}; about {in_words(step.seconds)}, {in_words(self._left())} left in all")
        began = time.monotonic()
        launch = self.plan.request.launch if step.launched else ""
        try:
            found = run_command(
                step.words, exits=step.exits, launch=launch, log=lambda line: self.log(f"  {line}"),
                progress=self.progress,
            )  # fmt: skip
        except CommandError as error:
            hint = f"{error.hint}; " if error.hint else ""
            raise TrashkitError(error.message, hint=f"{hint}then continue with --resume") from error
        seconds = time.monotonic() - began
        result = {key: found[key] for key in step.keeps if key in found} if isinstance(found, dict) else {}
        self.record.steps[step.name] = {
            "fingerprint": self.prints[step.name],
            "seconds": round(seconds, 1),
            "finished": now(),
            "made": [str(path) for path in step.makes if path.exists()],
            "result": result,
        }
        self.record.write()
        self.log(f"  done in {in_words(seconds)}")
        return result

    def _left(self) -> float:
        """Seconds that all steps which are not done are expected to take."""
        steps = all_steps(self.plan, self.decided)
        return sum(step.seconds for step in steps if step.name not in self.record.steps)


def in_words(seconds: float) -> str:
    """A time as people say it: "40 s", "12 min", "2 h 5 min"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
