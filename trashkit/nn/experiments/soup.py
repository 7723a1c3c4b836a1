"""Model soup: the average of the weights of several runs, one network that costs no more than a single run.

Runs are added best first; each is kept only if the average with it scores at least as well on the validation images.
This works for runs that started from the same weights, such as one pretrained encoder with different settings or seeds.
Averaging networks that are far apart gives a useless network.

Source: M. Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022, recipe 1 (greedy soup).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from torch import Tensor

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import real_path, sha256
from trashkit.metrics.scores import Confusion, Matrix, bootstrap_miou_difference, interval, iou
from trashkit.metrics.summary import finds_almost_nothing, short_miou_text, without_background
from trashkit.nn.checkpoints.checkpoint import read_weights, save_weights
from trashkit.nn.checkpoints.validate import SCORE_SIZE, validate_per_image
from trashkit.nn.data.cache import JoinedCaches, PhotoCache, open_cache, train_layout, validation_layout
from trashkit.nn.data.dataloaders import TrainLoader
from trashkit.nn.data.datasets import make_dataset, make_loader, make_sampler
from trashkit.nn.inference.predict import predict_dataset
from trashkit.nn.models.networks import Segmenter, load_run_model
from trashkit.nn.training.learner import start_accelerator
from trashkit.nn.training.record import scores_of
from trashkit.nn.training.weight_averaging import add_to_mean, measure_batch_statistics
from trashkit.outputs import Output
from trashkit.progress import Log, Progress, discard, silent
from trashkit.runs.folder import CHECKPOINTS, OOF, RUN_FOLDER
from trashkit.runs.json_values import differences, finite
from trashkit.runs.manifest import CheckpointChoice, Ingredient
from trashkit.runs.metrics import Scores, Validation, write_validation
from trashkit.runs.provenance import now
from trashkit.runs.run import Run, open_run, read_run, update
from trashkit.settings.training import recorded_settings

METHODS = ("greedy", "uniform")
State = dict[str, Tensor]
IdentityKey = Literal["data", "photos and classes", "training images", "validation images"]


def make_soup(
    paths: Sequence[Path],
    out: Path,
    *,
    data: Path | None = None,
    images: Path | None = None,
    classes: str | None = None,
    method: str = "greedy",
    about: Mapping[str, Any],
    device: str = "auto",
    overwrite: bool = False,
    log: Log = discard,
    progress: Progress = silent,
) -> Run:
    """Average the weights of runs into a new run in `out`, which can be used like any other.

    data, images: the annotations and the photo folder that the runs were trained on, if they have moved. classes: as in
    `read_dataset`. method: ``greedy``, or ``uniform`` to average all runs without validation. about: entries for the
    manifest, whose `choice` compares the soup with its best ingredient. Batch statistics are averaged or measured
    again, see `SoupBuilder.score`; a uniform soup's are measured again.

    Raises TrashkitError as `check_ingredients` does, and for another data set than that of the runs.
    """
    if device not in ("auto", "cpu"):
        raise TrashkitError(f'there is no device "{device}"', hint="choose auto or cpu")
    Output(out, overwrite=overwrite, kind=RUN_FOLDER, resumable=False).check()
    found = [read_run(path) for path in paths]
    check_ingredients(found, method)
    first = found[0]
    dataset = read_dataset(data or Path(str(first.inputs.get("data"))), classes=classes)
    photos = images or Path(str(first.inputs.get("images")))
    if dataset.coco.sha256 != _identity(first, "data"):
        raise TrashkitError(f"{dataset.coco.path} is not what {first.path} was trained on", hint="give it as --data")
    accelerator = start_accelerator(device, recorded_settings(first.manifest.get("settings"), first.path).amp)
    cache = out.parent / f".{out.name}.cache"
    try:
        builder = _open_builder(found, dataset, photos, cache, accelerator=accelerator, progress=progress)
        states = {str(run.path): _weights(run) for run in found}
        choice: CheckpointChoice | None = None
        if method == "greedy":
            taken, weights, best, soup = _greedy(builder, states, log)
            choice = _compare_with_best(best, soup, taken, builder.model.class_names, log)
        else:
            taken = list(states)
            builder.load(_mean(list(states.values())), mixture=True)
            weights = builder.model.network.state_dict()
        ingredients: list[Ingredient] = [
            {
                "run": str(real_path(run.path)),
                "checkpoint_sha256": sha256(run.checkpoint),
                "miou": run.miou,
                "miou_without_background": finite(without_background(run.iou.values())),
                "taken": str(run.path) in taken,
            }
            for run in found
        ]
        entries = {
            **about,
            **({} if choice is None else {"choice": choice}),
            "kind": "soup",
            "method": method,
            "ingredients": ingredients,
        }
        made = _write_run(first, builder, weights, out, entries, overwrite=overwrite)
        return _predict(made, dataset, photos, accelerator, progress)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


# --- checks ----------------------------------------------------------------------------------------------------------


def check_ingredients(found: Sequence[Run], method: str) -> None:
    """Raise TrashkitError for fewer than two runs, unfinished runs, different networks, and, unless uniform, different
    validation images: on those of another fold a run would be scored on images it was trained on."""
    if method not in METHODS:
        raise TrashkitError(f'there is no method "{method}"', hint=f"choose {' or '.join(METHODS)}")
    if len({real_path(run.path) for run in found}) < max(2, len(found)):
        raise TrashkitError("a soup needs at least two different runs", hint="trashkit soup RUN RUN --out RUN")
    first = found[0]
    for run in found:
        if run.status != "complete":
            raise TrashkitError(f"{run.path} is not complete", hint="finish it with --resume")
        ours, theirs = ({**one.spec.as_json(), "class_colors": None} for one in (first, run))
        changed = differences(ours, theirs)
        if first.spec.class_names != run.spec.class_names:
            changed = [f"its classes are {', '.join(run.spec.class_names[1:])}"]
        if changed:
            raise TrashkitError(
                f"{run.path} is a different network than {first.path}: {'; '.join(changed)[:200]}",
                hint="trashkit ensemble averages the predictions of any networks",
            )
        if method == "greedy":
            _check_validation(first, run)


def _check_validation(first: Run, run: Run) -> None:
    hint = "give runs of one fold of one --split, or --method uniform to average without validation"
    if not _identity(run, "validation images"):
        problem = f"{run.path} has no validation images (--all-data) to compare soups on"
        raise TrashkitError(problem, hint="--method uniform averages without validation")
    keys: tuple[IdentityKey, ...] = ("data", "validation images")
    if any(_identity(run, key) != _identity(first, key) for key in keys):
        if _identity(run, "data") == _identity(first, "data") and run.manifest.get("fold") is None:
            hint = "without --split each seed holds out different images: " + hint
        raise TrashkitError(
            f"{run.path} and {first.path} have different validation images, so averages of them cannot be compared",
            hint=hint,
        )


def _identity(run: Run, key: IdentityKey) -> Any:
    return run.identity.get(key)


def _weights(run: Run) -> State:
    weights = read_weights(run.checkpoint, str(run.manifest.get("checkpoint_sha256", "")))
    if weights is None:
        raise TrashkitError(f"{run.checkpoint} is damaged or missing", hint="train the run again")
    return weights


# --- averaging and scoring -------------------------------------------------------------------------------------------


@dataclass
class SoupBuilder:
    """A network to load weights into, and the data to score them.

    train_loader: training batches, to measure batch statistics. val: None if the runs share no validation images.
    """

    model: Segmenter
    accelerator: Accelerator
    train_loader: TrainLoader
    val: PhotoCache | None

    def load(self, weights: Mapping[str, Tensor], *, mixture: bool) -> None:
        """Load weights. mixture: measure the batch statistics again."""
        self.model.network.load_state_dict(weights)
        if mixture:
            measure_batch_statistics(self.model, self.train_loader.photos(0), self.accelerator)

    def score(self, weights: Mapping[str, Tensor], *, mixture: bool) -> tuple[Matrix, State]:
        """Confusion matrices int64 [N, C, C] of the validation images, and the weights they belong to.

        A mixture is scored with its averaged batch statistics and with measured ones, and the better is returned: from
        few images measured statistics are poor, and for weights that are far apart the averaged ones do not fit.
        """
        tries = []
        for measured in (False, True) if mixture else (False,):
            self.load(weights, mixture=measured)
            state = {key: value.detach().cpu().clone() for key, value in self.model.network.state_dict().items()}
            tries.append((self.validate(), state))
        return max(tries, key=lambda one: _miou(one[0], self.model.class_names))

    def validate(self) -> Matrix:
        """Confusion matrices int64 [N, C, C] of the loaded weights."""
        assert self.val is not None
        return validate_per_image(self.model, self.val, self.accelerator, batch_size=8, workers=0)


def _miou(matrices: Matrix, names: tuple[str, ...]) -> float:
    return Confusion(matrices.sum(axis=0), names).miou()


def _without(matrices: Matrix) -> float:
    return without_background(iou(matrices.sum(axis=0)).tolist())


def _told(matrices: Matrix, names: tuple[str, ...]) -> str:
    return short_miou_text(_miou(matrices, names), _without(matrices))


def _mean(states: Sequence[Mapping[str, Tensor]]) -> State:
    found: State | None = None
    for count, state in enumerate(states):
        found = add_to_mean(found, count, state)
    assert found is not None
    return found


def _open_builder(
    found: Sequence[Run],
    dataset: Dataset,
    photos: Path,
    cache: Path,
    *,
    accelerator: Accelerator,
    progress: Progress,
) -> SoupBuilder:
    config = recorded_settings(found[0].manifest.get("settings"), found[0].path)
    size, order = config.data.size, config.data.paint_order
    first = found[0]
    budget, content = int(config.data.cache_gb * 1e9), str(_identity(first, "photos and classes"))

    def opened(key: IdentityKey, layout: Any) -> PhotoCache:
        images = [dataset.image_by_id[image_id] for image_id in _identity(first, key)]
        return open_cache(dataset, images, photos, layout, cache, content=content, budget=budget, progress=progress)

    joined = JoinedCaches([opened("training images", train_layout(size, order))])
    batches = make_sampler(config.data, dataset, joined, seed=config.seed, rank=0, processes=1)
    loader = make_loader(make_dataset(config.data, dataset, joined, config.seed), batches, workers=0, pin=False)
    same = all(_identity(run, "validation images") == _identity(first, "validation images") for run in found)
    val = opened("validation images", validation_layout(size, SCORE_SIZE, order)) if same else None
    if val is not None and not len(val):
        val = None
    return SoupBuilder(load_run_model(first.path, accelerator.device), accelerator, TrainLoader(loader, batches), val)


def _greedy(builder: SoupBuilder, states: Mapping[str, State], log: Log) -> tuple[list[str], State, Matrix, Matrix]:
    """Names of the runs in the soup, its weights, and the matrices of the best ingredient and of the soup."""
    names = builder.model.class_names
    matrices = {name: builder.score(state, mixture=False)[0] for name, state in states.items()}
    scores = {name: _miou(matrix, names) for name, matrix in matrices.items()}
    order = sorted(states, key=lambda name: (-scores[name], name))
    taken, mean, soup_matrices = [order[0]], states[order[0]], matrices[order[0]]
    soup = mean
    log(f"{order[0]}: {_told(matrices[order[0]], names)}, the best ingredient")
    for name in order[1:]:
        mixture = add_to_mean(mean, len(taken), states[name])
        tried, state = builder.score(mixture, mixture=True)
        score, before = _miou(tried, names), _miou(soup_matrices, names)
        if score >= before:
            taken, mean, soup_matrices, soup = [*taken, name], mixture, tried, state
        verdict = "taken" if score >= before else "left out"
        log(f"{name}: {_told(matrices[name], names)} alone, {_told(tried, names)} with it: {verdict}")
    return taken, soup, matrices[order[0]], soup_matrices


def _compare_with_best(
    best: Matrix, soup: Matrix, taken: Sequence[str], names: tuple[str, ...], log: Log
) -> CheckpointChoice:
    """The soup compared with its best ingredient in a paired bootstrap, as an entry of the manifest."""
    best_score, soup_score = _miou(best, names), _miou(soup, names)
    difference = soup_score - best_score
    low, high = interval(bootstrap_miou_difference(best, soup, 2000))
    significance = "significant" if low > 0 else "not significant"
    if finds_almost_nothing(iou(soup.sum(axis=0)).tolist()):
        significance = "but the soup finds almost nothing"
    reason = f"{len(taken)} runs averaged, {difference:+.4f} mIoU against the best of them, {significance}"
    if len(taken) == 1:
        reason = "no mixture is as good as the best ingredient alone, which is used"
    between = f" (95 % interval {low:+.4f} to {high:+.4f})" if len(taken) > 1 else ""
    log(f"soup {_told(soup, names)}: {reason}{between}")
    return {
        "chosen": "last",
        "reason": reason,
        "images": len(soup),
        "candidates": [
            {
                "name": "best ingredient",
                "what": taken[0],
                "miou": best_score,
                "miou_without_background": _without(best),
            },
            {
                "name": "last",
                "what": f"soup of {len(taken)}",
                "miou": soup_score,
                "miou_without_background": _without(soup),
                "difference": difference,
                "difference_interval": [low, high],
            },
        ],
    }


# --- writing ---------------------------------------------------------------------------------------------------------


def _write_run(
    first: Run, builder: SoupBuilder, weights: State, out: Path, entries: Mapping[str, Any], *, overwrite: bool
) -> Run:
    kept = ("settings", "seed", "model", "inputs", "device", "recipe", "fold")
    builder.load(weights, mixture=False)
    content = {**{key: first.manifest.get(key) for key in kept}, **entries, "checkpoint": "last"}
    if builder.val is None:
        content["inputs"] = {**first.inputs, "validation_images": 0, "validation_files": []}
    run = open_run(out, first.manifest["identity"], content, resume=False, overwrite=overwrite)
    save_weights(out / CHECKPOINTS / "last.safetensors", builder.model.network.state_dict())
    scores: Scores = {}
    if builder.val is not None:
        names = builder.model.class_names
        matrices = builder.validate()
        scores = scores_of(matrices, names)
        files = tuple(image.file_name for image in builder.val.images)
        write_validation(out, Validation(matrices, names, files, 0))
    return update(run, scores=scores, checkpoint_sha256=sha256(run.checkpoint))


def _predict(run: Run, dataset: Dataset, photos: Path, accelerator: Accelerator, progress: Progress) -> Run:
    """Predict the validation images out of fold, and complete the run."""
    if run.scores:
        predict_dataset(
            [load_run_model(run.path, accelerator.device)],
            dataset.subset(dataset.image_by_id[image_id].row for image_id in _identity(run, "validation images")),
            photos,
            run.path / OOF,
            manifest={"kind": "out-of-fold", "weights": sha256(run.checkpoint)},
            progress=progress,
        )
    return update(run, status="complete", finished=now())
