"""The split value, reading and writing SPLIT.json, and export of folds as COCO files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, write
from trashkit.errors import TrashkitError, read_error_reason
from trashkit.files import exists
from trashkit.outputs import Output, folder_kind, write_text
from trashkit.readers import ContentError, decode_json, read_bytes
from trashkit.split.foreign_splits import FORMATS_HINT, is_foreign_split, read_foreign_split

ImageId = int | str

FOLD_FILES = folder_kind("folder of fold files", marker=r"fold-0/train\.json", files=r"fold-\d+/(train|val)\.json")


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold: ids of the training and the validation images, in file order; together they are all images."""

    train: tuple[ImageId, ...]
    val: tuple[ImageId, ...]


@dataclass(frozen=True)
class Split:
    """Folds of a data set by image id, with quality and provenance.

    folds: K folds whose `val` partition the images; repeats follow one another; a holdout is one fold.
    quality: see `trashkit.split.quality.QualityReport`. source: ``path`` and ``sha256`` of the annotation file, and
    ``settings`` of the search.
    """

    folds: tuple[Fold, ...]
    quality: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holdout(self) -> bool:
        """Whether each fold is a holdout: one validation set, or several independent ones."""
        settings = self.source.get("settings")
        return len(self.folds) == 1 or (isinstance(settings, dict) and bool(settings.get("holdout")))

    def as_json(self) -> dict[str, Any]:
        """The value of SPLIT.json."""
        return {
            "folds": [{"train": list(fold.train), "val": list(fold.val)} for fold in self.folds],
            "quality": dict(self.quality),
            "seed": self.seed,
            "source": dict(self.source),
        }


def split_from_json(value: Any, place: str) -> Split:
    """Build a Split from JSON; only ``folds`` is required. `place` names it in errors.

    Raises TrashkitError for a wrong structure. `split_problems` checks whether the folds are valid.
    """
    hint = 'a split is {"folds": [{"train": [image ids], "val": [image ids]}, ...]}: trashkit split ANN.json makes one'
    folds = value.get("folds") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(value.get("images"), list) and folds is None:
        raise TrashkitError(f"{place} is a COCO file, not a split", hint=FORMATS_HINT)
    if not isinstance(folds, list) or not folds:
        raise TrashkitError(f'{place} has no list "folds"', hint=hint)
    made: list[Fold] = []
    for number, fold in enumerate(folds):
        sides: list[tuple[ImageId, ...]] = []
        for side in ("train", "val"):
            ids = fold.get(side) if isinstance(fold, dict) else None
            if not isinstance(ids, list):
                raise TrashkitError(f'{place}: fold {number} has no list "{side}"', hint=hint)
            for image_id in ids:
                if isinstance(image_id, bool) or not isinstance(image_id, int | str):
                    raise TrashkitError(
                        f"{place}: fold {number}, {side}: {json.dumps(image_id)} is not an image id", hint=hint
                    )
            sides.append(tuple(ids))
        made.append(Fold(sides[0], sides[1]))
    quality, source, seed = value.get("quality"), value.get("source"), value.get("seed")
    return Split(
        tuple(made),
        quality if isinstance(quality, dict) else {},
        seed if isinstance(seed, int) else 0,
        source if isinstance(source, dict) else {},
    )


def _some(ids: Sequence[ImageId]) -> str:
    shown = ", ".join(json.dumps(i, ensure_ascii=False) for i in ids[:3])
    return shown if len(ids) <= 3 else f"{shown} and {len(ids) - 3} more"


def split_problems(split: Split, known: Sequence[ImageId]) -> list[str]:
    """List what makes a split invalid for images with these ids, one line each; empty if it is valid.

    Every fold must partition the images into a non-empty train and a non-empty val. With several folds, every image
    must be in val equally often (once per repeat), unless they are holdouts.
    """
    lines = [line for number, fold in enumerate(split.folds) for line in _fold_problems(number, fold, known)]
    if not split.holdout:
        times = dict.fromkeys(known, 0)
        for fold in split.folds:
            for image_id in set(fold.val) & times.keys():
                times[image_id] += 1
        usual = max(1, round(sum(times.values()) / max(len(times), 1)))
        for words, odd in (
            ("more often", [i for i, n in times.items() if n > usual]),
            ("less often", [i for i, n in times.items() if n < usual]),
        ):
            if odd:
                lines.append(f"image id {_some(odd)} is in val {words} than {usual} time(s) over all folds")
    return lines


def _fold_problems(number: int, fold: Fold, known: Sequence[ImageId]) -> list[str]:
    wanted, lines = set(known), []
    for side, ids in (("train", fold.train), ("val", fold.val)):
        if not ids:
            lines.append(f"fold {number}: {side} is empty")
        twice = [i for i, times in Counter(ids).items() if times > 1]
        if twice:
            lines.append(f"fold {number}: image id {_some(twice)} is twice in {side}")
        unknown = [i for i in dict.fromkeys(ids) if i not in wanted]
        if unknown:
            lines.append(f"fold {number}: image id {_some(unknown)} in {side} is not in the annotations")
    train, val = set(fold.train), set(fold.val)
    both = [i for i in fold.val if i in train]
    if both:
        lines.append(f"fold {number}: image id {_some(both)} is in train and val")
    absent = [i for i in known if i not in train and i not in val]
    if absent:
        lines.append(f"fold {number}: image id {_some(absent)} is in neither train nor val")
    return lines


def load_split(path: Path | str) -> Split:
    """Read SPLIT.json without its data set. TrashkitError if it is missing, not JSON or not a split."""
    path = Path(path)
    if is_foreign_split(path) and exists(path):
        raise TrashkitError(
            f"{path} is not a split.json of trashkit and cannot be read without its data", hint="add --data ANN.json"
        )
    try:
        value = decode_json(read_bytes(path))
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no split {path}", hint=f"trashkit split ANN.json --out {path}") from error
    except (OSError, ContentError) as error:
        problem = f"{path} cannot be read as a split: {read_error_reason(error)}"
        raise TrashkitError(problem, hint="trashkit split makes one") from error
    return split_from_json(value, str(path))


def open_split(path: Path | str, dataset: Dataset) -> Split:
    """Read a split of trashkit or another tool (`trashkit.split.foreign_splits.read_foreign_split`) without validation.

    For splits of other tools, ``source`` holds the format it was read as, under ``form`` and ``notes``.
    """
    path = Path(path)
    if not is_foreign_split(path):
        return load_split(path)
    found = read_foreign_split(path, dataset)
    folds = tuple(Fold(train, val) for train, val in found.folds)
    return Split(folds, source={"form": found.form, "notes": list(found.notes)})


def read_split(path: Path | str, dataset: Dataset) -> Split:
    """Read a split of trashkit or another tool and validate it against a data set.

    TrashkitError, naming the first problem, unless every fold partitions the data set's images and all images are in
    val equally often (a single fold is a holdout).
    """
    split = open_split(path, dataset)
    found = split_problems(split, [image.id for image in dataset.images])
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        source = dataset.coco.path or "ANN.json"
        raise TrashkitError(
            f"{path} does not fit {source}: {found[0]}{more}", hint=f"trashkit split {source} --out NEW_SPLIT.json"
        )
    return split


def write_split(split: Split, path: Path | str, *, overwrite: bool = False) -> None:
    """Write SPLIT.json, one line per top-level key and fold; the same split gives the same bytes."""
    value = split.as_json()
    folds = ",\n".join(json.dumps(fold, ensure_ascii=False) for fold in value["folds"])
    rest = ",\n".join(f'"{key}": {json.dumps(value[key], ensure_ascii=False)}' for key in ("quality", "seed", "source"))
    write_text(Path(path), f'{{"folds": [\n{folds}\n],\n{rest}}}\n', overwrite=overwrite)


def export_folds(split: Split, dataset: Dataset, folder: Path | str, *, overwrite: bool = False) -> list[Path]:
    """Write ``fold-K/train.json`` and ``fold-K/val.json`` under `folder`: COCO files with rows and ids unchanged.

    Annotations are written with their images, categories and all other blocks completely. Returns the paths, in order.
    """
    folder = Path(folder)
    rows = {image.id: image.row for image in dataset.images}
    names: list[str] = []
    with Output(folder, overwrite=overwrite, kind=FOLD_FILES).writing() as temporary:
        for number, fold in enumerate(split.folds):
            for side, ids in (("train", fold.train), ("val", fold.val)):
                name = f"fold-{number}/{side}.json"
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                write(dataset.coco.subset(rows[i] for i in ids), temporary / name)
                names.append(name)
    return [folder / name for name in names]
