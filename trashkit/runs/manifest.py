"""manifest.json of a run, as typed records. Runs of earlier versions lack some keys, so most are optional."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, NotRequired, Required, TypedDict

from msgspec import Meta

from trashkit.readers import checked
from trashkit.runs.metrics import Scores

MOST_PIXELS = 8192
"""Longest side of a network's input."""


@dataclass(frozen=True)
class RunSpec:
    """Everything needed to build the network of a run, apart from its weights.

    options: keyword arguments of the architecture. size: (height, width) in pixels that the network was trained at.
    mean, std: RGB normalisation on the scale 0..1. class_names: one per logit, background first. class_colors: RGB.
    """

    architecture: str
    encoder: str
    options: Mapping[str, bool | int | float | str]
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> RunSpec:
        """The spec from its JSON form. Raises ValueError, saying what is wrong, for anything else."""
        found: RunSpec = checked(value, RunSpec)
        if not 2 <= len(found.class_names) == len(set(found.class_names)) <= 255:
            raise ValueError("a network needs 2 to 255 classes with different names")
        if len(found.class_colors) != len(found.class_names) or any(
            not 0 <= c < 256 for c in sum(found.class_colors, ())
        ):
            raise ValueError("each class needs an RGB color")
        if not all(1 <= side <= MOST_PIXELS for side in found.size):
            raise ValueError(f"its size is not 1 to {MOST_PIXELS} pixels")
        if not all(map(math.isfinite, (*found.mean, *found.std))) or min(found.std) <= 0:
            raise ValueError("its normalisation is not finite")
        return found

    def as_json(self) -> dict[str, Any]:
        """The form that `of` reads."""
        return asdict(self)


class LabelMapInput(TypedDict):
    """A folder of label maps, or another data set, that was trained on in addition to the annotations."""

    path: str
    fingerprint: str
    images: str
    weight: float
    ramp: float
    files: list[str]
    teaching: NotRequired[Mapping[str, Any]]


class RunInputs(TypedDict, total=False):
    """The files that a run was trained on. The two lists of files hold file names of images."""

    data: str
    data_sha256: str
    images: str
    content_sha256: str
    training_images: int
    validation_images: int
    training_files: list[str]
    validation_files: list[str]
    labels_of_models: list[dict[str, Any]]
    weights_sha256: str
    label_maps: list[LabelMapInput]


RunIdentity = TypedDict(
    "RunIdentity",
    {
        "settings": Required[dict[str, Any]],
        "data": Required[str],
        "photos and classes": str,
        "training images": list[Any],
        "validation images": list[Any],
        "augmentations": str,
        "label maps": list[dict[str, Any]],
    },
    total=False,
)
"""The requested settings and the inputs: what must be equal for a run to be resumed."""


class DeviceEntry(TypedDict):
    """What a run was trained on."""

    type: str
    name: str
    processes: int
    threads: int


class Candidate(TypedDict, total=False):
    """A checkpoint that was considered. Intervals hold 95 %; differences are to the default checkpoint, paired by
    image; better: share of bootstrap resamples in which it is ahead."""

    name: Required[str]
    what: Required[str]
    miou: Required[float]
    miou_without_background: float
    interval: list[float]
    difference: float
    difference_interval: list[float]
    better: float


class CheckpointChoice(TypedDict, total=False):
    """Which checkpoint a run is used with, and why. images: validation images. margin: its mIoU less that of the best
    other candidate, None without another."""

    chosen: Required[str]
    reason: Required[str]
    images: Required[int]
    candidates: Required[list[Candidate]]
    margin: float | None
    margin_interval: list[float] | None


class Ingredient(TypedDict):
    """A run that a model soup was offered. miou_without_background: as miou; soups of earlier versions have none."""

    run: str
    checkpoint_sha256: str
    miou: float | None
    miou_without_background: NotRequired[float | None]
    taken: bool


class _Settings(TypedDict, total=False):
    epochs: int
    model: dict[str, Any]
    data: dict[str, Any]


_Identity = TypedDict(
    "_Identity",
    {"settings": _Settings, "training images": list[int | str], "validation images": list[int | str]},
    total=False,
)


class _LabelMaps(TypedDict, total=False):
    path: str
    fingerprint: str
    images: str
    weight: float
    ramp: float
    files: list[str]
    teaching: dict[str, Any] | None


class _Inputs(TypedDict, total=False):
    data: str | None
    data_sha256: str | None
    images: str | None
    content_sha256: str | None
    training_images: int
    validation_images: int
    training_files: list[str]
    validation_files: list[str]
    labels_of_models: list[dict[str, Any]] | None
    weights_sha256: str | None
    label_maps: list[_LabelMaps] | None


class _Scores(TypedDict, total=False):
    epoch: int
    miou: float | None
    miou_interval: tuple[float | None, float | None] | None
    pixel_accuracy: float | None
    iou: dict[str, float | None] | None
    iou_error: dict[str, float | None] | None
    definitions: dict[str, Any] | None


class _Candidate(TypedDict, total=False):
    name: Required[str]
    what: Required[str]
    miou: Required[float | None]
    miou_without_background: float | None
    interval: tuple[float | None, float | None] | None
    difference: float | None
    difference_interval: tuple[float | None, float | None] | None
    better: float | None


class _Choice(TypedDict, total=False):
    chosen: Required[str]
    reason: Required[str]
    images: int
    candidates: Required[list[_Candidate]]
    margin: float | None
    margin_interval: tuple[float | None, float | None] | None


class _Ingredient(TypedDict, total=False):
    run: Required[str]
    checkpoint_sha256: str
    miou: float | None
    miou_without_background: float | None
    taken: bool


class _Pseudo(TypedDict, total=False):
    round: int
    stage: str
    folder: str
    labels: str
    teachers: list[str]
    checkpoints: dict[str, str | None]
    start: str | None
    settings: _Settings | None


class _Device(TypedDict, total=False):
    type: str
    name: str
    processes: int
    threads: int


class ManifestForm(TypedDict, total=False):
    """What `Manifest` must have for a run to be listed and used; any version of trashkit writes it so."""

    format: str
    version: int
    status: str
    started: str | None
    finished: str | None
    seconds: float | None
    versions: dict[str, str]
    git: dict[str, Any] | None
    identity: _Identity
    kind: str
    command: str | None
    recipe: str | None
    fold: int | None
    seed: int | None
    settings: _Settings
    model: dict[str, Any]
    inputs: _Inputs
    device: _Device | None
    checkpoint: Annotated[str, Meta(pattern=r"^[\w-][\w.-]*\Z")]
    checkpoint_sha256: str | None
    scores: _Scores
    choice: _Choice | None
    intermediate: bool
    pseudo: _Pseudo | None
    method: str
    ingredients: list[_Ingredient]


class Manifest(TypedDict, total=False):
    """manifest.json. settings: resolved, as `TrainConfig.model_dump` gives them. model: see `RunSpec.of`. checkpoint:
    name of the checkpoint that the run is used with. fold: None without folds."""

    format: Required[str]
    version: Required[int]
    status: Literal["running", "complete"]
    started: str
    finished: str
    seconds: float
    versions: dict[str, str]
    git: dict[str, Any] | None
    identity: RunIdentity
    kind: str
    command: str
    recipe: str | None
    fold: int | None
    seed: int
    settings: dict[str, Any]
    model: dict[str, Any]
    inputs: RunInputs
    device: DeviceEntry
    checkpoint: str
    checkpoint_sha256: str
    scores: Scores
    choice: CheckpointChoice
    intermediate: bool
    pseudo: dict[str, Any]
    method: str
    ingredients: list[Ingredient]
