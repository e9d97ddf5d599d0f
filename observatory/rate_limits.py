"""How often somebody may do something: moving windows, by the library ``limits``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import lru_cache
from math import ceil

from limits import RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from observatory.window_counts import SharedWindows


@dataclass(frozen=True, slots=True)
class LimitState:
    """How a limit stands after a hit.

    Attributes:
        is_allowed: Whether the hit was one of those allowed; others are not counted.
        limit: Largest number of hits in a window.
        remaining: How many more are allowed now.
        seconds: After how many seconds the oldest hit leaves the window, so one more is allowed.
    """

    is_allowed: bool
    limit: int
    remaining: int
    seconds: float

    @property
    def retry_after(self) -> int:
        """Whole seconds to wait, 1 at least."""
        return max(1, ceil(self.seconds))

    @property
    def resets_at(self) -> int:
        """The same as Unix time in seconds."""
        return ceil(time.time() + self.seconds)


@lru_cache(maxsize=64)
def _make_item(name: str, max_hits: int, window_ms: int) -> RateLimitItemPerSecond:
    return RateLimitItemPerSecond(max_hits, -(-window_ms // 1000), namespace=name)


class _Windows(MovingWindowRateLimiter):
    """The library's moving windows, which also tell how they stand without asking twice."""

    def __init__(self, storage: SharedWindows) -> None:
        super().__init__(storage)
        self._count = storage.count

    def hit_and_tell(
        self, item: RateLimitItemPerSecond, key: str, hits: int
    ) -> tuple[bool, int, float]:
        """Count hits; return whether they were allowed, how many remain, and when one more is."""
        seconds = item.get_expiry()
        is_allowed, count, began = self._count(item.key_for(key), item.amount, seconds, hits)
        return is_allowed, max(0, item.amount - count), began + seconds


class Limits:
    """Limits that hold over all workers of a server, when made before they are forked."""

    def __init__(self, storage: SharedWindows | None = None) -> None:
        self._storage = storage or SharedWindows()
        self._windows = _Windows(self._storage)

    def check_limit(
        self, name: str, key: str, *, max_hits: int, window_ms: int, hits: int = 1
    ) -> LimitState:
        """Count a hit and return how the limit stands.

        Args:
            name: What is limited, without slashes, such as ``login-account``.
            key: Whose hits are counted, such as an address.
            max_hits: Largest number in a window.
            window_ms: The window in milliseconds, counted in whole seconds, rounded up.
            hits: How many; 0 only looks.
        """
        item = _make_item(name, max_hits, window_ms)
        is_allowed, remaining, resets = self._windows.hit_and_tell(item, key, hits)
        seconds = max(0.0, resets - self._storage.read_clock())
        return LimitState(is_allowed, max_hits, remaining, seconds)
