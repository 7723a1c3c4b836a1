"""Files of other tools that are damaged or made to do harm: one clear error, and nothing is written."""

from __future__ import annotations

import json
import os
import resource
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from samples import KINDS, small, write_photos

from trashkit.coco import Coco, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.registry import export, import_annotations


def refused(kind: str, source: Path, words: str, **options: Any) -> TrashkitError:
    """Import and expect one line that matches `words`, no output, and little memory."""
    out = source.parent / "refused.json"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TrashkitError, match=words) as caught:
        import_annotations(kind, source, out, **options)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000, "more than 500 MB"
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 1000
    assert not out.exists()
    return caught.value


def label_studio(folder: Path, value: Any = None, *, kind: str = "polygonlabels", **more: Any) -> Path:
    """A file with one task of one region of 8x8 pixels."""
    region = {"type": kind, "original_width": 8, "original_height": 8, "value": value, **more}
    return task(folder, {"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}]})


def task(folder: Path, value: Any) -> Path:
    path = folder / "tasks.json"
    path.write_text(json.dumps([value]))
    return path


def brush(folder: Path, rle: Any, **more: Any) -> Path:
    return label_studio(folder, {"brushlabels": ["x"], "format": "rle", "rle": rle}, kind="brushlabels", **more)


def labelme(folder: Path, *shapes: Any, **more: Any) -> Path:
    (folder / "a.json").write_text(
        json.dumps({"shapes": list(shapes), "imagePath": "a.jpg", "imageWidth": 8, "imageHeight": 8, **more})
    )
    return folder


def cvat(folder: Path, shape: str = "", size: str = "width='8' height='8'", extra: str = "") -> Path:
    path = folder / "annotations.xml"
    path.write_text(f"<annotations><image name='a.jpg' {size}>{shape}</image>{extra}</annotations>")
    return path


def mask_of(rle: str, box: str = "left='0' top='0' width='2' height='2'") -> str:
    return f"<mask label='x' rle='{rle}' {box}/>"


MASK = {"label": "x", "shape_type": "mask", "points": [[0, 0], [1, 1]], "mask": "iVBORw0KGgo="}
TEN_GB = "width='100000' height='100000'"
HUGE = "width='46000' height='46000'"
CASES: dict[str, tuple[str, Callable[[Path], Path], str]] = {
    # sizes that a file only declares
    "brush of so many bytes": ("label-studio", lambda f: brush(f, 100_000_000), r"at rle: expected array, got int"),
    "brush of values above a byte": ("label-studio", lambda f: brush(f, [256]), r"at rle\[0\]"),
    "brush in a huge image": (
        "label-studio",
        lambda f: brush(f, [0], original_width=46_000, original_height=46_000),
        "too large",
    ),
    "brush of another size": (
        "label-studio",
        lambda f: brush(f, list((1 << 31).to_bytes(4))),
        "it has 2147483648 values",
    ),
    "task of an impossible size": (
        "label-studio",
        lambda f: label_studio(f, original_width=1e9, original_height=1e9),
        "cannot be rasterised",
    ),
    "task of no size": (
        "label-studio",
        lambda f: label_studio(f, original_width=-5, original_height=8),
        "not a whole number",
    ),
    "CVAT mask of 10 GB": (
        "cvat",
        lambda f: cvat(f, mask_of(f"0, {10**10}", f"left='0' top='0' {TEN_GB}"), TEN_GB),
        "cannot be rasterised",
    ),
    "CVAT mask in a huge image": ("cvat", lambda f: cvat(f, mask_of("0, 4"), HUGE), "too large"),
    "CVAT runs beyond 64 bits": ("cvat", lambda f: cvat(f, mask_of(f"0, {2**64 + 4}")), "do not fill its box"),
    "CVAT runs that overflow to the right sum": (
        "cvat",
        lambda f: cvat(f, mask_of(f"{2**63}, {2**63}, 4")),
        "do not fill its box",
    ),
    "CVAT runs of 5000 digits": ("cvat", lambda f: cvat(f, mask_of("9" * 5000)), "not a number"),
    "CVAT mask of 10 GB in a small image": (
        "cvat",
        lambda f: cvat(f, mask_of(f"0, {10**10}", f"left='0' top='0' {TEN_GB}")),
        "too large",
    ),
    "CVAT sizes that are not numbers": ("cvat", lambda f: cvat(f, size="width='nan' height='8'"), "not a number"),
    "labelme mask in a huge image": (
        "labelme",
        lambda f: labelme(f, MASK, imageWidth=46_000, imageHeight=46_000),
        "too large",
    ),
    "labelme of an impossible size": (
        "labelme",
        lambda f: labelme(f, imageWidth=60_000, imageHeight=60_000),
        "cannot be rasterised",
    ),
    # types inside
    "tasks that are numbers": ("label-studio", lambda f: task(f, 7), "not a list of tasks"),
    "data that is a list": (
        "label-studio",
        lambda f: task(f, {"data": []}),
        r"at \[0\]\.data: expected object, got array",
    ),
    "results that are a number": (
        "label-studio",
        lambda f: task(f, {"data": {"image": "a.jpg"}, "annotations": [{"result": 3}]}),
        r"at \[0\]\.annotations\[0\]\.result",
    ),
    "a region that is a list": (
        "label-studio",
        lambda f: task(f, {"data": {"image": "a.jpg"}, "annotations": [{"result": [[]]}]}),
        r"result\[0\]: expected object",
    ),
    "a width that is a list": (
        "label-studio",
        lambda f: label_studio(f, original_width=[8]),
        r"original_width: expected float",
    ),
    "points that are a number": (
        "label-studio",
        lambda f: label_studio(f, {"polygonlabels": ["x"], "points": 5}),
        "at points: expected array, got int",
    ),
    "a coordinate that is NaN": (
        "label-studio",
        lambda f: label_studio(f, {"polygonlabels": ["x"], "points": [[float("nan"), 1]] * 3}),
        "not a number",
    ),
    "a coordinate of 400 digits": (
        "label-studio",
        lambda f: label_studio(f, {"polygonlabels": ["x"], "points": [[10**400, 1]] * 3}),
        "out of range",
    ),
    "an ellipse without radius": (
        "label-studio",
        lambda f: label_studio(f, {"ellipselabels": ["x"], "x": 1, "y": 1}, kind="ellipselabels"),
        "radiusX",
    ),
    "labelme shapes that are numbers": (
        "labelme",
        lambda f: labelme(f, 5),
        r"at shapes\[0\]: expected object, got int",
    ),
    "labelme points that are numbers": (
        "labelme",
        lambda f: labelme(f, {"label": "x", "points": [1, 2]}),
        r"at shapes\[0\]\.points\[0\]",
    ),
    "labelme path that is a number": (
        "labelme",
        lambda f: labelme(f, imagePath=5),
        "at imagePath: expected str, got int",
    ),
    "labelme group that is an object": (
        "labelme",
        lambda f: labelme(f, {"label": "x", "points": [], "group_id": {}}),
        "group_id",
    ),
    "half of a surrogate pair": ("labelme", lambda f: labelme(f, **{"\ud800": 1}), "surrogate"),
    "CVAT points that are words": (
        "cvat",
        lambda f: cvat(f, "<polygon label='x' points='a,b;c,d;e,f'/>"),
        "not a number",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_sizes_and_types_are_checked(tmp_path: Path, case: str) -> None:
    kind, make, words = CASES[case]
    (tmp_path / "in").mkdir()
    refused(kind, make(tmp_path / "in"), words)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 200 + "]" * 200, "1" * 5000])
@pytest.mark.parametrize("kind", ["coco", "label-studio", "labelme", "huggingface"])
def test_nesting_and_numbers_without_end_are_refused(tmp_path: Path, kind: str, text: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    name = "metadata.jsonl" if kind == "huggingface" else "a.json"
    (folder / name).write_text(f"[{text}]" if kind == "label-studio" and text.startswith("1") else text)
    (folder / "classes.txt").write_text("Background\nx\n")
    refused(kind, folder, r"nested|digits|Expecting|not a|holds|must have|cannot be read")


def test_nested_xml_is_refused_and_long_text_is_read_in_linear_time(tmp_path: Path) -> None:
    refused("cvat", cvat(tmp_path, "<a>" * 200 + "</a>" * 200), "nested more than 100 levels")
    started = time.perf_counter()
    cvat(tmp_path, extra="<!-- x -->a&amp;" * 200_000)
    import_annotations("cvat", tmp_path / "annotations.xml", tmp_path / "long.json")
    assert time.perf_counter() - started < 10


@pytest.mark.parametrize(
    "text",
    [
        "names: &a [*a]",
        "names: [" * 2000,
        "names: {0: [x]}",
        "names: 5",
        "names: [x, null, '']",
        "names: {9: x}",
        "\tnames:",
    ],
)
def test_class_names_in_yaml_are_checked(tmp_path: Path, text: str) -> None:
    (tmp_path / "in/images").mkdir(parents=True)
    (tmp_path / "in/labels").mkdir()
    (tmp_path / "in/data.yaml").write_text(text)
    refused("yolo", tmp_path / "in", r"data\.yaml")


def test_class_names_in_yaml_are_texts(tmp_path: Path) -> None:
    from trashkit.interop.names.lists import names_from_yaml

    assert names_from_yaml("names: {0: no, 1: 1.50, 2: 'null'}\nnc: 3", tmp_path).names == ("no", "1.50", "null")
    dates = "# x\nnames:\n  - yes\n  - 2024-01-01 # a date\n"
    assert names_from_yaml(dates, tmp_path).names == ("yes", "2024-01-01")


@pytest.mark.parametrize("colour", ["²,0,0", "1,2", "1,2,999", "9" * 5000 + ",0,0", "-1,0,0"])
def test_colours_are_checked(tmp_path: Path, colour: str) -> None:
    export("masks", small(), tmp_path / "in")
    (tmp_path / "in/labelmap.txt").write_text(f"a:{colour}::\n")
    refused("masks", tmp_path / "in", "is not of the form")


def png(width: int, height: int, depth: int = 8, colour: int = 0) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    pixels = zlib.compress(bytes(64))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("kind", "label"), [("masks", "labels/train"), ("huggingface", "train/label_maps"), ("voc", "SegmentationClass")]
)
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(60_000, 60_000), "too large"),
        (png(12_000, 12_000), r"12000x12000"),
        (png(12_000, 12_000, 16, 2), r"12000x12000"),
        (b"\x89PNG", "not a photo"),
        (b"", "empty"),
    ],
)
def test_label_maps_are_compared_with_the_photo_before_they_are_decoded(
    tmp_path: Path, kind: str, label: str, content: bytes, words: str
) -> None:
    export(kind, small(), tmp_path / "in", images=write_photos(tmp_path / "photos", small()))
    next(path for path in sorted((tmp_path / "in" / label).rglob("*.png"))).write_bytes(content)
    refused(kind, tmp_path / "in", words, strict=True)
    assert import_annotations(kind, tmp_path / "in", tmp_path / "others.json").images == 2


@pytest.mark.parametrize("kind", ["cvat", "label-studio", "labelme"])
def test_sizes_are_compared_with_the_photo(tmp_path: Path, kind: str) -> None:
    from PIL import Image

    export(kind, small(), tmp_path / "in", images=write_photos(tmp_path / "photos", small()))
    Image.new("RGB", (40, 20)).save(next((tmp_path / "in").rglob("batch_1/0002.jpg")))
    refused(kind, tmp_path / "in", r"24x20, but the photo .* is 40x20", strict=True)
    for photo in [path for path in (tmp_path / "in").rglob("*") if path.suffix.lower() == ".jpg"]:
        photo.unlink()
    if kind != "label-studio":  # which has no size for images without regions
        assert import_annotations(kind, tmp_path / "in", tmp_path / "without.json").images == 3


@pytest.mark.parametrize(
    ("block", "row"), [("annotations", []), ("annotations", None), ("images", 5), ("categories", "x")]
)
@pytest.mark.parametrize("options", [{}, {"classes": "own"}, {"into": True}, {"like": True}])
def test_coco_rows_that_are_not_objects_leave_no_output(
    tmp_path: Path, block: str, row: Any, options: dict[str, Any]
) -> None:
    from trashkit.coco import write

    write(small().coco, tmp_path / "good.json")
    write(small().coco.replace(block, append=[row]), tmp_path / "a.json")
    given = {name: tmp_path / "good.json" if value is True else value for name, value in options.items()}
    refused("coco", tmp_path / "a.json", rf"{block}\[\d\]", **given)


@pytest.mark.parametrize("value", [[], {}, None, 1e999, float("nan"), 10**400, "\ud800"])
@pytest.mark.parametrize(
    ("block", "key"),
    [
        ("images", "id"),
        ("images", "file_name"),
        ("images", "width"),
        ("annotations", "category_id"),
        ("annotations", "image_id"),
        ("categories", "name"),
        ("categories", "id"),
    ],
)
def test_coco_values_of_any_type_are_imported_or_refused(tmp_path: Path, block: str, key: str, value: Any) -> None:
    from trashkit.coco import write

    write(small().coco, tmp_path / "good.json")
    write(small().coco.replace(block, {0: {**small().coco.record(block, 0), key: value}}), tmp_path / "a.json")
    for number, options in enumerate(({}, {"classes": "own"}, {"into": "good.json"}, {"like": "good.json"})):
        out = tmp_path / f"{number}.json"
        try:
            given = {k: tmp_path / v if v.endswith("json") else v for k, v in options.items()}
            import_annotations("coco", tmp_path / "a.json", out, **given)  # type: ignore[arg-type]
        except TrashkitError as error:
            assert "\n" not in error.message
            assert not out.exists()
        else:
            assert out.exists()


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def outside(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("make", [fifo, device, loop, outside])
@pytest.mark.parametrize("kind", ["yolo", "labelme", "cvat", "label-studio", "masks", "huggingface", "coco"])
def test_pipes_devices_and_circular_links_are_never_opened(
    tmp_path: Path, kind: str, make: Callable[[Path], None]
) -> None:
    """Additional entries of these kinds change nothing; in the place of a file, they are refused or skipped."""
    export(kind, small(), tmp_path / "in", images=write_photos(tmp_path / "photos", small()))
    source = tmp_path / "in/train.json" if kind == "coco" else tmp_path / "in"
    for folder in [path for path in [tmp_path / "in", *(tmp_path / "in").rglob("*")] if path.is_dir()]:
        for name in ("odd.jpg", "odd.png", "odd.txt", "odd.xml", "odd.jsonl"):
            make(folder / name)
    made = import_annotations(kind, source, tmp_path / "extra.json")
    assert made.images == 3
    if kind == "coco" and make is not outside:
        return  # COCO files are read by `trashkit.coco`
    for path in sorted((tmp_path / "in").rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix not in (".jpg", ".JPG"):
            content = path.read_bytes()
            path.unlink()
            make(path)
            try:
                import_annotations(kind, source, tmp_path / "out.json", overwrite=True)
            except TrashkitError as error:
                assert "\n" not in error.message
            path.unlink()
            path.write_bytes(content)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "coco"])
@pytest.mark.parametrize("name", ["\\\\{0}\\x.jpg", "..\\..\\{1}\\x.jpg", "a\\..\\..\\x.jpg"])
def test_backslashes_never_lead_out_of_an_export(tmp_path: Path, kind: str, name: str) -> None:
    """They are part of names on Linux, and separate the folders of an export."""
    from trashkit.coco import write

    inside = tmp_path / "a/b"
    inside.mkdir(parents=True)
    name = name.format(str(tmp_path).replace("/", "\\"), "elsewhere")
    coco = small().coco
    write(coco.replace("images", {0: {**coco.record("images", 0), "file_name": name}}), inside / "a.json")
    dataset = read_dataset(inside / "a.json")
    with pytest.raises(TrashkitError, match="leaves the image folder"):
        export(kind, dataset, inside / "out")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a.json"]


def test_an_export_is_neither_inside_nor_around_the_photos(tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "photos", small())
    (tmp_path / "link").symlink_to(photos)
    for out in (photos, photos / "yolo", tmp_path / "link/a/yolo", tmp_path):
        with pytest.raises(TrashkitError, match=r"photo folder|contains the photos"):
            export("yolo", small(), out, images=photos)
    assert sorted(path.name for path in photos.iterdir()) == ["batch_1", "batch_2", "사진 3.JPG"]
    export("yolo", small(), tmp_path / "photos-yolo", images=photos)


def test_huge_images_are_exported_only_as_far_as_they_can_be_drawn(tmp_path: Path) -> None:
    value = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 46_000, "height": 46_000}],
        "categories": [{"id": 1, "name": "x"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[0, 0, 9, 0, 9, 9]]}],
    }
    data = read_dataset(Coco.of(value))
    for kind in ("masks", "yolo", "cvat"):
        with pytest.raises(TrashkitError, match="cannot be rasterised: it has more than"):
            export(kind, data, tmp_path / kind)
        assert not (tmp_path / kind).exists()


def test_names_with_unusual_line_ends_come_back(tmp_path: Path) -> None:
    record = small().coco.record("images", 0)
    data = read_dataset(small().coco.replace("images", {0: {**record, "file_name": "a\u2028b\x85c.jpg"}}))
    export("labelme", data, tmp_path / "in")
    import_annotations("labelme", tmp_path / "in", tmp_path / "out.json")
    assert read_dataset(tmp_path / "out.json").images[0].id == record["id"]
    export("huggingface", data, tmp_path / "hf")
    import_annotations("huggingface", tmp_path / "hf", tmp_path / "hf.json")


@pytest.mark.parametrize("count", [3, 50])
def test_notes_are_few(tmp_path: Path, count: int) -> None:
    shapes = "<polygon label='x' points='0,0;4,0;4,4'/>" + "".join(f"<t{n} label='x'/>" for n in range(count))
    made = import_annotations("cvat", cvat(tmp_path, shapes), tmp_path / "out.json")
    assert len(made.notes) == min(count, 21)


def test_a_brush_of_many_pixels_is_decoded_in_runs() -> None:
    from trashkit.interop.formats.label_studio import decode_brush, encode_brush

    covered = np.random.default_rng(0).random((40, 50)) < 0.5
    assert np.array_equal(decode_brush(encode_brush(covered), 40, 50), covered)


@pytest.mark.parametrize("kind", ["cvat", "label-studio"])
@pytest.mark.parametrize("name", ["\x01", "a\x0bb", "\ud800", "\uffff"])
def test_names_that_xml_cannot_store_are_refused(tmp_path: Path, kind: str, name: str) -> None:
    coco = small().coco.replace("categories", {0: {**small().coco.record("categories", 0), "name": name}})
    with pytest.raises(TrashkitError, match="XML cannot store"):
        export(kind, read_dataset(coco), tmp_path / "out")
    assert not (tmp_path / "out").exists()
