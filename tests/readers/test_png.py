"""The structure of PNG files is checked before they are decoded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trashkit.readers import ContentError, png_size

GOOD = cv2.imencode(".png", np.zeros((3, 5), np.uint8))[1].tobytes()


def test_the_size_is_that_of_the_header() -> None:
    assert png_size(GOOD) == (5, 3)
    assert png_size(GOOD + b"more") == (5, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a PNG"),
        (b"\xff\xd8\xff" + GOOD, "not a PNG"),
        (GOOD[:8], "truncated"),
        (GOOD[:30], "truncated"),
        (GOOD[:-12], "truncated"),
        (GOOD[:33] + b"\xff\xff\xff\xff" + GOOD[37:], "truncated"),
        (GOOD[:33] + GOOD[8:], "header"),
        (GOOD[:8] + GOOD[33:], "header"),
        (GOOD[:8] + b"\0\0\0\x20" + GOOD[12:], "header"),
    ],
)
def test_chunks_that_do_not_fit_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(ContentError, match=words):
        png_size(data)
