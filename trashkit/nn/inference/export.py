"""Export a run to a self-contained ONNX file with normalisation, softmax, class names and image size."""

from __future__ import annotations

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trashkit import __version__
from trashkit.errors import TrashkitError
from trashkit.files import sha256
from trashkit.nn.models.networks import Segmenter, load_run_model
from trashkit.outputs import Output
from trashkit.runs.run import read_run

FORMAT = "trashkit model"
TOLERANCE = 1e-3
"""Largest accepted difference between the probabilities of torch and onnxruntime."""
OPSET = 18


@dataclass(frozen=True)
class Exported:
    """Result of `export`.

    difference: largest difference between the probabilities of torch and onnxruntime. agreement: share of pixels with
    the same class. photos: number of photos compared. bytes: file size.
    """

    path: Path
    difference: float
    agreement: float
    photos: int
    bytes: int


class _Probabilities(nn.Module):
    """Maps photos uint8 [B, 3, H, W] to probabilities [B, C, H, W]."""

    def __init__(self, model: Segmenter) -> None:
        super().__init__()
        self.model = model

    def forward(self, photos: Tensor) -> Tensor:
        logits: Tensor = self.model(photos)
        return logits.softmax(dim=1)


def export(
    run_dir: Path, out: Path, *, checked: NDArray[np.uint8] | None = None, seed: int = 0, overwrite: bool = False
) -> Exported:
    """Export a run to the ONNX file `out` and verify that onnxruntime gives the same probabilities as torch.

    checked: photos uint8 [B, H, W, 3] at the run's size to compare on; None: random pixels. Raises TrashkitError, and
    writes nothing, if onnx or onnxruntime is missing, the network cannot be exported, or probabilities differ by more
    than TOLERANCE.
    """
    onnx, onnxruntime = _packages()
    run = read_run(run_dir)
    model = load_run_model(run_dir, "cpu")
    network = _Probabilities(model).eval()
    # The exporter does not support the channels-last memory format.
    network.to(memory_format=torch.contiguous_format)
    height, width = model.size
    if checked is None:
        checked = np.random.default_rng(seed).integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    example = torch.from_numpy(np.ascontiguousarray(checked[:2].transpose(0, 3, 1, 2)))
    if len(example) < 2:
        example = example.repeat(2, 1, 1, 1)
    metadata = {
        "format": FORMAT,
        "version": 1,
        "trashkit": __version__,
        "class_names": list(model.class_names),
        "class_colors": [list(color) for color in model.class_colors],
        "size": [height, width],
        "architecture": run.spec.architecture,
        "encoder": run.spec.encoder,
        "run": str(run_dir),
        "checkpoint_sha256": sha256(run.checkpoint),
    }
    with Output(out, overwrite=overwrite).writing() as temporary:
        _write(network, example, temporary)
        content = onnx.load(str(temporary))
        entry = content.metadata_props.add()
        entry.key, entry.value = "trashkit", json.dumps(metadata, ensure_ascii=False)
        onnx.checker.check_model(content)
        onnx.save(content, str(temporary))
        difference, agreement = _parity(network, onnxruntime, temporary, checked)
        if not difference <= TOLERANCE:
            raise TrashkitError(
                f"probabilities of onnxruntime and torch differ by up to {difference:.4f}",
                hint="nothing was written; try another version of onnxruntime or torch",
            )
    return Exported(out, difference, agreement, len(checked), out.stat().st_size)


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401  torch's exporter needs it
    except ImportError as error:
        raise TrashkitError(
            f"export needs the package {error.name}", hint="pip install 'trashkit[train,onnx]'"
        ) from error
    return onnx, onnxruntime


def _write(network: nn.Module, example: Tensor, path: Path) -> None:
    log_level = logging.getLogger("torch.onnx").level
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example,),
                str(path),
                input_names=["photos"],
                output_names=["probabilities"],
                dynamic_shapes={"photos": {0: torch.export.Dim("batch", min=1, max=4096)}},
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise TrashkitError(f"this network cannot be exported: {text}", hint="try another architecture") from error
    finally:
        logging.getLogger("torch.onnx").setLevel(log_level)


@torch.inference_mode()
def _parity(network: nn.Module, onnxruntime: Any, path: Path, photos: NDArray[np.uint8]) -> tuple[float, float]:
    """Largest difference between probabilities, and share of pixels with the same class."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst, same = 0.0, []
    for photo in photos:
        batch = np.ascontiguousarray(photo.transpose(2, 0, 1))[None]
        ours = network(torch.from_numpy(batch)).numpy()
        theirs = session.run(None, {"photos": batch})[0]
        worst = max(worst, float(np.abs(ours - theirs).max()))
        same.append(float((ours.argmax(1) == theirs.argmax(1)).mean()))
    return worst, float(np.mean(same))
