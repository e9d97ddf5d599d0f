"""``observatory compact``: gives room in the file back, and puts the search index in order."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from observatory.arguments import add_wait
from observatory.errors import CompactingRefused, DatabaseInUse
from observatory.ingest.progress import show_progress
from observatory.ingest.running import Progress
from observatory.ingest.stopping import StopSignals
from observatory.opening import open_existing_database
from observatory.settings import Settings
from observatory.store import search
from observatory.store.database import (
    BUSY_TIMEOUT_MS,
    DatabaseError,
    close,
    configure,
    configure_for_looking,
    connect,
    copy_into,
    empty_log,
    file_sizes,
    file_state,
    fold_log,
    is_interrupted,
    vacuum,
)
from observatory.store.locks import held
from observatory.store.maintenance import check_room_to_compact
from observatory.store.replacing import nobody_else, put_in_place, working_folder
from observatory.store.verifying import check_integrity

# What a slow disk manages; docs/operations.md tells what was measured.
_BYTES_PER_SECOND = 40_000_000
# Others that write give up after BUSY_TIMEOUT_MS.
_BEARABLE_SECONDS = BUSY_TIMEOUT_MS / 1000 / 2


def add_compact_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "write the database anew without free space, and put its search index in order"
    compact = commands.add_parser("compact", help=text, description=text)
    compact.add_argument(
        "--reindex", action="store_true", help="make the search index anew from the messages"
    )
    compact.add_argument(
        "--force", action="store_true", help="also when a server's writers would wait for long"
    )
    add_wait(compact)
    compact.add_argument("--json", action="store_true", help="print JSON")
    compact.set_defaults(command=run_compact)


def run_compact(options: argparse.Namespace, settings: Settings) -> int:
    """Merge the search index, write the file anew, empty its log."""
    open_existing_database(settings)
    began = time.monotonic()
    before = file_sizes()
    check_room_to_compact(in_memory=False)
    with StopSignals() as stop:
        try:
            with held(settings.db_path, "ingest", wait_seconds=options.wait):
                _order_index(options, stop)
            if not stop.is_requested() and not _write_alone(settings, stop):
                _write_beside_others(options, settings, stop)
            open_existing_database(settings)
            is_log_empty = empty_log()
        except DatabaseError as error:
            if not (stop.is_requested() and is_interrupted(error)):
                raise
        if stop.is_requested():
            print("Stopped; run again for the rest.", file=sys.stderr)
            return 128 + stop.number
    after = file_sizes()
    told = {
        "bytes_before": before[0],
        "bytes_after": after[0],
        "log_bytes_before": before[1],
        "log_bytes_after": after[1],
        "is_reindexed": options.reindex,
        "seconds": round(time.monotonic() - began, 3),
    }
    if options.json:
        print(orjson.dumps(told).decode())
    else:
        print(
            f"From {before[0]:,} bytes and a log of {before[1]:,}"
            f" to {after[0]:,} and {after[1]:,}, in {told['seconds']:.1f} s."
        )
        if not is_log_empty:
            print("Somebody was reading, so the log stays until the next checkpoint.")
    sys.stdout.flush()
    return 0


def _order_index(options: argparse.Namespace, stop: StopSignals) -> None:
    """Merge the search index, or make it anew, in short transactions."""
    with show_progress(sys.stderr) as show:

        def tell(stage: str, done: int, total: int) -> None:
            # The terminal may be closed.
            with suppress(OSError):
                show(Progress(done, total, stage))

        if options.reindex:
            _index_again(tell, stop.is_requested)
        while not stop.is_requested() and search.merge_segments(into_one=True):
            tell("merging", 0, 0)


def _write_alone(settings: Settings, stop: StopSignals) -> bool:
    """Put a compact copy in the place of the database, unless another process uses it.

    Returns:
        Whether nobody did.
    """
    path = settings.db_path
    close()
    try:
        with nobody_else(path), working_folder(path) as folder:
            copy = folder / path.name
            copy.touch(mode=0o600)
            fold_log(path)
            state = file_state(path)
            configure_for_looking(path)
            try:
                connect()
                copy_into(copy, should_stop=stop.is_requested)
            finally:
                close()
            _check_copy(copy)
            put_in_place(copy, path, kept=folder / "before.db", unchanged_since=state)
        return True
    except DatabaseInUse:
        return False


def _check_copy(copy: Path) -> None:
    configure(copy)
    try:
        connect()
        found = check_integrity(limit=1)
        if found:
            raise CompactingRefused(
                f"The copy is damaged: {found[0]}. `observatory verify` tells whether the database"
                " is, too; it was left as it is."
            )
    finally:
        close()
    fold_log(copy)


def _write_beside_others(
    options: argparse.Namespace, settings: Settings, stop: StopSignals
) -> None:
    open_existing_database(settings)
    with held(settings.db_path, "ingest", wait_seconds=options.wait):
        size, _ = file_sizes()
        check_room_to_compact(on_disk=False)
        if not options.force:
            _check_patience(size)
        vacuum(should_stop=stop.is_requested)


def _check_patience(size: int) -> None:
    """Return quietly when others that write would not wait for long.

    Raises:
        CompactingRefused: They would.
    """
    expected = size / _BYTES_PER_SECOND
    if expected > _BEARABLE_SECONDS:
        raise CompactingRefused(
            f"Others use the database, and would wait for {expected:,.0f} s or so to write;"
            f" requests give up after {BUSY_TIMEOUT_MS // 1000} s. Stop the server and the watcher"
            " first, or use --force. The search index is in order."
        )


def _index_again(tell: Callable[[str, int, int], None], should_stop: Callable[[], bool]) -> None:
    """Index all messages anew, in short transactions; what is missing then, any ingest indexes."""
    search.empty_index()
    search.prepare_bulk_indexing()
    total, done = search.count_waiting_messages(), 0
    while not should_stop():
        indexed = search.index_messages()
        done += indexed
        tell("indexing", done, total)
        if not indexed:
            return
