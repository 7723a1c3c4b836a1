"""Mutations of arrays, pictures, models and chunks: what their headers declare."""

# ruff: noqa: E501  tables of values are easier to read in long lines
from __future__ import annotations

import io
import json
import random
import struct
import zipfile
import zlib
from functools import cache
from typing import Any

import numpy as np
from fuzz_json import TEXTS, junk, mutate_value

_SHAPES = (
    (0,), (), (1,), (-1,), (2**31,), (2**63 - 1,), (2**62, 2**62), (2**40, 0), (60_000, 60_000), (11, 0, 0), (11, 1, 1), (0, 32, 32),
    (3, 32, 32), (11, 32, 32), (1,) * 32, (1,) * 80, (32, 32), (64, 64), (1 << 16, 1 << 16, 3), (5, 5, 5, 5),
)  # fmt: skip
_DTYPES = (
    "<f4", "<f8", ">f4", "<f2", "|u1", "<i8", "<u8", "|b1", "<c16", "|O", "<U5", "|S3", "<M8[s]", "|V8", "<U99999999", "<f16", "junk",
    [("a", "<f4"), ("b", "|O")],
)  # fmt: skip


def npy(shape: Any, dtype: Any, data: bytes, version: bytes = b"\x01\x00") -> bytes:
    """An NPY file that declares any shape and type."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(header)) + header + data


def _odd_values(array: Any, rng: random.Random) -> bytes:
    kind = rng.random()
    values = np.array(array)
    if kind < 0.3 and values.size:
        values = values.astype(np.float64)
        values.flat[rng.randrange(values.size)] = rng.choice([np.nan, np.inf, -np.inf, -1, 1e300, 0.5, 2**63])
    elif kind < 0.5:
        values = np.full_like(values, rng.choice([0, 1, 255]))
    elif kind < 0.65:
        values = values.astype(
            rng.choice(["f2", "f8", ">f4", "u1", "i8", "u8", "?", "c16", "U5", "S3"]), casting="unsafe"
        )
    elif kind < 0.75:
        values = values[..., : rng.choice([0, 1, 2])]
    elif kind < 0.85:
        values = values[None] if kind < 0.8 else values.reshape(-1)
    else:
        values = np.concatenate([values, values]) if values.ndim else values
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def mutate_npy(data: bytes, rng: random.Random) -> bytes:
    """A mutated NPY file."""
    if rng.random() < 0.4:
        shape, dtype = rng.choice(_SHAPES), rng.choice(_DTYPES)
        return npy(
            shape,
            dtype,
            data[128 : rng.choice([128, 200, len(data)])],
            rng.choice([b"\x01\x00"] * 3 + [b"\x02\x00", b"\x09\x00"]),
        )
    return _odd_values(np.load(io.BytesIO(data)), rng)


@cache
def _bomb(size: int) -> bytes:
    """A deflate stream of `size` zeros that is made in a moment."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size >> 20) + packer.flush()


def bomb_npz(name: str, size: int = 3 << 30) -> bytes:
    """An NPZ archive of 3 MB with an array of 3 GB."""
    stream, file = _bomb(size), f"{name}.npy".encode()
    sizes = (0, len(stream), size)
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, *sizes, len(file), 0) + file + stream
    entry = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, *sizes, len(file), 0, 0, 0, 0, 0, 0) + file
    return local + entry + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, len(entry), len(local), 0)


def mutate_npz(data: bytes, rng: random.Random) -> bytes:
    """A mutated NPZ archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    if rng.random() < 0.08:
        return bomb_npz(rng.choice(sorted(members)).removesuffix(".npy"))
    name = rng.choice(sorted(members))
    way = rng.random()
    if way < 0.7:
        members[name] = mutate_npy(members[name], rng)
    elif way < 0.8:
        del members[name]
    elif way < 0.9:
        members[name] = members[name][: rng.randrange(len(members[name]))]
    else:
        members[rng.choice(["../x.npy", "/x", "a" * 200, name + "x"])] = members.pop(name)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return out.getvalue()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its right checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, color: int = 2, data: bytes = b"") -> bytes:
    """A PNG file that declares any size."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(data))
        + png_chunk(b"IEND", b"")
    )


_SIDES = (0, 1, 2, 63, 64, 65, 20_000, 60_000, 65_535, 2**31 - 1, 2**32 - 1)


def mutate_png(data: bytes, rng: random.Random) -> bytes:
    """A mutated PNG file."""
    if not data.startswith(b"\x89PNG") or rng.random() < 0.3:
        sides = rng.choice(_SIDES), rng.choice(_SIDES)
        return png(
            *sides,
            rng.choice([1, 2, 4, 8, 16, 3]),
            rng.choice([0, 2, 3, 4, 6, 9]),
            bytes(rng.choice([0, 64, 65 * 64, 193 * 64])),
        )
    chunks, at = [], 8
    while at + 12 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append([data[at + 4 : at + 8], data[at + 8 : at + 8 + size]])
        at += 12 + size
    way = rng.random()
    chunk = rng.choice(chunks)
    if way < 0.4:
        header = bytearray(chunks[0][1])
        field = rng.randrange(5)
        header[0:8] = struct.pack(
            ">II", *(rng.choice(_SIDES) if field == n else v for n, v in enumerate(struct.unpack(">II", header[:8])))
        )
        if field >= 2:
            header[8 + rng.randrange(5)] = rng.choice([0, 1, 2, 3, 4, 8, 16, 255])
        chunks[0][1] = bytes(header)
    elif way < 0.55:
        chunks.remove(chunk)
    elif way < 0.7:
        chunk[1] = chunk[1][: rng.randrange(len(chunk[1]) + 1)]
    elif way < 0.85:
        chunk[1] = zlib.compress(rng.randbytes(64 * 65))
    else:
        kind = rng.choice([b"iCCP", b"zTXt", b"tRNS", b"PLTE", b"gAMA", b"eXIf", b"acTL"])
        chunks.insert(1, [kind, rng.choice([b"", b"a\0\0" + zlib.compress(bytes(50_000_000)), rng.randbytes(300)])])
    return data[:8] + b"".join(png_chunk(kind, content) for kind, content in chunks)


def mutate_jpeg(data: bytes, rng: random.Random) -> bytes:
    """A mutated JPEG file, or another kind of file with its name."""
    way = rng.random()
    if way < 0.45:
        start = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2"))
        sides = [rng.choice([0, 1, 63, 64, 65, 20_000, 65_535]) for _ in range(2)]
        return data[: start + 5] + struct.pack(">HH", *sides) + data[start + 9 :]
    if way < 0.6:
        exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01" + rng.randbytes(rng.choice([0, 4, 40]))
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + data[2:]
    if way < 0.8:
        return mutate_png(b"", rng)
    return rng.choice([
        b"<svg xmlns='http://www.w3.org/2000/svg' width='1e9' height='1e9'/>", b"GIF89a\xff\xff\xff\xff\0\0\0", b"%PDF-1.4",
        b"BM" + bytes(16) + struct.pack("<ii", 60_000, 60_000) + bytes(60), b"II*\0\x08\0\0\0\xff\xff" + bytes(200), b"P6 60000 60000 255\n",
        b"RIFF\xff\xff\xff\x7fWEBPVP8 " + bytes(40), b"PF\n60000 60000\n-1\n", b"\x76\x2f\x31\x01\x02\0\0\0" + bytes(60), data[:-2] * 2,
    ])  # fmt: skip


def mutate_chunk(data: bytes, rng: random.Random) -> bytes:
    """A chunk of a store: of wrong length, or a zstd frame that declares or holds too much."""
    frame = b"\x28\xb5\x2f\xfd"
    return rng.choice([
        b"", data[: rng.randrange(len(data) + 1)], data * 2, rng.randbytes(len(data)), frame, data + b"\0", bytes(len(data)),
        frame + b"\xe0" + struct.pack("<Q", 1 << 40) + b"\x01\0\0",  # declares 1 TB
        frame + b"\xe0" + struct.pack("<Q", 11 * 1024) + struct.pack("<I", (11 * 1024) << 3 | 3)[:3] + b"\xff",  # one byte, repeated
        frame + b"\xa0" + struct.pack("<I", 3 << 30) + b"".join(b"\x02\0\x10\0" for _ in range(1500)) + b"\x03\0\x10\0",
    ])  # fmt: skip


def mutate_safetensors(data: bytes, rng: random.Random) -> bytes:
    """A checkpoint whose header lies."""
    size = struct.unpack("<Q", data[:8])[0]
    way = rng.random()
    if way < 0.2:
        return struct.pack("<Q", rng.choice([0, 1, size - 1, 1 << 40, 2**64 - 1])) + data[8:]
    text = mutate_value(json.loads(data[8 : 8 + size]), rng).encode(errors="surrogatepass")
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def onnx_model(metadata: dict[str, str], *, size: tuple[Any, Any] = (32, 32), classes: Any = 3, name: str = "photos", kind: int = 2,
               outputs: int = 1, weight: float = 0.01) -> bytes:  # fmt: skip
    """A network of one convolution, uint8 [B, 3, H, W] to probabilities float32 [B, C, H, W], as trashkit exports them."""
    from onnx import TensorProto, helper, numpy_helper

    weights = np.full((classes, 3, 1, 1), weight, np.float32)
    weights[::2] = 0
    photo = helper.make_tensor_value_info(name, kind, ["batch", 3, *size])
    given = [helper.make_tensor_value_info(f"p{n}", TensorProto.FLOAT, None) for n in range(outputs)]
    nodes = [
        helper.make_node("Cast", [name], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["f", "w"], ["l"]),
        *(helper.make_node("Softmax", ["l"], [f"p{n}"], axis=1) for n in range(outputs)),
    ]
    graph = helper.make_graph(nodes, "g", [photo], given, [numpy_helper.from_array(weights, "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, metadata)
    return bytes(model.SerializeToString())


def mutate_onnx(data: bytes, rng: random.Random) -> bytes:
    """A model with other metadata, sizes, inputs, outputs and values."""
    import onnx

    metadata = {one.key: one.value for one in onnx.load_from_string(data).metadata_props}
    way = rng.random()
    changes: dict[str, Any] = {}
    if way < 0.6:
        text = mutate_value(json.loads(metadata["trashkit"]), rng)
        metadata["trashkit"] = text.encode(errors="replace").decode()
    elif way < 0.7:
        metadata = rng.choice(
            [
                {},
                {"trashkit": ""},
                {"trashkit": junk(rng)[:100_000].encode(errors="replace").decode()},
                {rng.choice(TEXTS[:3]) or "x": ""},
            ]
        )
    else:
        changes = rng.choice([
            {"size": (0, 0)}, {"size": (16, 16)}, {"size": (32, 64)}, {"size": ("h", "w")}, {"classes": 1}, {"classes": 7}, {"name": "images"},
            {"kind": 1}, {"outputs": 2}, {"weight": float("nan")}, {"weight": 1e38}, {"weight": float("inf")}, {"size": (100_000, 100_000)},
        ])  # fmt: skip
    return onnx_model(metadata, **changes)
