"""Training settings: defaults, then a recipe, then single assignments, with all mistakes reported at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.readers import ContentError, decode_toml, read_text
from trashkit.settings.assignments import assigned, normalise_names
from trashkit.settings.data import DataSettings
from trashkit.settings.data import Section as _Section
from trashkit.settings.loss_expressions import LossTerm, class_rule, parse_loss

Auto = Literal["auto"]
DEFAULT_RECIPE = "cpu-small"
MOST_SHOWN = 12
"""Only this many choices are listed, the closest ones."""


class ModelSettings(_Section):
    """The network.

    weights: source of the encoder's weights: ``auto`` (an installed package if one has this encoder, else a download),
    ``hub`` (download), ``offline`` (package), ``none``, a weights file, or a run folder (for the whole network).
    options: further keyword arguments of the SMP architecture, such as ``decoder_dropout``.
    presence: weight of an auxiliary loss that predicts which classes are in the image; 0 for no auxiliary head.
    """

    architecture: str = "fpn"
    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = "auto"
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    presence: Annotated[float, Field(ge=0)] = 0.0


class OptimiserSettings(_Section):
    """The optimiser.

    lr: learning rate of the decoder. encoder_lr_ratio: the encoder's rate relative to it; 0 freezes the encoder.
    layer_decay: rate of each encoder block relative to the next deeper one. freeze_epochs: number of first epochs in
    which the encoder is frozen, with its batch statistics. frozen_norm: its batch statistics are always frozen. clip:
    largest gradient norm; 0 for no clipping. accumulate: number of batches whose gradients are averaged for one step.
    options: further arguments of the optimiser, such as ``momentum``.
    """

    name: str = "adamw"
    lr: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1e-3
    encoder_lr_ratio: Annotated[float, Field(ge=0)] = 0.2
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    freeze_epochs: Annotated[int, Field(ge=0)] = 0
    frozen_norm: bool = False
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(ge=0)] = 1.0
    accumulate: Annotated[int, Field(ge=1)] = 1
    options: dict[str, bool | int | float | str | tuple[float, ...]] = Field(default_factory=dict)


class ScheduleSettings(_Section):
    """The learning-rate schedule.

    warmup: share of all steps in which the learning rate rises. floor: final rate as a share of the peak.
    encoder_warmup: share of all steps in which the encoder's rate rises from 0 after it is unfrozen, in addition to the
    schedule. power: of ``poly``. cycles: of ``restarts``, each `growth` times as long as the last. milestones: of
    ``multistep``, as shares of the steps after the warm-up, where the rate is multiplied by `gamma`. patience: of
    ``plateau``, epochs without a better validation mIoU after which the rate is multiplied by `gamma`.
    """

    name: str = "onecycle"
    warmup: Annotated[float, Field(ge=0, le=0.9)] = 0.25
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    encoder_warmup: Annotated[float, Field(ge=0, le=0.9)] = 0.0
    power: Annotated[float, Field(gt=0)] = 0.9
    cycles: Annotated[int, Field(ge=1, le=100)] = 3
    growth: Annotated[float, Field(ge=1, le=10)] = 1.0
    milestones: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.6, 0.85)
    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=1)] = 3


class TrainConfig(_Section):
    """All settings of a training run.

    loss: weighted sum of losses, such as ``"ce + 0.5 * dice"`` or ``"focal(gamma=3) + tversky"``. class_weights: for
    losses that are means over pixels: ``none``, ``inverse`` or ``effective``, with optional arguments, or weights by
    class name (1 for the others). ema: decay per step of the moving average of weights; 0 disables it. amp: half
    precision on a GPU. checkpoint: the weights that the run is used with: ``last`` (moving average after the last
    epoch), ``raw`` (without it), ``best`` (epoch with the best smoothed score), ``mean`` (of the last `mean_epochs`
    epochs), or ``auto``: last, unless another is significantly better. validate_every: epochs from one validation to
    the next; the last epoch is always validated. compile: use torch.compile, which makes the first steps take minutes
    and later ones faster. threads: CPU threads; the number changes the last bits of results.
    """

    model: ModelSettings = ModelSettings()
    data: DataSettings = DataSettings()
    optimiser: OptimiserSettings = OptimiserSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    loss: str = "ce + dice"
    class_weights: str | dict[str, Annotated[float, Field(ge=0)]] = "none"
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 30
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99
    amp: Literal["auto", "off", "bf16", "fp16"] = "auto"
    checkpoint: Literal["auto", "last", "raw", "best", "mean"] = "auto"
    mean_epochs: Annotated[int, Field(ge=0)] | Auto = "auto"
    validate_every: Annotated[int, Field(ge=1)] = 1
    compile: bool = False
    threads: Annotated[int, Field(ge=1, le=1024)] | Auto = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @field_validator("loss")
    @classmethod
    def _is_a_sum(cls, value: str) -> str:
        parse_loss(value)
        return value

    @field_validator("class_weights")
    @classmethod
    def _is_one_rule(cls, value: str | dict[str, float]) -> str | dict[str, float]:
        if isinstance(value, str):
            class_rule(value)
        return value


LATER = ("validate_every",)
"""Settings that later versions added."""


def identity_settings(config: TrainConfig) -> dict[str, Any]:
    """The settings by which a run is recognised when it is resumed: those of `LATER` are left out at their defaults, so
    that runs of earlier versions can be resumed."""
    plain, given = TrainConfig().model_dump(), config.model_dump()
    return {key: value for key, value in given.items() if key not in LATER or value != plain[key]}


@dataclass(frozen=True)
class Recipe:
    """A named TOML file with settings, and with ``recipe.title``, ``recipe.reason`` and ``recipe.place``."""

    name: str
    title: str
    reason: str
    place: str
    settings: Mapping[str, Any]
    text: str


def closest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices, most similar to `name` first."""
    matcher = difflib.SequenceMatcher(b=name.lower())

    def distance(choice: str) -> float:
        ratios = []
        for part in {choice, choice.rpartition(".")[2]}:  # "lr" stands for "optimiser.lr"
            matcher.set_seq1(part)
            ratios.append(matcher.ratio())
        return -max(ratios)

    # Names that start with it come first: "tu-swin_tiny" means one of the Swin models.
    return sorted(choices, key=lambda choice: (not (name and choice.startswith(name)), distance(choice), choice))


def unknown(what: str, name: str, choices: Sequence[str]) -> str:
    """A clause for an error message: the name is unknown, and the choices, closest first."""
    ordered = closest(name, choices)
    more = f" ... ({len(ordered)} in total)" if len(ordered) > MOST_SHOWN else ""
    return f'{what} "{name}" is unknown; choices: {", ".join(ordered[:MOST_SHOWN])}{more}'


# --- recipes ---------------------------------------------------------------------------------------------------------


def recipe_names() -> tuple[str, ...]:
    """Sorted names of the recipes in the package."""
    files = resources.files("trashkit.settings.recipes").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def read_recipe(name: str | Path) -> Recipe:
    """A recipe by name, or from a path that ends in .toml. Raises TrashkitError, listing the choices."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            text = read_text(path)
        except (OSError, ContentError) as error:
            raise TrashkitError(
                f"the recipe {path} cannot be read: {read_error_reason(error)}",
                hint="`trashkit recipes list` lists the built-in recipes",
            ) from error
    elif str(name) in recipe_names():
        text = resources.files("trashkit.settings.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise TrashkitError(
            unknown("recipe", str(name), recipe_names()), hint="give one of these, or the path of a .toml file"
        )
    try:
        content = decode_toml(text)
    except ContentError as error:
        raise TrashkitError(
            f"the recipe {name} is not TOML: {error}", hint="see `trashkit recipes show cpu-small`"
        ) from error
    about = content.pop("recipe", {})
    keys = ("title", "reason", "place")
    if not isinstance(about, dict) or not set(about) <= set(keys):
        # a setting below a [recipe] header would belong to it and be silently ignored
        raise TrashkitError(
            f"the recipe {name}: only recipe.title, recipe.reason and recipe.place may start with recipe.",
            hint='write recipe.title = "..." in the first lines and the settings below, without a [recipe] header',
        )
    title, reason, place = (str(about.get(key, "")) for key in keys)
    called = path.stem if path.suffix == ".toml" else str(name)
    if path.name == "settings.toml" and path.absolute().parent.name:  # of a run
        called = path.absolute().parent.name
    return Recipe(called, title, reason, place, content, text)


# --- resolving -------------------------------------------------------------------------------------------------------


def resolve(
    recipe: Recipe | None = None,
    assignments: Sequence[str] = (),
    *,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> TrainConfig:
    """Settings from defaults, then the recipe, then assignments such as ``"optimiser.lr=1e-3"``.

    Where assignments choose another architecture, the recipe's `model.options` are left out: they belong to its own.
    choices: names that a setting may take, such as ``{"model.architecture": ["fpn", ...], "loss": [...]}``, and names
    of arguments, such as ``"loss.focal": ["gamma"]``; see `trashkit.nn.training.choices.setting_choices`. Raises one
    TrashkitError with all mistakes: unknown settings, wrong values, unknown names.
    """
    mistakes: list[str] = []
    values = assigned(recipe.settings if recipe else {}, assignments, mistakes)
    normalise_names(values, choices or {})
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        mistakes += _mistakes([dict(one) for one in error.errors()])
        config = None
    except UnicodeEncodeError:
        mistakes.append(_NO_TEXT)
        config = None
    mistakes += _unknown_names(values, config, choices or {})
    if mistakes or config is None:
        mistakes = list(dict.fromkeys(mistakes))
        count = f"{len(mistakes)} settings are wrong: " if len(mistakes) > 1 else ""
        raise TrashkitError(
            count + "; ".join(mistakes), hint="`trashkit recipes show cpu-small` prints a recipe with all settings"
        )
    return config


_NO_TEXT = "a setting has a character that is not text"


def recorded_settings(values: Any, run: Path) -> TrainConfig:
    """The settings in the manifest of `run`. Raises TrashkitError with the first mistake."""
    try:
        return TrainConfig.model_validate(values)
    except ValidationError as error:
        mistake = _mistake(dict(error.errors()[0]))
        raise TrashkitError(f"the settings in {run} are damaged: {mistake}", hint="train the run again") from error
    except UnicodeEncodeError as error:
        raise TrashkitError(f"the settings in {run} are damaged: {_NO_TEXT}", hint="train the run again") from error


def _mistakes(errors: Sequence[dict[str, Any]]) -> list[str]:
    """One clause per setting: the errors of all types that a setting may have are one mistake."""
    # for a table, the error that it is not a text is left out
    tables = [one for one in errors if not (one["type"] == "string_type" and isinstance(one["input"], Mapping))]
    found: dict[str, list[str]] = {}
    for error in tables or errors:
        text = _mistake(error)
        setting, _, rest = text.partition(": ")
        found.setdefault(setting if rest else text, []).append(rest)
    clauses = []
    for setting, texts in found.items():
        wanted = list(dict.fromkeys(text.rpartition(", not ")[0] or text for text in texts))
        ending = texts[0].rpartition(", not ")
        given = f", not {ending[2]}" if ending[1] else ""
        clauses.append(f"{setting}: {' or '.join(wanted)}{given}" if any(texts) else setting)
    return clauses


def _mistake(error: dict[str, Any]) -> str:
    names = [str(name) for name in error["loc"]]
    # pydantic appends the branch of a union, such as "int" or "literal['auto']"
    while len(names) > 1 and ".".join(names) not in setting_names() and error["type"] != "extra_forbidden":
        names = names[:-1]
    dotted = ".".join(names)
    if error["type"] == "extra_forbidden":
        return unknown("setting", dotted, setting_names())
    if error["type"] == "model_type":
        inside = [name for name in setting_names() if name.startswith(f"{dotted}.")]
        return f"{dotted} is a group of settings: {', '.join(inside)}"
    if error["type"] == "value_error":
        return f"{dotted}: {error['ctx']['error']}"
    return f"{dotted}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r:.80}"


def setting_names(model: type[BaseModel] = TrainConfig, prefix: str = "") -> list[str]:
    """Dotted names of all settings, in order."""
    names: list[str] = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            names += setting_names(kind, f"{prefix}{name}.")
        else:
            names.append(prefix + name)
    return names


def _unknown_names(
    values: Mapping[str, Any], config: TrainConfig | None, choices: Mapping[str, Sequence[str]]
) -> list[str]:
    mistakes = []
    given: Mapping[str, Any] = config.model_dump() if config is not None else values
    for dotted, names in choices.items():
        value: Any = given
        for name in dotted.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if not isinstance(value, str):
            continue
        if dotted == "data.augment" and value.endswith((".yaml", ".yml", ".json")):
            continue  # a file
        try:
            terms = parse_loss(value) if dotted in ("loss", "class_weights") else [LossTerm(value)]
        except ValueError:
            continue  # reported by the validation
        for term in terms:
            known = choices.get(f"{dotted}.{term.name}", ())
            if term.name not in names:
                mistakes.append(unknown(dotted, term.name, names))
            else:
                mistakes += [
                    unknown(f"{dotted}: argument of {term.name}", option, known)
                    for option in term.options
                    if option not in known
                ]
    return mistakes


# --- writing ---------------------------------------------------------------------------------------------------------


def to_toml(config: TrainConfig, about: str = "") -> str:
    """The settings as TOML, which `read_recipe` and `resolve` turn back into the same settings. about: a comment."""
    lines = [f"# {line}" for line in about.splitlines()]
    content = config.model_dump()
    sections = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines += [f"{key} = {_toml(value)}" for key, value in content.items() if key not in sections]
    for key, section in sections.items():
        lines += ["", f"[{key}]"]
        lines += [f"{name} = {_toml(value)}" for name, value in section.items()]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
