"""Scenes of trash: placed, lit and photographed, with the true object of every pixel.

A scene is planned once (`compose`) and photographed one or several times (`photograph`); several photos of one scene
are near-duplicates, differing in shift, zoom, turn, light and noise. The given random
generators determine everything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.demo.drawing import bodies, packs, scraps, soft
from trashkit.demo.drawing.grounds import CLUTTER, GROUNDS
from trashkit.demo.drawing.noise import fractal
from trashkit.demo.drawing.outlines import remove_specks
from trashkit.demo.drawing.pen import Picture, Ring, Sprite
from trashkit.raster.measures import signed_area

Draw = Callable[[np.random.Generator, int], Sprite]
Affine = NDArray[np.float64]
# Per class (1..10): drawing functions with their weights, and the range of lengths as a share of the picture's side.
KINDS: dict[int, tuple[tuple[tuple[Draw, float], ...], tuple[float, float]]] = {
    1: (
        (
            (scraps.banana, 1),
            (scraps.core, 1),
            (scraps.blister, 1),
            (scraps.pizza, 1),
            (scraps.heap, 1),
            (scraps.brush, 0.6),
        ),
        (0.13, 0.34),
    ),
    2: (((soft.sheet, 1), (soft.ball, 0.8), (soft.newspaper, 0.6), (soft.cardboard, 0.9)), (0.14, 0.44)),
    3: (((packs.carton, 1), (packs.brick, 0.8)), (0.18, 0.38)),
    4: (((bodies.can, 1), (bodies.tin, 0.5), (bodies.foil, 0.4)), (0.15, 0.32)),
    5: (((bodies.glass_bottle, 1), (bodies.jar, 0.4)), (0.20, 0.46)),
    6: (((bodies.pet_bottle, 1), (bodies.detergent, 0.5), (bodies.cup, 0.6)), (0.18, 0.42)),
    7: (((packs.foam_tray, 1), (packs.foam_block, 1), (packs.foam_bowl, 0.5)), (0.20, 0.44)),
    8: (((soft.carrier_bag, 1), (soft.sack, 0.8), (soft.wrapper, 0.8)), (0.18, 0.50)),
    9: (((packs.battery, 1), (packs.coin_cell, 0.25), (packs.block_cell, 0.4)), (0.11, 0.20)),
    10: (((soft.shirt, 1), (soft.sock, 0.8), (soft.trousers, 0.7)), (0.26, 0.54)),
}


@dataclass(frozen=True, slots=True)
class Placed:
    """A sprite with its class (0 is clutter) and the affine [2, 3] from its canvas to the scene (side 1)."""

    class_index: int
    sprite: Sprite
    place: Affine


@dataclass(frozen=True, slots=True)
class Scene:
    """A planned scene: ground float32 [n, n, 3], objects from below to above, light (direction x, y and strength)."""

    ground: Picture
    objects: tuple[Placed, ...]
    sun: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Shot:
    """One photo uint8 RGB [n, n, 3] and its map of objects int32 [n, n]: 0 is ground, else `classes[object - 1]`."""

    photo: NDArray[np.uint8]
    objects: NDArray[np.int32]
    classes: tuple[int, ...]


def compose(rng: np.random.Generator, classes: Sequence[int], side: int) -> Scene:
    """Plan a scene for photos of `side` pixels: one object per class given, so that each stays visible.

    An object that would hide more than two thirds of another, or lie mostly outside, is moved or shrunk until it fits,
    so that crowded scenes have all requested objects, too.
    """
    names = list(GROUNDS)
    ground = GROUNDS[names[int(rng.integers(len(names)))]](rng, side)
    turn = rng.uniform(0, 2 * np.pi)
    sun = (float(np.cos(turn)), float(np.sin(turn)), float(rng.uniform(0.25, 0.6)))
    crowd = min(1.0, (9.0 / max(len(classes), 1)) ** 0.5)
    # Fifteen pixels, so that even a battery in a small picture is more than a speck.
    lengths = [max(_length(rng, c) * crowd, 15 / side) for c in classes]
    order = sorted(range(len(classes)), key=lambda k: -lengths[k] * rng.uniform(0.6, 1.4))
    placed = [_clutter(rng, side) for _ in range(int(rng.poisson(4)))]
    grid = max(side, 128)
    taken = np.zeros((grid, grid), np.int32)
    full: list[int] = []
    for k in order:
        unplaced = Placed(classes[k], _drawn(rng, classes[k], lengths[k], side), np.eye(2, 3))
        placed += [_place_visible(rng, unplaced, lengths[k], taken, full)]
    return Scene(ground, tuple(placed), sun)


def _length(rng: np.random.Generator, class_index: int) -> float:
    low, high = KINDS[class_index][1]
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _drawn(rng: np.random.Generator, class_index: int, length: float, side: int) -> Sprite:
    kinds = KINDS[class_index][0]
    weights = np.array([weight for _, weight in kinds])
    draw = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))][0]
    # Drawn one and a half times larger than shown, so that rotating it with `warpAffine` is smooth.
    return draw(rng, int(np.clip(length * side * 1.5, 40, 700)))


def _clutter(rng: np.random.Generator, side: int) -> Placed:
    draw = CLUTTER[int(rng.integers(len(CLUTTER)))]
    length = float(rng.uniform(0.03, 0.10))
    sprite = draw(rng, int(np.clip(length * side * 1.5, 14, 300)))
    return Placed(0, sprite, _placement(rng.uniform(0, 1, 2), rng.uniform(0, 2 * np.pi), length, sprite))


def _placement(centre: NDArray[np.float64], turn: float, length: float, sprite: Sprite) -> Affine:
    """The affine that centres a sprite at `centre`, rotated, with its longer side `length` long (scene side 1)."""
    h, w = sprite.alpha.shape
    scale = length / max(h, w)
    c, s = np.cos(turn) * scale, np.sin(turn) * scale
    linear = np.array([[c, -s], [s, c]])
    return np.column_stack([linear, centre - linear @ (w / 2, h / 2)])


def _place_visible(
    rng: np.random.Generator, item: Placed, length: float, taken: NDArray[np.int32], full: list[int]
) -> Placed:
    """Place an object where it leaves a third of all others visible; mark it in `taken`, append its size to `full`."""
    class_index, sprite = item.class_index, item.sprite
    grid = taken.shape[0]
    best: tuple[float, Placed, NDArray[np.bool_]] | None = None
    for attempt in range(14):
        if attempt > 7:
            length *= 0.9
        centre, turn = rng.uniform(0.06, 0.94, 2), float(rng.uniform(0, 2 * np.pi))
        item = Placed(class_index, sprite, _placement(centre, turn, length, sprite))
        inside = stamp(sprite.rings, _sprite_to_photo(item.place, np.eye(2, 3), grid), grid)
        hidden = np.bincount(taken[inside], minlength=len(full) + 1)[1:]
        left = np.bincount(taken.ravel(), minlength=len(full) + 1)[1:] - hidden
        area = abs(float(np.linalg.det(item.place[:, :2]))) * grid * grid * _ring_area(sprite.rings)
        worst = min((float(a) / b for a, b in zip(left, full, strict=True)), default=1.0)
        score = min(worst / 0.34, inside.sum() / max(area, 1) / 0.6) - 0.5 * float(hidden.sum()) / max(
            float(inside.sum()), 1
        )
        if best is None or score > best[0]:
            best = (score, item, inside)
        if score >= 0.95 - 0.04 * attempt and worst > 0.34:
            break
    assert best is not None
    taken[best[2]] = len(full) + 1
    full.append(max(1, int(best[2].sum())))
    return best[1]


def _ring_area(rings: Sequence[Ring]) -> float:
    areas = [abs(signed_area(ring[:, 0], ring[:, 1])) for ring in rings]
    return areas[0] - sum(areas[1:])


def _sprite_to_photo(place: Affine, camera: Affine, side: int) -> Affine:
    """The affine from a sprite canvas to photo pixels, through the camera's view of the scene."""
    linear = camera[:, :2] @ place[:, :2]
    shift = camera[:, :2] @ place[:, 2] + camera[:, 2]
    return np.column_stack([linear, shift]) * side


def stamp(rings: Sequence[Ring], onto: Affine, side: int) -> NDArray[np.bool_]:
    """Pixels [side, side] whose centres are inside rings moved by `onto`; integer arithmetic, four times as fine."""
    fine = 4
    moved = [ring @ onto[:, :2].T + onto[:, 2] for ring in rings]
    low = np.maximum(np.floor(moved[0].min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(moved[0].max(axis=0)).astype(int) + 1, side)
    out = np.zeros((side, side), bool)
    if (high <= low).any():
        return out
    w, h = high - low
    canvas = np.zeros((h * fine, w * fine), np.uint8)
    fixed = [np.round(((ring - low) * fine - 0.5) * 16).astype(np.int32) for ring in moved]
    cv2.fillPoly(canvas, fixed, 1, shift=4)
    out[low[1] : high[1], low[0] : high[0]] = canvas[fine // 2 :: fine, fine // 2 :: fine] > 0
    return out


def photograph(rng: np.random.Generator, scene: Scene, *, first: bool) -> Shot:
    """Take one photo. The first is seen straight on, further ones slightly from the side and in different light."""
    side = scene.ground.shape[0]
    camera = np.eye(2, 3)
    if not first:
        turn, zoom = rng.uniform(-0.04, 0.04), rng.uniform(1.0, 1.10)
        linear = zoom * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        camera = np.column_stack([linear, 0.5 - linear @ (0.5, 0.5) + rng.uniform(-0.035, 0.035, 2)])
    view = np.column_stack([camera[:, :2], camera[:, 2] * side])
    picture = (
        scene.ground
        if first
        else cv2.warpAffine(scene.ground, _centred(view), (side, side), borderMode=cv2.BORDER_REFLECT)
    )
    picture = picture.astype(np.float32)
    objects = np.zeros((side, side), np.int32)
    classes: list[int] = []
    for item in scene.objects:
        onto = _sprite_to_photo(item.place, camera, side)
        solid = stamp(item.sprite.rings, onto, side)
        _paste(picture, item.sprite, onto, solid, scene.sun)
        if item.class_index:
            classes.append(item.class_index)
            objects[solid] = len(classes)
        else:
            objects[solid] = 0
    objects = remove_specks(objects, max(24, round(side * side / 6000)), max(24, round(side * side / 2200)))
    return Shot(_camera_effects(rng, picture), objects, tuple(classes))


def _centred(onto: Affine) -> Affine:
    """The same affine for OpenCV, whose coordinates are those of pixel centres."""
    return np.column_stack([onto[:, :2], onto[:, 2] + onto[:, :2] @ (0.5, 0.5) - 0.5])


def _paste(
    picture: Picture, sprite: Sprite, onto: Affine, solid: NDArray[np.bool_], sun: tuple[float, float, float]
) -> None:
    """Paint a sprite and its soft shadow onto the picture in place."""
    side = picture.shape[0]
    h, w = sprite.alpha.shape
    length = max(h, w) * float(np.sqrt(abs(np.linalg.det(onto[:, :2]))))
    reach = int(np.ceil(length * sprite.lift * 2.6)) + 3
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h]]) @ onto[:, :2].T + onto[:, 2]
    x0, y0 = np.maximum(np.floor(corners.min(axis=0)).astype(int) - reach, 0)
    x1, y1 = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + reach, side)
    if x1 <= x0 or y1 <= y0:
        return
    crop = picture[y0:y1, x0:x1]
    local = onto.copy()
    local[:, 2] -= (x0, y0)
    size = (int(x1 - x0), int(y1 - y0))
    alpha = cv2.warpAffine(sprite.alpha, _centred(local), size, flags=cv2.INTER_LINEAR).astype(np.float32) / np.float32(
        255
    )
    rgb = cv2.warpAffine(sprite.rgb, _centred(local), size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    shift = np.array([[1, 0, sun[0] * length * sprite.lift], [0, 1, sun[1] * length * sprite.lift]])
    shadow = cv2.warpAffine(np.maximum(alpha, 0.55 * solid[y0:y1, x0:x1]).astype(np.float32), shift, size)
    shadow = cv2.GaussianBlur(shadow, (0, 0), max(0.6, length * sprite.lift * 0.45))
    crop *= 1 - np.float32(sun[2]) * shadow[..., None]
    crop += (rgb.astype(np.float32) * np.float32(1 / 255) - crop) * alpha[..., None]


def _camera_effects(rng: np.random.Generator, picture: Picture) -> NDArray[np.uint8]:
    """Apply light, colour temperature, exposure, blur and sensor noise."""
    side = picture.shape[0]
    falloff = cv2.resize(fractal(rng, 8, 8, 4, 1), (side, side), interpolation=cv2.INTER_CUBIC)
    picture = picture * (0.86 + 0.24 * falloff[..., None])
    warm = rng.normal(0, 0.05)
    picture = picture * np.array([1 + warm, 1 + rng.normal(0, 0.012), 1 - warm], np.float32)
    picture = np.clip(picture * np.float32(np.exp(rng.normal(0, 0.13))), 0, 1.2) ** np.float32(
        np.exp(rng.normal(0, 0.09))
    )
    blur = rng.random()
    if blur < 0.25:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.1) * side / 256), np.float32)
    elif blur < 0.31 and side >= 96:
        width = max(3, int(rng.uniform(2, 5) * side / 256))
        picture = np.asarray(cv2.blur(picture, (width, 1) if rng.random() < 0.5 else (1, width)), np.float32)
    noise = rng.standard_normal((side, side), np.float32)[..., None] * np.float32(rng.uniform(0.004, 0.022))
    return np.asarray(np.clip((picture + noise) * 255 + 0.5, 0, 255), np.uint8)
