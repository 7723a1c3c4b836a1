"""JSON files that are no COCO data set with outlines: panoptic, captions, keypoints, results, other programs' files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trashkit.coco.dataset import Coco

Form = tuple[str, str]
"""What a file is, as in "a COCO captions file", and a hint; both may contain ``{path}``."""

_OUTLINES = "give the file with outlines (segmentation) of the same images"
_PANOPTIC: Form = (
    "a COCO panoptic file: its annotations have segments_info and a PNG of segment ids in place of segmentation",
    "convert it with panopticapi (panoptic2detection_coco_format.py), and give the result",
)
_CAPTIONS: Form = ("a COCO captions file: its annotations have a caption and no segmentation", _OUTLINES)
_KEYPOINTS: Form = ("a COCO keypoints file: its annotations have keypoints and no segmentation", _OUTLINES)


def other_annotations(coco: Coco) -> Form | None:
    """What the annotations of a COCO file are where they are not of the kind that has outlines; else None.

    Panoptic, captions and keypoints are named, where no annotation has a ``segmentation``.
    """
    rows = coco.rows("annotations")
    if not rows or b'"segmentation"' in bytes(rows[0]):
        return None
    records = [record for record in coco.records("annotations") if isinstance(record, dict)]
    if not records or any("segmentation" in record for record in records):
        return None
    for key, kind, form in (
        ("segments_info", list, _PANOPTIC),
        ("caption", str, _CAPTIONS),
        ("keypoints", list, _KEYPOINTS),
    ):
        if all(isinstance(record.get(key), kind) for record in records):
            return form
    return None


def has_only_boxes(records: Sequence[Any]) -> bool:
    """Whether annotations or results have boxes but none has an outline: an absent, null or empty segmentation."""
    return len(records) > 0 and all(
        isinstance(one, dict) and isinstance(one.get("bbox"), list) and not one.get("segmentation") for one in records
    )


_COCO: Form = ("a COCO file", "import it: `trashkit data import coco {path}`")
_VIA: Form = ("an export of VGG Image Annotator", "export it from there as COCO")
_OBJECTS: tuple[tuple[tuple[str, ...], Form], ...] = (
    (("shapes", "imagePath"), ("a labelme file", "import the folder it is in: `trashkit data import labelme FOLDER`")),
    (("folds", "seed"), ("a split that `trashkit split` wrote", "give the annotation file that was split")),
    (("findings", "summary"), ("a list of findings that `trashkit audit --json` wrote", "give the audited file")),
    (("_via_img_metadata",), ("a project of VGG Image Annotator", "export it from there as COCO")),
    (("dm_format_version", "items"), ("a Datumaro file", "export it as COCO")),
    (("categories", "items"), ("a Datumaro file", "export it as COCO")),
    (("asset", "regions"), ("a VoTT file", "export it from there as COCO")),
    (("imgHeight", "objects"), ("a Cityscapes file", "import the folder: `trashkit data import cityscapes FOLDER`")),
    (("size", "objects", "tags"), ("a Supervisely file", "export it from there as COCO")),
    (("features", "type"), ("GeoJSON", "export it as COCO")),
    (("nbformat", "cells"), ("a Jupyter notebook", "give the annotation file that it reads")),
)
"""Objects of other programs by keys that they have."""


def other_object(coco: Coco) -> Form | None:
    """What a JSON object without COCO's lists is, where its keys tell; None for everything else."""
    if {"images", "annotations"} & set(coco.items):
        return None
    form = _by_keys(coco.items)
    if form is not None or "categories" in coco.items:
        return form
    if coco.items and all(_is_via(item) for item in coco.items.values()):
        return _VIA
    message = next((coco.items[key] for key in ("message", "error", "detail") if key in coco.items), None)
    if message is not None and not isinstance(message, tuple) and len(coco.items) <= 5 and len(bytes(message)) < 500:
        return f"an error message of a server: {bytes(message).decode()[:100]}", "download the file again"
    return None


def _by_keys(keys: Iterable[str]) -> Form | None:
    found = set(keys)
    return next((form for wanted, form in _OBJECTS if found.issuperset(wanted)), None)


def other_value(value: Any) -> Form | None:
    """What a JSON value is that was given as another program's file: COCO, too; None where it does not tell."""
    if isinstance(value, list):
        return other_list(value)
    if not isinstance(value, dict):
        return None
    if value.keys() >= {"images", "annotations"}:
        return _COCO
    if value and all(isinstance(one, dict) and {"filename", "regions"} <= set(one) for one in value.values()):
        return _VIA
    return _by_keys(value)


def _is_via(item: Any) -> bool:
    """Whether a value is what VGG Image Annotator exports for one photo, in its JSON without a project around it."""
    return not isinstance(item, tuple) and all(key in bytes(item) for key in (b'"filename"', b'"regions"'))


def _has(*keys: str) -> Callable[[dict[str, Any]], bool]:
    return lambda record: all(key in record for key in keys)


MASK_RESULTS: Form = (
    "a list of COCO results, not an object with images, annotations and categories",
    "for scores: `trashkit score {path} --data ANN.json`; to edit them, put them into a COCO data set",
)
BOX_RESULTS: Form = (
    "a list of COCO results with boxes only (bbox), which have no outlines (segmentation)",
    "write results with masks, as for COCO's segmentation task",
)
_LISTS: tuple[tuple[Callable[[dict[str, Any]], bool], Form], ...] = (
    (_has("image_id", "segmentation"), MASK_RESULTS),
    (_has("image_id", "keypoints"), ("a list of COCO keypoints, which have no outlines (segmentation)", _OUTLINES)),
    (_has("image_id", "caption"), ("a list of COCO captions, which have no outlines (segmentation)", _OUTLINES)),
    (_has("image_id", "segments_info"), ("a list of COCO panoptic annotations", _PANOPTIC[1])),
    (_has("image_id", "bbox"), BOX_RESULTS),
    (
        lambda record: "data" in record and ("annotations" in record or "completions" in record),
        ("an export of Label Studio", "import it: `trashkit data import label-studio {path}`"),
    ),
    (_has("image", "annotations"), ("a CreateML file", "export it as COCO")),
    (_has("file_name", "width", "height"), ("a list of images", "give the COCO file, an object with that list in it")),
)
"""Lists of other programs by an object of them, the likeliest first."""


def other_list(values: Sequence[Any]) -> Form | None:
    """What a JSON list is that was given as a COCO file; None where its objects do not tell."""
    objects = [value for value in values if isinstance(value, dict)]
    return next((form for fits, form in _LISTS if any(map(fits, objects))), None)
