"""Suggestions follow from counts, and can be copied unchanged."""

from __future__ import annotations

import json

import numpy as np
import pytest

from trashkit.coco import read_dataset
from trashkit.metrics.scores import Confusion
from trashkit.nn.data.sampler import classes_present, repeat_factors
from trashkit.nn.experiments.suggest import (
    Brightness,
    Facts,
    area_shares,
    collect_facts,
    measure_brightness,
    merged_settings,
    suggest,
)
from trashkit.nn.training.choices import setting_choices
from trashkit.settings.training import resolve


@pytest.fixture
def facts(drawn):
    dataset = read_dataset(drawn)
    return lambda **given: Facts(dataset, resolve(None, ["data.augment=strong", "epochs=200"]), **given)


def topics(found):
    return {one.topic: one for one in found}


def assert_typed(found):
    """Every setting is valid for training, alone and all together."""
    for one in found:
        assert one.settings or one.instead
        for setting in one.settings:
            resolve(None, [setting], choices=setting_choices())
    resolve(None, merged_settings(found), choices=setting_choices())


def rare(drawn, place):
    """The drawn set with Glass kept in one photo alone."""
    content = json.loads(drawn.read_text())
    kept, seen = [], 0
    for annotation in content["annotations"]:
        seen += annotation["category_id"] == 5
        if annotation["category_id"] != 5 or seen == 1:
            kept.append(annotation)
    content["annotations"] = kept
    (place / "rare.json").write_text(json.dumps(content))
    return read_dataset(place / "rare.json")


def test_area_shares_are_pixels(drawn):
    dataset = read_dataset(drawn)
    boxes = [a.bbox[2] * a.bbox[3] / 96**2 for a in dataset.annotations]
    assert area_shares(dataset) == pytest.approx(boxes)


def test_a_rare_class_is_named_with_its_numbers(drawn, tmp_path):
    dataset = rare(drawn, tmp_path)
    found = suggest(collect_facts(dataset, resolve(None, ["epochs=200"])))
    assert_typed(found)
    by = topics(found)
    assert "Glass in 1 of 12 photos" in by["rare classes"].reason
    assert by["rare classes"].settings == ("data.oversample.threshold=0.34",)
    assert "photos of Glass would be shown 2.0 times as often" in by["rare classes"].reason
    factors = repeat_factors(classes_present(dataset, dataset.images), 0.34, 8.0)
    (image,) = [a.image_row for a in dataset.annotations if a.class_index == 5]
    assert factors[image] == pytest.approx(2.0, abs=0.05)
    assert "Glass (1 in 1 photo)" in by["unmeasurable classes"].reason
    assert "Glass has 1 annotation," in by["few objects"].reason
    assert "Battery" in by["absent classes"].reason


def test_settings_that_a_run_already_has_are_not_suggested(drawn, tmp_path):
    dataset = rare(drawn, tmp_path)
    config = resolve(None, ["epochs=200", "data.oversample.threshold=0.34"])
    assert "rare classes" not in topics(suggest(collect_facts(dataset, config)))


def test_errors_name_missed_confused_and_weak_classes(facts):
    matrix = np.zeros((11, 11), np.int64)
    matrix[0, 0] = 10**6
    for n, right in ((4, 90_000), (5, 50_000), (6, 80_000)):
        matrix[n, n] = right
    matrix[5, 4], matrix[6, 0], matrix[1, 2] = 40_000, 30_000, 500  # class 1 has too few pixels to be judged
    found = suggest(facts(errors=Confusion(matrix, facts().dataset.classes.names)))
    assert_typed(found)
    by = topics(found)
    assert "44% of Glass is predicted as Metal" in by["confused classes"].reason
    assert 'data.copy_paste.classes={"Glass" = 2.0}' in by["confused classes"].settings
    assert "27% of Plastic is predicted as background" in by["missed objects"].reason
    assert "General trash" not in by["confused classes"].reason
    assert not {"missed objects", "confused classes", "weak classes"} & set(topics(suggest(facts())))


def test_small_objects_ask_for_a_size_that_shows_them(facts):
    areas = np.full(40, (10 / 300) ** 2)
    dataset = facts().dataset
    config = resolve(None, ["data.size=160", "data.augment=strong", "epochs=200"])
    found = suggest(Facts(dataset, config, areas=areas))
    assert "100% of the objects" in topics(found)["small objects"].reason
    assert_typed(found)
    assert "data.focus.p=0.5" in merged_settings(found)
    assert not any(
        one.startswith("data.size") for one in merged_settings(found)
    )  # photos of 96 px have no more to show
    assert "small objects" not in topics(suggest(Facts(dataset, config, areas=np.full(40, 0.04))))


def test_brightness_is_measured_in_the_photos(drawn, facts):
    dataset = read_dataset(drawn)
    light = measure_brightness(dataset, drawn.parent)
    assert len(light.means) == len(dataset)
    assert (np.abs(light.means - 115) < 30).all()
    weak = resolve(None, ["data.augment=light", "epochs=200"])
    dark = Brightness(np.array([30.0, 40, 50, 60, 35, 160, 150, 140, 130, 120]), np.full(10, 40.0))
    by = topics(suggest(Facts(dataset, weak, brightness=dark)))
    assert "50% are dark" in by["varying brightness"].reason
    assert "varying brightness" not in topics(suggest(Facts(dataset, weak, brightness=light)))
    assert "varying brightness" not in topics(suggest(facts(brightness=dark)))  # strong is on already


def test_audit_findings_point_to_labels(facts):
    total = len(facts().dataset.annotations)
    found = suggest(facts(audited={"conflicting-labels": 2, "box-as-mask": total, "near-duplicate-photo": 3}))
    assert_typed(found)
    by = topics(found)
    assert f"{total} of {total} outlines" in by["rough outlines"].reason
    assert "3 photos" in by["near-duplicate photos"].reason
    assert by["contradicting labels"].settings == ('loss="smooth-ce + dice"',)
    assert not {"rough outlines", "near-duplicate photos"} & set(topics(suggest(facts(audited={}))))


def test_together_takes_the_first_of_two_values():
    from trashkit.nn.experiments.suggest import Suggestion

    found = [Suggestion("a", "", ("epochs=5", "loss=ce")), Suggestion("b", "", ("epochs=9", "ema=0"))]
    assert merged_settings(found) == ["epochs=5", "loss=ce", "ema=0"]
