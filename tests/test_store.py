"""The store of probabilities: what is read is what was written, whatever happens in between."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.store import StoreWriter, create_store, from_stored, open_store, resample, to_stored

CLASSES = ("Background", "Paper", "Glass")


def softmax(logits: NDArray[Any]) -> NDArray[np.float32]:
    exponent = np.exp(logits - logits.max(axis=0))
    return (exponent / exponent.sum(axis=0)).astype(np.float32)


def probabilities(seed: int, shape: tuple[int, int, int] = (3, 8, 6)) -> NDArray[np.float32]:
    return softmax(np.random.default_rng(seed).normal(0, 3, shape))


def new(path: Path, count: int = 4, **changes: Any) -> StoreWriter:
    options: dict[str, Any] = {
        "image_ids": list(range(10, 10 + count)),
        "file_names": [f"batch_01/사진 {n}.jpg" for n in range(count)],
        "native_sizes": [(16 + n, 12) for n in range(count)],
        "classes": CLASSES,
        "size": (8, 6),
        "manifest": {"run": "abc", "tta": ["flip"]},
    }
    return create_store(path, **{**options, **changes})


@pytest.mark.parametrize(("dtype", "tolerance"), [("uint8", 1.6 / 255), ("float16", 1e-3)])
def test_reads_back_what_was_written(tmp_path: Path, dtype: str, tolerance: float) -> None:
    with new(tmp_path / "s", dtype=dtype) as writer:
        for row in (2, 0, 1, 3):
            writer.write(row, probabilities(row))
    store = open_store(tmp_path / "s")
    store.require_complete()
    assert (store.image_ids, store.file_names[1], store.classes) == ((10, 11, 12, 13), "batch_01/사진 1.jpg", CLASSES)
    assert (store.size, store.dtype, store.manifest) == ((8, 6), dtype, {"run": "abc", "tta": ["flip"]})
    assert store.native_sizes.tolist() == [[16, 12], [17, 12], [18, 12], [19, 12]]
    for row in range(len(store)):
        read = store.read(row)
        assert read.dtype == np.float32
        np.testing.assert_allclose(read.sum(axis=0), 1, atol=1e-5)
        np.testing.assert_allclose(read, probabilities(row), atol=2 * tolerance)
        np.testing.assert_array_equal(store.label_map(row), probabilities(row).argmax(axis=0))


@given(
    hnp.arrays(np.float32, (11, 3, 3), elements=st.floats(-4, 4, width=32)),
    st.sampled_from(["uint8", "float16"]),
)
@settings(max_examples=200, deadline=None)
def test_stored_values_keep_the_argmax_of_any_softmax(logits: NDArray[np.float32], dtype: Any) -> None:
    values = softmax(logits)
    stored = to_stored(values, dtype)
    np.testing.assert_array_equal(stored.argmax(axis=0), values.argmax(axis=0))
    if dtype == "uint8":
        assert np.abs(stored / 255.0 - values).max() <= 1.51 / 255


def test_argmax_survives_quantisation_where_rounding_alone_would_change_it() -> None:
    values = softmax(np.random.default_rng(0).normal(0, 1, (11, 256, 256)))
    plain = np.rint(values * 255).astype(np.uint8).argmax(axis=0)
    assert (plain != values.argmax(axis=0)).any(), "the case is too easy to tell"
    assert (to_stored(values).argmax(axis=0) == values.argmax(axis=0)).all()


@pytest.mark.parametrize(
    "values",
    [
        np.random.default_rng(0).normal(0, 3, (3, 8, 6)),  # logits
        np.full((3, 8, 6), np.nan),
        np.full((3, 8, 6), 0.5),
        np.stack([np.full((8, 6), value) for value in (-0.5, 0.75, 0.75)]),
    ],
)
def test_refuses_what_is_no_softmax(tmp_path: Path, values: NDArray[Any]) -> None:
    writer = new(tmp_path / "s")
    with pytest.raises(ValueError, match="not probabilities"):
        writer.write(0, values)
    assert not writer.done.any()


def test_takes_half_precision_softmax() -> None:
    to_stored(probabilities(0).astype(np.float16))


def test_many_classes_with_small_probabilities_stay_probabilities() -> None:
    read = from_stored(np.zeros((200, 2, 2), dtype=np.uint8))
    np.testing.assert_allclose(read, 1 / 200)


def test_an_image_of_the_fill_value_counts_as_done(tmp_path: Path) -> None:
    writer = new(tmp_path / "s", dtype="float16")
    writer._array[1] = np.zeros((3, 8, 6), dtype=np.float16)
    assert writer.done.tolist() == [False, True, False, False]


def test_resume_goes_on_where_it_stopped(tmp_path: Path) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    with pytest.raises(TrashkitError, match="exists"):
        new(tmp_path / "s")
    again = new(tmp_path / "s", resume=True)
    assert again.done.tolist() == [False, True, False, False]
    with pytest.raises(TrashkitError, match=r"unfinished: 3 of 4 images are missing, first batch_01/사진 0\.jpg"):
        open_store(tmp_path / "s").require_complete()
    with pytest.raises(TrashkitError, match=r"no probabilities for batch_01/사진 2\.jpg"):
        open_store(tmp_path / "s").read(2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"manifest": {"run": "abc", "tta": ["none"]}}, r'tta = \["flip"\], now it is \["none"\]'),
        ({"classes": ("Background", "Paper", "Metal")}, "wanted are Background, Paper, Metal"),
        ({"size": (6, 8)}, "6x8 uint8, wanted is 8x6 uint8"),
        ({"dtype": "float16"}, "wanted is 6x8 float16"),
        ({"count": 3}, "it is for 4 images, wanted are 3"),
        ({"file_names": ["a", "b", "c", "d"]}, r"image 0 is batch_01/사진 0.jpg \(id 10\), wanted is a"),
        ({"image_ids": [10, 11, 12, 14]}, r"image 3 .* \(id 13\), wanted is .* \(id 14\)"),
    ],
)
def test_resume_refuses_another_origin_naming_the_difference(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    with pytest.raises(TrashkitError, match=words):
        new(tmp_path / "s", resume=True, **changes)
    assert open_store(tmp_path / "s").done.sum() == 1


def test_an_unfinished_store_is_refused_with_the_way_to_go_on(tmp_path: Path) -> None:
    with new(tmp_path / "s") as writer:
        writer.write(0, probabilities(0))
    with pytest.raises(TrashkitError, match="unfinished") as error:
        new(tmp_path / "s")
    assert "--resume" in error.value.hint
    with new(tmp_path / "s", resume=True) as writer:
        for row in range(1, 4):
            writer.write(row, probabilities(row))
    with pytest.raises(TrashkitError, match="exists already") as error:
        new(tmp_path / "s")
    assert "--resume" not in error.value.hint


def test_a_size_that_no_reader_would_take_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    for size in ((100_000, 8), (8, 100_000), (32_000, 32_000)):
        with pytest.raises(TrashkitError, match="too large"):
            new(tmp_path / "s", classes=[f"c{n}" for n in range(11)], size=size)
    assert list(tmp_path.iterdir()) == []


def test_overwrite_starts_afresh_but_spares_other_folders(tmp_path: Path) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    assert not new(tmp_path / "s", overwrite=True, manifest={}).done.any()
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").write_bytes(b"precious")
    with pytest.raises(TrashkitError, match="no store"):
        new(photos, overwrite=True)
    assert (photos / "a.jpg").read_bytes() == b"precious"
    with pytest.raises(TrashkitError, match="lies in the store"):
        new(tmp_path / "s/inside")
    (tmp_path / "s/.DS_Store").touch()
    new(tmp_path / "s", overwrite=True, manifest={})
    (tmp_path / "s/mine.csv").write_text("precious")
    new(tmp_path / "s", resume=True, manifest={})
    with pytest.raises(TrashkitError, match=r"holds mine\.csv, which is no part of a store"):
        new(tmp_path / "s", overwrite=True)
    assert (tmp_path / "s/mine.csv").read_text() == "precious"
    with pytest.raises(TrashkitError, match="is a file and no store"):
        new(photos / "a.jpg", overwrite=True)
    assert (photos / "a.jpg").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "s"]


RANK = """
import sys, numpy as np
from pathlib import Path
from trashkit.store import create_store, open_store
path, rank = Path(sys.argv[1]), int(sys.argv[2])
made = open_store(path)
writer = create_store(path, image_ids=made.image_ids, file_names=made.file_names, native_sizes=made.native_sizes,
                      classes=made.classes, size=made.size, manifest=made.manifest, resume=True)
for row in range(rank, len(made), 2):
    values = np.full((3, 8, 6), 0.2, dtype=np.float32)
    values[row % 3] = 0.6
    writer.write(row, values)
"""


def test_several_processes_write_one_store(tmp_path: Path) -> None:
    new(tmp_path / "s", count=60)
    ranks = [subprocess.Popen([sys.executable, "-c", RANK, str(tmp_path / "s"), str(rank)]) for rank in range(2)]
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    store = open_store(tmp_path / "s")
    store.require_complete()
    assert all((store.label_map(row) == row % 3).all() for row in range(60))


KILLED = """
import sys, numpy as np
from pathlib import Path
from trashkit.store import create_store
n = 500
writer = create_store(Path(sys.argv[1]), image_ids=range(n), file_names=[str(i) for i in range(n)],
                      native_sizes=[(64, 64)] * n, classes=list("abcdefghijk"), size=(64, 64), manifest={})
rng = np.random.default_rng(0)
for row in range(n):
    values = rng.random((11, 64, 64), dtype=np.float32)
    writer.write(row, values / values.sum(axis=0))
    print(row, flush=True)
"""


def test_a_kill_loses_at_most_the_image_in_flight(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "20":
            pass
        time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        last = max(map(int, process.stdout.read().split() or ["20"]))
    store = open_store(tmp_path / "s")
    done = store.done
    assert done[: last + 1].all(), "an image that was reported as written is missing"
    assert done.sum() <= last + 2
    for row in np.flatnonzero(done):
        np.testing.assert_allclose(store.read(int(row)).sum(axis=0), 1, atol=1e-5)


def change_metadata(path: Path, change: Any) -> None:
    text = json.loads((path / "zarr.json").read_text())
    change(text)
    (path / "zarr.json").write_text(json.dumps(text))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}), "packed with 'numcodecs.pic"),
        (lambda t: t.update(data_type="float64"), "float64"),
        (lambda t: t["shape"].__setitem__(0, 5), "does not fit its images"),
        (lambda t: t["chunk_grid"]["configuration"].update(chunk_shape=[2, 3, 8, 6]), "not one image each"),
        (lambda t: t["attributes"].update(image_ids=[1, 1, 2, 3]), "an image id occurs twice"),
        (lambda t: t["attributes"].update(image_ids=[1.5, 1, 2, 3]), "whole numbers or texts"),
        (lambda t: t["attributes"].update(file_names=["a", "b"]), "differ in number"),
        (lambda t: t["attributes"].update(file_names=["a", "b", "c", 4]), "must be texts"),
        (lambda t: t["attributes"].pop("classes"), "lacks 'classes'"),
        (lambda t: t["attributes"].update(version=2), "version 2"),
        (lambda t: t.update(attributes={}), "made by trashkit"),
        (lambda t: t.update(shape=[4, 3, 10**6, 10**6]), "chunks are not one"),
    ],
)
def test_foreign_or_damaged_metadata_is_refused_in_words(tmp_path: Path, change: Any, words: str) -> None:
    new(tmp_path / "s")
    change_metadata(tmp_path / "s", change)
    with pytest.raises(TrashkitError, match=words):
        open_store(tmp_path / "s")


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_what_is_no_store_is_refused(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "s").mkdir()
    if content is not None:
        (tmp_path / "s" / "zarr.json").write_text(content)
    with pytest.raises(TrashkitError, match="is no store of probabilities"):
        open_store(tmp_path / "s")
    with pytest.raises(TrashkitError, match="there is no store"):
        open_store(tmp_path / "nowhere")


@pytest.mark.parametrize("damage", [b"", b"\x28\xb5\x2f\xfd garbage", None])
def test_a_damaged_chunk_names_its_image(tmp_path: Path, damage: bytes | None) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    chunk = tmp_path / "s" / "c.1.0.0.0"
    chunk.write_bytes(chunk.read_bytes()[:-20] if damage is None else damage)
    with pytest.raises(TrashkitError, match=r"damaged.*batch_01/사진 1\.jpg"):
        open_store(tmp_path / "s").read(1)


def test_a_store_can_be_moved(tmp_path: Path) -> None:
    new(tmp_path / "s").write(0, probabilities(0))
    before = open_store(tmp_path / "s").fingerprint
    shutil.move(tmp_path / "s", tmp_path / "t")
    assert open_store(tmp_path / "t").fingerprint == before


def test_resampling_down_takes_the_pixels_that_truth_is_sampled_at() -> None:
    values = probabilities(0, (3, 16, 12))
    np.testing.assert_array_equal(resample(values, (8, 6)), values[:, ::2, ::2])
    larger = resample(values, (33, 20))
    assert larger.shape == (3, 33, 20)
    np.testing.assert_allclose(larger.sum(axis=0), 1, atol=1e-5)


def test_arguments_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differ in number"):
        new(tmp_path / "s", file_names=["a"])
    with pytest.raises(ValueError, match="no image"):
        new(tmp_path / "s", count=0)
    with pytest.raises(ValueError, match="shape"):
        new(tmp_path / "s").write(0, probabilities(0, (3, 6, 8)))


def test_codec_settings_that_zarr_cannot_follow_are_refused(tmp_path: Path) -> None:
    new(tmp_path / "s")
    change_metadata(tmp_path / "s", lambda text: text["codecs"][-1].update(configuration={"level": "much"}))
    with pytest.raises(TrashkitError, match="cannot be opened as a zarr array"):
        open_store(tmp_path / "s")
