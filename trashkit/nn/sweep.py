"""Search over settings: many short trainings, of which the hopeless ones end early. optuna proposes, SQLite remembers.

Every trial trains with the same seed on the same fold, so that trials differ by their settings alone; its score is the
smoothed validation score, which a rare class cannot win by luck (see `trashkit.nn.smooth`). A trial's folder is named
by its settings: one that was stopped goes on where it was, and settings that come again are not trained again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.config import TrainConfig, to_toml
from trashkit.errors import TrashkitError
from trashkit.files import refuse_existing, remove_folder, write_text
from trashkit.nn.space import Range, Space, assignment, check_space
from trashkit.run import Run, differences, read_metrics

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
BEST = "best.toml"
Rows = Sequence[Mapping[str, Any]]
Resolve = Callable[[Sequence[str]], TrainConfig]
TrainOne = Callable[[TrainConfig, Path, str, Callable[[Rows], None]], Run]
"""(settings, run folder, name, what to call after each epoch) -> the run; it goes on with a folder that exists."""


class PrunedError(Exception):
    """A trial that is behind most others at the same epoch."""


@dataclass(frozen=True)
class Trial:
    """One trial: its number, values by setting, state ("complete", "pruned", "failed"), score (NaN without) and
    folder."""

    number: int
    values: Mapping[str, Any]
    state: str
    score: float
    folder: Path


def sweep(
    space: Space,
    resolve: Resolve,
    train_one: TrainOne,
    out: Path,
    *,
    trials: int,
    identity: Mapping[str, Any],
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> list[Trial]:
    """Try settings of `space` until the study in `out` has so many trials; all of them come back, best first.

    resolve: from assignments to settings. identity: what must be equal for the study to be continued. The first half
    of a dozen trials are drawn at random, the others by the tree-structured Parzen estimator; one that after a quarter
    of its epochs is below the median of the others at that epoch is pruned. The best settings are in ``best.toml``, a
    recipe. Raises TrashkitError without optuna, for a study of other inputs, for values that no setting may
    have, and where no trial came to an end.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise TrashkitError("sweep needs the package optuna", hint="pip install 'trashkit[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    resolve([])  # mistakes in what stays the same, and then in what is tried, are found before a folder is made
    check_space(space, resolve)
    _prepare(out, resume=resume, overwrite=overwrite)
    whole = {**identity, "space": {key: asdict(one) if is_dataclass(one) else one for key, one in space.items()}}
    study = _open_study(out, seed, whole, say)
    begun = len(_finished(study))
    if begun:
        say(f"going on after {begun} of {trials} trials")
    _enqueue_stopped(study)
    while len(_finished(study)) < trials:
        # A sampler of its own for each trial: what it proposes depends on the trials before it, not on when it began.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=6)
        _try_one(study, space, resolve, train_one, out=out, say=say)
    found = found_trials(study, out)
    best = found[0]
    if math.isnan(best.score):
        raise TrashkitError(f"none of {len(found)} trials came to an end", hint="try a smaller space or lower rates")
    _write_best(best, space, resolve, out, len(found))
    return found


def _prepare(out: Path, *, resume: bool, overwrite: bool) -> None:
    refuse_existing(out, overwrite=True)
    if out.exists() and any(out.iterdir()):
        if not (overwrite or resume):
            raise TrashkitError(f"{out} exists already", hint="add --resume to go on, --overwrite, or another --out")
        if not ((out / STUDY).exists() or (resume and (out / "trials").is_dir())):
            raise TrashkitError(f"{out} is no sweep, and is left as it is", hint="choose another --out")
        if overwrite:
            remove_folder(out)
    out.mkdir(parents=True, exist_ok=True)


def _open_study(out: Path, seed: int, identity: Mapping[str, Any], say: Callable[[str], None]) -> optuna.Study:
    import optuna

    try:
        study = optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{(out / STUDY).resolve()}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )
    except Exception as error:  # sqlalchemy's, which belongs to optuna
        raise TrashkitError(
            f"{out / STUDY} cannot be read: {' '.join(str(error).split())[:80]}", hint="--overwrite begins anew"
        ) from error
    known = json.loads(json.dumps({**identity, "seed": seed}))
    before = study.user_attrs.get("identity")
    if before is None:
        if (out / "trials").exists():
            say(f"{out / STUDY} was lost: the trials in {out / 'trials'} are taken up when their settings come again")
        study.set_user_attr("identity", known)
    elif changed := differences(before, known):
        raise TrashkitError(
            f"{out} cannot be continued: {'; '.join(changed)}", hint="repeat the first command, or choose another --out"
        )
    return study


def _finished(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.is_finished() and "stopped" not in trial.user_attrs]


def _enqueue_stopped(study: optuna.Study) -> None:
    """Trials that a kill cut off come again first, with the same values; their runs go on."""
    import optuna

    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.enqueue_trial(trial.params)
            study._storage.set_trial_user_attr(trial._trial_id, "stopped", True)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _try_one(
    study: optuna.Study,
    space: Space,
    resolve: Resolve,
    train_one: TrainOne,
    *,
    out: Path,
    say: Callable[[str], None],
) -> None:
    import optuna

    trial = study.ask()
    values = {key: _suggest(trial, key, one) for key, one in space.items()}
    shown = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    folder = _folder(out, values)

    def after(rows: Rows) -> None:
        trial.report(float(rows[-1].get("smoothed", math.nan)), int(rows[-1]["epoch"]))
        wanted = config.epochs
        if wanted > len(rows) >= max(2, wanted // 4) and trial.should_prune():
            raise PrunedError

    try:
        config = resolve([assignment(key, value) for key, value in values.items()])
        train_one(config, folder, f"trial {trial.number}", after)
        score = float(read_metrics(folder)[-1].get("smoothed", math.nan))
        study.tell(trial, score)
        say(f"trial {trial.number}: {score:.4f} with {shown}")
    except PrunedError:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        say(f"trial {trial.number}: pruned after {len(read_metrics(folder))} epochs with {shown}")
    except TrashkitError as error:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        say(f"trial {trial.number}: failed with {shown}: {error.message}")


def _suggest(trial: optuna.Trial, key: str, one: Range | tuple[Any, ...]) -> Any:
    if not isinstance(one, Range):
        return trial.suggest_categorical(key, list(one))
    if one.whole:
        return trial.suggest_int(key, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(key, one.low, one.high, log=one.log)


def _folder(out: Path, values: Mapping[str, Any]) -> Path:
    text = json.dumps(dict(values), sort_keys=True)
    return out / "trials" / hashlib.sha256(text.encode()).hexdigest()[:10]


def found_trials(study: optuna.Study, out: Path) -> list[Trial]:
    """All trials that came to an end, best score first, those without one last."""
    found = []
    for trial in _finished(study):
        ended = trial.state.name == "COMPLETE" and trial.value is not None
        score = float(trial.value) if ended else math.nan
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        found.append(Trial(trial.number, dict(trial.params), state, score, _folder(out, trial.params)))
    return sorted(found, key=lambda one: (-one.score if not math.isnan(one.score) else math.inf, one.number))


def _write_best(best: Trial, space: Space, resolve: Resolve, out: Path, count: int) -> None:
    config = resolve([assignment(key, best.values[key]) for key in space])
    about = [
        f"recipe.title = {json.dumps(f'Best of {count} trials')}",
        f"recipe.reason = {json.dumps(f'Smoothed validation mIoU {best.score:.4f} in trial {best.number}')}",
        'recipe.place = "Measured on one fold: train it on the others before you trust it"',
    ]
    write_text(out / BEST, "\n".join(about) + "\n\n" + to_toml(config), overwrite=True)
