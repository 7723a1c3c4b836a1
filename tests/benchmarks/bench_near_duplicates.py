"""Near-duplicates among photos that share a caption bar, a letterbox, a watermark, a vignette or a background.

    python tests/benchmarks/bench_near_duplicates.py FOLDER... [--photos 500] [--out FOLDER]

FOLDER: folders with real photos, of which those that duplicate an earlier one are removed first. Each overlay is drawn
over all of them; to every second photo one true duplicate is added: encoded again, resized, cropped by 10 %, brighter,
or the next frame of a video (a small shift, blur and noise), under the same overlay. Reported pairs are compared with
the pairs made. The usual way beside it is a 64-bit DCT hash, all with all, at up to 6 bits.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from trashkit.images.hashes import phash
from trashkit.images.near_duplicates import near_duplicate_groups, near_duplicate_pairs, photo_features
from trashkit.images.photos import read_photo

Pixels = NDArray[np.uint8]
LONGEST = 512


def originals(folders: list[Path]) -> list[Pixels]:
    """Photos of the folders, at most LONGEST pixels long; of each group of duplicates only the first."""
    paths = [path for folder in folders for path in sorted(folder.rglob("*.jpg"))]
    photos = []
    for path in paths:
        photo = read_photo(path)
        scale = min(1.0, LONGEST / max(photo.shape[:2]))
        size = (round(photo.shape[1] * scale), round(photo.shape[0] * scale))
        photos.append(np.asarray(cv2.resize(photo, size, interpolation=cv2.INTER_AREA), np.uint8))
    groups = near_duplicate_groups([photo_features(photo) for photo in photos])
    hashes = phash(photos)
    kept: list[int] = []
    for n in range(len(photos)):
        near = any(int(np.bitwise_count(hashes[n] ^ hashes[k])) <= 6 for k in kept)
        if groups[n] not in groups[kept] and not near:
            kept.append(n)
    print(f"{len(kept)} of {len(photos)} photos are unrelated")
    return [photos[n] for n in kept]


# Overlays: the same one over every photo


def plain(photo: Pixels, _: Pixels) -> Pixels:
    return photo


def caption_bar(photo: Pixels, _: Pixels) -> Pixels:
    shown = photo.copy()
    height, width = photo.shape[:2]
    bar = round(height * 0.16)
    shown[-bar:] = (28, 60, 120)
    for line, text in enumerate(("RECYCLING NEWS 24  -  LIVE", "City collects more plastic than ever")):
        place = (width // 30, height - bar + round(bar * (0.42 + 0.42 * line)))
        cv2.putText(shown, text, place, cv2.FONT_HERSHEY_SIMPLEX, width / 800, (255, 255, 255), 1, cv2.LINE_AA)
    return shown


def letterbox(photo: Pixels, _: Pixels) -> Pixels:
    shown = photo.copy()
    bar = round(photo.shape[0] * 0.14)
    shown[:bar] = shown[-bar:] = 0
    return shown


def letterbox_with_text(photo: Pixels, background: Pixels) -> Pixels:
    shown = letterbox(photo, background)
    height, width = photo.shape[:2]
    for y, text in ((0.09, "CAM 03   2021-06-14   08:31"), (0.95, "www.example.com/waste   channel 7   subscribe now")):
        cv2.putText(shown, text, (12, round(height * y)), cv2.FONT_HERSHEY_SIMPLEX, width / 900, (240, 240, 90), 1)
    return shown


def watermark(photo: Pixels, _: Pixels) -> Pixels:
    drawn = np.zeros_like(photo)
    height, width = photo.shape[:2]
    for row in range(5):
        place = (round(width * 0.05 * (row % 2)), round(height * (0.15 + row * 0.2)))
        cv2.putText(drawn, "STOCK PHOTO  STOCK", place, cv2.FONT_HERSHEY_DUPLEX, width / 380, (255, 255, 255), 3)
    return np.where(drawn > 0, (photo * 0.6 + drawn * 0.4).astype(np.uint8), photo)


def vignette(photo: Pixels, _: Pixels) -> Pixels:
    height, width = photo.shape[:2]
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    light = np.clip(1.25 - 0.85 * (x**2 + y**2), 0.05, 1)[..., None]
    return (photo * light).astype(np.uint8)


def one_background(photo: Pixels, background: Pixels) -> Pixels:
    height, width = photo.shape[:2]
    shown = cv2.resize(background, (width, height), interpolation=cv2.INTER_AREA)
    inner = (round(width * 0.62), round(height * 0.62))
    top, left = round(height * 0.2), round(width * 0.18)
    shown[top : top + inner[1], left : left + inner[0]] = cv2.resize(photo, inner, interpolation=cv2.INTER_AREA)
    return np.asarray(shown, np.uint8)


OVERLAYS: tuple[Callable[[Pixels, Pixels], Pixels], ...] = (
    plain,
    caption_bar,
    letterbox,
    letterbox_with_text,
    watermark,
    vignette,
    one_background,
)


# True duplicates


def encoded(photo: Pixels, quality: int) -> Pixels:
    _, data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)


def resized(photo: Pixels, rng: np.random.Generator) -> Pixels:
    scale = rng.choice([0.5, 0.7, 1.4])
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def cropped(photo: Pixels, rng: np.random.Generator) -> Pixels:
    height, width = photo.shape[:2]
    top, left = round(rng.uniform(0, 0.1) * height), round(rng.uniform(0, 0.1) * width)
    return photo[top : top + round(height * 0.9), left : left + round(width * 0.9)].copy()


def brighter(photo: Pixels, rng: np.random.Generator) -> Pixels:
    return np.clip(photo * rng.uniform(1.1, 1.35) + rng.uniform(0, 15), 0, 255).astype(np.uint8)


def next_frame(photo: Pixels, rng: np.random.Generator) -> Pixels:
    shift = np.array([[1, 0, rng.uniform(-9, 9)], [0, 1, rng.uniform(-9, 9)]], np.float32)
    moved = cv2.warpAffine(photo, shift, photo.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
    noisy = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.6, 1.6)) + rng.normal(0, 6, photo.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


VARIANTS: tuple[tuple[str, Callable[[Pixels, np.random.Generator], Pixels]], ...] = (
    ("encoded again", lambda photo, _: encoded(photo, 35)),
    ("resized", resized),
    ("cropped by 10 %", cropped),
    ("brighter", brighter),
    ("next frame", next_frame),
)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--out", type=Path, help="also write the photos of wrong and missed pairs here")
    options = parser.parse_args()
    photos = originals(options.folders)
    background, photos = photos[0], photos[1 : options.photos + 1]
    heads = f"{'overlay':22}{'made':>6}{'reported':>10}{'true':>6}{'precision':>11}{'recall':>8}{'seconds':>9}"
    print(f"{heads}  hash: reported, true")
    total = np.zeros(3, int)
    missed: dict[str, int] = {}
    made_of: dict[str, int] = {}
    for overlay in OVERLAYS:
        rng = np.random.default_rng(0)
        shown, source, kind = [], [], []
        for n, photo in enumerate(photos):
            shown.append(encoded(overlay(photo, background), 90))
            source.append(n)
            kind.append("")
            if n % 2 == 0:
                name, variant = VARIANTS[n // 2 % len(VARIANTS)]
                # A frame of a video moves below its caption; a copy is made of the whole picture.
                copy = overlay(variant(photo, rng), background) if name == "next frame" else variant(shown[-1], rng)
                shown.append(encoded(copy, 80))
                source.append(n)
                kind.append(name)
        truth = {(n - 1, n) for n in range(1, len(shown)) if source[n] == source[n - 1]}
        start = time.perf_counter()
        features = [photo_features(photo) for photo in shown]
        found = {tuple(pair[:2]) for pair in near_duplicate_pairs(features)}
        seconds = time.perf_counter() - start
        codes = phash(shown)
        hashed = {
            (n, n + 1 + int(k))
            for n in range(len(shown))
            for k in np.flatnonzero(np.bitwise_count(codes[n + 1 :] ^ codes[n]) <= 6)
        }
        true = found & truth
        total += (len(truth), len(found), len(true))
        print(
            f"{overlay.__name__.replace('_', ' '):22}{len(truth):6}{len(found):10}{len(true):6}"
            f"{len(true) / max(len(found), 1):11.3f}{len(true) / len(truth):8.3f}{seconds:9.1f}"
            f"  {len(hashed)}, {len(hashed & truth)}"
        )
        for _, n in truth:
            made_of[kind[n]] = made_of.get(kind[n], 0) + 1
        for _, n in truth - found:
            missed[kind[n]] = missed.get(kind[n], 0) + 1
        if options.out:
            options.out.mkdir(parents=True, exist_ok=True)
            for label, pairs in (("wrong", found - truth), ("missed", truth - found)):
                for one, other in sorted(pairs)[:20]:
                    sides = [cv2.resize(shown[k], (320, 320))[..., ::-1] for k in (one, other)]
                    cv2.imwrite(str(options.out / f"{overlay.__name__}-{label}-{one}-{other}.jpg"), np.hstack(sides))
    made, reported, right = total
    print(f"{'all':22}{made:6}{reported:10}{right:6}{right / max(reported, 1):11.3f}{right / made:8.3f}")
    for name, _ in VARIANTS:
        print(f"{name}: {made_of[name] - missed.get(name, 0)} of {made_of[name]} found")


if __name__ == "__main__":
    main()
