"""Limits on address space, as by ``ulimit -v``: libraries end with a segmentation fault where they reach them."""

from __future__ import annotations

import ctypes
import os
import sys

from trashkit.errors import TrashkitError

LEAST = 1 << 30
"""Bytes of address space without which numpy and OpenCV cannot be loaded safely."""
PLENTY = 8 << 30
"""Bytes from which on nothing needs to be saved."""
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")


def fit_address_space() -> None:
    """Use little address space where it is limited; call before numpy and OpenCV are loaded.

    Each thread reserves stacks, buffers and heaps, and OpenBLAS does not check whether it gets them. Raises
    TrashkitError where the limit is too small to load them at all.
    """
    limit = _limit()
    if limit is None or limit >= PLENTY:
        return
    if limit < LEAST:
        raise TrashkitError(
            f"the limit on address space is {limit >> 20} MiB, and at least {LEAST >> 20} MiB are needed",
            hint=f"raise it, as with `ulimit -v {2 * LEAST >> 10}` or `ulimit -v unlimited`",
        )
    for name in THREADS:
        os.environ.setdefault(name, "1")
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc only
        if mallopt is not None:
            mallopt(-8, 1)  # M_ARENA_MAX: one heap for all threads


def _limit() -> int | None:
    """The soft limit in bytes, None where there is none."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit
