"""A bell that workers ring when they have written, for the one that waits for the lock.

SQLite's lock can only be asked for again and again. Who sleeps in between loses half of its sleep
each time that the lock comes free, and nobody has it meanwhile.
"""

from __future__ import annotations

import os
import select
import time
from contextlib import suppress

_MOST_RINGS = 65536


class NoBell:
    """Where nobody rings, as in a command: who waits sleeps."""

    def ring(self) -> None:
        """Wake nobody."""

    def forget(self) -> None:
        """Pass over nothing."""

    def wait(self, seconds: float) -> None:
        """Wait so long."""
        time.sleep(seconds)


class Bell(NoBell):
    """A bell of a process and those that are forked from it.

    It only tells when to ask for the lock: a ring may come for nothing, or not at all.
    """

    def __init__(self) -> None:
        self._heard, self._rung = os.pipe()
        os.set_blocking(self._heard, False)
        os.set_blocking(self._rung, False)

    def ring(self) -> None:
        """Wake who waits."""
        # A full pipe has been rung often enough.
        with suppress(OSError):
            os.write(self._rung, b"\0")

    def forget(self) -> None:
        """Pass over all rings until now."""
        with suppress(OSError):
            os.read(self._heard, _MOST_RINGS)

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long."""
        poller = select.poll()
        poller.register(self._heard, select.POLLIN)
        if poller.poll(seconds * 1000):
            self.forget()
