"""Checks of the photos themselves; all of them share one decode of each photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from trashkit.audit.registry import Hit, check
from trashkit.audit.views.photo_table import PhotoFacts, PhotoTable
from trashkit.finding import Severity
from trashkit.images.doubtful_groups import doubtful_groups, partners


def _in_state(photos: PhotoTable, state: str) -> Iterator[Hit]:
    """Photos in a state that removes their images, or renames them where it is clear which photo is meant."""
    names = Counter(one.found for one in photos.photos if one.found is not None)
    names.update(name for name in photos.table.file_names if name is not None and name in names)
    for row, one in enumerate(photos.photos):
        if one.state == state:
            proposal: dict[str, object] | None = None
            message = one.message
            if one.found is not None and names[one.found] == 1:
                proposal = {"set": {"file_name": one.found}}
                message = f"{message.partition('; did you mean')[0]}; {one.found} is there and has its size"
            yield Hit(row, message, fix="unsafe", block="images", proposal=proposal)


@check("I001", "missing-photo", Severity.ERROR, on="photos")
def missing_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo of an image does not exist in the folder.

    Example: `file_name` is `batch_01/0007.jpg`, and the folder has no such file (often only upper and lower case
    differ). Training would stop with an error.

    Fix: copy the photo, or check `--images`. `trashkit fix --images DIR --unsafe` corrects the name where a photo with
    the same end of the name (other case, other folder) has the image's size, and else removes the image.
    """
    yield from _in_state(photos, "missing")


@check("I002", "unreadable-photo", Severity.ERROR, on="photos")
def unreadable_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo cannot be decoded: the file is empty, damaged, or not a photo.

    Example: a web page that was saved as `0007.jpg`.

    Fix: get the photo again, or remove the image (`trashkit fix --images DIR --unsafe`). There is no fix where
    the photo is there and only needs something else: HEIC needs a package, a Git LFS pointer `git lfs pull`.
    """
    yield from _in_state(photos, "unreadable")
    for row, one in enumerate(photos.photos):
        if one.state == "unusable":
            yield Hit(row, one.message, block="images")


@check("I003", "truncated-photo", Severity.ERROR, on="photos")
def truncated_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The end of the photo is missing; many programs silently show that part as grey.

    Example: an interrupted download.

    Fix: get the photo again, or remove the image (`trashkit fix --images DIR --unsafe`).
    """
    yield from _in_state(photos, "truncated")


@check("I004", "photo-outside-folder", Severity.ERROR, on="photos")
def photo_outside_folder(photos: PhotoTable) -> Iterator[Hit]:
    """The file name points outside the photo folder; trashkit does not open such files.

    Example: `../../etc/passwd`, or an absolute path.

    Fix: make `file_name` relative to the folder, and copy the photo there. `trashkit fix --images DIR --unsafe` does so
    where the photo is in the folder and has the image's size, and else removes the image.
    """
    yield from _in_state(photos, "outside")


@check("I005", "photo-size", Severity.ERROR, on="photos")
def photo_size(photos: PhotoTable) -> Iterator[Hit]:
    """The photo's size differs from the one in the annotation file, both as stored and after EXIF rotation.

    Example: the annotations were made on 512x512 copies, and the folder holds the originals.

    Fix: use the photos that were annotated, or scale the annotations.
    """
    table = photos.table
    for row, one in photos.decoded():
        width, height = table.width[row], table.height[row]
        assert one.info is not None
        stored = (one.info.width, one.info.height)
        if not np.isnan([width, height]).any() and (width, height) not in (stored, one.info.oriented_size):
            message = f"the photo is {stored[0]}x{stored[1]}, the file says {width:.0f}x{height:.0f}"
            yield Hit(row, message, block="images")


@check("I006", "exif-disagrees", Severity.WARNING, on="photos")
def exif_disagrees(photos: PhotoTable) -> Iterator[Hit]:
    """The photo has an EXIF rotation, and the file's size fits it only without that rotation.

    Viewers and many data loaders rotate it, so that it no longer fits its annotations. trashkit goes by the file's size
    and does not rotate it.

    Example: stored 512x384 with orientation 6, and the file says 512x384.

    Fix: remove the orientation from the photo's EXIF data.
    """
    for row, one, wanted in _with_orientation(photos):
        assert one.info is not None
        if (one.info.width, one.info.height) == wanted != one.info.oriented_size:
            message = f"with EXIF orientation {one.info.orientation} it would not fit its size in the file"
            yield Hit(row, message, block="images")


@check("I007", "exif-turned", Severity.INFO, on="photos")
def exif_turned(photos: PhotoTable) -> Iterator[Hit]:
    """The photo fits its annotations only after its EXIF rotation.

    trashkit rotates it; a loader that ignores EXIF (OpenCV with IMREAD_UNCHANGED, Pillow without exif_transpose) would
    train on a photo that does not fit its annotations.

    Example: stored 512x384 with orientation 6, and the file says 384x512.

    Fix: none is needed for trashkit; for other tools, save the photo rotated and without EXIF orientation.
    """
    for row, one, wanted in _with_orientation(photos):
        assert one.info is not None
        if one.info.oriented_size == wanted and (one.info.width, one.info.height) != wanted:
            yield Hit(row, f"it fits only after EXIF rotation (orientation {one.info.orientation})", block="images")


def _with_orientation(photos: PhotoTable) -> Iterator[tuple[int, PhotoFacts, tuple[int, int]]]:
    for row, one in photos.decoded():
        width, height = photos.table.width[row], photos.table.height[row]
        if one.info is not None and one.info.orientation != 1 and not np.isnan([width, height]).any():
            yield row, one, (int(width), int(height))


@check("I008", "unusual-channels", Severity.INFO, on="photos")
def unusual_channels(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is not 8-bit RGB but CMYK, 16 bit, palette, transparent or one channel.

    trashkit converts it as a viewer would; other loaders may reject it or show other colours.

    Example: a CMYK JPEG from a print shop.

    Fix: none is needed for trashkit; for other tools, save it as RGB.
    """
    for row, one in photos.decoded():
        assert one.info is not None
        if one.info.mode != "RGB":
            yield Hit(row, f"stored as {one.info.format} with mode {one.info.mode}", block="images")


@check("I009", "duplicate-photo", Severity.WARNING, on="photos")
def duplicate_photo(photos: PhotoTable) -> Iterator[Hit]:
    """Two images have exactly the same pixels.

    The photo counts twice in training, or is in both training and validation if the split does not account for it.

    Example: `a/0001.jpg` and `b/0001 (copy).jpg`.

    Fix: remove one of them, or keep near-duplicates together when splitting (`split --images DIR`).
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
    """Two photos are nearly the same: recompressed, scaled, slightly moved, or with other lighting.

    Near-duplicates on both sides of a split make validation scores too high. The score is the agreement of the two
    photos named, from 0.6 (0.8 with `--near-duplicate-matching strict`) to 1: the share of windows that agree in the
    least agreeing tenth of the picture, once one photo is laid over the other. A common caption bar, watermark or
    background is therefore not enough. The message says so where a group is held together by this pair alone, or is
    larger than 3 % of all photos.

    Example: three photos of one scene, taken seconds apart.

    Fix: none is needed; split with `--images DIR` to keep them together. Where two photos named are not the same
    picture, `--near-duplicate-matching strict` leaves weak pairs out, in `audit` and in `split`.
    """
    partner = partners(photos.near_pairs)
    doubtful = {
        group.pair: group for group in doubtful_groups(len(photos.photos) + len(photos.against), photos.near_pairs)
    }
    groups: dict[int, list[int]] = {}
    for row, _ in photos.decoded():
        groups.setdefault(int(photos.near_groups[0][row]), []).append(row)
    for members in groups.values():
        for row in members[1:]:
            if photos.photos[row].digest == photos.photos[members[0]].digest:
                continue
            others = [other for other in members if other != row]
            pair = partner[row]
            other = pair.one if pair.other == row else pair.other
            message = f"nearly the same photo as {_name(photos, other)}, agreement {pair.agreement:.2f}"
            if pair in doubtful:
                message += f"; {doubtful[pair].remark}"
            yield Hit(row, message, round(pair.agreement, 4), related=others, block="images")


def _name(photos: PhotoTable, row: int) -> str:
    """The name of a photo of this file, or for rows after its last one of the other file."""
    other = row - len(photos.photos)
    if other < 0 or photos.table.against is None:
        return photos.table.file_names[row] or f"images[{row}]"
    return (photos.table.against.file_names[other] or f"images[{other}]") + " of the other file"


@check("I011", "photo-leak", Severity.ERROR, on="photos")
def photo_leak(photos: PhotoTable) -> Iterator[Hit]:
    """A photo, or a near-duplicate of it, is also in the file given by `--against`.

    Test photos must not be in the training data, or scores are too high.

    Example: `train/0012.jpg` and `test/0640.jpg` are one photo.

    Fix: remove the image from the training file, as `trashkit fix --unsafe` does. The photos of both files must be in
    the folder given by `--images`. Related rows are image rows of the other file.
    """
    against = photos.table.against
    if against is None:
        return
    mine, theirs = photos.near_groups
    measured: dict[int, dict[int, float]] = {}
    for one_row, other_row, found in photos.near_pairs:
        measured.setdefault(one_row, {})[other_row - len(photos.photos)] = found
    homes: dict[int, list[int]] = {}
    for row, one in enumerate(photos.against):
        if one.state == "ok":
            homes.setdefault(int(theirs[row]), []).append(row)
    for row, one in photos.decoded():
        rows = homes.get(int(mine[row]))
        if rows is None:
            continue
        same = [r for r in rows if photos.against[r].digest == one.digest]
        direct = {other: found for other, found in measured.get(row, {}).items() if other in rows}
        first = same[0] if same else max(direct or dict.fromkeys(rows, 0.0), key=lambda other: direct.get(other, 0.0))
        message = f"is {'the' if same else 'nearly the'} same photo as {_name(photos, first + len(photos.photos))}"
        if not same and direct:
            message += f", agreement {direct[first]:.2f}"
        yield Hit(row, message, 1.0 if same else 0.5, "unsafe", same or rows, "images")


@check("I012", "dark-photo", Severity.INFO, on="photos")
def dark_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is so dark that little can be seen: 95 % of its pixels are below grey level 60 of 255.

    Example: taken at night without flash.

    Fix: check it; mark it unusable, or keep it if test photos are as dark.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.highlights < limits.dark_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"95 % of it below level {one.highlights:.0f} of 255", 255 - one.highlights, block="images")


@check("I013", "bright-photo", Severity.INFO, on="photos")
def bright_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is nearly white: 95 % of its pixels are above grey level 225 of 255.

    Example: overexposed, or a small object on a white page.

    Fix: check it.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.shadows > limits.bright_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"95 % of it above level {one.shadows:.0f} of 255", one.shadows, block="images")


@check("I014", "blurred-photo", Severity.INFO, on="photos")
def blurred_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo has hardly any edges: the variance of its Laplacian at 512 px is below 10.

    Source: Pech-Pacheco et al. 2000. Smooth objects on a smooth background give low values too.

    Example: out of focus, or camera shake.

    Fix: check it; outlines drawn on it are imprecise.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.sharpness < limits.blurred_photo and one.contrast >= limits.empty_photo:
            yield Hit(row, f"sharpness {one.sharpness:.1f}", -one.sharpness, block="images")


@check("I015", "empty-photo", Severity.WARNING, on="photos")
def empty_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo is uniform: the standard deviation of its grey levels is below 4 of 255.

    Example: a lens cap, or a failed export.

    Fix: replace the photo, or remove the image.
    """
    limits = photos.table.settings
    for row, one in photos.decoded():
        if one.contrast < limits.empty_photo:
            yield Hit(
                row, f"grey levels have standard deviation {one.contrast:.1f} of 255", -one.contrast, block="images"
            )


@check("I016", "grey-photo", Severity.INFO, on="photos")
def grey_photo(photos: PhotoTable) -> Iterator[Hit]:
    """The photo has no colours, but most photos of the file do.

    Example: a black-and-white scan among phone photos.

    Fix: check it; models that learn from colour photos rely on colour.
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
    """The size of the photo differs from that of nine in ten photos, or a side is below 64 pixels.

    Example: a 120x90 preview among photos of 512x512.

    Fix: find the original.
    """
    sizes = {row: one.info.oriented_size for row, one in photos.decoded() if one.info is not None}
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
