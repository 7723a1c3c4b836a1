"""Data settings: input size, cache, sampling, augmentation and mixing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trashkit.raster.masks import PaintOrder

Auto = Literal["auto"]
Balance = Literal["inverse", "sqrt", "uniform"]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings that rejects unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class CopyPasteSettings(Section):
    """Copy-paste augmentation: objects of other training photos are pasted before a photo is augmented.

    p: share of photos that get pasted objects; 0 disables it. balance: probability of a class with n annotations,
    proportional to 1/n (``inverse``), to 1/sqrt(n) (``sqrt``), or equal (``uniform``). classes: factors on it by class
    name, such as ``{Glass = 2.0}``; 0 excludes a class. max_objects: per photo, from 1. rotate: largest rotation in
    degrees. match: how much an object adopts the brightness around it, 0 to 1. edge: width of the soft edge in pixels.
    """

    p: Share = 0.0
    balance: Balance = "sqrt"
    max_objects: Annotated[int, Field(ge=1, le=20)] = 2
    classes: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    match: Share = 0.3
    edge: Annotated[int, Field(ge=0, le=10)] = 1


class OversampleSettings(Section):
    """Repeat factor sampling: photos with rare classes are shown more often.

    threshold: a class in a smaller share of the photos is rare; 0 disables it. most: largest repeat factor of a photo.
    same_length: keep the number of photos per epoch by showing common ones less often; otherwise epochs become longer.
    """

    threshold: Share = 0.0
    most: Annotated[float, Field(ge=1)] = 8.0
    same_length: bool = True


class FocusSettings(Section):
    """Crops on objects.

    p: share of crops that must contain a pixel of an object, whose class is drawn from those in the photo with
    `balance`, as in copy_paste; 0 disables it.
    """

    p: Share = 0.0
    balance: Balance = "sqrt"


class DataSettings(Section):
    """How photos are loaded and augmented.

    size: side of the network's square input in pixels. augment: a preset, or a .yaml or .json file of albumentations.
    mosaic: share of pictures made of four photos. cutmix: share with a rectangle from another photo. multi_scale: train
    on batches of different sizes, up to this share smaller or larger. paint_order: which annotation is on top where
    several overlap. cache_gb: largest size of the file with decoded photos and label maps, in gigabytes; photos that do
    not fit are decoded again each epoch.
    """

    size: Annotated[int, Field(ge=32, le=4096)] = 160
    batch_size: Annotated[int, Field(ge=1)] | Auto = "auto"
    workers: Annotated[int, Field(ge=0, le=128)] | Auto = "auto"
    augment: str = "light"
    copy_paste: CopyPasteSettings = CopyPasteSettings()
    oversample: OversampleSettings = OversampleSettings()
    focus: FocusSettings = FocusSettings()
    mosaic: Share = 0.0
    cutmix: Share = 0.0
    multi_scale: Annotated[float, Field(ge=0, le=0.75)] = 0.0
    paint_order: PaintOrder = "area"
    cache_gb: Annotated[float, Field(ge=0)] = 4.0
