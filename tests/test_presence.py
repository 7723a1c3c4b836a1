"""What a photo shows: files of it, and predictions weighed by it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trashkit.errors import TrashkitError
from trashkit.postprocess import postprocess
from trashkit.presence import FLOOR, Presence, read_presence, weigh, write_presence
from trashkit.store import create_store, open_store

NAMES = ("Background", "Paper", "Glass")


def made(shares: list[list[float]], ids: tuple[object, ...] = (7, 9)) -> Presence:
    return Presence(NAMES[1:], ids, tuple(f"{one}.jpg" for one in ids), np.array(shares), {"encoders": ["a"]})


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
def test_weighing_moves_probability_between_objects_alone(seed: int, power: float) -> None:
    random = np.random.default_rng(seed)
    values = random.dirichlet(np.ones(3), (4, 5)).transpose(2, 0, 1).astype(np.float32)
    shares = random.dirichlet(np.ones(2))
    weighed = weigh(values, shares, power)
    np.testing.assert_array_equal(weighed[0], values[0])
    np.testing.assert_allclose(weighed.sum(axis=0), 1, atol=1e-5)
    odds = (weighed[1] / weighed[2]) / (values[1] / values[2])
    np.testing.assert_allclose(odds, ((shares[0] + FLOOR) / (shares[1] + FLOOR)) ** power, rtol=1e-3)


def test_weighing_leaves_what_it_must() -> None:
    values = np.array([[[1.0, 0.2]], [[0.0, 0.5]], [[0.0, 0.3]]], np.float32)
    np.testing.assert_allclose(weigh(values, np.array([0.3, 0.7]), 0.0), values, atol=1e-6)
    assert weigh(values, np.array([0.1, 0.9]))[:, 0, 0].tolist() == [1.0, 0.0, 0.0]  # nothing but background
    assert weigh(values, np.array([0.1, 0.9]))[:, 0, 1].argmax() == 2


def test_a_file_reads_back_and_is_the_same_again(tmp_path: Path) -> None:
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
    with pytest.raises(TrashkitError, match=r"presence\.json is no presence file"):
        read_presence(path)


def test_other_images_and_classes_are_named() -> None:
    presence = made([[0.5, 0.5], [0.5, 0.5]])
    with pytest.raises(TrashkitError, match=r"lacks 8\.jpg"):
        presence.of([7, 8], ["7.jpg", "8.jpg"], NAMES[1:])
    with pytest.raises(TrashkitError, match="other classes: Metal"):
        presence.of([7], ["7.jpg"], ["Paper", "Glass", "Metal"])


def test_a_store_is_weighed_and_says_so(tmp_path: Path) -> None:
    values = np.array([[[0.1]], [[0.5]], [[0.4]]], np.float32)
    with create_store(
        tmp_path / "store", image_ids=[7, 9], file_names=["7.jpg", "9.jpg"], native_sizes=[(1, 1)] * 2, classes=NAMES,
        size=(1, 1), manifest={},
    ) as writer:  # fmt: skip
        writer.write(0, values)
        writer.write(1, values)
    presence = made([[0.1, 0.9], [0.9, 0.1]])
    reports = postprocess(open_store(tmp_path / "store"), tmp_path / "out", [], presence=presence)
    weighed = open_store(tmp_path / "out")
    assert [int(weighed.label_map(row)[0, 0]) for row in (0, 1)] == [2, 1]
    assert (reports[0].name, reports[0].images, reports[0].erased["Paper"]) == ("presence, to the power of 1", 1, 1)
    assert json.loads(json.dumps(weighed.manifest))["power"] == 1.0
    with pytest.raises(TrashkitError, match="no step is named"):
        postprocess(open_store(tmp_path / "store"), tmp_path / "none", [])
