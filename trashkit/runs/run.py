"""The run folder: reading it, listing runs, starting and updating one.

    RUN/
      manifest.json                how it was made (command, settings, versions, git, hashes, seed) and its scores
      settings.toml                the resolved settings; `train --recipe RUN/settings.toml` repeats the training
      metrics.jsonl                one JSON object per epoch
      validation.npz               one confusion matrix per validation image (see `trashkit.runs.metrics`)
      report.html                  all of this as a page, rewritten after every epoch
      tensorboard/                 the same curves for TensorBoard
      checkpoints/last.safetensors weights after the last finished epoch (their moving average, if that is on)
      checkpoints/best.safetensors weights of the epoch with the best smoothed validation score
      checkpoints/state.pt         what `--resume` needs; removed once the run is complete
      oof/                         store of out-of-fold probabilities, if there are validation images

The manifest is written atomically, when the run starts (status "running") and when it ends (status "complete").
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from trashkit.errors import TrashkitError, read_error_reason
from trashkit.outputs import Output, write_bytes
from trashkit.readers import ContentError, checked, decode_json, read_bytes
from trashkit.runs.folder import (
    CHECKPOINTS,
    FORMAT,
    MANIFEST,
    OOF,
    RUN_FOLDER,
    SETTINGS,
    VERSION,
    has_lost_manifest,
    is_being_trained,
    is_empty_run,
    is_run,
    locked,
)
from trashkit.runs.json_values import differences, finite
from trashkit.runs.manifest import Manifest, ManifestForm, RunIdentity, RunInputs, RunSpec
from trashkit.runs.metrics import Scores, read_metrics
from trashkit.runs.provenance import git_state, now, versions

Status = Literal["running", "complete"]


@dataclass(frozen=True)
class Run:
    """A run folder that was read."""

    path: Path
    manifest: Manifest

    @property
    def status(self) -> Status:
        """Complete, or running, which includes runs that were stopped."""
        return "complete" if self.manifest.get("status") == "complete" else "running"

    @property
    def state(self) -> str:
        """The status in words: complete, being trained, or stopped; unfinished where the last two look alike."""
        if self.status == "complete":
            return "complete"
        return {True: "being trained", False: "stopped", None: "unfinished"}[is_being_trained(self.path)]

    @property
    def spec(self) -> RunSpec:
        """Its network. Raises TrashkitError for a damaged manifest."""
        try:
            return RunSpec.of(self.manifest.get("model", {}))
        except ValueError as error:
            raise TrashkitError(
                f"{self.path / MANIFEST} does not describe a network: {error}", hint="train the run again"
            ) from error

    @property
    def identity(self) -> RunIdentity:
        """What must be equal for the run to be resumed; empty if the manifest lacks it."""
        return self.manifest.get("identity") or cast(RunIdentity, {})

    @property
    def inputs(self) -> RunInputs:
        """The files it was trained on; empty if the manifest lacks them."""
        return self.manifest.get("inputs") or {}

    @property
    def scores(self) -> Scores:
        """Of the chosen checkpoint on the validation images; empty until the run is complete, or without validation."""
        return self.manifest.get("scores") or {}

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return len(read_metrics(self.path))

    @property
    def wanted(self) -> int:
        """Number of epochs in its settings."""
        return int(self.manifest.get("settings", {}).get("epochs", 0))

    @property
    def checkpoint(self) -> Path:
        """The weights that this run is used with: those that the manifest names, else the last."""
        return self.path / CHECKPOINTS / f"{self.manifest.get('checkpoint', 'last')}.safetensors"

    @property
    def miou(self) -> float:
        """Validation mIoU of the chosen checkpoint, else of the last validation; NaN without any."""
        value = self.scores.get("miou")
        if value is None:
            value = self._last_validation.get("miou")
        return float(value) if isinstance(value, int | float) else math.nan

    @property
    def iou(self) -> Mapping[str, float | None]:
        """Validation IoU by class, the background first, of the weights of `miou`; empty without validation."""
        found = self.scores.get("iou")
        if not found:
            found = self._last_validation.get("iou")
        return found or {}

    @property
    def _last_validation(self) -> Mapping[str, Any]:
        """Metrics of the last epoch that was validated; empty if none was."""
        return next((row for row in reversed(read_metrics(self.path)) if row.get("miou") is not None), {})


_GIVE_A_RUN = "give a folder that `trashkit train --out` wrote"
_TRAIN_AGAIN = "its weights are in checkpoints/; train it again with --overwrite"


def read_run(path: Path) -> Run:
    """Read a run folder. Raises TrashkitError, saying what is missing, if it is not one."""
    if not path.exists():
        raise TrashkitError(f"there is no run at {path}", hint="`trashkit runs` lists the runs below a folder")
    file = path / MANIFEST
    try:
        manifest = decode_json(read_bytes(file))
    except FileNotFoundError as error:
        if has_lost_manifest(path):
            raise TrashkitError(f"{path} no longer contains {MANIFEST}", hint=_TRAIN_AGAIN) from error
        inner = [run.path for run in find_runs(path)[:1]]
        hint = f"did you mean {inner[0]}?" if inner else _GIVE_A_RUN
        raise TrashkitError(f"{path} is not a run folder: it has no {MANIFEST}", hint=hint) from error
    except NotADirectoryError as error:
        raise TrashkitError(f"{path} is a file, not a run folder", hint=_GIVE_A_RUN) from error
    except (OSError, ValueError) as error:
        raise TrashkitError(f"{file} cannot be read: {read_error_reason(error)}", hint=_TRAIN_AGAIN) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise TrashkitError(f"{file} is not the manifest of a run", hint=_GIVE_A_RUN)
    version = manifest.get("version", 0)
    if isinstance(version, int) and version > VERSION:
        raise TrashkitError(f"{path} was made by a newer trashkit", hint="pip install --upgrade trashkit")
    try:
        checked(manifest, ManifestForm)
    except ContentError as error:
        raise TrashkitError(f"{file} is damaged: {error}", hint=_TRAIN_AGAIN) from error
    return Run(path, cast(Manifest, manifest))


@dataclass(frozen=True)
class FoundRuns:
    """Runs in or below a folder, best validation mIoU first, then by path, and what is wrong with damaged ones."""

    runs: tuple[Run, ...]
    damaged: Mapping[Path, TrashkitError]


def search_runs(folder: Path) -> FoundRuns:
    """Search a folder for runs, damaged ones included.

    Intermediate stages of another run (``intermediate`` in their manifest) are left out.
    """
    scored: list[tuple[float, str, Run]] = []
    damaged: dict[Path, TrashkitError] = {}
    places = {file.parent for name in (MANIFEST, SETTINGS) for file in folder.rglob(name)}
    for place in sorted(place for place in places if is_run(place) or has_lost_manifest(place)):
        try:
            run = read_run(place)
            score = run.miou
            len(read_metrics(place))
        except TrashkitError as error:
            damaged[place] = error
            continue
        if place == folder or not run.manifest.get("intermediate"):
            scored.append((math.inf if math.isnan(score) else -score, str(place), run))
    return FoundRuns(tuple(run for *_, run in sorted(scored, key=lambda one: one[:2])), damaged)


def find_runs(folder: Path) -> list[Run]:
    """The intact runs in or below a folder, see `search_runs`."""
    return list(search_runs(folder).runs)


def require_runs(folder: Path) -> list[Run]:
    """All runs in or below a folder, see `search_runs`; TrashkitError where one of them is damaged."""
    found = search_runs(folder)
    for error in found.damaged.values():
        raise error
    return list(found.runs)


# --- writing ---------------------------------------------------------------------------------------------------------


def open_run(
    path: Path, identity: Mapping[str, Any], content: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Run:
    """Start a run folder, or open an existing one to resume it.

    identity: requested settings and inputs. content: further entries of a new run's manifest. A folder that exists is
    refused unless `resume`, which needs an equal identity, or `overwrite`, which removes a run and nothing else.
    Raises TrashkitError, naming what differs.
    """
    made = new_manifest(FORMAT, VERSION, identity, content)
    if path.exists() and not is_empty_run(path):
        if is_run(path) or has_lost_manifest(path):
            with locked(path):  # refused while a training holds it
                pass
        if resume:
            run = read_run(path)
            require_same(path, run.identity, identity)
            _require_own_folders(path)
            return run
        Output(path, overwrite=overwrite, kind=RUN_FOLDER).remove()
    (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    return write_manifest(path, made)


def _require_own_folders(path: Path) -> None:
    """Raise TrashkitError where a folder of the run is a link into another run, whose files would be replaced."""
    for name in (CHECKPOINTS, OOF):
        place = path / name
        try:
            if place.is_symlink():
                Output(place).check_outside([RUN_FOLDER])
        except TrashkitError as error:
            raise TrashkitError(error.message, hint="put a copy in place of the link") from error


def require_same(path: Path, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise TrashkitError, naming what differs, unless `path` was started with the inputs and settings `wanted`."""
    changed = differences(recorded, wanted)
    if changed:
        raise TrashkitError(
            f"{path} cannot be resumed: {'; '.join(changed)}",
            hint="repeat the original command line, or choose another --out",
        )


def new_manifest(form: str, version: int, identity: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest of work that starts now: its format, the versions in use, and what decides the result."""
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
    """Write a manifest atomically. NaN becomes null."""
    text = json.dumps(finite(manifest), ensure_ascii=False, indent=1) + "\n"
    write_bytes(path / MANIFEST, text.encode(), overwrite=True)
    return Run(path, decode_json(text))


def update(run: Run, **entries: Any) -> Run:
    """The run with these entries of its manifest changed, also on disk."""
    return write_manifest(run.path, {**run.manifest, **entries})
