"""Images: what the photos themselves show. All checks share one decode of each photo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from trashkit.audit.photo_table import PhotoTable, Seen
from trashkit.audit.registry import Hit, check
from trashkit.finding import Severity


def _in_state(photos: PhotoTable, state: str) -> Iterator[Hit]:
    for row, one in enumerate(photos.seen):
        if one.state == state:
            yield Hit(row, one.message, fix="unsafe", block="images")


@check("I001", "missing-photo", Severity.ERROR, on="photos")
def missing_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo that an image names does not exist in the folder.

    Example: `file_name` is `batch_01/0007.jpg`, and the folder has no such file (often only upper and lower case
    differ). Training would stop at it.

    Cure: copy the photo, check `--images`, or take the image out of the file (`trashkit fix --images DIR --unsafe`).
    """
    yield from _in_state(photos, "missing")


@check("I002", "unreadable-photo", Severity.ERROR, on="photos")
def unreadable_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo cannot be decoded: an empty file, damaged data, or no photo at all.

    Example: a web page that was saved as `0007.jpg`.

    Cure: fetch the photo again, or take the image out of the file (`trashkit fix --images DIR --unsafe`).
    """
    yield from _in_state(photos, "unreadable")


@check("I003", "truncated-photo", Severity.ERROR, on="photos")
def truncated_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo's end is missing; many programs show the rest as grey, in silence.

    Example: a download that broke off.

    Cure: fetch the photo again, or take the image out of the file (`trashkit fix --images DIR --unsafe`).
    """
    yield from _in_state(photos, "truncated")


@check("I004", "photo-outside-folder", Severity.ERROR, on="photos")
def photo_outside_folder(photos: PhotoTable) -> Iterator[Hit]:
    """The file name leads out of the photo folder; trashkit never follows such a name.

    Example: `../../etc/passwd`, or an absolute path.

    Cure: make `file_name` relative to the folder, and copy the photo there.
    """
    yield from _in_state(photos, "outside")


@check("I005", "photo-size", Severity.ERROR, on="photos")
def photo_size(photos: PhotoTable) -> Iterator[Hit]:
    """The photo's size is not the one that the annotation file gives, neither as stored nor turned as EXIF says.

    Example: the annotations were made on 512x512 copies, and the folder holds the originals.

    Cure: use the photos that were annotated, or scale the annotations.
    """
    table = photos.table
    for row, one in photos.decoded():
        width, height = table.width[row], table.height[row]
        assert one.info is not None
        stored = (one.info.width, one.info.height)
        if not np.isnan([width, height]).any() and (width, height) not in (stored, one.info.turned_size):
            message = f"the photo is {stored[0]}x{stored[1]}, the file says {width:.0f}x{height:.0f}"
            yield Hit(row, message, block="images")


@check("I006", "exif-disagrees", Severity.WARNING, on="photos")
def exif_disagrees(photos: PhotoTable) -> Iterator[Hit]:
    """EXIF says to turn the photo, and the file's size fits it only unturned.

    Viewers and many data loaders will show it turned, away from its annotations. trashkit goes by the file's size and
    leaves it as stored.

    Example: stored 512x384 with orientation 6, and the file says 512x384.

    Cure: remove the orientation from the photo's EXIF data.
    """
    for row, one, wanted in _with_orientation(photos):
        assert one.info is not None
        if (one.info.width, one.info.height) == wanted != one.info.turned_size:
            message = f"EXIF orientation {one.info.orientation} would turn it away from its size in the file"
            yield Hit(row, message, block="images")


@check("I007", "exif-turned", Severity.INFO, on="photos")
def exif_turned(photos: PhotoTable) -> Iterator[Hit]:
    """The photo fits its annotations only once it is turned as EXIF says.

    trashkit turns it; a loader that ignores EXIF (OpenCV with IMREAD_UNCHANGED, Pillow without exif_transpose) would
    train on it lying on its side.

    Example: stored 512x384 with orientation 6, and the file says 384x512.

    Cure: none is needed here; for other tools, save the photo turned and without orientation.
    """
    for row, one, wanted in _with_orientation(photos):
        assert one.info is not None
        if one.info.turned_size == wanted and (one.info.width, one.info.height) != wanted:
            yield Hit(row, f"it fits once turned by EXIF orientation {one.info.orientation}", block="images")


def _with_orientation(photos: PhotoTable) -> Iterator[tuple[int, Seen, tuple[int, int]]]:
    for row, one in photos.decoded():
        width, height = photos.table.width[row], photos.table.height[row]
        if one.info is not None and one.info.orientation != 1 and not np.isnan([width, height]).any():
            yield row, one, (int(width), int(height))


@check("I008", "unusual-channels", Severity.INFO, on="photos")
def unusual_channels(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is stored in another form than 8-bit RGB: CMYK, 16 bit, palette, transparency, one channel.

    trashkit converts it as a viewer would; other loaders may refuse it or show other colours.

    Example: a CMYK JPEG from a print shop.

    Cure: none is needed here; for other tools, save it as RGB.
    """
    for row, one in photos.decoded():
        assert one.info is not None
        if one.info.mode != "RGB":
            yield Hit(row, f"stored as {one.info.format} with mode {one.info.mode}", block="images")


@check("I009", "duplicate-photo", Severity.WARNING, on="photos")
def duplicate_photo(photos: PhotoTable) -> Iterator[Hit]:
    """Two images show exactly the same pixels.

    The photo counts twice in training, and once in training and once in validation if the split does not know.

    Example: `a/0001.jpg` and `b/0001 (copy).jpg`.

    Cure: take one out, or split with near-duplicates kept together (`split --images DIR`).
    """
    groups: dict[bytes, list[int]] = {}
    for row, one in photos.decoded():
        groups.setdefault(one.digest, []).append(row)
    for rows in groups.values():
        for row in rows[1:]:
            others = [other for other in rows if other != row]
            yield Hit(row, f"same pixels as {_name(photos, rows[0])}", 1.0, related=others, block="images")


@check("I010", "near-duplicate-photo", Severity.INFO, on="photos")
def near_duplicate_photo(photos: PhotoTable) -> Iterator[Hit]:
    """Two photos show nearly the same picture: recompressed, scaled, slightly moved, or lit otherwise.

    Near-duplicates on both sides of a split make validation scores too high.

    Example: three photos of one scene, taken seconds apart.

    Cure: none is needed; split with `--images DIR`, which keeps them together.
    """
    groups: dict[int, list[int]] = {}
    for row, _ in photos.decoded():
        groups.setdefault(int(photos.near_groups[0][row]), []).append(row)
    for members in groups.values():
        for row in members[1:]:
            if photos.seen[row].digest == photos.seen[members[0]].digest:
                continue
            others = [other for other in members if other != row]
            yield Hit(row, f"nearly the same picture as {_name(photos, members[0])}", related=others, block="images")


def _name(photos: PhotoTable, row: int) -> str:
    return photos.table.file_names[row] or f"images[{row}]"


@check("I011", "photo-leak", Severity.ERROR, on="photos")
def photo_leak(photos: PhotoTable) -> Iterator[Hit]:
    """A photo of this file is also, or nearly, in the file given with `--against`.

    What a model is tested on must not be in its training data: the score would not hold elsewhere.

    Example: `train/0012.jpg` and `test/0640.jpg` are one photo.

    Cure: take the image out of the training file, as `trashkit fix --unsafe` does. Both files' photos are looked
    up in the folder given with `--images`. Related rows are image rows of the other file.
    """
    against = photos.table.against
    if against is None:
        return
    mine, theirs = photos.near_groups
    homes: dict[int, list[int]] = {}
    for row, one in enumerate(photos.against):
        if one.state == "ok":
            homes.setdefault(int(theirs[row]), []).append(row)
    for row, one in photos.decoded():
        rows = homes.get(int(mine[row]))
        if rows is None:
            continue
        same = [r for r in rows if photos.against[r].digest == one.digest]
        first = (same or rows)[0]
        name = against.file_names[first] or f"images[{first}]"
        what = "is the same photo as" if same else "shows nearly the same picture as"
        score = 1.0 if same else 0.5
        yield Hit(row, f"{what} {name} of the other file", score, "unsafe", same or rows, "images")


@check("I012", "dark-photo", Severity.INFO, on="photos")
def dark_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is so dark that little can be seen: 95 % of its pixels lie below level 60 of 255.

    Example: taken at night without flash.

    Cure: look at it; mark it unusable, or keep it if the test photos are like it.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.highlights < limits.dark_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"95 % of it below level {one.highlights:.0f} of 255", 255 - one.highlights, block="images")


@check("I013", "bright-photo", Severity.INFO, on="photos")
def bright_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is nearly white: 95 % of its pixels lie above level 225 of 255.

    Example: overexposed, or a small object on a white page.

    Cure: look at it.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.shadows > limits.bright_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"95 % of it above level {one.shadows:.0f} of 255", one.shadows, block="images")


@check("I014", "blurred-photo", Severity.INFO, on="photos")
def blurred_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo has hardly any edges: variance of its Laplacian at 512 px below 10.

    Source: Pech-Pacheco et al. 2000. Smooth subjects on smooth ground look the same to this measure.

    Example: out of focus, or shaken.

    Cure: look at it; outlines drawn on it are guesses.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.sharpness < limits.blurred_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"sharpness {one.sharpness:.1f}", -one.sharpness, block="images")


@check("I015", "empty-photo", Severity.WARNING, on="photos")
def empty_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is one even surface: its grey levels deviate by less than 4 of 255.

    Example: a lens cap, or an export that went wrong.

    Cure: replace the photo, or take the image out of the file.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.contrast < limits.empty_photo:
            yield Hit(row, f"grey levels deviate by {one.contrast:.1f} of 255", -one.contrast, block="images")


@check("I016", "grey-photo", Severity.INFO, on="photos")
def grey_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo has no colours, in a set where most photos have.

    Example: a black-and-white scan among phone photos.

    Cure: look at it; colour is evidence that a model learns to lean on.
    """
    limits = photos.table.settings
    colour = photos.values("colour")
    known = colour[~np.isnan(colour)]
    if not len(known) or (known < limits.grey_photo).mean() > 0.5:
        return
    for row, one in photos.decoded():
        if one.colour < limits.grey_photo:
            yield Hit(row, "no colours", block="images")


@check("I017", "odd-size-photo", Severity.INFO, on="photos")
def odd_size_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo's size is unlike the others': another size where nine in ten share one, or a side below 64 pixels.

    Example: a 120x90 preview among photos of 512x512.

    Cure: find the original.
    """
    sizes = {row: one.info.turned_size for row, one in photos.decoded() if one.info is not None}
    if not sizes:
        return
    counts: dict[tuple[int, int], int] = {}
    for size in sizes.values():
        counts[size] = counts.get(size, 0) + 1
    usual, number = max(counts.items(), key=lambda item: item[1])
    shared = number >= photos.table.settings.usual_size * len(sizes)
    for row, size in sizes.items():
        if shared and size != usual:
            yield Hit(row, f"{size[0]}x{size[1]} among photos of {usual[0]}x{usual[1]}", block="images")
        elif min(size) < photos.table.settings.small_photo:
            yield Hit(row, f"only {size[0]}x{size[1]} pixels", block="images")
