"""Class names and numbers: one reader for all formats, which stops where the meaning of a number cannot be known."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from samples import dataset_of, value_of, write_photos
from typer.testing import CliRunner

from trashkit.coco import read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.names.lists import NameList, find_names, read_names
from trashkit.interop.names.table import ClassZero, Zero, class_table, order_of
from trashkit.interop.names.words import is_background
from trashkit.interop.registry import ImportResult, export, import_annotations
from trashkit.raster.masks import dataset_label_map


def listed(folder: Path, text: str, name: str = "names.txt") -> NameList:
    (folder / name).write_text(text, encoding="utf-8")
    return read_names(folder / name)


def meaning(
    found: NameList, zero: Zero, used: Collection[int] = (), choice: ClassZero | None = None
) -> tuple[dict[int, str], set[int]]:
    """Names of the classes by number, and the numbers of background."""
    table = class_table(found, zero, choice=choice, used=lambda: used)
    return dict(table.names), set(table.background)


@pytest.mark.parametrize(
    "word", ["background", "Background", "BG", "_background_", "unlabeled", "배경", "背景", "<void>", "[Background]"]
)
def test_usual_words_are_background(tmp_path: Path, word: str) -> None:
    assert is_background(word)
    found = listed(tmp_path, f"{word}\nlid\ncup\n")
    for zero in ("background", "unknown"):
        assert meaning(found, zero, [0, 1]) == ({1: "lid", 2: "cup"}, {0})
    assert meaning(found, "class", [1, 2]) == ({1: "lid", 2: "cup"}, {0})
    assert not is_background("black bag")


def test_void_next_to_background_is_ignored(tmp_path: Path) -> None:
    for text, background in (("background\nlid\nvoid\n", 0), ("void\nlid\nbg\n", 2), ("unlabeled\nlid\nvoid\n", 0)):
        table = class_table(listed(tmp_path, text), "class", used=lambda: [0, 2])
        assert (dict(table.names), list(table.background)) == ({1: "lid"}, [background])
        assert list(table.ignored) == [2 - background]


def test_without_background_label_maps_count_from_1_and_yolo_from_0(tmp_path: Path) -> None:
    found = listed(tmp_path, "lid\ncup\n")
    assert meaning(found, "background") == ({1: "lid", 2: "cup"}, {0})
    assert meaning(found, "class", [0, 1]) == ({0: "lid", 1: "cup"}, set())
    assert meaning(found, "unknown", [0, 2]) == ({1: "lid", 2: "cup"}, {0})


@pytest.mark.parametrize(
    ("text", "zero", "used"),
    [
        ("lid\ncup\n", "unknown", [0, 1]),  # 1 is lid, or cup
        ("background\nlid\ncup\n", "class", [0, 1]),  # 0 is background, or lid
        ("lid\nbg\ncup\n", "background", [0, 1, 2]),  # background is 1, or 0
        ("lid\ncup\nunlabeled\n", "unknown", [0, 1, 2]),
        ("void\nlid\nbg\n", "background", [0, 1, 2]),
        ("unknown\nlid\n", "background", [0, 1]),  # 1 is unknown, or lid
        ("lid\ncup\n", "class", [1, 2]),  # counted from 1?
        ("0: lid\n1: cup\n", "background", [0, 1]),
    ],
)
def test_unclear_lists_stop_the_import_and_options_choose(
    tmp_path: Path, text: str, zero: Zero, used: Sequence[int]
) -> None:
    found = listed(tmp_path, text)
    with pytest.raises(TrashkitError, match=r"either .*; or ") as caught:
        meaning(found, zero, used)
    assert "--class-zero background" in (caught.value.hint or "")
    assert "--class-zero class" in (caught.value.hint or "")
    tables = [meaning(found, zero, used, choice) for choice in ("background", "class")]
    assert 0 in tables[0][1]
    assert 0 not in tables[1][1]


def test_the_numbers_in_the_files_decide(tmp_path: Path) -> None:
    assert meaning(listed(tmp_path, "bg\nlid\ncup\n"), "class", [0, 2])[0] == {1: "lid", 2: "cup"}
    assert meaning(listed(tmp_path, "unknown\nlid\n"), "background", [0, 2])[0] == {1: "unknown", 2: "lid"}
    assert meaning(listed(tmp_path, "#1\nlid\n"), "class", [0, 1])[0] == {0: "#1", 1: "lid"}
    assert meaning(listed(tmp_path, "lid\nbg\ncup\n"), "class", [0, 2]) == ({0: "lid", 2: "cup"}, {1})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("plastic: bag\n12\" pipe\ncup, blue\nit's\n", ["plastic: bag", '12" pipe', "cup, blue", "it's"]),
        ('"lid"\n"cup: 2"\n', ["lid", "cup: 2"]),
        ("'lid',\n'cup',\n", ["lid", "cup"]),
        ('["lid", "#2"]', ["lid", "#2"]),
        ("['lid', 'cup']\n", ["lid", "cup"]),
        ('{"0": "lid", "1": "cup"}', ["lid", "cup"]),
        ('{"lid": 0, "cup": 1}', ["lid", "cup"]),
        ('{"categories": [{"id": 1, "name": "lid"}, {"id": 2, "name": "cup"}]}', ["lid", "cup"]),
        ("0: lid\n1: cup\n", ["lid", "cup"]),
        ("path: .\nnames: [lid, 'cup: 2']\nnc: 2\n", ["lid", "cup: 2"]),
        ("names:\n  0: lid\n  1: cup # soft\n", ["lid", "cup"]),
        ("lid\r\n\r\ncup\r\n", ["lid", "cup"]),
        ("0 lid\n1 cup 2\n", ["lid", "cup 2"]),
        ("lid,0\ncup,1\n", ["lid", "cup"]),
        ("1 PET\n2 HDPE\n", ["1 PET", "2 HDPE"]),
        ("lid 0 0 0\ncup 250 50 83\n", ["lid", "cup"]),
        ("64 128 64\tlid\n192 0 128\tcup: 1\n", ["lid", "cup: 1"]),
        ("name,r,g,b\nlid,1,2,3\ncup,4,5,6\n", ["lid", "cup"]),
        ("# label:color_rgb:parts:actions\na: b:1,2,3::\nlid:4,5,6::\n", ["a: b", "lid"]),
        ("lid\ncup\u2028x\n", ["lid", "cup\u2028x"]),
        ("id,name\n1,cup\n0,lid\n", ["lid", "cup"]),
        ("Class;Index;Color\nlid;0;#fff\ncup;1;#000\n", ["lid", "cup"]),
        ('label\tsupercategory\n"lid, flat"\tx\ncup\ty\n', ["lid, flat", "cup"]),
        ("name,label\nlid\ncup\n", ["name,label", "lid", "cup"]),
        ("# made by me\n0 lid\n1 cup\n", ["lid", "cup"]),
        ("item {\n  id: 2\n  name: 'cup'\n}\nitem { id: 1 name: \"lid\" }\n", ["lid", "cup"]),
        ('{"id2label": {"0": "lid", "1": "cup"}, "label2id": {"lid": 0, "cup": 1}}', ["lid", "cup"]),
        ('{"classes": ["lid", "cup"]}', ["lid", "cup"]),
    ],
)
def test_names_are_literal(tmp_path: Path, text: str, names: list[str]) -> None:
    assert list(listed(tmp_path, text).names) == names


def test_options_give_names_literally() -> None:
    def given(text: str) -> list[str]:
        found = find_names(text, [])
        assert found is not None
        return list(found.names)

    assert given("lid,") == ["lid"]
    assert given('"cup, blue", #2 ,12" pipe') == ["cup, blue", "#2", '12" pipe']
    with pytest.raises(TrashkitError, match="there is no file lid"):
        given("lid")
    with pytest.raises(TrashkitError, match="no names"):
        given(",")


@pytest.mark.parametrize("text", ["# my classes\nlid\ncup\n", "#1 PET\nlid\n", "lid,cup\n"])
def test_lines_with_two_readings_stop_the_import(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrashkitError, match="may be") as caught:
        meaning(listed(tmp_path, text), "class", [0])
    assert "--names '" in (caught.value.hint or "")


@pytest.mark.parametrize(
    "text",
    ["lid\ncup\nlid\n", "caf\u00e9\ncafe\u0301\n", "bg\nlid\nbackground\n", "Plastic bag\nplastic_bag\n"],
)
def test_names_that_would_become_one_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TrashkitError, match="would become one class"):
        meaning(listed(tmp_path, text), "class", [1])


def test_files_that_disagree_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: [lid, cup]")
    (tmp_path / "classes.txt").write_text("cup\nlid\n")
    with pytest.raises(TrashkitError, match="different class names: lid, cup; and cup, lid"):
        find_names(None, [tmp_path], "data.yaml", "classes.txt")
    (tmp_path / "classes.txt").write_text("lid\ncup\n")
    assert find_names(None, [tmp_path], "data.yaml", "classes.txt") is not None
    with pytest.raises(TrashkitError, match="nc is 3, but there are 2 names"):
        listed(tmp_path, "names: [lid, cup]\nnc: 3\n", "data.yaml")


def test_the_order_of_names_is_without_background(tmp_path: Path) -> None:
    assert order_of(listed(tmp_path, "__ignore__\n_background_\nlid\n")) == ("lid",)
    assert meaning(listed(tmp_path, "__ignore__\n_background_\nlid\n"), "background") == ({1: "lid"}, {0})
    assert order_of(None) == ()


# --- whole imports


def label_maps(folder: Path, *maps: Any, kind: str = "masks", palette: list[int] | None = None) -> Path:
    """Photos and label maps, of values (uint8) or colours. palette: RGB of the values."""
    photos, labels = {"masks": ("images", "labels"), "voc": ("JPEGImages", "SegmentationClass")}[kind]
    for number, values in enumerate(maps):
        for name in (photos, labels):
            (folder / name).mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (values.shape[1], values.shape[0])).save(folder / photos / f"{number}.jpg")
        image = Image.fromarray(values)
        if palette:
            image.putpalette(palette)
        image.save(folder / labels / f"{number}.png")
    return folder


def scene(background: int, lid: int, cup: int) -> Any:
    """Lid covers 6 pixels, cup 4."""
    values = np.full((8, 10), background, np.uint8)
    values[1:3, 1:4] = lid
    values[5:7, 6:8] = cup
    return values


def sizes(made: ImportResult) -> dict[str, int]:
    return {one.name: one.pixels for one in made.classes if one.objects}


@pytest.mark.parametrize("form", ["palette", "colours"])
@pytest.mark.parametrize("order", [["bg", "lid", "cup"], ["lid", "bg", "cup"], ["lid", "cup", "bg"], ["lid", "cup"]])
def test_colours_say_which_class_it_is(tmp_path: Path, form: str, order: list[str]) -> None:
    colors = {"bg": (0, 0, 0), "lid": (10, 20, 30), "cup": (200, 0, 9)}
    text = "".join(f"{name}:{','.join(map(str, colors[name]))}::\n" for name in order)
    if form == "colours":
        values = np.zeros((8, 10, 3), np.uint8)
        for number, name in ((1, "lid"), (2, "cup")):
            values[scene(0, 1, 2) == number] = colors[name]
        label_maps(tmp_path / "in", values, kind="voc")
    else:
        numbers = {name: number for number, name in enumerate(order)}
        numbers.setdefault("bg", 7)
        palette = [0] * 30
        for name, number in numbers.items():
            palette[3 * number : 3 * number + 3] = colors[name]
        values = scene(numbers["bg"], numbers["lid"], numbers["cup"])
        label_maps(tmp_path / "in", values, kind="voc", palette=palette)
    (tmp_path / "in/labelmap.txt").write_text(text)
    assert sizes(import_annotations("voc", tmp_path / "in", tmp_path / "out.json")) == {"lid": 6, "cup": 4}


def test_grey_label_maps_with_background_later_need_the_option(tmp_path: Path) -> None:
    label_maps(tmp_path / "in", scene(1, 0, 2))
    (tmp_path / "in/labelmap.txt").write_text("lid:9,9,9::\nbg:0,0,0::\ncup:1,1,1::\n")
    with pytest.raises(TrashkitError, match='"bg", the background, is name 2'):
        import_annotations("masks", tmp_path / "in", tmp_path / "out.json")
    made = import_annotations("masks", tmp_path / "in", tmp_path / "out.json", class_zero="class")
    assert sizes(made) == {"lid": 6, "cup": 4}
    assert [(one.number, one.name, one.id) for one in made.classes] == [(0, "lid", 1), (1, "bg", None), (2, "cup", 2)]


@pytest.mark.parametrize("shape", ["L", "RGB", "1"])
def test_masks_of_0_and_255_are_one_class(tmp_path: Path, shape: str) -> None:
    values = scene(0, 255, 255)
    values = values if shape == "L" else np.stack([values] * 3, -1) if shape == "RGB" else values > 0
    label_maps(tmp_path / "in", values)
    made = import_annotations("masks", tmp_path / "in", tmp_path / "out.json", names="lid,")
    assert sizes(made) == {"lid": 10}
    if shape != "1":
        assert any("255 is read as lid" in line for line in made.notes)
        with pytest.raises(TrashkitError, match="all label maps consist of background and of 255"):
            import_annotations("masks", tmp_path / "in", tmp_path / "two.json", names="lid,cup")


def test_255_may_be_background_where_0_is_used_as_a_class(tmp_path: Path) -> None:
    label_maps(tmp_path / "in", scene(255, 0, 1))
    with pytest.raises(TrashkitError, match="0 to 1 and 255, which may be background or ignored"):
        import_annotations("masks", tmp_path / "in", tmp_path / "out.json", names="lid,cup")
    made = import_annotations("masks", tmp_path / "in", tmp_path / "out.json", names="lid,cup", class_zero="class")
    assert sizes(made) == {"lid": 6, "cup": 4}


def test_255_is_ignored_next_to_a_class(tmp_path: Path) -> None:
    label_maps(tmp_path / "in", scene(0, 1, 255))
    made = import_annotations("masks", tmp_path / "in", tmp_path / "out.json", names="lid,")
    assert sizes(made) == {"lid": 6}
    assert any("255" in line for line in made.notes)


def test_ignored_and_background_shapes_of_labelme(tmp_path: Path) -> None:
    corners = [[1, 1], [9, 1], [9, 9]]
    shapes = [{"label": name, "points": corners} for name in ("lid", "_background_", "__ignore__")]
    value = {"shapes": shapes, "imagePath": "a.png", "imageWidth": 20, "imageHeight": 10}
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.json").write_text(json.dumps(value))
    made = import_annotations("labelme", tmp_path / "in", tmp_path / "out.json")
    assert made.per_class == {"lid": 1}
    assert any("__ignore__ (255 in label maps)" in line for line in made.warnings)
    assert any("_background_, which is background" in line for line in made.notes)


def yolo(folder: Path, text: str, names: str = "names: [lid, cup]", file: str = "data.yaml") -> Path:
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (100, 50)).save(folder / "images/a.png")
    (folder / "labels/a.txt").write_text(text)
    (folder / file).write_text(names)
    return folder


@pytest.mark.parametrize(
    ("text", "zero", "used", "names"),
    [
        pytest.param("lid\n\ncup\n", "class", [0, 2], {0: "lid", 2: "cup"}, id="yolo-counts-it"),
        pytest.param("lid\n\ncup\n", "class", [0, 1], {0: "lid", 1: "cup"}, id="yolo-does-not"),
        pytest.param("bg\nlid\n\ncup\n", "background", [0, 1, 3], {1: "lid", 3: "cup"}, id="label-maps-count-it"),
        pytest.param("bg\nlid\n\ncup\n", "background", [0, 1, 2], {1: "lid", 2: "cup"}, id="label-maps-do-not"),
    ],
)
def test_blank_lines_between_names_count_where_the_files_show_it(
    tmp_path: Path, text: str, zero: Zero, used: list[int], names: dict[int, str]
) -> None:
    found = listed(tmp_path, text)
    assert meaning(found, zero, used)[0] == names
    assert order_of(found) == ("lid", "cup")
    with pytest.raises(TrashkitError, match="is blank, and may count as a number") as caught:
        meaning(found, zero, [0])
    assert "delete the blank lines" in caught.value.hint
    assert meaning(listed(tmp_path, f"\n{text}\n\n".replace("\n\n", "\n")), zero, [0, 1])


def test_a_pbtxt_without_ids_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrashkitError, match="an item has no id or no name"):
        listed(tmp_path, 'item {\n name: "lid"\n}\n')


SQUARE = ".1 .2 .3 .2 .3 .6 .1 .6"


@pytest.mark.parametrize(
    "text",
    [
        ".2 .4 .2 .4",
        ".2 .4 .2 .4 0.93",
        ".2 .4 .2 .4 0.93 12",
        ".2 .4 .2 .4 5",
        SQUARE,
        f"{SQUARE} 0.93",
        f"{SQUARE} 0.93 12",
        f"{SQUARE} 5",
    ],
)
def test_confidences_and_track_ids_are_left_out(tmp_path: Path, text: str) -> None:
    source = yolo(tmp_path / "in", f"1 {text}\n")
    made = import_annotations("yolo", source, tmp_path / "out.json")
    assert json.loads((tmp_path / "out.json").read_text())["annotations"][0]["bbox"] == [10, 10, 20, 20]
    assert sizes(made) == {"cup": 400}
    assert any("confidence or track id" in line for line in made.notes) == (len(text.split()) not in (4, 8))


def test_small_track_ids_are_known_by_the_other_lines(tmp_path: Path) -> None:
    source = yolo(tmp_path / "in", "0 .2 .4 .2 .4 0.9 1\n0 .2 .4 .2 .4 0.8 2\n")
    assert sizes(import_annotations("yolo", source, tmp_path / "out.json")) == {"lid": 800}
    unclear = yolo(tmp_path / "unclear", "0 .2 .4 .2 .4 0.9 1\n")
    with pytest.raises(TrashkitError, match="a triangle, or a box with confidence and track id"):
        import_annotations("yolo", unclear, tmp_path / "unclear.json")
    corner = yolo(tmp_path / "corner", "0 .2 .4 .2 .4 0.9 1\n0 .1 .1 .2 .2 .3 .1\n")
    assert import_annotations("yolo", corner, tmp_path / "corner.json").annotations == 2


@pytest.mark.parametrize("angle", ["-0.3", "1.57", "45.0"])
def test_boxes_with_an_angle_are_not_read_as_straight_ones(tmp_path: Path, angle: str) -> None:
    source = yolo(tmp_path / "in", f"0 .5 .5 .2 .2 0.78\n1 .5 .5 .4 .1 {angle}\n1 {SQUARE}\n")
    made = import_annotations("yolo", source, tmp_path / "out.json")
    assert (made.annotations, made.skipped) == (
        1, {"boxes with a fifth number, which may be an angle, since one of these is not a confidence": 2}
    )  # fmt: skip


@pytest.mark.parametrize("text", ["10 10 30 10 30 30", "20 20 20 20", "10 10 30 10 30 30 10 30"])
def test_coordinates_in_pixels_are_named(tmp_path: Path, text: str) -> None:
    source = yolo(tmp_path / "in", f"0 {text}\n")
    with pytest.raises(TrashkitError, match="coordinates outside 0 to 1, perhaps in pixels"):
        import_annotations("yolo", source, tmp_path / "out.json")
    made = import_annotations("yolo", yolo(source, f"0 {text}\n0 {SQUARE}\n9 {SQUARE}\n"), tmp_path / "out.json")
    assert (made.annotations, sum(made.skipped.values())) == (1, 2)
    assert any("class 9, which has no name" in line for line in made.warnings)


def test_background_in_yolo(tmp_path: Path) -> None:
    source = yolo(tmp_path / "in", f"0 {SQUARE}\n2 {SQUARE}\n", "bg\nlid\ncup\n", "classes.txt")
    made = import_annotations("yolo", source, tmp_path / "out.json")
    assert made.per_class == {"lid": 0, "cup": 1}
    assert any("shapes of background" in line for line in made.notes)
    yolo(source, f"0 {SQUARE}\n1 {SQUARE}\n", "bg\nlid\ncup\n", "classes.txt")
    with pytest.raises(TrashkitError, match='the first name is "bg"'):
        import_annotations("yolo", source, tmp_path / "two.json")
    made = import_annotations("yolo", source, tmp_path / "two.json", class_zero="class")
    assert made.per_class == {"lid": 1, "cup": 1}


def test_the_table_shows_what_each_number_became(tmp_path: Path) -> None:
    from trashkit.cli.app import app

    source = label_maps(tmp_path / "in", scene(0, 1, 2))
    arguments = ["data", "import", "masks", str(source), "--names", "lid,cup", "--out", str(tmp_path / "out.json")]
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    rows = [line.split() for line in done.output.splitlines()]
    assert ["number", "id", "class", "objects", "pixels"] in rows
    assert ["1", "1", "lid", "1", "6"] in rows
    assert ["2", "2", "cup", "1", "4"] in rows
    assert any(row[:1] == ["0"] and "Background" in row for row in rows)
    refused = CliRunner().invoke(app, [*arguments[:2], "cvat", *arguments[3:], "--class-zero", "class", "--overwrite"])
    assert refused.exit_code == 2


@pytest.mark.parametrize("kind", ["masks", "huggingface", "voc", "yolo", "mmsegmentation"])
@pytest.mark.parametrize("names", [["#1 PET", "a: b", "0: x, y", "'q'"], ["void", "bg", "_ignore_", "none"]])
def test_odd_names_come_back(tmp_path: Path, kind: str, names: list[str]) -> None:
    value = value_of([(20, 24)], [(0, n, [[n, n, 9 + n, n, 9 + n, 9 + n]], None) for n in (1, 2, 3, 4)])
    for category, name in zip(value["categories"], names, strict=True):
        category["name"] = name
    data = dataset_of(value)
    export(kind, data, tmp_path / kind, images=write_photos(tmp_path / "photos", data))
    import_annotations(kind, tmp_path / kind, tmp_path / "back.json")
    back = read_dataset(tmp_path / "back.json")
    assert back.classes.names == data.classes.names
    np.testing.assert_array_equal(dataset_label_map(back, 0), dataset_label_map(data, 0))
