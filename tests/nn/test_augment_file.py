"""Augmentations of one's own from YAML and JSON, and what is refused."""

from __future__ import annotations

import json

import albumentations as A
import numpy as np
import pytest

from trashkit.config import resolve
from trashkit.errors import TrashkitError
from trashkit.nn.augment import IGNORE, make_augment
from trashkit.nn.augment_file import ALLOWED, read_augment_file
from trashkit.nn.choices import names

SHORT = """
- HorizontalFlip: {p: 0.5}
- Affine: {rotate: [-30, 30], p: 1.0}
- OneOf:
    p: 0.5
    transforms: [{GaussianBlur: {}}, CLAHE]
"""


def pair():
    generator = np.random.default_rng(0)
    labels = generator.choice(np.array([0, 3, 9], np.uint8), (70, 90))
    return generator.integers(0, 256, (70, 90, 3), dtype=np.uint8), labels


def test_the_short_form_is_used_at_network_size(tmp_path):
    (tmp_path / "own.yaml").write_text(SHORT)
    augment = make_augment(str(tmp_path / "own.yaml"), 48)
    seen = set()
    for n in range(12):
        photo, labels = augment(*pair(), (n,))
        assert photo.shape == (48, 48, 3)
        assert labels.shape == (48, 48)
        seen |= set(np.unique(labels).tolist())
        assert np.array_equal(photo, augment(*pair(), (n,))[0])
    assert seen == {0, 3, 9, IGNORE}  # what a turn brings in is no background
    assert augment(*pair(), (0,), (24, 32))[1].shape == (24, 32)


def test_what_albumentations_writes_is_read(tmp_path):
    own = A.Compose([A.RandomResizedCrop((40, 40), scale=(0.3, 1.0)), A.VerticalFlip(p=1.0)])
    (tmp_path / "own.json").write_text(json.dumps(A.to_dict(own)))
    read = read_augment_file(tmp_path / "own.json")
    assert read.crops
    photo, labels = make_augment(str(tmp_path / "own.json"), 40)(*pair(), (5,))
    assert photo.shape == (40, 40, 3)
    assert set(np.unique(labels)) <= {0, 3, 9}


def test_a_crop_without_size_follows_the_network(tmp_path):
    (tmp_path / "own.yml").write_text("- RandomResizedCrop: {scale: [0.2, 0.5]}\n")
    augment = make_augment(str(tmp_path / "own.yml"), 32)
    assert augment(*pair(), (1,))[0].shape == (32, 32, 3)
    assert augment(*pair(), (1,), (64, 64))[0].shape == (64, 64, 3)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.yaml", "- HorizontalFlop: {}\n", "nearest: HorizontalFlip"),
        ("a.yaml", "- Lambda: {}\n", "no transform that may be used"),
        ("a.yaml", "- FDA: {reference_images: [/etc/passwd]}\n", "no transform that may be used"),
        ("a.yaml", "- !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a.yaml", "- HorizontalFlip: {q: 1}\n", "q"),
        ("a.yaml", "- Rotate: {mask_interpolation: 1}\n", "mask_interpolation must be 0"),
        ("a.yaml", "- OneOf: {p: 1}\n", "OneOf needs transforms"),
        ("a.yaml", "- Affine: {rotate: north}\n", "cannot be used"),
        ("a.yaml", "HorizontalFlip\n", "holds no list"),
        ("a.yaml", "- 7\n", "is no transform"),
        ("a.yaml", "[: :", "cannot be used"),
        ("a.json", "{", "cannot be used"),
        ("a.json", '{"transform": {"__class_fullname__": "os.system", "p": 1}}', "holds no list"),
    ],
)
def test_bad_files_are_named_in_one_line(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(TrashkitError) as caught:
        make_augment(str(tmp_path / name), 32)
    assert str(tmp_path / name) in caught.value.message
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TrashkitError, match="cannot be read"):
        read_augment_file(tmp_path / "none.yaml")


def test_every_allowed_name_exists_and_the_setting_takes_files():
    assert all(hasattr(A, name) for name in ALLOWED)
    assert resolve(None, ["data.augment=mine.yaml"], choices=names()).data.augment == "mine.yaml"
    with pytest.raises(TrashkitError, match="choices: strong"):
        resolve(None, ["data.augment=stron"], choices=names())
