"""Freed memory: given back to the system, so that the peak does not grow with a video's length."""

from __future__ import annotations

import ctypes


def give_back_freed_memory() -> None:
    """Return what the C library keeps of freed memory to the system, where it can (glibc).

    A network's layers are allocated and freed by megabytes, between small things that stay: the
    heap gets holes, and grows by a tenth from tens of frames to a thousand. Once a window this
    costs 1 % of the window.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
