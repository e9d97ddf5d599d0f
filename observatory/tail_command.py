"""``observatory tail``: prints what happens, as it does.

It asks the database itself, so that it needs no server and no key; and it only reads.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console

from observatory.command_names import NAMED_AT_MOST, UnknownName, find_the_project, the_only
from observatory.ingest.discover import text_path
from observatory.live.printing import JsonPrinter, LinePrinter, Output, Printer, go_on_after
from observatory.opening import open_existing_database
from observatory.settings import Settings
from observatory.store.conversation_names import (
    LEAST_CHARACTERS,
    find_conversation_ids,
    shorten_conversation_id,
)
from observatory.store.database import Reading, execute, read_data_version
from observatory.store.event_notes import TYPES
from observatory.store.events import EventFilter, make_bodies, read_bounds, read_events
from observatory.store.locks import is_held

DEFAULT_LINES = 10
ROLES = ("user", "assistant", "system")
_EXIT_USAGE = 2
_LOOK_SECONDS = 0.1
# So many events are read at once.
_PIECE = 500
_MAX_ID = 2**53
_BEFORE_ALL = -1


def add_tail_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "print what happens, as it does"
    tail = commands.add_parser("tail", help=text, description=text)
    tail.add_argument("--project", metavar="PATH", help="of one project: its path, or its name")
    tail.add_argument(
        "--conversation",
        metavar="ID",
        help="of one conversation and all that it started: its id, or the beginning of it",
    )
    tail.add_argument(
        "--type", type=_types, metavar="T[,T]", help=f"events of some types: {', '.join(TYPES)}"
    )
    tail.add_argument("--tool", metavar="NAME", help="uses of one tool")
    tail.add_argument("--role", choices=ROLES, help="messages of one role")
    start = tail.add_mutually_exclusive_group()
    start.add_argument(
        "--since", type=_event_id, metavar="ID", help="begin behind an event; all: with the oldest"
    )
    start.add_argument(
        "--lines",
        type=_number,
        default=DEFAULT_LINES,
        metavar="N",
        help=f"how many of the last ones to begin with, by default {DEFAULT_LINES}",
    )
    tail.add_argument("--json", action="store_true", help="print each event as one JSON line")
    tail.add_argument("--once", action="store_true", help="end after what is there")
    tail.set_defaults(command=run_tail)


def _types(text: str) -> frozenset[str]:
    types = frozenset(text.split(","))
    if not types <= set(TYPES):
        raise argparse.ArgumentTypeError(f"takes a comma list of: {', '.join(TYPES)}")
    return types


def _event_id(text: str) -> int:
    return _BEFORE_ALL if text == "all" else _number(text)


def _number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= _MAX_ID):
        raise argparse.ArgumentTypeError(f"takes a whole number, not {text!r}")
    return int(text)


def run_tail(options: argparse.Namespace, settings: Settings) -> int:
    """Print the last events, and then those that come until a signal does."""
    signal.signal(signal.SIGTERM, _end)
    if sys.stdout is None:
        # Nobody reads, and the number of the output may be that of another file by now.
        return 0
    _open(settings)
    try:
        wanted = _find_wanted(options)
    except UnknownName as error:
        print(error, file=sys.stderr)
        return _EXIT_USAGE
    output = Output(sys.stdout)
    printer: Printer = JsonPrinter(output)
    if not options.json:
        printer = LinePrinter(
            output, Console(), shorten=shorten_conversation_id, asked_for=wanted.types
        )
    if not options.once and not _is_followed(settings):
        told = "Nothing follows the transcripts; `observatory serve` does."
        print(told, file=sys.stderr, flush=True)
    position = _begin(printer, wanted, since=options.since, lines=options.lines)
    if not options.once:
        _follow(printer, wanted, output, after=position)
    _tell_new(printer, wanted, after=position)
    return 0


def _end(number: int, _frame: FrameType | None) -> None:
    # Wherever it is, there is nothing to bring to an end; SIGINT is Python's KeyboardInterrupt.
    raise SystemExit(128 + number)


def _open(settings: Settings) -> None:
    """Connect to a database that is there and has the schema of this code, to read from it.

    Raises:
        SchemaError: There is none, or it is older or newer.
    """
    open_existing_database(settings)
    execute("PRAGMA query_only = 1")


def _is_followed(settings: Settings) -> bool:
    return any(is_held(settings.db_path, work) for work in ("watch", "ingest"))


def _find_wanted(options: argparse.Namespace) -> EventFilter:
    """Return which events somebody wants.

    Raises:
        UnknownName: There is no such project or conversation, or more than one.
    """
    project, conversation = options.project, options.conversation
    return EventFilter(
        types=options.type or frozenset(),
        project_path=None if project is None else find_the_project(project),
        conversation_id=None if conversation is None else _find_conversation(conversation),
        role=options.role,
        tool=options.tool,
    )


def _find_conversation(text: str) -> str:
    found = find_conversation_ids(text_path(text), limit=NAMED_AT_MOST)
    if not found and len(text) < LEAST_CHARACTERS:
        raise UnknownName(f"--conversation takes {LEAST_CHARACTERS} characters of an id at least.")
    return the_only("conversation", text, found)


def _begin(printer: Printer, wanted: EventFilter, *, since: int | None, lines: int) -> int:
    """Print what there is to begin with, and return the id behind which to go on."""
    bounds = read_bounds()
    if since is None:
        for body in _find_last(printer, wanted, number=lines, until=bounds.latest):
            printer.show(body, is_old=True)
        return bounds.latest
    if since == _BEFORE_ALL:
        return bounds.oldest - 1
    return since


def _find_last(printer: Printer, wanted: EventFilter, *, number: int, until: int) -> list[bytes]:
    """Return the last events that are wanted and shown, the oldest first."""
    found: list[bytes] = []
    oldest = read_bounds().oldest
    while until >= oldest and len(found) < number:
        # Ids have gaps where conversations were removed, never two events for one.
        start = max(oldest - 1, until - _PIECE)
        bodies, _, _ = _read_piece(wanted, after=start, until=until)
        for body in reversed(bodies):
            if len(found) < number and printer.is_shown(body):
                found.append(body)
        until = start
    return found[::-1]


def _follow(printer: Printer, wanted: EventFilter, output: Output, *, after: int) -> NoReturn:
    """Print events as they come, until a signal or the reader's end does."""
    position, seen = after, -1
    while True:
        # Asked before the events are read: what is written meanwhile makes it another one.
        version = read_data_version()
        if version != seen:
            position = _tell_new(printer, wanted, after=position)
            seen = version
        printer.show_late(time.time())
        output.wait(_LOOK_SECONDS)


def _tell_new(printer: Printer, wanted: EventFilter, *, after: int) -> int:
    """Print the events behind an id, and return the id up to which all were looked at."""
    bounds = read_bounds()
    if bounds.has_gap_after(after):
        printer.show_gap(after, bounds)
        after = go_on_after(after, bounds)
    is_last = False
    while not is_last:
        bodies, after, is_last = _read_piece(wanted, after=after)
        for body in bodies:
            printer.show(body)
    return after


def _read_piece(
    wanted: EventFilter, *, after: int, until: int = _MAX_ID
) -> tuple[list[bytes], int, bool]:
    """Return what the next events say that are wanted, with the position and whether it ends."""
    reading = Reading()
    try:
        batch = read_events(after, limit=_PIECE, until=until)
        bodies = make_bodies([event for event in batch.events if wanted.takes(event)])
    finally:
        reading.close()
    return bodies, batch.position, batch.is_last
