"""The database of a command: made when it is missing, and with the schema of this code."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from observatory.errors import SchemaError, SettingsError
from observatory.ingest.progress import show_progress
from observatory.ingest.running import Progress
from observatory.loopback import is_loopback
from observatory.settings import Settings
from observatory.store import rollup_building, schema, users
from observatory.store.database import close, configure, connect
from observatory.store.locks import held


def open_database(settings: Settings, *, cache_mib: int = 4) -> None:
    """Connect to the database of the settings, which is made when it is missing.

    Raises:
        SettingsError: Its folder can not be made.
    """
    try:
        settings.db_path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        problem = f"its folder {settings.db_path.parent} can not be made: {error.strerror}"
        raise SettingsError({"DB_PATH": f"{problem}; name one that this user may make"}) from error
    configure(settings.db_path, synchronous=settings.db_synchronous, cache_mib=cache_mib)
    if not settings.db_path.exists():
        # SQLite would make it readable for everyone; its -wal and -shm get the same mode.
        settings.db_path.touch(mode=0o600)
    connect()


def open_existing_database(settings: Settings) -> None:
    """Connect to a database that is there and has the schema of this code.

    Raises:
        SchemaError: There is none, or it is older or newer.
    """
    # An empty file would get its first page by being opened.
    if not settings.db_path.exists() or not settings.db_path.stat().st_size:
        raise SchemaError(f"{settings.db_path} does not exist yet; `observatory serve` makes it.")
    open_database(settings)
    schema.check_current()


def prepare_schema(settings: Settings) -> None:
    """Make the schema of a new database; refuse one that is older or newer than the code.

    Sums that are not of this code are built, too.
    """
    if not schema.read_status().applied:
        schema.migrate()
        # The driver keeps the statements that were run most often, or first: those of migrations,
        # of which none comes again, would keep out all others.
        close()
        connect()
    schema.check_current()
    build_missing_rollups(settings)


def build_missing_rollups(settings: Settings) -> None:
    """Build the sums for reports unless they are built; how far that is goes to standard error.

    Whoever else wants to waits for it, and then finds nothing to do. What is interrupted goes on
    the next time.

    Raises:
        LockHeld: Another process has been building them, or migrating, for over a minute.
    """
    if rollup_building.are_built():
        return
    with (
        held(settings.db_path, "migrate", wait_seconds=schema.LOCK_WAIT_SECONDS),
        show_progress(sys.stderr) as show,
    ):

        def tell(done: int, total: int) -> None:
            # The terminal may be closed.
            with suppress(OSError):
                show(Progress(done, total, "summing up"))

        rollup_building.build_rollups(on_progress=tell)


@contextmanager
def connected(settings: Settings) -> Iterator[None]:
    """Connect to the database of the settings while a block runs, and then leave it.

    For a process that is going to fork: a connection must not be shared.
    """
    configure(settings.db_path, synchronous=settings.db_synchronous)
    connect()
    try:
        yield
    finally:
        close()


def check_exposure(hosts: Iterable[str]) -> None:
    """Return quietly when a server may listen on some addresses, with the connected database.

    Raises:
        SettingsError: Other machines could reach it, and there is no account to keep them out.
    """
    exposed = [host for host in hosts if not is_loopback(host)]
    if exposed and not users.has_admin():
        problem = (
            f"{exposed[0]} can be reached from other machines, and there is no account yet. Make"
            " one with `observatory user add EMAIL --role admin`, put a proxy with TLS before the"
            " server (docs/operations.md), and set ALLOWED_HOSTS and TRUSTED_PROXIES"
        )
        raise SettingsError({"HOST": problem})
