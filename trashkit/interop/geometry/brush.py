"""Label Studio's brush masks: run-length encoded RGBA values.

Format: github.com/thi-ng/umbrella, package rle-pack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RUN_BITS = (3, 4, 8, 16)


def encode_brush(covered: NDArray[np.bool_]) -> list[int]:
    """A mask [H, W] in Label Studio's brush encoding: RGBA values, all four equal, run-length encoded."""
    flat = covered.ravel()
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts = [0, *edges.tolist()]
    lengths = np.diff([*starts, flat.size]) * 4
    bits = [f"{flat.size * 4:032b}", f"{7:05b}", *(f"{size - 1:04b}" for size in _RUN_BITS)]
    for start, length in zip(starts, lengths.tolist(), strict=True):
        value = "11111111" if flat[start] else "00000000"
        left = length
        while left:
            run = min(left, 1 << _RUN_BITS[-1])
            choice = next(n for n, size in enumerate(_RUN_BITS) if run <= 1 << size)
            bits.append(f"1{choice:02b}{run - 1:0{_RUN_BITS[choice]}b}{value}")
            left -= run
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8))


def decode_brush(data: list[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [H, W] of a brush: the pixels whose fourth value is not 0. Raises ValueError for damaged bytes."""
    raw = bytes(data)
    text = f"{int.from_bytes(raw):0{8 * len(raw)}b}" if raw else ""
    place = 0

    def take(size: int) -> int:
        nonlocal place
        place += size
        if place > len(text):
            raise ValueError("it ends too early")
        return int(text[place - size : place], 2)

    total = take(32)
    if total != height * width * 4:
        raise ValueError(f"it has {total} values, but an image of {width}x{height} has {height * width * 4}")
    word = take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    covered = np.zeros(height * width, np.bool_)
    done = 0
    while done < total:
        same = take(1)
        until = done + 1 + take(sizes[take(2)])
        if until > total:
            raise ValueError("its runs are longer than the image")
        if same:
            # Pixel n is covered if its fourth value, number 4n + 3, lies in the run.
            covered[done // 4 : until // 4] = take(word) != 0
        else:
            for position in range(done, until):
                value = take(word)
                if position % 4 == 3:
                    covered[position // 4] = value != 0
        done = until
    return covered.reshape(height, width)
