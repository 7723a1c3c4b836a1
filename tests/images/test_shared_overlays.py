"""A shared caption bar, letterbox, watermark, vignette or background does not make photos near-duplicates."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from trashkit.images.doubtful_groups import doubtful_groups, doubtful_lines, partners
from trashkit.images.near_duplicates import (
    MIN_AGREEMENT,
    NearDuplicate,
    near_duplicate_groups,
    near_duplicate_pairs,
    photo_features,
    register,
)

Pixels = NDArray[np.uint8]


def scene(seed: int, size: tuple[int, int] = (240, 320)) -> Pixels:
    """A textured random picture with shapes, uint8 [H, W, 3]."""
    rng = np.random.default_rng(seed)
    height, width = size
    photo = cv2.resize(rng.integers(40, 216, (5, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC)
    for _ in range(40):
        corners = rng.integers(0, (width, height), (1, 2)) + rng.integers(-35, 35, (4, 2))
        cv2.fillPoly(photo, [corners.astype(np.int32)], rng.integers(0, 256, 3).tolist())
    return np.asarray(photo, np.uint8)


def written(photo: Pixels, text: str, y: int, colour: tuple[int, int, int] = (255, 255, 255)) -> None:
    cv2.putText(photo, text, (8, y), cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)


def caption_bar(photo: Pixels) -> Pixels:
    shown = photo.copy()
    shown[-56:] = (28, 60, 120)
    written(shown, "RECYCLING NEWS 24 - LIVE FROM TOWN", 205)
    written(shown, "More plastic collected than ever before", 228)
    return shown


def letterbox(photo: Pixels) -> Pixels:
    shown = photo.copy()
    shown[:34] = shown[-34:] = 0
    written(shown, "CAM 03  2021-06-14  08:31  STREET 7", 22, (240, 240, 90))
    written(shown, "www.example.com/waste  subscribe now", 228, (240, 240, 90))
    return shown


def watermark(photo: Pixels) -> Pixels:
    drawn = np.zeros_like(photo)
    for row in range(5):
        place = (10 * (row % 2), 40 + 46 * row)
        cv2.putText(drawn, "STOCK PHOTO STOCK", place, cv2.FONT_HERSHEY_DUPLEX, 0.9, (255, 255, 255), 2)
    return np.where(drawn > 0, (photo * 0.5 + drawn * 0.5).astype(np.uint8), photo)


def vignette(photo: Pixels) -> Pixels:
    y, x = np.mgrid[-1 : 1 : photo.shape[0] * 1j, -1 : 1 : photo.shape[1] * 1j]
    return (photo * np.clip(1.25 - 0.85 * (x**2 + y**2), 0.05, 1)[..., None]).astype(np.uint8)


def one_background(photo: Pixels) -> Pixels:
    shown = scene(999)
    shown[50:200, 60:250] = cv2.resize(photo, (190, 150), interpolation=cv2.INTER_AREA)
    return shown


OVERLAYS = (caption_bar, letterbox, watermark, vignette, one_background)


def copies(photo: Pixels) -> list[Pixels]:
    """Encoded again, smaller, cropped, brighter, and the next frame of a video."""
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 40])
    height, width = photo.shape[:2]
    moved = cv2.warpAffine(photo, np.array([[1, 0, 5], [0, 1, -4]], float), (width, height), borderMode=1)
    noise = np.random.default_rng(0).normal(0, 4, photo.shape)
    return [
        np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8),
        np.asarray(cv2.resize(photo, None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA), np.uint8),
        photo[round(height * 0.06) : round(height * 0.96), round(width * 0.04) : round(width * 0.94)].copy(),
        np.clip(photo * 1.2 + 8, 0, 255).astype(np.uint8),
        np.clip(cv2.GaussianBlur(moved, (0, 0), 0.8) + noise, 0, 255).astype(np.uint8),
    ]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_photos_that_share_an_overlay_are_not_duplicates(overlay: Callable[[Pixels], Pixels]) -> None:
    features = [photo_features(overlay(scene(seed))) for seed in range(24)]
    assert near_duplicate_pairs(features) == []


def test_the_overlays_are_hard_for_registration_alone() -> None:
    features = [photo_features(one_background(scene(seed))) for seed in range(6)]
    assert sum(register(features[0], other) is not None for other in features[1:]) >= 3


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_copies_under_an_overlay_are_found(overlay: Callable[[Pixels], Pixels]) -> None:
    photos = [overlay(scene(seed)) for seed in range(10)]
    made = [copy for photo in photos[:4] for copy in copies(photo)]
    pairs = near_duplicate_pairs([photo_features(photo) for photo in [*photos, *made]])
    groups = near_duplicate_groups([photo_features(photo) for photo in [*photos, *made]]).tolist()
    assert groups[:10] == list(range(10))
    right = [groups[10 + n] == n // 5 for n in range(len(made))]
    assert sum(right) >= 19
    assert all(MIN_AGREEMENT["normal"] <= pair.agreement <= 1 for pair in pairs)


def test_white_margins_of_another_size_do_not_hide_a_copy() -> None:
    photo = scene(3)
    padded = [cv2.copyMakeBorder(photo, top, 10, 0, 0, cv2.BORDER_CONSTANT, value=(255,) * 3) for top in (10, 60)]
    others = [photo_features(scene(seed)) for seed in range(20, 26)]
    pairs = near_duplicate_pairs([*others, *(photo_features(np.asarray(one, np.uint8)) for one in padded)])
    assert [(one, other) for one, other, _ in pairs] == [(6, 7)]


def test_matching_is_a_matter_of_degree_and_repeatable() -> None:
    photos = [scene(seed) for seed in range(8)]
    changed = [photo.copy() for photo in photos]
    for n, photo in enumerate(changed):  # moved, and more and more of it covered
        photo[:] = np.roll(photo, 12, axis=1)
        photo[40 : 40 + 12 * n, 60 : 60 + 14 * n] = scene(500 + n)[: 12 * n, : 14 * n]
    features = [photo_features(photo) for photo in [*photos, *changed]]
    normal, strict = (near_duplicate_pairs(features, matching=matching) for matching in ("normal", "strict"))
    assert near_duplicate_pairs(features) == normal
    assert near_duplicate_pairs(features, matching="off") == []
    assert {(pair.one, pair.other) for pair in strict} <= {(pair.one, pair.other) for pair in normal}
    assert 1 <= len(strict) <= len(normal) < 8
    assert all(pair.agreement >= MIN_AGREEMENT["strict"] for pair in strict)


def pairs_of(*given: tuple[int, int, float]) -> list[NearDuplicate]:
    return [NearDuplicate(*one) for one in given]


def test_a_weak_pair_between_two_groups_is_named() -> None:
    pairs = pairs_of((0, 1, 0.95), (1, 2, 0.9), (3, 4, 0.97), (2, 3, 0.66), (8, 9, 0.61))
    (group,) = doubtful_groups(200, pairs)
    assert (group.members, group.pair, group.parts, group.weak) == ((0, 1, 2, 3, 4), pairs[3], (2, 3), True)
    names = [f"{n}.jpg" for n in range(200)]
    first, last = doubtful_lines([group], names, "normal")
    assert "5 of 200 photos" in first and "only 2.jpg and 3.jpg (agreement 0.66) join 2 photos with 3 others" in first
    assert last.endswith("--near-duplicate-matching strict or off")
    assert group.as_json(names)["pair"] == ["2.jpg", "3.jpg"]


def test_large_groups_are_named_with_their_weakest_pair() -> None:
    chain = pairs_of(*((n, n + 1, 0.9 + n / 1000) for n in range(9)))
    (group,) = doubtful_groups(100, chain)
    assert (len(group.members), group.pair, group.weak) == (10, chain[0], False)
    assert doubtful_groups(1000, chain) == []
    assert doubtful_groups(20, chain[:3]) == []


def test_each_photo_has_a_partner_on_the_way_to_the_first_of_its_group() -> None:
    pairs = pairs_of((1, 4, 0.9), (2, 4, 0.8), (5, 6, 0.7))
    assert partners(pairs) == {4: pairs[0], 2: pairs[1], 6: pairs[2]}
