"""``observatory import``: an exported archive into this one."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from observatory.archive_files import reading
from observatory.arguments import add_wait
from observatory.catching_up import open_for_reading_in
from observatory.errors import NoRoom
from observatory.ingest.archive_import import ImportSummary, import_archive
from observatory.ingest.progress import show_progress
from observatory.ingest.running import Progress
from observatory.ingest.stopping import StopSignals
from observatory.looking import look_at, may_write
from observatory.opening import open_database, prepare_schema
from observatory.settings import Settings
from observatory.store.database import DatabaseError, close, copy_into, may_be_full
from observatory.store.locks import held

_EXIT_PARTIAL = 3
_SCRATCH = ".observatory-dry-run-"


def add_import_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "take in an archive that `observatory export` wrote; what is here already stays as it is"
    command = commands.add_parser("import", help=text, description=text)
    command.add_argument(
        "file", metavar="FILE", help="unpacked when it ends in .gz or .zst; - is standard input"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would come, by doing it with a copy of the database",
    )
    command.add_argument("--json", action="store_true", help="print one line of JSON")
    add_wait(command)
    command.set_defaults(command=run_import)


def run_import(options: argparse.Namespace, settings: Settings) -> int:
    """Take in what is new of an exported archive."""
    with ExitStack() as opened:
        read, tell, size = opened.enter_context(reading(options.file))
        if options.dry_run:
            opened.enter_context(_scratch(settings))
        else:
            open_for_reading_in(settings)
            opened.enter_context(held(settings.db_path, "ingest", wait_seconds=options.wait))
        stop = opened.enter_context(StopSignals())
        on_progress = opened.enter_context(show_progress(sys.stderr))
        summary = import_archive(
            read,
            is_dry_run=options.dry_run,
            on_read=lambda: on_progress(Progress(tell(), size, "importing")),
            on_progress=on_progress,
            should_stop=stop.is_requested,
        )
    if options.json:
        print(orjson.dumps(summary.as_dict()).decode())
    else:
        print("\n".join(_describe(summary)))
        for line, reason in summary.bad:
            print(f"line {line}: {reason}", file=sys.stderr)
    sys.stdout.flush()
    if not summary.is_complete:
        return 128 + stop.number
    return _EXIT_PARTIAL if summary.has_failures else 0


@contextmanager
def _scratch(settings: Settings) -> Iterator[None]:
    """Connect to a copy of the database, as of one moment, that is gone afterwards.

    Nobody waits for it. It lies beside the database, where there is room for the import itself.

    Raises:
        NoRoom: There is too little.
    """
    path = settings.db_path
    is_there = path.exists() and path.stat().st_size > 0
    with ExitStack() as opened:
        if is_there and may_write(path):
            # Of one that was killed: who has the lock is alone.
            opened.enter_context(held(path, "dry-run"))
            for left in path.parent.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left, ignore_errors=True)
            folder = tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=path.parent)
        else:
            folder = tempfile.TemporaryDirectory(prefix=_SCRATCH)
        copy = Path(opened.enter_context(folder)) / path.name
        copy.touch(mode=0o600)
        try:
            if is_there:
                look_at(path, lambda: _copy(copy))
            # Should the machine die, nobody needs it.
            open_database(replace(settings, db_path=copy, db_synchronous="OFF"))
            opened.callback(close)
            prepare_schema(replace(settings, db_path=copy))
            yield
        except DatabaseError as error:
            if not may_be_full(error):
                raise
            raise NoRoom(
                f"There is no room in {copy.parents[1]} for a copy of the database, with which a"
                " dry run finds out what would come. Make some."
            ) from error


def _copy(target: Path) -> None:
    os.truncate(target, 0)
    copy_into(target)


def _describe(summary: ImportSummary) -> Iterator[str]:
    if not summary.is_complete:
        yield "Stopped; import it again to go on."
    if summary.is_dry_run:
        yield f"Read {summary.lines:,} lines; nothing was written. New here would be"
    else:
        yield f"Read {summary.lines:,} lines in {summary.seconds:.1f} s. New here are"
    for name, number in summary.new.items():
        yield f"  {name} {number:,}"
    if not summary.new:
        yield "  none"
    for counted, what in (
        (summary.known, "were here already"),
        (summary.passed_over, "belong to what was removed here for good"),
        (summary.unknown, "are of types that a newer version writes, and were passed over"),
    ):
        if counted:
            yield f"{sum(counted.values()):,} {what}."
    if summary.copies_passed_over:
        yield (
            f"{summary.copies_passed_over:,} of these are copies in conversations that are here,"
            " which lack them: their text is in their own transcripts."
        )
    if summary.bad_lines:
        yield f"{summary.bad_lines:,} lines could not be kept."
    if summary.to_read_anew:
        yield (
            f"So `observatory ingest` reads those of {summary.to_read_anew:,} transcripts that are"
            " here from their start, for what is missing."
        )
    if summary.is_complete and not summary.is_whole:
        yield "The file is not whole: its end is missing. Get all of it and import it again."
    if summary.listed:
        yield "Only administrators see these projects until their users are listed here:"
        yield from (f"  {path}" for path in summary.listed)
