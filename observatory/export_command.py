"""``observatory export``: everything in the archive as lines of JSON."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from observatory import __version__
from observatory.archive_files import STANDARD, packing
from observatory.errors import ArchiveFileError
from observatory.ingest.stopping import StopSignals
from observatory.looking import looking_once, may_write
from observatory.opening import open_existing_database
from observatory.settings import Settings, key_files
from observatory.store import schema
from observatory.store.archive_reading import count_records, read_records
from observatory.store.archive_records import END, FORMAT, HEADER, MAJOR, MINOR
from observatory.store.backups import check_target
from observatory.store.conversation_removal import list_removals
from observatory.store.database import one_moment
from observatory.store.whole_files import whole_file
from observatory.timestamps import now

_WRITE_BYTES = 1024 * 1024


def add_export_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "write everything in the archive to a file, as lines of JSON that any version reads"
    export = commands.add_parser("export", help=text, description=text)
    export.add_argument(
        "file", metavar="FILE", help="compressed when it ends in .gz or .zst; - is standard output"
    )
    export.add_argument("--force", action="store_true", help="write over FILE when it is there")
    export.add_argument("--json", action="store_true", help="print JSON")
    export.set_defaults(command=run_export)


class _Stopped(Exception):
    """A signal came."""


def run_export(options: argparse.Namespace, settings: Settings) -> int:
    """Write the archive of one moment, whole or not at all."""
    with StopSignals() as stop:
        try:
            return _export(options, settings, stop)
        except _Stopped:
            return 128 + stop.number


def _export(options: argparse.Namespace, settings: Settings, stop: StopSignals) -> int:
    began = time.monotonic()
    with _reading(settings) as is_of_one_moment:

        def check() -> None:
            if stop.is_requested():
                raise _Stopped
            if not is_of_one_moment():
                raise ArchiveFileError(
                    f"{settings.db_path} was written to by another program; run it again."
                )

        if options.file == STANDARD:
            counts = _write_standard(check)
            size = None
        else:
            target = Path(options.file)
            check_target(target, settings.db_path, keys=key_files(settings).values())
            counts, size = _write_file(target, check, replaces=options.force)
    told = {
        "file": options.file,
        "bytes": size,
        "records": sum(counts.values()),
        "counts": counts,
        "seconds": round(time.monotonic() - began, 3),
    }
    # Standard output may have the archive itself.
    stream = sys.stderr if options.file == STANDARD else sys.stdout
    print(orjson.dumps(told).decode() if options.json else _describe(told), file=stream, flush=True)
    return 0


@contextmanager
def _reading(settings: Settings) -> Iterator[Callable[[], bool]]:
    """Connect to the database, also where it can only be read.

    Yields:
        What tells whether it is still the database of one moment.
    """
    if may_write(settings.db_path):
        open_existing_database(settings)
        yield lambda: True
        return
    with looking_once(settings.db_path) as is_of_one_moment:
        schema.check_current()
        yield is_of_one_moment


def _describe(told: dict[str, Any]) -> str:
    size = "" if told["bytes"] is None else f" {told['bytes']:,} bytes,"
    counts = told["counts"]
    return (
        f"Wrote {told['file']}:{size} {told['records']:,} records,"
        f" {counts['conversation']:,} conversations, {counts['message']:,} messages;"
        f" in {told['seconds']:.1f} s. Not in it are accounts, keys, webhooks and the audit log."
    )


def _write_standard(check: Callable[[], None]) -> dict[str, int]:
    # Python has none at its start when it was closed.
    if sys.__stdout__ is None:
        raise ArchiveFileError("Standard output is closed; name a file.")
    try:
        counts = _write(sys.stdout.buffer, STANDARD, check)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left in the buffer can not be written at the end, either.
        sys.stdout = None
        raise ArchiveFileError(
            f"Standard output can not be written to: {error.strerror}. What was written of the"
            " archive is not whole."
        ) from error
    return counts


def _write_file(
    target: Path, check: Callable[[], None], *, replaces: bool
) -> tuple[dict[str, int], int]:
    if not target.parent.is_dir():
        raise ArchiveFileError(f"There is no folder {target.parent}; make it first.")
    with whole_file(target, replaces=replaces) as draft:
        # Opened anew by its name it would get no other mode.
        with _telling_of_room(target), draft.open("r+b") as stream:
            counts = _write(stream, target.name, check)
        return counts, draft.stat().st_size


@contextmanager
def _telling_of_room(target: Path) -> Iterator[None]:
    """Say which file there was no room for: a write does not tell."""
    try:
        yield
    except OSError as error:
        raise ArchiveFileError(
            f"{target} can not be written: {error.strerror}. Nothing was left there. Make room, or"
            " name a file elsewhere."
        ) from error


def _write(stream: IO[bytes], name: str, check: Callable[[], None]) -> dict[str, int]:
    """Write header, records and end; return how many records of each type there are.

    Args:
        stream: Where to.
        name: Says how it is compressed.
        check: Called now and then, and before the end; raises when it is to be no export.
    """
    with one_moment(), packing(stream, name) as packed, _gathering(packed) as put:
        if list_removals():
            raise ArchiveFileError(
                "A conversation is being removed at the moment; wait, or run `observatory ingest`,"
                " which ends what was interrupted."
            )
        counts = count_records()
        put(
            {
                "type": HEADER,
                "format": FORMAT,
                "version": f"{MAJOR}.{MINOR}",
                "product_version": __version__,
                "created_at": now(),
                "counts": counts,
            }
        )
        for number, record in enumerate(read_records()):
            put(record)
            if number % 1000 == 0:
                check()
        check()
        put({"type": END, "records": sum(counts.values())})
    return counts


@contextmanager
def _gathering(stream: IO[bytes]) -> Iterator[Any]:
    """Yield what writes a record as a line; many go to the stream at once."""
    waiting = bytearray()

    def put(record: dict[str, Any]) -> None:
        waiting.extend(orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE))
        if len(waiting) >= _WRITE_BYTES:
            stream.write(waiting)
            waiting.clear()

    yield put
    stream.write(waiting)
