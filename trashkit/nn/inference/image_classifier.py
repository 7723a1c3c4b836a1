"""Photo classification: a linear classifier on frozen pretrained encoders predicts which classes a photo contains.

Fine-tuning for segmentation on a few hundred photos loses part of what the encoder learned in pretraining. A linear
classifier on the frozen encoder keeps it, trains in seconds and makes different mistakes than the segmentation network:
`trashkit.predictions.class_presence.reweight` combines the two.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from huggingface_hub.utils import logging as hub_logging
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from trashkit.coco import Dataset
from trashkit.errors import TrashkitError
from trashkit.nn.data.extra import ExtraDataset, hashes_of
from trashkit.nn.inference.embeddings import embed
from trashkit.nn.inference.predict import device
from trashkit.nn.models import timm_api, weights
from trashkit.nn.models.encoders import fixed_size
from trashkit.predictions.class_presence import ClassPresence
from trashkit.progress import Progress, silent
from trashkit.raster.masks import IGNORE, dataset_label_map

Floats = NDArray[np.float64]
Rows = tuple[Floats, Floats, Floats]
"""Features [N, F], class shares [N, C] and weights [N] of labelled photos."""

L2_PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01)
"""L2 penalties tried in cross-validation."""


class ImageEncoder(nn.Module):
    """A pretrained timm classifier without its last layer. size: input (height, width)."""

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
        """Penultimate features [B, F, 1, 1] of RGB photos [B, 3, H, W] in 0..255, averaged with those of the mirrored
        photos."""
        x = (photos.to(self.mean.dtype) - self.mean) / self.std
        both = [timm_api.pooled_features(self.network, view) for view in (x, x.flip(3))]
        return torch.stack(both).mean(dim=0)[:, :, None, None]


def load_image_encoder(name: str, side: int | None = None) -> ImageEncoder:
    """Load a pretrained timm encoder (name with prefix ``tu-``) in eval mode for photos of `side` pixels.

    side: None for the size of its pretraining. Raises TrashkitError for unknown names, unsupported sizes, and weights
    that are not available.
    """
    known = timm_api.pretrained_config(name[3:]) if name.startswith("tu-") else None
    if known is None:
        raise TrashkitError(
            f"--encoder {name} is not a pretrained timm classifier",
            hint=f"use tu- and a timm name, such as {', '.join(weights.OFFLINE)}",
        )
    only = fixed_size(name)
    if side is not None and only not in (None, side):
        raise TrashkitError(f"{name} only takes photos of {only} px", hint=f"use --size {only} or another encoder")
    encoder = ImageEncoder(name, side or only or int(known.input_size[-1]))
    return encoder.eval().to(device()).to(memory_format=torch.channels_last)


def _classifier(name: str) -> nn.Module:
    source, _ = weights.choose_source("auto", name)
    if source == "offline":
        network = timm_api.create_model(name[3:])
        network.load_state_dict(weights.lite_state(name), strict=True)
        return network
    log_level = hub_logging.get_verbosity()
    hub_logging.set_verbosity(logging.ERROR)  # it would log five retries; the error below is enough
    try:
        return timm_api.create_model(name[3:], pretrained=True)
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise TrashkitError(
            f"weights of {name} cannot be fetched from the hub: {text}",
            hint=f"check the network, or use an encoder that needs no hub: {', '.join(weights.OFFLINE)}",
        ) from error
    finally:
        hub_logging.set_verbosity(log_level)


def features(
    encoders: Sequence[ImageEncoder], dataset: Dataset, folder: Path, *, progress: Progress = silent
) -> Floats:
    """Concatenated features of all encoders: float64 [N, F] in data set order."""
    return np.concatenate([embed(one, dataset, folder, progress=progress) for one in encoders], axis=1)


def class_shares(dataset: Dataset) -> Floats:
    """Share of each class among a photo's object pixels, in label maps of 256 x 256 pixels: float64 [N, C - 1].

    Rows of photos without objects are 0.
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
    """Linear softmax classifier. mean, scale: feature standardisation, float64 [F]. slope [F, C], offset [C]."""

    mean: Floats
    scale: Floats
    slope: Floats
    offset: Floats

    def predict(self, features: Floats) -> Floats:
        """Predicted class shares [N, C] for features [N, F]; rows sum to 1."""
        logits = (features - self.mean) / self.scale @ self.slope + self.offset
        logits -= logits.max(axis=1, keepdims=True)
        likely = np.exp(logits)
        return np.asarray(likely / likely.sum(axis=1, keepdims=True), dtype=np.float64)


def fit(features: Floats, shares: Floats, ridge: float, weight: Floats | None = None) -> Classifier:
    """Fit a classifier: mean cross-entropy against `shares` [N, C] plus ``ridge / 2`` times the squared norm of slopes.

    features: [N, F], standardised internally. weight: row weights, default 1; rows whose shares sum to 0 are ignored.
    The problem is convex and solved by L-BFGS in float64, so there is no dependence on the starting point. A class
    without rows gets a probability close to 0.
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
    # a small penalty on the offsets keeps that of a class without rows finite
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
class CrossValidation:
    """Cross-validation result of one penalty.

    ridge: L2 penalty. shares: out-of-fold predictions [N, C]. entropy: their mean cross-entropy in nats. hits: share of
    photos whose most common class is predicted.
    """

    ridge: float
    shares: Floats
    entropy: float
    hits: float


def classify_photos(
    dataset: Dataset,
    folder: Path,
    shares: Floats,
    folds: Folds,
    encoders: Mapping[str, ImageEncoder],
    *,
    others: tuple[Dataset, Path] | None = None,
    more: Sequence[ExtraDataset] = (),
    seen: frozenset[str] = frozenset(),
    progress: Progress = silent,
) -> tuple[ClassPresence, CrossValidation]:
    """Predict the class presence of each photo, and cross-validate the classifier.

    The photos of the data set are predicted out of fold; if `others` (images and photo folder) are given, they are
    predicted instead. shares: `class_shares` of the data set. encoders: by name. more: additional training sets. seen:
    hashes of the training photos; the metadata counts them among `others` as ``seen``.
    """
    models = list(encoders.values())
    own = features(models, dataset, folder, progress=progress)
    extra = [
        (features(models, one.dataset, one.folder, progress=progress), class_shares(one.dataset), one.weight)
        for one in more
        if len(one)
    ]
    columns = [(inputs, truth, np.full(len(inputs), weight)) for inputs, truth, weight in extra]
    rows = _joined(columns) if columns else None
    best = cross_validate(own, shares, folds, rows)
    found, photos, known = best.shares, dataset, 0
    if others is not None:
        photos = others[0]
        theirs = features(models, photos, others[1], progress=progress)
        learned = seen.union(*(one.hashes for one in more))
        known = sum(one in learned for one in hashes_of(photos.images, others[1]))
        found = fit_with_extra(own, shares, best.ridge, rows).predict(theirs)
    about = {
        "encoders": {name: one.size[0] for name, one in encoders.items()},
        "data": dataset.coco.sha256,
        "out_of_fold": others is None,
        "seen": known,
        "ridge": best.ridge,
        "cross_entropy": round(best.entropy, 6),
        "hits": round(best.hits, 6),
    }
    ids, files = tuple(one.id for one in photos.images), tuple(one.file_name for one in photos.images)
    return ClassPresence(dataset.classes.names[1:], ids, files, found, about), best


def _joined(parts: Sequence[Rows]) -> Rows:
    features, truth, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    return features, truth, weight


def cross_validate(
    features: Floats, shares: Floats, folds: Folds, more: tuple[Floats, Floats, Floats] | None
) -> CrossValidation:
    """Predict every photo out of fold with each of L2_PENALTIES; return the result with the lowest cross-entropy.

    folds: (training rows, validation rows). more: additional training rows.
    """
    labelled = shares.sum(axis=1) > 0
    results = []
    for ridge in L2_PENALTIES:
        found = np.zeros_like(shares)
        times = np.zeros(len(shares))
        for train, val in folds:
            found[val] += fit_with_extra(features[train], shares[train], ridge, more).predict(features[val])
            times[val] += 1
        found /= np.maximum(times, 1)[:, None]
        scored = labelled & (times > 0)
        entropy = -(shares[scored] * np.log(found[scored] + 1e-6)).sum(axis=1).mean()
        hits = (found[scored].argmax(axis=1) == shares[scored].argmax(axis=1)).mean()
        results.append(CrossValidation(ridge, found, float(entropy), float(hits)))
    return min(results, key=lambda one: one.entropy)


def fit_with_extra(
    features: Floats, shares: Floats, ridge: float, more: tuple[Floats, Floats, Floats] | None
) -> Classifier:
    """As `fit`, with additional training rows, or None."""
    if more is None:
        return fit(features, shares, ridge)
    weight = np.concatenate([np.ones(len(features)), more[2]])
    return fit(np.concatenate([features, more[0]]), np.concatenate([shares, more[1]]), ridge, weight)
