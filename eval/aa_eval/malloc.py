"""Heap: when glibc gives freed memory back to the system; other C libraries are left alone."""

from __future__ import annotations

import ctypes
import math
import mmap
import sys
from contextlib import suppress
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_HUGE_PAGE = 2**21
AnyNumber = TypeVar("AnyNumber", np.uint8, np.float32)

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of mallopt, in glibc's malloc.h
_KEPT_BYTES = 32 * 2**20  # the most that glibc takes as the latter
_TOP_BYTES = 4 * _KEPT_BYTES


def keep_freed_memory() -> None:
    """Let what is freed wait for the next frame: of this whole process, up to 128 MiB at its end.

    By default a picture's memory goes back with each free, and is mapped again, page by page, with
    the next: a quarter of the time of image metrics.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _TOP_BYTES)


def outside_the_heap(shape: tuple[int, ...], dtype: type[AnyNumber]) -> NDArray[AnyNumber]:
    """An array of zeros in pages of its own, which go back to the system with it.

    For what outlives a frame: among all that each frame frees it would leave holes in the heap,
    which then grew from frame to frame, by 400 MiB in two videos of 24 frames of 256 px. (Of no use
    for small ones: a page has 4 KiB.)
    """
    count = math.prod(shape) * np.dtype(dtype).itemsize
    if sys.platform == "win32":
        pages = mmap.mmap(-1, max(count, 1))
    else:
        pages = mmap.mmap(-1, max(count, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if count >= _HUGE_PAGE and hasattr(mmap, "MADV_HUGEPAGE"):
        # 8 times sooner there than page by page; a kernel without them refuses
        with suppress(OSError):
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype, math.prod(shape)).reshape(shape)


def give_back_freed_memory() -> None:
    """Return to the system what is freed.

    A network's layers are allocated and freed by megabytes, between small things that stay, and
    the heap gets holes. Once a window it costs 1 % of the window.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
