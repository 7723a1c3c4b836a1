"""How pseudo-labelled photos are taught: by the class of each pixel, by probabilities, or by the student's average.

Label maps are all that a photo needs to be learned from. `soft` and `online` say more about it while it is learned,
from the very picture that the student sees, cut and turned as it is:

- **soft**: the mean probabilities of the teachers (Hinton et al. 2015; for what each picture must be shown to both, see
  Beyer et al. 2022). The loss is the cross-entropy against them, over the pixels that the label map keeps.
- **online**: the moving average of the student's weights (Tarvainen and Valpola 2017). Pixels of which it is certain
  enough are labels; the student sees the picture with other colours and with a part wiped out (Sohn et al. 2020).

Nothing here has a state of its own: teachers are fixed, the average is part of a run's state, and random numbers are
drawn from (seed, epoch, step, process). So a run that was stopped goes on to the same weights.
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

from trashkit.nn.losses import IGNORE, Loss, by_weight
from trashkit.nn.models import Segmenter, load_run_model

Kind = Literal["soft", "online"]


@dataclass(frozen=True)
class Teaching:
    """What is taught beside label maps. teachers: runs, for ``soft``. certain: probability from which on the average's
    class becomes a label, one per class, for ``online``; above 1 none does."""

    kind: Kind
    teachers: tuple[Path, ...] = ()
    certain: tuple[float, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As JSON values; teachers by their folders."""
        return {"kind": self.kind, "teachers": [str(path) for path in self.teachers], "certain": list(self.certain)}


@dataclass(frozen=True)
class Lesson:
    """A batch as it is learned. photos: float or uint8 [B, 3, H, W] for the student. labels: [B, H, W].

    soft: probabilities float32 [B, C, H, W] of the pictures in `softly` (positions in the batch), None without any.
    """

    photos: Tensor
    labels: Tensor
    soft: Tensor | None = None
    softly: tuple[int, ...] = ()


class Tutor:
    """Makes lessons from batches.

    ways: how each source of pictures is taught, by its number from 0 (the annotated ones, None always). average: lends
    the moving average of the student's weights, which changes under way, for a moment.
    """

    def __init__(
        self,
        ways: Sequence[Teaching | None],
        average: Callable[[], AbstractContextManager[Segmenter]],
        device: torch.device,
    ) -> None:
        self.ways = tuple(ways)
        self.average = average
        self.asks = any(way is not None and way.kind == "online" for way in ways)
        paths = dict.fromkeys(path for way in ways if way is not None for path in way.teachers)
        self.models = {path: load_run_model(path, device) for path in paths}
        self.certain = {n: torch.tensor(way.certain, device=device) for n, way in enumerate(ways) if way is not None}

    @torch.no_grad()
    def lesson(self, photos: Tensor, labels: Tensor, parts: Sequence[int], key: Sequence[int]) -> Lesson:
        """The lesson of a batch: photos uint8 [B, H, W, 3] on the device, labels [B, H, W].

        parts: the source of each picture. key: what random numbers are drawn from.
        """
        photos = photos.permute(0, 3, 1, 2)
        labels = labels.to(photos.device, non_blocking=True)
        ways = [self.ways[part] for part in parts]
        softly = tuple(n for n, way in enumerate(ways) if way is not None and way.kind == "soft")
        online = [n for n, way in enumerate(ways) if way is not None and way.kind == "online"]
        # Processes lend it together, also where a batch of one has nothing to ask.
        with self.average() if self.asks else nullcontext() as average:
            if average is not None and online:
                certain = torch.stack([self.certain[parts[n]] for n in online])
                found = certain_labels(_probabilities(average, photos[online]), certain)
                labels, photos = labels.clone(), photos.clone()
                labels[online] = found.to(labels.dtype)
                photos[online] = disturbed(photos[online], key)
        soft = self._soft(photos, softly, ways) if softly else None
        return Lesson(photos, labels, soft, softly)

    def _soft(self, photos: Tensor, softly: Sequence[int], ways: Sequence[Teaching | None]) -> Tensor:
        """Mean probabilities of each picture's teachers, float32 [B, C, H, W]."""
        made: Tensor | None = None
        for teachers in dict.fromkeys(way.teachers for n in softly if (way := ways[n]) is not None):
            places = [n for n, one in enumerate(softly) if getattr(ways[one], "teachers", ()) == teachers]
            chosen = photos[[softly[n] for n in places]]
            mean = torch.stack([_probabilities(self.models[path], chosen) for path in teachers]).mean(0)
            made = mean.new_zeros((len(softly), *mean.shape[1:])) if made is None else made
            made[places] = mean
        assert made is not None
        return made


def _probabilities(model: Segmenter, photos: Tensor) -> Tensor:
    """Probabilities float32 [B, C, H, W] of a model that sees photos at the size it was trained at."""
    size = photos.shape[-2:]
    seen = photos.float()
    if tuple(size) != tuple(model.size):
        seen = functional.interpolate(seen, model.size, mode="bilinear", align_corners=False, antialias=True)
    logits = model(seen.contiguous(memory_format=torch.channels_last)).float()
    if logits.shape[-2:] != size:
        logits = functional.interpolate(logits, size, mode="bilinear", align_corners=False)
    probabilities: Tensor = logits.softmax(1)
    return probabilities


def certain_labels(probabilities: Tensor, certain: Tensor) -> Tensor:
    """The most probable class of each pixel where its probability reaches the class's number, 255 elsewhere.

    probabilities [B, C, H, W], certain [B, C]; int64 [B, H, W].
    """
    top, labels = probabilities.max(1)
    wanted = certain.gather(1, labels.flatten(1)).view_as(labels)
    return torch.where(top >= wanted, labels, IGNORE)


def disturbed(photos: Tensor, key: Sequence[int]) -> Tensor:
    """Photos uint8 [B, 3, H, W] with other colours, and a rectangle of up to half of each side wiped out in grey.

    Brightness by 0.6 to 1.4, each channel by 0.8 to 1.2 besides. Drawn from `key` alone, for each photo anew.
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
    """Mean over pixels of ``-sum(p log q)``, q the softmax of the logits; float32, with a gradient even if 0.

    logits, soft [B, C, H, W]; pixels where labels [B, H, W] are 255 are left out.
    """
    entropy = -(soft * functional.log_softmax(logits.float(), 1)).sum(1)
    valid = labels != IGNORE
    return (entropy * valid).sum() / valid.sum().clamp(min=1)


def lesson_loss(loss: Loss, total: float, logits: Tensor, lesson: Lesson, weights: Sequence[float]) -> Tensor:
    """The loss of a lesson, see `trashkit.nn.losses.by_weight`; pictures taught softly by `soft_cross_entropy`.

    total: sum of the weights of the loss's terms, which the soft loss is multiplied by to pull as hard.
    """
    if lesson.soft is None:
        return by_weight(loss, logits, lesson.labels, weights)
    others = [0.0 if n in lesson.softly else weight for n, weight in enumerate(weights)]
    summed = by_weight(loss, logits, lesson.labels, others)
    for weight in sorted({weights[n] for n in lesson.softly if weights[n]}):
        places = [place for place, n in enumerate(lesson.softly) if weights[n] == weight]
        chosen = [lesson.softly[place] for place in places]
        part = soft_cross_entropy(logits[chosen], lesson.soft[places], lesson.labels[chosen])
        summed = summed + weight * total * len(chosen) / len(weights) * part
    return summed
