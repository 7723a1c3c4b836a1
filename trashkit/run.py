"""The run folder: what a training run says of itself, and everything that it leaves behind.

    RUN/
      manifest.json                what made it (command, settings, versions, git, hashes, seed), how it went
      settings.toml                the resolved settings; `train --recipe RUN/settings.toml` trains the same again
      metrics.jsonl                one JSON object per epoch
      validation.npz               confusion matrices of the validation images, one for each (see `read_validation`)
      report.html                  all of this as pictures, written anew after every epoch
      tensorboard/                 the same curves for TensorBoard
      checkpoints/last.safetensors weights after the last finished epoch (their moving average, where that is on)
      checkpoints/best.safetensors weights of the epoch with the best smoothed validation score
      checkpoints/state.pt         what `--resume` needs; gone once the run is complete
      oof/                         store of out-of-fold probabilities, where there is a validation part

A manifest is written when the run starts (status "running") and again when it ends (status "complete"), each time
whole or not at all.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trashkit.errors import TrashkitError
from trashkit.files import remove_folder, write_bytes
from trashkit.provenance import git_state, now, versions
from trashkit.run_folder import (
    CHECKPOINTS,
    FORMAT,
    MANIFEST,
    METRICS,
    VALIDATION,
    VERSION,
    is_bare,
    is_damaged,
    is_run,
    lock,
    refuse_folder,
    unlock,
)

Status = Literal["running", "complete"]


@dataclass(frozen=True)
class RunSpec:
    """All that is needed to build the network of a run again; the weights lie beside it.

    options: keyword arguments of the architecture. size: (height, width) in pixels that the network was trained at.
    mean, std: RGB normalisation on the scale 0..1. class_names: one per logit, background first. class_colors: RGB.
    """

    architecture: str
    encoder: str
    options: Mapping[str, bool | int | float | str]
    size: tuple[int, int]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_names: tuple[str, ...]
    class_colors: tuple[tuple[int, int, int], ...]

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> RunSpec:
        """The spec from its JSON form. Raises KeyError, TypeError or ValueError for anything else."""
        height, width = value["size"]
        return cls(
            str(value["architecture"]),
            str(value["encoder"]),
            dict(value["options"]),
            (int(height), int(width)),
            _three(value["mean"]),
            _three(value["std"]),
            tuple(str(name) for name in value["class_names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in value["class_colors"]),
        )


def _three(values: Sequence[Any]) -> tuple[float, float, float]:
    one, two, three = values
    return float(one), float(two), float(three)


@dataclass(frozen=True)
class Run:
    """A run folder that was read.

    status: "running" also for a run that was stopped. identity: what must be equal for the run to be continued.
    scores: of the chosen checkpoint on the validation part, empty until the run is complete or has no such part.
    epochs: how many are done, of `wanted`.
    """

    path: Path
    manifest: Mapping[str, Any]

    @property
    def status(self) -> Status:
        return "complete" if self.manifest.get("status") == "complete" else "running"

    @property
    def state(self) -> str:
        """The same in a reader's words."""
        return "complete" if self.status == "complete" else "unfinished"

    @property
    def spec(self) -> RunSpec:
        """What its network is. Raises TrashkitError for a manifest that was damaged."""
        try:
            return RunSpec.of(self.manifest["model"])
        except (KeyError, TypeError, ValueError) as error:
            raise TrashkitError(
                f"{self.path / MANIFEST} does not describe a network", hint="train the run again"
            ) from error

    @property
    def scores(self) -> Mapping[str, Any]:
        return self.manifest.get("scores") or {}

    @property
    def epochs(self) -> int:
        return len(read_metrics(self.path))

    @property
    def wanted(self) -> int:
        return int(self.manifest.get("settings", {}).get("epochs", 0))

    @property
    def checkpoint(self) -> Path:
        """The weights that this run is used with: those that the manifest names, else the last."""
        return self.path / CHECKPOINTS / f"{self.manifest.get('checkpoint', 'last')}.safetensors"

    @property
    def miou(self) -> float:
        """Validation mIoU: of the chosen checkpoint, else of the last epoch; NaN where nothing was validated."""
        value = self.scores.get("miou")
        if value is None:
            rows = read_metrics(self.path)
            value = rows[-1].get("miou") if rows else None
        return float(value) if isinstance(value, int | float) else math.nan


_FOLDER = "give a folder that `trashkit train --out` wrote"
_ANEW = "its weights are in checkpoints/; train it again, with --overwrite"


def read_run(path: Path) -> Run:
    """Read a run folder. Raises TrashkitError, saying what is missing, for a folder that is none."""
    if not path.exists():
        raise TrashkitError(f"there is no run at {path}", hint="`trashkit runs` lists the runs below a folder")
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_bytes())
    except FileNotFoundError as error:
        inner = [run.path for run in find_runs(path)[:1]]
        if is_damaged(path):
            raise TrashkitError(f"{path} has lost its {MANIFEST}", hint=_ANEW) from error
        hint = f"did you mean {inner[0]}?" if inner else _FOLDER
        raise TrashkitError(f"{path} is no run: it has no {MANIFEST}", hint=hint) from error
    except NotADirectoryError as error:
        raise TrashkitError(f"{path} is a file, and no run folder", hint=_FOLDER) from error
    except (OSError, ValueError) as error:
        raise TrashkitError(f"{file} cannot be read: {error}", hint=_ANEW) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TrashkitError(f"{file} is no manifest of a run", hint=_FOLDER)
    if manifest.get("version", 0) > VERSION:
        raise TrashkitError(f"{path} was made by a newer trashkit", hint="pip install --upgrade trashkit")
    return Run(path, manifest)


def find_runs(folder: Path) -> list[Run]:
    """All runs in or below a folder, best validation mIoU first, then by path.

    Runs below it that were only a stage on the way to another one (``intermediate`` in their manifest) are left out.
    """
    found = [read_run(file.parent) for file in sorted(folder.rglob(MANIFEST)) if is_run(file.parent)]
    found = [run for run in found if run.path == folder or not run.manifest.get("intermediate")]
    return sorted(found, key=lambda run: (-run.miou if not math.isnan(run.miou) else math.inf, str(run.path)))


# --- writing ---------------------------------------------------------------------------------------------------------


def open_run(
    path: Path, identity: Mapping[str, Any], content: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Run:
    """Start a run folder, or open one to go on with it.

    identity: requested settings and inputs as JSON values. A folder that exists is refused unless `resume` (then its
    identity must be equal, and the differing entries are named) or `overwrite` (then a run is removed first, and
    anything that is not a run is refused still). content: further entries of the manifest of a new run.
    """
    made = beginning(FORMAT, VERSION, identity, content)
    if path.exists() and not is_bare(path):
        if is_run(path) or is_damaged(path):
            unlock(path, lock(path))
        if resume:
            run = read_run(path)
            require_same(path, run.manifest.get("identity", {}), identity)
            return run
        refuse_folder(path, overwrite=overwrite)
        remove_folder(path)
    (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    return write_manifest(path, made)


def require_same(path: Path, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise TrashkitError, naming what differs, unless what `path` was begun with is what is wanted now."""
    changed = differences(recorded, wanted)
    if changed:
        raise TrashkitError(
            f"{path} cannot be continued: {'; '.join(changed)}",
            hint="repeat the first command line, or choose another --out",
        )


def beginning(form: str, version: int, identity: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The record of work that begins now: what it is, on which versions, and what decides its result."""
    return {
        "format": form,
        "version": version,
        "status": "running",
        "started": now(),
        "versions": versions(),
        "git": git_state(),
        "identity": identity,
        **content,
    }


def write_manifest(path: Path, manifest: Mapping[str, Any]) -> Run:
    """Write a manifest whole or not at all. NaN becomes null."""
    text = json.dumps(_finite(manifest), ensure_ascii=False, indent=1) + "\n"
    write_bytes(path / MANIFEST, text.encode(), overwrite=True)
    return Run(path, json.loads(text))


def update(run: Run, **entries: Any) -> Run:
    """The run with entries of its manifest changed, on disk too."""
    return write_manifest(run.path, {**run.manifest, **entries})


def differences(old: Any, new: Any, name: str = "") -> list[str]:
    """What differs between two JSON values, one clause each, such as ``"epochs was 3, now 5"``."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        clauses: list[str] = []
        for key in dict.fromkeys([*old, *new]):
            clauses += differences(old.get(key), new.get(key), f"{name}.{key}" if name else str(key))
        return clauses
    if json.dumps(_finite(old)) == json.dumps(_finite(new)):
        return []
    return [f"{name} was {_short(old)}, now {_short(new)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The epochs of a run, oldest first; a last line that was cut off by a kill is left out."""
    rows = []
    try:
        lines = (path / METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def write_metrics(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all epochs of a run: a few hundred bytes each, so the file is simply written anew."""
    text = "".join(json.dumps(_finite(row)) + "\n" for row in rows)
    write_bytes(path / METRICS, text.encode(), overwrite=True)


@dataclass(frozen=True, eq=False)
class Validation:
    """Confusion matrices int64 [N, C, C] of the validation images, one for each, after `epoch` or of the final choice.

    names: of the classes. files: file names of the images.
    """

    per_image: NDArray[np.int64]
    names: tuple[str, ...]
    files: tuple[str, ...]
    epoch: int


def write_validation(path: Path, found: Validation) -> None:
    """Write the matrices of a run's validation images."""
    buffer = io.BytesIO()
    about = {"names": found.names, "files": found.files, "epoch": found.epoch}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(buffer, per_image=found.per_image.astype(np.uint32), about=text)
    write_bytes(path / VALIDATION, buffer.getvalue(), overwrite=True)


def read_validation(path: Path) -> Validation | None:
    """The matrices of a run's validation images; None where there are none, or they are damaged."""
    try:
        with np.load(path / VALIDATION, allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            matrices = stored["per_image"].astype(np.int64)
        return Validation(matrices, tuple(about["names"]), tuple(about["files"]), int(about["epoch"]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def as_json(spec: RunSpec) -> dict[str, Any]:
    """A spec as `RunSpec.of` reads it."""
    return asdict(spec)
