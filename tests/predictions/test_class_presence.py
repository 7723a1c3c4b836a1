"""Class presence: its file, and predictions reweighted by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.errors import TrashkitError
from trashkit.predictions.class_presence import FLOOR, ClassPresence, read_presence, reweight, write_presence
from trashkit.predictions.postprocess import postprocess
from trashkit.predictions.store import create_store, open_store

NAMES = ("Background", "Paper", "Glass")


def made(shares: list[list[float]], ids: tuple[object, ...] = (7, 9)) -> ClassPresence:
    return ClassPresence(NAMES[1:], ids, tuple(f"{one}.jpg" for one in ids), np.array(shares), {"encoders": ["a"]})


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_reweighting_moves_probability_between_objects_only(seed: int, power: float) -> None:
    random = np.random.default_rng(seed)
    values = random.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    shares = random.dirichlet(np.ones(2))
    reweighted = reweight(values, shares, power)
    np.testing.assert_array_equal(reweighted[0], values[0])
    np.testing.assert_allclose(reweighted.sum(axis=0), 1, atol=1e-5)
    odds = (reweighted[1] / reweighted[2]) / (values[1] / values[2])
    np.testing.assert_allclose(odds, ((shares[0] + FLOOR) / (shares[1] + FLOOR)) ** power, rtol=1e-3)


def test_reweighting_keeps_what_it_must_not_change() -> None:
    values = np.array([[[1.0, 0.2]], [[0.0, 0.5]], [[0.0, 0.3]]], np.float32)
    np.testing.assert_allclose(reweight(values, np.array([0.3, 0.7]), 0.0), values, atol=1e-6)
    assert reweight(values, np.array([0.1, 0.9]))[:, 0, 0].tolist() == [1.0, 0.0, 0.0]  # nothing but background
    assert reweight(values, np.array([0.1, 0.9]))[:, 0, 1].argmax() == 2


def test_a_file_round_trips(tmp_path: Path) -> None:
    presence = made([[0.25, 0.75], [1.0, 0.0]])
    write_presence(presence, tmp_path / "a.json")
    back = read_presence(tmp_path / "a.json")
    assert (back.classes, back.image_ids, back.file_names, back.source) == (
        presence.classes,
        presence.image_ids,
        presence.file_names,
        presence.source,
    )
    np.testing.assert_array_equal(back.shares, presence.shares)
    write_presence(back, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    # rows by image, columns by class
    assert back.of([9, 7], ["9.jpg", "7.jpg"], ["Glass", "Paper"]).tolist() == [[0.0, 1.0], [0.75, 0.25]]


def _file(image: str) -> str:
    return f'{{"format": "trashkit-presence", "classes": ["Paper"], "images": [{image}]}}'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": "other"}',
        _file(""),
        _file('{"id": 1, "file_name": "a", "shares": [-1]}'),
        _file('{"id": 1, "file_name": "a", "shares": [NaN]}'),
        _file('{"id": 1, "shares": [1]}'),
        _file('{"id": 1, "file_name": "a", "shares": [1, 2]}'),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "presence.json"
    path.write_text(text)
    with pytest.raises(TrashkitError, match=r"presence\.json is not a presence file"):
        read_presence(path)


def test_other_images_and_classes_are_named() -> None:
    presence = made([[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(TrashkitError, match=r"lacks 8\.jpg"):
        presence.of([7, 8], ["7.jpg", "8.jpg"], NAMES[1:])
    with pytest.raises(TrashkitError, match="different classes: Metal"):
        presence.of([7], ["7.jpg"], ["Paper", "Glass", "Metal"])


def test_a_reweighted_store_is_recorded_in_its_manifest(tmp_path: Path) -> None:
    values = np.array([[[0.1]], [[0.5]], [[0.4]]], np.float32)
    with create_store(
        tmp_path / "store", image_ids=[7, 9], file_names=["7.jpg", "9.jpg"], native_sizes=[(1, 1)] * 2, classes=NAMES,
        size=(1, 1), manifest={},
    ) as writer:  # fmt: skip
        writer.write(0, values)
        writer.write(1, values)
    presence = made([[0.1, 0.9], [0.9, 0.1]])
    reports = postprocess(open_store(tmp_path / "store"), tmp_path / "out", [], presence=presence)
    reweighted = open_store(tmp_path / "out")
    assert [int(reweighted.label_map(row)[0, 0]) for row in (0, 1)] == [2, 1]
    assert (reports[0].name, reports[0].images, reports[0].erased["Paper"]) == ("presence, to the power of 1", 1, 1)
    assert json.loads(json.dumps(reweighted.manifest))["power"] == 1.0
    with pytest.raises(TrashkitError, match="no step is given"):
        postprocess(open_store(tmp_path / "store"), tmp_path / "none", [])


GOOD = {
    "format": "trashkit-presence",
    "version": 1,
    "classes": ["Paper", "Glass"],
    "source": {},
    "images": [{"id": 7, "file_name": "7.jpg", "shares": [0.5, 0.5]}],
}
WRONG: dict[str, object] = {
    "nested": "[" * 5000 + "]" * 5000,
    "a list": [],
    "no images": GOOD | {"images": []},
    "images are a text": GOOD | {"images": "abc"},
    "image is a list": GOOD | {"images": [[]]},
    "id is a list": GOOD | {"images": [{"id": [], "file_name": "7.jpg", "shares": [0.5, 0.5]}]},
    "name is a number": GOOD | {"images": [{"id": 7, "file_name": 7, "shares": [0.5, 0.5]}]},
    "shares of one": GOOD | {"images": [{"id": 7, "file_name": "7.jpg", "shares": [1.0]}]},
    "shares are NaN": GOOD | {"images": [{"id": 7, "file_name": "7.jpg", "shares": [0.5, float("nan")]}]},
    "shares are huge": GOOD | {"images": [{"id": 7, "file_name": "7.jpg", "shares": [0.5, 1e308]}]},
    "shares are negative": GOOD | {"images": [{"id": 7, "file_name": "7.jpg", "shares": [1.5, -0.5]}]},
    "classes twice": GOOD | {"classes": ["Paper", "Paper"]},
    "classes are a text": GOOD | {"classes": "ab"},
    "source is a list": GOOD | {"source": []},
    "seen is a text": GOOD | {"source": {"seen": "many"}},
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG)
def test_wrong_files_are_one_line(tmp_path: Path, content: object) -> None:
    (tmp_path / "a.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(TrashkitError, match="is not a presence file: "):
        read_presence(tmp_path / "a.json")
