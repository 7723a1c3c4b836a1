"""Commands that read predictions refuse stores and runs that are still being written, and leave nothing behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import out_of_fold
from trashkit.runs.folder import MANIFEST

FIXTURES = Path(__file__).parents[1] / "fixtures/v0_1"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set, stores and two folds of a training, one of which is unfinished."""
    for name in ("data", "test-store", "trashkit.toml"):
        source = FIXTURES / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tmp_path / name)
    shutil.copytree(FIXTURES / "run", tmp_path / "folds/fold-0")
    shutil.copytree(FIXTURES / "run", tmp_path / "folds/fold-1")
    shutil.rmtree(tmp_path / "folds/fold-1/oof")
    manifest = json.loads((tmp_path / "folds/fold-1" / MANIFEST).read_bytes())
    (tmp_path / "folds/fold-1" / MANIFEST).write_text(json.dumps({**manifest, "status": "running"}))
    shutil.copytree(FIXTURES / "run", tmp_path / "run")
    shutil.copytree(FIXTURES / "run/oof", tmp_path / "half")
    (tmp_path / "half/c.2.0.0.0").unlink()
    shutil.copytree(FIXTURES / "test-store", tmp_path / "half-test")
    (tmp_path / "half-test/c.1.0.0.0").unlink()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        "audit data/train.json --predictions {part} --select P --fail-on never --html out.html",
        "fix data/train.json --predictions {part} --unsafe --out out.json",
        "review data/train.json --images data/images --predictions {part} --edits out.jsonl --html out.html",
        "score {part} --data data/truth.json",
        "compare {part} half-test --data data/truth.json",
        "sheets {part} --data data/truth.json --images data/images --out out",
        "leaderboard add FIXTURES/submission.csv --size 32 --oof {part} --data data/truth.json --ledger out.jsonl",
        "ensemble half-test test-store --out out",
        "postprocess half-test --step min-area=3 --out out",
        "submit half-test --data data/test.json --out out.csv",
        "submit half-test --data data/test.json --profile png --out out",
        "pseudo half-test --data data/truth.json --images data/images --unlabeled data/test.json --all-data --dry-run "
        "--out out",
    ],
)
@pytest.mark.parametrize("part", ["half", "folds"])
def test_a_command_says_that_its_predictions_are_unfinished(folder: Path, words: str, part: str) -> None:
    if part == "folds" and "{part}" not in words:
        pytest.skip("it takes no run folders")
    before = {path.relative_to(folder) for path in folder.rglob("*")}
    done = CliRunner().invoke(app, words.format(part=part).replace("FIXTURES", str(FIXTURES)).split())
    shown = " ".join(done.output.split())
    assert done.exit_code == 2, shown
    assert "is unfinished" in shown and "--resume" in shown
    left = {path.relative_to(folder) for path in folder.rglob("*")} - before
    assert not left, left


def test_finished_folds_are_read_on_request(folder: Path) -> None:
    assert out_of_fold(folder / "folds", partial=True) == [folder / "folds/fold-0/oof"]
    with pytest.raises(TrashkitError, match="fold-1 is unfinished"):
        out_of_fold(folder / "folds/fold-1", partial=True)
    manifest = (folder / "folds/fold-0" / MANIFEST).read_bytes()
    (folder / "folds/fold-1" / MANIFEST).write_bytes(manifest)
    assert out_of_fold(folder / "folds") == [folder / "folds/fold-0/oof"]
    with pytest.raises(TrashkitError, match="it validated no images"):
        out_of_fold(folder / "folds/fold-1")
