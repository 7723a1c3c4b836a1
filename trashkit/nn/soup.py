"""Model soup: the weights of several runs of one network, averaged into one network that costs no more than each.

Ingredients come best first; each is kept only where the average with it scores at least as well on the validation
images. That makes sense for runs that began with the same weights, such as one pretrained encoder with other settings
or seeds: averages of networks that lie far apart are no networks.

Source: M. Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without
increasing inference time", ICML 2022, recipe 1 (greedy soup).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import Tensor

from trashkit import run as runs
from trashkit.coco import Dataset
from trashkit.config import TrainConfig
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.nn.cache import JoinedCaches, PhotoCache, open_cache, validation_layout, working_layout
from trashkit.nn.checkpoint import read_weights, save_weights
from trashkit.nn.data import train_batches, train_loader, train_photos
from trashkit.nn.feed import Feed
from trashkit.nn.finish import add_to_mean, measure_statistics
from trashkit.nn.learner import start_accelerator
from trashkit.nn.models import Segmenter, load_run_model
from trashkit.nn.predict import predict_dataset
from trashkit.nn.record import scores_of
from trashkit.nn.validate import SCORED, validate_each
from trashkit.progress import Progress, silent
from trashkit.provenance import now
from trashkit.run import Run
from trashkit.run_folder import CHECKPOINTS, OOF, refuse_folder
from trashkit.scores import Confusion, Matrix, bootstrap_miou_difference, interval

METHODS = ("greedy", "uniform")
State = dict[str, Tensor]


@dataclass
class _Kitchen:
    """What tasting needs. val: None where the ingredients have no validation images in common."""

    model: Segmenter
    engine: Accelerator
    feed: Feed
    val: PhotoCache | None

    def taste(self, weights: Mapping[str, Tensor], *, mixed: bool) -> tuple[Matrix, State]:
        """Matrices int64 [N, C, C] of the validation images, and the weights that have them.

        Of a mixture: with its batch statistics averaged as its weights are, or measured anew, whichever scores higher:
        of few images they are measured badly, of weights far apart their average fits none.
        """
        assert self.val is not None
        tries = []
        for anew in (False, True) if mixed else (False,):
            self.load(weights, mixed=anew)
            matrices = validate_each(self.model, self.val, self.engine, batch_size=8, workers=0)
            state = {key: value.detach().cpu().clone() for key, value in self.model.network.state_dict().items()}
            tries.append((matrices, state))
        names = self.model.class_names
        return max(tries, key=lambda one: Confusion(one[0].sum(axis=0), names).miou())

    def load(self, weights: Mapping[str, Tensor], *, mixed: bool) -> None:
        self.model.network.load_state_dict(weights)
        if mixed:
            measure_statistics(self.model, self.feed.photos(0), self.engine)


def check_ingredients(found: Sequence[Run], method: str) -> None:
    """Raise TrashkitError for fewer than two runs, unfinished ones, other networks, and, unless uniform, other
    validation images: on those of another fold an ingredient would be scored on what it learned."""
    if method not in METHODS:
        raise TrashkitError(f'there is no method "{method}"', hint=f"choose {' or '.join(METHODS)}")
    if len({run.path.resolve() for run in found}) < max(2, len(found)):
        raise TrashkitError("a soup needs at least two different runs", hint="trashkit soup RUN RUN --out RUN")
    first = found[0]
    for run in found:
        if run.status != "complete":
            raise TrashkitError(f"{run.path} is not complete", hint="finish it with --resume")
        ours, theirs = ({**runs.as_json(one.spec), "class_colors": None} for one in (first, run))
        changed = runs.differences(ours, theirs)
        if first.spec.class_names != run.spec.class_names:
            changed = [f"its classes are {', '.join(run.spec.class_names[1:])}"]
        if changed:
            raise TrashkitError(
                f"{run.path} is another network than {first.path}: {'; '.join(changed)[:200]}",
                hint="trashkit ensemble averages predictions of any networks",
            )
        if method == "greedy":
            _check_validation(first, run)


def _check_validation(first: Run, run: Run) -> None:
    hint = "give runs of one fold of one --split, or --method uniform to average without looking"
    if not _identity(run, "validation images"):
        problem = f"{run.path} has no validation images (--all-data), so nothing tells a good soup"
        raise TrashkitError(problem, hint="--method uniform averages without looking")
    if any(_identity(run, key) != _identity(first, key) for key in ("data", "validation images")):
        if _identity(run, "data") == _identity(first, "data") and run.manifest.get("fold") is None:
            hint = "without --split each seed holds out other images: " + hint
        raise TrashkitError(
            f"{run.path} was not validated on the images of {first.path}, so nothing tells a good soup", hint=hint
        )


def _identity(run: Run, key: str) -> Any:
    return (run.manifest.get("identity") or {}).get(key)


def cook(
    paths: Sequence[Path],
    dataset: Dataset,
    photos: Path,
    out: Path,
    *,
    method: str = "greedy",
    about: Mapping[str, Any],
    device: str = "auto",
    overwrite: bool = False,
    say: Callable[[str], None] = lambda _: None,
    progress: Progress = silent,
) -> Run:
    """Average the weights of runs into a new run in `out`, which can be used like any other.

    dataset, photos: what the runs were trained on. method: ``greedy``, or ``uniform`` for all ingredients unseen. The
    manifest says under `choice` how the soup compares with the best ingredient. Batch statistics are averaged, or
    measured anew on training images, see `_Kitchen.taste`; of a uniform soup, measured anew.
    Raises TrashkitError as `check_ingredients`, and where the data set is not the runs'.
    """
    found = [runs.read_run(path) for path in paths]
    check_ingredients(found, method)
    refuse_folder(out, overwrite=overwrite, resumes=False)
    first = found[0]
    if dataset.coco.sha256 != _identity(first, "data"):
        raise TrashkitError(f"{dataset.coco.path} is not what {first.path} was trained on", hint="give it as --data")
    config = TrainConfig.model_validate(first.manifest["settings"])
    engine = start_accelerator(device, config.amp)
    cache = out.parent / f".{out.name}.cache"
    try:
        kitchen = _kitchen(found, dataset, photos, cache, engine=engine, config=config, progress=progress)
        states = {str(run.path): _weights(run) for run in found}
        if method == "greedy":
            taken, weights, tastes = _greedy(kitchen, states, say)
        else:
            taken, tastes = list(states), {}
            kitchen.load(_mean(list(states.values())), mixed=True)
            weights = kitchen.model.network.state_dict()
        done = _serve(first, kitchen, weights, out, overwrite=overwrite, entries={
            **about,
            **_tasted(tastes, taken, kitchen.model.class_names, say),
            "kind": "soup",
            "method": method,
            "ingredients": [
                {
                    "run": str(run.path.resolve()),
                    "checkpoint_sha256": sha256(run.checkpoint),
                    "miou": run.miou,
                    "taken": str(run.path) in taken,
                }
                for run in found
            ],
        })  # fmt: skip
        return _predict(done, dataset, photos, engine, progress)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _weights(run: Run) -> State:
    weights = read_weights(run.checkpoint, str(run.manifest.get("checkpoint_sha256", "")))
    if weights is None:
        raise TrashkitError(f"{run.checkpoint} is damaged or missing", hint="train the run again")
    return weights


def _mean(states: Sequence[Mapping[str, Tensor]]) -> State:
    found: State | None = None
    for count, state in enumerate(states):
        found = add_to_mean(found, count, state)
    assert found is not None
    return found


def _kitchen(
    found: Sequence[Run],
    dataset: Dataset,
    photos: Path,
    cache: Path,
    *,
    engine: Accelerator,
    config: TrainConfig,
    progress: Progress,
) -> _Kitchen:
    size, order = config.data.size, config.data.paint_order
    budget, content = int(config.data.cache_gb * 1e9), str(_identity(found[0], "photos and classes"))
    first = found[0]

    def opened(key: str, layout: Any) -> PhotoCache:
        images = [dataset.image_by_id[image_id] for image_id in _identity(first, key)]
        return open_cache(dataset, images, photos, layout, cache, content=content, budget=budget, progress=progress)

    joined = JoinedCaches([opened("training images", working_layout(size, order))])
    batches = train_batches(config.data, dataset, joined, seed=config.seed, rank=0, processes=1)
    loader = train_loader(train_photos(config.data, dataset, joined, config.seed), batches, workers=0, pin=False)
    same = all(_identity(run, "validation images") == _identity(first, "validation images") for run in found)
    val = opened("validation images", validation_layout(size, SCORED, order)) if same else None
    if val is not None and not len(val):
        val = None
    return _Kitchen(load_run_model(first.path, engine.device), engine, Feed(loader, batches), val)


def _greedy(
    kitchen: _Kitchen, states: Mapping[str, State], say: Callable[[str], None]
) -> tuple[list[str], State, dict[str, Matrix]]:
    """Names of what was taken, the soup, and the matrices of the best ingredient and of the soup."""
    names = kitchen.model.class_names
    tastes = {name: kitchen.taste(state, mixed=False)[0] for name, state in states.items()}
    scores = {name: Confusion(matrix.sum(axis=0), names).miou() for name, matrix in tastes.items()}
    order = sorted(states, key=lambda name: (-scores[name], name))
    taken, soup, taste = [order[0]], states[order[0]], tastes[order[0]]
    served = soup
    say(f"{order[0]}: {scores[order[0]]:.4f}, the best ingredient")
    for name in order[1:]:
        mixed = add_to_mean(soup, len(taken), states[name])
        tried, state = kitchen.taste(mixed, mixed=True)
        score, before = (Confusion(matrix.sum(axis=0), names).miou() for matrix in (tried, taste))
        if score >= before:
            taken, soup, taste, served = [*taken, name], mixed, tried, state
        say(f"{name}: {scores[name]:.4f} alone, {score:.4f} with it: {'taken' if score >= before else 'left out'}")
    return taken, served, {"ingredient": tastes[order[0]], "soup": taste}


def _tasted(
    tastes: Mapping[str, Matrix], taken: Sequence[str], names: tuple[str, ...], say: Callable[[str], None]
) -> dict[str, Any]:
    """The soup against its best ingredient, in a paired bootstrap, as the manifest has it."""
    if not tastes:
        return {}
    scores = {name: Confusion(matrix.sum(axis=0), names).miou() for name, matrix in tastes.items()}
    difference = scores["soup"] - scores["ingredient"]
    low, high = interval(bootstrap_miou_difference(tastes["ingredient"], tastes["soup"], 2000))
    sure = "beyond doubt" if low > 0 else "which may be luck"
    reason = f"{len(taken)} runs averaged, {difference:+.4f} mIoU against the best of them, {sure}"
    if len(taken) == 1:
        reason = "no mixture is as good as the best ingredient alone, which this is"
    between = f" (95 % interval {low:+.4f} to {high:+.4f})" if len(taken) > 1 else ""
    say(f"soup {scores['soup']:.4f}: {reason}{between}")
    return {"choice": {
        "chosen": "last", "reason": reason, "images": len(tastes["soup"]),
        "candidates": [
            {"name": "best ingredient", "what": taken[0], "miou": scores["ingredient"]},
            {"name": "last", "what": f"soup of {len(taken)}", "miou": scores["soup"], "difference": difference,
             "difference_interval": [low, high]},
        ],
    }}  # fmt: skip


def _serve(
    first: Run,
    kitchen: _Kitchen,
    weights: State,
    out: Path,
    *,
    overwrite: bool,
    entries: Mapping[str, Any],
) -> Run:
    """Write the run folder."""
    kept = ("settings", "seed", "model", "inputs", "device", "recipe", "fold")
    kitchen.load(weights, mixed=False)
    content = {**{key: first.manifest.get(key) for key in kept}, **entries, "checkpoint": "last"}
    if kitchen.val is None:
        content["inputs"] = {**content["inputs"], "validation_images": 0, "validation_files": []}
    run = runs.open_run(out, first.manifest["identity"], content, resume=False, overwrite=overwrite)
    save_weights(out / CHECKPOINTS / "last.safetensors", kitchen.model.network.state_dict())
    scores: dict[str, Any] = {}
    if kitchen.val is not None:
        names = kitchen.model.class_names
        matrices = validate_each(kitchen.model, kitchen.val, kitchen.engine, batch_size=8, workers=0)
        scores = scores_of(matrices, names)
        files = tuple(image.file_name for image in kitchen.val.images)
        runs.write_validation(out, runs.Validation(matrices, names, files, 0))
    return runs.update(run, scores=scores, checkpoint_sha256=sha256(run.checkpoint))


def _predict(run: Run, dataset: Dataset, photos: Path, engine: Accelerator, progress: Progress) -> Run:
    """Out-of-fold probabilities of the validation images, and the end."""
    if run.scores:
        predict_dataset(
            [load_run_model(run.path, engine.device)],
            dataset.subset(dataset.image_by_id[image_id].row for image_id in _identity(run, "validation images")),
            photos,
            run.path / OOF,
            manifest={"kind": "out-of-fold", "weights": sha256(run.checkpoint)},
            progress=progress,
        )
    return runs.update(run, status="complete", finished=now())
