"""Class maps: TACO's sixty names and the official ten."""

from __future__ import annotations

import json

import pytest

from trashkit.coco import OFFICIAL_COLORS, OFFICIAL_NAMES, class_map, read, read_dataset
from trashkit.coco.classes import palette, taco_to_official
from trashkit.errors import TrashkitError


def categories(*names, start=1):
    return [{"id": n, "name": name} for n, name in enumerate(names, start)]


def test_official_names_are_recognised_whatever_their_ids_and_spelling():
    made = class_map(categories("glass", "PLASTIC_BAG", "Paper-pack", "UNKNOWN", start=40))
    assert made.names == OFFICIAL_NAMES and made.colors == OFFICIAL_COLORS and len(made) == 11
    assert made.index_of == {40: 5, 41: 8, 42: 3, 43: 0}


def test_other_names_keep_file_order_and_share_nothing():
    made = class_map(categories("Can", "Background", "Bag", "can"))
    assert made.names == ("Background", "Can", "Bag", "can")
    assert made.index_of == {1: 1, 2: 0, 3: 2, 4: 3}
    assert made.colors == palette(4) and made.colors[0] == (0, 0, 0) and len(set(palette(255))) == 255


def test_a_map_file_joins_categories(tmp_path):
    path = tmp_path / "map.json"
    path.write_text(json.dumps({"can": "Metal", "foil": "Metal", "cup": "Glass"}))
    made = class_map(categories("Foil", "Can"), path)
    assert made.names == OFFICIAL_NAMES and made.index_of == {1: 4, 2: 4}
    path.write_text(json.dumps({"can": "Tin", "foil": "Tin"}))
    assert class_map(categories("Foil", "Can"), path).names == ("Background", "Tin")
    for text, message in [("[1]", "not a map"), ("{", "not JSON"), ('{"x": 1}', "not a map"), ("{}", "no entry")]:
        path.write_text(text)
        with pytest.raises(TrashkitError, match=message):
            class_map(categories("Foil"), path)
    with pytest.raises(TrashkitError, match="not official, own"):
        class_map(categories("Foil"), tmp_path / "absent")


def test_choices_that_do_not_fit_are_refused():
    with pytest.raises(TrashkitError, match='"Can" is not one of the ten'):
        class_map(categories("Paper", "Can"), "official")
    with pytest.raises(TrashkitError, match="no entry"):
        class_map(categories("Sofa"), "taco")
    with pytest.raises(TrashkitError, match="too many"):
        class_map(categories(*(f"c{n}" for n in range(255))), "own")
    assert len(class_map(categories(*(f"c{n}" for n in range(254))), "own")) == 255


def test_the_built_in_map_covers_taco():
    mapping = taco_to_official()
    assert len(mapping) == 60 and set(mapping.values()) <= set(OFFICIAL_NAMES)


@pytest.mark.real
def test_taco_in_ten_classes(real_data):
    folder = real_data / "taco"
    expected = json.loads((folder / "ten_classes.json").read_text())
    rows = read(folder / "annotations.json").records("categories")
    made = class_map(rows, "taco")
    assert made.names == OFFICIAL_NAMES
    assert {row["name"]: made.names[made.index_of[row["id"]]] for row in rows} == expected
    assert len(read_dataset(folder / "annotations.json", classes="taco").annotations) == 4784
    assert len(read_dataset(folder / "annotations.json").classes) == 61
