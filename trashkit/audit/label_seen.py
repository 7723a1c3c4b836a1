"""Whether the model behind a store saw an image in training: then its probabilities say little about the label."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trashkit.errors import TrashkitError
from trashkit.run import read_run
from trashkit.store import Probabilities


def seen_in_training(store: Probabilities) -> set[Any] | None:
    """Ids of the store's images that a model behind it was trained on; None where the store does not say.

    Out-of-fold stores were predicted by models that did not see the image. Others name their runs, whose manifests say
    what they were trained on; a run that is gone, or was trained on another file, leaves it open.
    """
    return _seen(store.manifest, set(store.image_ids))


def _seen(manifest: Mapping[str, Any], ids: set[Any]) -> set[Any] | None:
    if manifest.get("kind") == "out-of-fold":
        return set()
    parts: list[set[Any] | None]
    if isinstance(manifest.get("runs"), list):
        parts = [_seen_by_run(run, manifest.get("data_sha256"), ids) for run in manifest["runs"]]
    elif isinstance(manifest.get("sources"), list):
        parts = [_seen(source, ids) if isinstance(source, Mapping) else None for source in manifest["sources"]]
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


def _seen_by_run(entry: Any, data_sha256: Any, ids: set[Any]) -> set[Any] | None:
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
