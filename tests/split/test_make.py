"""From a data set to a split: laws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.split.files import split_problems
from trashkit.split.make import make_split, search_input
from trashkit.split.objective import WEIGHTS
from trashkit.split.peers import compare_peers
from trashkit.split.quality import IMAGE_IOU_SD, expected_sd, measure_quality

Build = Callable[..., Dataset]
QUICK = 2_000_000


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(2, 6), st.integers(12, 40), st.booleans())
def test_folds_are_a_partition_and_groups_are_not_split(
    build: Build, seed: int, folds: int, count: int, texts: bool
) -> None:
    dataset = build(count, seed=seed, ids=[f"id {n}" for n in range(count)] if texts else None)
    rng = np.random.default_rng(seed)
    # As many groups as folds at least: fewer are refused.
    drawn = np.concatenate([np.arange(folds), rng.integers(0, count, count - folds)])
    group = np.unique(drawn, return_inverse=True)[1]
    made = make_split(dataset, folds=folds, seed=seed, photo_group=group, trials=QUICK)
    ids = [image.id for image in dataset.images]
    assert split_problems(made.split, ids) == []
    assert sorted((i for fold in made.split.folds for i in fold.val), key=str) == sorted(ids, key=str)
    home = {i: k for k, fold in enumerate(made.split.folds) for i in fold.val}
    for g in range(int(group.max()) + 1):
        assert len({home[i] for i, own in zip(ids, group, strict=True) if own == g}) == 1
    assert made.split.quality["groups"]["broken"] == 0


def test_every_class_is_in_every_fold_when_there_are_enough_images(build: Build) -> None:
    for seed in range(5):
        made = make_split(build(60, seed=seed, classes=5), folds=4, trials=QUICK)
        rare = made.split.quality["per_class"]
        for row in rare.values():
            if row["images"] >= 4:
                assert min(row["support"]) >= 1


def test_a_class_that_is_too_rare_is_reported_with_its_folds(build: Build) -> None:
    dataset = build(40, seed=1, classes=2)
    keep = {a.image_row for a in dataset.annotations if a.category_id == 2}
    few = sorted(keep)[:2]
    thin = dataset.subset([n for n in range(40) if n not in keep or n in few])
    warnings = make_split(thin, folds=5, trials=QUICK).split.quality["warnings"]
    assert len(warnings) == 1
    assert warnings[0].startswith("Metal is missing from fold ")
    assert "2 images" in warnings[0]


def test_the_order_of_images_in_the_file_does_not_matter(build: Build) -> None:
    order = np.random.default_rng(1).permutation(30).tolist()
    for ids in (None, [f"photo-{n}" for n in range(30)]):
        first = make_split(build(30, ids=ids), folds=3, trials=QUICK)
        other = make_split(build(30, ids=ids, order=order), folds=3, trials=QUICK)
        assert [set(f.val) for f in first.split.folds] == [set(f.val) for f in other.split.folds]
        assert first.split.quality == other.split.quality


def test_same_seed_same_split_other_seed_other_split(build: Build) -> None:
    dataset = build(50)
    first = make_split(dataset, seed=4, trials=QUICK)
    assert make_split(dataset, seed=4, trials=QUICK).split == first.split
    assert make_split(dataset, seed=5, trials=QUICK).split.folds != first.split.folds


def test_holdout_and_repeats(build: Build) -> None:
    dataset = build(60)
    ids = [image.id for image in dataset.images]
    made = make_split(dataset, holdout=0.2, trials=QUICK)
    assert len(made.split.folds) == 1
    assert len(made.split.folds[0].val) == 12
    assert split_problems(made.split, ids) == []
    twice = make_split(dataset, folds=3, repeats=2, trials=QUICK)
    assert len(twice.split.folds) == 6
    assert split_problems(twice.split, ids) == []
    assert len(twice.split.quality["repeats"]) == 2
    assert {f.val for f in twice.split.folds[:3]} != {f.val for f in twice.split.folds[3:]}
    drawn = make_split(dataset, holdout=0.25, repeats=3, trials=QUICK)
    assert len(drawn.split.folds) == 3
    assert split_problems(drawn.split, ids) == []


def test_a_search_without_possible_exchanges_ends() -> None:
    """Two photos of a class can neither be swapped nor moved: the budget must end still."""
    photo = {"width": 100, "height": 80}
    ring = {8: [10, 10, 18, 10, 18, 18, 10, 18], 20: [10, 10, 30, 10, 30, 30, 10, 30]}
    dataset = read_dataset(
        Coco.of(
            {
                "images": [{"id": n, "file_name": f"{n}.jpg", **photo} for n in range(2)],
                "annotations": [
                    {
                        "id": n,
                        "image_id": n,
                        "category_id": 1,
                        "segmentation": [ring[side]],
                        "area": side**2,
                        "bbox": [10, 10, side, side],
                        "iscrowd": 0,
                    }
                    for n, side in enumerate(ring)
                ],
                "categories": [{"id": 1, "name": "Paper"}],
            }
        )
    )
    fold = make_split(dataset, holdout=0.2, trials=QUICK).split.folds[0]
    assert len(fold.train) == len(fold.val) == 1


def test_far_more_even_than_chance(build: Build) -> None:
    dataset = build(200, seed=2, classes=4)
    made = make_split(dataset, trials=20_000_000)
    chance = next(peer for peer in compare_peers(made.inputs, seeds=20) if peer.name == "random").quality
    assert chance is not None
    ours, theirs = made.split.quality["criteria"], chance["criteria"]
    assert ours["images"]["worst"] == 0
    assert ours["pixel_share"]["mean"] < theirs["pixel_share"]["mean"] / 10
    assert ours["pixel_share"]["worst"] < theirs["pixel_share"]["worst"] / 10
    assert ours["support"]["mean"] < theirs["support"]["mean"] / 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"folds": 1}, "cannot be split into 1 folds"),
        ({"folds": 31}, "30 images cannot be split into 31 folds"),
        ({"holdout": 1.0}, "--holdout 1 is not a valid share"),
        ({"rules": ["folder"], "folds": 5}, "4 groups of images cannot fill 5 folds"),
        ({"repeats": 0}, "must be at least 1"),
    ],
)
def test_impossible_options_are_refused(build: Build, options: dict[str, object], words: str) -> None:
    with pytest.raises(TrashkitError, match=words):
        make_split(build(30), trials=QUICK, **options)  # type: ignore[arg-type]


def test_expected_sd_agrees_with_a_simulation() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.random((40, 3)) ** 3
    overall, per_class = expected_sd(pixels, np.arange(40), np.zeros(40, dtype=np.intp), 1)
    quality = rng.normal(0.5, IMAGE_IOU_SD, (4000, 40, 3))
    scores = (quality * pixels).sum(axis=1) / pixels.sum(axis=0)
    assert per_class[0] == pytest.approx(scores.std(axis=0), rel=0.05)
    assert overall[0] == pytest.approx(scores.mean(axis=1).std(), rel=0.05)


@pytest.mark.real
def test_taco_in_ten_classes_is_as_even_as_the_best_known_search(real_data: object) -> None:
    import json
    from pathlib import Path

    from trashkit.coco import Coco, read_dataset

    folder = Path(str(real_data)) / "taco"
    taco = json.loads((folder / "annotations.json").read_text())
    names = json.loads((folder / "ten_classes.json").read_text())
    wanted = sorted(set(names.values()))
    number = {c["id"]: wanted.index(names[c["name"]]) + 1 for c in taco["categories"]}
    rows = [{**a, "id": n, "category_id": number[a["category_id"]]} for n, a in enumerate(taco["annotations"])]
    categories = [{"id": n, "name": name} for n, name in enumerate(wanted, 1)]
    dataset = read_dataset(Coco.of({"images": taco["images"], "annotations": rows, "categories": categories}))
    criteria = make_split(dataset, trials=100_000_000).split.quality["criteria"]
    assert criteria["pixel_share"]["worst"] <= 0.015
    assert criteria["pixel_share"]["mean"] <= 0.002
    assert criteria["support"]["mean"] <= 0.02
    assert criteria["images"]["worst"] == 0


def test_weights_change_the_search(build: Build) -> None:
    dataset = build(60, seed=3)
    group = np.arange(60) // 2
    plain = make_split(dataset, photo_group=group, trials=QUICK).split
    blind = make_split(dataset, photo_group=group, trials=QUICK, weights={"pixel_share": 0}).split
    off = [split.quality["criteria"]["pixel_share"]["worst"] for split in (plain, blind)]
    assert off[0] < off[1] / 1.5
    assert blind.quality["criteria"]["support"]["mean"] <= plain.quality["criteria"]["support"]["mean"]
    assert blind.source["settings"]["weights"] == {"pixel_share": 0}
    assert "weights" not in plain.source["settings"]


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ({"colour": 1.0}, "is not a criterion"),
        ({"support": -1.0}, "is not a weight"),
        ({"support": float("nan")}, "is not a weight"),
        (dict.fromkeys(WEIGHTS, 0.0), "all criteria have weight 0"),
    ],
)
def test_invalid_weights_are_refused(build: Build, weights: dict[str, float], words: str) -> None:
    with pytest.raises(TrashkitError, match=words):
        make_split(build(30), trials=QUICK, weights=weights)


def test_floors_of_a_split_with_broken_groups_are_those_of_images(build: Build) -> None:
    inputs = search_input(build(60, seed=3), photo_group=np.arange(60) // 6)
    whole = make_split(build(60, seed=3), photo_group=np.arange(60) // 6, trials=QUICK).split.quality
    broken = measure_quality(inputs.features, inputs.group, np.arange(60) % 5, inputs.shares, inputs.val_folds)
    assert broken["groups"]["broken"] == 10
    for criterion, row in broken["criteria"].items():
        assert row["worst"] is None or row["joint_floor"] <= row["worst"] + 1e-6, criterion
    assert broken["criteria"]["images"]["floor"] == 0
    assert whole["criteria"]["support"]["floor"] >= broken["criteria"]["support"]["floor"]
