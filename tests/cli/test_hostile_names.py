"""Names with line ends, terminal commands and invisible characters, in every command: nothing of them comes out raw."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trashkit.audit.example import clean_file
from trashkit.cli.app import app
from trashkit.names import printable
from trashkit.predictions.store import create_store

EVIL = "e\n::error::x\nnext: rm -rf\r\x1b[2J\u202e\u200b\u200f\u061c\u2028\U000e0041##[error]y"
ROOT = Path(__file__).parents[2]
FIRST = "::error::first"
SIDE = 32


def name(text: object) -> str:
    return f"{text}{EVIL}"


def trashkit(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def hold_nothing_raw(done: Result) -> None:
    """Nothing that `printable` escapes is in the output, and no line begins with what a name holds."""
    assert "crashed" not in done.stderr, done.stderr
    for text in (done.stdout, done.stderr):
        for whole in text.split("\n"):
            ours = whole.startswith(("::error file=", "::warning file=", "::notice file="))
            line = whole[2:] if ours else whole
            assert printable(line) == line, ascii(line)
            assert not re.match(r"\s*(next: rm|::|\\?::error::x)", line), ascii(line)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations, photos, stores, a ledger and logs whose names are hostile."""
    folder = tmp_path_factory.mktemp("names") / name("folder")
    (folder / "photos").mkdir(parents=True)
    coco = clean_file()
    for n, category in enumerate(coco["categories"]):
        category["name"] = FIRST if n == 1 else name(f"class {n} ")
        category["supercategory"] = EVIL
    for n, image in enumerate(coco["images"]):
        image.update(file_name=name(f"{n} ") + ".jpg", width=200, height=200)
        pixels = np.random.default_rng(n).integers(0, 255, (200, 200, 3), np.uint8)
        (folder / "photos" / image["file_name"]).write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    (folder / "clean.json").write_text(json.dumps(coco))
    title = json.dumps(EVIL.replace("\U000e0041", ""))
    (folder / name("sub")).write_bytes((ROOT / "tests/fixtures/v0_1/submission.csv").read_bytes())
    (folder / "recipe.toml").write_text(f"recipe.title = {title}\nepochs = 2\n")
    coco["annotations"][0]["segmentation"] = [[70, 50, 150, 130, 150, 50, 70, 140]]
    coco["annotations"][1].update(area=1, id=EVIL)
    coco["annotations"][2]["category_id"] = EVIL
    coco["images"].append({**coco["images"][0], "id": EVIL, EVIL: 1})
    (folder / "broken.json").write_text(json.dumps(coco))
    clean = json.loads((folder / "clean.json").read_text())
    for seed in range(2):
        with create_store(
            folder / name(f"store {seed} "),
            image_ids=[image["id"] for image in clean["images"]],
            file_names=[image["file_name"] for image in clean["images"]],
            native_sizes=[(200, 200)] * len(clean["images"]),
            classes=["Background", *(category["name"] for category in clean["categories"])],
            manifest={"note": EVIL, "runs": [{"name": EVIL, "path": EVIL}]},
            size=(SIDE, SIDE),
        ) as writer:
            classes = len(clean["categories"]) + 1
            for row in range(len(clean["images"])):
                values = np.random.default_rng(10 * seed + row).random((classes, SIDE, SIDE), dtype=np.float32)
                writer.write(row, values / values.sum(axis=0))
    return folder


def lines(folder: Path, number: int) -> dict[str, list[Any]]:
    """Command lines that succeed, in an order in which each finds what it reads."""
    clean, broken, photos = folder / "clean.json", folder / "broken.json", folder / "photos"
    first, second = folder / name("store 0 "), folder / name("store 1 ")
    log, out = folder / name("log"), folder / name("out ")
    own, ledger = ["--classes", "own"], ["--ledger", folder / name(f"ledger {number} ")]
    return {
        "audit": ["audit", broken, "--images", photos, "--fail-on", "never"],
        "audit json": ["audit", broken, "--json", "--fail-on", "never"],
        "audit github": ["audit", broken, "--format", "github", "--fail-on", "never"],
        "audit page": ["audit", broken, "--html", f"{out}a.html", "--against", clean, "--fail-on", "never"],
        "audit baseline": ["audit", broken, "--baseline", f"{out}base", "--write-baseline"],
        "fix diff": ["fix", broken, "--diff", "--unsafe"],
        "fix": ["fix", broken, "--out", f"{out}fixed.json", "--unsafe", "--write-edits", log],
        "edits show": ["edits", "show", log],
        "edits stats": ["edits", "stats", log],
        "edits stats json": ["edits", "stats", log, "--json"],
        "edits diff": ["edits", "diff", clean, broken, "--out", f"{out}diff.jsonl", "--author", EVIL],
        "edits merge": ["edits", "merge", log, log, "--out", f"{out}merged.jsonl"],
        "edits apply": ["edits", "apply", broken, log, "--out", f"{out}applied.json"],
        "review page": ["review", clean, "--images", photos, "--edits", f"{out}r.jsonl", "--html", f"{out}r.html"],
        "split": ["split", clean, "--out", f"{out}split.json", "--folds", "3", "--seconds", "0.1", *own],
        "split check": ["split", "check", f"{out}split.json", "--data", clean, *own],
        "split export": ["split", "export", f"{out}split.json", "--data", clean, "--out", f"{out}folds"],
        "score": ["score", first, "--data", clean, "--size", SIDE, *own],
        "score json": ["score", first, "--data", clean, "--size", SIDE, "--json", *own],
        "compare": ["compare", first, second, "--data", clean, "--size", SIDE, *own],
        "ensemble": ["ensemble", first, second, "--out", f"{out}ensemble"],
        "sheets": ["sheets", first, "--data", clean, "--images", photos, "--out", f"{out}sheets", *own],
        "data masks": ["data", "masks", clean, "--out", f"{out}masks", *own],
        "leaderboard add": [
            "leaderboard",
            "add",
            folder / name("sub"),
            "--size",
            SIDE,
            "--public",
            "0.5",
            "--name",
            EVIL,
            *ledger,
        ],
        "leaderboard": ["leaderboard", *ledger],
        "leaderboard plot": ["leaderboard", "plot", *ledger, "--out", f"{out}plot.html"],
        "recipes": ["recipes", "show", folder / "recipe.toml"],
        "runs": ["runs", folder],
    }


QUICK = ("audit json", "audit github", "fix diff", "leaderboard add", "leaderboard", "recipes", "runs")


@pytest.mark.parametrize("chosen", [QUICK, pytest.param(None, marks=pytest.mark.slow)], ids=["some", "all"])
def test_nothing_of_a_name_comes_out_raw(
    folder: Path, chosen: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    failed = {}
    known = lines(folder, len(chosen or ()))
    for what in chosen or known:
        words = known[what]
        done = trashkit(*words)
        hold_nothing_raw(done)
        if done.exit_code:
            failed[what] = (done.exit_code, done.stderr[:600])
    assert not failed, "\n".join(f"{what}: {why}" for what, why in failed.items())


def commands(group: Any, words: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    found = []
    for key, command in group.commands.items():
        inside = hasattr(command, "commands")
        found += commands(command, (*words, key)) if inside else [((*words, key), command)]
    return found


ALL = commands(__import__("typer").main.get_command(app))
SLOW = {"demo", "doctor", "data taco", "recipes list", "data synth"}


@pytest.mark.parametrize("words", [words for words, _ in ALL if " ".join(words) not in SLOW], ids=" ".join)
def test_errors_about_hostile_arguments(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = dict(ALL)[words]
    line: list[str] = []
    for parameter in command.params:
        if parameter.required:
            line += [parameter.opts[0]] if parameter.param_type_name == "option" else []
            line += [EVIL]
    done = trashkit(*words, *line)
    hold_nothing_raw(done)
    for option in ("--no-such\n::error::x", "--seed=\x1b[2J\u202e", f"--images={EVIL}"):
        done = trashkit(*words, *line, option)
        hold_nothing_raw(done)
    assert list(tmp_path.iterdir()) == []


def test_the_next_command_can_be_copied(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    path = Path(name("log\udcff"))
    path.write_bytes((folder / "clean.json").read_bytes())
    done = trashkit("audit", path, "--select", "S002")
    hold_nothing_raw(done)
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("next: ")]
    words = line.removeprefix("next: trashkit split ").removesuffix(" --out split.json")
    said = subprocess.run(["bash", "-c", f"printf %s {words}"], capture_output=True, check=True)
    assert said.stdout == os.fsencode(path)
