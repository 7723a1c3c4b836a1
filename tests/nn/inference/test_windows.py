"""Views and windows are undone exactly: a pixel-wise network gives the same result with all of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trashkit.nn.inference.predict import mean_probabilities
from trashkit.nn.inference.tta import VIEWS, views
from trashkit.nn.inference.windows import blend_weights, predict_windows, window_starts


def by_pixel(photos: Tensor) -> Tensor:
    """A network without context: three classes from three channels."""
    return (photos.float() / 64).softmax(dim=1)


class Pixelwise(torch.nn.Module):
    def forward(self, photos: Tensor) -> Tensor:
        return photos.float() / 64


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.integers(1, 64))
def test_windows_cover_an_axis(length: int, window: int) -> None:
    begins = window_starts(length, window)
    covered = {at for begin in begins for at in range(begin, min(begin + window, length))}
    assert covered == set(range(length)) and begins == sorted(set(begins))
    assert all(0 <= begin <= max(length - window, 0) for begin in begins)
    assert (blend_weights(window) > 0).all()


@pytest.mark.parametrize("size", [(40, 70), (32, 32), (33, 32), (20, 90)])
def test_windows_blend_to_the_original_values(size: tuple[int, int]) -> None:
    photos = torch.randint(0, 256, (2, 3, *size), dtype=torch.uint8)
    torch.testing.assert_close(predict_windows(by_pixel, photos, (32, 32)), by_pixel(photos), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", VIEWS)
def test_views_are_undone_exactly(name: str) -> None:
    batch = torch.rand(2, 3, 48, 64)
    for view in views(name):
        assert torch.equal(view.undo(view.apply(batch)), batch), view.name


@pytest.mark.parametrize("name", VIEWS)
def test_an_even_photo_stays_even(name: str) -> None:
    """Of one colour, a photo looks the same in every view, scale and window."""
    photos = torch.full((1, 3, 64, 64), 100, dtype=torch.uint8)
    photos[:, 1] = 30
    for window in (None, (32, 32)):
        seen = mean_probabilities(Pixelwise(), photos, tta=name, window=window)  # type: ignore[arg-type]
        torch.testing.assert_close(seen, by_pixel(photos), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["none", "flip", "flips", "d4"])
def test_turned_views_change_no_pixel(name: str) -> None:
    photos = torch.randint(0, 256, (2, 3, 48, 48), dtype=torch.uint8)
    seen = mean_probabilities(Pixelwise(), photos, tta=name)  # type: ignore[arg-type]
    torch.testing.assert_close(seen, by_pixel(photos), atol=1e-6, rtol=0)
