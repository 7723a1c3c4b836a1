"""Hyperparameter search: many short trainings, poor ones stopped early. optuna proposes settings and stores the study.

All trials train with the same seed on the same fold, so that they differ only by their settings. The score of a trial
is the smoothed validation score, which chance in a rare class hardly changes (see
`trashkit.nn.checkpoints.smoothing`). A trial's folder is named by its settings, so a stopped trial is resumed and
repeated settings are not trained again.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trashkit.errors import TrashkitError
from trashkit.files import is_empty, real_path
from trashkit.metrics.summary import short_miou_text, without_background
from trashkit.nn.experiments.search_space import Range, Space, assignment, check_space
from trashkit.outputs import Output, OutputKind, write_text
from trashkit.progress import Log, discard
from trashkit.runs.json_values import differences
from trashkit.runs.metrics import EpochRow, read_metrics
from trashkit.runs.run import Run
from trashkit.settings.training import TrainConfig, to_toml

if TYPE_CHECKING:
    import optuna

STUDY = "study.db"
BEST = "best.toml"
Rows = Sequence[EpochRow]
Resolve = Callable[[Sequence[str]], TrainConfig]
"""From assignments such as ``"optimiser.lr=1e-3"`` to settings."""
TrainOne = Callable[[TrainConfig, Path, str, Callable[[Rows], None]], Run]
"""(settings, run folder, name, callback after each epoch) -> the run; resumes a folder that exists."""


class PrunedError(Exception):
    """Stops a trial that is worse than most others at the same epoch."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    values: by setting. state: "complete", "pruned" or "failed". score: smoothed validation mIoU, NaN without. iou: of
    each class after the last epoch, the background first; () without.
    """

    number: int
    values: Mapping[str, Any]
    state: str
    score: float
    iou: tuple[float | None, ...]
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
    log: Log = discard,
) -> list[Trial]:
    """Try settings from `space` until the study in `out` has this many trials; returns all of them, best first.

    identity: what must be equal for the study to be resumed. The first six trials are random, later ones come from the
    tree-structured Parzen estimator. After a quarter of its epochs a trial below the median of the others at that epoch
    is pruned. The best settings are written to ``best.toml``, a recipe. Raises TrashkitError without optuna, for a
    study of other inputs, for invalid values, and if no trial was completed.
    """
    try:
        import optuna
    except ModuleNotFoundError as error:
        raise TrashkitError("sweep needs the package optuna", hint="pip install 'trashkit[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Mistakes in the fixed settings, and then in the space, are found before a folder is created.
    resolve([])
    check_space(space, resolve)
    _prepare_folder(out, resume=resume, overwrite=overwrite)
    whole = {**identity, "space": {key: asdict(one) if is_dataclass(one) else one for key, one in space.items()}}
    study = _open_study(out, seed, whole, log)
    finished = len(_finished(study))
    if finished:
        log(f"resuming after {finished} of {trials} trials")
    _requeue_stopped(study)
    while len(_finished(study)) < trials:
        # A new sampler for each trial: its proposal depends on the trials before it, not on when the process started.
        study.sampler = optuna.samplers.TPESampler(seed=seed + len(study.trials), n_startup_trials=6)
        _run_trial(study, space, resolve, train_one, out=out, log=log)
    found = finished_trials(study, out)
    best = found[0]
    if math.isnan(best.score):
        raise TrashkitError(f"none of {len(found)} trials was completed", hint="try a smaller space or lower rates")
    _write_best(best, space, resolve, out, len(found))
    return found


def _prepare_folder(out: Path, *, resume: bool, overwrite: bool) -> None:
    def is_sweep(path: Path) -> bool:
        return (path / STUDY).exists() or (resume and (path / "trials").is_dir())

    kind = OutputKind("sweep", is_sweep, is_free=is_empty, is_resumable=is_sweep)
    output = Output(out, overwrite=overwrite, resume=resume, kind=kind)
    output.check()
    if overwrite:
        output.remove()
    out.mkdir(parents=True, exist_ok=True)


def _open_study(out: Path, seed: int, identity: Mapping[str, Any], log: Log) -> optuna.Study:
    import optuna

    try:
        study = optuna.create_study(
            study_name="sweep",
            storage=f"sqlite:///{real_path(out / STUDY)}",
            direction="maximize",
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=1),
            load_if_exists=True,
        )
    except Exception as error:  # of sqlalchemy, which belongs to optuna
        raise TrashkitError(
            f"{out / STUDY} cannot be read: {' '.join(str(error).split())[:80]}", hint="start again with --overwrite"
        ) from error
    wanted = json.loads(json.dumps({**identity, "seed": seed}))
    recorded = study.user_attrs.get("identity")
    if recorded is None:
        if (out / "trials").exists():
            log(f"{out / STUDY} was lost: the trials in {out / 'trials'} are reused when their settings come up again")
        study.set_user_attr("identity", wanted)
    elif changed := differences(recorded, wanted):
        raise TrashkitError(
            f"{out} cannot be resumed: {'; '.join(changed)}",
            hint="repeat the original command line, or choose another --out",
        )
    return study


def _finished(study: optuna.Study) -> list[Any]:
    return [trial for trial in study.trials if trial.state.is_finished() and "stopped" not in trial.user_attrs]


def _requeue_stopped(study: optuna.Study) -> None:
    """Queue trials that a kill interrupted first, with the same values; their runs are resumed."""
    import optuna

    for trial in study.trials:
        if trial.state == optuna.trial.TrialState.RUNNING:
            study.enqueue_trial(trial.params)
            study._storage.set_trial_user_attr(trial._trial_id, "stopped", True)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)


def _run_trial(
    study: optuna.Study,
    space: Space,
    resolve: Resolve,
    train_one: TrainOne,
    *,
    out: Path,
    log: Log,
) -> None:
    import optuna

    trial = study.ask()
    values = {key: _propose(trial, key, one) for key, one in space.items()}
    shown = ", ".join(
        f"{key}={value:.4g}" if isinstance(value, float) else f"{key}={value}" for key, value in values.items()
    )
    folder = _folder(out, values)

    def after_epoch(rows: Rows) -> None:
        if (score := rows[-1].get("smoothed")) is None:
            return  # not validated
        trial.report(float(score), int(rows[-1]["epoch"]))
        epochs = config.epochs
        if epochs > len(rows) >= max(2, epochs // 4) and trial.should_prune():
            raise PrunedError

    try:
        config = resolve([assignment(key, value) for key, value in values.items()])
        train_one(config, folder, f"trial {trial.number}", after_epoch)
        score = float(read_metrics(folder)[-1].get("smoothed", math.nan))
        study.tell(trial, score)
        log(f"trial {trial.number}: {short_miou_text(score, without_background(_last_iou(folder)))} with {shown}")
    except PrunedError:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        log(f"trial {trial.number}: pruned after {len(read_metrics(folder))} epochs with {shown}")
    except TrashkitError as error:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        log(f"trial {trial.number}: failed with {shown}: {error.message}")


def _propose(trial: optuna.Trial, key: str, one: Range | tuple[Any, ...]) -> Any:
    if not isinstance(one, Range):
        return trial.suggest_categorical(key, list(one))
    if one.integer:
        return trial.suggest_int(key, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(key, one.low, one.high, log=one.log)


def _folder(out: Path, values: Mapping[str, Any]) -> Path:
    text = json.dumps(dict(values), sort_keys=True)
    return out / "trials" / hashlib.sha256(text.encode()).hexdigest()[:10]


def _last_iou(folder: Path) -> tuple[float | None, ...]:
    """IoU of each class after the last epoch; () where the run is no longer there."""
    rows = read_metrics(folder) if folder.is_dir() else []
    return tuple((rows[-1].get("iou") or {}).values()) if rows else ()


def finished_trials(study: optuna.Study, out: Path) -> list[Trial]:
    """All finished trials, best score first, those without a score last."""
    found = []
    for trial in _finished(study):
        complete = trial.state.name == "COMPLETE" and trial.value is not None
        score = float(trial.value) if complete else math.nan
        state = {"COMPLETE": "complete", "PRUNED": "pruned"}.get(trial.state.name, "failed")
        folder = _folder(out, trial.params)
        iou = _last_iou(folder) if complete else ()
        found.append(Trial(trial.number, dict(trial.params), state, score, iou, folder))
    return sorted(found, key=lambda one: (-one.score if not math.isnan(one.score) else math.inf, one.number))


def _write_best(best: Trial, space: Space, resolve: Resolve, out: Path, count: int) -> None:
    config = resolve([assignment(key, best.values[key]) for key in space])
    about = [
        f"recipe.title = {json.dumps(f'Best of {count} trials')}",
        f"recipe.reason = {json.dumps(f'Smoothed validation mIoU {best.score:.4f} in trial {best.number}')}",
        'recipe.place = "Measured on one fold: check it on the other folds before you rely on it"',
    ]
    write_text(out / BEST, "\n".join(about) + "\n\n" + to_toml(config), overwrite=True)
