"""Encoder features of photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from trashkit.coco import Coco, Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.images.photos import read_photo
from trashkit.nn.inference.embeddings import embed, load_encoder, offline_encoder
from trashkit.nn.models.networks import Segmenter, build
from trashkit.nn.models.weights import OFFLINE, offline_available
from trashkit.runs.manifest import RunSpec


def photos(folder: Path, count: int = 11, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        width, height = (int(v) for v in rng.integers(40, 64, 2))
        cv2.imwrite(str(folder / f"{n}.png"), rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        rows.append({"id": n, "file_name": f"{n}.png", "width": width, "height": height})
    return read_dataset(Coco.of({"images": rows, "annotations": [], "categories": []}), labels=False)


@pytest.fixture(scope="module")
def model() -> Segmenter:
    torch.manual_seed(0)
    spec = RunSpec(
        "fpn", "tu-test_efficientnet", {}, (64, 64), (0.5,) * 3, (0.5,) * 3, ("Background", "Paper"), ((0, 0, 0),) * 2
    )
    return build(spec).eval()


def test_every_photo_has_the_mean_of_its_deepest_features(model: Segmenter, tmp_path: Path) -> None:
    data = photos(tmp_path)
    seen: list[tuple[int, int]] = []
    found = embed(model, data, tmp_path, batch=4, progress=lambda _, done, total: seen.append((done, total)))
    assert seen == [(0, 11), (4, 11), (8, 11), (11, 11)]
    for row, image in enumerate(data.images):
        photo = read_photo(tmp_path / image.file_name)
        whole = cv2.resize(photo, (64, 64), interpolation=cv2.INTER_LINEAR)
        with torch.inference_mode():
            _, features = model.with_features(torch.from_numpy(whole).permute(2, 0, 1)[None])
        assert np.allclose(found[row], features[0].mean(dim=(1, 2)).numpy(), atol=1e-4)
    assert np.array_equal(found, embed(model, data, tmp_path, batch=4))
    assert np.allclose(found, embed(model, data, tmp_path, batch=11), atol=1e-4)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_features_alone_equal_those_returned_with_logits(model: Segmenter) -> None:
    batch = torch.randint(0, 256, (2, 3, 50, 70), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        logits, features = model.with_features(batch)
        assert torch.equal(model.features(batch), features)
    assert logits.shape == (2, 2, 50, 70)


def test_a_broken_photo_is_named(model: Segmenter, tmp_path: Path) -> None:
    data = photos(tmp_path, 6)
    (tmp_path / "4.png").write_bytes(b"no photo")
    with pytest.raises(TrashkitError, match=r"4\.png"):
        embed(model, data, tmp_path, batch=2)


def test_unknown_encoders_are_refused() -> None:
    with pytest.raises(TrashkitError, match="neither a run folder nor a known encoder"):
        load_encoder("resnet5000")


def test_unavailable_weights_are_reported_for_this_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> Segmenter:
        raise TrashkitError("weights of the encoder resnet18 cannot be fetched", hint="--set model.weights=none")

    monkeypatch.setattr("trashkit.nn.inference.embeddings.build", offline)
    with pytest.raises(TrashkitError, match="cannot be fetched") as caught:
        load_encoder("resnet18")
    assert "--encoder none" in caught.value.hint
    assert "--set" not in caught.value.hint


def test_the_pretrained_encoder_is_used_if_its_package_is_installed() -> None:
    name = offline_encoder()
    if name is None:
        assert not any(map(offline_available, OFFLINE))
        pytest.skip("no package of pretrained weights is installed")
    found, words = load_encoder(name)
    assert name in words
    assert found.size == (224, 224)
    assert not found.training
