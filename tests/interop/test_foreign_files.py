"""Files as other tools write them, including malicious ones; photos; merging; and the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samples import dataset_of, small, value_of, write_photos

from trashkit.coco import Coco, read_dataset
from trashkit.errors import TrashkitError
from trashkit.interop.registry import export, import_annotations


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


def test_coco_is_imported_verbatim(tmp_path: Path) -> None:
    from trashkit.coco import write

    write(Coco.of(value_of([(20, 24)], [(0, 2, [[0, 0, 9, 0, 9, 9]], 1.0)])), tmp_path / "a.json")
    import_annotations("coco", tmp_path / "a.json", tmp_path / "b.json")
    assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()


def test_overwrite_replaces_exports_and_nothing_else(tmp_path: Path) -> None:
    data = small()
    photos = write_photos(tmp_path / "photos", data)
    for folder in (photos, photos / "batch_1"):
        with pytest.raises(TrashkitError, match=r"lies in the photo folder|contains the photos"):
            export("yolo", data, folder, images=photos, overwrite=True)
    assert (photos / "batch_1/0002.jpg").exists()
    export("yolo", data, tmp_path / "out", images=photos)
    with pytest.raises(TrashkitError, match="already exists"):
        export("labelme", data, tmp_path / "out", images=photos)
    export("labelme", data, tmp_path / "out", images=photos, overwrite=True)
    assert not (tmp_path / "out/data.yaml").exists()
    (tmp_path / "out/.DS_Store").touch()
    export("yolo", data, tmp_path / "out", images=photos, overwrite=True)
    (tmp_path / "out/mine").mkdir()
    (tmp_path / "out/mine/notes.txt").touch()
    with pytest.raises(TrashkitError, match="holds more files than its export wrote"):
        export("yolo", data, tmp_path / "out", images=photos, overwrite=True)
    assert (tmp_path / "out/mine/notes.txt").exists()


def test_documents_with_entities_are_refused(tmp_path: Path) -> None:
    """Entity expansion (billion laughs) and external entities."""
    for number, declared in enumerate(['<!ENTITY a "ha">', '<!ENTITY a SYSTEM "file:///etc/passwd">']):
        path = tmp_path / f"{number}.xml"
        path.write_text(f"<!DOCTYPE annotations [{declared}]><annotations><image name='&a;'/></annotations>")
        with pytest.raises(TrashkitError, match="declares a document type"):
            import_annotations("cvat", path, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("kind", "name"),
    [("labelme", "../../secret.jpg"), ("labelme", "C:\\photos\\secret.jpg"), ("label-studio", "/etc/secret.jpg")],
)
def test_names_never_leave_the_folder(kind: str, name: str, tmp_path: Path) -> None:
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
    """What trashkit does not write itself: boxes, circles, all styles of YAML, colour label maps, z-order."""
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
        assert "boxes read as rectangles" in made.notes[0]
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
    from trashkit.interop.formats.label_studio import decode_brush

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
def test_user_errors_exit_with_2(
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


def test_commands_report_their_results(
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
