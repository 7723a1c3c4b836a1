"""``trashkit export``: a run as one file that predicts without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.output import Json, Overwrite, command, note, show
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder of one training.")],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="OUT.onnx", help="File to write.")],
    images: Annotated[
        Path | None,
        typer.Option("--images", help="Folder of photos (also in its folders) to check it on; random pixels without."),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a run to ONNX, and check that onnxruntime gives the same probabilities.

    Normalisation, softmax, class names and size are inside the file, so `trashkit predict OUT.onnx` needs nothing else,
    and no torch.

    Examples:

      trashkit export runs/first --onnx first.onnx

      trashkit export runs/first --onnx first.onnx --images photos

      trashkit predict first.onnx phone.jpg --overlay seen
    """
    from trashkit.files import refuse_existing

    if onnx.suffix.lower() != ".onnx":
        raise TrashkitError(f"{onnx} does not end in .onnx, and predict would not know it", hint="--onnx OUT.onnx")
    refuse_existing(onnx, overwrite=overwrite)
    from trashkit.nn.export import export as run_export
    from trashkit.run import read_run

    checked = _photos(images, read_run(run).spec.size) if images is not None else None
    made = run_export(run, onnx, checked=checked, overwrite=overwrite)
    result = {
        "onnx": made.path,
        "bytes": made.bytes,
        "checked": made.photos,
        "largest_difference": made.difference,
        "agreement": made.agreement,
    }
    what = "photos" if images is not None else "images of random pixels"
    human = (
        f"{made.bytes / 1e6:.1f} MB; on {made.photos} {what} onnxruntime's probabilities differ from torch's "
        f"by at most {made.difference:.1e}, {made.agreement:.2%} of the pixels get the same class"
    )
    following = command("predict", onnx, "PHOTO", "--overlay", "seen")
    show(result, json=json, human=human, wrote=onnx, next=following)


def _photos(folder: Path, size: tuple[int, int], most: int = 8) -> NDArray[np.uint8]:
    """The first photos that can be read, at the network's size."""
    import numpy as np

    from trashkit.photos import read_photo
    from trashkit.report.describe import photos_in
    from trashkit.sampling import resize_photo

    found: list[NDArray[np.uint8]] = []
    for path in photos_in([folder]):
        try:
            found.append(resize_photo(read_photo(path), size))
        except TrashkitError as error:
            note(f"left out of the check: {error.message}")
        if len(found) == most:
            break
    if not found:
        raise TrashkitError(f"no photo in {folder} can be read", hint="choose another --images, or leave it out")
    return np.stack(found)
