"""The schema's version: what is applied, what is pending, and bringing one up to the other."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from playhouse.migrations import Runner

from observatory.errors import SchemaError
from observatory.store.database import (
    DatabaseError,
    database,
    database_path,
    fetch_all,
    find_first_failure,
)
from observatory.store.locks import held
from observatory.store.models import Table

MIGRATIONS = Path(__file__).parent / "migrations"
TABLE = "schema_migrations"
LOCK_WAIT_SECONDS = 60.0
_FILE = re.compile(r"[0-9].*\.py")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class SchemaStatus:
    """Names of migrations, in order. ``unknown`` were applied by a newer version of the code."""

    applied: tuple[str, ...]
    pending: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def is_current(self) -> bool:
        """Whether the schema is the one this code was written for."""
        return not self.pending and not self.unknown


def _runner() -> Runner:
    return Runner(database, str(MIGRATIONS), table_name=TABLE)


def read_status() -> SchemaStatus:
    """Return what is applied and what is pending on the connected database."""
    return _read_status(_list_tables())


def _read_status(tables: set[str]) -> SchemaStatus:
    """Return the same as the runner does, which compiles queries and a model for it."""
    applied = set()
    if TABLE in tables:
        applied = {name for (name,) in fetch_all(f"SELECT name FROM {TABLE}")}
    known = {name.removesuffix(".py") for name in os.listdir(MIGRATIONS) if _FILE.fullmatch(name)}
    return SchemaStatus(
        applied=tuple(sorted(applied, key=_place)),
        pending=tuple(sorted(known - applied, key=_place)),
        unknown=tuple(sorted(applied - known, key=_place)),
    )


def _place(name: str) -> tuple[int, str]:
    """Return where a migration stands among others: by its number."""
    number = _NUMBER.match(name)
    return (int(number[0]) if number else -1, name)


def _list_tables() -> set[str]:
    return {name for (name,) in fetch_all("SELECT name FROM sqlite_master WHERE type = 'table'")}


def find_last_applied() -> str | None:
    """Return the name of the last migration that was applied, by reading alone."""
    [(name,)] = fetch_all(f"SELECT max(name) FROM {TABLE}")
    return None if name is None else str(name)


def migrate() -> tuple[str, ...]:
    """Apply all pending migrations and return their names.

    Each runs in a transaction of its own: one that fails leaves the schema as it was before it.
    Other processes that migrate wait for this one and then find nothing to do.

    Raises:
        SchemaError: The database was written by a newer version.
        LockHeld: Another process has been migrating for over a minute.
    """
    with held(database.database, "migrate", wait_seconds=LOCK_WAIT_SECONDS):
        status = read_status()
        if status.unknown:
            raise SchemaError(_newer(status))
        try:
            return tuple(_runner().up())
        except DatabaseError as error:
            # SQLite rolls back by itself when the disk is full; that peewee can not is no news.
            raise find_first_failure(error) from None


def check_current() -> None:
    """Return quietly when the schema is current.

    Raises:
        SchemaError: It is older or newer; the message names the command that mends it.
    """
    tables = _list_tables()
    status = _read_status(tables)
    if status.unknown:
        raise SchemaError(_newer(status))
    if status.pending:
        raise SchemaError(
            f"The database {database_path()} lacks {', '.join(status.pending)}."
            " Run `observatory migrate`."
        )
    missing = sorted({model._meta.table_name for model in Table.__subclasses__()} - tables)
    if missing:
        raise SchemaError(
            f"The database {database_path()} has no {', '.join(missing)}: an unfinished version"
            " made it. Move it away; `observatory migrate` and `observatory ingest` make it anew."
        )


def _newer(status: SchemaStatus) -> str:
    return (
        f"The database {database_path()} was written by a newer version of the Observatory"
        f" ({', '.join(status.unknown)}). Install that version, or restore a backup."
    )
