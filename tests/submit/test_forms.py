"""Other forms of a submission: profiles, Kaggle's run lengths, PNG folders and COCO results."""

from __future__ import annotations

import json
import shutil
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
from trashkit.predictions import open_predictions
from trashkit.store import Probabilities, create_store, open_store
from trashkit.submit import FORMS, check_form, diff, from_coco, make_form, profile_of, read_form, to_coco, trace, vote
from trashkit.submit.labels import open_labels
from trashkit.submit.other_forms import decode_runs, encode_runs

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
def test_runs_are_kaggles_and_come_back(height: int, width: int, data: st.DataObject) -> None:
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
def test_runs_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^(its|it|a) "):
        decode_runs(text, 6, 6)


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_named_form_is_written_and_passes_its_check(name: str, store: Probabilities, tmp_path: Path) -> None:
    made = make_form(store, dataset(), tmp_path / "out", read_form(name))
    assert made.report.ok
    assert check_form(tmp_path / "out", dataset(), FORMS[name]).ok
    assert trace(tmp_path / "out")["store_fingerprint"] == store.fingerprint
    with pytest.raises(TrashkitError, match="exists"):
        make_form(store, dataset(), tmp_path / "out", FORMS[name])
    make_form(store, dataset(), tmp_path / "out", FORMS[name], overwrite=True)


def test_pngs_hold_the_label_maps_with_the_values_of_the_profile(store: Probabilities, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('kind = "png"\nsize = [16, 16]\nvalues = [255, 7, 24, 26]\nsuffix = "_pred.png"\n')
    make_form(store, dataset(), tmp_path / "out", read_form(str(tmp_path / "p.toml")))
    for row in range(3):
        with Image.open(tmp_path / f"out/b{row}/{row}_pred.png") as found:
            np.testing.assert_array_equal(np.array(found), np.array([255, 7, 24, 26])[label_map(row)])


def test_results_are_those_of_the_store(store: Probabilities, tmp_path: Path) -> None:
    make_form(store, dataset(), tmp_path / "r.json", FORMS["coco-results"])
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
    make_form(store, dataset(), tmp_path / "s.csv", FORMS["kaggle-rle"])
    change(tmp_path / "s.csv")
    report = check_form(tmp_path / "s.csv", dataset(), FORMS["kaggle-rle"])
    assert code in [problem.code for problem in report.failures]


def test_damage_to_png_folders_is_found(store: Probabilities, tmp_path: Path) -> None:
    make_form(store, dataset(), tmp_path / "out", FORMS["png"])
    (tmp_path / "out/b0/0.png").unlink()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "out/b1/1.png")
    Image.fromarray(np.full((24, 18), 4, np.uint8)).save(tmp_path / "out/b2/2.png")
    (tmp_path / "out/b9.png").write_bytes(b"x")
    report = check_form(tmp_path / "out", dataset(), FORMS["png"])
    assert [problem.code for problem in report.failures] == ["missing-image", "size", "values"]
    assert [problem.code for problem in report.warnings] == ["unknown-file"]
    (tmp_path / "out/b1/1.png").write_bytes(b"\x89PNG\r\n")
    assert not check_form(tmp_path / "out", dataset(), FORMS["png"]).ok


@pytest.mark.parametrize(
    "content",
    ["{}", "[1]", "no json", '[{"image_id": 99}]', '[{"image_id": 0, "category_id": 3, "score": 1}]',
     '[{"image_id": 0, "category_id": 10, "score": NaN, "segmentation": [[0, 0, 4, 0, 4, 4]]}]',
     '[{"image_id": 0, "category_id": 10, "score": 1, "segmentation": {"size": [1, 1], "counts": "0"}}]'],
)  # fmt: skip
def test_damaged_results_are_found(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    assert not check_form(tmp_path / "r.json", dataset(), FORMS["coco-results"]).ok


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'cvs'", "kind is 'cvs'"),
        ("sise = [1, 2]", "no sise, perhaps size"),
        ("size = [0, 2]", "size is"),
        ("size = 'native'", "one size"),
        ("separator = ','", "cannot be joined"),
        ("classes = 'x'", "classes is"),
        ("kind = 'png'\nvalues = [1, 1, 2, 3]", "different numbers"),
        ("kind = 'coco-results'\nsize = [4, 4]", "native size"),
        ("kind =", "cannot be read as a profile"),
    ],
)
def test_profiles_that_make_no_sense_are_refused(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(TrashkitError, match=words):
        read_form(str(tmp_path / "p.toml"))


def test_profiles_that_do_not_fit_the_data_are_refused(store: Probabilities, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"classes": 11}')
    with pytest.raises(TrashkitError, match="profile has 11 classes, the data 4"):
        make_form(store, dataset(), tmp_path / "s.csv", read_form(str(tmp_path / "p.json")))
    with pytest.raises(TrashkitError, match="perhaps kaggle-rle"):
        read_form("kagle-rle")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.jpg").write_bytes(b"x")
    with pytest.raises(TrashkitError, match="is kept"):
        make_form(store, dataset(), tmp_path / "mine", FORMS["png"], overwrite=True)
    shutil.rmtree(tmp_path / "mine")


@pytest.mark.parametrize("name", sorted(FORMS))
def test_every_form_goes_to_coco_and_back_votes_and_compares(name: str, store: Probabilities, tmp_path: Path) -> None:
    form, data = replace(FORMS[name], size=(16, 16)) if name == "recycle" else FORMS[name], dataset()
    one, other = tmp_path / "one", tmp_path / "other"
    make_form(store, data, one, form)
    with open_labels(one, profile_of(data, size=(16, 16)), form, data) as labels:
        for image in data.images:
            wanted = store.label_map(image.row, form.size or (image.height, image.width))
            np.testing.assert_array_equal(labels.read(image.file_name), wanted)
    to_coco(one, data, tmp_path / "back.json", form=form)
    from_coco(tmp_path / "back.json", data, other, form=form)
    profile = profile_of(data, size=(16, 16))
    found = diff(one, other, profile=profile, form=form, dataset=data)
    assert (found.changed, len(found.images)) == (0, 3)
    assert sum(found.pixels.values()) == (3 * 256 if form.size else sum(h * w for h, w in SIZES))
    assert check_form(other, data, form).ok
    vote([one, other, one], data, tmp_path / "voted", form=form)
    assert diff(one, tmp_path / "voted", profile=profile, form=form, dataset=data).changed == 0
    assert [voter["path"] for voter in trace(tmp_path / "voted")["voters"]] == [str(one), str(other), str(one)]


def test_a_damaged_file_of_another_form_is_refused_with_its_place(store: Probabilities, tmp_path: Path) -> None:
    form, data = FORMS["kaggle-rle"], dataset()
    make_form(store, data, tmp_path / "a.csv", form)
    lines = (tmp_path / "a.csv").read_text().splitlines(keepends=True)
    (tmp_path / "b.csv").write_text("".join([*lines[:2], "0,2,5 2 5 2\n", *lines[3:]]))
    with pytest.raises(TrashkitError, match=r"b\.csv, line 3: b0/0\.jpg: its runs overlap"):
        vote([tmp_path / "a.csv", tmp_path / "b.csv"], data, tmp_path / "v.csv", form=form)
    assert not (tmp_path / "v.csv").exists()


def test_blank_lines_are_told(store: Probabilities, tmp_path: Path) -> None:
    for name, form in (("rle.csv", FORMS["kaggle-rle"]), ("own.csv", replace(FORMS["recycle"], size=(16, 16)))):
        path = tmp_path / name
        make_form(store, dataset(), path, form)
        assert not [p for p in check_form(path, dataset(), form).warnings if p.code == "blank-line"]
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join([*lines[:2], "\n", *lines[2:]]))
        report = check_form(path, dataset(), form)
        assert report.ok
        assert [p.line for p in report.warnings if p.code == "blank-line"] == [3]
