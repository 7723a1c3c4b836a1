"""Training on label maps in addition to annotations: same pixels, weight per source, ignored pixels, exact resume."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from trashkit.coco import Image, read_dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.cache import JoinedCaches, content_hash, open_cache, train_layout
from trashkit.nn.training.losses import LOSSES, image_weighted_loss
from trashkit.nn.training.train import TrainOptions, train
from trashkit.nn.training.train_data import ExtraSource, TrainData
from trashkit.raster.label_maps import open_label_maps, write_label_maps
from trashkit.raster.masks import dataset_label_map, resize_nearest
from trashkit.settings.training import resolve

SIZE = (48, 48)


def maps_of(annotations: Path, path: Path, rows: range, *, ignore: bool = False, classes=None):
    dataset = read_dataset(annotations)

    def each():
        for n, image in enumerate(dataset.images[row] for row in rows):
            labels = dataset_label_map(dataset, image.row, size=SIZE)
            yield (
                Image(n, image.id, image.file_name, image.width, image.height),
                (np.full_like(labels, 255) if ignore else labels),
            )

    names = classes or dataset.classes.names
    write_label_maps(path, each(), classes=names, size=SIZE, manifest={})
    return open_label_maps(path)


def start(annotations: Path, out: Path, assignments, more, *, val=None, repeats=1, **options):
    dataset = read_dataset(annotations)
    images = repeats * dataset.images[:4]
    content = content_hash(dataset, dataset.images, annotations.parent)
    data = TrainData(dataset, annotations.parent, images, val or (), content, tuple(more))
    callbacks = {key: options.pop(key) for key in ("log", "progress", "after_epoch") if key in options}
    return train(
        resolve(None, assignments), data, out, TrainOptions(device="cpu", **options), about={},
        cache=out.parent / "cache", **callbacks,
    )  # fmt: skip


def same(one: Path, other: Path) -> bool:
    first, second = load_file(one), load_file(other)
    return all(torch.equal(first[key], second[key]) for key in first)


def test_joined_caches_hold_the_pixels_of_their_parts(drawn, tmp_path):
    dataset = read_dataset(drawn)
    maps = maps_of(drawn, tmp_path / "maps", range(8, 12))
    layout = train_layout(32, "area")
    options = {"content": "x", "budget": 10**9}
    first = open_cache(dataset, dataset.images[:3], drawn.parent, layout, tmp_path, **options)
    second = open_cache(maps, maps.images, drawn.parent, layout, tmp_path, **options)
    joined = JoinedCaches([first, second])
    assert len(joined) == 7
    assert [joined.part(n) for n in range(7)] == [0, 0, 0, 1, 1, 1, 1]
    assert len({joined.seed_key(n) for n in range(7)}) == 7
    assert [joined.seed_key(n) for n in range(3)] == [first.seed_key(n) for n in range(3)]
    for n in range(4):
        assert np.array_equal(joined.labels(3 + n), resize_nearest(maps.read(n), (64, 64)))
        assert np.array_equal(joined.photo(3 + n), second.photo(n))
    assert np.array_equal(joined.labels(2), first.labels(2))


@pytest.mark.parametrize("name", list(LOSSES))
def test_images_of_one_weight_are_one_batch_to_the_loss(name):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(5, 3, 8, 8, generator=generator, requires_grad=True)
    target = torch.randint(0, 3, (5, 8, 8), generator=generator)
    loss = LOSSES[name]
    assert torch.equal(image_weighted_loss(loss, logits, target, [1.0] * 5), loss(logits, target))
    assert torch.allclose(image_weighted_loss(loss, logits, target, [0.5] * 5), 0.5 * loss(logits, target))
    parts = (3 * loss(logits[:3], target[:3]) + 2 * 0.25 * loss(logits[3:], target[3:])) / 5
    assert torch.allclose(image_weighted_loss(loss, logits, target, [1.0, 1.0, 1.0, 0.25, 0.25]), parts)
    image_weighted_loss(loss, logits, target, [1.0, 0.0, 1.0, 0.0, 1.0]).backward()
    assert not logits.grad[[1, 3]].any()
    assert logits.grad[[0, 2, 4]].abs().sum() > 0


def test_weights_of_zero_give_no_gradient_and_no_error():
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    image_weighted_loss(LOSSES["ce"], logits, torch.zeros(2, 4, 4, dtype=torch.long), [0.0, 0.0]).backward()
    assert not logits.grad.any()


def test_a_ramp_rises_from_zero(drawn, tmp_path):
    source = ExtraSource(maps_of(drawn, tmp_path / "maps", range(8, 9)), drawn.parent, "", weight=0.8, ramp=0.5)
    assert [source.weight_at(done) for done in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([0.0, 0.4, 0.8, 0.8])


@pytest.mark.slow
def test_label_maps_are_learned(drawn, quick, tmp_path):
    """Overfit four annotated images and four with maps, and validate on those with maps."""
    maps = maps_of(drawn, tmp_path / "maps", range(4, 8))
    assignments = [
        *quick, "epochs=2", "data.augment=none", "optimiser.lr=0.02", "optimiser.encoder_lr_ratio=1", "ema=0.9",
    ]  # fmt: skip
    val = read_dataset(drawn).images[4:8]
    more = 20 * [ExtraSource(maps, drawn.parent, "")]
    with_maps = start(drawn, tmp_path / "with", assignments, more, val=val, out_of_fold=False, repeats=20)
    assert with_maps.miou > 0.85
    assert not (tmp_path / "with/oof").exists()


def test_ignored_maps_and_weight_0_have_no_effect_on_training(drawn, quick, tmp_path):
    """Maps with other labels have no effect if their weight is 0."""
    short = [*quick, "epochs=1"]
    true, void = (
        maps_of(drawn, tmp_path / name, range(6, 9), ignore=ignore) for name, ignore in (("a", False), ("b", True))
    )
    runs = [
        start(drawn, tmp_path / f"run-{n}", short, [ExtraSource(maps, drawn.parent, "", weight=weight)])
        for n, (maps, weight) in enumerate([(true, 0.0), (void, 0.0), (true, 1.0)])
    ]
    assert same(runs[0].checkpoint, runs[1].checkpoint)
    assert not same(runs[0].checkpoint, runs[2].checkpoint)


@pytest.mark.slow
def test_interrupted_and_resumed_with_a_ramp_is_the_same_run(drawn, quick, tmp_path):
    source = ExtraSource(maps_of(drawn, tmp_path / "maps", range(6, 10)), drawn.parent, "", weight=0.5, ramp=0.7)
    whole = start(drawn, tmp_path / "whole", quick, [source])

    def progress(what: str, done: int, total: int) -> None:
        if what == "training, steps" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(drawn, tmp_path / "run", quick, [source], progress=progress)
    run = start(drawn, tmp_path / "run", quick, [source], resume=True)
    assert same(run.checkpoint, whole.checkpoint)
    other = ExtraSource(source.maps, drawn.parent, "", weight=0.6, ramp=0.7)
    with pytest.raises(TrashkitError, match="label maps"):
        start(drawn, tmp_path / "run", quick, [other], resume=True)


def test_maps_of_other_classes_are_refused(drawn, quick, tmp_path):
    names = ("Background", *(f"class {n}" for n in range(10)))
    source = ExtraSource(maps_of(drawn, tmp_path / "maps", range(6, 9), classes=names), drawn.parent, "")
    with pytest.raises(TrashkitError, match="different classes"):
        start(drawn, tmp_path / "run", quick, [source])
    assert not (tmp_path / "run").exists()
