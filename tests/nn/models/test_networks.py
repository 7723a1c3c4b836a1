"""Networks: pretrained weights, sizes, finished runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import timm
import torch
from safetensors.torch import save_file

from trashkit.coco import OFFICIAL_COLORS, OFFICIAL_NAMES
from trashkit.errors import TrashkitError
from trashkit.nn.models.networks import ARCHITECTURES, build, measure_network, untrained_network
from trashkit.nn.models.weights import OFFLINE, choose_source, lite_state, normalisation, offline_available
from trashkit.nn.training.choices import setting_choices
from trashkit.runs.manifest import RunSpec
from trashkit.settings.training import read_recipe, recipe_names, resolve


def spec(architecture: str = "fpn", encoder: str = "tu-test_efficientnet", **options) -> RunSpec:
    mean, std = normalisation(encoder)
    return RunSpec(architecture, encoder, options, (64, 64), mean, std, OFFICIAL_NAMES, OFFICIAL_COLORS)


@pytest.mark.parametrize(
    "encoder", [pytest.param(name, marks=pytest.mark.slow if n else ()) for n, name in enumerate(OFFLINE)]
)
def test_offline_weights_load_strictly_and_give_timm_s_features(encoder):
    if not offline_available(encoder):
        pytest.skip(f"{OFFLINE[encoder]} is not installed")
    reference = timm.create_model(encoder[3:], features_only=True)
    whole = timm.create_model(encoder[3:])
    whole.load_state_dict(lite_state(encoder), strict=True)
    shared = {key: value for key, value in whole.state_dict().items() if key in reference.state_dict()}
    reference.load_state_dict(shared, strict=True)
    model = build(spec(encoder=encoder), "offline").eval()
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features = model.network.encoder(x)[1:]
        expected = reference.eval()(x)
    assert len(features) == len(expected) == 5
    assert all(torch.equal(one, other) for one, other in zip(features, expected, strict=True))
    assert normalisation(encoder) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


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
    with pytest.raises(TrashkitError, match=r'"nonsense" is unknown; choices: .* of segformer'):
        untrained_network(spec("segformer", nonsense=3))
    with pytest.raises(TrashkitError, match="dpt does not fit"):
        untrained_network(spec("dpt", "resnet18"))


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
    other = build(spec("unet"), str(tmp_path / "network.safetensors"))
    assert other.loaded_from.startswith("the encoder's weights")
    assert same_encoder(other, source)
    with pytest.raises(TrashkitError, match="does not fit"):
        build(spec("unet", "resnet18"), str(tmp_path / "network.safetensors"))


def same_encoder(one, other) -> bool:
    first, second = one.encoder.state_dict(), other.encoder.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_foreign_checkpoints_are_read_without_unpickling(tmp_path):
    source = build(spec())
    timm_s = timm.create_model("test_efficientnet")
    torch.save(source.network.state_dict(), tmp_path / "plain.pth")
    wrapped = {f"module.{key}": value for key, value in source.network.state_dict().items()}
    torch.save({"state_dict": wrapped, "epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "wrapped.pth")
    for name in ("plain", "wrapped"):
        model = build(spec(), str(tmp_path / f"{name}.pth"))
        assert model.loaded_from.startswith("all weights from")
        assert all(
            torch.equal(value, model.network.state_dict()[key]) for key, value in source.network.state_dict().items()
        )
        assert same_encoder(build(spec("unet"), str(tmp_path / f"{name}.pth")), source)
    torch.save(timm_s.state_dict(), tmp_path / "timm.pth")
    model = build(spec(), str(tmp_path / "timm.pth"))
    assert model.loaded_from.startswith("the encoder's weights")
    assert all(torch.equal(value, timm_s.state_dict()[key[6:]]) for key, value in model.encoder.state_dict().items())
    torch.save({"model": timm_s}, tmp_path / "object.pth")
    with pytest.raises(TrashkitError, match="contains pickled objects"):
        build(spec(), str(tmp_path / "object.pth"))
    torch.save({"epoch": 3}, tmp_path / "none.pth")
    with pytest.raises(TrashkitError, match="contains no weights"):
        build(spec(), str(tmp_path / "none.pth"))
    torch.save({"a": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(TrashkitError, match=r"does not fit: it has 0 of the network's"):
        build(spec(), str(tmp_path / "other.pth"))


def test_files_without_weights_are_refused_with_a_reason(tmp_path):
    torch.save({"a": torch.zeros(3000)}, tmp_path / "cut.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "cut.pth").read_bytes()[:5000])
    save_file({"a": torch.zeros(3000)}, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:500])
    (tmp_path / "empty.pth").touch()
    torch.save({"a": torch.tensor([1.0, float("nan")]), "b": torch.zeros(2)}, tmp_path / "nan.pth")
    (tmp_path / "folder").mkdir()
    told = {
        "cut.pth": "is damaged", "cut.safetensors": "is damaged, or not a safetensors", "empty.pth": "is empty",
        "nan.pth": "NaN or infinite weights in 1 of 2 tensors", "folder": "is a folder, but not a run",
    }  # fmt: skip
    for name, text in told.items():
        with pytest.raises(TrashkitError, match=text):
            build(spec(), str(tmp_path / name))


def test_other_classes_take_all_but_the_last_layer(tmp_path):
    source = build(spec())
    save_file(source.network.state_dict(), tmp_path / "network.safetensors")
    few = replace(spec(), class_names=OFFICIAL_NAMES[:4], class_colors=OFFICIAL_COLORS[:4])
    model = build(few, str(tmp_path / "network.safetensors"))
    assert "except the last layer" in model.loaded_from
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, source.network.state_dict()[key]) == ("segmentation_head" not in key) or "bias" in key


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("test_vit", "blocks.0.mlp.fc1.weight"),
        pytest.param("swin_tiny_patch4_window7_224", "layers.0.blocks.0.mlp.fc1.weight", marks=pytest.mark.slow),
    ],
)
def test_timm_s_own_file_is_fitted_to_another_size(tmp_path, name, key):
    """Where a ViT's patches and Swin's tables of relative positions depend on the size, timm interpolates them."""
    whole = timm.create_model(name)
    torch.save(whole.state_dict(), tmp_path / "timm.pth")
    model = build(spec("fpn", f"tu-{name}"), str(tmp_path / "timm.pth"))
    assert model.loaded_from.startswith("the encoder's weights")
    given = model.encoder.state_dict()[f"model.{key.replace('layers.', 'layers_')}"]
    assert torch.equal(given, whole.state_dict()[key])


SMALL = [
    *[(name, "tu-test_resnet") for name in ("unet", "fpn", "upernet", "segformer", "deeplabv3plus")],
    *[(name, "tu-test_vit") for name in ("fpn", "dpt")],
]
"""Small pairs, of timm's smallest encoders of both kinds."""

# One of each kind: plain, dilatable and two-branched convolutions, hierarchical Transformers with and without a fixed
# size, and ViTs of one scale, whose patch is 16 or not.
PAIRS = [
    *[(name, "resnet18") for name in ARCHITECTURES if name != "dpt"],
    *[(name, "tu-vit_tiny_patch16_224") for name in ARCHITECTURES],
    ("unet", "mit_b0"),
    ("segformer", "mit_b0"),
    ("upernet", "tu-convnext_atto"),
    ("upernet", "tu-swin_tiny_patch4_window7_224"),
    ("unetplusplus", "tu-swin_tiny_patch4_window7_224"),
    ("upernet", "tu-maxvit_pico_rw_256"),
    ("fpn", "tu-deit3_small_patch16_224"),
    ("upernet", "tu-vit_small_patch14_dinov2"),
]


@pytest.mark.parametrize(
    ("architecture", "encoder"),
    [
        *SMALL,
        *[pytest.param(*pair, marks=pytest.mark.slow) for pair in PAIRS],
    ],
)
def test_pairs_train_and_take_any_size(architecture, encoder):
    side = 128 if architecture == "pan" else 64
    chosen = replace(spec(architecture, encoder), size=(side, side))
    assert measure_network(chosen, 2).parameters > 0
    model = build(chosen).train()
    photos = torch.randint(0, 256, (2, 3, side, side), dtype=torch.uint8)
    logits, features = model.with_features(photos)
    assert logits.shape == (2, 11, side, side)
    assert features.shape[0] == 2
    logits.square().mean().backward()
    learned = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.parameters()]
    assert sum(learned) > 0.6 * len(learned)
    with torch.inference_mode():
        assert model.eval()(torch.zeros(1, 3, side + 6, side + 40, dtype=torch.uint8)).shape[-2:] == (
            side + 6,
            side + 40,
        )


@pytest.mark.parametrize(
    ("architecture", "encoder", "side", "clause", "hint"),
    [
        ("dpt", "resnet18", 64, "does not fit the encoder resnet18", "another architecture"),
        ("deeplabv3", "tu-swin_tiny_patch4_window7_224", 64, "keep their resolution", "another architecture"),
        ("linknet", "mit_b0", 64, "linknet does not fit", "another architecture"),
        ("pan", "resnet18", 64, "does not take photos of 64 px", "--set data.size=128"),
    ],
)
def test_combinations_that_do_not_fit_are_reported_without_computing(architecture, encoder, side, clause, hint):
    with pytest.raises(TrashkitError) as caught:
        measure_network(replace(spec(architecture, encoder), size=(side, side)), 2)
    assert clause in caught.value.message
    assert hint in caught.value.hint


def test_estimated_memory_is_that_of_a_forward_pass():
    """Against tensors that a real forward pass on the CPU saves, weights left out."""
    chosen = spec("fpn", "resnet18")
    model = build(chosen).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits = model.network(torch.zeros(4, 3, 64, 64))
    assert logits.shape == (4, 11, 64, 64)
    assert measure_network(chosen, 4).activations == pytest.approx(sum(kept.values()), rel=0.05)


def test_sources_of_weights():
    assert choose_source("none", "resnet18")[0] == "none"
    assert choose_source("auto", "resnet18")[0] == "hub"
    with pytest.raises(TrashkitError, match="one of auto, hub, offline, none"):
        choose_source("nowhere.safetensors", "resnet18")
    with pytest.raises(TrashkitError, match="no installed package"):
        choose_source("offline", "resnet18")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_resolve_and_state_their_purpose(name):
    recipe = read_recipe(name)
    assert recipe.title
    assert recipe.reason
    assert recipe.place
    resolve(recipe, choices=setting_choices())


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in ("cpu-small", "tiny") else pytest.mark.slow) for name in recipe_names()],
)
def test_networks_of_recipes_fit(name):
    settings = resolve(read_recipe(name), choices=setting_choices()).model
    fit = measure_network(replace(spec(settings.architecture, settings.encoder, **settings.options), size=(64, 64)), 2)
    assert fit.parameters > 1_000_000
