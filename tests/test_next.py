"""Each kind of command that a ``next:`` line suggests is executed once, as it stands; trainings with --dry-run."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app

FILES = Path(__file__).parent / "fixtures" / "v0_1"
DATA = "--data fixed.json --images data/images"
SMALL = "--recipe small.toml --set epochs=1 --seed 0 --device cpu"

# Steps in the order in which a user would take them; each may use what earlier ones wrote.
STORY = (
    "data synth --out synth --images 20 --size 96",
    "audit data/train.json --images data/images",
    "audit data/train.json --select G",
    "audit data/train_clean.json",
    "audit synth/train_clean.json --images synth/images",
    "fix data/train.json --images data/images --diff",
    "fix data/train.json --images data/images --unsafe --select G --diff",
    "fix data/train.json --edits edits.jsonl --out from-log.json",
    "edits invert fixed.json edits.jsonl --out undo.jsonl",
    "edits merge edits.jsonl edits.jsonl --out merged.jsonl",
    "edits diff data/train.json fixed.json --out diff.jsonl",
    "edits apply data/train.json diff.jsonl --out applied.json",
    "data export yolo fixed.json --out yolo",
    "data import coco fixed.json --images data/images --out imported.json",
    "data import coco fixed.json --like data/train.json --out part.json",
    "review fixed.json --images data/images --html review.html",
    "split fixed.json --out plain.json --folds 2 --trials 100",
    "split fixed.json --images data/images --out folds.json --folds 2 --trials 100",
    "split show folds.json",
    "split show plain.json",
    "split export folds.json --data fixed.json --out fold-files",
    f"train {DATA} --suggest {SMALL}",
    f"train {DATA} --split folds.json --dry-run {SMALL} --out planned",
    f"train {DATA} --split folds.json --fold all {SMALL} --out runs/folds",
    f"train {DATA} {SMALL} --out runs/first",
    "runs runs",
    f"sweep {DATA} {SMALL} --try optimiser.lr=1e-3..1e-2:log --trials 1 --out sweep",
    "soup runs/folds/small/fold-0 runs/folds/small/fold-1 --method uniform --out runs/soup",
    "report runs/first --out report.html",
    "score runs/folds --data fixed.json",
    "compare runs/first runs/first --data fixed.json --partial --size 32",
    "predict runs/first --data data/test.json --images data/images --size 32 --out test",
    "export runs/first --onnx first.onnx",
    "ensemble test test-store --out mean",
    "ensemble runs/folds/small/oof runs/folds/small/oof --fit fixed.json --out fitted",
    "postprocess test --step min-area=5 --out cleaned",
    "submit test --data data/test.json --size 32 --out first.csv",
    "submit mean --data data/test.json --size 32 --out mean.csv --against first.csv",
    "submit vote first.csv mean.csv first.csv --data data/test.json --size 32 --out voted.csv",
    "submit to-coco first.csv --data data/test.json --size 32 --out first.json",
    "submit from-coco first.json --data data/test.json --size 32 --out back.csv",
    "leaderboard add mean.csv --size 32 --public 0.3",
    "leaderboard",
    "leaderboard proxy",
    f"pseudo runs/first {DATA} --unlabeled data/test.json --recipe small.toml --set epochs=1 --size 32 "
    "--threshold 0.1 --out pseudo-round",
    "recipes",
)
# What a test adds to commands, so that they do not take long.
QUICK = {
    "auto": "--recipe small.toml --device cpu --minutes 1000",
    "split": "--folds 2 --trials 1000",
    "train": "--recipe small.toml --set epochs=1 --device cpu",
}
PLACEHOLDERS = re.compile(r"\b(ANN|TEST|FIXED|TRAIN|STORE|PRED|PHOTO|SUB|DIR|RUN|SCORE|NAME|FILE|LOG)\b")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: files of an earlier version, with which every kind of command can be called."""
    shutil.copytree(FILES, tmp_path / "place")
    monkeypatch.chdir(tmp_path / "place")
    run(["edits", "apply", "data/train.json", "edits.jsonl", "--out", "fixed.json"])
    shutil.copy("fixed.json", "data/train_clean.json")
    return tmp_path / "place"


def run(words: list[str], codes: tuple[int, ...] = (0,)) -> str:
    with mock.patch.object(sys, "argv", ["trashkit", *words]):  # which some commands record
        done = CliRunner().invoke(app, words)
    assert done.exit_code in codes, f"trashkit {shlex.join(words)}: exit {done.exit_code}\n{done.output}"
    return done.output


def suggested(output: str) -> Iterator[list[str]]:
    for line in output.splitlines():
        if line.startswith("next: "):
            words = shlex.split(line.removeprefix("next: "))
            assert words[0] == "trashkit"
            yield words[1:]


def kind(words: list[str]) -> tuple[str, ...]:
    """What tells suggestions apart: the command and its options, without their values."""
    names = [word for word in words[:2] if re.fullmatch(r"[a-z-]+", word) and not word.startswith("--")]
    options = {word for word in words if word.startswith("--")}
    return (*names[:1], *(name for name in names[1:] if words[0] in GROUPS), *sorted(options))


GROUPS = ("data", "edits", "split", "submit", "leaderboard", "recipes")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_every_kind_of_next_line_works_as_it_stands(place: Path) -> None:
    seen: dict[tuple[str, ...], list[str]] = {}
    for step in STORY:
        for words in suggested(run(shlex.split(step), (0, 1))):
            assert not PLACEHOLDERS.search(" ".join(words)), f"{step} suggests {shlex.join(words)}"
            if kind(words) not in seen:
                seen[kind(words)] = words
                # Executed at once: later steps may write what this one writes.
                run([*words, *(["--dry-run"] if words[0] == "train" else [])], (0, 1))
    assert {"audit", "fix", "split", "train", "predict", "submit", "score", "leaderboard"} <= {key[0] for key in seen}
    assert len(seen) >= 20, json.dumps(sorted(map(str, seen)), indent=1)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a stranger's folder with labelled photos, photos without labels and a sample submission."""
    run(["data", "synth", "--out", str(tmp_path / "set"), "--images", "20", "--size", "64", "--noise", "none"])
    for name in ("train_clean.json", "planted.json", "scenes.json"):
        (tmp_path / "set" / name).unlink(missing_ok=True)
    shutil.rmtree(tmp_path / "set/leaderboard", ignore_errors=True)
    shutil.copy(FILES / "small.toml", tmp_path / "set")
    monkeypatch.chdir(tmp_path / "set")
    return tmp_path / "set"


def follow(first: str) -> list[str]:
    """Type a command and then what each ``next:`` line says, until there is none; return what was typed."""
    words = shlex.split(first)
    typed: list[str] = []
    while words and len(typed) < 20:
        quick = shlex.split(QUICK.get(words[0], ""))
        words += [] if quick[:1] == [word for word in words if word in quick[:1]] else quick
        typed.append(shlex.join(words))
        words = next(suggested(run(words)), [])
    return typed


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_next_lines_lead_from_a_folder_through_auto_to_a_submission(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trashkit.workflows.auto.budget.EPOCHS", (1, 1))
    typed = follow("init")
    commands = [line.partition(" --recipe")[0] for line in typed]
    assert commands[:3] == ["init", "auto --dry-run", "auto"]
    assert typed[3].startswith("leaderboard add runs/auto/submission.csv")
    assert Path("runs/auto/submission.csv").is_file() and Path("runs/auto/index.html").is_file()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_next_lines_lead_from_a_folder_step_by_step_to_a_submission(project: Path) -> None:
    run(["init"])
    typed = follow("audit --fail-on never")
    names = [" ".join(line.split()[:2]) for line in typed]
    assert [name.split()[0] for name in names] == [
        "audit", "split", "train", "score", "predict", "submit", "leaderboard",
    ], typed  # fmt: skip
    assert not any(option in line for line in typed for option in ("--data", "--images")), typed
    assert Path("runs/submission.csv").is_file()
