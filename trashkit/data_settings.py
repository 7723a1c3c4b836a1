"""Settings of the way of photos to the network: cache, sampling, augmentation, mixing."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from trashkit.masks import PaintOrder

Auto = Literal["auto"]
Balance = Literal["inverse", "sqrt", "uniform"]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen group of settings that refuses names it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CopyPasteSettings(Section):
    """Objects of other training photos, pasted into a photo before it is augmented.

    p: share of photos that get any; 0 switches it off. balance: a class is drawn by 1/n of its n annotations
    (``inverse``), by 1/sqrt(n), or every class alike. classes: factors on that, by name, such as ``{Glass = 2.0}``; 0
    leaves a class out. max_objects: 1 to so many a photo. rotate: degrees to either side. match: how far an object
    takes on the brightness around it, 0 to 1. edge: width in pixels of the soft edge.
    """

    p: Share = 0.0
    balance: Balance = "sqrt"
    max_objects: Annotated[int, Field(ge=1, le=20)] = 2
    classes: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    rotate: Annotated[float, Field(ge=0, le=180)] = 15.0
    match: Share = 0.3
    edge: Annotated[int, Field(ge=0, le=10)] = 1


class OversampleSettings(Section):
    """Photos with rare classes shown more often: repeat factor sampling.

    threshold: a class in a smaller share of the photos than this is rare; 0 switches it off. most: a photo is shown at
    most so many times as often as one without rare classes. same_length: an epoch keeps its number of photos, so that
    common ones are shown less; else it becomes longer.
    """

    threshold: Share = 0.0
    most: Annotated[float, Field(ge=1)] = 8.0
    same_length: bool = True


class FocusSettings(Section):
    """Crops placed on objects. p: share of crops that must hold a pixel of an object, whose class is drawn among those
    in the photo by `balance`, as in copy_paste; 0 switches it off."""

    p: Share = 0.0
    balance: Balance = "sqrt"


class DataSettings(Section):
    """Photos on their way to the network.

    size: side in pixels of the square that the network sees. augment: a preset, or a .yaml or .json file of
    albumentations. mosaic: share of pictures made of four photos. cutmix: share with a rectangle of another photo.
    multi_scale: batches of other sizes, up to this share smaller or larger. paint_order: which annotation wins where
    several overlap. cache_gb: decoded photos and label maps are kept in a file of at most so many gigabytes; photos
    that do not fit are decoded anew each epoch.
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
