"""Every format: what is written and read again gives the same label maps; damaged files are refused by name."""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.formats import READERS, WRITERS, export, import_annotations
from trashkit.masks import dataset_label_map, rle_from_mask

KINDS = sorted(WRITERS)
NAMES = ["General trash", "종이", 'Glass & "jar" <1>', "Plastic bag"]
FILES = ["batch_1/0002.jpg", "batch_2/0002.jpg", "사진 3.JPG"]


def value_of(sizes: list[tuple[int, int]], shapes: list[tuple[int, int, Any, float | None]]) -> dict[str, Any]:
    """A COCO value. sizes: (height, width) per image. shapes: (image, category, segmentation, area or None)."""
    return {
        "images": [
            {"id": 10 + n, "file_name": FILES[n], "width": width, "height": height}
            for n, (height, width) in enumerate(sizes)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(NAMES, start=1)],
        "annotations": [
            {
                "id": n,
                "image_id": 10 + image,
                "category_id": category,
                "segmentation": segmentation,
                **({} if area is None else {"area": area}),
            }
            for n, (image, category, segmentation, area) in enumerate(shapes, start=100)
        ],
    }


def dataset_of(value: dict[str, Any]) -> Dataset:
    return read_dataset(Coco.of(value))


def write_photos(folder: Path, dataset: Dataset) -> Path:
    for image in dataset.images:
        path = folder / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        photo = np.full((image.height, image.width, 3), 10 * image.row, np.uint8)
        path.write_bytes(cv2.imencode(".jpg", photo)[1].tobytes())
    return folder


def ring_with_hole(height: int, width: int) -> Any:
    covered = np.zeros((height, width), np.uint8)
    covered[1:-1, 1:-1] = 1
    covered[3:-3, 3:-3] = 0
    covered[5:-5, 5:-5] = 1
    return rle_from_mask(covered)


def label_maps(dataset: Dataset, names: tuple[str, ...]) -> list[NDArray[np.uint8]]:
    """Label maps in the class order of `names`, by the tail of the file name that all formats keep."""
    index = {name: n for n, name in enumerate(names)}
    lookup = np.array([index[name] for name in dataset.classes.names], np.uint8)
    order = sorted(dataset.images, key=lambda image: plain(image.file_name))
    return [lookup[dataset_label_map(dataset, image.row)] for image in order]


def plain(file_name: str) -> str:
    """What is the same in the file names of all layouts: no part, no folder, no Cityscapes ending."""
    return file_name.replace("__", "/").split("/", 1)[-1] if file_name.startswith("train/") else file_name


def small() -> Dataset:
    """Three images: overlaps against the area order, holes, parts, one empty."""
    square = [[2.0, 2.0, 14.5, 2.25, 14.0, 15.5, 2.0, 14.0]]
    parts = [[1.0, 1.0, 6.0, 1.0, 6.0, 6.0], [10.0, 10.0, 18.0, 10.0, 18.0, 17.0, 10.0, 17.0]]
    return dataset_of(
        value_of(
            [(20, 24), (21, 19), (16, 16)],
            [
                (0, 1, square, 1.0),
                (0, 2, [[0, 0, 9, 0, 9, 9, 0, 9]], 50.0),
                (0, 3, ring_with_hole(20, 24), 900.0),
                (1, 4, parts, None),
                (1, 2, [[11.0, 11.0, 14.0, 11.0, 14.0, 14.0]], None),
            ],
        )
    )


def round_trip(kind: str, dataset: Dataset, folder: Path) -> Dataset:
    photos = write_photos(folder / "photos", dataset)
    export(kind, dataset, folder / kind, images=photos)
    source = folder / kind / "train.json" if kind == "coco" else folder / kind
    import_annotations(kind, source, folder / "back.json")
    return read_dataset(folder / "back.json")


def test_every_format_is_read_and_written() -> None:
    assert set(READERS) == set(WRITERS)


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
        assert len(back) == len(dataset)
        for wanted, found in zip(label_maps(dataset, names), label_maps(back, names), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["yolo", "labelme", "cvat", "label-studio", "coco"])
def test_outlines_stay_as_they_are_where_nothing_overlaps(kind: str, tmp_path: Path) -> None:
    ring = [2.125, 2.0, 14.5, 2.25, 14.0, 15.5, 2.0, 14.0]
    back = round_trip(kind, dataset_of(value_of([(20, 24)], [(0, 2, [ring], None)])), tmp_path)
    assert [annotation.segmentation for annotation in back.annotations] == [[ring]]


@pytest.mark.parametrize("kind", ["labelme", "cvat", "label-studio", "yolo"])
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
    labels = [
        path
        for path in sorted((tmp_path / "sound").rglob("*"))
        if path.suffix in (".json", ".jsonl", ".xml", ".txt", ".yaml", ".png") and "labelmap" not in path.name
    ]
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
        shutil.rmtree(broken)
    assert refused


def test_photos_with_exif_are_written_as_they_were_annotated(tmp_path: Path) -> None:
    data = dataset_of(value_of([(20, 24)], [(0, 1, [[0, 0, 9, 0, 9, 9]], None)]))
    path = write_photos(tmp_path / "photos", data) / "batch_1/0002.jpg"
    from PIL import Image

    stored = Image.new("RGB", (20, 24), (200, 0, 0))
    stored.paste((0, 0, 200), (0, 0, 20, 6))
    exif = Image.Exif()
    exif[0x0112] = 6
    stored.save(path, exif=exif, quality=95)
    made = export("yolo", data, tmp_path / "out", images=tmp_path / "photos")
    assert any("EXIF" in line for line in made.notes)
    out = tmp_path / "out/images/train/batch_1__0002.jpg"
    with Image.open(out) as written:
        assert written.size == (24, 20)
        assert not written.getexif().get(0x0112)
        assert written.convert("RGB").getpixel((22, 10))[2] > 150  # turned clockwise: what was on top is right


def test_links_share_the_photo(tmp_path: Path) -> None:
    data = small()
    photos = write_photos(tmp_path / "photos", data)
    export("yolo", data, tmp_path / "out", images=photos, photos="link")
    assert (tmp_path / "out/images/train/batch_1__0002.jpg").samefile(photos / "batch_1/0002.jpg")


def test_classes_are_mapped_and_files_merged(tmp_path: Path) -> None:
    data = small()
    theirs = {
        "images": [{"id": 10, "file_name": "other.jpg", "width": 8, "height": 8}],
        "categories": [{"id": 0, "name": "Bottle"}, {"id": 7, "name": "Unlabeled litter"}],
        "annotations": [
            {"id": 1, "image_id": 10, "category_id": n, "segmentation": [[0, 0, 4, 0, 4, 4]], "mine": "kept"}
            for n in (0, 7)
        ],
    }
    (tmp_path / "a.json").write_text(json.dumps(value_of([(20, 24)], [(0, 2, [[0, 0, 9, 0, 9, 9]], 1.0)])))
    (tmp_path / "b.json").write_text(json.dumps(theirs))
    (tmp_path / "map.json").write_text(json.dumps({"Bottle": "종이", "Unlabeled litter": "Unknown"}))
    made = import_annotations(
        "coco", tmp_path / "b.json", tmp_path / "m.json", classes=tmp_path / "map.json", into=tmp_path / "a.json"
    )
    assert made.images == 2
    assert made.per_class["종이"] == 2
    merged = read_dataset(tmp_path / "m.json")
    assert merged.classes.names[:3] == ("Background", "General trash", "종이")
    assert sorted({annotation.class_index for annotation in merged.annotations}) == [0, 2]
    assert '"mine": "kept"' in (tmp_path / "m.json").read_text()
    with pytest.raises(TrashkitError, match="has an image named"):
        import_annotations("coco", tmp_path / "a.json", tmp_path / "n.json", into=tmp_path / "a.json")
    assert len(data)


def test_coco_comes_in_verbatim(tmp_path: Path) -> None:
    from trashkit.coco import write

    write(Coco.of(value_of([(20, 24)], [(0, 2, [[0, 0, 9, 0, 9, 9]], 1.0)])), tmp_path / "a.json")
    import_annotations("coco", tmp_path / "a.json", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_large_photos_are_no_matter(tmp_path: Path) -> None:
    """A ring with a hole on 1500x2000: joined rings are exact far from the origin too."""
    covered = np.zeros((1500, 2000), np.uint8)
    cv2.circle(covered, (1207, 801), 500, 1, -1)
    cv2.circle(covered, (1250, 850), 170, 0, -1)
    cv2.circle(covered, (1000, 650), 70, 0, -1)
    data = dataset_of(value_of([(1500, 2000)], [(0, 1, rle_from_mask(covered), None)]))
    back = round_trip("yolo", data, tmp_path)
    assert len(back.annotations) == 1
    np.testing.assert_array_equal(dataset_label_map(back, 0), covered)


def test_overwrite_replaces_exports_and_nothing_else(tmp_path: Path) -> None:
    data = small()
    photos = write_photos(tmp_path / "photos", data)
    for folder in (photos, photos / "batch_1"):
        with pytest.raises(TrashkitError, match=r"is kept|the photos themselves"):
            export("yolo", data, folder, images=photos, overwrite=True)
    assert (photos / "batch_1/0002.jpg").exists()
    export("yolo", data, tmp_path / "out", images=photos)
    with pytest.raises(TrashkitError, match="exists already"):
        export("labelme", data, tmp_path / "out", images=photos)
    export("labelme", data, tmp_path / "out", images=photos, overwrite=True)
    assert not (tmp_path / "out/data.yaml").exists()


def test_documents_with_entities_are_refused(tmp_path: Path) -> None:
    """The billion laughs, and a file of the machine pulled in."""
    for number, declared in enumerate(['<!ENTITY a "ha">', '<!ENTITY a SYSTEM "file:///etc/passwd">']):
        path = tmp_path / f"{number}.xml"
        path.write_text(f"<!DOCTYPE annotations [{declared}]><annotations><image name='&a;'/></annotations>")
        with pytest.raises(TrashkitError, match="declares a document type"):
            import_annotations("cvat", path, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("labelme", "../../secret.jpg"), ("labelme", "C:\\photos\\secret.jpg"), ("label-studio", "/etc/secret.jpg")],
)
def test_names_never_lead_out_of_the_folder(kind: str, name: str, tmp_path: Path) -> None:
    folder = tmp_path / "a/b/theirs"
    folder.mkdir(parents=True)
    (tmp_path / "a/secret.jpg").write_bytes(b"")
    if kind == "labelme":
        value: Any = {"shapes": [], "imagePath": name, "imageWidth": 8, "imageHeight": 8}
    else:
        region = {"original_width": 8, "original_height": 8, "type": "choices"}
        value = [{"data": {"image": name}, "annotations": [{"result": [region]}]}]
    (folder / "x.json").write_text(json.dumps(value))
    import_annotations(kind, folder, tmp_path / "out.json")
    assert [image.file_name for image in read_dataset(tmp_path / "out.json").images] == ["secret.jpg"]


def test_files_as_the_tools_write_them(tmp_path: Path) -> None:
    """Shapes that only others write: boxes, circles, yaml of all forms, colour label maps, z-order."""
    photo = cv2.imencode(".jpg", np.zeros((10, 20, 3), np.uint8))[1].tobytes()
    for folder in ("y/images/train", "y/labels/train", "v/JPEGImages", "v/SegmentationClass"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "y/images/train/a.jpg").write_bytes(photo)
    (tmp_path / "y/labels/train/a.txt").write_text("1 0.5 0.5 0.5 0.4\n0 0 0 0.25 0 0.25 0.5\n")
    for names in (
        "names: [can, 'cup, blue']",
        'names:\n- can\n- "cup, blue"\n',
        "names:\n  0: can\n  1: cup, blue\nnc: 2",
    ):
        (tmp_path / "y/data.yaml").write_text(f"path: .\n{names}\n")
        made = import_annotations("yolo", tmp_path / "y", tmp_path / "y.json", overwrite=True)
        assert made.per_class == {"can": 1, "cup, blue": 1}
        assert "boxes taken as rectangles" in made.notes[0]
    assert json.loads((tmp_path / "y.json").read_text())["annotations"][0]["bbox"] == [5, 3, 10, 4]
    colours = np.zeros((10, 20, 3), np.uint8)
    colours[2:5, 3:9] = (10, 20, 30)[::-1]
    (tmp_path / "v/JPEGImages/a.jpg").write_bytes(photo)
    (tmp_path / "v/SegmentationClass/a.png").write_bytes(cv2.imencode(".png", colours)[1].tobytes())
    (tmp_path / "v/labelmap.txt").write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncan:10,20,30::\n")
    import_annotations("voc", tmp_path / "v", tmp_path / "v.json")
    assert json.loads((tmp_path / "v.json").read_text())["annotations"][0]["bbox"] == [3, 2, 6, 3]
    shapes = [
        "<polygon label='top' z_order='2' points='0,0;9,0;9,9'/>",
        "<box label='low' z_order='0' xtl='0' ytl='0' xbr='9' ybr='9'/><points label='p' points='1,1'/>",
    ]
    (tmp_path / "c").mkdir()
    (tmp_path / "c/annotations.xml").write_text(
        f"<annotations><image name='a.jpg' width='20' height='10'>{''.join(shapes)}</image></annotations>"
    )
    made = import_annotations("cvat", tmp_path / "c", tmp_path / "c.json")
    assert list(made.per_class) == ["low", "top"]
    assert "elements of type points" in made.notes[0]


def test_brushes_are_read_as_label_studio_packs_them() -> None:
    """Bits by hand: 4 values (one pixel), 8-bit words, run sizes 3, 4, 8, 16; first literal values, then a run."""
    from trashkit.interop.label_studio import decode_brush

    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    bits += "0" + "00" + f"{3:03b}" + "00000000" * 3 + "11111111"
    bits += "1" + "01" + f"{3:04b}" + "00000000"
    bits += "0" * (-len(bits) % 8)
    data = [int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)]
    assert decode_brush(data, 1, 2).tolist() == [[True, False]]
    with pytest.raises(ValueError, match="too early"):
        decode_brush(data[:10], 1, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        ["import", "yolo", "nowhere", "--out", "o.json"],
        ["import", "predictions", ".", "--out", "store"],
        ["import", "coco", "a.json", "--logits", "--out", "o.json"],
        ["export", "yolo", "a.json", "--images", "nowhere", "--out", "o"],
        ["export", "nothing", "a.json", "--out", "o"],
        ["taco", "--annotations", "nowhere.json", "--out", "o"],
    ],
)
def test_commands_end_with_one_line_and_2(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trashkit.cli.app import app
    from trashkit.coco import write

    monkeypatch.chdir(tmp_path)
    write(small().coco, tmp_path / "a.json")
    with pytest.raises(SystemExit) as end:
        app(["data", *arguments])
    assert end.value.code == 2
    assert "crashed" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_commands_tell_what_they_did(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from trashkit.cli.app import app
    from trashkit.coco import write

    monkeypatch.chdir(tmp_path)
    write(small().coco, tmp_path / "a.json")
    write_photos(tmp_path / "photos", small())

    def run(*arguments: str) -> Any:
        with pytest.raises(SystemExit) as end:
            app(["data", *arguments, "--json"])
        assert not end.value.code
        return json.loads(capsys.readouterr().out)

    made = run("export", "mmsegmentation", "a.json", "--images", "photos", "--out", "mm")
    assert made["images"] == {"train": 3}
    made = run("import", "mmsegmentation", "mm", "--out", "b.json")
    assert (made["images"], made["photos"]) == (3, "mm/img_dir")
    assert run("masks", "a.json", "--out", "maps", "--size", "8")["images"] == 3
    shapes = {cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2] for path in Path("maps").rglob("*.png")}
    assert shapes == {(8, 8)}
    made = run("import", "predictions", "maps", "--data", "a.json", "--size", "8", "--out", "store")
    assert made["kinds"] == {"label maps": 3}


@pytest.mark.real
@pytest.mark.parametrize("kind", ["yolo", "voc", "labelme"])
def test_real_photos_with_and_without_exif_turns(kind: str, real_data: Path, tmp_path: Path) -> None:
    """Litter photos: sizes differ, six carry a turn, one of which was annotated as it is."""
    data = read_dataset(real_data / "litter/annotations.json")
    made = export(kind, data, tmp_path / "out", images=real_data / "litter")
    assert any(line.startswith("6 photos were turned") for line in made.notes)
    import_annotations(kind, tmp_path / "out", tmp_path / "back.json", classes="official")
    back = read_dataset(tmp_path / "back.json")
    wanted = sorted(dataset_label_map(data, image.row).tobytes() for image in data.images)
    assert sorted(dataset_label_map(back, image.row).tobytes() for image in back.images) == wanted
