"""Training targets for pseudo-labelled photos: hard labels, soft targets of teachers, or labels of the moving average.

Label maps are enough to train on a photo (hard targets). Two other kinds of targets are computed during training, for
the augmented picture that the student sees:

- **soft**: the mean probabilities of the teachers (Hinton et al. 2015; for why teacher and student must see the same
  picture, Beyer et al. 2022). The loss is the cross-entropy against them, without pixels that the label map ignores.
- **online**: the moving average of the student's weights is the teacher (mean teacher, Tarvainen and Valpola 2017).
  Its confident pixels are the labels, and the student sees a strongly augmented picture (FixMatch, Sohn et al. 2020).

Nothing here has state: teachers are fixed, the moving average belongs to the run, and random numbers come from (seed,
epoch, step, process). So a resumed run ends with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trashkit.nn.models.networks import Segmenter, load_run_model
from trashkit.nn.training.losses import IGNORE, Loss, image_weighted_loss

Kind = Literal["soft", "online"]


@dataclass(frozen=True)
class Distillation:
    """How a source of photos is taught in addition to its label maps.

    teachers: run folders, for ``soft``. thresholds: for ``online``, the probability per class from which the moving
    average's prediction becomes a label; above 1 it never does.
    """

    kind: Kind
    teachers: tuple[Path, ...] = ()
    thresholds: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON values; teachers by their folders."""
        return {"kind": self.kind, "teachers": [str(path) for path in self.teachers], "certain": list(self.thresholds)}


@dataclass(frozen=True)
class TargetBatch:
    """A batch with its targets. photos: float or uint8 [B, 3, H, W] for the student. labels: [B, H, W].

    soft: probabilities float32 [B', C, H, W] of the images at the positions `soft_positions`, None without any.
    """

    photos: Tensor
    labels: Tensor
    soft: Tensor | None = None
    soft_positions: tuple[int, ...] = ()


class TargetMaker:
    """Adds targets to batches.

    sources: how each source of images is taught, None for plain labels. average: context manager that yields the moving
    average of the student's weights.
    """

    def __init__(
        self,
        sources: Sequence[Distillation | None],
        average: Callable[[], AbstractContextManager[Segmenter]],
        device: torch.device,
    ) -> None:
        self.sources = tuple(sources)
        self.average = average
        self.uses_average = any(source is not None and source.kind == "online" for source in sources)
        paths = dict.fromkeys(path for source in sources if source is not None for path in source.teachers)
        self.teachers = {path: load_run_model(path, device) for path in paths}
        self.thresholds = {
            n: torch.tensor(source.thresholds, device=device) for n, source in enumerate(sources) if source is not None
        }

    @torch.no_grad()
    def make(self, photos: Tensor, labels: Tensor, parts: Sequence[int], key: Sequence[int]) -> TargetBatch:
        """The targets of a batch: photos uint8 [B, H, W, 3] on the device, labels [B, H, W].

        parts: number of the source of each image. key: seed of the random numbers.
        """
        photos = photos.permute(0, 3, 1, 2)
        labels = labels.to(photos.device, non_blocking=True)
        sources = [self.sources[part] for part in parts]
        soft_positions = tuple(n for n, one in enumerate(sources) if one is not None and one.kind == "soft")
        online = [n for n, one in enumerate(sources) if one is not None and one.kind == "online"]
        # All processes lend the average together, even those without an online image in this batch.
        with self.average() if self.uses_average else nullcontext() as average:
            if average is not None and online:
                thresholds = torch.stack([self.thresholds[parts[n]] for n in online])
                found = confident_labels(_probabilities(average, photos[online]), thresholds)
                labels, photos = labels.clone(), photos.clone()
                labels[online] = found.to(labels.dtype)
                photos[online] = strong_augment(photos[online], key)
        soft = self._soft(photos, soft_positions, sources) if soft_positions else None
        return TargetBatch(photos, labels, soft, soft_positions)

    def _soft(self, photos: Tensor, positions: Sequence[int], sources: Sequence[Distillation | None]) -> Tensor:
        """Mean probabilities of each image's teachers, float32 [B', C, H, W]."""
        made: Tensor | None = None
        for teachers in dict.fromkeys(source.teachers for n in positions if (source := sources[n]) is not None):
            places = [n for n, one in enumerate(positions) if getattr(sources[one], "teachers", ()) == teachers]
            chosen = photos[[positions[n] for n in places]]
            mean = torch.stack([_probabilities(self.teachers[path], chosen) for path in teachers]).mean(0)
            made = mean.new_zeros((len(positions), *mean.shape[1:])) if made is None else made
            made[places] = mean
        assert made is not None
        return made


def _probabilities(model: Segmenter, photos: Tensor) -> Tensor:
    """Probabilities float32 [B, C, H, W] of a model, which sees the photos at the size it was trained at."""
    size = photos.shape[-2:]
    shown = photos.float()
    if tuple(size) != tuple(model.size):
        shown = functional.interpolate(shown, model.size, mode="bilinear", align_corners=False, antialias=True)
    logits = model(shown.contiguous(memory_format=torch.channels_last)).float()
    if logits.shape[-2:] != size:
        logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    probabilities: Tensor = logits.softmax(1)
    return probabilities


def confident_labels(probabilities: Tensor, thresholds: Tensor) -> Tensor:
    """The most probable class of each pixel if its probability reaches the threshold of that class, else 255.

    probabilities [B, C, H, W], thresholds [B, C]; int64 [B, H, W].
    """
    top, labels = probabilities.max(1)
    wanted = thresholds.gather(1, labels.flatten(1)).view_as(labels)
    return torch.where(top >= wanted, labels, IGNORE)


def strong_augment(photos: Tensor, key: Sequence[int]) -> Tensor:
    """Photos uint8 [B, 3, H, W] with changed colours and a grey rectangle of up to half of each side (cutout).

    Brightness changes by 0.6 to 1.4, and each channel by 0.8 to 1.2. Drawn from `key`, differently for each photo.
    """
    generator = np.random.default_rng(np.random.SeedSequence([*key, 77]))
    count, _, height, width = photos.shape
    gain = generator.uniform(0.6, 1.4, (count, 1)) * generator.uniform(0.8, 1.2, (count, 3))
    shift = generator.uniform(-25, 25, (count, 1))
    scale = torch.as_tensor(gain, dtype=torch.float32, device=photos.device)[..., None, None]
    offset = torch.as_tensor(shift, dtype=torch.float32, device=photos.device)[..., None, None]
    made = ((photos.float() - 127) * scale + 127 + offset).round().clamp(0, 255).to(torch.uint8)
    for n in range(count):
        tall, wide = (int(side * generator.uniform(0.2, 0.5)) for side in (height, width))
        top, left = int(generator.integers(0, height - tall + 1)), int(generator.integers(0, width - wide + 1))
        made[n, :, top : top + tall, left : left + wide] = 127
    return made


def soft_cross_entropy(logits: Tensor, soft: Tensor, labels: Tensor) -> Tensor:
    """Mean over pixels of ``-sum(p log q)``, with q the softmax of the logits; float32, with a gradient even if 0.

    logits, soft [B, C, H, W]; pixels where labels [B, H, W] are 255 are left out.
    """
    entropy = -(soft * functional.log_softmax(logits.float(), 1)).sum(1)
    valid = labels != IGNORE
    return (entropy * valid).sum() / valid.sum().clamp(min=1)


def target_loss(loss: Loss, total: float, logits: Tensor, batch: TargetBatch, weights: Sequence[float]) -> Tensor:
    """The loss of a batch: `image_weighted_loss` for hard labels, `soft_cross_entropy` for images with soft targets.

    total: sum of the weights of the loss's terms, by which the soft loss is multiplied to get the same scale. weights:
    one per image.
    """
    if batch.soft is None:
        return image_weighted_loss(loss, logits, batch.labels, weights)
    hard = [0.0 if n in batch.soft_positions else weight for n, weight in enumerate(weights)]
    summed = image_weighted_loss(loss, logits, batch.labels, hard)
    for weight in sorted({weights[n] for n in batch.soft_positions if weights[n]}):
        places = [place for place, n in enumerate(batch.soft_positions) if weights[n] == weight]
        chosen = [batch.soft_positions[place] for place in places]
        part = soft_cross_entropy(logits[chosen], batch.soft[places], batch.labels[chosen])
        summed = summed + weight * total * len(chosen) / len(weights) * part
    return summed
