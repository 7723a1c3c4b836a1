"""Every format: round trips give the same label maps, and damaged files are refused by name."""

from __future__ import annotations

import json
import random
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import (
    KINDS,
    ONE_ANNOTATION,
    OUTLINES,
    dataset_of,
    label_maps,
    round_trip,
    small,
    value_of,
    write_photos,
)
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.registry import FORMATS, export, import_annotations
from trashkit.raster.masks import dataset_label_map, rle_from_mask


@pytest.mark.parametrize("command", ["import", "export"])
def test_help_lists_every_format(command: str) -> None:
    shown = CliRunner().invoke(app, ["data", command, "--help"], env={"COLUMNS": "200"}).output
    missing = [name for name in FORMATS if not re.search(rf"\b{name}\b", shown)]
    assert not missing, f"name them in the help of `data {command}` (trashkit/cli/annotations/data.py)"


def test_an_unknown_format_is_refused_with_the_closest_name(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["data", "import", "labelmee", str(tmp_path), "--out", str(tmp_path / "a.json")])
    assert done.exit_code == 2
    assert "choices: labelme," in done.output


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Up to two images with up to five annotations: polygons of several rings beyond the border, masks with holes."""
    sizes = [(draw(st.integers(3, 24)), draw(st.integers(3, 24))) for _ in range(draw(st.integers(1, 2)))]
    shapes: list[tuple[int, int, Any, float | None]] = []
    for image, (height, width) in enumerate(sizes):
        for _ in range(draw(st.integers(0, 5))):
            if draw(st.booleans()):
                coordinate = st.floats(-2, max(height, width) + 2).map(lambda value: round(value, 3))
                ring = st.lists(coordinate, min_size=6, max_size=14).map(lambda flat: flat[: len(flat) // 2 * 2])
                segmentation: Any = draw(st.lists(ring, min_size=1, max_size=3))
            else:
                rng = np.random.default_rng(draw(st.integers(0, 1000)))
                segmentation = rle_from_mask(rng.random((height, width)) < draw(st.sampled_from([0.3, 0.8])))
            area = draw(st.one_of(st.none(), st.floats(0, 100)))
            shapes.append((image, draw(st.integers(1, 4)), segmentation, area))
    return dataset_of(value_of(sizes, shapes))


@pytest.mark.parametrize("kind", KINDS)
@given(dataset=datasets())
@settings(max_examples=12, deadline=None)
def test_write_then_read_gives_the_same_label_maps(kind: str, dataset: Dataset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        back = round_trip(kind, dataset, Path(folder))
        names = dataset.classes.names
        assert len(back) == len(dataset), "other photos come back than were written"
        assert set(back.classes.names) == set(names), "other classes come back: `write` must store all of their names"
        for wanted, found in zip(label_maps(dataset, names), label_maps(back, names), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", OUTLINES)
def test_outlines_are_unchanged_without_overlaps(kind: str, tmp_path: Path) -> None:
    ring = [2.125, 2.0, 14.5, 2.25, 14.0, 15.5, 2.0, 14.0]
    back = round_trip(kind, dataset_of(value_of([(20, 24)], [(0, 2, [ring], None)])), tmp_path)
    assert [annotation.segmentation for annotation in back.annotations] == [[ring]]


@pytest.mark.parametrize("kind", ONE_ANNOTATION)
def test_holes_and_parts_stay_one_annotation(kind: str, tmp_path: Path) -> None:
    data = small()
    two = data.subset([1])
    covered = np.zeros((20, 20), np.uint8)
    covered[2:16, 2:16], covered[5:9, 5:9], covered[11:13, 11:13] = 1, 0, 0
    holed = dataset_of(value_of([(20, 20)], [(0, 1, rle_from_mask(covered), None)]))
    assert len(round_trip(kind, holed, tmp_path / "a").annotations) == 1
    assert len(round_trip(kind, two, tmp_path / "b").annotations) == len(two.annotations)


@pytest.mark.parametrize("kind", KINDS)
def test_splits_become_the_parts_of_the_format(kind: str, tmp_path: Path) -> None:
    data = small()
    photos = write_photos(tmp_path / "photos", data)
    made = export(kind, data, tmp_path / "out", images=photos, parts={"train": [10, 12], "val": [11]})
    assert made.images == {"train": 2, "val": 1}
    if kind == "coco":
        assert len(read_dataset(tmp_path / "out/val.json")) == 1
        return
    import_annotations(kind, tmp_path / "out", tmp_path / "back.json")
    back = read_dataset(tmp_path / "back.json")
    found = sorted(dataset_label_map(back, image.row).shape for image in back.images)
    assert found == [(16, 16), (20, 24), (21, 19)]


@pytest.mark.parametrize("kind", KINDS)
def test_failures_leave_nothing_behind(kind: str, tmp_path: Path) -> None:
    data = small()
    photos = write_photos(tmp_path / "photos", data)
    (photos / "batch_2/0002.jpg").unlink()
    with pytest.raises(TrashkitError, match=r"0002\.jpg does not exist"):
        export(kind, data, tmp_path / "out", images=photos)
    (tmp_path / "theirs").mkdir()
    with pytest.raises(TrashkitError):
        import_annotations(kind, tmp_path / "theirs", tmp_path / "back.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "theirs"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_by_name_and_never_crash(kind: str, tmp_path: Path) -> None:
    data = small()
    export(kind, data, tmp_path / "sound", images=write_photos(tmp_path / "photos", data))
    rng = random.Random(kind)
    files = [path for path in sorted((tmp_path / "sound").rglob("*")) if path.is_file()]
    labels = [path for path in files if path.suffix.lower() not in (".jpg", ".jpeg")]  # everything but photos
    assert labels
    refused = 0
    for trial in range(12):
        broken = tmp_path / f"broken-{trial}"
        shutil.copytree(tmp_path / "sound", broken)
        path = broken / rng.choice(labels).relative_to(tmp_path / "sound")
        content = bytearray(path.read_bytes())
        for _ in range(rng.randint(1, 6)):
            place = rng.randrange(len(content)) if content else 0
            content[place : place + rng.randint(0, 4)] = rng.randbytes(rng.randint(0, 4))
        path.write_bytes(content[: rng.choice([len(content), rng.randrange(len(content) + 1)])])
        try:
            import_annotations(kind, broken / "train.json" if kind == "coco" else broken, tmp_path / "back.json")
            (tmp_path / "back.json").unlink()
        except TrashkitError as error:
            refused += 1
            assert error.message
            assert "\n" not in error.message
            assert not (tmp_path / "back.json").exists()
        except Exception as error:
            pytest.fail(f"{path.name}, damaged, makes the reader crash with {error!r}: raise a TrashkitError instead")
        shutil.rmtree(broken)
    assert refused


def places_in(value: Any, path: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """The first value of each path of a JSON value: the path, the list or object that it is in, and its key."""
    entries = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, item in entries:
        below = f"{path}.{key}" if isinstance(value, dict) else f"{path}[]"
        yield below, value, key
        yield from places_in(item, below)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "coco"])
def test_json_with_missing_and_unexpected_values_is_refused_or_skipped(kind: str, tmp_path: Path) -> None:
    data = small().subset([0])
    export(kind, data, tmp_path / "sound", images=write_photos(tmp_path / "photos", data))
    for path in sorted((tmp_path / "sound").rglob("*.json")):
        text = path.read_text(encoding="utf-8")
        for place, _, _ in list(places_in(json.loads(text))):
            for unexpected in ("deleted", None, -1, 1e300, "x", [], ["x"], {}):
                value = json.loads(text)
                parent, key = next((node, at) for name, node, at in places_in(value) if name == place)
                parent[key] = unexpected
                if unexpected == "deleted":
                    del parent[key]
                path.write_text(json.dumps(value), encoding="utf-8")
                try:
                    import_annotations(kind, tmp_path / "sound", tmp_path / "back.json", overwrite=True)
                except TrashkitError as error:
                    assert "\n" not in error.message
                except Exception as error:
                    pytest.fail(f"{path.name}: {place} = {unexpected!r} makes the reader crash with {error!r}")
        path.write_text(text, encoding="utf-8")


def test_large_photos_are_exact(tmp_path: Path) -> None:
    """A ring with a hole at 1500x2000: joined rings are exact far from the origin, too."""
    covered = np.zeros((1500, 2000), np.uint8)
    cv2.circle(covered, (1207, 801), 500, 1, -1)
    cv2.circle(covered, (1250, 850), 170, 0, -1)
    cv2.circle(covered, (1000, 650), 70, 0, -1)
    data = dataset_of(value_of([(1500, 2000)], [(0, 1, rle_from_mask(covered), None)]))
    back = round_trip("yolo", data, tmp_path)
    assert len(back.annotations) == 1
    np.testing.assert_array_equal(dataset_label_map(back, 0), covered)


@pytest.mark.real
@pytest.mark.parametrize("kind", ["yolo", "voc", "labelme"])
def test_real_photos_with_and_without_exif_rotation(kind: str, real_data: Path, tmp_path: Path) -> None:
    """Litter photos of different sizes; six have an EXIF rotation, one of which was annotated unrotated."""
    data = read_dataset(real_data / "litter/annotations.json")
    made = export(kind, data, tmp_path / "out", images=real_data / "litter")
    assert any(line.startswith("6 photos were rotated") for line in made.notes)
    import_annotations(kind, tmp_path / "out", tmp_path / "back.json", classes="official")
    back = read_dataset(tmp_path / "back.json")
    wanted = sorted(dataset_label_map(data, image.row).tobytes() for image in data.images)
    assert sorted(dataset_label_map(back, image.row).tobytes() for image in back.images) == wanted
