"""What trashkit relies on in zarr, private API included: a failure names what a new version changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from trashkit.predictions.zarr_api import create_array, is_plain, open_array


@pytest.fixture
def path(tmp_path: Path) -> Path:
    create_array(tmp_path / "store", shape=(3, 2, 4, 5), dtype="uint8", attributes={"key": [1, "two"]})
    return tmp_path / "store"


def test_chunk_key_encodings_are_where_they_were() -> None:
    try:
        from zarr.core.chunk_key_encodings import ChunkKeyEncodingLike
    except ImportError as error:
        pytest.fail(f"zarr moved ChunkKeyEncodingLike out of zarr.core.chunk_key_encodings: {error}")
    assert ChunkKeyEncodingLike is not None


def test_one_chunk_per_image_in_one_flat_folder(path: Path) -> None:
    open_array(path, "r+")[1] = np.ones((2, 4, 5), np.uint8)
    names = {entry.name for entry in path.iterdir()}
    assert names == {"zarr.json", "c.1.0.0.0"}, "zarr names or places chunks in another way"


def test_the_metadata_has_the_keys_that_the_header_reads(path: Path) -> None:
    metadata = json.loads((path / "zarr.json").read_bytes())
    assert metadata["shape"] == [3, 2, 4, 5]
    assert metadata["data_type"] == "uint8"
    assert metadata["node_type"] == "array"
    assert metadata["attributes"] == {"key": [1, "two"]}
    assert metadata["chunk_grid"]["configuration"]["chunk_shape"] == [1, 2, 4, 5]
    assert metadata["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "."}}
    assert [codec["name"] for codec in metadata["codecs"]] == ["bytes", "zstd"], "zarr packs chunks in another way"


def test_chunks_of_the_fill_value_are_written(path: Path) -> None:
    open_array(path, "r+")[0] = np.zeros((2, 4, 5), np.uint8)
    assert (path / "c.0.0.0.0").exists(), "zarr's with_config no longer takes write_empty_chunks"


def test_the_codecs_of_an_array_are_known(path: Path) -> None:
    array = open_array(path, "r")
    assert hasattr(array.metadata, "codecs"), "zarr moved array.metadata.codecs"
    assert is_plain(array), "zarr's codecs have other classes or another byte order"


def test_a_chunk_is_plain_zstd(path: Path) -> None:
    from numcodecs.zstd import Zstd

    values = np.arange(40, dtype=np.uint8).reshape(2, 4, 5)
    open_array(path, "r+")[2] = values
    unpacked = np.frombuffer(Zstd().decode((path / "c.2.0.0.0").read_bytes()), np.uint8)
    assert np.array_equal(unpacked.reshape(values.shape), values), "zarr puts something around packed chunks"
