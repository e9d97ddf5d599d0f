"""What is in the database: sound, current, built, priced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

from observatory.doctor.findings import Finding, error, ok, warning
from observatory.errors import ObservatoryError, TimeLimitReached
from observatory.looking import look_at
from observatory.store import rollup_building, schema, users
from observatory.store.database import (
    DatabaseError,
    end_limit,
    find_cure,
    limit_time,
    sqlite_version,
)
from observatory.store.events import find_newest_time
from observatory.store.prices import ALL_PRICED, read_pricing_state
from observatory.store.search import count_waiting_messages
from observatory.store.verifying import check_integrity
from observatory.timestamps import timestamp_in
from observatory.transcripts.prices import fingerprint

_QUICK_SECONDS = 10.0
_FUTURE_SECONDS = 300
_RESTORE = (
    "`observatory restore FILE` puts a backup in its place; without one move it away, and"
    " `observatory ingest` reads the transcripts anew."
)


def check_sqlite() -> Finding:
    """Return whether SQLite's version is known to damage databases.

    Source: https://sqlite.org/wal.html#walresetbug
    """
    number = sqlite_version()
    text = ".".join(map(str, number))
    is_mended = (
        number >= (3, 51, 3) or (3, 50, 7) <= number < (3, 51) or (3, 44, 6) <= number < (3, 45)
    )
    if not is_mended:
        return warning(
            "sqlite",
            f"SQLite {text} can in rare cases damage a database that several write to (the"
            ' "WAL-reset bug").',
            "Install pysqlite3, or a Python with SQLite 3.51.3 or newer.",
        )
    return ok("sqlite", f"SQLite {text}")


def check_contents(path: Path, *, is_deep: bool) -> Iterator[Finding]:
    """Yield how the contents of a database are that this user may read.

    Args:
        path: The database.
        is_deep: Whether all of it is looked at, however long that takes.
    """
    try:
        yield from look_at(path, lambda: list(_look(is_deep=is_deep)))
    except DatabaseError as failure:
        mend = find_cure(failure) or _RESTORE
        yield error("contents", f"The database can not be read: {failure}.", mend)
    except ObservatoryError as failure:
        yield error("contents", str(failure), "Do that, and run this again.")


def _look(*, is_deep: bool) -> Iterator[Finding]:
    yield _check_pages(is_deep=is_deep)
    try:
        status = schema.read_status()
        if status.unknown:
            names = ", ".join(status.unknown)
            yield error(
                "schema",
                f"A newer version wrote it ({names}).",
                "Install that version, or restore a backup of this one.",
            )
            return
        if status.pending:
            yield error("schema", f"It lacks {', '.join(status.pending)}.", "`observatory migrate`")
            return
        schema.check_current()
        yield ok("schema", f"current ({status.applied[-1]})")
        yield from _check_state()
    except DatabaseError as failure:
        yield error("contents", f"It can not be read: {failure}.", _RESTORE)


def _check_pages(*, is_deep: bool) -> Finding:
    if not is_deep:
        limit_time(perf_counter() + _QUICK_SECONDS)
    try:
        found = check_integrity(limit=3, is_quick=not is_deep)
    except TimeLimitReached:
        return ok(
            "integrity",
            f"nothing is wrong in what could be looked at in {_QUICK_SECONDS:.0f} s; --deep looks"
            " at all of it",
        )
    finally:
        end_limit()
    if found:
        return error("integrity", f"It is damaged: {'; '.join(found)}.", _RESTORE)
    return ok("integrity", f"{'integrity' if is_deep else 'quick'}_check finds nothing")


def _check_state() -> Iterator[Finding]:
    if rollup_building.are_built():
        yield ok("sums", "built")
    else:
        yield warning(
            "sums",
            "The sums for reports are not built.",
            "`observatory migrate` builds them, as does any start.",
        )
    state = read_pricing_state()
    is_priced = state.priced_with == fingerprint(state.own_prices)
    if is_priced and state.priced_key == ALL_PRICED:
        yield ok("prices", "all calls are priced as prices are now")
    else:
        yield warning(
            "prices",
            "Calls were priced with other prices than these.",
            "`observatory ingest` prices them, as does the watcher.",
        )
    waiting = count_waiting_messages()
    if waiting:
        yield warning(
            "search index",
            f"{waiting:,} messages can not be found yet.",
            "`observatory ingest` indexes them, as does the watcher.",
        )
    else:
        yield ok("search index", "every message is in it")
    newest = find_newest_time()
    if newest is not None and newest > timestamp_in(_FUTURE_SECONDS):
        yield error(
            "clock",
            f"The newest event is of {newest}, which is in the future.",
            "Set the clock (`timedatectl`); until then reports and ends of sign-ins are wrong.",
        )


def has_admin(path: Path) -> bool | None:
    """Tell whether there is an admin's account, or ``None`` where that can not be read."""
    try:
        return look_at(path, users.has_admin)
    except (DatabaseError, ObservatoryError):
        return None
