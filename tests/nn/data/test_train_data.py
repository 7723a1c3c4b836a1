"""Training with every data setting on: exact resume, invalid settings, and the preview."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from trashkit.cli.app import app
from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import content_hash
from trashkit.nn.data.datasets import check_data
from trashkit.nn.data.extra import read_extra
from trashkit.nn.experiments.preview import MOST_PHOTOS, _rarest_first, _reduced, hatch_ignored, preview
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.runs.metrics import read_metrics
from trashkit.settings.training import resolve

EVERYTHING = [
    "epochs=2", "data.augment=strong", "data.copy_paste.p=0.6", "data.oversample.threshold=0.6", "data.focus.p=0.5",
    "data.mosaic=0.3", "data.cutmix=0.3", "data.multi_scale=0.5",
]  # fmt: skip


def data_of(annotations: Path) -> TrainData:
    dataset = read_dataset(annotations)
    content = content_hash(dataset, dataset.images, annotations.parent)
    return TrainData(dataset, annotations.parent, dataset.images[:9], dataset.images[9:], content)


def start(annotations, out, quick, **more):
    config = resolve(None, [*quick, *EVERYTHING])
    callbacks = {key: more.pop(key) for key in ("log", "progress", "after_epoch") if key in more}
    options = TrainOptions(device="cpu", **more)
    return train(config, data_of(annotations), out, options, about={}, cache=out.parent / "cache", **callbacks)


@pytest.mark.slow
def test_a_resumed_run_is_the_same_with_everything_on(drawn, quick, tmp_path):
    whole = start(drawn, tmp_path / "whole", quick)
    steps = read_metrics(whole.path)[0]["step"]

    def stop(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done == steps + 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", quick, progress=stop)
    run = start(drawn, tmp_path / "run", quick, resume=True)
    assert run.checkpoint.read_bytes() == whole.checkpoint.read_bytes()
    assert [row["loss"] for row in read_metrics(run.path)] == [row["loss"] for row in read_metrics(whole.path)]


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("data.copy_paste.classes={Glas = 2.0}", 'unknown class "Glas"'),
        ("data.augment=none-such.yaml", "cannot be read"),
        ("data.multi_scale=0.1", "leaves 64 px as the only size"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_a_run_begins(drawn, quick, tmp_path, setting, said):
    config = resolve(None, [*quick, setting])
    with pytest.raises(TrashkitError, match=said):
        train(config, data_of(drawn), tmp_path / "run", TrainOptions(device="cpu"), about={}, cache=tmp_path / "cache")
    assert list(tmp_path.iterdir()) == []


def test_sizes_may_not_change_for_an_encoder_of_one_size():
    config = resolve(None, ["model.encoder=tu-maxvit_tiny_tf_224", "data.size=224", "data.multi_scale=0.3"])
    with pytest.raises(TrashkitError, match="fixed input size"):
        check_data(config, ["Background", "Glass"])


def test_the_preview_is_what_training_shows_first(drawn, quick, tmp_path):
    from trashkit.nn.data.cache import JoinedCaches, open_cache, train_layout
    from trashkit.nn.data.datasets import make_dataset, make_sampler

    data, config = data_of(drawn), resolve(None, [*quick, *EVERYTHING])
    seen, count = preview(config, data, tmp_path, count=6)
    assert count == 9
    cache = JoinedCaches(
        [open_cache(data.dataset, data.train, data.folder, train_layout(64, "area"), tmp_path / "b", content="",
                    budget=10**9)]
    )  # fmt: skip
    shown = make_dataset(config.data, data.dataset, cache, config.seed)
    draws = [draw for batch in make_sampler(config.data, data.dataset, cache, seed=config.seed) for draw in batch]
    for one, draw in zip(seen, draws[:6], strict=True):
        photo, labels = shown[draw]
        assert np.array_equal(one.photo, photo.numpy())
        assert np.array_equal(one.labels, labels.numpy())


def test_ignored_pixels_are_hatched():
    photo = np.full((40, 40, 3), 90, np.uint8)
    labels = np.zeros((40, 40), np.uint8)
    labels[:, 20:] = 255
    made = hatch_ignored(photo, labels)
    assert np.array_equal(made[:, :20], photo[:, :20])
    assert (made[:, 20:] != 90).any(axis=2).all()
    assert len(np.unique(made[:, 20:].reshape(-1, 3), axis=0)) == 2


def test_of_many_photos_those_with_rare_classes_are_drawn(tmp_path):
    total = MOST_PHOTOS + 50
    images = [{"id": n, "file_name": f"{n}.png", "width": 8, "height": 8} for n in range(total)]
    ring = [0, 0, 6, 0, 6, 6, 0, 6]
    annotations = [
        {"id": n, "image_id": n, "category_id": 2 if n in (333, 5) else 1, "segmentation": [ring], "area": 36}
        for n in range(total)
    ]
    categories = [{"id": 1, "name": "Paper"}, {"id": 2, "name": "Battery"}]
    (tmp_path / "a.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    dataset = read_dataset(tmp_path / "a.json")
    few = _rarest_first(TrainData(dataset, tmp_path, dataset.images, (), ""), MOST_PHOTOS)
    ids = [image.id for image in few]
    assert len(ids) == len(set(ids)) == MOST_PHOTOS
    assert {333, 5} <= set(ids)
    assert ids == sorted(ids)


def command(drawn, quick, *more):
    words = ["train", "--data", drawn, "--images", drawn.parent, "--device", "cpu", "--recipe", "tiny"]
    words += [word for one in quick for word in ("--set", one)]
    return CliRunner().invoke(app, [str(word) for word in [*words, *more]])


def test_the_preview_command_writes_a_sheet_or_a_page_and_no_run(drawn, quick, tmp_path):
    done = command(drawn, quick, "--preview", tmp_path / "sheet.png", "--set", "data.copy_paste.p=1", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["pictures"]) > 4
    assert cv2.imread(str(tmp_path / "sheet.png")).shape[1] > 3 * 512
    assert command(drawn, quick, "--preview", tmp_path / "sheet.png").exit_code == 2  # exists
    assert command(drawn, quick, "--preview", tmp_path / "sheet.html").exit_code == 0
    assert "data:image/jpeg" in (tmp_path / "sheet.html").read_text()
    refused = command(drawn, quick, "--preview", tmp_path / "sheet.txt")
    assert refused.exit_code == 2
    assert "has no known format" in refused.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.html", "sheet.png"]


def test_the_preview_draws_other_data_sets_too(drawn, draw_photos, quick, tmp_path):
    other = draw_photos(tmp_path / "other", 12, seed=5)
    for photo in sorted((tmp_path / "other/photos").iterdir()):
        photo.rename(photo.with_name(f"other {photo.name}"))
    other.write_text(other.read_text().replace('"photos/', '"photos/other '))
    done = command(drawn, quick, "--preview", tmp_path / "sheet.png", "--extra", f"{other}:{other.parent}", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    shown = [name.startswith("photos/other ") for name in result["pictures"]]
    assert any(shown)
    assert not all(shown)
    assert 12 < result["photos"] <= 24


def test_of_a_large_other_data_set_as_many_are_drawn_as_is_its_share(drawn, draw_photos, tmp_path, monkeypatch):
    monkeypatch.setattr("trashkit.nn.experiments.preview.MOST_PHOTOS", 9)
    other = draw_photos(tmp_path, 18, seed=5)
    data = data_of(drawn)
    extra = read_extra(f"{other}:{tmp_path}", data.dataset.classes)
    fewer = _reduced(replace(data, more=(ExtraSource(extra, tmp_path, extra.fingerprint),)))
    assert (len(fewer.train), len(fewer.more[0].maps)) == (3, 6)
    assert len({image.file_name for image in fewer.more[0].maps.images}) == 6


def test_the_suggest_command_prints_options_to_copy(drawn, quick):
    done = command(drawn, quick, "--suggest", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert {"topic", "reason", "set", "instead"} == set(result["suggestions"][0])
    resolve(None, result["together"])
    plain = command(drawn, quick, "--suggest")
    assert "\\n" not in plain.stdout
    assert "few steps" in plain.stdout
    done = command(drawn, [*quick, "seed=7"], "--suggest", "--fold", "0", "--split", "s.json")
    told = " ".join(done.output.split())
    following = told[told.index("next: ") :]
    assert "--fold 0" in following and "--split s.json" in following and "--set seed=7" in following


def test_a_run_needs_a_folder_for_it(drawn):
    done = CliRunner().invoke(app, ["train", "--data", str(drawn), "--images", str(drawn.parent)])
    assert done.exit_code == 2
    assert "training needs --out" in done.stderr
