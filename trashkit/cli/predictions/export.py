"""``trashkit export``: a run as one file that predicts without torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trashkit.cli.options import Json, Overwrite
from trashkit.cli.output import command, note, show, unused
from trashkit.cli.training.finished import example_photo
from trashkit.errors import TrashkitError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder.")],
    onnx: Annotated[Path, typer.Option("--onnx", metavar="OUT.onnx", help="File to write.")],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images", "-i", help="Folder of photos to verify the export on, with subfolders; default: random pixels."
        ),
    ] = None,
    overwrite: Overwrite = False,
    json: Json = False,
) -> None:
    """Export a run to ONNX, and check that onnxruntime gives the same probabilities.

    The file includes normalisation, softmax, class names and image size, so `trashkit predict OUT.onnx` needs nothing
    else, not even torch.

    Examples:

      trashkit export runs/first --onnx first.onnx

      trashkit export runs/first --onnx first.onnx --images photos

      trashkit predict first.onnx phone.jpg --overlay seen
    """
    from trashkit.outputs import Output

    if onnx.suffix.lower() != ".onnx":
        raise TrashkitError(f"{onnx} does not end in .onnx, so predict would not recognise it", hint="--onnx OUT.onnx")
    Output(onnx, overwrite=overwrite).check()
    from trashkit.nn.inference.export import export as run_export
    from trashkit.runs.run import read_run

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
    photo = example_photo(read_run(run))
    following = command("predict", onnx, photo, "--overlay", unused("overlays")) if photo is not None else ""
    show(result, json=json, human=human, wrote=onnx, next=following)


def _photos(folder: Path, size: tuple[int, int], most: int = 8) -> NDArray[np.uint8]:
    """The first photos that can be read, at the network's size."""
    import numpy as np

    from trashkit.images.photos import read_photo
    from trashkit.images.sampling import resize_photo
    from trashkit.report.photo_overlays import photos_in

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
