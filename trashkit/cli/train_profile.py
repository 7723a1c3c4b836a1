"""``trashkit train --profile``: where the time of a training goes."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from trashkit.cli.output import note, progress, show, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trashkit.coco import Dataset
    from trashkit.nn.extra import ExtraSet
    from trashkit.nn.folds import Job


def show_profile(
    job: Job,
    dataset: Dataset,
    images: Path,
    extra: Sequence[ExtraSet],
    steps: int,
    *,
    device: str,
    shard: bool,
    json: bool,
) -> None:
    """Time so many steps of a job and show the shares."""
    from trashkit.nn.cache import content_hash
    from trashkit.nn.folds import beside, is_main_process
    from trashkit.nn.profile import profile
    from trashkit.nn.record import TrainData

    with progress() as report, TemporaryDirectory(prefix="trashkit-profile-") as cache:
        content = content_hash(dataset, job.train, images, report)
        data = TrainData(dataset, images, job.train, (), content, beside(extra, job, images))
        found = profile(
            job.config, data, steps=steps, cache=Path(cache), device=device, shard=shard, say=note, progress=report
        )
    if not is_main_process(device):
        return
    rate = found.images / found.total
    result = {
        "steps": found.steps,
        "images": found.images,
        "seconds": found.seconds,
        "images_per_second": rate,
        "peak_memory": found.memory,
    }
    rows = [
        [phase, f"{1000 * seconds / found.steps:.2f}", f"{seconds / found.total:.1%}"]
        for phase, seconds in found.seconds.items()
    ]
    closing = f"{rate:.1f} images/s over {found.steps} steps"
    if found.memory is not None:
        closing += f", at most {found.memory / 2**30:.2f} GiB on the GPU"
    human: list[Any] = [
        table(["phase", "ms per step", "share"], rows),
        closing,
        "nothing was trained or written (--profile)",
    ]
    show(result, json=json, human=human)
