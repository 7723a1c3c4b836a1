"""The worked examples of CONTRIBUTING.md are carried out on a copy of the repository: listed, documented, tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def carry_out(title: str, root: Path) -> set[str]:
    """Write the files of an example and apply its diffs; returns the files that it touches."""
    touched: set[str] = set()
    path = ""
    for name, kind, block in re.findall(r"^(?:`(\S+)`:\n)?\n?```(python|diff)\n(.*?)```", section(title), re.M | re.S):
        path = name or path
        touched.add(path)
        if kind == "python":
            (root / path).write_text(block, encoding="utf-8")
        else:
            apply(block, root / path)
    assert touched, f"{title} changes nothing"
    return touched


def apply(block: str, path: Path) -> None:
    """Insert the lines with ``+`` after the lines before them, which must occur in the file exactly once."""
    context: list[str] = []
    added: list[str] = []
    for line in block.splitlines():
        (added if line.startswith("+") else context).append(line[1:])
    before, text = "\n".join(context) + "\n", path.read_text(encoding="utf-8")
    assert text.count(before) == 1, f"{path.name} does not have these lines once:\n{before}"
    path.write_text(text.replace(before, before + "".join(f"{line}\n" for line in added)), encoding="utf-8")


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    for name in ("trashkit", "tests", "scripts", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def draw(root: Path) -> list[str]:
    """Draw a small data set; returns the options that name it."""
    run(root, "-m", "trashkit", "data", "synth", "--out", "drawn", "--images", "20", "--size", "64", "--noise", "none")
    return ["--data", "drawn/train.json", "--images", "drawn/images"]


def laws(root: Path, *words: str) -> None:
    """Run tests of the copy."""
    run(root, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words)


def run(root: Path, *words: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *words],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_every_example_touches_at_most_three_files(clone: Path) -> None:
    titles = re.findall(r"^## (Add .+)$", PAGE, re.M)
    assert len(titles) >= 5
    for title in titles:
        assert 1 <= len(carry_out(title, clone)) <= 3


@pytest.mark.slow
def test_add_a_check(clone: Path) -> None:
    carry_out("Add a check", clone)
    run(clone, "scripts/checks_page.py")
    assert "### G090 sliver" in (clone / "docs/reference/checks.md").read_text(encoding="utf-8")
    assert "straws and cables" in run(clone, "-m", "trashkit", "audit", "--explain", "G090")
    laws(clone, "tests/audit/test_checks.py", "tests/audit/test_reference.py", "-k", "G090 or clean or page")


@pytest.mark.slow
def test_add_a_loss(clone: Path) -> None:
    carry_out("Add a loss", clone)
    words = ["-m", "trashkit", "train", *draw(clone), "--recipe", "tiny", "--out", "run", "--dry-run"]
    assert "poly(epsilon=2)" in run(clone, *words, "--set", "loss=poly(epsilon=2) + dice")
    assert "poly" in run(clone, *words, "--set", "loss=ploy", code=2)
    laws(clone, "tests/nn/training/test_losses.py", "-k", "poly")


@pytest.mark.slow
def test_add_a_format(clone: Path) -> None:
    carry_out("Add a format", clone)
    _, annotations, *photos = draw(clone)
    run(clone, "-m", "trashkit", "data", "export", "npy", annotations, *photos, "--out", "npy")
    run(clone, "-m", "trashkit", "data", "import", "npy", "npy", "--out", "back.json")
    laws(clone, "tests/interop/test_formats.py", "-k", "npy and not help")


@pytest.mark.slow
def test_add_a_strategy(clone: Path) -> None:
    carry_out("Add a pseudo-labelling strategy", clone)
    laws(clone, "tests/pseudo/test_stages.py")
    code = "from trashkit.pseudo.strategies import stages; print([stage.name for stage in stages('clean-then-joint')])"
    assert "['clean', 'joint']" in run(clone, "-c", code)


@pytest.mark.slow
def test_add_an_option(clone: Path) -> None:
    carry_out("Add an option to a command", clone)
    assert "--comment" in run(clone, "-m", "trashkit", "train", "--help")
    words = ["--recipe", "tiny", "--set", "epochs=1", "--set", "data.size=64", "--set", "model.weights=none"]
    run(clone, "-m", "trashkit", "train", *draw(clone), *words, "--out", "run", "--comment", "a first try")
    manifest = json.loads((clone / "run" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["comment"] == "a first try"
    run(clone, "scripts/reference.py")
    laws(clone, "tests/test_docs.py", "-k", "reference")
    laws(clone, "tests/nn/training/test_train_cli.py", "-k", "comment")
