"""Augmentations from YAML and JSON files, and invalid files."""

from __future__ import annotations

import json

import albumentations as A
import numpy as np
import pytest

from trashkit.errors import TrashkitError
from trashkit.nn.data.augment import IGNORE, make_augment
from trashkit.nn.data.augment_file import ALLOWED, read_augment_file
from trashkit.nn.training.choices import setting_choices
from trashkit.settings.training import resolve

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
    assert seen == {0, 3, 9, IGNORE}  # what a turn brings in is not background
    assert augment(*pair(), (0,), (24, 32))[1].shape == (24, 32)


def test_files_written_by_albumentations_are_read(tmp_path):
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
        ("a.yaml", "- HorizontalFlop: {}\n", "closest: HorizontalFlip"),
        ("a.yaml", "- Lambda: {}\n", "not a supported transform"),
        ("a.yaml", "- FDA: {reference_images: [/etc/passwd]}\n", "not a supported transform"),
        ("a.yaml", "- !!python/object/apply:os.system ['true']\n", "could not determine a constructor"),
        ("a.yaml", "- HorizontalFlip: {q: 1}\n", "q"),
        ("a.yaml", "- Rotate: {mask_interpolation: 1}\n", "mask_interpolation must be 0"),
        ("a.yaml", "- OneOf: {p: 1}\n", "OneOf needs transforms"),
        ("a.yaml", "- Affine: {rotate: north}\n", "cannot be used"),
        ("a.yaml", "HorizontalFlip\n", "not contain a list"),
        ("a.yaml", "- 7\n", "is not a transform"),
        ("a.yaml", "[: :", "cannot be used"),
        ("a.json", "{", "cannot be used"),
        ("a.json", '{"transform": {"__class_fullname__": "os.system", "p": 1}}', "not contain a list"),
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
    assert resolve(None, ["data.augment=mine.yaml"], choices=setting_choices()).data.augment == "mine.yaml"
    with pytest.raises(TrashkitError, match="choices: strong"):
        resolve(None, ["data.augment=stron"], choices=setting_choices())


WRONG = {
    "deep.json": "[" * 5000 + "]" * 5000,
    "deep.yaml": "[" * 5000 + "]" * 5000,
    "aliases.yaml": "a: &a [1]\nb: [*a, *a]",
    "tag.yaml": "!!python/object/apply:os.system [ls]",
    "long.json": "[" + "9" * 5000 + "]",
    "latin.yaml": b"- \xe9",
    "resize.yaml": "- Resize: {height: 1000000, width: 1000000}",
    "pad.yaml": "- PadIfNeeded: {min_height: 1000000, min_width: 1000000}",
    "scale.yaml": "- RandomScale: {scale_limit: 1000, p: 1.0}",
    "percent.yaml": "- CropAndPad: {percent: 1000.0, p: 1.0}",
    "blur.yaml": "- Blur: {blur_limit: 1000000000, p: 1.0}",
    "inner.yaml": "- OneOf: {transforms: [{Resize: {height: 1000000, width: 1000000}}]}",
    "holes.yaml": "- CoarseDropout: {num_holes_range: [1000000000, 1000000000], p: 1.0}",
    "infinite.yaml": "- Rotate: {limit: .inf, p: 1.0}",
    "number.yaml": "- 3",
    "list.yaml": "- [HorizontalFlip]",
    "key.yaml": "- 5: {}",
}


@pytest.mark.parametrize("name", WRONG)
def test_files_of_strangers_are_one_line(tmp_path, name):
    content = WRONG[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TrashkitError) as refused:
        read_augment_file(tmp_path / name)
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 400
