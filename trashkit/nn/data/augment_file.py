"""User-defined augmentations: a YAML or JSON file of albumentations transforms, read without executing code.

Either a list of transforms with their arguments, or the output of ``albumentations.to_dict``:

    - HorizontalFlip: {p: 0.5}
    - Affine: {rotate: [-20, 20], p: 0.4}
    - OneOf:
        p: 0.2
        transforms: [{GaussianBlur: {}}, {CLAHE: {}}]

Only the names in `ALLOWED` are accepted: transforms of uint8 photos and label maps that read no other files.
"""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: N812 - the usual alias of albumentations

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers import ContentError, decode_json, decode_yaml, read_text
from trashkit.settings.training import closest

SUFFIXES = (".yaml", ".yml", ".json")
IGNORE = 255

CROPS = frozenset(
    [
        "CenterCrop",
        "Crop",
        "CropAndPad",
        "CropNonEmptyMaskIfExists",
        "LongestMaxSize",
        "Pad",
        "PadIfNeeded",
        "RandomCrop",
        "RandomCropFromBorders",
        "RandomResizedCrop",
        "RandomScale",
        "RandomSizedCrop",
        "Resize",
        "SmallestMaxSize",
    ]
)
"""Transforms that crop or resize: a file with one of them works on the cached photo instead of the network's size."""

GROUPS = frozenset(["Compose", "OneOf", "OneOrOther", "RandomOrder", "Sequential", "SomeOf"])

ALLOWED = (
    CROPS
    | GROUPS
    | frozenset(
        [
            "AdditiveNoise",
            "AdvancedBlur",
            "Affine",
            "AutoContrast",
            "Blur",
            "CLAHE",
            "ChannelDropout",
            "ChannelShuffle",
            "ChromaticAberration",
            "CoarseDropout",
            "ColorJitter",
            "ConstrainedCoarseDropout",
            "D4",
            "Defocus",
            "Downscale",
            "ElasticTransform",
            "Emboss",
            "Equalize",
            "Erasing",
            "FancyPCA",
            "GaussNoise",
            "GaussianBlur",
            "GlassBlur",
            "GridDistortion",
            "GridDropout",
            "GridElasticDeform",
            "HorizontalFlip",
            "HueSaturationValue",
            "ISONoise",
            "Illumination",
            "ImageCompression",
            "InvertImg",
            "MedianBlur",
            "MotionBlur",
            "MultiplicativeNoise",
            "NoOp",
            "OpticalDistortion",
            "Perspective",
            "PiecewiseAffine",
            "PixelDropout",
            "PlanckianJitter",
            "PlasmaBrightnessContrast",
            "PlasmaShadow",
            "Posterize",
            "RGBShift",
            "RandomBrightnessContrast",
            "RandomFog",
            "RandomGamma",
            "RandomGravel",
            "RandomGridShuffle",
            "RandomRain",
            "RandomRotate90",
            "RandomShadow",
            "RandomSnow",
            "RandomSunFlare",
            "RandomToneCurve",
            "RingingOvershoot",
            "Rotate",
            "SafeRotate",
            "SaltAndPepper",
            "Sharpen",
            "ShiftScaleRotate",
            "ShotNoise",
            "Solarize",
            "Spatter",
            "SquareSymmetry",
            "Superpixels",
            "ThinPlateSpline",
            "ToGray",
            "ToSepia",
            "Transpose",
            "UnsharpMask",
            "VerticalFlip",
            "XYMasking",
            "ZoomBlur",
        ]
    )
)


MOST_NUMBER, MOST_PIXELS, MOST_FACTOR = 15_000, 8_192, 16
"""Largest numbers in the arguments of a transform: any, a size in pixels, a factor of a size."""


@dataclass(frozen=True)
class AugmentFile:
    """Validated transforms of a file. crops: whether any of them crops or resizes the photo."""

    path: Path
    transforms: tuple[Mapping[str, Any], ...]
    crops: bool

    def build(self, size: tuple[int, int]) -> list[A.BasicTransform]:
        """Build the transforms for (height, width), the default size of RandomResizedCrop and Resize."""
        return [_built(one, size) for one in self.transforms]


def is_file(name: str) -> bool:
    """Whether the setting ``data.augment`` names a file rather than a preset."""
    return Path(name).suffix.lower() in SUFFIXES


def read_augment_file(path: Path, side: int = 64) -> AugmentFile:
    """Read an augmentation file and try it on a sample for a network input of `side` pixels.

    Raises TrashkitError with the path and the first mistake.
    """
    try:
        transforms = tuple(_normal(one) for one in _listed(_parsed(path)))
        crops = any(_names(one) & CROPS for one in transforms)
        made = AugmentFile(path, transforms, crops)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns about unknown arguments
            compose = A.Compose(made.build((side, side)))
        for seed in range(3):
            compose.set_random_seed(seed)
            # training caches photos at twice the network size
            shape = (2 * side, 2 * side + side // 2)
            result = compose(image=np.full((*shape, 3), 90, np.uint8), mask=np.full(shape, 3, np.uint8))
            if result["image"].dtype != np.uint8 or result["image"].shape[2:] != (3,):
                raise ValueError("the photo must stay uint8 with three channels")
            if set(np.unique(result["mask"]).tolist()) - {0, 3, IGNORE}:
                raise ValueError("a transform adds classes to the label map")
    except TrashkitError:
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:200] or type(error).__name__
        raise TrashkitError(
            f"the augmentations in {path} cannot be used: {text}",
            hint="each entry is an albumentations transform with its arguments, such as - HorizontalFlip: {p: 0.5}",
        ) from error
    return made


def _parsed(path: Path) -> Any:
    try:
        text = read_text(path)
    except (OSError, ContentError) as error:
        problem = f"the augmentations {path} cannot be read: {read_error_reason(error)}"
        raise TrashkitError(problem, hint="check data.augment") from error
    return decode_json(text) if path.suffix.lower() == ".json" else decode_yaml(text)


def _listed(content: Any) -> list[Any]:
    """List the transforms of a file in either form."""
    if isinstance(content, dict) and "transform" in content:
        content = content["transform"]
    if isinstance(content, dict) and content.get("__class_fullname__") in ("Compose", "Sequential"):
        content = content.get("transforms")
    if isinstance(content, dict) and set(content) == {"transforms"}:
        content = content["transforms"]
    if not isinstance(content, list):
        raise ValueError("the file does not contain a list of transforms")
    return content


def _normal(entry: Any) -> dict[str, Any]:
    """Normalise one transform to ``{"name", "arguments", "transforms"}``; check its name against `ALLOWED`."""
    if isinstance(entry, str):
        entry = {entry: {}}
    if isinstance(entry, dict) and "__class_fullname__" in entry:
        arguments = {key: value for key, value in entry.items() if key != "__class_fullname__"}
        name = str(entry["__class_fullname__"])
    elif isinstance(entry, dict) and len(entry) == 1:
        name, arguments = next(iter(entry.items()))
        arguments = dict(arguments or {})
    else:
        raise ValueError(f"{str(entry)[:60]!r} is not a transform with its arguments")
    if name not in ALLOWED:
        nearest = ", ".join(closest(str(name), ALLOWED)[:5])
        raise ValueError(f'"{name}" is not a supported transform; closest: {nearest}')
    _check_numbers(name, arguments)
    inner = arguments.pop("transforms", None)
    if (inner is not None) != (name in GROUPS):
        raise ValueError(f"{name} {'needs' if name in GROUPS else 'does not take'} transforms")
    return {"name": name, "arguments": arguments, "transforms": [_normal(one) for one in inner or []]}


def _check_numbers(name: str, value: Any) -> None:
    """ValueError for numbers in the arguments of a transform with which its result would not fit into memory."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            if not isinstance(inner, dict) or name not in GROUPS:  # transforms in a group are checked on their own
                _check_numbers(name, inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        most = MOST_NUMBER
        if name in CROPS:
            most = MOST_FACTOR if isinstance(value, float) or name == "RandomScale" else MOST_PIXELS
        if not abs(value) <= most:
            raise ValueError(f"{name}: {value!r:.20} is too large")


def _names(entry: Mapping[str, Any]) -> set[str]:
    return {entry["name"]}.union(*(_names(one) for one in entry["transforms"]))


def _built(entry: Mapping[str, Any], size: tuple[int, int]) -> A.BasicTransform:
    kind = getattr(A, entry["name"])
    arguments = {key: tuple(v) if isinstance(v, list) else v for key, v in entry["arguments"].items()}
    if entry["transforms"]:
        return kind([_built(one, size) for one in entry["transforms"]], **arguments)
    takes = inspect.signature(kind.__init__).parameters
    if entry["name"] == "RandomResizedCrop":
        arguments.setdefault("size", size)
    elif entry["name"] == "Resize":
        arguments.setdefault("height", size[0])
        arguments.setdefault("width", size[1])
    if "mask_interpolation" in takes and arguments.setdefault("mask_interpolation", cv2.INTER_NEAREST) not in (0, 6):
        raise ValueError(f"{entry['name']}: mask_interpolation must be 0 (nearest neighbour)")
    fill = takes.get("fill_mask")
    if fill is not None and fill.default == 0:
        arguments.setdefault("fill_mask", IGNORE)  # pixels from outside the photo are not background
    return kind(**arguments)
