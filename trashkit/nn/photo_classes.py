"""Which classes a photo shows, by a linear classifier on what pretrained encoders see in the whole of it.

Training a network for segmentation on a few hundred photos makes it forget part of what its encoder knew of kinds of
things. A linear classifier on the untouched encoder forgets nothing, learns in seconds, and errs in other places, so
that it is worth its place beside the network: `trashkit.presence.weigh` brings the two together.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import timm
import torch
from huggingface_hub.utils import logging as hub_logging
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.masks import IGNORE, dataset_label_map
from trashkit.nn import weights
from trashkit.nn.embed import embed
from trashkit.nn.encoders import fixed_size
from trashkit.nn.extra import ExtraSet, hashes_of
from trashkit.nn.predict import device
from trashkit.presence import Presence
from trashkit.progress import Progress, silent

Floats = NDArray[np.float64]

RIDGES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""Weights of the squared norm that are tried."""


class PhotoEncoder(nn.Module):
    """A pretrained timm classifier without its last layer. size: (height, width) of the photos it is shown."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, side: int) -> None:
        super().__init__()
        mean, std = weights.normalisation(name)
        self.size = (side, side)
        self.network = _classifier(name)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1) * 255)

    def features(self, photos: Tensor) -> Tensor:
        """What the classifier's last layer would see [B, F, 1, 1] of RGB [B, 3, H, W], 0..255: the mean of the photo's
        and its mirror image's."""
        x = (photos.to(self.mean.dtype) - self.mean) / self.std
        seen = [self.network.forward_head(self.network.forward_features(v), pre_logits=True) for v in (x, x.flip(3))]  # type: ignore[operator]
        return torch.stack(seen).mean(dim=0)[:, :, None, None]


def photo_encoder(name: str, side: int | None = None) -> PhotoEncoder:
    """A pretrained timm encoder (``tu-`` before its name), in eval mode, that sees photos at `side` pixels.

    side: None for the size that it was pretrained at. TrashkitError for names, sizes and weights that cannot be had.
    """
    known = timm.get_pretrained_cfg(name[3:]) if name.startswith("tu-") else None
    if known is None:
        raise TrashkitError(
            f"--encoder {name} is no pretrained classifier of timm",
            hint=f"tu- and its name in timm, such as {', '.join(weights.OFFLINE)}",
        )
    only = fixed_size(name)
    if side is not None and only not in (None, side):
        raise TrashkitError(f"{name} takes photos of {only} px alone", hint=f"--size {only}, or another encoder")
    encoder = PhotoEncoder(name, side or only or int(known.input_size[-1]))
    return encoder.eval().to(device()).to(memory_format=torch.channels_last)


def _classifier(name: str) -> nn.Module:
    source, _ = weights.choose("auto", name)
    if source == "offline":
        network = timm.create_model(name[3:])
        network.load_state_dict(weights.lite_state(name), strict=True)
        return network
    loudness = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # five retries in two lines each; our error says it in one
    try:
        return timm.create_model(name[3:], pretrained=True)
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise TrashkitError(
            f"weights of {name} cannot be fetched from the hub: {text}",
            hint=f"check the network, or give one that needs no hub: {', '.join(weights.OFFLINE)}",
        ) from error
    finally:
        hub_logging.set_verbosity(loudness)


def features(
    encoders: Sequence[PhotoEncoder], dataset: Dataset, folder: Path, *, progress: Progress = silent
) -> Floats:
    """What all encoders see in each photo, side by side: [N, F] in the data set's order."""
    return np.concatenate([embed(one, dataset, folder, progress=progress) for one in encoders], axis=1)


def object_shares(dataset: Dataset) -> Floats:
    """Of each photo's objects the part of each class, by pixels of the label map at 256 px: [N, C - 1].

    Rows of photos without any object are 0.
    """
    count = len(dataset.classes.names)
    found = np.zeros((len(dataset.images), count - 1))
    for n, image in enumerate(dataset.images):
        labels = dataset_label_map(dataset, image.row, size=(256, 256))
        found[n] = np.bincount(labels[labels != IGNORE], minlength=count)[1:count]
    total: Floats = found.sum(axis=1, keepdims=True)
    found /= np.maximum(total, 1)
    return found


@dataclass(frozen=True, eq=False)
class Classifier:
    """A linear softmax classifier. mean, scale: float64 [F] of its training features. slope [F, C], offset [C]."""

    mean: Floats
    scale: Floats
    slope: Floats
    offset: Floats

    def predict(self, features: Floats) -> Floats:
        """Expected shares [N, C] of features [N, F]; rows sum to 1."""
        logits = (features - self.mean) / self.scale @ self.slope + self.offset
        logits -= logits.max(axis=1, keepdims=True)
        likely = np.exp(logits)
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), dtype=np.float64)


def fit(features: Floats, shares: Floats, ridge: float, weight: Floats | None = None) -> Classifier:
    """The minimum of the mean cross-entropy against `shares` [N, C] plus ``ridge / 2`` times the slopes' squared norm.

    features: [N, F], standardised inside. weight: of each row, 1 by default; rows whose shares sum to 0 count for
    nothing. The problem is convex: its minimum does not depend on a start (L-BFGS in float64). A class that no row has
    gets next to nothing.
    """
    rows = np.ones(len(features)) if weight is None else weight
    rows = rows * shares.sum(axis=1)
    mean = np.average(features, axis=0, weights=rows)
    scale = np.sqrt(np.average((features - mean) ** 2, axis=0, weights=rows))
    scale[scale < 1e-9] = 1.0
    x = torch.from_numpy((features - mean) / scale)
    y, w = torch.from_numpy(shares), torch.from_numpy(rows / rows.sum())
    slope = torch.zeros(x.shape[1], y.shape[1], dtype=torch.float64, requires_grad=True)
    offset = torch.zeros(y.shape[1], dtype=torch.float64, requires_grad=True)
    # the offsets' own small weight keeps that of a class without rows finite
    optimiser = torch.optim.LBFGS([slope, offset], max_iter=300, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimiser.zero_grad()
        entropy = -(functional.log_softmax(x @ slope + offset, dim=1) * y).sum(dim=1)
        loss = (w * entropy).sum() + ridge / 2 * slope.square().sum() + 1e-4 * offset.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    return Classifier(mean, scale, slope.detach().numpy(), offset.detach().numpy())


Folds = Sequence[tuple[NDArray[np.intp], NDArray[np.intp]]]


@dataclass(frozen=True, eq=False)
class Trial:
    """What a classifier is worth on photos that it has not seen. ridge: the best of those tried. shares: out-of-fold
    [N, C]. entropy: their mean cross-entropy in nats. hits: the part of photos whose commonest class they name."""

    ridge: float
    shares: Floats
    entropy: float
    hits: float


def judge(
    dataset: Dataset,
    folder: Path,
    shares: Floats,
    folds: Folds,
    encoders: Mapping[str, PhotoEncoder],
    *,
    others: tuple[Dataset, Path] | None = None,
    more: Sequence[ExtraSet] = (),
    seen: frozenset[str] = frozenset(),
    progress: Progress = silent,
) -> tuple[Presence, Trial]:
    """Which classes each photo shows: those of the data set out of fold, or where there are `others`, theirs.

    shares: `object_shares` of the data set. encoders: by name. others: other images with the folder of their photos.
    more: data sets to learn from beside. seen: hashes of all photos that are learned from, counted among `others` as
    `seen` in what the file says of itself. Also what such a classifier is worth out of fold.
    """
    eyes = list(encoders.values())
    own = features(eyes, dataset, folder, progress=progress)
    beside = [
        (features(eyes, one.dataset, one.folder, progress=progress), object_shares(one.dataset), one.weight)
        for one in more
        if len(one)
    ]
    columns = [(seen, truth, np.full(len(seen), weight)) for seen, truth, weight in beside]
    rows = _joined(columns) if columns else None
    trial = try_ridges(own, shares, folds, rows)
    found, photos, known = trial.shares, dataset, 0
    if others is not None:
        photos = others[0]
        theirs = features(eyes, photos, others[1], progress=progress)
        learned = seen.union(*(one.hashes for one in more))
        known = sum(own in learned for own in hashes_of(photos.images, others[1]))
        found = fit_with(own, shares, trial.ridge, rows).predict(theirs)
    about = {
        "encoders": {name: one.size[0] for name, one in encoders.items()},
        "data": dataset.coco.sha256,
        "out_of_fold": others is None,
        "seen": known,
        "ridge": trial.ridge,
        "cross_entropy": round(trial.entropy, 6),
        "hits": round(trial.hits, 6),
    }
    ids, files = tuple(one.id for one in photos.images), tuple(one.file_name for one in photos.images)
    return Presence(dataset.classes.names[1:], ids, files, found, about), trial


def _joined(parts: Sequence[tuple[Floats, Floats, Floats]]) -> tuple[Floats, Floats, Floats]:
    seen, truth, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return seen, truth, weight


def try_ridges(features: Floats, shares: Floats, folds: Folds, more: tuple[Floats, Floats, Floats] | None) -> Trial:
    """Classify every photo by a classifier that has not seen it, with each of RIDGES; the best one.

    folds: rows to learn from and rows to classify. more: features, shares and weights of further rows to learn from.
    """
    labelled = shares.sum(axis=1) > 0
    trials = []
    for ridge in RIDGES:
        found = np.zeros_like(shares)
        times = np.zeros(len(shares))
        for train, val in folds:
            found[val] += fit_with(features[train], shares[train], ridge, more).predict(features[val])
            times[val] += 1
        found /= np.maximum(times, 1)[:, None]
        judged = labelled & (times > 0)
        entropy = -(shares[judged] * np.log(found[judged] + 1e-6)).sum(axis=1).mean()
        hits = (found[judged].argmax(axis=1) == shares[judged].argmax(axis=1)).mean()
        trials.append(Trial(ridge, found, float(entropy), float(hits)))
    return min(trials, key=lambda trial: trial.entropy)


def fit_with(features: Floats, shares: Floats, ridge: float, more: tuple[Floats, Floats, Floats] | None) -> Classifier:
    """As `fit`, with the features, shares and weights of further rows, or None."""
    if more is None:
        return fit(features, shares, ridge)
    weight = np.concatenate([np.ones(len(features)), more[2]])
    return fit(np.concatenate([features, more[0]]), np.concatenate([shares, more[1]]), ridge, weight)
