"""How many connections each worker has, so that they share those that come.

A connection belongs to the worker that takes it for as long as it lives, and the one that is awake
takes what comes: behind a proxy that keeps its connections open, or while the machine is busy for a
moment, one worker had 49 of 50 and a processor had nothing to do. So who has more than another
lets that one go first.
"""

from __future__ import annotations

import mmap
import struct

# One for each worker there can be at a time, or nearly so: what two share is only less fair.
_SLOTS = 64
_NUMBERS = struct.Struct(f"{_SLOTS}I")
_NUMBER = struct.Struct("I")


class Shares:
    """The numbers of connections of all workers, in memory that they share.

    It has to be made before workers are forked. A slot has one more than the number of
    connections; 0 stands for no worker.
    """

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _NUMBERS.size)

    def tell(self, age: int, connections: int) -> None:
        """Say how many connections a worker has; gunicorn gives each worker an age."""
        _NUMBER.pack_into(self._memory, age % _SLOTS * _NUMBER.size, connections + 1)

    def forget(self, age: int) -> None:
        """Count a worker no more, which has ended."""
        _NUMBER.pack_into(self._memory, age % _SLOTS * _NUMBER.size, 0)

    def has_less(self, connections: int) -> bool:
        """Tell whether some worker has fewer connections than so many."""
        return self.fewest() < connections

    def fewest(self) -> int:
        """Return how many connections the worker has that has the fewest, of those that told."""
        told = filter(None, _NUMBERS.unpack_from(self._memory))
        return min(told, default=1) - 1


SHARES = Shares()
