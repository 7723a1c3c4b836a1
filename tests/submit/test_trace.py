"""Trace a submission by hashes to what it was made from; and the page of changes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trashkit.coco import Coco, read, read_dataset, write
from trashkit.edits.apply import apply
from trashkit.edits.edit import change
from trashkit.edits.log import write_log
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.predictions import submission_csv
from trashkit.predictions.store import create_store, open_store
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.runs.folder import CHECKPOINTS
from trashkit.runs.run import open_run, read_run, update, write_manifest
from trashkit.submit import diff, from_coco, make, trace, vote
from trashkit.submit.check import check
from trashkit.submit.page import class_rows, diff_page
from trashkit.submit.trace import describe

SIZE = 32
LAYOUT = CsvLayout(height=SIZE, width=SIZE, classes=3)
IMAGES = [{"id": n, "file_name": f"사진/{n}.jpg", "width": 40, "height": 36} for n in (1, 2)]
CATEGORIES = [{"id": 1, "name": "Metal"}, {"id": 2, "name": "Glass"}]


def box(number: int, **more: Any) -> dict[str, Any]:
    ring = [2.0, 2, 20, 2, 20, 20, 2, 20]
    return {"id": number, "image_id": number, "category_id": 1, "segmentation": [ring], "area": 1.0, **more}


def make_run(place: Path, data: Path, *, weights: str = "none", **about: Any) -> Path:
    """A run folder as training leaves it, without a network in it."""
    settings = {"model": {"weights": weights}, "epochs": 3}
    inputs = {"data": str(data), "data_sha256": sha256(data), "training_images": 2}
    content = {
        "settings": settings,
        "seed": 5,
        "recipe": "tiny",
        "command": "trashkit train",
        "inputs": inputs,
        **about,
    }
    run = open_run(place, {"settings": settings}, content, resume=False, overwrite=False)
    (place / CHECKPOINTS / "last.safetensors").write_bytes(place.name.encode())
    update(run, status="complete", checkpoint="last")
    return place


def make_store(place: Path, run: Path, *, seed: int = 0) -> Path:
    entry = {"run": str(run), "checkpoint_sha256": sha256(read_run(run).checkpoint)}
    with create_store(
        place, image_ids=[1, 2], file_names=[str(image["file_name"]) for image in IMAGES],
        native_sizes=[(36, 40)] * 2, classes=("Background", "Metal", "Glass"), size=(SIZE, SIZE),
        manifest={"runs": [entry]},
    ) as writer:  # fmt: skip
        for row in range(2):
            values = np.random.default_rng([seed, row]).random((3, SIZE, SIZE), dtype=np.float32)
            writer.write(row, values / values.sum(axis=0))
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """raw.json, edited twice to train.json; a teacher, a student of it, its store and its submission."""
    value = {"images": IMAGES, "annotations": [box(1), box(2)], "categories": CATEGORIES}
    write(Coco.of(value), tmp_path / "raw.json")
    write(Coco.of({**value, "annotations": []}), tmp_path / "test.json")
    raw = read(tmp_path / "raw.json")
    first = [change(raw, "annotations", 0, {"category_id": 2}, reason="wrong-class", author="me")]
    write(apply(raw, first), tmp_path / "half.json")
    half = read(tmp_path / "half.json")
    second = [change(half, "annotations", 1, {"area": 324.0}, reason="wrong-area", author="G022")]
    write(apply(half, second), tmp_path / "train.json")
    write_log(tmp_path / "edits.jsonl", first)
    write_log(tmp_path / "more.jsonl", second)
    teacher = make_run(tmp_path / "teacher", tmp_path / "train.json")
    hashes = {str(teacher): sha256(read_run(teacher).checkpoint)}
    about = {"round": 1, "stage": "joint", "teachers": [str(teacher)], "start": None, "folder": str(tmp_path),
             "checkpoints": hashes}  # fmt: skip
    student = make_run(tmp_path / "student", tmp_path / "train.json", pseudo=about)
    make_store(tmp_path / "store", student)
    make(open_store(tmp_path / "store"), wanted(tmp_path), tmp_path / "s.csv", layout=LAYOUT)
    return tmp_path


def wanted(place: Path) -> Any:
    return read_dataset(place / "test.json", labels=False, classes="own")


def test_a_submission_is_traced_to_runs_teachers_data_and_both_edits(place: Path) -> None:
    origin = trace(place / "s.csv")
    assert [(Path(run["path"]).name, run["state"]) for run in origin["runs"]] == [
        ("student", "same"),
        ("teacher", "same"),
    ]
    assert origin["runs"][0]["settings"]["epochs"] == 3
    files = {Path(file["path"]).name: file for file in origin["files"]}
    assert {name: file["state"] for name, file in files.items()} == {"test.json": "same", "train.json": "same"}
    steps = files["train.json"]["edits"]
    assert [(Path(step["source"]).name, step["by_reason"]) for step in steps] == [
        ("raw.json", {"wrong-class": 1}),
        ("half.json", {"wrong-area": 1}),
    ]
    assert files["test.json"]["edits"] == []
    text = "\n".join(" ".join(line) for line in describe(origin))
    assert "round 1, stage joint" in text
    assert "1 wrong-area" in text


def test_the_text_output_lists_each_run_below_the_one_that_used_it(place: Path) -> None:
    origin = trace(place / "s.csv")
    lines = [line for what, line in describe(origin) if what in ("run", "from")]
    assert [line.split(" (same)")[0] for line in lines] == [str(place / "student"), f"  {place / 'teacher'}"]
    assert not any("settings" in line or "trashkit train" in line for _, line in describe(origin))
    assert sum("settings {" in line for _, line in describe(origin, settings=True)) == 2


def test_ancestors_are_compared_with_the_records_of_their_children(place: Path) -> None:
    kept = (place / "teacher" / CHECKPOINTS / "last.safetensors").read_bytes()

    def states() -> dict[str, str]:
        return {Path(run["path"]).name: run["state"] for run in trace(place / "s.csv")["runs"]}

    (place / "teacher" / CHECKPOINTS / "last.safetensors").write_bytes(b"others")
    assert states() == {"student": "same", "teacher": "changed"}
    (place / "teacher" / CHECKPOINTS / "last.safetensors").write_bytes(kept)
    manifest = read_run(place / "student").manifest
    about = manifest["pseudo"]
    hashes = about.pop("checkpoints")  # as earlier versions did; the record of the round has them
    write_manifest(place / "student", {**manifest, "pseudo": about})
    assert states()["teacher"] == "unknown"
    (place / "pseudo.json").write_text(json.dumps({"identity": {"teachers": hashes}}))
    assert states()["teacher"] == "same"
    shutil.rmtree(place / "teacher")
    assert states()["teacher"] == "gone"


def test_weights_that_a_run_started_from_are_compared(place: Path) -> None:
    start = make_run(place / "start", place / "train.json")
    child = make_run(place / "child", place / "train.json", weights=str(start))
    manifest = read_run(child).manifest
    inputs = {**manifest["inputs"], "weights_sha256": sha256(read_run(start).checkpoint)}
    write_manifest(child, {**manifest, "inputs": inputs})
    make_store(place / "of-child", child)
    make(open_store(place / "of-child"), wanted(place), place / "o.csv", layout=LAYOUT)
    states = [(Path(run["path"]).name, run["state"]) for run in trace(place / "o.csv")["runs"]]
    assert states == [("child", "same"), ("start", "same")]
    (start / CHECKPOINTS / "last.safetensors").write_bytes(b"others")
    assert trace(place / "o.csv")["runs"][1]["state"] == "changed"
    shutil.rmtree(start)
    assert trace(place / "o.csv")["runs"][1]["state"] == "gone"


def test_hashes_that_are_too_short_or_unknown_are_distinguished_from_files(place: Path) -> None:
    for text, message in (
        ("ab", "too short"),
        ("abcdef12", "no note of a submission has a hash"),
        ("x.csv", "no file"),
    ):
        with pytest.raises(TrashkitError, match=message):
            trace(text, [place])


def test_edits_that_do_not_reproduce_the_file_are_not_listed(place: Path) -> None:
    text = (place / "raw.json").read_text()
    (place / "raw.json").write_text(text.replace("Metal", "metal"))
    steps = {Path(file["path"]).name: file["edits"] for file in trace(place / "s.csv")["files"]}
    assert [Path(step["source"]).name for step in steps["train.json"]] == ["half.json"]


def test_changed_and_missing_files_are_reported(place: Path) -> None:
    (place / "student" / CHECKPOINTS / "last.safetensors").write_bytes(b"others")
    (place / "train.json").unlink()
    origin = trace(place / "s.csv")
    assert origin["runs"][0]["state"] == "changed"
    assert {file["state"] for file in origin["files"]} == {"same", "gone"}
    for path in sorted((place / "student").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    (place / "student").rmdir()
    assert [run["state"] for run in trace(place / "s.csv")["runs"]] == ["gone"]


def test_renamed_copies_are_found_by_their_hash(place: Path) -> None:
    (place / "sent").mkdir()
    (place / "s.csv").rename(place / "sent/best.csv")
    with pytest.raises(TrashkitError, match="has no note"):
        trace(place / "sent/best.csv")
    origin = trace(place / "sent/best.csv", [place])
    digest = sha256(place / "sent/best.csv")
    assert origin["sha256"] == digest
    assert trace(digest[:8], [place])["runs"] == origin["runs"]
    with pytest.raises(TrashkitError, match="no note of a submission"):
        trace("00000000", [place])
    with pytest.raises(TrashkitError, match="there is no file"):
        trace("nothing.csv", [place])


def test_votes_and_coco_files_are_followed(place: Path) -> None:
    make_run(place / "second", place / "train.json")
    make_store(place / "store2", place / "second", seed=1)
    make(open_store(place / "store2"), wanted(place), place / "t.csv", layout=LAYOUT)
    vote([place / "s.csv", place / "t.csv"], wanted(place), place / "v.csv", layout=LAYOUT)
    origin = trace(place / "v.csv")
    assert [Path(run["path"]).name for run in origin["runs"]] == ["student", "second", "teacher"]
    assert [(Path(one["path"]).name, one["state"]) for one in origin["voters"]] == [
        ("s.csv", "same"),
        ("t.csv", "same"),
    ]
    (place / "t.csv").write_text("changed")
    (place / "s.csv").unlink()
    assert [one["state"] for one in trace(place / "v.csv")["voters"]] == ["gone", "changed"]
    from_coco(place / "train.json", wanted(place), place / "c.csv", layout=LAYOUT, classes="own")
    files = {Path(file["path"]).name: file for file in trace(place / "c.csv")["files"]}
    assert len(files["train.json"]["edits"]) == 2


def test_earlier_submissions_of_another_class_mix_are_named(place: Path) -> None:
    maps = np.zeros((2, SIZE, SIZE), np.uint8)
    maps[:, :20] = 1
    rows = [(str(image["file_name"]), maps[n]) for n, image in enumerate(IMAGES)]
    submission_csv.write(place / "e.csv", rows, LAYOUT)
    report = check(place / "s.csv", wanted(place), layout=LAYOUT, against=[place / "e.csv", place / "s.csv"])
    text = [(problem.code, problem.message) for problem in report.warnings]
    assert [code for code, _ in text] == ["class-mix", "sameness"]
    assert re.search(r"Glass covers 3\d\.\d+% of the pixels, in .*e\.csv 0\.00%", text[0][1])


def test_the_page_shows_the_largest_changes_first(place: Path) -> None:
    rows = {row.file_name: row.label_map for row in submission_csv.read(place / "s.csv", LAYOUT)}
    names = list(rows)
    changed = {name: np.array(labels) for name, labels in rows.items()}
    changed[names[1]][:10] = (changed[names[1]][:10] + 1) % 3
    submission_csv.write(place / "b.csv", changed.items(), LAYOUT)
    data = wanted(place)
    found = diff(place / "s.csv", place / "b.csv", layout=LAYOUT)
    html = diff_page(place / "s.csv", place / "b.csv", found, data, layout=LAYOUT)
    assert html.count("data:image/jpeg") == 1
    assert "320 pixels" in html
    assert names[1] in html
    for row in class_rows(found, data.classes.names):
        assert row[1] - row[4] >= 0
        assert row[2] - row[1] == row[3]
    same = diff(place / "s.csv", place / "s.csv", layout=LAYOUT)
    assert "Nothing differs" in diff_page(place / "s.csv", place / "s.csv", same, data, layout=LAYOUT)
    assert json.loads(json.dumps([row[5] for row in class_rows(same, data.classes.names)])) == [1.0, 1.0, 1.0]


DEEP = "[" * 5000 + "]" * 5000
WRONG_NOTES = {
    "nested": DEEP,
    "a list": [],
    "hash is a number": {"sha256": 5},
    "store is a list": {"store": []},
    "manifest is a list": {"store_manifest": []},
    "voters are a text": {"voters": "abc"},
    "voter without path": {"voters": [{"sha256": "x"}]},
    "voter's note is a text": {"voters": [{"path": "x", "sha256": "x", "note": "y"}]},
    "data is a list": {"data": []},
}


@pytest.mark.parametrize("content", WRONG_NOTES.values(), ids=WRONG_NOTES)
def test_wrong_notes_are_damaged(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image_id,PredictionString\n")
    good = {"sha256": sha256(path), "trashkit": "0.1.0"}
    content = good | content if isinstance(content, dict) else content
    (tmp_path / "a.csv.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(TrashkitError, match=r"a\.csv\.json is damaged"):
        trace(path)


WRONG_MANIFESTS: dict[str, Any] = {
    "members are numbers": {"members": [1, None]},
    "member without path": {"members": [{}]},
    "sources are a text": {"sources": "abc"},
    "source is a list": {"sources": [[]]},
    "runs are an object": {"runs": {"run": "r"}},
    "run is a number": {"runs": [{"run": 5}]},
    "hash is a list": {"runs": [{"run": "r", "checkpoint_sha256": []}]},
}


@pytest.mark.parametrize("manifest", WRONG_MANIFESTS.values(), ids=WRONG_MANIFESTS)
def test_stores_of_other_programs_are_traced_as_far_as_they_say(tmp_path: Path, manifest: Any) -> None:
    path = tmp_path / "a.csv"
    path.write_text("image_id,PredictionString\n")
    digest = sha256(path)
    note = {"sha256": digest, "trashkit": "0.1.0", "store": str(tmp_path / "gone"), "store_manifest": manifest}
    (tmp_path / "a.csv.json").write_text(json.dumps(note))
    found = trace(path)
    assert describe(found)
    assert found["stores"][0]["state"] == "gone"
