"""Submissions: made from stores, checked, compared, voted on, to COCO and back."""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.predictions import submission_csv
from trashkit.predictions.reading import enlarge_nearest, open_predictions
from trashkit.predictions.store import Probabilities, create_store, open_store
from trashkit.predictions.submission_csv import CsvLayout
from trashkit.raster.masks import dataset_label_map, resize_nearest
from trashkit.submit import check, diff, from_coco, layout_for, make, to_coco, trace, vote
from trashkit.submit.compare import majority

SIZE = 32
NAMES = ("Background", "General trash", "Paper", "Paper pack", "Metal", "Glass", "Plastic", "Styrofoam", "Plastic bag",
         "Battery", "Clothing")  # fmt: skip
LAYOUT = CsvLayout(height=SIZE, width=SIZE)
COUNT = 6


def images(count: int = COUNT) -> list[dict[str, Any]]:
    return [
        {"id": 7 * n, "file_name": f"batch_0{n}/사진 {n}.jpg", "width": 64 + n, "height": 50 + 3 * n}
        for n in range(1, count + 1)
    ]


def dataset(rows: list[dict[str, Any]] | None = None, **blocks: Any) -> Dataset:
    categories = [{"id": n, "name": name} for n, name in enumerate(NAMES) if n]
    value = {"info": {"year": 1}, "images": images() if rows is None else rows, "categories": categories, **blocks}
    return read_dataset(Coco.of(value), labels="annotations" in blocks)


def label_maps(seed: int = 0, count: int = COUNT) -> NDArray[np.uint8]:
    """Blobs with holes, single pixels and neighbours of other classes."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 11, (count, SIZE // 4, SIZE // 4)).repeat(4, 1).repeat(4, 2)
    speckled = np.where(rng.random((count, SIZE, SIZE)) < 0.1, rng.integers(0, 11, (count, SIZE, SIZE)), coarse)
    return speckled.astype(np.uint8)


def write_csv(path: Path, maps: NDArray[np.uint8] | None = None, order: list[int] | None = None) -> Path:
    maps = label_maps() if maps is None else maps
    order = list(range(len(maps))) if order is None else order
    submission_csv.write(path, [(images()[n]["file_name"], maps[n]) for n in order], LAYOUT, overwrite=True)
    return path


def write_store(path: Path, order: list[int] | None = None, **changes: Any) -> Probabilities:
    """A store whose argmax is `label_maps()`, with its images in the given order."""
    rows = [images()[n] for n in order or range(COUNT)]
    size = changes.pop("size", (SIZE, SIZE))
    classes = changes.pop("classes", NAMES)
    leave = changes.pop("leave", 0)
    options: dict[str, Any] = {
        "image_ids": [row["id"] for row in rows],
        "file_names": [row["file_name"] for row in rows],
        "native_sizes": [(row["height"], row["width"]) for row in rows],
        "classes": classes,
        "size": size,
        "manifest": {"run": "r1"},
    }
    with create_store(path, **{**options, **changes}) as writer:
        for row, image in enumerate((order or range(COUNT))[: len(rows) - leave]):
            truth = cv2.resize(label_maps()[image], size[::-1], interpolation=cv2.INTER_NEAREST)
            values = np.full((11, *size), 0.04, dtype=np.float32)
            np.put_along_axis(values, truth[None].astype(np.int64), 0.6, axis=0)
            writer.write(row, values[[NAMES.index(name) for name in classes]])
    return open_store(path)


def codes(problems: Any) -> list[str]:
    return [problem.code for problem in problems]


def read_back(path: Path, data: Dataset | None = None) -> NDArray[np.uint8]:
    by_name = {row.file_name: row.label_map for row in submission_csv.read(path, LAYOUT)}
    return np.stack([by_name[image.file_name] for image in (data or dataset()).images])  # type: ignore[misc]


# make


def test_make_joins_by_id_and_name_and_follows_the_data(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", order=[3, 1, 5, 0, 2, 4])
    made = make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    rows = list(submission_csv.read(tmp_path / "s.csv", LAYOUT))
    assert [row.file_name for row in rows] == [image["file_name"] for image in images()]
    np.testing.assert_array_equal(read_back(tmp_path / "s.csv"), label_maps())
    assert (made.rows, made.resampled, made.unused, made.report.failures) == (COUNT, False, 0, ())


def test_make_maps_classes_by_name(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", classes=NAMES[::-1])
    make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    np.testing.assert_array_equal(read_back(tmp_path / "s.csv"), label_maps())
    named = {"categories": [{"id": 1, "name": "Paper"}, {"id": 2, "name": "Kitchen sink"}]}
    with pytest.raises(TrashkitError, match="has the class 'Clothing', which"):
        make(store, dataset(**named), tmp_path / "t.csv", layout=LAYOUT)


def test_make_resamples_another_size(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store", size=(2 * SIZE, 2 * SIZE))
    made = make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    assert made.resampled
    np.testing.assert_array_equal(read_back(tmp_path / "s.csv"), label_maps())


def test_make_leaves_out_images_that_the_data_lacks(tmp_path: Path) -> None:
    made = make(write_store(tmp_path / "store"), dataset(images()[2:4]), tmp_path / "s.csv", layout=LAYOUT)
    assert (made.rows, made.unused) == (2, COUNT - 2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"id": 999}, r"other images: it lacks batch_02/사진 2\.jpg \(id 999\), its first is batch_01/사진 1\.jpg"),
        ({"file_name": "other.jpg"}, r"id 14 is batch_02/사진 2\.jpg there, and other\.jpg in"),
        ({"file_name": "batch_01/사진 1.jpg"}, "two images are named|is batch_02"),
    ],
)
def test_make_refuses_a_store_from_other_images(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    rows = images()
    rows[1] = {**rows[1], **change}
    with pytest.raises(TrashkitError, match=words):
        make(write_store(tmp_path / "store"), dataset(rows), tmp_path / "s.csv", layout=LAYOUT)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_make_refuses_an_unfinished_store_and_an_existing_output(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="unfinished: 2 of 6 images are missing"):
        make(write_store(tmp_path / "half", leave=2), dataset(), tmp_path / "s.csv", layout=LAYOUT)
    store = write_store(tmp_path / "store")
    make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    before = (tmp_path / "s.csv").stat().st_mtime_ns
    with pytest.raises(TrashkitError, match="exists"):
        make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    assert (tmp_path / "s.csv").stat().st_mtime_ns == before
    make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT, overwrite=True)


def test_make_compares_with_what_it_replaces_and_leaves_nothing_beside_an_error(tmp_path: Path) -> None:
    store, out, loop = write_store(tmp_path / "store"), tmp_path / "s.csv", tmp_path / "loop.csv"
    loop.symlink_to(loop)
    with pytest.raises(TrashkitError, match="loop"):
        make(store, dataset(), out, layout=LAYOUT, against=[loop])
    assert not out.exists() and not out.with_name("s.csv.json").exists()
    write_csv(out, 10 - label_maps())
    changed = make(store, dataset(), out, layout=LAYOUT, against=[out], overwrite=True)
    assert "same" not in " ".join(codes(changed.report.warnings))
    same = make(store, dataset(), out, layout=LAYOUT, against=[out], overwrite=True)
    assert "same" in " ".join(codes(same.report.warnings))


def test_trace_leads_back_to_the_store_until_the_file_changes(tmp_path: Path) -> None:
    store = write_store(tmp_path / "store")
    made = make(store, dataset(), tmp_path / "s.csv", layout=LAYOUT)
    origin = trace(tmp_path / "s.csv")
    assert origin["sha256"] == made.sha256
    assert origin["store_manifest"] == {"run": "r1"}
    assert origin["store_fingerprint"] == store.fingerprint
    with (tmp_path / "s.csv").open("a") as file:
        file.write("more")
    with pytest.raises(TrashkitError, match="was changed"):
        trace(tmp_path / "s.csv")
    (tmp_path / "s.csv.json").unlink()
    with pytest.raises(TrashkitError, match="no note"):
        trace(tmp_path / "s.csv")


# check


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def change_value(line: bytes, new: bytes) -> bytes:
    return line.replace(b",", b"," + new + b" ", 1).rpartition(b" ")[0] + b"\n"


@pytest.mark.parametrize(
    ("change", "expected", "line"),
    [
        (lambda rows: rows.pop(0), ["header", "missing-image"], 1),
        (lambda rows: rows.__setitem__(0, b"id,mask\n"), ["header"], 1),
        (lambda rows: rows.pop(3), ["missing-image"], None),
        (lambda rows: rows.append(rows[3]), ["doubled-image"], 8),
        (lambda rows: rows.__setitem__(2, rows[2].replace(b"batch_02/", b"")), ["unknown-image", "missing-image"], 3),
        (lambda rows: rows.__setitem__(2, rows[2].rstrip().rpartition(b" ")[0] + b"\n"), ["values"], 3),
        (lambda rows: rows.__setitem__(2, rows[2].rstrip() + b" 0\n"), ["values"], 3),
        (lambda rows: rows.__setitem__(2, change_value(rows[2], b"11")), ["values"], 3),
        (lambda rows: rows.__setitem__(2, change_value(rows[2], b"a")), ["values"], 3),
        (lambda rows: rows.__setitem__(2, change_value(rows[2], b"-1")), ["values"], 3),
        (lambda rows: rows.__setitem__(2, rows[2].partition(b",")[0] + b",\n"), ["values"], 3),
        (lambda rows: rows.__setitem__(2, b"\x00\xff\xfe\n"), ["unknown-image", "values", "missing-image"], 3),
    ],
)
def test_each_failure_is_found_and_placed(
    tmp_path: Path, change: Callable[[list[bytes]], Any], expected: list[str], line: int | None
) -> None:
    rows = lines_of(write_csv(tmp_path / "s.csv"))
    change(rows)
    (tmp_path / "s.csv").write_bytes(b"".join(rows))
    report = check(tmp_path / "s.csv", dataset(), layout=LAYOUT)
    assert codes(report.failures) == expected
    assert report.failures[0].line == line
    assert all(problem.message and problem.cure for problem in report.failures)
    assert not report.ok


def test_a_good_file_has_no_failure_and_no_warning(tmp_path: Path) -> None:
    report = check(write_csv(tmp_path / "s.csv"), dataset(), layout=LAYOUT)
    assert report.ok
    assert not report.warnings
    counts = np.bincount(label_maps().ravel(), minlength=11)
    np.testing.assert_allclose(report.shares, counts / counts.sum())


def test_the_right_spelling_of_an_unknown_name_is_suggested() -> None:
    from trashkit.submit.check import _suggestion

    names = {"batch_01/0002.jpg": 0, "batch_02/0003.jpg": 1, "batch_03/0003.jpg": 2}
    assert _suggestion("0002.jpg", names) == "write it as batch_01/0002.jpg"
    assert _suggestion("./BATCH_01\\0002.JPG", names) == "write it as batch_01/0002.jpg"
    assert "such as" in _suggestion("0003.jpg", names)


def decomposed(path: Path) -> Path:
    path.write_text(unicodedata.normalize("NFD", path.read_text(encoding="utf-8")), encoding="utf-8")
    return path


def test_names_in_another_form_of_unicode_are_the_same_images_and_one_failure(tmp_path: Path) -> None:
    path = decomposed(write_csv(tmp_path / "s.csv"))
    report = check(path, dataset(), layout=LAYOUT, against=[write_csv(tmp_path / "earlier.csv")])
    assert codes(report.failures) == ["name-form"]
    assert "6 names" in report.failures[0].message
    assert codes(report.warnings) == ["sameness"]


def test_other_commands_take_the_forms_of_unicode_for_one(tmp_path: Path) -> None:
    composed, other = write_csv(tmp_path / "a.csv"), decomposed(write_csv(tmp_path / "b.csv"))
    found = diff(composed, other, layout=LAYOUT)
    assert (len(found.images), found.only_a, found.only_b) == (COUNT, (), ())
    assert vote([composed, other], dataset(), tmp_path / "vote.csv", layout=LAYOUT) == COUNT
    np.testing.assert_array_equal(read_back(tmp_path / "vote.csv"), label_maps())
    assert open_predictions(other, dataset(), layout=LAYOUT).images == tuple(range(COUNT))
    apart = [{**row, "file_name": unicodedata.normalize("NFD", row["file_name"])} for row in images()]
    store = write_store(tmp_path / "store")
    assert make(store, dataset(apart), tmp_path / "s.csv", layout=LAYOUT).rows == COUNT
    with pytest.raises(TrashkitError, match="two images are named"):
        check(composed, dataset([images()[0], {**apart[0], "id": 1}]), layout=LAYOUT)


def test_unusual_content_causes_warnings(tmp_path: Path) -> None:
    maps = label_maps()
    maps[1] = 0
    maps[4] = maps[3]
    path = write_csv(tmp_path / "s.csv", maps, order=[0, 2, 1, 3, 4, 5])
    path.write_bytes(submission_csv.BOM + path.read_bytes().replace(b"\n", b"\r\n"))
    report = check(path, dataset(), layout=LAYOUT)
    assert report.ok
    assert codes(report.warnings) == ["byte-order-mark", "line-ends", "order", "all-background", "same-rows"]


def test_sameness_with_another_submission(tmp_path: Path) -> None:
    maps = label_maps()
    maps[0, 0, 0] = (maps[0, 0, 0] + 1) % 11
    earlier = write_csv(tmp_path / "earlier.csv", maps, order=[5, 4, 3, 2, 1, 0])
    report = check(write_csv(tmp_path / "s.csv"), dataset(), layout=LAYOUT, against=[earlier])
    assert codes(report.warnings) == ["sameness"]
    assert "only 1 of 6,144" in report.warnings[0].message
    other = write_csv(tmp_path / "other.csv", label_maps(1))
    assert not check(tmp_path / "s.csv", dataset(), layout=LAYOUT, against=[other]).warnings


def test_class_mix_is_compared_with_training_data(tmp_path: Path) -> None:
    box = [[0.0, 0.0, 40.0, 0.0, 40.0, 40.0, 0.0, 40.0]]
    annotations = [
        {"id": n, "image_id": 7 * n, "category_id": 2, "segmentation": box, "area": 1600, "bbox": [0, 0, 40, 40]}
        for n in range(1, COUNT + 1)
    ]
    training = dataset(annotations=annotations)
    report = check(write_csv(tmp_path / "s.csv"), dataset(), layout=LAYOUT, train=training)
    mixed = [problem.message for problem in report.warnings if problem.code == "class-mix"]
    assert any(message.startswith("Battery covers") for message in mixed)
    assert any(message.startswith("Paper covers") for message in mixed)
    same = np.stack([dataset_label_map(training, image.row, size=(SIZE, SIZE)) for image in training.images])
    report = check(write_csv(tmp_path / "t.csv", same), dataset(), layout=LAYOUT, train=training)
    assert "class-mix" not in codes(report.warnings)


def test_the_header_of_a_sample_is_used(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("name,pixels")
    layout = layout_for(dataset(), sample=tmp_path / "sample.csv", size=(SIZE, SIZE))
    assert (layout.header, layout.classes) == ("name,pixels", 11)
    (tmp_path / "sample.csv").write_text("a,b,c\n")
    with pytest.raises(TrashkitError, match="names 3 columns"):
        layout_for(dataset(), sample=tmp_path / "sample.csv")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"image_id,PredictionString", b"{}", bytes(range(256)) * 20])
def test_any_file_is_checked_without_a_crash(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    assert not check(tmp_path / "s.csv", dataset(), layout=LAYOUT).ok


# diff and vote


def test_diff_counts_changed_pixels_by_image_and_class(tmp_path: Path) -> None:
    first, changed = label_maps(), label_maps()
    changed[2, :3, :5] = (changed[2, :3, :5] + 1) % 11
    changed[4, 0, 0] = (changed[4, 0, 0] + 1) % 11
    a = write_csv(tmp_path / "a.csv", first)
    b = write_csv(tmp_path / "b.csv", changed, order=[5, 4, 3, 2, 1])
    found = diff(a, b, layout=LAYOUT)
    assert found.images[:2] == ((images()[2]["file_name"], 15), (images()[4]["file_name"], 1))
    assert (found.changed, found.only_a, found.only_b) == (16, (images()[0]["file_name"],), ())
    expected = np.zeros((11, 11), dtype=np.int64)
    np.add.at(expected, (first[1:].ravel(), changed[1:].ravel()), 1)
    np.testing.assert_array_equal(found.matrix, expected)


def test_vote_is_the_mode_and_ties_go_to_the_first_file() -> None:
    maps = np.random.default_rng(0).integers(0, 4, (5, 20, 20)).astype(np.uint8)
    won = majority(list(maps), [1.0] * 5)
    for place in np.ndindex(20, 20):
        votes = maps[(slice(None), *place)].tolist()
        most = max(map(votes.count, votes))
        assert won[place] == next(value for value in votes if votes.count(value) == most)
    assert majority([maps[0], maps[1]], [1.0, 1.0]).tolist() == maps[0].tolist()
    assert majority([maps[0], maps[1]], [1.0, 2.0]).tolist() == maps[1].tolist()


def test_vote_joins_by_image_not_by_row(tmp_path: Path) -> None:
    one = write_csv(tmp_path / "1.csv", order=[5, 3, 1, 0, 2, 4])
    two = write_csv(tmp_path / "2.csv")
    other = write_csv(tmp_path / "3.csv", label_maps(1))
    assert vote([other, one, two], dataset(), tmp_path / "v.csv", layout=LAYOUT) == COUNT
    np.testing.assert_array_equal(read_back(tmp_path / "v.csv"), label_maps())
    short = write_csv(tmp_path / "4.csv", order=[0, 1, 2, 3, 5])
    with pytest.raises(TrashkitError, match=r"4\.csv has no row for batch_05"):
        vote([one, two, short], dataset(), tmp_path / "w.csv", layout=LAYOUT)
    assert not (tmp_path / "w.csv").exists()


# to and from COCO


def test_enlarging_is_undone_by_nearest_sampling() -> None:
    rng = np.random.default_rng(0)
    for height, width in [(32, 32), (33, 50), (64, 64), (71, 95), (512, 333)]:
        small = rng.integers(0, 11, (32, 32)).astype(np.uint8)
        large = enlarge_nearest(small, (height, width))
        assert large.shape == (height, width)
        np.testing.assert_array_equal(resize_nearest(large, (32, 32)), small)


def test_to_coco_and_back_loses_nothing(tmp_path: Path) -> None:
    maps = label_maps()
    maps[0] = 0
    maps[1, 4:20, 4:20], maps[1, 8:12, 8:12] = 6, 0  # a ring
    made = to_coco(write_csv(tmp_path / "s.csv", maps), dataset(), tmp_path / "p.json", layout=LAYOUT)
    assert made.lossy == ()
    content = json.loads((tmp_path / "p.json").read_text())
    assert content["images"] == images()
    assert content["info"] == {"year": 1}
    assert any(isinstance(annotation["segmentation"], dict) for annotation in content["annotations"])
    back = read_dataset(tmp_path / "p.json")
    assert len(back.annotations) == made.annotations
    for annotation in back.annotations:
        image = back.images[annotation.image_row]
        assert annotation.bbox is not None
        assert annotation.bbox[0] + annotation.bbox[2] <= image.width
    from_coco(tmp_path / "p.json", dataset(), tmp_path / "back.csv", layout=LAYOUT)
    assert (tmp_path / "back.csv").read_bytes() == (tmp_path / "s.csv").read_bytes()


def test_to_coco_names_images_that_are_too_small(tmp_path: Path) -> None:
    rows = images()
    rows[2] = {**rows[2], "width": 20}
    made = to_coco(write_csv(tmp_path / "s.csv"), dataset(rows), tmp_path / "p.json", layout=LAYOUT)
    assert made.lossy == (rows[2]["file_name"],)


def test_results_are_painted_by_score(tmp_path: Path) -> None:
    def box(side: float) -> list[list[float]]:
        return [[0, 0, side, 0, side, side, 0, side]]

    results = [
        {"image_id": 7, "category_id": 2, "segmentation": box(40), "score": 0.9},
        {"image_id": 7, "category_id": 3, "segmentation": box(20), "score": 0.5},
    ]
    (tmp_path / "r.json").write_text(json.dumps(results))
    opened = open_predictions(tmp_path / "r.json", dataset())
    maps = dict(opened.label_maps())
    assert len(maps) == COUNT
    assert np.unique(maps[0]).tolist() == [0, 2]
    assert not maps[1].any()


def test_from_coco_names_a_missing_image(tmp_path: Path) -> None:
    to_coco(write_csv(tmp_path / "s.csv"), dataset(), tmp_path / "p.json", layout=LAYOUT)
    content = json.loads((tmp_path / "p.json").read_text())
    gone = content["images"].pop()
    content["annotations"] = [a for a in content["annotations"] if a["image_id"] != gone["id"]]
    (tmp_path / "p.json").write_text(json.dumps(content))
    with pytest.raises(TrashkitError, match="lacks 1 of 6 images, first batch_06"):
        from_coco(tmp_path / "p.json", dataset(), tmp_path / "b.csv", layout=LAYOUT)
    assert not (tmp_path / "b.csv").exists()


def test_stores_of_images_of_another_size_are_refused(tmp_path: Path) -> None:
    from trashkit.ensemble import ensemble
    from trashkit.ensemble.fit import fit
    from trashkit.submit import make_with_profile, read_profile

    sizes = [(row["height"], row["width"]) for row in images()]
    sizes[2] = (sizes[2][1], sizes[2][0])
    good, turned = write_store(tmp_path / "good"), write_store(tmp_path / "turned", native_sizes=sizes)
    message = r"turned was made for .*사진 3\.jpg of 59x67 pixels, in the data it has 67x59"
    with pytest.raises(TrashkitError, match=message):
        make(turned, dataset(), tmp_path / "a.csv", layout=LAYOUT)
    with pytest.raises(TrashkitError, match=message):
        make_with_profile(turned, dataset(), tmp_path / "maps", read_profile("png"))
    with pytest.raises(TrashkitError, match=message):
        open_predictions(turned.path, dataset())  # score, compare, leaderboard
    with pytest.raises(TrashkitError, match=message):
        fit([turned, write_store(tmp_path / "other", native_sizes=sizes)], dataset())
    with pytest.raises(TrashkitError, match=r"turned was made for .*3\.jpg of 59x67 pixels, .*good for 67x59"):
        ensemble([good, turned], tmp_path / "mixed")
    assert {path.name for path in tmp_path.iterdir()} == {"good", "turned", "other"}


DEEP = "[" * 5000 + "]" * 5000
RESULT = {"image_id": 7, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]], "score": 0.5}
WRONG_RESULTS = {
    "nested": DEEP,
    "long integer": f'[{{"score": {"9" * 5000}}}]',
    "a list of lists": [[]],
    "a list of numbers": [1],
    "score is a text": [RESULT | {"score": "high"}],
    "score is a list": [RESULT | {"score": []}],
    "score is NaN": "[" + json.dumps(RESULT | {"score": float("nan")}) + "]",
    "score is infinite": "[" + json.dumps(RESULT | {"score": float("inf")}) + "]",
    "image is a list": [RESULT | {"image_id": [7]}],
    "image is an object": [RESULT | {"image_id": {}}],
    "category is a list": [RESULT | {"category_id": []}],
    "no segmentation": [{"image_id": 7, "category_id": 1}],
    "segmentation is a text": [RESULT | {"segmentation": "all"}],
    "segmentation holds texts": [RESULT | {"segmentation": [["a"] * 6]}],
    "segmentation of another size": [RESULT | {"segmentation": {"size": [10**9, 10**9], "counts": [10**18]}}],
    "counts are negative": [RESULT | {"segmentation": {"size": [53, 65], "counts": [-5, 3450]}}],
    "counts are too large": [RESULT | {"segmentation": {"size": [53, 65], "counts": [2**70]}}],
}


@pytest.mark.parametrize("results", WRONG_RESULTS.values(), ids=WRONG_RESULTS)
def test_wrong_coco_results_are_one_line_and_leave_nothing(tmp_path: Path, results: Any) -> None:
    from trashkit.submit import check_with_profile, read_profile

    path = tmp_path / "results.json"
    path.write_text(results if isinstance(results, str) else json.dumps(results))
    with pytest.raises(TrashkitError) as refused:
        from_coco(path, dataset(), tmp_path / "out.csv", layout=LAYOUT)
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 600
    assert [one.name for one in tmp_path.iterdir()] == ["results.json"]
    assert not check_with_profile(path, dataset(), read_profile("coco-results")).ok


def test_rows_without_end_are_cut(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].rstrip() + b" 0" * 500_000 + b"\n"
    path.write_bytes(b"".join(lines) + b"\n" * 1000)
    report = check(path, dataset(), layout=LAYOUT)
    assert [problem.line for problem in report.failures] == [3]
    assert report.rows == COUNT


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(TrashkitError, match="it is a pipe or a device"):
        check(tmp_path / "pipe", dataset(), layout=LAYOUT)
    with pytest.raises(TrashkitError, match="it is a pipe or a device"):
        open_predictions(tmp_path / "pipe", dataset())


@pytest.mark.parametrize("size", [(60_000, 60_000), (1, 70_000), (20_000, 20_000)])
def test_images_larger_than_photos_are_refused(tmp_path: Path, size: tuple[int, int]) -> None:
    from trashkit.submit import check_with_profile, read_profile

    rows = images()
    rows[1] |= {"height": size[0], "width": size[1]}
    large, path = dataset(rows), write_csv(tmp_path / "a.csv")
    store = write_store(tmp_path / "s")
    message = rf"사진 2\.jpg has {size[1]}x{size[0]} pixels in the data, more than photos can have"
    with pytest.raises(TrashkitError, match=message):
        open_predictions(path, large)
    with pytest.raises(TrashkitError, match=message):
        make(store, large, tmp_path / "b.csv", layout=LAYOUT)
    with pytest.raises(TrashkitError, match=message):
        to_coco(path, large, tmp_path / "b.json", layout=LAYOUT)
    with pytest.raises(TrashkitError, match=message):
        check_with_profile(path, large, read_profile("kaggle-rle"))
    assert {one.name for one in tmp_path.iterdir()} == {"a.csv", "s"}
