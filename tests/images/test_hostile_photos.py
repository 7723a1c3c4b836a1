"""Photo files that are damaged or made to do harm: each is one clear error, soon, and in little memory."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trashkit.errors import TrashkitError
from trashkit.images import photos, pixels

READERS: list[Callable[[Path], object]] = [
    photos.read_photo,
    photos.photo_info,
    lambda path: photos.thumbnail(path, 64),
]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2, pixels: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def fifo(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.write(b"\xff\xd8\xff")
        file.truncate(5 << 30)


PLACES = {"fifo": (fifo, "pipe or a device"), "device": (device, "pipe or a device"), "loop": (loop, "symbolic links"),
          "sparse": (sparse, "larger than 1024 MiB")}  # fmt: skip


@pytest.mark.parametrize("case", PLACES)
def test_places_that_are_not_photos_are_refused(tmp_path: Path, case: str) -> None:
    make, words = PLACES[case]
    path = tmp_path / "a.jpg"
    make(path)
    for read in READERS[:1] if case == "sparse" else READERS:
        with pytest.raises(TrashkitError, match=words):
            read(path)


CONTENT = {
    "bomb": (png(60_000, 60_000), "too large"),
    "bomb without end": (png(60_000, 60_000)[:40], r"too large|not a photo"),
    "negative": (png(0xFFFFFFFF, 4), r"not a photo|too large"),
    "zero sides": (png(0, 0), "not a photo"),
    "bitmap of 2**31 rows": (
        b"BM" + struct.pack("<IHHIIiiHHII4I", 100, 0, 0, 54, 40, 9, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0),
        r"too large|not a photo|damaged",
    ),
    "text that unpacks to 256 MB": (
        png(4, 4)[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 28), 9)) + png(4, 4)[33:],
        r"not a photo|damaged",
    ),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "not a photo"),
    "TIFF that refers to itself": (b"II*\0\x08\0\0\0\x01\0\x00\x01\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0", "not a photo"),
    "GIF without frames": (b"GIF89a\xff\xff\xff\xff\0\0\0;", r"not a photo|damaged|truncated|too large"),
    "chunk of 4 GB": (png(4, 4)[:33] + b"\xff\xff\xff\xffIDAT" + bytes(20) + b"IEND", "truncated"),
    "two headers": (png(4, 4)[:33] + png(4, 4)[8:], "truncated"),
    "one byte": (b"\xff", "not a photo"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONTENT)
def test_content_that_is_not_a_photo_is_refused(tmp_path: Path, case: str) -> None:
    content, words = CONTENT[case]
    (tmp_path / "a.png").write_bytes(content)
    for read in (READERS[0], READERS[2]):
        with pytest.raises(TrashkitError, match=words) as caught:
            read(tmp_path / "a.png")
        assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["é" * 300 + ".jpg", "a" * 5000 + ".jpg", "a/" * 3000 + "b.jpg"])
def test_names_that_are_too_long_are_refused(tmp_path: Path, name: str) -> None:
    path = photos.photo_path(tmp_path, name)
    for read in READERS:
        with pytest.raises(TrashkitError, match="too long"):
            read(path)


def test_names_of_odd_bytes_are_read(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    Image.new("RGB", (3, 2)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / name)
    with pytest.raises(TrashkitError, match="unpaired surrogate"):
        photos.photo_path(tmp_path, "\ud800.png")
    assert photos.read_photo(photos.photo_path(tmp_path, name)).shape == (2, 3, 3)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "colour", "size"), [(8, 2, 3), (8, 6, 4), (16, 0, 2), (8, 3, 1)])
def test_large_photos_take_little_memory(tmp_path: Path, depth: int, colour: int, size: int) -> None:
    """At most 10 bytes per pixel, which is 1.75 GB for the largest, with several threads at once, too."""
    side = 5000
    whole = png(side, side, depth, colour, zlib.compress(bytes(side * (1 + side * size)), 1))
    if colour == 3:
        whole = whole[:33] + chunk(b"PLTE", bytes(6)) + chunk(b"tRNS", b"\x80\xff") + whole[33:]
    (tmp_path / "a.png").write_bytes(whole)
    script = """
import resource, sys, threading
from pathlib import Path
from trashkit.images import photos
work = [threading.Thread(target=photos.thumbnail, args=(Path(sys.argv[1]), 64)) for _ in range(3)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
[one.start() for one in work], [one.join() for one in work]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before << 10)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png")], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    assert int(done.stdout) < 10 * side * side


def test_only_one_large_photo_is_decoded_at_a_time() -> None:
    large, small = (photos.PhotoInfo(side, side, "RGB", 1, "PNG") for side in (5000, 100))
    inside = threading.Event()

    def other() -> None:
        with photos.limited_memory(large):
            inside.set()

    with photos.limited_memory(small), photos.limited_memory(large), photos.limited_memory(large):
        thread = threading.Thread(target=other)
        thread.start()
        assert not inside.wait(0.05)
    thread.join()
    assert inside.is_set()


def test_wide_values_are_converted_alike_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(-3, 9, 300, dtype=np.float32).reshape(20, 15)
    values[0, 0], values[1, 1] = np.nan, np.inf
    Image.fromarray(values).save(tmp_path / "f.tif")
    Image.fromarray(np.arange(300, dtype=np.uint16).reshape(20, 15) * 200).save(tmp_path / "i.png")
    Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(20, 15, 4)).save(tmp_path / "a.png")
    whole = [photos.read_photo(tmp_path / name) for name in ("f.tif", "i.png", "a.png")]
    monkeypatch.setattr(pixels, "_BAND", 47)
    for name, want in zip(("f.tif", "i.png", "a.png"), whole, strict=True):
        assert np.array_equal(photos.read_photo(tmp_path / name), want)
    assert whole[0].min() == 0
    assert whole[0].max() == 255
