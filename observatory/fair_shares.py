"""How many connections each worker has, so that they share those that come.

A connection belongs to the worker that takes it for as long as it lives, and the one that is awake
takes what comes: behind a proxy that keeps its connections open, or while the machine is busy for a
moment, one worker had 49 of 50 and a processor had nothing to do. So who has more than another
lets that one go first, and of many that wait each takes its share.
"""

from __future__ import annotations

import mmap
import socket
import struct
from contextlib import suppress
from typing import Any

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
        return min(self._told(), default=0)

    def count_missing(self, connections: int, *, waiting: int | None) -> int:
        """Return how many of those that wait are the share of a worker with so many connections.

        Args:
            connections: How many it has.
            waiting: How many wait to be let in; ``None`` where that is not known. Then a share is
                an eighth more than what another has.
        """
        if waiting is None:
            share = self.fewest() + connections // 8 + 1
        else:
            told = self._told()
            share = -(-(sum(told) + waiting) // max(1, len(told)))
        return max(0, share - connections)

    def _told(self) -> list[int]:
        return [told - 1 for told in _NUMBERS.unpack_from(self._memory) if told]


# Of TCP_INFO, ``struct tcp_info`` of linux/tcp.h: the state; and of who listens ``tcpi_unacked``.
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)
_STATE_AND_WAITING = struct.Struct("=B23xI")
_LISTENS = 10


def count_waiting(listener: Any) -> int | None:
    """Return how many connections wait to be let in, or ``None`` where the system does not tell.

    Linux tells of TCP. Source: ``man 7 tcp``, ``tcp_get_info`` of net/ipv4/tcp.c.
    """
    if _TCP_INFO is None:
        return None
    with suppress(OSError):
        info = listener.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _STATE_AND_WAITING.size)
        if len(info) == _STATE_AND_WAITING.size:
            state, waiting = _STATE_AND_WAITING.unpack(info)
            return int(waiting) if state == _LISTENS else None
    return None


SHARES = Shares()
