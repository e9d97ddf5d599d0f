"""Threads of one process that want the same thing, one after another as they came."""

from __future__ import annotations

import threading
from collections import deque
from time import monotonic


class Turns:
    """A lock that is handed over in order; who releases it can not take it before who waits.

    ``threading.Lock`` lets whoever comes first after a release have it, which mostly is the one who
    released it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_taken = False
        self._taken_at = 0.0
        self._waiting: deque[threading.Lock] = deque()

    def take(self, seconds: float) -> bool:
        """Wait for the turn at most so long, and tell whether it is this thread's."""
        with self._lock:
            if not self._is_taken:
                self._is_taken = True
                self._taken_at = monotonic()
                return True
            signal = threading.Lock()
            signal.acquire()
            self._waiting.append(signal)
        has_come = False
        try:
            has_come = signal.acquire(timeout=max(0.0, seconds))
        finally:
            if not has_come:
                has_come = not self._leave(signal)
        return has_come

    def _leave(self, signal: threading.Lock) -> bool:
        """Wait no more, and tell whether the turn had not come in that very moment."""
        with self._lock:
            if signal not in self._waiting:
                return False
            self._waiting.remove(signal)
            return True

    def end(self) -> None:
        """Give the turn to who has waited longest."""
        with self._lock:
            self._taken_at = monotonic()
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._is_taken = False

    def count_waiting(self) -> int:
        """Return how many threads wait."""
        return len(self._waiting)

    def seconds_taken(self) -> float:
        """Return for how long one thread has had the turn; 0 when none has."""
        return monotonic() - self._taken_at if self._is_taken else 0.0
