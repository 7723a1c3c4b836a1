"""Mutated files: no check may crash or hang, and the output must be valid JSON."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trashkit.audit import audit
from trashkit.audit.example import clean_file
from trashkit.audit.output.findings_json import json_pieces
from trashkit.coco import Coco, read
from trashkit.errors import TrashkitError

JUNK: list[Any] = [
    None, -1, 0, 1, 1e308, -1e308, 1e-320, float("nan"), float("inf"), float("-inf"), "", "x" * 50, [], {}, [[]],
    [[[]]], True, False, "../../etc/passwd", "1", [1, 2, 3], {"size": [1, 1], "counts": "!!"}, 2**70, -(2**63),
    10**400, {"size": [5, 5], "counts": [3, 99]},
    {"size": [480, 640], "counts": [0, 480 * 640]}, {"id": 1}, "\ud800", "\x00",
    {"size": [480, 640], "counts": [10, 300, 480 * 640 - 310]}, [[0, 0, 0, 0, 0, 0]], [[1, 1, 5, 5, 1, 5, 5, 1]],
    [[-1e9, 0, 1e9, 0, 0, 1e9]], [[1e5, 1e5, 2e5, 1e5, 2e5, 2e5]],
]  # fmt: skip


def small_file() -> dict[str, Any]:
    coco = clean_file()
    coco["annotations"] = coco["annotations"][:18]
    coco["images"] = coco["images"][:2]
    coco["scene_annotations"] = [{"image_id": 1, "background_ids": [0]}]
    coco["scene_categories"] = [{"id": 0, "name": "Clean"}]
    return coco


def mutated(rng: random.Random) -> dict[str, Any]:
    coco = small_file()
    for _ in range(rng.randint(1, 8)):
        node: Any = coco
        while isinstance(node, dict | list) and node:
            key = rng.choice(list(node)) if isinstance(node, dict) else rng.randrange(len(node))
            if rng.random() < 0.2 or not isinstance(node[key], dict | list) or not node[key]:
                if rng.random() < 0.3:
                    del node[key]
                elif isinstance(node, list) and rng.random() < 0.2:
                    node.append(copy.deepcopy(rng.choice(node)))
                else:
                    node[key] = copy.deepcopy(rng.choice(JUNK))
                break
            node = node[key]
    return coco


def audited(coco: Coco) -> list[Any]:
    made = json.loads(b"".join(json_pieces(audit(coco, against=coco))))
    assert made["summary"]["findings"] == len(made["findings"])
    for finding in made["findings"]:
        assert isinstance(finding["annotation_id"], int | str | None)
        assert isinstance(finding["image_id"], int | str | None)
        assert isinstance(finding["message"], str) and "\n" not in finding["message"]
        rows = coco.count(finding["block"])
        assert finding["row"] is None or 0 <= finding["row"] < rows
    return list(made["findings"])


def examples(count: int) -> settings:
    return settings(max_examples=count, deadline=None, suppress_health_check=list(HealthCheck))


@given(st.integers(0, 2**32))
@examples(80)
def test_mutated_files_can_be_audited(tmp_path_factory: Any, seed: int) -> None:
    audit_mutated(tmp_path_factory, seed)


@pytest.mark.slow
@given(st.integers(0, 2**32))
@examples(300)
def test_many_mutated_files_can_be_audited(tmp_path_factory: Any, seed: int) -> None:
    audit_mutated(tmp_path_factory, seed)


def audit_mutated(tmp_path_factory: Any, seed: int) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "mutated.json"
    path.write_text(json.dumps(mutated(random.Random(seed))))
    audited(read(path))


JSON = st.recursive(
    st.sampled_from([value for value in JUNK if not isinstance(value, dict | list)]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "image_id", "size"]), inner),
    max_leaves=8,
)
FIELDS = ["id", "image_id", "category_id", "segmentation", "area", "bbox", "iscrowd", "file_name", "width", "height"]
ROW = st.dictionaries(st.sampled_from([*FIELDS, "name", "license"]), JSON) | JSON


BLOCKS = st.dictionaries(
    st.sampled_from(["images", "annotations", "categories", "licenses", "x"]), st.lists(ROW) | JSON
)


@given(BLOCKS)
@examples(50)
def test_rows_of_any_values_can_be_audited(coco: dict[str, Any]) -> None:
    audited(Coco.of(coco))


@pytest.mark.slow
@given(BLOCKS)
@examples(200)
def test_many_rows_of_any_values_can_be_audited(coco: dict[str, Any]) -> None:
    audited(Coco.of(coco))


@given(st.integers(0, 2**32))
@examples(60)
def test_truncated_files_are_refused_with_the_place_or_audited(tmp_path_factory: Any, seed: int) -> None:
    rng = random.Random(seed)
    text = json.dumps(small_file())
    path: Path = tmp_path_factory.getbasetemp() / "cut.json"
    path.write_text(text[: rng.randrange(len(text))])
    try:
        audited(read(path))
    except TrashkitError as error:
        assert "line" in error.message or "empty" in error.message
