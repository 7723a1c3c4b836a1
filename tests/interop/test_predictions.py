"""Predictions of other frameworks become stores; anything but a plain array of the right shape is refused."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.predictions import import_predictions
from trashkit.interop.registry import export
from trashkit.predictions.store import open_store

NAMES = ["batch_1/0001.jpg", "batch_2/0001.jpg", "other.png"]
SIZE = (16, 16)


def dataset() -> Dataset:
    return read_dataset(
        Coco.of(
            {
                "images": [{"id": n, "file_name": name, "width": 32, "height": 32} for n, name in enumerate(NAMES)],
                "categories": [{"id": 1, "name": "can"}, {"id": 2, "name": "cup"}],
                "annotations": [],
            }
        )
    )


def maps() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 3, (8, 8)).repeat(4, 0).repeat(4, 1).astype(np.uint8) for _ in NAMES]


def probabilities(label_map: NDArray[np.uint8], kind: str = "softmax") -> NDArray[np.float32]:
    logits = 2.0 * (label_map[None] == np.arange(3)[:, None, None]).astype(np.float32)
    if kind == "logits":
        return logits
    values: NDArray[np.float32] = np.exp(logits) / np.exp(logits).sum(axis=0)
    return values


def save(folder: Path, form: str, names: list[str] | None = None) -> Path:
    for name, label_map in zip(names or NAMES, maps(), strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if form == "png":
            Image.fromarray(label_map).save(path.with_suffix(".png"))
        elif form == "npz":
            np.savez_compressed(path.with_suffix(".npz"), label_map.astype(np.int64))
        elif form == "channels-last":
            np.save(path.with_suffix(".npy"), np.moveaxis(probabilities(label_map), 0, -1).astype(np.float16))
        else:
            np.save(path.with_suffix(".npy"), probabilities(label_map, form))
    return folder


@pytest.mark.parametrize("form", ["png", "npz", "softmax", "logits", "channels-last"])
def test_the_store_has_the_label_maps_of_the_files(tmp_path: Path, form: str) -> None:
    made = import_predictions(
        save(tmp_path / "p", form), dataset(), tmp_path / "store", logits=form == "logits", size=SIZE
    )
    store = open_store(tmp_path / "store")
    store.require_complete()
    for row, label_map in enumerate(maps()):
        np.testing.assert_array_equal(store.label_map(row), label_map[::2, ::2])
    assert sum(made.kinds.values()) == 3
    if form in ("softmax", "logits", "channels-last"):
        wanted = probabilities(maps()[0])[:, ::2, ::2]
        np.testing.assert_allclose(store.read(0), wanted, atol=0.01)


def test_predictions_of_the_mmsegmentation_export_find_their_images(tmp_path: Path) -> None:
    """Flat names, as IoUMetric writes them, with and without names.json."""
    data = dataset()
    for image in data.images:
        path = tmp_path / "photos" / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path, format="JPEG")
    export("mmsegmentation", data, tmp_path / "out", images=tmp_path / "photos")
    listed = (tmp_path / "out/splits/train.txt").read_text().split()
    assert listed == ["batch_1__0001", "batch_2__0001", "other"]
    folder = save(tmp_path / "p", "png", [f"{name}.png" for name in listed])
    for number, name_map in enumerate([None, tmp_path / "out/names.json"]):
        import_predictions(folder, data, tmp_path / f"s{number}", names=name_map, size=SIZE)
        store = open_store(tmp_path / f"s{number}")
        np.testing.assert_array_equal(store.label_map(1), maps()[1][::2, ::2])


def test_the_mmsegmentation_config_runs_and_leads_to_the_files(tmp_path: Path) -> None:
    data = dataset()
    for image in data.images:
        path = tmp_path / "photos" / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32)).save(path, format="JPEG")
    export("mmsegmentation", data, tmp_path / "o", images=tmp_path / "photos", parts={"train": [0, 2], "val": [1]})
    config: dict[str, Any] = {}
    exec((tmp_path / "o/dataset.py").read_text(), config)
    assert config["metainfo"]["classes"] == ("Background", "can", "cup")
    assert len(config["metainfo"]["palette"]) == 3
    for loader, count in (("train_dataloader", 2), ("val_dataloader", 1), ("test_dataloader", 1)):
        found = config[loader]["dataset"]
        root = Path(found["data_root"])
        names = (root / found["ann_file"]).read_text().split()
        assert len(names) == count
        for name in names:
            assert (root / found["data_prefix"]["img_path"] / (name + found["img_suffix"])).is_file()
            labels = root / found["data_prefix"]["seg_map_path"] / (name + found["seg_map_suffix"])
            with Image.open(labels) as opened:
                assert opened.mode == "P"


def test_classes_of_the_model_have_its_own_order(tmp_path: Path) -> None:
    import_predictions(
        save(tmp_path / "p", "png"), dataset(), tmp_path / "s", classes=["cup", "Background", "can"], size=SIZE
    )
    assert open_store(tmp_path / "s").classes == ("cup", "Background", "can")


def test_a_killed_import_resumes_and_refuses_other_files(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "png")
    import_predictions(folder, dataset(), tmp_path / "s", size=SIZE)
    (tmp_path / "s/c.1.0.0.0").unlink()
    import_predictions(folder, dataset(), tmp_path / "s", size=SIZE, resume=True)
    open_store(tmp_path / "s").require_complete()
    with pytest.raises(TrashkitError, match="cannot be continued"):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE, resume=True, logits=True)
    with pytest.raises(TrashkitError, match="exists"):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE)
    (folder / "other.png").write_bytes(b"damaged")
    with pytest.raises(TrashkitError, match=r"other\.png"):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE, overwrite=True)
    open_store(tmp_path / "s").require_complete()


class Bomb:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("/tmp/trashkit-was-here"),))


def hostile() -> dict[str, tuple[str, bytes, str]]:
    objects = io.BytesIO()
    np.save(objects, np.array([Bomb()], dtype=object), allow_pickle=True)
    claims = io.BytesIO()
    np.lib.format.write_array_header_1_0(claims, {"descr": "<f4", "fortran_order": False, "shape": (3, 10**6, 10**6)})
    beyond = io.BytesIO()
    np.lib.format.write_array_header_1_0(beyond, {"descr": "<f4", "fortran_order": False, "shape": (2**62, 2**62)})
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("arr_0.npy", claims.getvalue())
    several = io.BytesIO()
    np.savez(several, a=np.zeros(3), b=np.zeros(3))

    def npy(array: Any) -> bytes:
        out = io.BytesIO()
        np.save(out, array)
        return out.getvalue()

    nan = probabilities(maps()[0])
    nan[0, 0, 0] = np.nan
    return {
        "pickle": (".npy", pickle.dumps(Bomb()), "cannot be read"),
        "object array": (".npy", objects.getvalue(), "contains objects"),
        "short npy": (".npy", claims.getvalue(), "damaged"),
        "size beyond 64 bits": (".npy", beyond.getvalue(), "damaged"),
        "short npz": (".npz", packed.getvalue(), "damaged"),
        "several arrays": (".npz", several.getvalue(), "contains 2 arrays"),
        "no zip": (".npz", b"PK", "cannot be read"),
        "no png": (".png", b"not a picture", "is not a photo"),
        "other classes": (".npy", npy(np.zeros((5, 8, 8), np.float32)), r"shape \[5, 8, 8\]"),
        "class too high": (".npy", npy(np.full((32, 32), 3)), "has the class 3"),
        "negative class": (".npy", npy(np.full((32, 32), -1)), "has the class -1"),
        "undeclared logits": (".npy", npy(probabilities(maps()[0], "logits")), "do not sum to 1"),
        "rotated": (".npy", npy(np.zeros((32, 64), np.uint8)), "is 64x32"),
        "nan": (".npy", npy(nan), "NaN"),
        "float label map": (".npy", npy(np.zeros((32, 32))), "float64"),
    }


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", list(hostile()))
def test_files_that_are_not_what_they_should_be_are_refused(tmp_path: Path, case: str) -> None:
    suffix, content, words = hostile()[case]
    folder = save(tmp_path / "p", "png")
    (folder / "batch_2/0001.png").unlink()
    (folder / "batch_2/0001").with_suffix(suffix).write_bytes(content)
    with pytest.raises(TrashkitError, match=words):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE)
    assert not Path("/tmp/trashkit-was-here").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_missing_and_ambiguous_predictions_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "p", "png")
    (folder / "batch_2/0001.png").unlink()
    with pytest.raises(TrashkitError, match=r"has no predictions for 1 of 3 images, first batch_2/0001\.jpg"):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE)
    (folder / "0001.png").write_bytes((folder / "other.png").read_bytes())
    with pytest.raises(TrashkitError, match="has no predictions"):
        import_predictions(folder, dataset(), tmp_path / "s", size=SIZE)  # two images are called 0001
    (tmp_path / "n.json").write_text(json.dumps({"0001": "batch_2/0001.jpg"}))
    made = import_predictions(folder, dataset(), tmp_path / "s", size=SIZE, names=tmp_path / "n.json")
    assert made.images == 3
