"""Sums of one hour, day, week or month after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from operator import add, neg, sub
from typing import Any

from observatory.store.analytics.periods import Bucket, list_buckets, split, split_at_edges
from observatory.store.analytics.reading import BUCKET, PROJECT, Asked, clip, read_sums
from observatory.store.database import Reading
from observatory.store.rollup_tables import Sums

# What rows are of: the place of their unit of time, and names.
_Key = tuple[Any, ...]


def list_times(asked: Asked, unit: str, sums: Sums) -> list[Bucket]:
    """Return the units of time from the first with anything in the sums to the last.

    Raises:
        InvalidParameter: They are too many.
    """
    period = clip(asked.period, sums, asked)
    return [] if period is None else list_buckets(period, unit, within=asked.period)


def read_times(
    sums: Sums,
    asked: Asked,
    unit: str,
    times: Sequence[Bucket],
    *,
    by: Sequence[str] = (),
    measures: Sequence[str],
    only: Mapping[str, str | int] | None = None,
) -> list[tuple[Any, ...]]:
    """Return sums of units of time that follow each other, in order.

    Args:
        sums: Which ones.
        asked: Of what, for whom.
        unit: One of UNITS.
        times: The units of time.
        by: Names of the sums that each is divided by, or PROJECT.
        measures: Which measures.
        only: Names of the sums with what they must be.

    Returns:
        Rows of the place of a unit of time, what it is divided by, and measures; but for projects
        there may be some in which all are 0.
    """
    by = (BUCKET, *by)
    # The largest of something can not be taken away, and which projects are there must be told. Of
    # hours, and of places by themselves, there is not less to read, but more to be looked up.
    is_divided = PROJECT in by or bool({*measures} & {*sums.largest})
    if unit == "hour" or is_divided or not asked.is_together:
        segments = [each for place, time in enumerate(times) for each in split(place, *time[1:])]
        return read_sums(sums, asked, by=by, measures=measures, segments=segments, only=only)
    segments, moved = split_at_edges(times)
    # Of one moment: what came in between would be taken from a day in which it was not yet read.
    with closing(Reading()):
        rows = read_sums(sums, asked, by=by, measures=measures, segments=segments, only=only)
        if not moved:
            return rows
        parts = read_sums(sums, asked, by=by, measures=measures, segments=moved, only=only)
    return _move(rows, parts, width=len(by), number=len(times))


def _move(
    rows: Iterable[tuple[Any, ...]],
    parts: Iterable[tuple[Any, ...]],
    *,
    width: int,
    number: int,
) -> list[tuple[Any, ...]]:
    """Return rows with parts taken from the units of time that they name, for those before."""
    found: dict[_Key, tuple[int, ...]] = {row[:width]: row[width:] for row in rows}
    for part in parts:
        place, numbers = part[0], part[width:]
        if place:
            before = (place - 1, *part[1:width])
            known = found.get(before)
            found[before] = tuple(map(add, known, numbers)) if known else numbers
        if place < number:
            after = part[:width]
            known = found.get(after)
            found[after] = tuple(map(sub, known, numbers) if known else map(neg, numbers))
    return [(*key, *found[key]) for key in sorted(found)]
