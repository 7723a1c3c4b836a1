"""The store of probabilities: round trips, interruptions and damage."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.predictions.store import StoreWriter, create_store, from_stored, open_store, resample, to_stored

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
def test_written_probabilities_are_read_back(tmp_path: Path, dtype: str, tolerance: float) -> None:
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
def test_values_that_are_not_a_softmax_are_refused(tmp_path: Path, values: NDArray[Any]) -> None:
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


def test_resume_continues_where_it_stopped(tmp_path: Path) -> None:
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
        ({"classes": ("Background", "Paper", "Metal")}, "instead of Background, Paper, Metal"),
        ({"size": (6, 8)}, "6x8 uint8 instead of 8x6 uint8"),
        ({"dtype": "float16"}, "instead of 6x8 float16"),
        ({"count": 3}, "it is for 4 images instead of 3"),
        ({"file_names": ["a", "b", "c", "d"]}, r"image 0 is batch_01/사진 0.jpg \(id 10\) instead of a"),
        ({"image_ids": [10, 11, 12, 14]}, r"image 3 .* \(id 13\) instead of .* \(id 14\)"),
    ],
)
def test_resume_refuses_another_origin_naming_the_difference(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    with pytest.raises(TrashkitError, match=words):
        new(tmp_path / "s", resume=True, **changes)
    assert open_store(tmp_path / "s").done.sum() == 1


def test_an_unfinished_store_is_refused_with_the_way_to_resume(tmp_path: Path) -> None:
    with new(tmp_path / "s") as writer:
        writer.write(0, probabilities(0))
    with pytest.raises(TrashkitError, match="unfinished") as error:
        new(tmp_path / "s")
    assert "--resume" in error.value.hint
    with new(tmp_path / "s", resume=True) as writer:
        for row in range(1, 4):
            writer.write(row, probabilities(row))
    with pytest.raises(TrashkitError, match="already exists") as error:
        new(tmp_path / "s")
    assert "--resume" not in error.value.hint


def test_a_size_that_readers_refuse_is_refused_before_anything_is_written(tmp_path: Path) -> None:
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
    with pytest.raises(TrashkitError, match="is not a store"):
        new(photos, overwrite=True)
    assert (photos / "a.jpg").read_bytes() == b"precious"
    with pytest.raises(TrashkitError, match="is part of the store"):
        new(tmp_path / "s/inside")
    (tmp_path / "s/.DS_Store").touch()
    new(tmp_path / "s", overwrite=True, manifest={})
    (tmp_path / "s/mine.csv").write_text("precious")
    new(tmp_path / "s", resume=True, manifest={})
    with pytest.raises(TrashkitError, match=r"holds mine\.csv, which is not part of a store"):
        new(tmp_path / "s", overwrite=True)
    assert (tmp_path / "s/mine.csv").read_text() == "precious"
    with pytest.raises(TrashkitError, match="is not a store"):
        new(photos / "a.jpg", overwrite=True)
    assert (photos / "a.jpg").read_bytes() == b"precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "s"]


RANK = """
import sys, numpy as np
from pathlib import Path
from trashkit.predictions.store import create_store, open_store
path, rank = Path(sys.argv[1]), int(sys.argv[2])
made = open_store(path)
writer = create_store(path, image_ids=made.image_ids, file_names=made.file_names, native_sizes=made.native_sizes,
                      classes=made.classes, size=made.size, manifest=made.manifest, resume=True)
for row in range(rank, len(made), 2):
    values = np.full((3, 8, 6), 0.2, dtype=np.float32)
    values[row % 3] = 0.6
    writer.write(row, values)
"""


def test_a_part_that_another_process_has_just_renamed(tmp_path: Path) -> None:
    new(tmp_path / "s")
    (tmp_path / "s" / "c.0.0.0.x.partial").symlink_to(tmp_path / "gone")  # listed, but its state cannot be read
    new(tmp_path / "s", resume=True)


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
from trashkit.predictions.store import create_store
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
        (
            lambda t: t["codecs"].append({"name": "numcodecs.pickle", "configuration": {}}),
            "compressed with 'numcodecs.pic",
        ),
        (lambda t: t.update(data_type="float64"), "float64"),
        (lambda t: t["shape"].__setitem__(0, 5), "does not fit its images"),
        (lambda t: t["chunk_grid"]["configuration"].update(chunk_shape=[2, 3, 8, 6]), "not one image each"),
        (lambda t: t["attributes"].update(image_ids=[1, 1, 2, 3]), "an image id occurs twice"),
        (lambda t: t["attributes"].update(image_ids=[1.5, 1, 2, 3]), r"image_ids\[0\]: expected"),
        (lambda t: t["attributes"].update(file_names=["a", "b"]), "differ in number"),
        (lambda t: t["attributes"].update(file_names=["a", "b", "c", 4]), r"file_names\[3\]: expected str"),
        (lambda t: t["attributes"].pop("classes"), "missing required field classes"),
        (lambda t: t["attributes"].update(version=2), "version 2"),
        (lambda t: t.update(attributes={}), "made by trashkit"),
        (lambda t: t.update(shape=[4, 3, 10**6, 10**6]), "chunks are not one"),
        (lambda t: t["attributes"].update(image_ids=[[], 1, 2, 3]), r"image_ids\[0\]: expected"),
        (lambda t: t["attributes"].update(classes=["a", "b", {}]), r"classes\[2\]: expected str"),
        (lambda t: t.update(shape=[4, 3, 8]), "at shape: "),
        (lambda t: t.update(shape=[4, 3, 8, "6"]), r"at shape\[3\]: expected int, got str"),
        (lambda t: t.update(codecs=[1]), r"at codecs\[0\]"),
        (lambda t: t.update(codecs=[]), "not packed with zstd alone"),
        (lambda t: t["codecs"].append({"name": "gzip", "configuration": {"level": 5}}), "compressed with 'gzip'"),
        (lambda t: t["codecs"].append(t["codecs"][1]), "not packed with zstd alone"),
        (lambda t: t["attributes"].update(manifest=[]), r"at attributes\.manifest: expected object"),
        (lambda t: t["attributes"].update(native_sizes=[[8, 6]] * 3 + [[8]]), r"at attributes\.native_sizes\[3\]"),
        (lambda t: t["attributes"].update(native_sizes=[[8, 6]] * 3 + [[8, 2**70]]), "too large"),
        (lambda t: t["attributes"].update(native_sizes=[[8, 6]] * 3 + [[0, 6]]), "not positive"),
        (
            lambda t: t["attributes"].update(native_sizes=[[8, 6]] * 3 + [[60_000, 60_000]]),
            r"native size of .*, 60000x60000, is out of range",
        ),
        (
            lambda t: t["attributes"].update(native_sizes=[[8, 6]] * 3 + [[1, 70_000]]),
            r"native size of .*, 70000x1, is out of range",
        ),
        (lambda t: t.update(data_type={"name": "uint8"}), "not uint8"),
        (lambda t: t["attributes"]["manifest"].update(a=float("nan")), "not finite"),
        (lambda t: t["attributes"]["manifest"].update(a="\ud800"), "unpaired surrogate"),
        (lambda t: t["attributes"].update(classes=["a", "b", "\udfff"]), "unpaired surrogate"),
    ],
)
def test_foreign_or_damaged_metadata_is_refused_with_an_explanation(tmp_path: Path, change: Any, words: str) -> None:
    new(tmp_path / "s")
    change_metadata(tmp_path / "s", change)
    with pytest.raises(TrashkitError, match=words):
        open_store(tmp_path / "s")


@pytest.mark.parametrize("content", [None, "", "[]", "{", "[" * 9000, "9" * 5000, "\ud800"], ids=range(7))
def test_folders_that_are_not_stores_are_refused(tmp_path: Path, content: str | None) -> None:
    (tmp_path / "s").mkdir()
    if content is not None:
        (tmp_path / "s" / "zarr.json").write_text(content, errors="surrogatepass")
    with pytest.raises(TrashkitError, match="is not a probability store"):
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


@pytest.mark.parametrize("row", [-1, 4, 99])
def test_rows_outside_the_store_are_refused(tmp_path: Path, row: int) -> None:
    with new(tmp_path / "s") as writer:
        for inside in range(4):
            writer.write(inside, probabilities(inside))
        with pytest.raises(IndexError, match=f"has no row {row}: its 4 images are rows 0 to 3"):
            writer.write(row, probabilities(0))
    store = open_store(str(tmp_path / "s"))
    for get in (store.stored, store.read, store.label_map):
        with pytest.raises(IndexError, match=f"has no row {row}"):
            get(row)


def test_images_larger_than_photos_are_refused_before_a_store_is_made(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="60000x60000 pixels, more than photos can have"):
        new(tmp_path / "s", native_sizes=[(60_000, 60_000)] * 4)
    assert not (tmp_path / "s").exists()


def zstd_frame(blocks: int, declared: int | None) -> bytes:
    """A frame that unpacks to `blocks` times 128 KiB of zeros, and says it is `declared` bytes."""
    head = bytes([0x00, 0x58]) if declared is None else bytes([0xE0]) + declared.to_bytes(8, "little")
    block = ((1 << 17) << 3) | (1 << 1)
    body = b"".join((block | (n == blocks - 1)).to_bytes(3, "little") + b"\0" for n in range(blocks))
    return b"\x28\xb5\x2f\xfd" + head + body


@pytest.mark.parametrize(
    ("blocks", "declared"),
    [(1, 144), (1, None), (20_000, 144), (20_000, None), (1, 1 << 45), (1, (1 << 64) - 1), (1, 0)],
)
def test_chunks_never_unpack_to_more_than_an_image(tmp_path: Path, blocks: int, declared: int | None) -> None:
    new(tmp_path / "s").write(1, probabilities(1))
    chunk = tmp_path / "s" / "c.1.0.0.0"
    chunk.write_bytes(zstd_frame(blocks, declared))
    tracemalloc.start()
    with pytest.raises(TrashkitError, match="is damaged"):
        open_store(tmp_path / "s").read(1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 << 20


def test_a_chunk_of_fewer_bytes_is_damaged(tmp_path: Path) -> None:
    from numcodecs.zstd import Zstd

    new(tmp_path / "s").write(1, probabilities(1))
    (tmp_path / "s" / "c.1.0.0.0").write_bytes(Zstd().encode(bytes(143)))
    with pytest.raises(TrashkitError, match="is damaged"):
        open_store(tmp_path / "s").read(1)


def test_a_pipe_instead_of_a_chunk_is_not_waited_for(tmp_path: Path) -> None:
    new(tmp_path / "s")
    os.mkfifo(tmp_path / "s" / "c.1.0.0.0")
    with pytest.raises(TrashkitError, match="is damaged"):
        open_store(tmp_path / "s").read(1)


@pytest.mark.parametrize("row", [0, 2])
def test_an_ensemble_of_a_damaged_store_leaves_nothing(tmp_path: Path, row: int) -> None:
    from trashkit.ensemble import ensemble
    from trashkit.predictions.postprocess import parse_steps, postprocess

    for name in ("a", "b"):
        with new(tmp_path / name) as writer:
            for n in range(4):
                writer.write(n, probabilities(n))
    (tmp_path / "b" / f"c.{row}.0.0.0").write_bytes(b"damaged")
    a, b = open_store(tmp_path / "a"), open_store(tmp_path / "b")
    with pytest.raises(TrashkitError, match="is damaged"):
        ensemble([a, b], tmp_path / "out")
    with pytest.raises(TrashkitError, match="is damaged"):
        postprocess(b, tmp_path / "out", parse_steps(["despeckle=3"], CLASSES))
    assert {one.name for one in tmp_path.iterdir()} == {"a", "b"}
