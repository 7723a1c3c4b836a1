"""What trashkit relies on in timm. A failure here names what a new version of timm has changed."""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import nn

from trashkit.nn.models import timm_api


def test_models_and_weights_are_listed_once() -> None:
    names = timm_api.model_names()
    assert "tf_efficientnet_lite0" in names
    assert "convnext_atto.d2_in1k" in names, "timm.list_pretrained no longer gives names with tags"
    assert len(names) == len(set(names))


def test_strides_are_known_without_memory_for_weights() -> None:
    assert timm_api.feature_strides("test_efficientnet") == (2, 4, 8, 16, 32)
    assert set(timm_api.feature_strides("test_vit")) == {16}, "feature_info.reduction() of a ViT has changed"
    assert next(timm_api.create_model_shapes("test_vit").parameters()).device.type == "meta"


def test_pretrained_config_has_the_fields_that_are_read() -> None:
    config = timm_api.pretrained_config("swin_tiny_patch4_window7_224")
    assert config is not None
    assert config.fixed_input_size is True
    assert config.input_size == (3, 224, 224)
    assert len(config.mean) == len(config.std) == 3
    assert timm_api.pretrained_config("no_such_model") is None
    assert len(timm_api.IMAGENET_MEAN) == len(timm_api.IMAGENET_STD) == 3


def test_a_weights_file_is_loaded_instead_of_the_download(tmp_path) -> None:
    wanted = timm_api.create_model("test_efficientnet").state_dict()
    save_file(wanted, tmp_path / "weights.safetensors")
    options = timm_api.weights_file_options(tmp_path / "weights.safetensors")
    found = timm_api.create_model("test_efficientnet", pretrained=True, **options).state_dict()
    assert all(torch.equal(found[key], value) for key, value in wanted.items()), "pretrained_cfg_overlay has changed"


def test_classifiers_give_pooled_features() -> None:
    model = timm_api.create_model("test_efficientnet").eval()
    features = timm_api.pooled_features(model, torch.zeros(2, 3, 64, 64))
    assert features.shape == (2, model.num_features), "forward_features or forward_head(pre_logits=True) has changed"


def test_optimisers_are_listed_described_and_created() -> None:
    assert {"lamb", "lion", "adan"} <= set(timm_api.optimiser_names())
    assert {"params", "lr", "weight_decay", "caution"} <= set(timm_api.optimiser_parameters("lion"))
    groups = [{"params": [nn.Parameter(torch.zeros(2))], "lr": 0.5}]
    made = timm_api.create_optimiser(groups, "lion", lr=0.1, weight_decay=0.0)
    assert made.param_groups[0]["lr"] == 0.5, "timm no longer keeps the learning rates of parameter groups"
