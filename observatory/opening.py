"""The database of a command: made when it is missing, and with the schema of this code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from observatory.errors import SettingsError
from observatory.loopback import is_loopback
from observatory.settings import Settings
from observatory.store import schema, users
from observatory.store.database import close, configure, connect


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


def prepare_schema(settings: Settings) -> None:
    """Make the schema of a new database; refuse one that is older or newer than the code."""
    if not schema.read_status().applied:
        schema.migrate()
    schema.check_current()


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
