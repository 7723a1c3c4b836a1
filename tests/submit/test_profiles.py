"""Other submission formats: profiles, Kaggle's run lengths, PNG folders and COCO results."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions.reading import open_predictions
from trashkit.predictions.store import Probabilities, create_store, open_store
from trashkit.submit import (
    PROFILES,
    check_with_profile,
    diff,
    from_coco,
    layout_for,
    make_with_profile,
    read_profile,
    to_coco,
    trace,
    vote,
)
from trashkit.submit.labels import open_submission
from trashkit.submit.run_lengths import decode_runs, encode_runs

SIZES = [(20, 30), (16, 16), (24, 18)]
NAMES = ("Background", "can", "cup", "bag")


def dataset() -> Dataset:
    images = [{"id": 5 * n, "file_name": f"b{n}/{n}.jpg", "height": h, "width": w} for n, (h, w) in enumerate(SIZES)]
    categories = [{"id": 10 * n, "name": name} for n, name in enumerate(NAMES) if n]
    return read_dataset(Coco.of({"images": images, "categories": categories, "annotations": []}))


def label_map(row: int) -> NDArray[np.uint8]:
    return np.random.default_rng(row).integers(0, 4, (8, 8)).repeat(2, 0).repeat(2, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Probabilities:
    path = tmp_path_factory.mktemp("s") / "store"
    images = dataset().images
    with create_store(
        path, image_ids=[i.id for i in images], file_names=[i.file_name for i in images], native_sizes=SIZES,
        classes=NAMES, size=(16, 16), manifest={},
    ) as writer:  # fmt: skip
        for row in range(3):
            hot = label_map(row)[None] == np.arange(4)[:, None, None]
            writer.write(row, np.where(hot, 0.7, 0.1).astype(np.float32))
    return open_store(path)


def plain_runs(covered: NDArray[np.bool_]) -> str:
    """Kaggle's run lengths pixel by pixel, down the columns."""
    flat, tokens = covered.ravel(order="F").tolist(), []
    for place, value in enumerate(flat):
        if value and (place == 0 or not flat[place - 1]):
            tokens += [place + 1, flat[place:].index(False) if False in flat[place:] else len(flat) - place]
    return " ".join(map(str, tokens))


@given(st.integers(1, 6), st.integers(1, 6), st.data())
@settings(max_examples=150, deadline=None)
def test_kaggle_run_lengths_round_trip(height: int, width: int, data: st.DataObject) -> None:
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    covered = np.array(bits).reshape(height, width)
    assert encode_runs(covered) == plain_runs(covered)
    assert encode_runs(covered, columns=False) == plain_runs(covered.T)
    for columns in (True, False):
        text = encode_runs(covered, columns=columns)
        np.testing.assert_array_equal(decode_runs(text, height, width, columns=columns), covered)


@pytest.mark.parametrize(
    "text", ["1", "0 1", "1 0", "5 2 5 2", "1 2 2 1", "a 1", "1 37", "36 2", "1.0 2", "-1 2", "² 1"]
)
def test_invalid_run_lengths_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(its|it|a) "):
        decode_runs(text, 6, 6)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_is_written_and_passes_its_check(name: str, store: Probabilities, tmp_path: Path) -> None:
    made = make_with_profile(store, dataset(), tmp_path / "out", read_profile(name))
    assert made.report.ok
    assert check_with_profile(tmp_path / "out", dataset(), PROFILES[name]).ok
    assert trace(tmp_path / "out")["store_fingerprint"] == store.fingerprint
    with pytest.raises(TrashkitError, match="exists"):
        make_with_profile(store, dataset(), tmp_path / "out", PROFILES[name])
    make_with_profile(store, dataset(), tmp_path / "out", PROFILES[name], overwrite=True)


def test_pngs_hold_the_label_maps_with_the_values_of_the_profile(store: Probabilities, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('kind = "png"\nsize = [16, 16]\nvalues = [255, 7, 24, 26]\nsuffix = "_pred.png"\n')
    make_with_profile(store, dataset(), tmp_path / "out", read_profile(str(tmp_path / "p.toml")))
    for row in range(3):
        with Image.open(tmp_path / f"out/b{row}/{row}_pred.png") as found:
            np.testing.assert_array_equal(np.array(found), np.array([255, 7, 24, 26])[label_map(row)])


def test_results_are_those_of_the_store(store: Probabilities, tmp_path: Path) -> None:
    make_with_profile(store, dataset(), tmp_path / "r.json", PROFILES["coco-results"])
    results = json.loads((tmp_path / "r.json").read_text())
    assert {result["category_id"] for result in results} == {10, 20, 30}
    assert all(0.25 < result["score"] <= 1 for result in results)
    found = open_predictions(tmp_path / "r.json", dataset())
    for row, labels in found.label_maps():
        np.testing.assert_array_equal(labels, store.label_map(row, SIZES[row]))


def rewrite(change: Callable[[list[str]], Any]) -> Callable[[Path], None]:
    def apply(path: Path) -> None:
        lines = path.read_text().splitlines(keepends=True)
        change(lines)
        path.write_text("".join(lines))

    return apply


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (rewrite(lambda lines: lines.__setitem__(0, "a,b,c\n")), "header"),
        (rewrite(lambda lines: lines.pop(3)), "missing-row"),
        (rewrite(lambda lines: lines.append(lines[3])), "doubled-row"),
        (rewrite(lambda lines: lines.append("9,1,1 2\n")), "unknown-image"),
        (rewrite(lambda lines: lines.append("1,4,1 2\n")), "values"),
        (rewrite(lambda lines: lines.append("1,1\n")), "values"),
        (rewrite(lambda lines: lines.__setitem__(2, lines[2].rsplit(",", 1)[0] + ",1 9999999\n")), "values"),
    ],
)
def test_damage_to_run_lengths_is_found(
    store: Probabilities, tmp_path: Path, change: Callable[[Path], None], code: str
) -> None:
    make_with_profile(store, dataset(), tmp_path / "s.csv", PROFILES["kaggle-rle"])
    change(tmp_path / "s.csv")
    report = check_with_profile(tmp_path / "s.csv", dataset(), PROFILES["kaggle-rle"])
    assert code in [problem.code for problem in report.failures]


def test_damage_to_png_folders_is_found(store: Probabilities, tmp_path: Path) -> None:
    make_with_profile(store, dataset(), tmp_path / "out", PROFILES["png"])
    (tmp_path / "out/b0/0.png").unlink()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "out/b1/1.png")
    Image.fromarray(np.full((24, 18), 4, np.uint8)).save(tmp_path / "out/b2/2.png")
    (tmp_path / "out/b9.png").write_bytes(b"x")
    report = check_with_profile(tmp_path / "out", dataset(), PROFILES["png"])
    assert [problem.code for problem in report.failures] == ["missing-image", "size", "values"]
    assert [problem.code for problem in report.warnings] == ["unknown-file"]
    (tmp_path / "out/b1/1.png").write_bytes(b"\x89PNG\r\n")
    assert not check_with_profile(tmp_path / "out", dataset(), PROFILES["png"]).ok


@pytest.mark.parametrize(
    "content",
    ["{}", "[1]", "no json", '[{"image_id": 99}]', '[{"image_id": 0, "category_id": 3, "score": 1}]',
     '[{"image_id": 0, "category_id": 10, "score": NaN, "segmentation": [[0, 0, 4, 0, 4, 4]]}]',
     '[{"image_id": 0, "category_id": 10, "score": 1, "segmentation": {"size": [1, 1], "counts": "0"}}]'],
)  # fmt: skip
def test_damaged_results_are_found(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    assert not check_with_profile(tmp_path / "r.json", dataset(), PROFILES["coco-results"]).ok


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'cvs'", "kind is 'cvs'"),
        ("sise = [1, 2]", "no sise .did you mean size.."),
        ("size = [0, 2]", "size is"),
        ("size = 'native'", "one size"),
        ("separator = ','", "cannot be joined"),
        ("classes = 'x'", "classes is"),
        ("kind = 'png'\nvalues = [1, 1, 2, 3]", "different numbers"),
        ("kind = 'coco-results'\nsize = [4, 4]", "native size"),
        ("kind =", "cannot be read as a profile"),
    ],
)
def test_invalid_profiles_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(TrashkitError, match=words):
        read_profile(str(tmp_path / "p.toml"))


def test_profiles_that_do_not_fit_the_data_are_refused(store: Probabilities, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"classes": 11}')
    with pytest.raises(TrashkitError, match="profile has 11 classes, the data 4"):
        make_with_profile(store, dataset(), tmp_path / "s.csv", read_profile(str(tmp_path / "p.json")))
    with pytest.raises(TrashkitError, match="did you mean kaggle-rle"):
        read_profile("kagle-rle")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.jpg").write_bytes(b"x")
    with pytest.raises(TrashkitError, match="is not replaced"):
        make_with_profile(store, dataset(), tmp_path / "mine", PROFILES["png"], overwrite=True)
    shutil.rmtree(tmp_path / "mine")


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_profile_converts_to_coco_and_back_votes_and_compares(
    name: str, store: Probabilities, tmp_path: Path
) -> None:
    profile, data = replace(PROFILES[name], size=(16, 16)) if name == "recycle" else PROFILES[name], dataset()
    one, other = tmp_path / "one", tmp_path / "other"
    make_with_profile(store, data, one, profile)
    with open_submission(one, layout_for(data, size=(16, 16)), profile, data) as labels:
        for image in data.images:
            wanted = store.label_map(image.row, profile.size or (image.height, image.width))
            np.testing.assert_array_equal(labels.read(image.file_name), wanted)
    to_coco(one, data, tmp_path / "back.json", profile=profile)
    from_coco(tmp_path / "back.json", data, other, profile=profile)
    layout = layout_for(data, size=(16, 16))
    found = diff(one, other, layout=layout, profile=profile, dataset=data)
    assert (found.changed, len(found.images)) == (0, 3)
    assert sum(found.pixels.values()) == (3 * 256 if profile.size else sum(h * w for h, w in SIZES))
    assert check_with_profile(other, data, profile).ok
    vote([one, other, one], data, tmp_path / "voted", profile=profile)
    assert diff(one, tmp_path / "voted", layout=layout, profile=profile, dataset=data).changed == 0
    assert [voter["path"] for voter in trace(tmp_path / "voted")["voters"]] == [str(one), str(other), str(one)]


def test_a_damaged_file_of_another_profile_is_refused_with_its_place(store: Probabilities, tmp_path: Path) -> None:
    profile, data = PROFILES["kaggle-rle"], dataset()
    make_with_profile(store, data, tmp_path / "a.csv", profile)
    lines = (tmp_path / "a.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b.csv").write_text("".join([*lines[:2], "0,2,5 2 5 2\n", *lines[3:]]))
    with pytest.raises(TrashkitError, match=r"b\.csv, line 3: b0/0\.jpg: its runs overlap"):
        vote([tmp_path / "a.csv", tmp_path / "b.csv"], data, tmp_path / "v.csv", profile=profile)
    assert not (tmp_path / "v.csv").exists()


def test_blank_lines_are_reported(store: Probabilities, tmp_path: Path) -> None:
    for name, profile in (
        ("rle.csv", PROFILES["kaggle-rle"]),
        ("own.csv", replace(PROFILES["recycle"], size=(16, 16))),
    ):
        path = tmp_path / name
        make_with_profile(store, dataset(), path, profile)
        assert not [p for p in check_with_profile(path, dataset(), profile).warnings if p.code == "blank-line"]
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:2], "\n", *lines[2:]]))
        report = check_with_profile(path, dataset(), profile)
        assert report.ok
        assert [p.line for p in report.warnings if p.code == "blank-line"] == [3]


WRONG_PROFILES = {
    "deep.json": "[" * 5000 + "]" * 5000,
    "deep.toml": "a = " + "[" * 5000 + "]" * 5000,
    "dots.toml": "a" + ".a" * 5000 + " = 1",
    "long.toml": "classes = " + "9" * 5000,
    "latin.toml": b'kind = "\xe9"',
    "list.json": "[]",
    "kind.json": '{"kind": []}',
    "size.json": '{"size": [1e400, 2]}',
    "negative.toml": "size = [-1, 5]",
    "huge.toml": "size = [32768, 32768]",
    "table.toml": "[columns]\na = 1",
    "values.toml": 'kind = "png"\nvalues = [0, 300]',
    "separator.json": '{"separator": 5}',
}


@pytest.mark.parametrize("name", WRONG_PROFILES)
def test_wrong_profiles_are_one_line(tmp_path: Path, name: str) -> None:
    content = WRONG_PROFILES[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrashkitError) as refused:
        read_profile(str(tmp_path / name))
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 400


def test_run_lengths_of_many_images_are_painted_one_at_a_time(tmp_path: Path) -> None:
    rows = [{"id": n, "file_name": f"{n}.jpg", "width": 6000, "height": 5000} for n in range(30)]
    categories = [{"id": 1, "name": "Paper"}]
    data = read_dataset(Coco.of({"images": rows, "categories": categories, "annotations": []}), labels=False)
    lines = [f"{n},1,1 5 7 3" for n in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["ImageId,ClassId,EncodedPixels", *lines, ""]))
    tracemalloc.start()
    report = check_with_profile(tmp_path / "a.csv", data, read_profile("kaggle-rle"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert report.rows == 30
    assert peak < 150 << 20
