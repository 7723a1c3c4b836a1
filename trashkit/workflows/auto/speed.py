"""How long the steps take, from the speed of a few real training steps."""

from __future__ import annotations

from dataclasses import dataclass

NORMAL_START = 6.0
"""Seconds until a command with torch starts to work, on an idle machine."""
_FORWARD = 3.0
"""A network predicts about this many times as many photos per second as it trains on."""
_MEGAPIXEL = 0.0045
"""Seconds of decoding a megapixel of a JPEG, on an idle machine."""
VALIDATE_EVERY = 3
"""Epochs from one validation to the next: no choice depends on those in between."""
_EPOCH = 1.0
"""Seconds at the end of an epoch: saving the training state, the report page."""
_RUN = 12.0
"""Seconds at both ends of a training: reading photos, weights; choosing a checkpoint, out-of-fold predictions."""


@dataclass(frozen=True)
class Speed:
    """Of this machine, with other programs that run on it.

    rate: photos per second of all trainings side by side. start: seconds until a command with torch starts to work.
    """

    rate: float
    start: float

    @property
    def slow(self) -> float:
        """How many times as long as on an idle machine small steps take."""
        return max(1.0, self.start / NORMAL_START)

    def light(self, photos: int, *, start: float = 1.0, each: float = 0.0, megapixels: float = 0.0) -> float:
        """Seconds of a command without a network: the same for every call, for each photo, and for megapixels of each
        photo that are decoded."""
        return self.slow * (start + (each + _MEGAPIXEL * megapixels) * photos)

    def predict(self, views: int, models: int = 1) -> float:
        """Seconds of predicting this many views of photos."""
        return self.start + self.slow * 0.5 * models + views / (_FORWARD * self.rate)

    def epoch(self, train: int, val: int) -> float:
        """Seconds of one epoch of one of the trainings, if it had the machine for itself."""
        return train / self.rate + val / VALIDATE_EVERY / (_FORWARD * self.rate)

    def train(self, epochs: int, folds: int, jobs: int, *, train: int, val: int) -> float:
        """Seconds of training all folds. train, val: photos of each."""
        jobs = max(1, min(jobs, folds))
        waves = -(-folds // jobs)
        each = epochs * (jobs * self.epoch(train, val) + self.slow * _EPOCH) + self.slow * _RUN
        return self.start + waves * each

    def epochs_within(self, seconds: float, folds: int, jobs: int, *, train: int, val: int) -> int:
        """The largest number of epochs for which `train` takes no longer; 0 or less for none."""
        one, two = (self.train(n, folds, jobs, train=train, val=val) for n in (0, 1))
        return int((seconds - one) / (two - one))
