"""Names of photos in label files: Unicode forms, case, folders and subsets; labels without a photo."""

from __future__ import annotations

import base64
import json
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from samples import KINDS, dataset_of, value_of, write_photos

from trashkit.coco import Coco, read, read_dataset, write
from trashkit.edits.diff import diff
from trashkit.errors import TrashkitError
from trashkit.interop.layouts.pairing import pair
from trashkit.interop.origins import IMAGE_LIST
from trashkit.interop.registry import export, import_annotations

NAME = "재활용/캔 é.jpg"


def nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


def decompose(folder: Path, *, photos: bool) -> None:
    """Rename the photos, or everything else, to the decomposed form, as archives made on macOS have it."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() or (path.suffix == ".jpg") == photos:
            target = folder / nfd(path.relative_to(folder).as_posix())
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.is_file():
                path.rename(target)


def one_photo() -> Any:
    value = value_of([(20, 24)], [(0, 2, [[2.0, 2.0, 14.5, 2.25, 14.0, 15.5]], None)])
    value["images"][0]["file_name"] = nfc(NAME)
    return value


def notes_of(made: Any) -> str:
    return "\n".join((*made.notes, *getattr(made, "warnings", ())))


@pytest.mark.parametrize("photos", [True, False])
@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"coco"}))
def test_forms_of_unicode_are_the_same_name(kind: str, photos: bool, tmp_path: Path) -> None:
    data = dataset_of(one_photo())
    write(data.coco, tmp_path / "ann.json")
    export(kind, data, tmp_path / "out", images=write_photos(tmp_path / "photos", data))
    (tmp_path / "out" / IMAGE_LIST).unlink()
    decompose(tmp_path / "out", photos=photos)
    made = import_annotations(kind, tmp_path / "out", tmp_path / "back.json", like=tmp_path / "ann.json")
    assert made.annotations == 1
    assert read_dataset(tmp_path / "back.json").images[0].file_name == nfc(NAME)
    made = import_annotations(kind, tmp_path / "out", tmp_path / "plain.json")
    assert made.photos is not None
    name = read_dataset(tmp_path / "plain.json").images[0].file_name
    assert any(nfc((made.photos / name).as_posix()) == nfc(path.as_posix()) for path in made.photos.rglob("*"))


def test_a_file_with_decomposed_names_has_no_edits(tmp_path: Path) -> None:
    before = one_photo()
    after = json.loads(json.dumps(before))
    after["images"][0] |= {"file_name": nfd(NAME)}
    after["categories"][1]["name"] = nfd(after["categories"][1]["name"])
    blocks = {edit.block for edit in diff(Coco.of(before), Coco.of(after)).edits}
    assert "annotations" not in blocks


def test_the_same_photo_in_another_form_is_not_appended(tmp_path: Path) -> None:
    for form in (nfc, nfd):
        value = one_photo()
        value["images"][0]["file_name"] = form(NAME)
        (tmp_path / f"{form.__name__}.json").write_text(json.dumps(value))
    with pytest.raises(TrashkitError, match="has an image named"):
        import_annotations("coco", tmp_path / "nfd.json", tmp_path / "o.json", into=tmp_path / "nfc.json")


def test_pairs_are_found_by_form_and_case_only_where_that_is_clear() -> None:
    photos = ["a", "IMG_1", nfc("é"), "B", "b2"]
    found, lost = pair({"a": 1, "img_1": 2, nfd("é"): 3, "b": 4, "B2": 5, "b3": 6}, photos)
    assert found == {"a": 1, "IMG_1": 2, nfc("é"): 3, "B": 4, "b2": 5}
    assert lost == [6]
    found, lost = pair({"x": 1, "X": 2}, ["x", "X", "y"])
    assert (found, lost) == ({"x": 1, "X": 2}, [])
    found, lost = pair({"Xy": 1}, ["xy", "XY"])
    assert (found, lost) == ({}, [1])


@pytest.mark.parametrize("kind", ["voc", "masks", "ade20k", "mmsegmentation"])
def test_label_maps_without_a_photo_are_counted(kind: str, tmp_path: Path) -> None:
    data = dataset_of(value_of([(20, 24), (21, 19)], [(0, 2, [[2, 2, 14, 2, 14, 15]], None)]))
    export(kind, data, tmp_path / "out", images=write_photos(tmp_path / "photos", data))
    (tmp_path / "out" / IMAGE_LIST).unlink()
    photos = sorted(path for path in (tmp_path / "out").rglob("*.jpg"))
    photos[1].unlink()
    made = import_annotations(kind, tmp_path / "out", tmp_path / "back.json")
    assert made.images == 1
    assert "1 label maps without a photo, left out, first" in notes_of(made)
    photos[0].unlink()
    with pytest.raises(TrashkitError, match="has no photo"):
        import_annotations(kind, tmp_path / "out", tmp_path / "none.json")


def labelme(path: Path, photo: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = {"label": "can", "points": [[1, 1], [9, 1], [9, 9]], "shape_type": "polygon"}
    value = {"shapes": [shape], "imagePath": photo, "imageWidth": 24, "imageHeight": 20}
    path.write_text(json.dumps(value), encoding="utf-8")


def photo(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".jpg", np.zeros((20, 24, 3), np.uint8))[1].tobytes())


def test_photos_are_found_by_case_folder_and_ending(tmp_path: Path) -> None:
    photo(tmp_path / "in/day/IMG_1.JPG")
    photo(tmp_path / "in/night/IMG_1.JPG")
    photo(tmp_path / "in/x.jpg")
    labelme(tmp_path / "in/day/img_1.json", "img_1.jpg")
    labelme(tmp_path / "in/far/b.json", "..\\..\\photos\\night\\IMG_1.JPG")
    labelme(tmp_path / "in/x.json", "x.jpg")
    import_annotations("labelme", tmp_path / "in", tmp_path / "out.json")
    names = sorted(record["file_name"] for record in read(tmp_path / "out.json").records("images"))
    assert names == ["day/IMG_1.JPG", "night/IMG_1.JPG", "x.jpg"]
    labelme(tmp_path / "in/far/c.json", "../../elsewhere/IMG_1.JPG")
    shutil.move(tmp_path / "in/far/c.json", tmp_path / "in/c.json")
    made = import_annotations("labelme", tmp_path / "in", tmp_path / "two.json")
    assert made.images == 3
    assert "could be day/IMG_1" in notes_of(made)


def test_a_photo_inside_the_label_file_gives_its_size(tmp_path: Path) -> None:
    labelme(tmp_path / "in/a.json", "a.jpg")
    value = json.loads((tmp_path / "in/a.json").read_text())
    pixels = cv2.imencode(".png", np.zeros((33, 44, 3), np.uint8))[1].tobytes()
    value |= {"imageData": base64.b64encode(pixels).decode(), "imageWidth": None, "imageHeight": None}
    (tmp_path / "in/a.json").write_text(json.dumps(value))
    made = import_annotations("labelme", tmp_path / "in", tmp_path / "out.json")
    record = read(tmp_path / "out.json").record("images", 0)
    assert (record["file_name"], record["width"], record["height"]) == ("a.jpg", 44, 33)
    assert "only inside their label file" in notes_of(made)
    for data in (None, "", "%%%", base64.b64encode(b"no photo").decode()):
        (tmp_path / "in/a.json").write_text(json.dumps(value | {"imageData": data}))
        with pytest.raises(TrashkitError, match=r"a\.json has no imageWidth"):
            import_annotations("labelme", tmp_path / "in", tmp_path / "none.json")
    photo(tmp_path / "in/a.jpg")
    import_annotations("labelme", tmp_path / "in", tmp_path / "there.json")
    assert read(tmp_path / "there.json").record("images", 0)["width"] == 24
