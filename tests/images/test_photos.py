"""Decoding every kind of photo, EXIF turns, damaged files, thumbnails and hashes."""

from __future__ import annotations

import io
import json
import struct
import unicodedata
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from trashkit.errors import TrashkitError
from trashkit.images import hashes, photos


def scene(height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth colours without any symmetry."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [rows * 200 / height + 20, columns * 200 / width + 20, (rows * columns) * 200 / (height * width) + 30]
    return np.stack(channels, axis=2).astype(np.uint8)


def save(path: Path, mode: str = "RGB", orientation: int = 0, **options: object) -> Path:
    image = Image.fromarray(scene()).convert(mode)
    if orientation:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options["exif"] = exif.tobytes()
    image.save(path, **options)
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


@pytest.mark.parametrize(
    ("name", "mode", "tolerance"),
    [
        ("a.jpg", "RGB", 12),
        ("a.jpg", "CMYK", 14),
        ("a.png", "RGB", 0),
        ("a.png", "RGBA", 0),
        ("a.png", "P", 60),
        ("a.webp", "RGB", 40),
        ("a.bmp", "RGB", 0),
        ("a.tif", "RGB", 0),
        ("a.tif", "CMYK", 2),
        ("a.gif", "RGB", 60),
        ("a.avif", "RGB", 30),
    ],
)
def test_colour_photos_of_every_kind_show_the_same_scene(tmp_path, name, mode, tolerance):
    found = photos.read_photo(save(tmp_path / name, mode))
    assert found.dtype == np.uint8
    assert found.shape == (48, 64, 3)
    assert found.flags.c_contiguous
    assert np.abs(found.astype(int) - scene()).max() <= tolerance
    assert np.abs(found.astype(int) - scene()).mean() <= tolerance / 3


@pytest.mark.parametrize(
    ("name", "mode"), [("a.jpg", "L"), ("a.png", "L"), ("a.png", "LA"), ("a.png", "1"), ("a.tif", "F")]
)
def test_grey_photos_get_three_equal_channels(tmp_path, name, mode):
    found = photos.read_photo(save(tmp_path / name, mode))
    assert found.shape == (48, 64, 3)
    assert (found[..., 0] == found[..., 1]).all()
    assert (found[..., 0] == found[..., 2]).all()
    assert found.std() > 20


def test_jpegs_are_decoded_as_by_pillow(tmp_path):
    path = save(tmp_path / "a.jpg", quality=90)
    assert np.abs(photos.read_photo(path).astype(int) - np.asarray(Image.open(path)).astype(int)).max() <= 2


def test_sixteen_bits_keep_their_high_byte(tmp_path):
    grey = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) * 21
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(photos.read_photo(tmp_path / "grey.png")[..., 1], grey >> 8)
    Image.fromarray(grey).save(tmp_path / "grey.tif")
    assert np.array_equal(photos.read_photo(tmp_path / "grey.tif")[..., 1], grey >> 8)
    colour = np.stack([grey, grey[::-1], grey[:, ::-1]], axis=2)
    cv2.imwrite(str(tmp_path / "colour.png"), colour)
    assert np.abs(photos.read_photo(tmp_path / "colour.png").astype(int) - (colour[..., ::-1] >> 8)).max() <= 1


def test_transparent_pixels_become_white(tmp_path):
    pixels = np.zeros((4, 6, 4), np.uint8)
    pixels[..., 0] = 200
    pixels[:, :2, 3], pixels[:, 2:4, 3] = 255, 128
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = photos.read_photo(tmp_path / "a.png")
    assert found[0, 0].tolist() == [200, 0, 0]
    assert found[0, 5].tolist() == [255, 255, 255]
    assert np.abs(found[0, 2].astype(int) - [227, 127, 127]).max() <= 2
    palette = Image.new("P", (5, 5), 1)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.save(tmp_path / "p.png", transparency=1)
    assert (photos.read_photo(tmp_path / "p.png") == 255).all()
    Image.new("RGB", (5, 5), (9, 8, 7)).save(tmp_path / "key.png", transparency=(9, 8, 7))
    assert (photos.read_photo(tmp_path / "key.png") == 255).all()


def test_the_first_frame_of_an_animation_is_used(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 250, 0))]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert photos.read_photo(tmp_path / "a.gif")[0, 0].tolist() == [250, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_all_exif_orientations_match_pillow(tmp_path, name, orientation):
    path = save(tmp_path / name, orientation=orientation)
    with Image.open(path) as image:
        want = np.asarray(ImageOps.exif_transpose(image).convert("RGB")).astype(int)
    found = photos.read_photo(path)
    assert found.shape == want.shape
    assert found.flags.c_contiguous
    assert np.abs(found - want).max() <= 2
    small = photos.thumbnail(path, 16)
    assert max(small.shape) == 16
    assert (small.shape[0] > small.shape[1]) == (orientation >= 5)
    assert np.abs(small - cv2.resize(found, small.shape[1::-1], interpolation=cv2.INTER_AREA).astype(int)).max() <= 20


@pytest.mark.parametrize("orientation", [6, 8, 5, 7])
def test_a_photo_is_rotated_only_if_it_then_fits_the_annotated_size(tmp_path, orientation):
    path = save(tmp_path / "a.jpg", orientation=orientation)  # 64x48 as stored
    info = photos.photo_info(path)
    assert (info.width, info.height, info.orientation, info.oriented_size) == (64, 48, orientation, (48, 64))
    assert photos.read_photo(path).shape[:2] == (64, 48)
    assert photos.read_photo(path, (48, 64)).shape[:2] == (64, 48)
    assert photos.read_photo(path, (64, 48)).shape[:2] == (48, 64)
    assert photos.read_photo(path, (100, 100)).shape[:2] == (48, 64)
    assert photos.thumbnail(path, 32, (64, 48)).shape[:2] == (24, 32)


def test_half_turns_are_not_applied_if_the_annotated_size_is_given(tmp_path):
    path = save(tmp_path / "a.jpg", orientation=3)
    stored = photos.read_photo(path, (64, 48))
    assert np.array_equal(photos.read_photo(path), stored[::-1, ::-1])


def test_square_photos_follow_exif(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels = scene(40, 40)
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif.tobytes())
    assert np.array_equal(photos.read_photo(tmp_path / "a.png", (40, 40)), np.rot90(pixels, -1))


@pytest.mark.parametrize("value", [0, 9, 300])
def test_invalid_orientations_are_ignored(tmp_path, value):
    exif = Image.Exif()
    exif[0x0112] = value
    Image.fromarray(scene()).save(tmp_path / "a.jpg", exif=exif.tobytes())
    assert photos.read_photo(tmp_path / "a.jpg").shape == (48, 64, 3)
    Image.fromarray(scene()).save(tmp_path / "b.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\xff\x01\x12")
    assert photos.read_photo(tmp_path / "b.jpg").shape == (48, 64, 3)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.gif", "a.tif"])
@pytest.mark.parametrize("part", [0.3, 0.6, 0.9])
def test_truncated_photos_are_refused(tmp_path, name, part):
    Image.fromarray(scene(200, 300)).save(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(TrashkitError) as caught:
        photos.read_photo(tmp_path / name)
    assert str(tmp_path / name) in caught.value.message
    assert caught.value.hint


def test_truncation_is_found_behind_a_thumbnail_and_in_progressive_jpegs(tmp_path):
    inner = io.BytesIO()
    Image.fromarray(scene(20, 20)).save(inner, "JPEG")
    outer = io.BytesIO()
    Image.fromarray(scene(200, 300)).save(outer, "JPEG", progressive=True)
    data = outer.getvalue()
    segment = b"\xff\xe5" + struct.pack(">H", len(inner.getvalue()) + 2) + inner.getvalue()
    whole = data[:2] + segment + data[2:]
    (tmp_path / "a.jpg").write_bytes(whole)
    assert photos.read_photo(tmp_path / "a.jpg").shape == (200, 300, 3)
    for end in range(len(segment) + 10, len(whole) - 2, 97):
        (tmp_path / "a.jpg").write_bytes(whole[:end])
        with pytest.raises(TrashkitError, match=r"a\.jpg"):
            photos.read_photo(tmp_path / "a.jpg")
        with pytest.raises(TrashkitError, match=r"a\.jpg"):
            photos.thumbnail(tmp_path / "a.jpg", 32)


def test_bytes_after_the_end_of_a_jpeg_are_ignored(tmp_path):
    path = save(tmp_path / "a.jpg")
    want = photos.read_photo(path)
    path.write_bytes(path.read_bytes() + b"video \xff\xda more of it")
    assert np.array_equal(photos.read_photo(path), want)


def test_files_that_are_not_photos_are_refused_by_name(tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("not a photo" * 20)
    (tmp_path / "folder.jpg").mkdir()
    header = struct.pack(">IIBBBBB", 40_000, 30_000, 8, 2, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    header = struct.pack(">IIBBBBB", 13_300, 13_300, 8, 2, 0, 0, 0)
    (tmp_path / "big.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    for name, words in (
        ("empty.jpg", "is empty"),
        ("text.jpg", "is not a photo"),
        ("folder.jpg", "is a folder"),
        ("absent.jpg", "does not exist"),
        ("text.jpg/inside.jpg", "does not exist"),
        ("bomb.png", "too large"),
        ("big.png", "too large"),
    ):
        for read in (photos.read_photo, photos.photo_info, lambda path: photos.thumbnail(path, 64)):
            with pytest.raises(TrashkitError, match=words) as caught:
                read(tmp_path / name)
            assert name in caught.value.message
            assert caught.value.hint
            assert "\n" not in caught.value.message


def test_random_bytes_never_raise_another_error(tmp_path):
    generator = np.random.default_rng(0)
    for name in ("a.jpg", "a.png", "a.gif", "a.tif", "a.webp"):
        whole = save(tmp_path / name).read_bytes()
        for _ in range(40):
            data = bytearray(whole)
            for place in generator.integers(0, len(data), 12):
                data[place] = int(generator.integers(0, 256))
            (tmp_path / name).write_bytes(data)
            try:
                found = photos.read_photo(tmp_path / name)
            except TrashkitError:
                continue
            assert found.ndim == 3
            assert found.dtype == np.uint8


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "/etc/passwd", "", " ", ".", "a\0.jpg", "..", None, 7])
def test_file_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(TrashkitError):
        photos.photo_path(tmp_path, name)


def test_ordinary_file_names_are_joined(tmp_path):
    assert photos.photo_path(tmp_path, "batch 1/0002.jpg") == tmp_path / "batch 1/0002.jpg"
    with pytest.raises(TrashkitError, match="unpaired surrogate"):
        photos.photo_path(tmp_path, "\ud800.jpg")
    assert photos.photo_path(tmp_path, "./x/../..a.jpg") == tmp_path / "..a.jpg"


def test_korean_file_names_are_found_composed_and_decomposed(tmp_path):
    name = "쓰레기 사진/유리.png"
    stored = tmp_path / unicodedata.normalize("NFD", name)
    stored.parent.mkdir()
    save(stored)
    assert photos.read_photo(photos.photo_path(tmp_path, unicodedata.normalize("NFC", name))).shape == (48, 64, 3)
    assert photos.photo_path(tmp_path, "없음.png") == tmp_path / "없음.png"


def test_thumbnails_keep_the_ratio_and_never_grow(tmp_path):
    Image.fromarray(scene(300, 1000)).save(tmp_path / "a.jpg", quality=95)
    small = photos.thumbnail(tmp_path / "a.jpg", 100)
    assert small.shape == (30, 100, 3)
    want = cv2.resize(photos.read_photo(tmp_path / "a.jpg"), (100, 30), interpolation=cv2.INTER_AREA)
    assert np.abs(small.astype(int) - want).max() <= 6
    assert photos.thumbnail(tmp_path / "a.jpg", 5000).shape == (300, 1000, 3)
    assert photos.shrink(scene(2, 400), 40).shape == (1, 40, 3)


@pytest.mark.parametrize("hash_of", [hashes.dhash, hashes.phash])
def test_hashes_are_near_for_copies_and_far_for_others(hash_of):
    generator = np.random.default_rng(0)
    originals = [
        cv2.resize(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8), (160, 120), interpolation=cv2.INTER_CUBIC)
        for _ in range(20)
    ]
    copies = []
    for original in originals:
        coded = cv2.imencode(".jpg", cv2.resize(original, (97, 71), interpolation=cv2.INTER_AREA))[1]
        copies.append(np.clip(cv2.imdecode(coded, cv2.IMREAD_COLOR) * 0.9 + 12, 0, 255).astype(np.uint8))
    first = hash_of(originals)
    assert first.dtype == np.uint64
    assert np.array_equal(first[3:5], hash_of(originals[3:5]))
    distances = hashes.hash_distances(first, hash_of(copies))
    assert distances.shape == (20, 20)
    assert np.diag(distances).max() <= 8
    assert (distances + 64 * np.eye(20, dtype=np.uint8)).min() >= 12
    assert hash_of([]).shape == (0,)


def test_dhash_bits_are_set_where_brightness_rises():
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (64, 1))
    assert hashes.dhash([ramp, ramp[:, ::-1]]).tolist() == [2**64 - 1, 0]


@pytest.mark.real
def test_real_litter_photos_are_rotated_as_annotated(real_data: Path):
    folder = real_data / "litter"
    images = json.loads((folder / "annotations.json").read_text())["images"]
    turned = []
    for image in images:
        path = photos.photo_path(folder, image["file_name"])
        size = (image["width"], image["height"])
        photo = photos.read_photo(path, size)
        assert photo.shape[1::-1] == size, image["file_name"]
        info = photos.photo_info(path)
        if info.orientation == 6 and (info.width, info.height) != size:
            turned.append(image["file_name"])
    assert len(turned) == 5
    assert "images/0019.jpg" not in turned
    kept = photos.photo_info(folder / "images/0019.jpg")
    assert kept.orientation == 6


def test_names_that_begin_with_the_folder_belong_to_the_one_above(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    with pytest.raises(TrashkitError, match="does not exist") as caught:
        photos.read_photo(photos.photo_path(tmp_path / "images", "images/a.png"))
    assert caught.value.hint == f"it is in the parent folder: --images {tmp_path}"
    with pytest.raises(TrashkitError) as caught:
        photos.read_photo(tmp_path / "images" / "b.png")
    assert caught.value.hint == "check --images and the file_name"


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_rotated_avif_is_turned(tmp_path):
    path = save(tmp_path / "a.avif", orientation=6)
    assert photos.photo_info(path).oriented_size == (48, 64)
    assert photos.read_photo(path).shape == (64, 48, 3)


def test_heic_is_named_with_what_to_install(tmp_path):
    (tmp_path / "a.jpg").write_bytes(HEIC)
    for read in (photos.read_photo, photos.photo_info, lambda path: photos.thumbnail(path, 16)):
        with pytest.raises(TrashkitError, match="HEIC photo") as error:
            read(tmp_path / "a.jpg")
        assert error.value.hint == "pip install pi-heif"


def test_heic_is_read_with_a_package_that_the_user_installed(tmp_path, monkeypatch):
    class Package:
        @staticmethod
        def register_heif_opener() -> None:
            Image.register_open(
                "HEIF", lambda fp, filename: Image.new("RGB", (8, 6), (9, 9, 9)), lambda head: head[4:8] == b"ftyp"
            )

    def found(name):
        if name != "pillow_heif":
            raise ImportError(name)
        return Package

    monkeypatch.setattr(photos, "import_module", found)
    (tmp_path / "a.heic").write_bytes(HEIC)
    try:
        assert photos.read_photo(tmp_path / "a.heic").shape == (6, 8, 3)
    finally:
        Image.OPEN.pop("HEIF", None)
        Image.ID.remove("HEIF")


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"PK\x03\x04" + bytes(30), "ZIP archive"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a video"),
    ],
)
def test_files_that_are_no_photos_are_named(tmp_path, data, cause):
    (tmp_path / "a.jpg").write_bytes(data)
    for read in (photos.read_photo, photos.photo_info):
        with pytest.raises(TrashkitError, match=cause):
            read(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_too_little_memory_is_not_the_fault_of_the_photo(tmp_path, monkeypatch, name):
    def fails(*_: object, **__: object) -> None:
        raise MemoryError

    def lacks(*_: object) -> None:
        raise error

    error = cv2.error("OpenCV alloc.cpp:73: error: (-4:Insufficient memory) Failed to allocate 9 bytes")
    error.code = cv2.Error.StsNoMem
    save(tmp_path / name)
    monkeypatch.setattr(photos.cv2, "imdecode", lacks)
    monkeypatch.setattr(Image.Image, "convert", fails)
    monkeypatch.setattr(Image.Image, "load", fails)
    with pytest.raises(MemoryError):
        photos.read_photo(tmp_path / name)
