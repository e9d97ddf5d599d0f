"""The one SQLite database: how a connection is tuned, and when one is opened.

Every connection is tuned alike, here and nowhere else. A connection lives as long as its thread:
opening one costs more than most queries. All access goes through peewee's driver (pysqlite3 where
its wheel exists): two SQLite libraries in one process drop each other's file locks.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import peewee

from observatory.errors import DatabaseReplaced, TimeLimitReached
from observatory.metrics import WRITE_TIMEOUTS, observe_write
from observatory.store.driver import leave_out_locks
from observatory.store.handed_over_lock import Turns
from observatory.store.lock_bell import Bell, NoBell
from observatory.store.locks import passing
from observatory.store.time_limits import (
    begin_time_limit,
    check_time_limit,
    end_time_limit,
    seconds_left,
)

_driver = peewee.sqlite3  # type: ignore[attr-defined]
leave_out_locks(_driver)
# Of a value that is neither number nor text the driver asks what it is stored as. Without an answer
# it looks in four places and fails in each, which takes longer than inserting the row.
_driver.register_adapter(type(None), dict[None, None]().get)
_driver.register_adapter(bytes, bytes)

# What a statement is given: values in order, or by name.
Parameters = Sequence[Any] | Mapping[str, Any]

# busy_timeout, ms: writers queue behind a batch of ingest for milliseconds, behind a VACUUM longer.
BUSY_TIMEOUT_MS = 10_000
# So 16 MiB of log: a bulk ingest writes the pages it keeps changing a quarter as often.
LOG_PAGES = 4000
_RETRY_SECONDS = 0.02
# How long a writer sleeps before it asks for the lock again: SQLite sleeps up to 100 ms, in which
# others take it any number of times. A process has one writer that asks, so asking often is cheap.
# Another worker is done in some milliseconds, an ingest takes longer.
_FIRST_SLEEP_SECONDS = 0.0005
_SLEEPS_AT_FIRST = 30
_LONGEST_SLEEP_SECONDS = 0.005
# Who waits no longer than that only tries, and does without it: that is no timeout to be told of.
TRY_MS = 100
# Some milliseconds of work.
_INSTRUCTIONS = 50_000
_READERS_MS = 1000
# A batch of an ingest runs some 115 statements one after the other: with room for fewer (the driver
# has it for 100) each is gone when its turn comes again, and was a twelfth of the time.
_CACHED_STATEMENTS = 160
# Held by others while they open the database, and alone by who puts another file in its place.
OPENING_LOCK = "opening"
# Held by all servers of a database, together.
SERVING_LOCK = "serve"
_WAL_HEADER_BYTES = 32

database = peewee.SqliteDatabase(None, autoconnect=False, lock_type="IMMEDIATE")
# Reads look as often whether the files are those that were opened; writes each time.
_LOOK_SECONDS = 0.25


class _Files:
    """The files of the database, by device and inode, as this process has opened them."""

    def __init__(self) -> None:
        # The database, its log and the log's index; ``None`` for what is not there.
        self.opened: tuple[tuple[int, int] | None, ...] = ()
        # The database may be a link; the log lies beside the file.
        self.real_path = ""
        self.looked_at = 0.0
        # Of threads with a connection. Without any the log may go, and come anew.
        self.users: weakref.WeakSet[_User] = weakref.WeakSet()


class _User:
    """Lives as long as the connection of a thread, which goes with its thread."""


class _Using(threading.local):
    user: _User | None = None


_files = _Files()
_using = _Using()
# Of the threads of this process that write: only one of them competes with other processes.
_turns = Turns()
# Of the processes that are forked from this one.
_bell = NoBell()


def pragmas(*, synchronous: str = "NORMAL", cache_mib: int = 4) -> dict[str, Any]:
    """Return the pragmas of every connection, each with its reason.

    Args:
        synchronous: OFF, NORMAL, FULL or EXTRA, see docs/operations.md for what each promises.
        cache_mib: Page cache of one connection in MiB.
    """
    return {
        # Readers never wait for the writer, nor the writer for them. Stays with the file.
        "journal_mode": "wal",
        # NORMAL: a commit survives the death of the process; power loss may take the last ones.
        "synchronous": synchronous,
        # Off by default in SQLite, and needed for every ON DELETE of the schema.
        "foreign_keys": 1,
        # Wait for a lock instead of failing at once.
        "busy_timeout": BUSY_TIMEOUT_MS,
        # Negative is KiB. Small, since each thread of each worker has its own.
        "cache_size": -1024 * cache_mib,
        # Sorting of a page of rows needs no file.
        "temp_store": "memory",
        "wal_autocheckpoint": LOG_PAGES,
        # Give the disk space of a WAL that once grew back at the next checkpoint.
        "journal_size_limit": 64 * 1024 * 1024,
    }


def configure(path: str | Path, *, synchronous: str = "NORMAL", cache_mib: int = 4) -> None:
    """Say which file the database is; nothing is opened yet."""
    _leave_database()
    database.init(
        str(path),
        pragmas=pragmas(synchronous=synchronous, cache_mib=cache_mib),
        timeout=10,
        cached_statements=_CACHED_STATEMENTS,
    )


def _leave_database() -> None:
    """Close this thread's connection, and forget which files were open, and by whom.

    Threads that still have the last database open do not keep the log of the next one.
    """
    close()
    _files.opened = ()
    _files.users = weakref.WeakSet()


def configure_for_looking(path: str | Path) -> None:
    """Say which file the database is, and that nothing is written: not to it, nor beside it.

    Without a write-ahead log nobody has it open, and none is made: SQLite is told that the file
    does not change. Who looks for long compares ``file_state`` before and after.
    """
    _leave_database()
    is_still = not log_path(path).exists()
    name = quote(os.fsencode(os.path.abspath(path)))
    place = f"file:{name}?mode=ro{'&immutable=1' if is_still else ''}"
    kept = pragmas(cache_mib=16)
    looking = {name: kept[name] for name in ("busy_timeout", "cache_size", "temp_store")}
    database.init(place, pragmas=looking, timeout=10, uri=True)


def database_path() -> str:
    """Return the path of the configured database."""
    name = str(database.database)
    if not name.startswith("file:"):
        return name
    return os.fsdecode(unquote_to_bytes(name[5:].rpartition("?")[0]))


def log_path(path: str | Path) -> Path:
    """Return where the write-ahead log of a database lies: beside the file, not beside a link."""
    return Path(f"{os.path.realpath(path)}-wal")


def file_state(path: str | Path) -> tuple[Any, ...]:
    """Return what is another thing once somebody began to write to a database's file."""
    try:
        status = Path(path).stat()
    except OSError:
        return ()
    return (
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        log_path(path).exists(),
    )


def connect() -> None:
    """Give this thread its connection, unless it has one.

    While another process sets up the write-ahead log of a new file, SQLite says "locked" at once,
    whatever the busy timeout is: it is asked again.

    Raises:
        LockHeld: Another file is being put in its place, and that takes long.
        DatabaseReplaced: Its files are not any more those that were opened.
    """
    if not database.is_closed():
        if time.monotonic() - _files.looked_at > _LOOK_SECONDS:
            check_files()
        return
    with passing(database_path(), OPENING_LOCK, wait_seconds=BUSY_TIMEOUT_MS / 1000):
        check_files()
        _connect()
        _note_files()


def check_files() -> None:
    """Return quietly while the files of the database are those that this process has opened.

    SQLite goes on with files that nobody else finds any more: what it writes to them is lost. And
    whoever opens others under their names would mix both.

    Raises:
        DatabaseReplaced: One was moved, deleted or replaced.
    """
    _files.looked_at = time.monotonic()
    if not _files.opened:
        return
    now = _find_files()
    if now == _files.opened:
        return
    count = len(now) if _files.users else 1
    for before, after in list(zip(_files.opened, now, strict=True))[:count]:
        # The log is made with the first statement, which may come after the files were noted.
        if before not in (None, after):
            # It is looked at again the next time: who moved it away may put it back.
            _files.looked_at = 0.0
            raise DatabaseReplaced(database_path())
    _files.opened = now


def _note_files() -> None:
    # Who only looks may be shown a file without a log, and writes nothing.
    if not str(database.database).startswith("file:"):
        _files.real_path = os.path.realpath(database_path())
        _files.opened = _find_files()
        _using.user = _User()
        _files.users.add(_using.user)


def _find_files() -> tuple[tuple[int, int] | None, ...]:
    path = _files.real_path
    return (_identify(database_path()), _identify(f"{path}-wal"), _identify(f"{path}-shm"))


def _identify(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _connect() -> None:
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while database.is_closed():
        try:
            database.connect()
        except peewee.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= until:
                raise
            time.sleep(_RETRY_SECONDS)


def limit_time(until: float) -> None:
    """End this thread's work in the database at a time, until ``end_time_limit``.

    Args:
        until: The time, by ``perf_counter``, in seconds.
    """
    begin_time_limit(database.connection(), until)


def end_limit() -> None:
    """Let this thread work as long as it takes."""
    end_time_limit()


def sqlite_version() -> tuple[int, ...]:
    """Return the version of the SQLite library that all of this goes through."""
    return tuple(_driver.sqlite_version_info)


def give_back_memory(*, cache_mib: int) -> None:
    """Make this thread's page cache smaller, and free what it holds."""
    connection = database.connection()
    connection.execute(f"PRAGMA cache_size = {-1024 * cache_mib}")
    connection.execute("PRAGMA shrink_memory")


def close() -> None:
    """Close this thread's connection, if it has one."""
    if not database.is_closed():
        database.close()
    _using.user = None


@contextmanager
def writing(*, moves: str | None = "revision") -> Iterator[None]:
    """Run a block as one write transaction that takes the lock at once.

    Args:
        moves: What is told by this that something has changed: ``revision``, by which readers know
            the archive; ``auth_revision``, by which they know that who was let in is let in still;
            or ``None`` for what neither depends on.
    """
    failure: BaseException | None = None
    locked: float | None = None
    is_outermost = not is_writing()
    began = time.perf_counter()
    transaction = _Transaction() if is_outermost else database.atomic()
    try:
        with transaction:
            locked = time.perf_counter()
            try:
                yield
                if moves is not None:
                    execute("UPDATE totals SET value = value + 1 WHERE name = ?", (moves,))
            except BaseException as error:
                failure = error
                raise
    except DatabaseError as error:
        if is_outermost and locked is None and is_busy(error) and _is_patient():
            WRITE_TIMEOUTS.inc()
        # SQLite rolls back by itself when the disk is full; that peewee then can not is no news.
        if failure is not None and failure is not error:
            raise failure from None
        # The same when the commit itself fails.
        first = find_first_failure(error)
        if first is not error:
            raise first from None
        raise
    finally:
        if is_outermost and locked is not None:
            observe_write(began=began, locked=locked)
    if is_outermost:
        # What is done is told, however long that takes: who hears of no success repeats it.
        end_time_limit()


def is_writing() -> bool:
    """Tell whether this thread is in a write transaction."""
    return bool(database.in_transaction())


def read_write_mark() -> tuple[int, bool]:
    """Return what is another thing once this thread changed anything, or has no transaction."""
    connection = database.connection()
    return connection.total_changes, connection.in_transaction


def _is_patient() -> bool:
    return _read_patience() > TRY_MS


def _read_patience() -> int:
    [milliseconds] = database.connection().execute("PRAGMA busy_timeout").fetchone()
    return int(milliseconds)


def _set_patience(milliseconds: int) -> None:
    database.connection().execute(f"PRAGMA busy_timeout = {milliseconds}").fetchall()


def hang_bell() -> None:
    """Let writers of the processes that are forked from now on hear when another has written."""
    global _bell
    _bell = Bell()


def seconds_of_turn() -> float:
    """Return for how long the writer of this process has waited or written; 0 without one."""
    return _turns.seconds_taken()


def find_first_failure(error: DatabaseError) -> DatabaseError:
    """Return what failed first, before it could not be rolled back either."""
    first = error
    earlier = error.__context__
    while earlier is not None:
        if isinstance(earlier, DatabaseError):
            first = earlier
        earlier = earlier.__context__
    return first


class _Transaction:
    """A write transaction, for which this thread waits in the order of the process.

    It waits as long as the connection's ``busy_timeout`` says, or as long as its work may take.
    """

    def __init__(self) -> None:
        self._atomic = database.atomic("IMMEDIATE")
        self._has_turn = False

    def __enter__(self) -> None:
        patience_ms = _read_patience()
        left = seconds_left()
        seconds = patience_ms / 1000 if left is None else min(patience_ms / 1000, left)
        until = time.monotonic() + seconds
        # Who only tries does not queue, and so gets its chance between two who do.
        if patience_ms > TRY_MS:
            self._has_turn = _turns.take(seconds)
            if not self._has_turn:
                raise OperationalError("database is locked")
        try:
            _set_patience(0)
            try:
                self._begin(until)
            finally:
                _set_patience(patience_ms)
            try:
                check_files()
            except BaseException:
                self._atomic.__exit__(*sys.exc_info())
                raise
        except BaseException:
            self._end_turn()
            raise

    def _begin(self, until: float) -> None:
        pause = _FIRST_SLEEP_SECONDS
        _bell.forget()
        for number in itertools.count(1):
            try:
                self._atomic.__enter__()
                return
            except OperationalError as error:
                if not is_busy(error) or time.monotonic() + pause > until:
                    raise
            _bell.wait(pause)
            if number >= _SLEEPS_AT_FIRST:
                pause = min(2 * pause, _LONGEST_SLEEP_SECONDS)

    def __exit__(self, *failure: Any) -> None:
        try:
            self._atomic.__exit__(*failure)
        finally:
            _bell.ring()
            self._end_turn()

    def _end_turn(self) -> None:
        if self._has_turn:
            self._has_turn = False
            _turns.end()


@contextmanager
def waiting_at_most(milliseconds: int) -> Iterator[None]:
    """Let a block fail after that time, or at once, where another connection holds the lock."""
    before = _read_patience()
    _set_patience(milliseconds)
    try:
        yield
    finally:
        _set_patience(before)


class Reading:
    """All that this thread reads while it is open is of one moment of the archive.

    It holds a statement that has a row left: as long as one is open, SQLite shows all others of
    the connection what it showed the first. That says which moment it is, too, and costs half of
    a transaction around the reads.
    """

    __slots__ = ("_cursor", "auth_revision", "revision")

    def __init__(self) -> None:
        try:
            self._cursor = database.connection().execute(_REVISIONS)
            self.revision: int
            self.auth_revision: int
            self.revision, self.auth_revision = self._cursor.fetchone()
        except _driver.Error as error:
            raise _as_peewee_error(error) from error

    def close(self) -> None:
        """Let later reads see what has come since."""
        self._cursor.close()


_REVISIONS = (
    "SELECT a.value, b.value FROM totals a, totals b"
    " WHERE a.name = 'revision' AND b.name = 'auth_revision' UNION ALL SELECT NULL, NULL"
)


def read_data_version() -> int:
    """Return a number that is another one once any other connection has changed anything."""
    row = fetch_one("PRAGMA data_version")
    assert row is not None
    return int(row[0])


def read_schema_version() -> int:
    """Return a number that is another one once anybody has changed the schema, or ran VACUUM."""
    row = fetch_one("PRAGMA schema_version")
    assert row is not None
    return int(row[0])


def read_auth_revision() -> int:
    """Return the number that moves when somebody who was let in may be let in no more."""
    row = fetch_one("SELECT value FROM totals WHERE name = 'auth_revision'")
    assert row is not None
    return int(row[0])


def fetch_all(sql: str, parameters: Parameters = ()) -> list[tuple[Any, ...]]:
    """Return all rows of a statement as tuples.

    The driver is asked directly: on the hot path peewee's own way costs as much as the statement.
    Hot statements say ``LIMIT +?``: with ``LIMIT ?`` SQLite plans them anew each time, for it may
    find a better plan when it knows the number.
    """
    check_time_limit()
    try:
        rows: list[tuple[Any, ...]] = database.connection().execute(sql, parameters).fetchall()
    except _driver.Error as error:
        raise _as_peewee_error(error) from error
    return rows


def fetch_one(sql: str, parameters: Parameters = ()) -> tuple[Any, ...] | None:
    """Return the first row of a statement, or ``None``."""
    check_time_limit()
    try:
        row: tuple[Any, ...] | None = database.connection().execute(sql, parameters).fetchone()
    except _driver.Error as error:
        raise _as_peewee_error(error) from error
    return row


def iterate(sql: str, parameters: Parameters = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a statement one by one, for what memory may not hold."""
    check_time_limit()
    try:
        yield from database.connection().execute(sql, parameters)
    except _driver.Error as error:
        raise _as_peewee_error(error) from error


def iterate_named(sql: str, parameters: Parameters = ()) -> Iterator[dict[str, Any]]:
    """Yield the rows of a statement one by one, their values by the names of the columns."""
    check_time_limit()
    try:
        cursor = database.connection().execute(sql, parameters)
        names = [column[0] for column in cursor.description]
        for row in cursor:
            yield dict(zip(names, row, strict=True))
    except _driver.Error as error:
        raise _as_peewee_error(error) from error


@contextmanager
def one_moment() -> Iterator[None]:
    """Show all that this thread reads in a block as it is at its beginning; nothing is written."""
    connection = database.connection()
    connection.execute("BEGIN")
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchall()
        yield
    finally:
        connection.execute("ROLLBACK")


def connect_to_memory() -> Any:
    """Return a connection of its own to an empty database in memory, for the caller to close."""
    return _driver.connect(":memory:", isolation_level=None)


def execute(sql: str, parameters: Parameters = ()) -> int:
    """Run a statement and return how many rows it changed."""
    check_time_limit()
    try:
        changed: int = database.connection().execute(sql, parameters).rowcount
    except _driver.Error as error:
        raise _as_peewee_error(error) from error
    return changed


def _as_peewee_error(error: Exception) -> peewee.DatabaseError | TimeLimitReached:
    if str(error) == "interrupted":
        return TimeLimitReached()
    kind = getattr(peewee, type(error).__name__, peewee.DatabaseError)
    return kind(*error.args)


def count_changes() -> int:
    """Return how many rows this connection has changed since it was opened."""
    row = fetch_one("SELECT total_changes()")
    assert row is not None
    return int(row[0])


def execute_many(sql: str, rows: Sequence[Sequence[Any]]) -> None:
    """Run one statement for many rows."""
    if not rows:
        return
    check_time_limit()
    try:
        database.connection().executemany(sql, rows)
    except _driver.Error as error:
        raise _as_peewee_error(error) from error


def uploads_folder(database_path: str | Path) -> Path:
    """Return the folder of uploaded transcripts, beside the database; it need not be there."""
    return Path(os.path.abspath(database_path)).parent / "uploads"


def copy_into(path: str | Path, *, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Write all that the connected database has to an empty file, as of one moment.

    VACUUM INTO reads as any reader does, so nobody waits; it leaves out free pages, which may hold
    what was masked or removed, and as it reads each row, it does not copy damage in silence. The
    copy needs no write-ahead log beside it.

    Args:
        path: An empty file, whose mode stays.
        should_stop: Asked now and then; when it turns true this fails as interrupted.
    """
    connection = database.connection()
    connection.set_progress_handler(should_stop, _INSTRUCTIONS)
    try:
        connection.execute("VACUUM INTO ?", (str(path),))
    except _driver.Error as error:
        raise getattr(peewee, type(error).__name__, peewee.DatabaseError)(*error.args) from error
    finally:
        connection.set_progress_handler(None, 0)


def fold_log(path: str | Path) -> bool:
    """Take the write-ahead log of a database that nobody has open into its file.

    Returns:
        Whether the file alone is the whole database then; else it is damaged.
    """
    try:
        connection = _driver.connect(str(path), isolation_level=None)
        try:
            connection.execute("PRAGMA wal_checkpoint (TRUNCATE)").fetchall()
        finally:
            connection.close()
    except _driver.Error:
        return False
    log = log_path(path)
    return not log.exists() or not log.stat().st_size


def vacuum(*, should_stop: Callable[[], bool] = lambda: False) -> None:
    """Write the file anew, without what was taken out of it; writers wait meanwhile.

    It takes memory of the file's size, for SQLite makes a copy there (pysqlite3 is built so,
    whatever ``temp_store`` says), and as much room for the log. ``copy_into`` takes neither.

    Args:
        should_stop: Asked now and then; when it turns true this fails as interrupted, and
            everything is as it was.
    """
    connection = database.connection()
    connection.set_progress_handler(should_stop, _INSTRUCTIONS)
    try:
        connection.execute("VACUUM")
    except _driver.Error as error:
        raise getattr(peewee, type(error).__name__, peewee.DatabaseError)(*error.args) from error
    finally:
        connection.set_progress_handler(None, 0)
    empty_log()


def empty_log() -> bool:
    """Take the write-ahead log into the file and make it empty, unless somebody reads.

    Others that write wait meanwhile, so this waits for readers for a moment only.
    """
    with waiting_at_most(_READERS_MS):
        row = fetch_one("PRAGMA wal_checkpoint (TRUNCATE)")
    return row is not None and not row[0]


def count_wal_pages() -> int | None:
    """Return how many pages of the write-ahead log are not in the database; outside transactions.

    ``None`` before SQLite 3.51, where asking moves them, or while it can not be told.
    """
    if _driver.sqlite_version_info < (3, 51):
        return None
    try:
        row = fetch_one("PRAGMA wal_checkpoint(NOOP)")
    except peewee.OperationalError:
        return None
    assert row is not None
    return max(0, int(row[1]) - int(row[2]))


def read_wal_salt() -> int | None:
    """Return a number that moves by one when the write-ahead log is begun anew; ``None`` without.

    It is another number in a new log. The log has no locks on it, so it can be opened.
    """
    try:
        with log_path(database_path()).open("rb") as log:
            header = log.read(_WAL_HEADER_BYTES)
    except OSError:
        return None
    if len(header) < _WAL_HEADER_BYTES:
        return None
    return int.from_bytes(header[16:20], "big")


def file_sizes() -> tuple[int, int]:
    """Return the bytes of the database file and of its write-ahead log."""
    path = Path(database_path())
    return tuple(  # type: ignore[return-value]
        file.stat().st_size if file.exists() else 0
        for file in (path, path.with_name(path.name + "-wal"))
    )


DatabaseError = peewee.DatabaseError
OperationalError = peewee.OperationalError


def is_interrupted(error: Exception) -> bool:
    """Tell whether an error means that the work took longer than it may."""
    return isinstance(error, peewee.OperationalError) and str(error) == "interrupted"


def is_busy(error: BaseException) -> bool:
    """Tell whether an error means that another connection holds the lock for too long."""
    return isinstance(error, peewee.OperationalError) and "locked" in str(error)


def is_full(error: Exception) -> bool:
    """Tell whether an error means that there is no room left on the disk."""
    return isinstance(error, peewee.OperationalError) and "full" in str(error)


def may_be_full(error: Exception) -> bool:
    """Tell whether an error may mean that; of a mapped file SQLite says no more."""
    return is_full(error) or "disk i/o" in str(error).lower()


_CURES = {
    "locked": "Another program holds its lock; end it, or try again.",
    "full": "Make room on the disk, and try again: nothing that was kept is lost.",
    "readonly": "Let this user write to it and to its folder.",
    "unable to open": "Let this user read and write it and its folder; DB_PATH names it.",
    "not a database": "DB_PATH names another kind of file; it is left as it is.",
    "malformed": "It is damaged; restore a backup, or move it away and read the transcripts anew.",
    # What SQLite says, too, when there is no room left for the file of its shared memory.
    "disk i/o": "The disk is full, or it failed: make room, or look at the system's log.",
}


def find_cure(error: Exception) -> str | None:
    """Return what to do about an error that is not the code's, or ``None``."""
    reason = str(error).lower()
    return next((cure for word, cure in _CURES.items() if word in reason), None)


def describe_failure(error: Exception) -> str:
    """Say which database can not be used, why, and what to do."""
    reason = f"The database {database_path()} can not be used: {error}."
    return f"{reason} {find_cure(error) or ''}".rstrip()
