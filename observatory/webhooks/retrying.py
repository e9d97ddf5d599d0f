"""When to try again, and when to give up."""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime

# The next attempt comes at a moment between nothing and these, in seconds: with full jitter, many
# deliveries that failed together do not come back together. On average the last of 8 attempts
# comes a day after the first.
CEILINGS_SECONDS = (20, 60, 240, 1200, 7200, 43_200, 115_200)
MAX_ATTEMPTS = len(CEILINGS_SECONDS) + 1
_LEAST_SECONDS = 1.0
# A receiver may ask for more patience, but not for so much that nobody hears of the failure.
MAX_RETRY_AFTER_SECONDS = 3600.0
_SECONDS = re.compile(r"[0-9]{1,9}")


def delay_after(attempts: int, *, chance: float, retry_after: float | None = None) -> float | None:
    """Return after how many seconds to try again, or ``None`` to give up.

    Args:
        attempts: How many there were, 1 or more.
        chance: A random number from 0 to 1.
        retry_after: How many seconds the receiver asked for.
    """
    if attempts >= MAX_ATTEMPTS:
        return None
    delay = max(_LEAST_SECONDS, CEILINGS_SECONDS[attempts - 1] * chance)
    return max(delay, min(retry_after or 0.0, MAX_RETRY_AFTER_SECONDS))


def parse_retry_after(value: str | None, *, moment: float) -> float | None:
    """Return how many seconds a ``Retry-After`` header asks for, or ``None`` when it is none.

    Args:
        value: Seconds or a date (RFC 9110).
        moment: The present, in Unix time.
    """
    if value is None:
        return None
    value = value.strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        if date.tzinfo is None:
            date = date.replace(tzinfo=UTC)
        return max(0.0, date.timestamp() - moment)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
