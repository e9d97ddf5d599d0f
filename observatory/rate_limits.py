"""How often somebody may do something: in moving windows."""

from __future__ import annotations

import time
from dataclasses import dataclass
from math import ceil

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


class Limits:
    """Limits that hold over all workers of a server, when made before they are forked."""

    def __init__(self, storage: SharedWindows | None = None) -> None:
        self._storage = storage or SharedWindows()

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
        window = -(-window_ms // 1000)
        # Another limit counts anew.
        whose = f"{name}/{max_hits}/{window}/{key}"
        is_allowed, count, began = self._storage.count(whose, max_hits, window, hits)
        seconds = max(0.0, began + window - self._storage.read_clock())
        return LimitState(is_allowed, max_hits, max(0, max_hits - count), seconds)
