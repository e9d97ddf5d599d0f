"""Building the sums anew, and comparing them with a recount.

After a migration, or by a version of the code that sums up something else, they are built from
nothing: some conversations in each transaction. What was interrupted goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from observatory.store.database import Reading, execute, fetch_all, fetch_one, writing
from observatory.store.file_paths import name_paths
from observatory.store.places import count_misplaced
from observatory.store.rollup_tables import (
    ALL,
    DAY,
    EVERYWHERE,
    FILES,
    HOUR,
    MONTH,
    TOGETHER,
    Sums,
)
from observatory.store.rollups import find_and_count, refresh_rollups, with_names
from observatory.store.totals import read_total, set_total

# Raise it when something else is summed up.
VERSION = 1
_BATCH = 50
_MAX_KEY = 2**63 - 1


def are_built() -> bool:
    """Tell whether the sums are there and of this version."""
    return read_total("rollups_version") == VERSION


def build_rollups(
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Build the sums unless they are built; return of how many conversations.

    The caller holds the lock ``migrate``, so that two processes do not both build them.

    Args:
        should_stop: Asked between transactions; what is missing then is built the next time.
        on_progress: Told of how many conversations they are built, and how many there are.
    """
    if are_built():
        return 0
    number = 0
    total = _count_conversations()
    with writing():
        if read_total("rollups_built_key") == 0:
            for sums in ALL:
                execute(f"DELETE FROM {sums.parts}")
                execute(f"DELETE FROM {sums.rollups}")
            execute("DELETE FROM file_paths")
    while not should_stop():
        with writing():
            after = read_total("rollups_built_key")
            keys = [
                key
                for (key,) in fetch_all(
                    "SELECT key FROM conversations WHERE key > ? ORDER BY key LIMIT ?",
                    (after, _BATCH),
                )
            ]
            if not keys:
                set_total("rollups_version", VERSION)
                set_total("rollups_built_key", 0)
                return number
            refresh_rollups(keys)
            set_total("rollups_built_key", keys[-1])
        number += len(keys)
        on_progress(_count_conversations(until=keys[-1]), total)
    return number


def forget_rollups() -> None:
    """Let the sums be built anew, from nothing."""
    with writing():
        set_total("rollups_version", 0)
        set_total("rollups_built_key", 0)


def _count_conversations(*, until: int = _MAX_KEY) -> int:
    row = fetch_one("SELECT count(*) FROM conversations WHERE key <= ?", (until,))
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True)
class RollupDifferences:
    """What the sums have other than a recount: numbers of rows, by what is wrong.

    Attributes:
        checked: Rows that were compared.
        parts: What conversations add.
        sums: Sums over conversations.
        places: Conversations that count where they do not stand.
    """

    checked: int
    parts: int
    sums: int
    places: int

    @property
    def are_none(self) -> bool:
        """Whether all is as it should be."""
        return not self.parts and not self.sums and not self.places


_BEGINNINGS = {
    HOUR: "start / 3600 * 3600",
    DAY: "start / 86400 * 86400",
    MONTH: "unixepoch(start, 'unixepoch', 'start of month')",
}


def verify_rollups() -> RollupDifferences:
    """Count everything again and compare, as of one moment."""
    moment = Reading()
    try:
        places = dict(fetch_all("SELECT key, place_key FROM conversations ORDER BY key"))
        keys = list(places)
        checked = parts = wrong = 0
        for first in range(0, len(keys), _BATCH):
            some = {key: places[key] for key in keys[first : first + _BATCH]}
            for sums in ALL:
                known, counted = find_and_count(sums, some)
                if sums is FILES:
                    known = with_names(known, name_paths({part[2] for part in known}).get)
                checked += len(counted)
                parts += _count_differences(known, counted)
        misplaced = count_misplaced(keys)
        for sums in ALL:
            for level in _BEGINNINGS:
                for is_together in (False, True) if sums.has_together else (False,):
                    number, differences = _compare_sums(sums, level, is_together=is_together)
                    checked += number
                    wrong += differences
    finally:
        moment.close()
    return RollupDifferences(checked=checked, parts=parts, sums=wrong, places=misplaced)


def _count_differences(known: dict[Any, Any], counted: dict[Any, Any]) -> int:
    return sum(known.get(part) != counted.get(part) for part in known.keys() | counted.keys())


def _compare_sums(sums: Sums, level: int, *, is_together: bool) -> tuple[int, int]:
    """Return how many sums a level has, and how many differ from what the parts add up to."""
    kept = (
        f"SELECT place_key, start, {', '.join(sums.names)}, {', '.join(sums.measures)}"
        f" FROM {sums.rollups} WHERE level = {level + (TOGETHER if is_together else 0)}"
    )
    others = ", ".join(sums.names[1:])
    names = ", ".join(sums.names)
    if is_together:
        names = f"''{', ' if others else ''}{others}"
    groups = ", ".join(str(number + 1) for number in range(2 + len(sums.names)))
    recount = " UNION ALL ".join(
        f"SELECT {place}, {_BEGINNINGS[level]}, {names}, {sums.summed} FROM {sums.parts}"
        f" GROUP BY {groups}"
        for place in ("place_key", f"{EVERYWHERE} + 0 * start")
    )
    counted = fetch_one(
        f"WITH kept AS MATERIALIZED ({kept}), recount AS MATERIALIZED ({recount})"
        " SELECT (SELECT count(*) FROM recount),"
        " (SELECT count(*) FROM (SELECT * FROM kept EXCEPT SELECT * FROM recount))"
        " + (SELECT count(*) FROM (SELECT * FROM recount EXCEPT SELECT * FROM kept))"
    )
    assert counted is not None
    return counted[0], counted[1]
