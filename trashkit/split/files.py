"""The split as a value and as SPLIT.json, and the folds as COCO files."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trashkit.coco import Dataset, write
from trashkit.errors import TrashkitError, why_unread
from trashkit.files import replacing, write_text
from trashkit.split.elsewhere import FORMS, foreign_folds, is_foreign

ImageId = int | str


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold: ids of the images to train on and to validate on, in file order; together they are all images."""

    train: tuple[ImageId, ...]
    val: tuple[ImageId, ...]


@dataclass(frozen=True)
class Split:
    """Folds of a data set by image id, and how they came to be.

    folds: K of them, whose `val` are a partition of the images; with repeats, K after K; a holdout is one fold.
    quality: see `trashkit.split.quality.quality`. source: ``path``, ``sha256`` of the annotation file, ``settings``.
    """

    folds: tuple[Fold, ...]
    quality: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 0
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def holdout(self) -> bool:
        """Whether each fold stands alone: one validation set, or several drawn anew."""
        settings = self.source.get("settings")
        return len(self.folds) == 1 or (isinstance(settings, dict) and bool(settings.get("holdout")))

    def as_json(self) -> dict[str, Any]:
        """The value that SPLIT.json holds."""
        return {
            "folds": [{"train": list(fold.train), "val": list(fold.val)} for fold in self.folds],
            "quality": dict(self.quality),
            "seed": self.seed,
            "source": dict(self.source),
        }


def split_from_json(value: Any, place: str) -> Split:
    """A Split from JSON made here or elsewhere; only ``folds`` must be there. `place` names it in errors.

    Raises TrashkitError for a wrong shape. Whether the folds make sense is for `problems` to say.
    """
    hint = 'a split is {"folds": [{"train": [image ids], "val": [image ids]}, ...]}: trashkit split ANN.json makes one'
    folds = value.get("folds") if isinstance(value, dict) else None
    if isinstance(value, dict) and isinstance(value.get("images"), list) and folds is None:
        raise TrashkitError(f"{place} is a COCO file, one side of a split at most", hint=FORMS)
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
                        f"{place}: fold {number}, {side}: {json.dumps(image_id)} is no image id", hint=hint
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


def problems(split: Split, known: Sequence[ImageId]) -> list[str]:
    """What makes a split unusable for images with these ids, one line each; empty where it is sound.

    Every fold must be a partition of the images into a non-empty train and a non-empty val. Where there are several
    folds, an image must be in the val of as many folds as any other (once, or once a repeat), unless they are holdouts.
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
                lines.append(f"image id {_some(odd)} is validated on {words} than {usual} time(s) over the folds")
    return lines


def _fold_problems(number: int, fold: Fold, known: Sequence[ImageId]) -> list[str]:
    wanted, lines = set(known), []
    for side, ids in (("train", fold.train), ("val", fold.val)):
        if not ids:
            lines.append(f"fold {number}: {side} is empty")
        twice = [i for i, times in Counter(ids).items() if times > 1]
        if twice:
            lines.append(f"fold {number}: image id {_some(twice)} stands twice in {side}")
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
    """Read SPLIT.json without looking at a data set. TrashkitError where it is missing, no JSON or no split."""
    path = Path(path)
    if is_foreign(path) and path.exists():
        raise TrashkitError(
            f"{path} is no split.json of trashkit: its data is needed to read it", hint="add --data ANN.json"
        )
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise TrashkitError(f"there is no split {path}", hint=f"trashkit split ANN.json --out {path}") from error
    except (OSError, ValueError, RecursionError) as error:
        problem = f"{path} cannot be read as a split: {why_unread(error)}"
        raise TrashkitError(problem, hint="trashkit split makes one") from error
    return split_from_json(value, str(path))


def open_split(path: Path | str, dataset: Dataset) -> Split:
    """Read a split made here or elsewhere (`trashkit.split.elsewhere.foreign_folds`), whether or not it fits.

    ``source`` of one made elsewhere says what it was read as, under ``form`` and ``notes``.
    """
    path = Path(path)
    if not is_foreign(path):
        return load_split(path)
    found = foreign_folds(path, dataset)
    folds = tuple(Fold(train, val) for train, val in found.folds)
    return Split(folds, source={"form": found.form, "notes": list(found.notes)})


def read_split(path: Path | str, dataset: Dataset) -> Split:
    """Read a split, made here or elsewhere, and check it against a data set.

    TrashkitError, naming the first problem, unless every fold is a partition of the data set's images and all images
    are validated on equally often (a single fold is a holdout).
    """
    split = open_split(path, dataset)
    found = problems(split, [image.id for image in dataset.images])
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        source = dataset.coco.path or "ANN.json"
        raise TrashkitError(
            f"{path} does not fit {source}: {found[0]}{more}", hint=f"trashkit split {source} --out NEW_SPLIT.json"
        )
    return split


def write_split(split: Split, path: Path | str, *, overwrite: bool = False) -> None:
    """Write SPLIT.json: one line per top-level key and fold, the same bytes for the same split."""
    value = split.as_json()
    folds = ",\n".join(json.dumps(fold, ensure_ascii=False) for fold in value["folds"])
    rest = ",\n".join(f'"{key}": {json.dumps(value[key], ensure_ascii=False)}' for key in ("quality", "seed", "source"))
    write_text(Path(path), f'{{"folds": [\n{folds}\n],\n{rest}}}\n', overwrite=overwrite)


def export_folds(split: Split, dataset: Dataset, folder: Path | str, *, overwrite: bool = False) -> list[Path]:
    """Write ``fold-K/train.json`` and ``fold-K/val.json`` under `folder`: COCO files, rows and ids untouched.

    Categories and all other blocks stay whole; annotations follow their images. Returns the paths, in order.
    """
    folder = Path(folder)
    rows = {image.id: image.row for image in dataset.images}
    names: list[str] = []
    with replacing(
        folder, overwrite=overwrite, ours=r"fold-\d+/(train|val)\.json", mark=r"fold-0/train\.json"
    ) as temporary:
        for number, fold in enumerate(split.folds):
            for side, ids in (("train", fold.train), ("val", fold.val)):
                name = f"fold-{number}/{side}.json"
                (temporary / name).parent.mkdir(parents=True, exist_ok=True)
                write(dataset.coco.subset(rows[i] for i in ids), temporary / name)
                names.append(name)
    return [folder / name for name in names]
