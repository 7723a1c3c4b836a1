"""PNG: the lengths of its chunks, which decoders may allocate before they read."""

from __future__ import annotations

from trashkit.readers.content import ContentError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from the header of a PNG file.

    Raises ContentError unless its chunks fit into each other: a header first, and only there, and an end. OpenCV
    allocates what a chunk says, so 80 bytes could take 4 GB.
    """
    if not data.startswith(SIGNATURE):
        raise ContentError("it is not a PNG file")
    place, first = len(SIGNATURE), True
    while True:
        name, after = data[place + 4 : place + 8], place + 12 + int.from_bytes(data[place : place + 4])
        if len(name) < 4 or after > len(data):
            raise ContentError("it is truncated")
        if (name == b"IHDR") != first or (first and after != place + 25):
            raise ContentError("it has a damaged header")
        if name == b"IEND":
            return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])
        place, first = after, False
