"""Times as the database and the API write them: ``2026-01-02T03:04:05.678Z``.

One text form everywhere: it sorts as time does, SQLite's date functions read it, and a row needs
no conversion on its way to a client. Always UTC, always milliseconds, years 1970 to 9998.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from time import time

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
FIRST = "1970-01-01T00:00:00.000Z"
LAST = "9998-12-31T23:59:59.999Z"


def format_timestamp(moment: datetime) -> str:
    """Return an aware time in the one text form."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:23] + "Z"


# The last second that was asked for, and its text: each answer and each line of the log has one.
_second: tuple[int, str] = (-1, "")


def now() -> str:
    """Return the present time in the one text form."""
    global _second
    moment = time()
    whole = int(moment)
    second, text = _second
    if second != whole:
        text = datetime.fromtimestamp(whole, UTC).isoformat()[:19]
        _second = (whole, text)
    return f"{text}.{int((moment - whole) * 1000):03d}Z"


def present() -> int:
    """Return the present in Unix seconds."""
    return int(time())


def parse_timestamp(value: object) -> str | None:
    """Return ISO 8601 text in the one text form, or ``None`` when it is no usable time.

    A time without a zone counts as UTC, which is what Claude Code writes.
    """
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    # The third of these tells a month from a week, which ISO 8601 writes in as many characters.
    if (
        len(value) == 24
        and value[10] == "T"
        and value[7] == "-"
        and value[19] == "."
        and value[23] == "Z"
    ):
        return value if FIRST <= value <= LAST else None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    try:
        text = format_timestamp(moment)
    except (OverflowError, ValueError):
        return None
    return text if FIRST <= text <= LAST else None


def parse_moment(value: str, *, is_end: bool = False) -> str | None:
    """Return a day or a time as people write it in the one text form, or ``None``.

    Args:
        value: ``2026-01-31`` or ISO 8601 with a time of day.
        is_end: Whether a day means its last instant instead of its first.
    """
    if _DAY.fullmatch(value):
        return parse_timestamp(value + ("T23:59:59.999Z" if is_end else "T00:00:00.000Z"))
    # Python reads 20260131 too; what is a day must not depend on how it is written.
    return parse_timestamp(value) if len(value) > len("2026-01-31") else None


def timestamp_in(seconds: float) -> str:
    """Return the time in so many seconds in the one text form."""
    return format_timestamp(datetime.now(UTC) + timedelta(seconds=seconds))


def milliseconds_between(earlier: str, later: str) -> int:
    """Return the milliseconds from one time to another, never below 0 (clocks step back)."""
    span = datetime.fromisoformat(later) - datetime.fromisoformat(earlier)
    return max(0, span // timedelta(milliseconds=1))


def seconds_of(moment: str) -> float:
    """Return a time in the one text form as Unix time."""
    return datetime.fromisoformat(moment).timestamp()
