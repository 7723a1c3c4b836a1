"""NPZ archives: named arrays of known kinds, whose declared sizes are checked before anything is allocated."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from trashkit.readers.content import ContentError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST = 512 << 20


def decode_npz(data: bytes, wanted: Mapping[str, tuple[str, int]], *, most: int = 0) -> dict[str, NDArray[Any]]:
    """Return arrays of an NPZ archive by name.

    wanted: for each name the allowed dtype kinds, such as "iu" for integers, and the number of dimensions. most: bytes
    of all of them together, counting 8 for each number, since they are computed with as 64-bit numbers; by default 512
    MiB, or 200 times the size of the archive if that is more. Nothing is unpickled. Raises ContentError for a damaged
    archive, and for arrays that are missing, of another kind, or too large.
    """
    import numpy as np

    found: dict[str, NDArray[Any]] = {}
    most = most or max(_MOST, 200 * len(data))
    left = most
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for name, (kinds, dimensions) in wanted.items():
                try:
                    member = archive.open(f"{name}.npy")
                except KeyError:
                    raise ContentError(f"it has no array {name}") from None
                with member:
                    shape, dtype = array_header(member)
                    size = math.prod(shape) * max(dtype.itemsize, 8)
                    if dtype.kind not in kinds or len(shape) != dimensions:
                        raise ContentError(f"its array {name} is {dtype} with {len(shape)} dimensions")
                    left -= size
                    if left < 0:
                        raise ContentError(f"its arrays are larger than {most >> 20} MiB")
                with archive.open(f"{name}.npy") as member:
                    found[name] = np.lib.format.read_array(member, allow_pickle=False)
    except ContentError:
        raise
    except MemoryError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, OverflowError) as error:
        raise ContentError(f"it is damaged ({' '.join(str(error).split())[:120]})") from error
    except Exception as error:  # numpy parses headers with ast, zipfile fields with struct
        raise ContentError("it is damaged") from error
    return found


def array_header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype that a file in NumPy's .npy format declares. member: open for reading at its start.

    Raises ContentError for negative lengths, and what NumPy raises for a damaged header.
    """
    import numpy as np

    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    if any(length < 0 for length in shape):
        raise ContentError("an array has a negative length")
    return shape, dtype
