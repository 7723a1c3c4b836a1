"""One store of out-of-fold probabilities from those of all folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trashkit.coco import Dataset
from trashkit.predictions.store import Probabilities, create_store, open_store


def join_stores(
    stores: Sequence[Path], dataset: Dataset, out: Path, *, resume: bool = False, overwrite: bool = False
) -> None:
    """Write one store with the images of all stores, in the data set's order.

    Images that several stores have get the mean. All must have the same classes and size. resume: continue an
    unfinished `out` of the same stores.
    """
    opened = [open_store(path) for path in stores]
    holders: dict[Any, list[tuple[Probabilities, int]]] = {}
    for store in opened:
        for row, image_id in enumerate(store.image_ids):
            holders.setdefault(image_id, []).append((store, row))
    images = [image for image in dataset.images if image.id in holders]
    with create_store(
        out,
        image_ids=[image.id for image in images],
        file_names=[image.file_name for image in images],
        native_sizes=[(image.height, image.width) for image in images],
        classes=opened[0].classes,
        size=opened[0].size,
        dtype=opened[0].dtype,
        manifest={
            "kind": "out-of-fold",
            "stores": [store.fingerprint for store in opened],
            "sources": [store.manifest for store in opened],
        },
        resume=resume and out.exists(),
        overwrite=overwrite,
    ) as writer:
        for row in np.flatnonzero(~writer.done).tolist():
            values = [store.read(n) for store, n in holders[images[row].id]]
            writer.write(row, np.mean(values, axis=0, dtype=np.float32))
