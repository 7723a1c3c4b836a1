"""The whole story on the embedded data set: every command that exists, run as a user would type it.

Each step is a child process with ``--json``, so what the demo shows is what the commands do, and a step's memory is
gone when it ends.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trashkit.demo.grade import Grade, grade
from trashkit.errors import TrashkitError
from trashkit.files import remove_folder, write_text

Say = Callable[[str], None]

MARKER = "story.json"
"""Says that a folder was made by the demo and may be made again."""


@dataclass(frozen=True)
class Size:
    """How large the demo is: photos in all, their side and the network's in pixels, epochs, views, shown photos."""

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
    """What happened: commands with their seconds, and the numbers that the page shows."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    numbers: dict[str, Any] = field(default_factory=dict)
    grades: list[Grade] = field(default_factory=list)


class _Teller:
    """Runs commands in the demo's folder and tells what they say."""

    def __init__(self, folder: Path, say: Say) -> None:
        self.folder = folder
        self.say = say
        self.story = Story()

    def chapter(self, title: str) -> None:
        self.say(f"\n{title}")

    def run(self, *words: object, codes: Sequence[int] = (0,)) -> Any:
        """Run a trashkit command and return its JSON; TrashkitError where it ends with another code."""
        line = [str(word) for word in words]
        self.say(f"$ trashkit {shlex.join(line)}")
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "trashkit", *line, "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.monotonic() - start
        self.story.steps.append({"command": f"trashkit {shlex.join(line)}", "seconds": round(seconds, 1)})
        if done.returncode not in codes:
            told = done.stderr.strip().splitlines()[-2:] or [f"exit {done.returncode}"]
            raise TrashkitError(
                f"the demo's step `trashkit {shlex.join(line)}` failed: {' '.join(told)}",
                hint=f"the files so far are in {self.folder}; `trashkit doctor` says what is missing",
            )
        return json.loads(done.stdout)


def prepare(out: Path) -> None:
    """Make room for the demo; only a folder that an earlier demo made is replaced."""
    if out.exists():
        empty = out.is_dir() and not any(out.iterdir())
        if not empty and not (out / MARKER).exists():
            raise TrashkitError(f"{out} exists already and is no demo of trashkit", hint="choose another --out")
        remove_folder(out)
    out.mkdir(parents=True)
    write_text(out / MARKER, "{}\n")


def tell(out: Path, *, full: bool, seed: int, say: Say) -> Story:
    """Run the story in the folder `out`; `say` gets its lines as they come.

    Raises TrashkitError where `out` holds something else, and where a step fails.
    """
    size = FULL if full else QUICK
    prepare(out)
    say(f"All of this happens in {out}.")
    teller = _Teller(out, say)
    _annotations(teller, size, seed)
    _model(teller, size, seed, full=full)
    _submission(teller, size)
    story = teller.story
    content = {"steps": story.steps, "numbers": story.numbers, "grades": [one.__dict__ for one in story.grades]}
    write_text(out / MARKER, json.dumps(content, indent=1, ensure_ascii=False) + "\n", overwrite=True)
    return story


def _annotations(teller: _Teller, size: Size, seed: int) -> None:
    numbers = teller.story.numbers
    teller.chapter("1. A folder of trash photos, drawn by code, with annotation errors planted in it.")
    teller.run("data", "synth", "--out", "data", "--images", size.images, "--size", size.side, "--seed", seed)

    teller.chapter("2. What is wrong with the annotations?")
    audit = teller.run(
        "audit", "data/train.json", "--images", "data/images", "--against", "data/test.json",
        "--html", "audit.html", codes=(1,),
    )  # fmt: skip
    by_severity = audit["summary"]["by_severity"]
    numbers["findings"] = by_severity
    teller.say(f"   {by_severity['error']} errors, {by_severity['warning']} warnings, {by_severity['info']} remarks")
    planted = json.loads((teller.folder / "data/planted.json").read_text(encoding="utf-8"))
    teller.story.grades = grade(planted, audit["findings"])
    found = [one for one in teller.story.grades if one.deterministic]
    hit, whole = sum(one.found for one in found), sum(one.planted for one in found)
    numbers["planted_found"], numbers["planted"] = hit, whole
    teller.say(f"   of {whole} planted defects it names {hit}:")
    for one in teller.story.grades:
        if one.deterministic or one.found:
            precision = "   –" if one.precision is None else f"{one.precision:.2f}"
            codes = ", ".join(one.codes)
            teller.say(f"     {one.kind:24} {one.found} of {one.planted}, precision {precision}  ({codes})")
    clean = teller.run("audit", "data/train_clean.json")
    false = clean["summary"]["by_severity"]
    numbers["clean_findings"] = false
    teller.say(f"   the same photos annotated cleanly: {false['error']} errors, {false['warning']} warnings")

    teller.chapter("3. Fix what can be fixed, and keep a log of every change.")
    fixed = teller.run(
        "fix", "data/train.json", "--images", "data/images", "--against", "data/test.json", "--unsafe",
        "--out", "fixed.json", "--write-edits", "edits.jsonl",
    )  # fmt: skip
    numbers["edits"] = fixed["edits"]
    left = teller.run("audit", "fixed.json", "--images", "data/images", "--against", "data/test.json", codes=(0, 1))
    numbers["findings_left"] = left["summary"]["by_severity"]
    errors = left["summary"]["by_severity"]["error"]
    open_codes = sorted({finding["code"] for finding in left["findings"] if finding["severity"] == "error"})
    why = f", for a person to decide ({', '.join(open_codes)})" if errors else ""
    teller.say(f"   {fixed['edits']} edits; errors left: {errors}{why}")

    teller.chapter("4. Folds that each look like the whole, near-duplicates kept together.")
    split = teller.run("split", "fixed.json", "--images", "data/images", "--out", "split.json", "--trials", 50_000_000)
    quality = split["quality"]
    numbers["split"] = quality
    pixels = quality["criteria"]["pixel_share"]
    teller.say(f"   a class's pixels in a fold are off their share by {pixels['mean']:.1%} on average")


def _model(teller: _Teller, size: Size, seed: int, *, full: bool) -> None:
    teller.chapter("5. Train a small network; what it was not trained on says how good it is.")
    folds = "all" if full else "0"
    trained = teller.run(
        "train", "--data", "fixed.json", "--images", "data/images", "--split", "split.json", "--fold", folds,
        "--recipe", "tiny", "--set", f"data.size={size.network}", "--set", f"epochs={size.epochs}", "--seed", seed,
        "--out", "run",
    )  # fmt: skip
    scores = [run["miou"] for run in trained["runs"]]
    teller.story.numbers["validation_miou"] = scores
    teller.say(f"   validation mIoU {', '.join(f'{score:.3f}' for score in scores)}")


def _submission(teller: _Teller, size: Size) -> None:
    numbers = teller.story.numbers
    teller.chapter("6. Predict the test photos, with and without looking at them mirrored as well; average the two.")
    for name, tta in (("plain", "none"), (size.tta, size.tta)):
        teller.run(
            "predict", "run", "--data", "data/test.json", "--images", "data/images",
            "--tta", tta, "--out", f"test-{name}",
        )  # fmt: skip
    teller.run("ensemble", "test-plain", f"test-{size.tta}", "--out", "test-mean")

    teller.chapter("7. A submission, checked before it leaves.")
    teller.run(
        "submit", "test-mean", "--data", "data/test.json", "--sample", "data/sample_submission.csv",
        "--out", "submission.csv",
    )  # fmt: skip
    teller.run("submit", "check", "submission.csv", "--data", "data/test.json")
    board = split_leaderboard(teller.folder / "data/leaderboard/hidden.json", teller.folder / "leaderboard")
    for half, truth in board.items():
        score = teller.run("score", "submission.csv", "--truth", truth.relative_to(teller.folder))
        numbers[half] = score["miou"]
    teller.say(f"   the simulated leaderboard says: public {numbers['public']:.3f}, private {numbers['private']:.3f}")

    teller.chapter("8. And for people: photos with what was found drawn on them.")
    test = json.loads((teller.folder / "data/test.json").read_text(encoding="utf-8"))
    shown = [f"data/images/{image['file_name']}" for image in test["images"][: size.shown]]
    teller.run("predict", "run", *shown, "--overlay", "overlays")


def split_leaderboard(hidden: Path, folder: Path) -> dict[str, Path]:
    """The hidden truth as two COCO files, the public and the private half; their paths by name."""
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
        write_text(paths[half], json.dumps(content, ensure_ascii=False))
    return paths
