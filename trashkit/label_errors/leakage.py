"""Find images that the models behind a store were trained on: their probabilities say little about the labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.predictions.store import Probabilities
from trashkit.runs.run import read_run


def trained_image_ids(store: Probabilities) -> set[Any] | None:
    """Ids of the store's images that a model behind it was trained on; None if unknown.

    Out-of-fold stores were predicted by models that were not trained on the image. Other stores name their runs, whose
    manifests list the training images; it is unknown if a run no longer exists or was trained on another file.
    """
    return _trained(store.manifest, set(store.image_ids))


def _trained(manifest: Mapping[str, Any], ids: set[Any]) -> set[Any] | None:
    if manifest.get("kind") == "out-of-fold":
        return set()
    parts: list[set[Any] | None]
    if isinstance(manifest.get("runs"), list):
        parts = [_trained_by_run(run, manifest.get("data_sha256"), ids) for run in manifest["runs"]]
    elif isinstance(manifest.get("sources"), list):
        parts = [_trained(source, ids) if isinstance(source, Mapping) else None for source in manifest["sources"]]
    else:
        return None
    if not parts:
        return None
    found: set[Any] = set()
    for part in parts:
        if part is None:
            return None
        found |= part
    return found


def _trained_by_run(entry: Any, data_sha256: Any, ids: set[Any]) -> set[Any] | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("run"), str):
        return None
    try:
        identity = read_run(Path(entry["run"])).manifest.get("identity", {})
    except TrashkitError:
        return None
    trained = identity.get("training images") if isinstance(identity, Mapping) else None
    if not isinstance(trained, list) or identity.get("data") != data_sha256:
        return None
    return {value for value in trained if isinstance(value, int | str)} & ids
