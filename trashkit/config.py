"""Frozen training settings: defaults, then a recipe, then single settings, and every mistake reported at once."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator

from trashkit.data_settings import DataSettings
from trashkit.data_settings import Section as _Section
from trashkit.errors import TrashkitError, why_unread
from trashkit.loss_text import LossTerm, class_rule, parse_loss

Auto = Literal["auto"]
DEFAULT_RECIPE = "cpu-small"
MOST_SHOWN = 12
"""Of a longer list of choices only so many are named, the closest ones."""


class ModelSettings(_Section):
    """The network.

    weights: where the encoder starts: ``auto`` (the offline package where it has this encoder, else the hub),
    ``hub``, ``offline``, ``none``, a ``.safetensors`` file, or a run folder (the whole network then).
    options: further keyword arguments of the SMP architecture, such as ``decoder_dropout``.
    presence: weight of an auxiliary loss that asks which classes are in the picture; 0 is no such head.
    """

    architecture: str = "fpn"
    encoder: str = "tu-tf_efficientnet_lite0"
    weights: str = "auto"
    options: dict[str, bool | int | float | str] = Field(default_factory=dict)
    presence: Annotated[float, Field(ge=0)] = 0.0


class OptimiserSettings(_Section):
    """lr is the decoder's; the pretrained encoder learns at ``lr * encoder_lr_ratio``; with ratio 0 it stays frozen.

    layer_decay: each block of the encoder learns at this times the rate of the next, deeper one. freeze_epochs: the
    encoder starts to learn after so many epochs, and keeps its batch norm's statistics until then. frozen_norm: it
    keeps them throughout. clip: largest norm of a gradient, 0 switches clipping off. accumulate: batches whose
    gradients are averaged for one step. options: further arguments of the optimiser, such as ``momentum``.
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
    """warmup: share of all steps in which the learning rate rises. floor: share of the peak where it ends.

    encoder_warmup: share of all steps in which the encoder's rate rises from 0, once it is no longer frozen, while the
    decoder's is as the schedule says. power: of ``poly``. cycles: of ``restarts``, each `growth` times as long as the
    one before. milestones: shares of the way after the warm-up where ``multistep`` falls to `gamma` of its rate.
    patience: epochs without a better validation mIoU after which ``plateau`` falls to `gamma` of its rate.
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
    """Everything that decides what a training run does, given its data.

    loss: weighted sum of named losses, such as ``"ce + 0.5 * dice"`` or ``"focal(gamma=3) + tversky"``. class_weights:
    for the losses that are means over pixels: ``none``, ``inverse``, ``effective`` (these may have arguments, too), or
    weights by class name, 1 for those not named. ema: decay of the moving average of weights per
    step, 0 switches it off. amp: half precision on a GPU. checkpoint: which weights the run is used with afterwards:
    ``last`` (moving average after the last epoch), ``raw`` (without it), ``best`` (epoch of the best smoothed score),
    ``mean`` (of the last `mean_epochs` epochs), or ``auto``: last, unless another is better beyond doubt.
    compile: by torch.compile: the first steps take minutes, the others less. threads: of a CPU; another number changes
    the last bits of a result.
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


@dataclass(frozen=True)
class Recipe:
    """A named set of settings: TOML text that changes some, and has ``recipe.title``, ``.reason`` and ``.place``."""

    name: str
    title: str
    reason: str
    place: str
    settings: Mapping[str, Any]
    text: str


def closest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices, most similar to `name` first."""
    matcher = difflib.SequenceMatcher(b=name.lower())

    def likeness(choice: str) -> float:
        ratios = []
        for part in {choice, choice.rpartition(".")[2]}:  # "lr" means "optimiser.lr"
            matcher.set_seq1(part)
            ratios.append(matcher.ratio())
        return -max(ratios)

    # what a name begins with is nearer than what looks like it: "tu-swin_tiny" means one of Swin's
    return sorted(choices, key=lambda choice: (not (name and choice.startswith(name)), likeness(choice), choice))


def unknown(what: str, name: str, choices: Sequence[str]) -> str:
    """One clause that says that a name is unknown and lists the choices, closest first."""
    ordered = closest(name, choices)
    more = f" ... ({len(ordered)} in all)" if len(ordered) > MOST_SHOWN else ""
    return f'{what} "{name}" is unknown; choices: {", ".join(ordered[:MOST_SHOWN])}{more}'


# --- recipes ---------------------------------------------------------------------------------------------------------


def recipe_names() -> tuple[str, ...]:
    """Names of the recipes in the package, sorted."""
    files = resources.files("trashkit.recipes").iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def read_recipe(name: str | Path) -> Recipe:
    """A recipe by name, or from a TOML file (a path that ends in .toml). Raises TrashkitError, listing the choices."""
    path = Path(name)
    if path.suffix == ".toml":
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise TrashkitError(
                f"the recipe {path} cannot be read: {why_unread(error)}",
                hint="`trashkit recipes list` names the built-in",
            ) from error
    elif str(name) in recipe_names():
        text = resources.files("trashkit.recipes").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    else:
        raise TrashkitError(
            unknown("recipe", str(name), recipe_names()), hint="give one of these, or the path of a .toml file"
        )
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise TrashkitError(
            f"the recipe {name} is not TOML: {error}", hint="see `trashkit recipes show cpu-small`"
        ) from error
    about = content.pop("recipe", {})
    keys = ("title", "reason", "place")
    if not isinstance(about, dict) or not set(about) <= set(keys):
        # a setting below a [recipe] header would be one of them, and be lost without a word
        raise TrashkitError(
            f"the recipe {name}: only recipe.title, recipe.reason and recipe.place say what it is",
            hint='write recipe.title = "..." in the first lines and settings below, without a [recipe] header',
        )
    said = [str(about.get(key, "")) for key in keys]
    own = path.stem if path.suffix == ".toml" else str(name)
    if path.name == "settings.toml" and path.absolute().parent.name:  # of a run
        own = path.absolute().parent.name
    return Recipe(own, said[0], said[1], said[2], content, text)


# --- resolving -------------------------------------------------------------------------------------------------------


def resolve(
    recipe: Recipe | None = None,
    assignments: Sequence[str] = (),
    *,
    choices: Mapping[str, Sequence[str]] | None = None,
) -> TrainConfig:
    """Settings from defaults, then the recipe, then assignments such as ``"optimiser.lr=1e-3"``.

    choices: names that a dotted setting may take, such as ``{"model.architecture": ["fpn", ...], "loss": [...]}``, and
    those of arguments, such as ``"loss.focal": ["gamma"]``; the caller has the tables. Raises one TrashkitError with
    all mistakes: unknown settings, wrong values, unknown names.
    """
    mistakes: list[str] = []
    values = _copy(recipe.settings) if recipe else {}
    for assignment in assignments:
        _assign(values, assignment, mistakes)
    _spell(values, choices or {})
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        mistakes += _mistakes([dict(one) for one in error.errors()])
        config = None
    mistakes += _unknown_names(values, config, choices or {})
    if mistakes or config is None:
        mistakes = list(dict.fromkeys(mistakes))
        count = f"{len(mistakes)} settings are wrong: " if len(mistakes) > 1 else ""
        raise TrashkitError(
            count + "; ".join(mistakes), hint="`trashkit recipes show cpu-small` prints a recipe with all settings"
        )
    return config


def _copy(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(item) if isinstance(item, Mapping) else item for key, item in value.items()}


def _assign(values: dict[str, Any], assignment: str, mistakes: list[str]) -> None:
    key, equals, text = assignment.partition("=")
    names = [name.strip() for name in key.split(".")]
    if not equals or not all(names):
        mistakes.append(f'"{assignment}" is no setting: write key=value, such as optimiser.lr=1e-3')
        return
    place = values
    for name in names[:-1]:
        inner = place.setdefault(name, {})
        if not isinstance(inner, dict):
            mistakes.append(f'"{key}": {name} is a setting of its own, not a group')
            return
        place = inner
    try:
        place[names[-1]] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        place[names[-1]] = text.strip()


def _spell(values: dict[str, Any], choices: Mapping[str, Sequence[str]]) -> None:
    """Write names as they are known: AdamW is adamw, DeepLabV3+ is deeplabv3plus."""
    for dotted, known in choices.items():
        *groups, last = dotted.split(".")
        place: Any = values
        for group in groups:
            place = place.get(group) if isinstance(place, dict) else None
        given = place.get(last) if isinstance(place, dict) else None
        if isinstance(given, str) and given not in known:
            plain = given.lower().replace("+", "plus")
            place[last] = plain if plain in known else given


def _mistakes(errors: Sequence[dict[str, Any]]) -> list[str]:
    """A clause for each setting: what each of several types that it may have asks for is one mistake."""
    # where a table was given, that it is no text is not what is wrong
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
    return f"{dotted}: {error['msg'][0].lower()}{error['msg'][1:]}, not {error['input']!r}"


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
            continue  # validation said so already
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
    """The settings as TOML that `read_recipe` and `resolve` turn back into the same settings. about: a comment."""
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
