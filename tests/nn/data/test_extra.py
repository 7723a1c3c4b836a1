"""Additional training data sets: classes by name, weights, and never a validation photo."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import open_cache, train_layout
from trashkit.nn.data.extra import hashes_of, read_extra
from trashkit.nn.experiments.folds import extra_sources, plan_jobs, train_jobs
from trashkit.nn.training.train import TrainOptions
from trashkit.nn.training.train_data import TrainData
from trashkit.raster.masks import dataset_label_map
from trashkit.runs.run import read_run


def renamed(annotations, names):
    content = json.loads(annotations.read_text())
    for category in content["categories"]:
        category["id"] += 100
        category["name"] = names.get(category["name"], category["name"])
    for annotation in content["annotations"]:
        annotation["category_id"] += 100
    annotations.write_text(json.dumps(content))
    return annotations


def test_classes_are_matched_by_name_and_others_are_ignored(drawn, draw_photos, tmp_path):
    other = renamed(draw_photos(tmp_path, 6, seed=3), {"Metal": "GLASS", "Glass": "metal", "Plastic": "Rubber"})
    own = read_dataset(drawn)
    extra = read_extra(f"{other}:{tmp_path}:0.25", own.classes)
    assert extra.weight == 0.25
    assert extra.left_out == ("Rubber",)
    assert extra.classes == own.classes.names
    plain = read_dataset(other, classes="own")
    cache = open_cache(extra, extra.images, tmp_path, train_layout(48, "area"), tmp_path / "c", content="", budget=0)
    for n, image in enumerate(extra.images):
        before = dataset_label_map(plain, image.row)
        table = np.array([0, 5, 4, 255], np.uint8)  # own order: GLASS, metal, Rubber
        assert np.array_equal(cache.labels(n), table[before])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{json}", "does not name an annotation file"),
        ("{json}:{folder}:-1", "the weight is -1"),
        ("{json}:{folder}/none:0.5", "does not exist"),
        ("{folder}/none.json:{folder}", "none.json"),
    ],
)
def test_files_that_are_not_data_sets_are_refused_by_name(drawn, text, said):
    with pytest.raises(TrashkitError, match=said):
        read_extra(text.format(json=drawn, folder=drawn.parent), read_dataset(drawn).classes)


def test_a_set_without_a_common_class_is_refused(drawn, draw_photos, tmp_path):
    other = renamed(draw_photos(tmp_path, 2), {"Metal": "Cat", "Glass": "Dog", "Plastic": "Cow"})
    with pytest.raises(TrashkitError, match="shares no class"):
        read_extra(f"{other}:{tmp_path}", read_dataset(drawn).classes)


@pytest.mark.slow
def test_validation_photos_are_left_out_by_their_bytes(drawn, tmp_path, quick):
    """The same photos under other names must not come back through the side door."""
    content = json.loads(drawn.read_text())
    for image in content["images"]:
        name = f"copy-{image['id']}.png"
        shutil.copy(drawn.parent / image["file_name"], tmp_path / name)
        image["file_name"] = name
    (tmp_path / "ann.json").write_text(json.dumps(content))
    dataset = read_dataset(drawn)
    ids = [image.id for image in dataset.images]
    extra = read_extra(f"{tmp_path / 'ann.json'}:{tmp_path}:0.5", dataset.classes)
    from trashkit.settings.training import resolve

    config = resolve(None, [*quick, "epochs=1"])
    jobs = plan_jobs({"quick": config}, {None: (ids[:8], ids[8:])}, dataset, tmp_path / "run")
    validated = set(hashes_of(jobs[0].val, drawn.parent))
    more = extra_sources([extra], jobs[0], drawn.parent)
    assert len(more) == 1
    assert len(more[0].maps) == 8
    assert not validated & set(more[0].maps.hashes)
    assert TrainData(dataset, drawn.parent, jobs[0].train, jobs[0].val, "", more).count == 16
    kept = tmp_path / "kept"
    options = TrainOptions(device="cpu")
    runs = train_jobs(jobs, dataset, drawn.parent, tmp_path / "run", options, about={}, extra=[extra], cache=kept)
    inputs = read_run(runs[0].path).manifest["inputs"]
    assert inputs["label_maps"][0]["weight"] == 0.5
    assert len(inputs["label_maps"][0]["files"]) == 8
    made = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(made) == 3
    train_jobs(
        plan_jobs({"quick": config}, {None: (ids[:8], ids[8:])}, dataset, tmp_path / "again"),
        dataset, drawn.parent, tmp_path / "again", options, about={}, extra=[extra], cache=kept,
    )  # fmt: skip
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == made
