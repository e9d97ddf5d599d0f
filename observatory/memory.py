"""How the system's allocator keeps the memory of processes that run for weeks.

glibc gives each thread an area of its own and raises by itself the size from which a piece is
asked of the system and given back to it. Both make memory grow for hours: what one request needed
for a moment leaves holes in every area. Fewer areas, and a bound that stays, keep it flat. The
bound is above a page of messages (262 KB), which else is mapped, touched and given back for each
answer: a third of what such an answer costs. So is what may be free at the end of an area: 1.5 MB
are there for a moment while such a page is made, and with 2 MiB half of its pages of memory were
asked for anew each time (docs/performance.md).
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Source: /usr/include/malloc.h
_TRIM_THRESHOLD = -1
_MMAP_THRESHOLD = -3
_ARENA_MAX = -8
_AREAS = 2
_PIECE_BYTES = 1024 * 1024
_FREE_BYTES = 4 * 1024 * 1024


def keep_memory_flat() -> None:
    """Tell the allocator, where it is glibc's, before there are threads; forks are told by it."""
    with suppress(OSError, AttributeError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(_ARENA_MAX, _AREAS)
        set_option(_MMAP_THRESHOLD, _PIECE_BYTES)
        set_option(_TRIM_THRESHOLD, _FREE_BYTES)


def return_free_memory() -> None:
    """Give the system back what is free between pieces that are in use, where glibc can."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
