"""Spans of time as people name them in their zone, and what they are made of in UTC."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from observatory.errors import InvalidParameter
from observatory.store.rollup_tables import (
    DAY,
    DAY_SECONDS,
    HOUR,
    HOUR_SECONDS,
    MONTH,
    QUARTER,
    QUARTER_SECONDS,
)
from observatory.store.rollups import begin_month, end_month
from observatory.timestamps import format_timestamp

UNITS = ("hour", "day", "week", "month")
MAX_BUCKETS = 2000
# No clock was ever set twice in less than a week (since 1970, tzdata 2025).
_UNCHANGED_SECONDS = 4 * DAY_SECONDS
# Nothing is older.
_EPOCH = datetime(1970, 1, 1)
# Reports ask for the same days again and again.
_REMEMBERED = 16_384


class Segment(NamedTuple):
    """A span that is read from one level of sums: ``bucket`` is whose it is.

    With a ``sign`` of -1 it is taken away.
    """

    bucket: int
    level: int
    start: int
    end: int
    sign: int = 1


class Bucket(NamedTuple):
    """An hour, day, week or month of a zone: its name there, and its span in Unix seconds."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Period:
    """A span of time, in Unix seconds, from ``start`` to just before ``end``, in a zone."""

    start: int
    end: int
    zone: ZoneInfo

    def document(self) -> dict[str, str]:
        """Return it as the API shows it."""
        return {
            "from": as_text(self.start),
            "to": as_text(self.end),
            "timezone": self.zone.key,
        }

    def previous(self) -> Period:
        """Return the span of as many days in the zone, or else as long, just before this one."""
        start, end = (datetime.fromtimestamp(t, self.zone) for t in (self.start, self.end))
        first = start.replace(tzinfo=None)
        length = end.replace(tzinfo=None) - first
        if start.time() != end.time():
            before = self.start - (self.end - self.start)
        elif length < first - _EPOCH:
            before = _instant(first - length, self.zone)
        else:
            before = 0
        return Period(max(0, before), self.start, self.zone)


def make_period(start: datetime, end: datetime, zone: ZoneInfo) -> Period:
    """Return the whole hours of a zone that hold a span of time.

    Raises:
        InvalidParameter: It ends before it begins.
    """
    if end <= start:
        raise InvalidParameter("to", "Lies before the beginning; give a later one.")
    first, last = _begin_hour(int(start.timestamp()), zone), int(end.timestamp())
    end_hour = _begin_hour(last, zone)
    if end_hour < last or end.microsecond:
        end_hour = _next_hour(end_hour, zone)
    return Period(max(first, 0), max(end_hour, QUARTER_SECONDS), zone)


@lru_cache(maxsize=_REMEMBERED)
def begin_unit(unit: str, moment: int, zone: ZoneInfo) -> int:
    """Return when the hour, day, week or month of a time began in a zone, in Unix seconds."""
    if unit == "hour":
        return _begin_hour(moment, zone)
    return _instant(_midnight(_first_day(unit, datetime.fromtimestamp(moment, zone).date())), zone)


@lru_cache(maxsize=_REMEMBERED)
def end_unit(unit: str, start: int, zone: ZoneInfo) -> int:
    """Return when the hour, day, week or month that began at a time ends, in Unix seconds."""
    if unit == "hour":
        return _next_hour(start, zone)
    day = datetime.fromtimestamp(start, zone).date()
    return _instant(_midnight(_next_day(unit, _first_day(unit, day))), zone)


def list_buckets(period: Period, unit: str, *, within: Period | None = None) -> list[Bucket]:
    """Return the hours, days, weeks or months that a period touches.

    Args:
        period: Which ones.
        unit: One of UNITS.
        within: What they are cut to, which holds the period; by default the period.

    Raises:
        InvalidParameter: They are too many.
    """
    buckets = []
    whole = within or period
    start = begin_unit(unit, period.start, period.zone)
    while start < period.end:
        end = end_unit(unit, start, period.zone)
        name = _name(unit, start, period.zone)
        buckets.append(Bucket(name, max(start, whole.start), min(end, whole.end)))
        if len(buckets) > MAX_BUCKETS:
            raise InvalidParameter(
                "group_by", f"More than {MAX_BUCKETS} rows; ask for less time, or longer units."
            )
        start = end
    return buckets


@lru_cache(maxsize=_REMEMBERED)
def _name(unit: str, start: int, zone: ZoneInfo) -> str:
    moment = datetime.fromtimestamp(start, zone)
    if unit == "hour":
        return moment.isoformat(timespec="minutes")
    return moment.strftime("%Y-%m") if unit == "month" else moment.date().isoformat()


def _first_day(unit: str, day: date) -> date:
    if unit == "month":
        return day.replace(day=1)
    return day - timedelta(days=day.weekday()) if unit == "week" else day


def _next_day(unit: str, first: date) -> date:
    if unit == "month":
        return (first + timedelta(days=31)).replace(day=1)
    return first + timedelta(days=7 if unit == "week" else 1)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day)


def _instant(local: datetime, zone: ZoneInfo) -> int:
    """Return when a clock in a zone shows a time first; where it skips that, when it skips."""
    moment = int(local.replace(tzinfo=zone).timestamp())
    return moment // QUARTER_SECONDS * QUARTER_SECONDS


def _offset(moment: int, zone: ZoneInfo) -> int:
    offset = datetime.fromtimestamp(moment, zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds()) // QUARTER_SECONDS * QUARTER_SECONDS


def _begin_hour(moment: int, zone: ZoneInfo) -> int:
    """Return when the hour of a time began; where the clock is set inside of one, then."""
    offset = _offset(moment, zone)
    start = moment - (moment + offset) % HOUR_SECONDS
    return start if _offset(start, zone) == offset else _find_change(start, moment, zone)


def _next_hour(start: int, zone: ZoneInfo) -> int:
    """Return when the hour after one begins; it is shorter where the clock is set inside of it."""
    offset = _offset(start, zone)
    end = start + HOUR_SECONDS - (start + offset) % HOUR_SECONDS
    return end if _offset(end, zone) == offset else _find_change(start, end, zone)


def split(bucket: int, start: int, end: int) -> list[Segment]:
    """Return a span as months, days, hours and quarters of an hour, the largest there are."""
    return [Segment(bucket, *each) for each in _split(start, end)]


@lru_cache(maxsize=8192)
def _split(start: int, end: int) -> tuple[tuple[int, int, int], ...]:
    return tuple(_split_at(MONTH, start, end))


def _split_at(level: int, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    if start >= end:
        return
    if level == QUARTER:
        yield QUARTER, start, end
        return
    first, last = _round_up(level, start), _round_down(level, end)
    if first >= last:
        yield from _split_at(level - 1, start, end)
        return
    yield from _split_at(level - 1, start, first)
    yield level, first, last
    yield from _split_at(level - 1, last, end)


_SECONDS = {HOUR: HOUR_SECONDS, DAY: DAY_SECONDS}


def _round_down(level: int, moment: int) -> int:
    return begin_month(moment) if level == MONTH else moment - moment % _SECONDS[level]


def split_at_edges(buckets: Sequence[Bucket]) -> tuple[list[Segment], list[Segment]]:
    """Return days or more as if they were of UTC, and what lies between their edges and those.

    A day in New York is read as the one of UTC that begins four hours earlier. Those four hours are
    taken from it, and added to the day before: they are less to read than all that a day has.

    Args:
        buckets: Days, weeks or months that follow each other.

    Returns:
        What they are read as, and what is to be taken from each and added to the one before
        it; what stands at one more than there are is to be added to the last.
    """
    if not buckets:
        return [], []
    edges = [bucket.start for bucket in buckets] + [buckets[-1].end]
    about = [_round_nearby(DAY, edge) for edge in edges]
    return [
        Segment(place, *each)
        for place, span in enumerate(pairwise(about))
        for each in _split(*span)
    ], [
        Segment(place, *each)
        for place, (near, edge) in enumerate(zip(about, edges, strict=True))
        for each in _split_from_to(near, edge)
    ]


def split_nearby(start: int, end: int) -> list[Segment]:
    """Return what a span is read from, where what reaches over its ends may be taken away again."""
    return [Segment(0, *each) for each in _split_from_to(start, end)]


@lru_cache(maxsize=8192)
def _split_from_to(start: int, end: int) -> tuple[tuple[int, int, int, int], ...]:
    """Return what lies between two times, the second of which may be earlier, with signs."""
    return tuple(_split_nearby(MONTH, start, end))


def _split_nearby(level: int, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    if start > end:
        for each, first, last, sign in _split_nearby(level, end, start):
            yield each, first, last, -sign
        return
    if level == QUARTER:
        if start < end:
            yield QUARTER, start, end, 1
        return
    first, last = _round_nearby(level, start), _round_nearby(level, end)
    if first >= last or abs(first - start) + abs(last - end) >= end - start:
        yield from _split_nearby(level - 1, start, end)
        return
    yield from _split_nearby(level - 1, start, first)
    yield level, first, last, 1
    yield from _split_nearby(level - 1, last, end)


def is_one_unit(level: int, start: int, end: int) -> bool:
    """Tell whether a span is one hour, day or month of UTC, which is one sum."""
    if level == MONTH:
        return end_month(start) == end
    return level != QUARTER and end - start == _SECONDS[level]


def _round_nearby(level: int, moment: int) -> int:
    down, up = _round_down(level, moment), _round_up(level, moment)
    return down if moment - down < up - moment else up


def _round_up(level: int, moment: int) -> int:
    down = _round_down(level, moment)
    if down == moment:
        return moment
    return end_month(down) if level == MONTH else down + _SECONDS[level]


def list_offsets(period: Period) -> list[Segment]:
    """Return the spans of a period in which its zone's clock is not set, each with its offset.

    The offset from UTC, in seconds, stands in the place of the bucket.
    """
    segments = []
    start, zone = period.start, period.zone
    offset = _offset(start, zone)
    moment = start
    while moment < period.end:
        following = min(moment + _UNCHANGED_SECONDS, period.end)
        if _offset(following, zone) != offset:
            following = _find_change(moment, following, zone)
            segments += _with_offset(offset, start, following)
            start, offset = following, _offset(following, zone)
        moment = following
    return segments + _with_offset(offset, start, period.end)


def _with_offset(offset: int, start: int, end: int) -> list[Segment]:
    if start >= end:
        return []
    whole = offset % HOUR_SECONDS == start % HOUR_SECONDS == end % HOUR_SECONDS == 0
    return [Segment(offset, HOUR if whole else QUARTER, start, end)]


def _find_change(low: int, high: int, zone: ZoneInfo) -> int:
    """Return the first quarter of an hour behind a time with another offset than then."""
    before = _offset(low, zone)
    while high - low > QUARTER_SECONDS:
        middle = (low + high) // 2 // QUARTER_SECONDS * QUARTER_SECONDS
        middle = max(middle, low + QUARTER_SECONDS)
        if _offset(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


@lru_cache(maxsize=_REMEMBERED)
def as_text(moment: int) -> str:
    """Return Unix seconds in the one text form."""
    return format_timestamp(datetime.fromtimestamp(moment, UTC))
