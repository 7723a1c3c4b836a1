"""Models from elsewhere: one line before anything is written, whatever they take and give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from trashkit.cli.app import app  # noqa: E402
from trashkit.errors import TrashkitError  # noqa: E402
from trashkit.predictions.onnx import load  # noqa: E402

SIDE, NAMES = 8, ["Background", "Paper", "Glass"]
METADATA: dict[str, Any] = {
    "format": "trashkit model",
    "size": [SIDE, SIDE],
    "class_names": NAMES,
    "class_colors": [[0, 0, 0], [9, 9, 9], [20, 20, 20]],
}
Values = np.ndarray[Any, np.dtype[np.float32]]


def constant(shape: tuple[int, ...] = (1, 3, SIDE, SIDE), values: tuple[float, ...] = (0.5, 0.3, 0.2)) -> Values:
    """Probabilities [1, C, H, W] that are equal everywhere, one value per class."""
    table = np.resize(np.array(values, np.float32), shape[1])
    return np.broadcast_to(table[None, :, None, None], shape).astype(np.float32)


def write_model(
    path: Path,
    metadata: Any = METADATA,
    values: Values | None = None,
    *,
    name: str = "photos",
    kind: int = TensorProto.UINT8,
    shape: tuple[int, ...] = (1, 3, SIDE, SIDE),
    outputs: int = 1,
    floor: float = 0.0,
) -> Path:
    """Write a model that adds `floor` times the sum of the photo to a constant output."""
    values = constant() if values is None else values
    nodes = [
        helper.make_node("Cast", [name], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["floats"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "floor"], ["scaled"]),
    ]
    nodes += [helper.make_node("Add", ["values", "scaled"], [f"out{n}"]) for n in range(outputs)]
    constants = [
        helper.make_tensor("values", TensorProto.FLOAT, values.shape, values.ravel()),
        helper.make_tensor("floor", TensorProto.FLOAT, (), [floor]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape)],
        [helper.make_tensor_value_info(f"out{n}", TensorProto.FLOAT, values.shape) for n in range(outputs)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    if metadata is not None:
        helper.set_model_props(model, {"trashkit": metadata if isinstance(metadata, str) else json.dumps(metadata)})
    onnx.save(model, str(path))
    return path


def about(**changes: Any) -> dict[str, Any]:
    return METADATA | changes


def of(**options: Any) -> Callable[[Path], Path]:
    return lambda path: write_model(path, **options)


NAN = float("nan")
WRONG: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no metadata": (of(metadata=None), "does not name its classes"),
    "metadata is nested": (of(metadata="[" * 9000), "nested more than 100"),
    "metadata is a list": (of(metadata=[]), "expected object"),
    "metadata holds a long integer": (of(metadata='{"size": ' + "9" * 5000 + "}"), "4300 digits"),
    "size 0": (of(metadata=about(size=[0, 8])), "size is 8x0"),
    "size -1": (of(metadata=about(size=[-1, -1])), "size is -1x-1"),
    "size is huge": (of(metadata=about(size=[10**6, 10**6])), "size is 1000000x1000000"),
    "size is NaN": (of(metadata=about(size=[NAN, 8])), r"at size\[0\]: expected int"),
    "size is text": (of(metadata=about(size="8x8")), "at size"),
    "size of three": (of(metadata=about(size=[8, 8, 8])), "at size"),
    "one class": (of(metadata=about(class_names=["a"], class_colors=[[0, 0, 0]])), "2 to 255 classes"),
    "equal classes": (of(metadata=about(class_names=["a", "a", "b"])), "different names"),
    "names are numbers": (of(metadata=about(class_names=[1, 2, 3])), r"at class_names\[0\]"),
    "names are one text": (of(metadata=about(class_names="abc")), "at class_names"),
    "colors are missing": (of(metadata=about(class_colors=[])), "RGB color for each class"),
    "colors out of range": (of(metadata=about(class_colors=[[0, 0, 300]] * 3)), "RGB color for each class"),
    "run is a list": (of(metadata=about(run=[])), "at run"),
    "another input name": (of(name="x"), "has the inputs x"),
    "floats as input": (of(kind=TensorProto.FLOAT), "cannot predict"),
    "another input shape": (of(shape=(1, 3, 9, 9)), "cannot predict"),
    "one channel": (of(shape=(1, 1, SIDE, SIDE)), "cannot predict"),
    "two outputs": (of(outputs=2), "2 outputs"),
    "more outputs than names": (of(values=constant((1, 4, SIDE, SIDE))), "shape"),
    "fewer outputs than names": (of(values=constant((1, 2, SIDE, SIDE))), "shape"),
    "another output size": (of(values=constant((1, 3, 4, 4))), "shape"),
    "no batch": (of(values=constant()[0]), "shape"),
    "an empty output": (of(values=np.zeros((1, 3, 0, 8), np.float32)), "shape"),
    "NaN": (of(values=constant(values=(NAN, 0.3, 0.2))), "not at least 0"),
    "infinite": (of(values=constant(values=(float("inf"), 0.3, 0.2))), "not at least 0"),
    "negative": (of(values=constant(values=(1.5, -0.5, 0.0))), "not at least 0"),
    "logits": (of(values=constant(values=(5.0, 3.0, 2.0))), "softmax"),
}


def command(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def photos(folder: Path) -> Path:
    (folder / "photos").mkdir()
    cv2.imwrite(str(folder / "photos/a.png"), np.full((12, 16, 3), 200, np.uint8))
    images = [{"id": 1, "file_name": "a.png", "width": 16, "height": 12}]
    (folder / "data.json").write_text(json.dumps({"images": images, "categories": [], "annotations": []}))
    return folder / "photos"


def test_a_model_that_gives_probabilities_is_read(tmp_path: Path) -> None:
    model = load(write_model(tmp_path / "m.onnx"))
    assert (model.size, model.class_names) == ((SIDE, SIDE), tuple(NAMES))
    folder = photos(tmp_path)
    assert command("predict", tmp_path / "m.onnx", folder, "--overlay", tmp_path / "seen").exit_code == 0


@pytest.mark.parametrize(("write", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_model_is_one_line_before_anything_is_written(
    tmp_path: Path, write: Callable[[Path], Path], message: str
) -> None:
    with pytest.raises(TrashkitError, match=message) as refused:
        load(write(tmp_path / "m.onnx"))
    assert "\n" not in refused.value.message


@pytest.mark.parametrize("name", ["size 0", "NaN", "more outputs than names", "floats as input"])
def test_a_wrong_model_leaves_neither_overlay_nor_store(tmp_path: Path, name: str) -> None:
    model, folder = WRONG[name][0](tmp_path / "m.onnx"), photos(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    seen = command("predict", model, folder, "--overlay", tmp_path / "seen")
    stored = command(
        "predict", model, "--data", tmp_path / "data.json", "--images", folder, "--out", tmp_path / "store"
    )
    assert (seen.exit_code, stored.exit_code) == (2, 2), seen.output + stored.output
    assert sorted(tmp_path.rglob("*")) == before


def test_a_model_that_fails_on_the_photo_only_leaves_no_store(tmp_path: Path) -> None:
    model, folder = write_model(tmp_path / "m.onnx", floor=1.0), photos(tmp_path)  # right where the photo is black
    before = sorted(tmp_path.rglob("*"))
    stored = command(
        "predict", model, "--data", tmp_path / "data.json", "--images", folder, "--out", tmp_path / "store"
    )
    assert stored.exit_code == 2
    assert "does not give probabilities" in stored.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"\x08\x07", b"\xff" * 64, None])
def test_files_that_are_not_models_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = write_model(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    with pytest.raises(TrashkitError) as refused:
        load(path)
    assert "\n" not in refused.value.message
