"""Checking splits of trashkit and other tools."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.finding import Severity
from trashkit.split.check import check_split, fold_rounds
from trashkit.split.files import Fold, Split
from trashkit.split.make import make_split
from trashkit.split.page import split_page

Build = Callable[..., Dataset]


def test_own_splits_pass_with_the_report_they_carry(build: Build) -> None:
    dataset = build(40)
    for options in ({"folds": 4}, {"holdout": 0.25}, {"folds": 2, "rules": ["field:place"]}):
        made = make_split(dataset, trials=500_000, **options)  # type: ignore[arg-type]
        checked = check_split(made.split, dataset, rules=options.get("rules", ()))  # type: ignore[arg-type]
        assert checked.passed
        assert checked.quality[0]["per_class"] == made.split.quality["per_class"]
        assert checked.quality[0]["folds"] == made.split.quality["folds"]


def test_a_broken_group_is_a_leak_with_its_images(build: Build) -> None:
    dataset = build(20)
    ids = [image.id for image in dataset.images]
    group = np.arange(20)
    group[7] = group[3]
    split = Split((Fold(tuple(i for i in ids if i != ids[3]), (ids[3],)),))
    assert check_split(split, dataset).passed
    checked = check_split(split, dataset, photo_group=group)
    assert not checked.passed
    leak = next(f for f in checked.findings if f.severity is Severity.ERROR)
    assert (leak.code, leak.row, leak.related) == ("leak", 3, (7,))
    assert checked.quality[0]["groups"]["broken"] == 1


def test_an_unsound_split_fails_without_a_report(build: Build) -> None:
    dataset = build(6)
    ids = [image.id for image in dataset.images]
    checked = check_split(Split((Fold(tuple(ids), (ids[0],)),)), dataset)
    assert not checked.passed
    assert checked.quality == ()


def test_repeats_are_reported_apart(build: Build) -> None:
    dataset = build(30)
    made = make_split(dataset, folds=3, repeats=2, trials=500_000)
    assert [len(r) for r in fold_rounds(made.split)] == [3, 3]
    assert len(check_split(made.split, dataset).quality) == 2
    drawn = make_split(dataset, holdout=0.2, repeats=3, trials=500_000)
    assert [len(r) for r in fold_rounds(drawn.split)] == [1, 1, 1]


def test_the_page_names_classes_and_escapes_them(build: Build) -> None:
    quality = dict(make_split(build(30), folds=3, trials=500_000).split.quality)
    quality["per_class"] = {"<b>Paper</b>": next(iter(quality["per_class"].values()))}
    page = split_page(quality, title="Split of <x>")
    assert "&lt;b&gt;Paper&lt;/b&gt;" in page
    assert "<b>Paper</b>" not in page
    assert "fold 2" in page


def test_instances_are_reported_for_each_fold_with_an_explanation() -> None:
    rows = [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 100} for n in range(30)]
    homes = [*range(30), *[7] * 40]
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "area": 40.5}
        for n, image in enumerate(homes)
    ]
    value = {"images": rows, "annotations": annotations, "categories": [{"id": 1, "name": "Glass"}]}
    quality = make_split(read_dataset(Coco.of(value)), folds=5, trials=500_000).split.quality
    row = quality["per_class"]["Glass"]
    assert sum(row["instances_held"]) == row["instances"] == 70
    assert row["instances_off"] == pytest.approx([held / 14 - 1 for held in row["instances_held"]], abs=1e-6)
    # The fold of photo 7 needs five more of the 30 photos: 41 + 5 instances, where 14 are its share.
    assert row["instances_deviation"]["joint_floor"] == pytest.approx(46 / 14 - 1, abs=1e-6)
    assert row["instances_deviation"]["floor"] == pytest.approx(41 / 14 - 1, abs=1e-6)
    assert any("Glass, instances" in line and "59% of all" in line for line in quality["explained"])
    assert "Glass, instances" in split_page(quality, title="x")


def test_no_bound_is_above_what_the_split_reaches() -> None:
    """A fold of one photo holds fewer instances than any that also gets its share of the photos."""
    rows = [{"id": n, "file_name": f"{n}.jpg", "width": 100, "height": 100} for n in range(30)]
    annotations = [
        {"id": n, "image_id": image, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]], "area": 40.5}
        for n, image in enumerate([*range(30), *[7] * 40])
    ]
    dataset = read_dataset(
        Coco.of({"images": rows, "annotations": annotations, "categories": [{"id": 1, "name": "Glass"}]})
    )
    others = [n for n in range(30) if n != 7]
    parts = [[7], *(others[n::4] for n in range(4))]
    folds = tuple(Fold(tuple(n for n in range(30) if n not in part), tuple(part)) for part in parts)
    split = replace(make_split(dataset, folds=5, trials=100_000).split, folds=folds)
    quality = check_split(split, dataset).quality[0]
    deviation = quality["per_class"]["Glass"]["instances_deviation"]
    assert deviation["joint_floor"] <= deviation["worst"] == pytest.approx(41 / 14 - 1, abs=1e-6)
    line = next(line for line in quality["explained"] if line.startswith("Glass, instances"))
    off, bound = (float(number) for number in re.findall(r"([\d.]+) %", line)[-2:])
    assert bound <= off


def test_other_splitters_are_measured_by_the_same_report(build: Build) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("iterstrat")
    from trashkit.split.peers import compare_peers

    made = make_split(build(60), folds=3, rules=["field:place"], trials=500_000)
    peers = {peer.name: peer for peer in compare_peers(made.inputs, seeds=3)}
    assert list(peers) == ["random", "StratifiedGroupKFold", "MultilabelStratifiedKFold"]
    for peer in peers.values():
        assert peer.quality is not None
        assert sum(fold["images"] for fold in peer.quality["folds"]) == 60
    assert peers["random"].quality["groups"]["broken"] == 0  # type: ignore[index]
    assert peers["StratifiedGroupKFold"].quality["groups"]["broken"] == 0  # type: ignore[index]
    assert peers["MultilabelStratifiedKFold"].quality["groups"]["broken"] > 0  # type: ignore[index]


def test_a_missing_splitter_is_reported_with_its_install_command(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from trashkit.split.peers import compare_peers

    monkeypatch.setitem(sys.modules, "iterstrat.ml_stratifiers", None)
    made = make_split(build(20), folds=2, trials=500_000)
    last = compare_peers(made.inputs, seeds=2)[-1]
    assert last.quality is None
    assert last.missing == "pip install 'trashkit[peers]'"
