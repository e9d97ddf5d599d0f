"""Sums for reports, made in the transaction of the change.

What a conversation adds is counted again whenever it changes, as its counters are. Sums that it is
in are added to by the difference, or added up again where something was taken away
(docs/decisions/0013-rollups.md).
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from operator import add, sub
from typing import Any, NamedTuple

from observatory.store import rollup_tables as tables
from observatory.store.database import execute_many, fetch_all
from observatory.store.file_paths import ensure_paths, forget_paths
from observatory.store.label_names import MODEL, TOOL, note_names
from observatory.store.places import settle_places
from observatory.store.rollup_tables import (
    DAY,
    DAY_SECONDS,
    DURATION_BOUNDS_MS,
    EVERYWHERE,
    FILES,
    HOUR,
    HOUR_SECONDS,
    MONTH,
    QUARTER_SECONDS,
    TOGETHER,
    TOOLS,
    USAGE,
    Sums,
)
from observatory.timestamps import format_timestamp, seconds_of

# Of a conversation, time and names: what it adds.
_Part = tuple[Any, ...]
# One of the table of parts.
_Row = tuple[Any, ...]
# Which conversations, and since when.
_Wanted = dict[str, Any]
# What is summed up, in the order of the measures.
_Numbers = Sequence[int]
# The measures of parts.
_Counted = Mapping[_Part, _Numbers]
# Place, time and names of a sum.
_Cell = tuple[Any, ...]

# Where in the measures of usage each count has its place.
_OF_MESSAGES = slice(0, 5)
_OF_CONVERSATIONS = slice(5, 7)
_OF_CALLS = slice(7, 25)
_COUNT_CONVERSATIONS = (tables.COUNT_CONVERSATIONS, _OF_CONVERSATIONS)
_COUNTS = (
    (tables.COUNT_MESSAGES, _OF_MESSAGES),
    _COUNT_CONVERSATIONS,
    (tables.COUNT_CALLS, _OF_CALLS),
)
_NEW_COUNTS = ((tables.COUNT_NEW_MESSAGES, _OF_MESSAGES), (tables.COUNT_NEW_CALLS, _OF_CALLS))


# No row has such a key: where no calls came.
NO_KEY = 2**62


class Added(NamedTuple):
    """Rows that came to conversations, and all that did: messages and calls from these keys on."""

    message_key: int
    api_call_key: int


# Of which sums the first of the names is a label.
_LABELS = {USAGE: MODEL, TOOLS: TOOL}


def refresh_rollups(keys: Iterable[int], *, since: int = 0, added: Added | None = None) -> None:
    """Count again what conversations add to the sums, inside a transaction.

    What is in the trash adds nothing.

    Args:
        keys: Which conversations.
        since: The beginning of a quarter of an hour, in Unix seconds, before which nothing of
            them changed that is counted; 0 counts all of it.
        added: All that changed, when rows were only added: then no others are read.
    """
    places, have_moved = settle_places(keys)
    if added is not None and not have_moved:
        _replace(USAGE, *_find_and_add(places, added))
        return
    since = 0 if have_moved else since
    for sums in tables.ALL:
        known, counted = find_and_count(sums, places, since=since)
        if sums is FILES:
            keys_of = ensure_paths(part[2] for part in counted)
            counted = with_names(counted, keys_of.__getitem__)
        gone = _replace(sums, known, counted)
        if sums is FILES:
            forget_paths(part[2] for part in gone)


def add_conversations(places: Mapping[int, int]) -> None:
    """Add conversations in which nothing is to the sums, inside a transaction.

    Args:
        places: Those that were made just now, and where they stand.
    """
    counted = _count_each([_COUNT_CONVERSATIONS], _wanted(places, since=0))
    _replace(USAGE, {}, _place(places, counted))


def begin_quarter(moment: str) -> int:
    """Return when the quarter of an hour of a time began, in Unix seconds; 0 before 1970."""
    seconds = int(max(0.0, seconds_of(moment)))
    return seconds - seconds % QUARTER_SECONDS


def find_and_count(
    sums: Sums, places: Mapping[int, int], *, since: int = 0
) -> tuple[dict[_Part, _Row], dict[_Part, _Row]]:
    """Return what conversations are said to add, and what they add as counted now.

    Both as rows of the table of parts, by what tells them apart; files that are counted are told
    by their paths.

    Args:
        sums: Which sums.
        places: The conversations, and where they stand.
        since: Only of that time and later: the beginning of a quarter of an hour.
    """
    wanted = _wanted(places, since=since)
    width = 2 + len(sums.names)
    known = {row[:width]: row for row in fetch_all(sums.find_parts, wanted)}
    return known, _place(places, _COUNTERS[sums.parts](wanted))


def _wanted(places: Iterable[int], *, since: int) -> _Wanted:
    moment = format_timestamp(datetime.fromtimestamp(since, UTC)) if since else ""
    return {"keys": json.dumps(list(places)), "start": since or _ALWAYS, "since": moment}


def _place(places: Mapping[int, int], counted: _Counted) -> dict[_Part, _Row]:
    """Return counts as rows of the table of parts."""
    return {part: (*part, places[part[0]], *row) for part, row in counted.items()}


def _find_and_add(
    places: Mapping[int, int], added: Added
) -> tuple[dict[_Part, _Row], dict[_Part, _Row]]:
    """Return the parts of usage that new rows are in, as they are said to be, and with those."""
    keys = json.dumps(list(places))
    more = _count_each(_NEW_COUNTS, {"keys": keys, **added._asdict()})
    start = min((part[1] for part in more), default=0)
    said = fetch_all(USAGE.find_parts, {"keys": keys, "start": start})
    known = {row[:_NAMED]: row for row in said if row[:_NAMED] in more}
    nothing = (0,) * len(USAGE.measures)
    counted: dict[_Part, _Row] = {}
    for part, numbers in more.items():
        before = known[part][_NAMED + 1 :] if part in known else nothing
        counted[part] = (*part, places[part[0]], *map(add, before, numbers))
    return known, counted


# So many values tell parts of usage apart.
_NAMED = 2 + len(USAGE.names)
# Before all times that there are.
_ALWAYS = -(2**62)


def _count_usage(wanted: _Wanted) -> _Counted:
    return _count_each(_COUNTS, wanted)


def _count_each(counts: Iterable[tuple[str, slice]], wanted: _Wanted) -> _Counted:
    counted: dict[_Part, list[int]] = {}
    for sql, where in counts:
        for key, start, model, *numbers in fetch_all(sql, wanted):
            row = counted.setdefault((key, start, model), [0] * len(USAGE.measures))
            row[where] = numbers
    return counted


def _count_tools(wanted: _Wanted) -> _Counted:
    counted: dict[_Part, list[int]] = {}
    for *part, is_error, milliseconds in fetch_all(tables.COUNT_TOOL_USES, wanted):
        row = counted.setdefault(tuple(part), [0] * len(TOOLS.measures))
        row[_USES] += 1
        row[_FAILURES] += is_error
        if milliseconds is not None:
            row[_TIMED_USES] += 1
            row[_DURATION_MS] += milliseconds
            row[_MAX_MS] = max(row[_MAX_MS], milliseconds)
            row[_BUCKETS + bisect_right(DURATION_BOUNDS_MS, milliseconds)] += 1
    return counted


def _count_files(wanted: _Wanted) -> _Counted:
    return {row[:3]: row[3:] for row in fetch_all(tables.COUNT_FILES, wanted)}


_USES, _FAILURES, _TIMED_USES, _DURATION_MS, _MAX_MS, _BUCKETS = range(6)
_COUNTERS: dict[str, Callable[[_Wanted], _Counted]] = {
    USAGE.parts: _count_usage,
    TOOLS.parts: _count_tools,
    FILES.parts: _count_files,
}


def with_names(rows: dict[_Part, _Row], name: Callable[[Any], Any]) -> dict[_Part, _Row]:
    """Return rows of files with something else in the place of what tells a file."""
    named = ((*part[:2], name(part[2])) for part in rows)
    return {part: (*part, *row[3:]) for part, row in zip(named, rows.values(), strict=True)}


def _replace(sums: Sums, known: dict[_Part, _Row], counted: dict[_Part, _Row]) -> list[_Part]:
    """Set what conversations add, and add up again what that changes; return what is gone."""
    width = 2 + len(sums.names)
    changed = [row for part, row in counted.items() if known.get(part) != row]
    gone = [part for part in known if part not in counted]
    if not changed and not gone:
        return []
    execute_many(sums.insert_part, changed)
    if sums in _LABELS:
        note_names(_LABELS[sums], {row[2] for row in changed} - {tables.NO_MODEL})
    execute_many(sums.delete_part, gone)
    if not gone and all(_only_adds(sums, known.get(row[:width]), row) for row in changed):
        _add(sums, known, changed)
        return []
    cells = {(row[width], *row[1:width]) for row in changed}
    left = {(known[part][width], *part[1:]) for part in gone}
    left.update(
        (known[row[:width]][width], *row[1:width]) for row in changed if row[:width] in known
    )
    add_up(sums, cells | left, emptied=left - cells)
    return gone


def _only_adds(sums: Sums, old: _Row | None, new: _Row) -> bool:
    """Tell whether a part stays where it is, and nothing of which the largest is taken fell."""
    if old is None:
        return True
    place = 2 + len(sums.names)
    return old[place] == new[place] and all(
        old[at] <= new[at] for at in (place + 1 + number for number in sums.where_largest)
    )


def _add(sums: Sums, known: dict[_Part, _Row], changed: Iterable[_Row]) -> None:
    """Add to sums by how much more parts are that are in them, which may be less."""
    place = 2 + len(sums.names)
    parts: dict[_Cell, _Numbers] = {}
    for row in changed:
        old = known.get(row[:place])
        numbers: _Numbers = row[place + 1 :]
        if old is not None:
            numbers = _combine(sums, sub, numbers, old[place + 1 :], largest=_first)
        # Many conversations add to the same sums.
        _add_numbers(sums, parts, (row[place], *row[1:place]), numbers)
    more: dict[_Cell, _Numbers] = {}
    for (where, start, *names), numbers in parts.items():
        for cell in _list_sums(sums, where, start, tuple(names)):
            _add_numbers(sums, more, cell, numbers)
    execute_many(sums.add_to_sum, [(*cell, *numbers) for cell, numbers in more.items()])


def _add_numbers(sums: Sums, more: dict[_Cell, _Numbers], cell: _Cell, numbers: _Numbers) -> None:
    kept = more.get(cell)
    more[cell] = numbers if kept is None else _combine(sums, add, kept, numbers, largest=max)


def _combine(
    sums: Sums,
    combine: Callable[[int, int], int],
    some: _Numbers,
    others: _Numbers,
    *,
    largest: Callable[[int, int], int],
) -> _Numbers:
    """Return what two rows of measures come to, with another rule for those of the largest."""
    combined = [*map(combine, some, others)]
    for at in sums.where_largest:
        combined[at] = largest(some[at], others[at])
    return combined


def _first(new: int, old: int) -> int:
    return new


def _list_sums(sums: Sums, place: int, start: int, names: tuple[Any, ...]) -> Iterator[_Cell]:
    """Yield level, place, start and names of all sums that a part is in."""
    for level in (HOUR, DAY, MONTH):
        begin = _begin(level, start)
        for where in (place, EVERYWHERE):
            yield (level, where, begin, *names)
            if sums.has_together:
                yield (level + TOGETHER, where, begin, "", *names[1:])


def add_up(sums: Sums, cells: set[_Cell], *, emptied: set[_Cell]) -> None:
    """Add up again the sums that some quarters of an hour are in, from what they are made of.

    Args:
        sums: Which sums.
        cells: Places, times and names.
        emptied: Those of them of which nothing may be left.
    """
    cells, emptied = _everywhere(cells), _everywhere(emptied)
    for level in (HOUR, DAY, MONTH):
        cells = {(cell[0], _begin(level, cell[1]), *cell[2:]) for cell in cells}
        emptied = {(cell[0], _begin(level, cell[1]), *cell[2:]) for cell in emptied}
        execute_many(sums.delete_sum, [(level, *cell) for cell in emptied])
        for is_everywhere in (False, True):
            execute_many(
                sums.insert_sum(level, is_everywhere=is_everywhere),
                [
                    (cell[0], cell[1], _end(level, cell[1]), *cell[2:])
                    for cell in cells
                    if (cell[0] == EVERYWHERE) is is_everywhere
                ],
            )
        if not sums.has_together:
            continue
        execute_many(
            sums.delete_sum,
            list({(level + TOGETHER, *cell[:2], "", *cell[3:]) for cell in emptied}),
        )
        execute_many(sums.insert_together(level), list({(*cell[:2], *cell[3:]) for cell in cells}))


def _everywhere(cells: set[_Cell]) -> set[_Cell]:
    return cells | {(EVERYWHERE, *cell[1:]) for cell in cells}


_SECONDS = {HOUR: HOUR_SECONDS, DAY: DAY_SECONDS}


def _begin(level: int, start: int) -> int:
    return begin_month(start) if level == MONTH else start - start % _SECONDS[level]


def _end(level: int, start: int) -> int:
    return end_month(start) if level == MONTH else start + _SECONDS[level]


def begin_month(moment: int) -> int:
    """Return when the month of a time began, in UTC; both in Unix seconds."""
    return _begin_month_of_day(moment // DAY_SECONDS)


@lru_cache(maxsize=4096)
def _begin_month_of_day(day: int) -> int:
    date = datetime.fromtimestamp(day * DAY_SECONDS, UTC)
    return int(date.replace(day=1).timestamp())


def end_month(start: int) -> int:
    """Return when a month that began at a time ends, in UTC; both in Unix seconds."""
    return begin_month(start + 31 * DAY_SECONDS)
