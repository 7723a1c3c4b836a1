"""`compare` and `leaderboard` as they are typed: exit codes, JSON keys, words."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.leaderboard.history import by_history
from trashkit.leaderboard.ledger import read_ledger
from trashkit.leaderboard.nested import Trial
from trashkit.leaderboard.standing import standing
from trashkit.leaderboard.verdict import verdict
from trashkit.masks import dataset_label_map
from trashkit.store import create_store
from trashkit.submission import Profile, write

SIZE, CLASSES = 32, 4
NAMES = ["Paper", "Metal", "Glass"]
runner = CliRunner()


def run(*words: object) -> Result:
    return runner.invoke(app, [str(word) for word in words])


def coco(ids: range, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    images = [{"id": n, "file_name": f"{n}.jpg", "width": 64, "height": 64} for n in ids]
    annotations = []
    for n in ids:
        for category in rng.permutation([1, 2, 3])[: int(rng.integers(1, 4))]:
            x, y, w, h = (float(v) for v in rng.integers(4, 30, 4))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": n,
                    "category_id": int(category),
                    "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]],
                    "area": w * h,
                    "bbox": [x, y, w, h],
                }
            )
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories}


def predicted(truth: Path, out: Path, wrong: float, seed: int) -> None:
    """A submission that is wrong in this share of 4x4 blocks."""
    data = read_dataset(truth, classes="own")
    rng = np.random.default_rng(seed)
    rows = []
    for image in data.images:
        label_map = dataset_label_map(data, image.row, size=(SIZE, SIZE)).copy()
        blocks = np.kron(rng.random((SIZE // 4, SIZE // 4)) < wrong, np.ones((4, 4), bool))
        label_map[blocks] = rng.integers(0, CLASSES)
        rows.append((image.file_name, label_map))
    write(out, rows, Profile(height=SIZE, width=SIZE, classes=CLASSES))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.json and hidden.json; for six models oof-N.csv of the one and sub-N.csv of the other."""
    folder = tmp_path_factory.mktemp("board")
    for name, ids in (("train", range(1, 31)), ("hidden", range(100, 120))):
        (folder / f"{name}.json").write_text(json.dumps(coco(ids, ids.start)))
    for n in range(6):
        predicted(folder / "train.json", folder / f"oof-{n}.csv", 0.05 + 0.04 * n, n)
        predicted(folder / "hidden.json", folder / f"sub-{n}.csv", 0.05 + 0.04 * n, 50 + n)
    return folder


def options(folder: Path) -> list[object]:
    return ["--truth", folder / "train.json", "--classes", "own", "--size", SIZE]


def add(folder: Path, ledger: Path, n: int, *more: object) -> Result:
    words = ["--oof", folder / f"oof-{n}.csv", *options(folder), "--run", f"runs/{n}", "--ledger", ledger]
    return run("leaderboard", "add", folder / f"sub-{n}.csv", *words, *more)


@pytest.fixture
def ledger(folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "leaderboard.jsonl"
    for n in range(5):
        done = add(folder, path, n, "--public", 0.9 - 0.05 * n)
        assert done.exit_code == 0, done.output
    return path


def test_compare_says_which_is_better_and_which_classes_moved_it(folder: Path) -> None:
    words = [*options(folder), "--csv-size", SIZE]
    done = run("compare", folder / "oof-0.csv", folder / "oof-5.csv", *words, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert {"a", "b", "difference", "interval", "probability_b_better", "evidence", "verdict", "classes"} <= set(value)
    assert value["difference"] < 0
    assert value["evidence"] is True
    assert value["probability_b_better"] == 0
    assert {row["name"] for row in value["classes"]} == {"Background", *NAMES}
    same = run("compare", folder / "oof-0.csv", folder / "oof-0.csv", *words)
    assert same.exit_code == 0
    assert "no evidence" in same.stdout


def test_score_gives_an_interval_to_each_class(folder: Path) -> None:
    words = ["score", folder / "oof-2.csv", *options(folder), "--csv-size", SIZE]
    value = json.loads(run(*words, "--json").stdout)
    assert value["per_class_interval"].keys() == value["per_class"].keys()
    for name, iou in value["per_class"].items():
        low, high = value["per_class_interval"][name]
        assert low < iou < high
    # Of one class among four, an interval is wider than that of their mean.
    low, high = value["interval"]
    assert max(b - a for a, b in value["per_class_interval"].values()) > high - low
    low, high = value["per_class_interval"]["Metal"]
    assert f"{low:.3f} to {high:.3f}" in run(*words).stdout


def test_compare_refuses_predictions_without_common_images(folder: Path) -> None:
    words = [*options(folder), "--csv-size", SIZE]
    done = run("compare", folder / "oof-0.csv", folder / "sub-0.csv", *words)
    assert done.exit_code == 2
    assert "has none of the 30 images" in done.stderr


def test_add_keeps_what_a_submission_is(folder: Path, ledger: Path) -> None:
    entry = json.loads(ledger.read_text().splitlines()[0])
    assert entry["run"]["name"] == "runs/0"
    assert entry["images"] == 20
    assert sum(entry["pixels"].values()) == 20 * SIZE * SIZE
    assert set(entry["pixels"]) == {"Background", *NAMES}
    score = run("score", folder / "oof-0.csv", *options(folder), "--csv-size", SIZE, "--json")
    assert entry["validation"]["miou"] == pytest.approx(json.loads(score.stdout)["miou"])
    assert entry["validation"]["truth_sha256"] == read_dataset(folder / "train.json").coco.sha256


def test_add_refuses_duplicates_and_takes_late_scores(folder: Path, ledger: Path) -> None:
    again = add(folder, ledger, 1, "--public", 0.85)
    assert again.exit_code == 2
    assert "already, as sub-1" in again.stderr
    late = run("leaderboard", "add", folder / "sub-1.csv", "--private", 0.8, "--ledger", ledger, "--json")
    assert late.exit_code == 0
    assert json.loads(late.stdout)["private"] == 0.8
    listed = run("leaderboard", "--ledger", ledger, "--json")
    assert [row["private"] for row in json.loads(listed.stdout)["submissions"]] == [None, 0.8, None, None, None]


def test_add_takes_validation_that_comes_later(folder: Path, tmp_path: Path) -> None:
    ledger = tmp_path / "l.jsonl"
    for n in range(2):
        assert add(folder, ledger, n, "--public", 0.8 - n / 10).exit_code == 0
    before = json.loads(run("leaderboard", "--ledger", ledger, "--json").stdout)["submissions"]
    # Other out-of-fold predictions of the first submission, with another run and without a score.
    other = ["--oof", folder / "oof-4.csv", *options(folder), "--run", "runs/again", "--ledger", ledger]
    done = run("leaderboard", "add", folder / "sub-0.csv", *other, "--json")
    assert done.exit_code == 0, done.stderr
    value = json.loads(done.stdout)
    assert value["validation"]["miou"] < before[0]["validation"]["miou"] - 0.05
    assert (value["public"], value["run"]["name"], value["name"]) == (0.8, "runs/again", "sub-0")
    assert len(ledger.read_text().splitlines()) == 3, "the first line stays as it was"
    assert "later" in json.loads(ledger.read_text().splitlines()[2])
    after = json.loads(run("leaderboard", "--ledger", ledger, "--json").stdout)["submissions"]
    assert after == [value, before[1]]
    rows = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)["submissions"]
    assert {row["name"]: row["out_of_fold"] for row in rows}["sub-0"] == value["validation"]["miou"]
    again = run("leaderboard", "add", folder / "sub-0.csv", *other)
    assert again.exit_code == 2
    assert "nothing about it is new" in again.stderr
    assert add(folder, ledger, 1).exit_code == 2
    assert len(list((tmp_path / "l.evidence").iterdir())) == 3, "nothing is kept twice"


def test_the_list_is_the_default_and_survives_a_torn_line(ledger: Path) -> None:
    with ledger.open("a") as file:
        file.write('{"format": 1, "name": "su')
    done = run("leaderboard", "--ledger", ledger)
    assert done.exit_code == 0
    assert "sub-4" in done.stdout
    assert "line 6 is half written" in done.stderr


def test_the_proxy_ranks_candidates_and_advises(folder: Path, ledger: Path) -> None:
    assert add(folder, ledger, 5).exit_code == 0
    value = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)
    assert value["enough"] is True
    rows = value["submissions"]
    assert {row["name"] for row in rows} == {f"sub-{n}" for n in range(6)}
    assert rows[-1]["name"] == "sub-5"
    assert rows[-1]["public"] is None
    assert all(row["interval"][0] < row["expected"] < row["interval"][1] for row in rows)
    assert {"proxy", "plain_offset", "plain", "mean"} == set(value["errors"])
    assert value["says"][0].startswith("choose sub-0 and ")
    assert value["history"] is None, "a subset is only searched where it is asked for"
    words = ["leaderboard", "proxy", "--ledger", ledger, "--history", "--json", "--seed"]
    tried = [json.loads(run(*words, seed).stdout)["history"] for seed in (0, 7)]
    assert tried[0] == tried[1], "whether a subset is used does not hang on the seed"
    assert len(tried[0]["image_ids"]) == tried[0]["images"] >= 6
    told = run("leaderboard", "proxy", "--ledger", ledger, "--history")
    assert told.exit_code == 0
    assert "chunk" not in told.stdout


def test_leading_on_the_public_half_alone_is_warned_of(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    for n in range(6):
        add(folder, path, n, "--public", 0.9 - 0.02 * n if n != 3 else 0.905)
    said = " ".join(json.loads(run("leaderboard", "proxy", "--ledger", path, "--json").stdout)["says"])
    assert "sub-3 leads on the public half, but sub-0 is expected" in said


def test_below_five_it_says_that_it_knows_too_little(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "l.jsonl"
    for n in range(4):
        add(folder, path, n, "--public", 0.9 - 0.05 * n)
    add(folder, path, 4)
    done = run("leaderboard", "proxy", "--ledger", path, "--json")
    value = json.loads(done.stdout)
    assert done.exit_code == 0
    assert value["enough"] is False
    assert "too little" in value["says"][0]
    assert not any("expected" in row for row in value["submissions"])
    assert value["errors"] == {}
    assert value["history"] is None


def test_a_split_brings_weights_and_folds(folder: Path, ledger: Path, tmp_path: Path) -> None:
    ids = list(range(1, 31))
    folds = [{"train": [i for i in ids if i % 3 != k], "val": [i for i in ids if i % 3 == k]} for k in range(3)]
    weights = [[i, 2.0 if i < 10 else 0.5] for i in ids]
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"folds": folds, "quality": {"test_likeness": {"weights": weights}}}))
    value = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--split", path, "--history", "--json").stdout)
    assert value["weighted_by_likeness"] is True
    assert value["history"]["tried"] > 1000
    plain = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)
    assert plain["weighted_by_likeness"] is False
    assert plain["submissions"][0]["expected"] != value["submissions"][0]["expected"]


def split_of(ids: range, path: Path, truth: Path | None, auc: float = 0.9) -> Path:
    folds = [{"train": [i for i in ids if i % 3 != k], "val": [i for i in ids if i % 3 == k]} for k in range(3)]
    weights = [[i, 1.9 if i % 2 else 0.1] for i in ids]
    alike = {"auc": auc, "auc_sd": 0.02, "weights": weights}
    source = {"path": str(truth), "sha256": read_dataset(truth).coco.sha256} if truth else {}
    path.write_text(json.dumps({"folds": folds, "quality": {"test_likeness": alike}, "source": source}))
    return path


def test_a_split_of_another_data_set_is_refused(folder: Path, ledger: Path, tmp_path: Path) -> None:
    words = ["leaderboard", "proxy", "--ledger", ledger, "--json", "--split"]
    right = split_of(range(1, 31), tmp_path / "right.json", folder / "train.json")
    assert json.loads(run(*words, right).stdout)["weighted_by_likeness"] is True
    other = split_of(range(5, 35), tmp_path / "other.json", None)
    same_ids = split_of(range(1, 31), tmp_path / "same.json", folder / "hidden.json")
    for path, told in ((other, "lacks 4 of the 30"), (same_ids, "not the file that the submissions")):
        done = run(*words, path)
        assert done.exit_code == 2
        assert told in done.stderr
        plot = run("leaderboard", "plot", "--ledger", ledger, "--split", path, "--html", tmp_path / "p.html")
        assert plot.exit_code == 2


def test_weights_that_mean_nothing_are_not_used(folder: Path, ledger: Path, tmp_path: Path) -> None:
    path = split_of(range(1, 31), tmp_path / "s.json", folder / "train.json", auc=0.53)
    done = run("leaderboard", "proxy", "--ledger", ledger, "--split", path, "--json")
    assert json.loads(done.stdout)["weighted_by_likeness"] is False
    assert "cannot be told apart" in done.stderr


def test_the_recorded_split_weighs_the_images(folder: Path, ledger: Path, tmp_path: Path) -> None:
    path = split_of(range(1, 31), tmp_path / "s.json", folder / "train.json")
    assert add(folder, ledger, 5, "--split", path).exit_code == 0
    done = run("leaderboard", "proxy", "--ledger", ledger, "--json")
    assert json.loads(done.stdout)["weighted_by_likeness"] is True
    assert f"{path}, the split recorded with sub-5" in done.stderr
    path.write_text(path.read_text() + " ")
    assert json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--json").stdout)["weighted_by_likeness"] is False


def test_the_page_stands_alone(ledger: Path, tmp_path: Path) -> None:
    out = tmp_path / "board.html"
    assert run("leaderboard", "plot", "--ledger", ledger, "--html", out).exit_code == 0
    text = out.read_text()
    assert text.count("<circle") == 5 + 5, "validation against public, and the estimates"
    assert "sub-4" in text
    assert "://" not in text
    assert run("leaderboard", "plot", "--ledger", ledger, "--html", out).exit_code == 2


def test_the_page_draws_candidates_with_their_intervals(folder: Path, ledger: Path, tmp_path: Path) -> None:
    assert add(folder, ledger, 5, "--name", "<b>late</b>").exit_code == 0
    out = tmp_path / "board.html"
    done = run("leaderboard", "plot", "--ledger", ledger, "--html", out, "--level", 0.8, "--json")
    assert json.loads(done.stdout)["estimates"] == 6
    text = out.read_text()
    assert "Expected hidden score, 80% intervals" in text
    rows = json.loads(run("leaderboard", "proxy", "--ledger", ledger, "--level", 0.8, "--json").stdout)["submissions"]
    for row in rows:
        assert f"expected {row['expected']:.4f}, {row['interval'][0]:.4f} to {row['interval'][1]:.4f}" in text
    assert text.count("(candidate)</text>") == 1
    assert "<b>late" not in text


def test_a_refused_add_leaves_no_evidence(folder: Path, ledger: Path, tmp_path: Path) -> None:
    evidence = ledger.with_name("leaderboard.evidence")
    before = sorted(evidence.iterdir())
    held = ledger.read_bytes()
    # Another score than the recorded one, with other matrices; the very same; and a score that is none.
    other = ["--oof", folder / "oof-4.csv", *options(folder), "--ledger", ledger]
    assert run("leaderboard", "add", folder / "sub-0.csv", "--public", 0.1, *other).exit_code == 2
    assert add(folder, ledger, 2).exit_code == 2
    assert add(folder, ledger, 5, "--public", 1.5).exit_code == 2
    assert sorted(evidence.iterdir()) == before
    assert ledger.read_bytes() == held
    fresh = tmp_path / "fresh" / "l.jsonl"
    assert add(folder, fresh, 0, "--public", 7).exit_code == 2
    assert not fresh.parent.exists()


def test_a_failure_after_the_evidence_was_written_removes_it(
    folder: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(ledger.with_name("leaderboard.evidence").iterdir())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trashkit.leaderboard.ledger.append", full)
    assert add(folder, ledger, 5).exit_code != 0
    assert sorted(ledger.with_name("leaderboard.evidence").iterdir()) == before


def test_a_subset_that_is_used_leaves_the_plain_rows_plain(ledger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the search finds, rows of the plain score are of all images, and only a clear winner is used."""
    plain = verdict(read_ledger(ledger))
    held = standing(read_ledger(ledger))
    subset = by_history(held.matrices, held.public)
    assert subset is not None
    asked: list[float] = []
    for error, used in ((0.0, True), (0.5, False)):
        trial = Trial(subset, 5, used, "" if used else "of that", error, 0.6)

        def found(*_: object, simple: float, trial: Trial = trial, **__: object) -> Trial:
            asked.append(simple)
            return trial

        monkeypatch.setattr("trashkit.leaderboard.verdict.try_history", found)
        value = verdict(read_ledger(ledger), history=True)
        assert value["history"]["used"] is used
        for row in ("plain", "plain_offset", "mean"):
            assert value["errors"][row] == plain["errors"][row]
        assert value["errors"]["proxy"] == (error if used else plain["errors"]["proxy"])
        says = " ".join(value["says"])
        assert ("are used: chosen anew" in says) is used
        assert not (used and "nothing in the ledger" in says)
    assert set(asked) == {min(plain["errors"]["plain_offset"], plain["errors"]["mean"])}


def test_the_page_never_replaces_what_it_was_made_from(ledger: Path) -> None:
    held = ledger.read_bytes()
    for out in (ledger, ledger.parent / "." / ledger.name, ledger.with_name("leaderboard.evidence")):
        done = run("leaderboard", "plot", "--ledger", ledger, "--html", out, "--overwrite")
        assert done.exit_code == 2
        assert "would be overwritten" in done.stderr
    assert ledger.read_bytes() == held
    assert run("leaderboard", "proxy", "--ledger", ledger).exit_code == 0


def test_a_run_folder_brings_its_own_out_of_fold_stores(folder: Path, tmp_path: Path) -> None:
    data = read_dataset(folder / "train.json", classes="own")
    oof = tmp_path / "run" / "oof"
    with create_store(
        oof,
        image_ids=[image.id for image in data.images],
        file_names=[image.file_name for image in data.images],
        native_sizes=[(64, 64)] * len(data),
        classes=data.classes.names,
        size=(SIZE, SIZE),
        manifest={},
    ) as store:
        for row, image in enumerate(data.images):
            right = dataset_label_map(data, image.row, size=(SIZE, SIZE))
            store.write(row, np.eye(CLASSES, dtype=np.float32)[right].transpose(2, 0, 1))
    (tmp_path / "run" / "manifest.json").write_text("{}")
    csv = tmp_path / "s.csv"
    shutil.copy(folder / "sub-0.csv", csv)
    words = ["leaderboard", "add", csv, "--run", tmp_path / "run", *options(folder), "--ledger", tmp_path / "l.jsonl"]
    done = run(*words, "--json")
    assert done.exit_code == 0, done.output
    value = json.loads(done.stdout)
    assert value["validation"]["miou"] == 1.0
    assert "manifest_sha256" in value["run"]


def test_mistakes_are_named(folder: Path, tmp_path: Path) -> None:
    absent = run("leaderboard", "--ledger", tmp_path / "none.jsonl")
    assert absent.exit_code == 2
    assert "leaderboard add" in absent.stderr
    for words, told in (
        (["--oof", folder / "oof-0.csv"], "add --truth"),
        (["--truth", folder / "train.json"], "add --oof"),
        (["--public", "82.09"], "no mIoU"),
    ):
        done = run("leaderboard", "add", folder / "sub-0.csv", *words, "--ledger", tmp_path / "l.jsonl", "--size", SIZE)
        assert done.exit_code == 2
        assert told in done.stderr
        assert not (tmp_path / "l.jsonl").exists()


def test_an_empty_ledger_sends_to_add(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    done = run("leaderboard", "list", "--ledger", empty)
    assert done.exit_code == 0
    assert "leaderboard add SUB.csv --public SCORE" in " ".join(done.output.split())
    assert "proxy" not in done.output


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ("nonsense", "is no JSON")])
def test_predictions_that_are_no_file_of_any_kind(folder: Path, tmp_path: Path, text: str, words: str) -> None:
    junk = tmp_path / "junk.json"
    junk.write_text(text)
    done = run("score", junk, "--truth", folder / "train.json")
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())
    assert "PredictionString" not in done.output
