"""Named cases: each was, or might have been, answered with a crash, a hang, too much memory or half an output."""

# ruff: noqa: E501  a case is easier to read on one line
from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fuzz_binary import bomb_npz, npy, onnx_model, png
from fuzz_json import FORGED, nested

Damage = Callable[[Path], None]


@dataclass(frozen=True)
class NamedCase:
    """A command and its damaged file.

    needs: files and folders of trashkit 0.1.0 (tests/fixtures/v0_1) to copy. code: the exit code that is expected.
    encoding: of stdout and stderr.
    """

    name: str
    command: str
    needs: str
    damage: Damage
    code: int = 2
    encoding: str = "utf-8"


DEEP = nested(100_000)
DEEP_OBJECT = nested(100_000, "{")
LONG = "9" * 5000


def text(path: str, content: str) -> Damage:
    """Write a file."""

    def damage(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content.encode(errors="surrogatepass"))

    return damage


def data(path: str, content: Callable[[], bytes]) -> Damage:
    """Write a file of bytes."""

    def damage(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content())

    return damage


def more(path: str, content: str) -> Damage:
    """Append to a file."""

    def damage(folder: Path) -> None:
        with (folder / path).open("a") as file:
            file.write(content)

    return damage


def arrays(content: Callable[[], bytes]) -> Damage:
    """Write an array for each photo of the test part."""
    return each(
        *(
            data(f"a/{name}.npy", content)
            for name in ("batch 03/0011", "batch_01/0005", "batch_02/0008", "배치_04/0019")
        )
    )


def pipe(path: str) -> Damage:
    """Put a pipe in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / path).unlink(missing_ok=True)
        os.mkfifo(folder / path)

    return damage


def link(path: str, target: str) -> Damage:
    """Put a link in the place of a file."""

    def damage(folder: Path) -> None:
        (folder / path).unlink(missing_ok=True)
        (folder / path).symlink_to(target)

    return damage


def changed(path: str, change: Callable[[Any], Any]) -> Damage:
    """Change the value of a JSON file, in place or by what `change` returns."""

    def damage(folder: Path) -> None:
        value = json.loads((folder / path).read_text())
        new = change(value)
        (folder / path).write_text(json.dumps(value if new is None else new))

    return damage


def put(path: str, *keys: Any, value: Any) -> Damage:
    """Replace one value in a JSON file, by its keys and positions."""

    def change(whole: Any) -> None:
        for key in keys[:-1]:
            whole = whole[key]
        whole[keys[-1]] = value

    return changed(path, change)


def each(*damages: Damage) -> Damage:
    """All of these."""

    def damage(folder: Path) -> None:
        for one in damages:
            one(folder)

    return damage


def _hostile_evidence(folder: Path) -> None:
    for path in (folder / "leaderboard.evidence").iterdir():
        path.write_bytes(bomb_npz("cells", 1 << 20))


def _like_without_id(folder: Path) -> None:
    value = json.loads((folder / TRUTH).read_text())
    del value["annotations"][0]["id"]
    (folder / "l.json").write_text(json.dumps(value))


def _like(folder: Path) -> None:
    value = json.loads((folder / "data/truth.json").read_text())
    value["annotations"][0]["image_id"] = [[1]]
    (folder / "l.json").write_text(json.dumps(value))


def _cvat(mask: str) -> str:
    return f'<annotations><image id="0" name="a.jpg" width="64" height="64">{mask}</image></annotations>'


def _label_studio(rle: Any, **more_keys: Any) -> str:
    value = {"format": "rle", "rle": rle, "brushlabels": ["Paper"]}
    result = {"type": "brushlabels", "original_width": 64, "original_height": 64, "value": value, **more_keys}
    return json.dumps([{"data": {"image": "a.jpg"}, "annotations": [{"result": [result]}]}])


TRAIN, TRUTH, TEST = "data/train.json", "data/truth.json", "data/test.json"
PHOTOS = "data/images"
SUBMIT = "submit test-store --data data/test.json --size 32 --out o.csv"
SCORE = "score test-store --truth data/truth.json --size 32"
LABEL_STUDIO = "data import label-studio t.json --out o.json"
CVAT = "data import cvat a.xml --out o.json"
FORGED_NAME = f"a.jpg\nnext: {FORGED}\n::error::{FORGED}"

CASES: tuple[NamedCase, ...] = (
    # nesting and long numbers
    NamedCase("deep-annotations", "audit a.json", "", text("a.json", '{"images":' + DEEP + "}")),
    NamedCase("deep-predicted-annotations", "submit from-coco p.json --data data/test.json --out o.csv", TEST, text("p.json", DEEP)),
    NamedCase("deep-recipe", "recipes show a.toml", "", text("a.toml", f"x = {DEEP}")),
    NamedCase("dotted-recipe", "recipes show a.toml", "", text("a.toml", "a" + ".a" * 20_000 + " = 1")),
    NamedCase("long-number-in-a-recipe", "recipes show a.toml", "", text("a.toml", f"epochs = {LONG}")),
    NamedCase("deep-audit-settings", f"audit {TRAIN} --config a.toml", TRAIN, text("a.toml", f"[audit]\nx = {DEEP}")),
    NamedCase("deep-baseline", f"audit {TRAIN} --baseline b.json", TRAIN, text("b.json", DEEP_OBJECT)),
    NamedCase("long-number-in-a-baseline", f"audit {TRAIN} --baseline b.json", TRAIN, text("b.json", f'{{"version": {LONG}}}')),
    NamedCase("deep-groups", f"split {TRUTH} --folds 2 --trials 10 --groups file:g.json --out o.json", TRUTH, text("g.json", DEEP_OBJECT)),
    NamedCase("deep-split", f"split check s.json --data {TRUTH}", TRUTH, text("s.json", DEEP_OBJECT)),
    NamedCase("deep-profile", f"submit check submission.csv --data {TEST} --profile p.json", f"{TEST} submission.csv", text("p.json", DEEP_OBJECT)),
    NamedCase("deep-manifest", "runs .", "run", text("run/manifest.json", DEEP_OBJECT), code=0),
    NamedCase("deep-metrics", "runs .", "run", text("run/metrics.jsonl", DEEP_OBJECT), code=0),
    NamedCase("deep-header-of-a-store", SCORE, f"test-store {TRUTH}", text("test-store/zarr.json", DEEP_OBJECT)),
    NamedCase("deep-presence", "postprocess test-store --presence p.json --out o", "test-store", text("p.json", DEEP_OBJECT)),
    NamedCase("deep-edit", "edits show review.jsonl", "review.jsonl", more("review.jsonl", f"{DEEP_OBJECT}\n")),
    NamedCase("deep-ledger", "leaderboard list", "leaderboard.jsonl", more("leaderboard.jsonl", f"{DEEP_OBJECT}\n"), code=0),
    NamedCase("deep-note", "submit trace submission.csv", "submission.csv", text("submission.csv.json", DEEP_OBJECT)),
    NamedCase("deep-findings", f"review {TRUTH} --images {PHOTOS} --findings f.json --html o.html", f"{TRUTH} {PHOTOS}", text("f.json", DEEP_OBJECT)),
    NamedCase("deep-cvat", CVAT, "", text("a.xml", "<a>" * 100_000)),
    NamedCase("cvat-entities", CVAT, "", text("a.xml", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>')),
    NamedCase("deep-label-studio", LABEL_STUDIO, "", text("t.json", DEEP)),
    # declared sizes
    NamedCase("cvat-mask-of-10-gb", CVAT, "",
              text("a.xml", _cvat('<mask label="a" rle="1, 9999999999" left="0" top="0" width="100000" height="100000"/>'))),
    NamedCase("cvat-runs-beyond-64-bits", CVAT, "",
              text("a.xml", _cvat('<mask label="a" rle="99999999999999999999, 1" left="0" top="0" width="8" height="8"/>'))),
    NamedCase("label-studio-runs-as-a-number", LABEL_STUDIO, "", text("t.json", _label_studio(100_000_000))),
    NamedCase("label-studio-huge-image", LABEL_STUDIO, "",
              text("t.json", _label_studio([0, 0, 0, 255], original_width=100_000, original_height=100_000))),
    NamedCase("huge-native-sizes", f"score mix --truth {TRUTH} --native", f"mix {TRUTH}",
              put("mix/zarr.json", "attributes", "native_sizes", value=[[60_000, 60_000]] * 4)),
    NamedCase("huge-native-sizes-in-a-submission", "submit mix --data data/test.json --profile png --out o", f"mix {TEST}",
              put("mix/zarr.json", "attributes", "native_sizes", value=[[60_000, 60_000]] * 4)),
    NamedCase("huge-shape-of-a-store", "ensemble test-store mix --out o", "test-store mix", put("mix/zarr.json", "shape", value=[4, 11, 10**6, 10**6])),
    NamedCase("chunk-of-a-terabyte", SCORE, f"test-store {TRUTH}",
              data("test-store/c.1.0.0.0", lambda: b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x01\0\0")),
    NamedCase("huge-png-label-map", "data import masks m --out o.json", "",
              each(text("m/classes.txt", "Background\nA\n"), data("m/labels/a.png", lambda: png(60_000, 60_000)))),
    NamedCase("huge-array", f"data import predictions a --data {TEST} --size 32 --out o", TEST,
              arrays(lambda: npy((11, 10**6, 10**6), "<f4", b""))),
    NamedCase("array-with-an-empty-side", f"data import predictions a --data {TEST} --size 32 --out o", TEST,
              arrays(lambda: npy((11, 0, 0), "<f4", b""))),
    NamedCase("array-of-3-gb-in-3-mb", f"data import predictions a --data {TEST} --size 32 --out o", TEST,
              data("a/batch_01/0005.npz", lambda: bomb_npz("a"))),
    # types inside
    NamedCase("import-annotation-that-is-a-list", f"data import coco {TRUTH} --out o.json", TRUTH, put(TRUTH, "annotations", value=[[]])),
    NamedCase("like-a-file-with-an-annotation-without-an-id", f"data import coco {TRUTH} --like l.json --out o.json", TRUTH, _like_without_id),
    NamedCase("like-a-file-with-a-list-for-an-id", f"data import coco {TRUTH} --like l.json --out o.json", TRUTH, _like),
    NamedCase("array-that-overflows", f"data import predictions a --data {TEST} --size 32 --out o", TEST,
              arrays(lambda: npy((11, 32, 32), "<f8", b"\0\0\0\0\0\0\xe0\x7f" * 11 * 32 * 32))),
    *(NamedCase(f"file-name-that-is-{what}", f"data import predictions a --data {TEST} --size 32 --out o", TEST,
                each(put(TEST, "images", 0, "file_name", value=name), arrays(lambda: npy((11, 32, 32), "<f4", b""))))
      for what, name in (("a-dot", "."), ("a-slash", "/"), ("two-dots", ".."))),
    NamedCase("finding-with-a-number-for-a-message", f"review {TRUTH} --images {PHOTOS} --findings f.json --html o.html", f"{TRUTH} {PHOTOS}",
              text("f.json", '{"summary": {}, "findings": [{"code": "G003", "name": "a", "severity": "error", "block": "images", "row": 0, "message": 1.5}]}')),
    NamedCase("split-with-a-number-for-a-list", "split show split.json", "split.json",
              put("split.json", "quality", "per_class", value=5)),
    NamedCase("metrics-without-seconds", "report run --out o.html", "run", text("run/metrics.jsonl", '{"epoch": 1, "step": 1}\n[]\n3\n')),
    NamedCase("class-score-that-is-a-text", "report run --out o.html", "run", put("run/manifest.json", "scores", "iou", value={"a": 0.5, "b": "c"})),
    NamedCase("evidence-out-of-range", "leaderboard proxy", "leaderboard.jsonl leaderboard.evidence",
              _hostile_evidence),
    NamedCase("note-without-paths", "submit trace submission.csv", "submission.csv", text("submission.csv.json", '{"sha256": [], "store": 3}')),
    NamedCase("columns-that-are-numbers", f"submit check submission.csv --data {TEST} --profile p.toml", f"{TEST} submission.csv",
              text("p.toml", 'kind = "csv"\ncolumns = [1, 2]\n')),
    *(NamedCase(f"class-with-half-a-character-in-{form}", f"data export {form} {TRUTH} --images {PHOTOS} --out o", f"{TRUTH} {PHOTOS}",
                put(TRUTH, "categories", 0, "name", value="half \ud800"))
      for form in ("voc", "yolo", "labelme", "cvat", "label-studio", "huggingface", "masks", "mmsegmentation", "cityscapes", "ade20k")),
    NamedCase("class-with-half-a-character-in-label-maps", f"data masks {TRUTH} --out o", TRUTH, put(TRUTH, "categories", 0, "name", value="half \ud800")),
    # places
    NamedCase("annotations-are-a-pipe", f"audit {TRAIN}", TRAIN, pipe(TRAIN)),
    NamedCase("annotations-are-endless", f"audit {TRAIN}", TRAIN, link(TRAIN, "/dev/zero")),
    NamedCase("annotations-are-a-circle", f"audit {TRAIN}", TRAIN, link(TRAIN, "train.json")),
    NamedCase("edit-log-is-a-pipe", "edits show review.jsonl", "review.jsonl", pipe("review.jsonl")),
    NamedCase("submission-is-a-pipe", f"submit check submission.csv --data {TEST} --size 32", f"submission.csv {TEST}", pipe("submission.csv")),
    NamedCase("submission-is-endless", f"submit check submission.csv --data {TEST} --size 32", f"submission.csv {TEST}",
              link("submission.csv", "/dev/zero")),
    NamedCase("photo-is-a-pipe", f"audit {TRUTH} --images {PHOTOS}", f"{TRUTH} {PHOTOS}", pipe(f"{PHOTOS}/batch_01/0005.jpg"), code=1),
    NamedCase("photo-is-endless", f"audit {TRUTH} --images {PHOTOS}", f"{TRUTH} {PHOTOS}", link(f"{PHOTOS}/batch_01/0005.jpg", "/dev/zero"), code=1),
    NamedCase("photo-is-a-circle", f"review {TRUTH} --images {PHOTOS} --html o.html", f"{TRUTH} {PHOTOS}",
              link(f"{PHOTOS}/batch_01/0005.jpg", "0005.jpg"), code=0),
    NamedCase("chunk-is-a-pipe", SCORE, f"test-store {TRUTH}", pipe("test-store/c.1.0.0.0")),
    NamedCase("chunk-is-endless", SCORE, f"test-store {TRUTH}", link("test-store/c.1.0.0.0", "/dev/zero")),
    NamedCase("recipe-is-a-pipe", "recipes show small.toml", "small.toml", pipe("small.toml")),
    NamedCase("ledger-is-a-folder", "leaderboard list", "", lambda folder: (folder / "leaderboard.jsonl").mkdir()),
    # terminal
    NamedCase("names-with-line-ends", f"audit {TRUTH} --fail-on never", TRUTH, put(TRUTH, "images", 0, "file_name", value=FORGED_NAME), code=0),
    NamedCase("names-with-line-ends-for-github", f"audit {TRUTH} --fail-on never --format github", TRUTH,
              put(TRUTH, "images", 0, "file_name", value=FORGED_NAME), code=0),
    NamedCase("invisible-category", f"audit {TRUTH} --fail-on never", TRUTH,
              put(TRUTH, "categories", 0, "name", value="a\u200b\u200f\u061c\U000e0041\x1b[2J"), code=0),
    NamedCase("ascii-terminal", f"audit {TRAIN} --fail-on never", TRAIN, lambda folder: None, code=0, encoding="ascii"),
    NamedCase("ascii-terminal-of-github", f"audit {TRAIN} --fail-on never --format github", TRAIN, lambda folder: None, code=0, encoding="ascii"),
    NamedCase("ascii-terminal-of-a-submission", f"{SUBMIT} --train {TRUTH}", f"test-store {TEST} {TRUTH}", lambda folder: None, code=0,
              encoding="ascii"),
)  # fmt: skip

_GOOD = {
    "format": "trashkit model", "version": 1, "size": [32, 32], "class_names": ["Background", "A", "B"],
    "class_colors": [[0, 0, 0], [9, 9, 9], [99, 9, 9]],
}  # fmt: skip


def _model(changes: dict[str, Any] | None = None, raw: str = "", **network: Any) -> Damage:
    metadata = raw or json.dumps({**_GOOD, **(changes or {})})
    return data("m.onnx", lambda: onnx_model({"trashkit": metadata}, **network))


if find_spec("onnx") and find_spec("onnxruntime"):
    _ONNX: dict[str, Damage] = {
        "deep-metadata": _model(raw='{"format":' + DEEP + "}"),
        "size-of-zero": _model({"size": [0, 0]}),
        "size-of-minus-one": _model({"size": [-1, 32]}),
        "size-of-nan": _model({"size": [float("nan"), 32]}),
        "size-as-text": _model({"size": "ab"}),
        "huge-size": _model({"size": [10**6, 10**6]}, size=("h", "w")),
        "wrong-input": _model(name="images"),
        "more-outputs-than-names": _model(classes=7),
        "nan-weights": _model(weight=float("nan")),
        "infinite-weights": _model(weight=float("inf")),
    }
    CASES += tuple(
        NamedCase(f"onnx-{name}{end}", f"predict m.onnx {words}", f"{TEST} {PHOTOS}", damage)
        for name, damage in _ONNX.items()
        for end, words in (
            ("", f"{PHOTOS}/batch_01/0001.jpg --overlay o"),
            ("-store", f"--data {TEST} --images {PHOTOS} --size 32 --out o"),
        )
    )
    CASES += (
        NamedCase("onnx-endless-name-of-a-class", f"predict m.onnx {PHOTOS}/batch_01/0001.jpg --overlay o", PHOTOS,
                  _model({"class_names": ["Background", "A", "b" * 100_000]}), code=0),
    )  # fmt: skip

CASES_BY_NAME = {case.name: case for case in CASES}
