"""How this process lives with its operating system."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

LARGEST_KEPT = 32 << 20
"""Bytes. The most that glibc takes for its threshold."""

MOST_KEPT = 512 << 20
"""Bytes."""

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """Lets the process use its freed memory again instead of giving it back. False where that cannot be asked for.

    A network allocates and frees the same some megabytes again and again. The C library of Linux hands them back
    each time, and the kernel clears every page anew, which can take a small network half its time. Blocks over
    ``LARGEST_KEPT`` are handed back as ever, and so is what is free beyond ``MOST_KEPT``. Source: mallopt(3).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library than glibc, or Windows
        return False
    return all([mallopt(_MMAP_THRESHOLD, LARGEST_KEPT), mallopt(_TRIM_THRESHOLD, MOST_KEPT)])


@contextmanager
def without_helpers() -> Iterator[None]:
    """What torch computes within, it computes on the calling thread alone, and no helper threads remain of it.

    For a program whose network works on another thread than the one that loads it. Helpers belong to the thread that
    first computed with them; once a program has more of them than cores, GNU's OpenMP lets all of them sleep between
    two operations, and waking them takes a small network half its time.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
