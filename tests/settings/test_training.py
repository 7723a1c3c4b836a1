"""Settings: precedence, mistakes, and settings that come back from their own TOML."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.errors import TrashkitError
from trashkit.settings.training import (
    TrainConfig,
    closest,
    identity_settings,
    parse_loss,
    read_recipe,
    recipe_names,
    recorded_settings,
    resolve,
    setting_names,
    to_toml,
)


def test_defaults_then_recipe_then_assignments(tmp_path):
    file = tmp_path / "mine.toml"
    file.write_text('recipe.title = "mine"\nepochs = 7\n[data]\nsize = 96\n[optimiser]\nlr = 5e-4\n')
    config = resolve(
        read_recipe(file), ["data.size=128", "optimiser.name=sgd", "model.options={decoder_dropout = 0.0}"]
    )
    assert config.epochs == 7
    assert config.data.size == 128
    assert config.optimiser.lr == 5e-4
    assert config.optimiser.name == "sgd"
    assert config.model.options == {"decoder_dropout": 0.0}
    assert config.schedule == TrainConfig().schedule


def test_all_mistakes_are_reported_at_once_with_the_closest_names():
    wrong = ["optimiser.lrr=1", "data.size=big", "epochs=0", "loss=cee + dice", "model.architecture=fnp", "seed"]
    choices = {"loss": ["dice", "ce"], "model.architecture": ["unet", "linknet", "fpn"]}
    with pytest.raises(TrashkitError) as caught:
        resolve(None, wrong, choices=choices)
    text = caught.value.message
    assert text.startswith("6 settings are wrong")
    assert 'setting "optimiser.lrr" is unknown; choices: optimiser.lr, ' in text
    assert "data.size: " in text
    assert "epochs: " in text
    assert 'loss "cee" is unknown; choices: ce, dice' in text
    assert 'model.architecture "fnp" is unknown; choices: fpn, ' in text
    assert '"seed" is not key=value' in text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("assignment", "clause"),
    [
        ("data.batch_size=some", "data.batch_size: "),
        ("data.batch_size=0", "data.batch_size: "),
        ("data.workers=-1", "data.workers: "),
        ("ema=1", "ema: "),
        ("loss=ce * 2", "not a weighted sum"),
        ("amp=fp8", "amp: "),
        ("data=3", "data is a group of settings: data.size"),
        ("epochs.more=3", "epochs"),
    ],
)
def test_wrong_values_name_their_setting(assignment, clause):
    with pytest.raises(TrashkitError) as caught:
        resolve(None, [assignment])
    assert clause in caught.value.message


def test_invalid_recipes_are_reported(tmp_path):
    with pytest.raises(TrashkitError, match=r'recipe "cpu-smal" is unknown; choices: cpu-small, '):
        read_recipe("cpu-smal")
    with pytest.raises(TrashkitError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("epochs = ")
    with pytest.raises(TrashkitError, match="not TOML"):
        read_recipe(tmp_path / "bad.toml")
    (tmp_path / "header.toml").write_text('[recipe]\ntitle = "t"\nepochs = 3\n')
    with pytest.raises(TrashkitError, match=r"only recipe.title"):
        read_recipe(tmp_path / "header.toml")


@pytest.mark.parametrize("name", recipe_names())
def test_recipes_come_back_from_their_own_toml(name, tmp_path):
    config = resolve(read_recipe(name))
    (tmp_path / "again.toml").write_text(to_toml(config, "two\nlines"))
    assert resolve(read_recipe(tmp_path / "again.toml")) == config


@given(
    st.sampled_from(["a b", 'quote " and \\ back', "new\nline", "한글"]),
    st.floats(1e-8, 1.0),
    st.dictionaries(
        st.text("ab_", min_size=1), st.one_of(st.booleans(), st.integers(0, 9), st.text("x\"'", max_size=3))
    ),
)
def test_any_settings_come_back_from_their_toml(tmp_path_factory, weights, lr, options):
    values = {"model": {"weights": weights, "options": options}, "optimiser": {"lr": lr}}
    config = TrainConfig.model_validate(values)
    file = tmp_path_factory.mktemp("toml") / "settings.toml"
    file.write_text(to_toml(config), encoding="utf-8")
    assert resolve(read_recipe(file)) == config


def test_every_setting_can_be_assigned():
    config = TrainConfig().model_dump()
    for name in setting_names():
        value = config
        for key in name.split("."):
            value = value[key]
        if not isinstance(value, dict):
            text = list(value) if isinstance(value, tuple) else value
            assert resolve(None, [f"{name}={text}"]) == TrainConfig()


def test_runs_of_earlier_versions_are_recognised_by_their_settings():
    assert "validate_every" not in identity_settings(TrainConfig())
    assert identity_settings(TrainConfig(validate_every=2)) == {**identity_settings(TrainConfig()), "validate_every": 2}
    assert TrainConfig.model_validate(identity_settings(TrainConfig(epochs=3))) == TrainConfig(epochs=3)


def test_options_of_a_recipe_belong_to_its_architecture():
    recipe = read_recipe("cpu-small")
    assert resolve(recipe).model.options
    assert resolve(recipe, ["model.architecture=FPN"]).model.options == resolve(recipe).model.options
    assert resolve(recipe, ['model.architecture="unet"']).model.options == {}
    own = ["model.options={decoder_use_norm = false}", "model.architecture=unet"]
    assert resolve(recipe, own).model.options == {"decoder_use_norm": False}
    assert resolve(recipe).model.options, "the recipe itself is unchanged"


def test_losses_are_weighted_sums():
    assert parse_loss("ce") == (("ce", 1.0, {}),)
    assert parse_loss("ce + 0.5 * dice+2*smooth-ce") == (("ce", 1.0, {}), ("dice", 0.5, {}), ("smooth-ce", 2.0, {}))
    assert parse_loss("1e+1 * ce + 1e-3*dice") == (("ce", 10.0, {}), ("dice", 1e-3, {}))
    assert parse_loss("2*focal(gamma=3) + ohem(threshold=0.6, share=1e-2)") == (
        ("focal", 2.0, {"gamma": 3.0}),
        ("ohem", 1.0, {"threshold": 0.6, "share": 0.01}),
    )
    for wrong in ("", "ce +", "2 ce", "ce * 0.5", "-1 * ce", "focal(3)", "focal(gamma=)", "focal()"):
        with pytest.raises(ValueError, match="not a weighted sum"):
            parse_loss(wrong)


def test_names_are_understood_in_any_case():
    choices = {"model.architecture": ["unetplusplus", "deeplabv3plus"], "optimiser.name": ["adamw"], "loss": ["ce"]}
    given = ["model.architecture=DeepLabV3+", "optimiser.name=AdamW", "loss=CE"]
    config = resolve(None, given, choices=choices)
    assert (config.model.architecture, config.optimiser.name, config.loss) == ("deeplabv3plus", "adamw", "ce")
    with pytest.raises(TrashkitError, match=r'optimiser\.name "AdaMax" is unknown; choices: adamw'):
        resolve(None, ["optimiser.name=AdaMax", "loss=ce", "model.architecture=unet++"], choices=choices)


def test_closest_first():
    assert closest("UNet", ["fpn", "manet", "unet"])[0] == "unet"
    assert closest("tu-swin", ["tu-win", "tu-swin_base_patch4"])[0] == "tu-swin_base_patch4"
    assert closest("adamx", ["sgd", "lion", "adamw", "adam"])[:2] == ["adam", "adamw"]


WRONG_RECIPES = {
    "nested": "a = " + "[" * 5000 + "]" * 5000,
    "dots": "a" + ".a" * 5000 + " = 1",
    "long integer": "epochs = " + "9" * 5000,
    "infinite": "optimiser.weight_decay = inf",
    "not a number": "schedule.power = nan",
    "huge": "epochs = " + "9" * 4000,
    "date": "epochs = 2026-01-01",
    "table": "[epochs]\na = 1",
    "latin": b'loss = "\xe9"',
}


@pytest.mark.parametrize("content", WRONG_RECIPES.values(), ids=WRONG_RECIPES)
def test_wrong_recipes_are_one_line(tmp_path, content):
    (tmp_path / "a.toml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrashkitError) as refused:
        resolve(read_recipe(tmp_path / "a.toml"))
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("text", ["[" * 5000, "9" * 5000, "a." * 300, "\0", "{a = {"])
def test_wrong_assignments_are_one_line(text):
    with pytest.raises(TrashkitError) as refused:
        resolve(None, [f"epochs={text}"])
    assert len(refused.value.message) < 400


@pytest.mark.parametrize("settings", [None, [], {"epochs": "many"}, {"model": 3}, {"unheard": 1}, {"loss": "\ud800"}])
def test_settings_recorded_in_a_damaged_run_are_one_line(tmp_path, settings):
    with pytest.raises(TrashkitError, match=r"the settings in .* are damaged"):
        recorded_settings(settings, tmp_path)
