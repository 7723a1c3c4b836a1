"""The demo: run the whole workflow on the synthetic data set, command by command.

Each step is a child process with ``--json``, exactly as a user would run it, so its memory is released when it ends.
The results of finished commands are recorded in ``story.json``, so that an interrupted demo can be resumed.
"""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trashkit.demo.defects.grade import Grade, grade
from trashkit.errors import TrashkitError
from trashkit.files import is_empty, remove
from trashkit.outputs import Output, OutputKind, write_text
from trashkit.progress import Log
from trashkit.readers.json_text import read_json

MARKER = "story.json"
"""File by which a folder of an earlier demo is recognised."""
DEMO = OutputKind("demo of trashkit", is_one=lambda path: is_empty(path) or (path / MARKER).exists())

OUTPUTS = ("--out", "--html", "--write-edits", "--overlay")
"""Options of the commands below that name what they write."""
RESUMABLE = ("train", "predict", "ensemble")
"""Commands that continue what they wrote to --out."""


@dataclass(frozen=True)
class Size:
    """Size of the demo.

    images: number of photos. side: their side in pixels. network: side of the network input. epochs: training epochs.
    tta: test-time augmentation. shown: number of overlays.
    """

    images: int
    side: int
    network: int
    epochs: int
    tta: str = "flip"
    shown: int = 4


QUICK = Size(images=200, side=192, network=128, epochs=18)
FULL = Size(images=600, side=256, network=192, epochs=20)


@dataclass
class Story:
    """Record of a demo: its commands with seconds and results, the numbers on the page, and the audit's grades."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    grades: list[Grade] = field(default_factory=list)


class _Runner:
    """Runs commands in the demo's folder and reports their results; does not run those again that `record` has."""

    def __init__(self, folder: Path, log: Log, record: dict[str, Any]) -> None:
        self.folder = folder
        self.log = log
        self.record = record
        self.earlier = {one["command"]: one for one in record["steps"]}
        self.story = Story()

    def step(self, title: str) -> None:
        self.log(f"\n{title}")

    def run(self, *words: object, codes: Sequence[int] = (0,)) -> Any:
        """Run a trashkit command and return its JSON; raise TrashkitError if its exit code is not in `codes`."""
        line = [str(word) for word in words]
        command = f"trashkit {shlex.join(line)}"
        self.log(f"$ {command}")
        if command not in self.earlier:
            begun = time.monotonic()
            result = self._result(line, codes)
            self.earlier[command] = {
                "command": command,
                "seconds": round(time.monotonic() - begun, 1),
                "result": result,
            }
            self.record["steps"].append(self.earlier[command])
            write_text(self.folder / MARKER, json.dumps(self.record, ensure_ascii=False) + "\n", overwrite=True)
        done = self.earlier[command]
        self.story.steps.append({"command": command, "seconds": done["seconds"]})
        return done["result"]

    def _result(self, line: Sequence[str], codes: Sequence[int]) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "trashkit", *line, *self._continued(line), "--json"],
            cwd=self.folder,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            check=False,
        )
        if done.returncode not in codes:
            lines = done.stderr.strip().splitlines()[-2:] or [f"exit {done.returncode}"]
            raise TrashkitError(
                f"demo step `trashkit {shlex.join(line)}` failed: {' '.join(lines)}",
                hint="`trashkit doctor` shows what is missing; --resume continues from here",
            )
        return json.loads(done.stdout)

    def _continued(self, line: Sequence[str]) -> list[str]:
        """What makes a command continue the run or store that an interrupted demo began; removes its other outputs."""
        for option, value in itertools.pairwise(line):
            path = self.folder / value
            if option not in OUTPUTS or not path.exists():
                continue
            if line[0] in RESUMABLE and option == "--out":
                return ["--resume"]
            remove(path)
        return []


def prepare(out: Path, settings: dict[str, Any], *, resume: bool) -> dict[str, Any]:
    """Create the demo's folder and return its record; `resume` continues that of an interrupted demo.

    Replaces a folder only if an earlier demo wrote it. Raises TrashkitError if the one to resume has other settings.
    """
    if resume and (out / MARKER).exists():
        record = read_json(out / MARKER)
        if not isinstance(record, dict) or not isinstance(record.get("steps"), list) or "settings" not in record:
            raise TrashkitError(f"{out} has a demo that cannot be resumed", hint="start again without --resume")
        if record["settings"] != settings:
            raise TrashkitError(
                f"the demo in {out} was started with other options",
                hint="resume with the same --full and --seed, or start again without --resume",
            )
        return record
    Output(out, overwrite=True, kind=DEMO).remove()
    out.mkdir(parents=True)
    record = {"settings": settings, "steps": []}
    write_text(out / MARKER, json.dumps(record) + "\n")
    return record


def run_demo(out: Path, *, full: bool, seed: int, log: Log, resume: bool = False) -> Story:
    """Run the demo in the folder `out`; `log` receives each line of output.

    resume: continue an interrupted demo; commands that ended are not run again.
    Raises TrashkitError if `out` contains other files, if a step fails, and if the demo to resume has other settings.
    """
    size = FULL if full else QUICK
    record = prepare(out, {"full": full, "seed": seed}, resume=resume)
    log(f"All files are written to {out}.")
    if record["steps"]:
        log(f"Continues after {len(record['steps'])} commands; their results are shown again.")
    runner = _Runner(out, log, record)
    _annotations(runner, size, seed)
    _model(runner, size, seed, full=full)
    _submission(runner, size)
    return runner.story


def _annotations(runner: _Runner, size: Size, seed: int) -> None:
    numbers = runner.story.numbers
    runner.step("1. Generate photos of trash, with errors planted in their annotations.")
    runner.run("data", "synth", "--out", "data", "--images", size.images, "--size", size.side, "--seed", seed)

    runner.step("2. Audit the annotations.")
    audit = runner.run(
        "audit", "data/train.json", "--images", "data/images", "--against", "data/test.json",
        "--html", "audit.html", codes=(1,),
    )  # fmt: skip
    by_severity = audit["summary"]["by_severity"]
    numbers["findings"] = by_severity
    runner.log(f"   {by_severity['error']} errors, {by_severity['warning']} warnings, {by_severity['info']} info")
    planted = json.loads((runner.folder / "data/planted.json").read_text(encoding="utf-8"))
    runner.story.grades = grade(planted, audit["findings"])
    found = [one for one in runner.story.grades if one.deterministic]
    hit, whole = sum(one.found for one in found), sum(one.planted for one in found)
    numbers["planted_found"], numbers["planted"] = hit, whole
    runner.log(f"   finds {hit} of {whole} planted defects:")
    for one in runner.story.grades:
        if one.deterministic or one.found:
            precision = "   –" if one.precision is None else f"{one.precision:.2f}"
            codes = ", ".join(one.codes)
            runner.log(f"     {one.kind:24} {one.found} of {one.planted}, precision {precision}  ({codes})")
    clean = runner.run("audit", "data/train_clean.json")
    false = clean["summary"]["by_severity"]
    numbers["clean_findings"] = false
    runner.log(f"   clean annotations of the same photos: {false['error']} errors, {false['warning']} warnings")

    runner.step("3. Fix what can be fixed automatically, and log every change.")
    fixed = runner.run(
        "fix", "data/train.json", "--images", "data/images", "--against", "data/test.json", "--unsafe",
        "--out", "fixed.json", "--write-edits", "edits.jsonl",
    )  # fmt: skip
    numbers["edits"] = fixed["edits"]
    left = runner.run("audit", "fixed.json", "--images", "data/images", "--against", "data/test.json", codes=(0, 1))
    numbers["findings_left"] = left["summary"]["by_severity"]
    errors = left["summary"]["by_severity"]["error"]
    open_codes = sorted({finding["code"] for finding in left["findings"] if finding["severity"] == "error"})
    why = f", to be reviewed by a person ({', '.join(open_codes)})" if errors else ""
    runner.log(f"   {fixed['edits']} edits; errors left: {errors}{why}")

    runner.step("4. Build stratified folds that keep near-duplicates together.")
    split = runner.run("split", "fixed.json", "--images", "data/images", "--out", "split.json", "--trials", 50_000_000)
    quality = split["quality"]
    numbers["split"] = quality
    pixels = quality["criteria"]["pixel_share"]
    runner.log(f"   pixels per class and fold deviate from an even share by {pixels['mean']:.1%} on average")


def _model(runner: _Runner, size: Size, seed: int, *, full: bool) -> None:
    runner.step("5. Train a small network; held-out photos show how good it is.")
    folds = "all" if full else "0"
    trained = runner.run(
        "train", "--data", "fixed.json", "--images", "data/images", "--split", "split.json", "--fold", folds,
        "--recipe", "tiny", "--set", f"data.size={size.network}", "--set", f"epochs={size.epochs}", "--seed", seed,
        "--out", "run",
    )  # fmt: skip
    scores = [run["miou"] for run in trained["runs"]]
    others = [run["miou_without_background"] for run in trained["runs"]]
    runner.story.numbers["validation_miou"] = scores
    runner.story.numbers["validation_miou_without_background"] = others
    pairs = zip(scores, others, strict=True)
    both = ", ".join(f"{score:.3f} with background, {other:.3f} without" for score, other in pairs)
    runner.log(f"   validation mIoU {both}")


def _submission(runner: _Runner, size: Size) -> None:
    numbers = runner.story.numbers
    runner.step("6. Predict the test photos, with and without flip augmentation, and average the two.")
    for name, tta in (("plain", "none"), (size.tta, size.tta)):
        runner.run(
            "predict", "run", "--data", "data/test.json", "--images", "data/images",
            "--tta", tta, "--out", f"test-{name}",
        )  # fmt: skip
    runner.run("ensemble", "test-plain", f"test-{size.tta}", "--out", "test-mean")

    runner.step("7. Write a submission, validate it and score it.")
    runner.run(
        "submit", "test-mean", "--data", "data/test.json", "--sample", "data/sample_submission.csv",
        "--out", "submission.csv",
    )  # fmt: skip
    runner.run("submit", "check", "submission.csv", "--data", "data/test.json")
    halves = split_leaderboard(runner.folder / "data/leaderboard/hidden.json", runner.folder / "leaderboard")
    for half, truth in halves.items():
        score = runner.run("score", "submission.csv", "--data", truth.relative_to(runner.folder))
        numbers[half] = score["miou"]
        numbers[f"{half}_without_background"] = score["miou_without_background"]
    told = (
        f"{half} {numbers[half]:.3f} ({numbers[f'{half}_without_background']:.3f} without background)"
        for half in halves
    )
    runner.log(f"   simulated leaderboard: {', '.join(told)}")

    runner.step("8. Draw the predictions on some photos.")
    test = json.loads((runner.folder / "data/test.json").read_text(encoding="utf-8"))
    shown = [f"data/images/{image['file_name']}" for image in test["images"][: size.shown]]
    runner.run("predict", "run", *shown, "--overlay", "overlays")


def split_leaderboard(hidden: Path, folder: Path) -> dict[str, Path]:
    """Write the public and the private half of the hidden annotations as COCO files; return their paths by name."""
    truth = json.loads(hidden.read_text(encoding="utf-8"))
    folder.mkdir(exist_ok=True)
    paths: dict[str, Path] = {}
    for half in ("public", "private"):
        ids = set(truth["leaderboard"][half])
        content = {
            "images": [image for image in truth["images"] if image["id"] in ids],
            "annotations": [one for one in truth["annotations"] if one["image_id"] in ids],
            "categories": truth["categories"],
        }
        paths[half] = folder / f"{half}.json"
        write_text(paths[half], json.dumps(content, ensure_ascii=False), overwrite=True)
    return paths
