"""``observatory purge``: removes conversations for good."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import orjson

from observatory.arguments import add_wait
from observatory.command_names import find_the_project
from observatory.ingest.progress import show_progress
from observatory.ingest.stopping import StopSignals
from observatory.maintenance.purging import Purged, choose, days_before, purge
from observatory.opening import open_existing_database
from observatory.settings import Settings
from observatory.store.locks import held
from observatory.store.purging import Amount, Wanted
from observatory.store.retention import MAX_DAYS

_EXIT_NOT_DONE = 1
_EXIT_USAGE = 2


def _days(text: str) -> int:
    number = int(text)
    if not 0 <= number <= MAX_DAYS:
        raise ValueError(text)
    return number


_days.__name__ = "number of days"


def add_purge_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "remove conversations for good, so that nothing of them is left"
    command = commands.add_parser("purge", help=text, description=text)
    command.add_argument(
        "--project", metavar="PATH", help="what belongs to a project: a path, or its folder's name"
    )
    command.add_argument(
        "--older-than",
        type=_days,
        metavar="DAYS",
        help="where nothing was said for so many days; with --trash, what is there for so long",
    )
    command.add_argument("--trash", action="store_true", help="what is in the trash")
    command.add_argument("--dry-run", action="store_true", help="only say what would go")
    command.add_argument("--yes", action="store_true", help="do not ask")
    command.add_argument("--json", action="store_true", help="print one line of JSON")
    command.add_argument(
        "--compact",
        action="store_true",
        help="write the file anew after that, which gives its free space back; takes as much"
        " memory and disk as the database for a while, and keeps writers waiting",
    )
    add_wait(command)
    command.set_defaults(command=run_purge)


def run_purge(options: argparse.Namespace, settings: Settings) -> int:
    """Say what would go, ask, and remove it."""
    has_choice = options.project is not None or options.older_than is not None or options.trash
    if not has_choice and (not options.compact or options.dry_run):
        print("Say what to remove: --project, --older-than or --trash.", file=sys.stderr)
        return _EXIT_USAGE
    open_existing_database(settings)
    wanted = Wanted(
        project_path=None if options.project is None else find_the_project(options.project),
        before=(
            None
            if options.older_than is None
            else days_before(options.older_than, moment=time.time())
        ),
        is_trash=options.trash,
    )
    # Without a choice it ends what was interrupted.
    identifiers, amount = choose(wanted) if has_choice else ([], Amount())
    if options.dry_run:
        _report(amount, None, as_json=options.json)
        return 0
    if identifiers and not options.yes and not _is_confirmed(amount):
        return _EXIT_NOT_DONE
    with (
        held(settings.db_path, "ingest", wait_seconds=options.wait),
        StopSignals() as stop,
        show_progress(sys.stderr) as on_progress,
    ):
        done = purge(
            identifiers,
            wanted=wanted,
            compacts=options.compact,
            on_progress=on_progress,
            should_stop=stop.is_requested,
        )
    _report(amount, done, as_json=options.json)
    return 0 if done.is_complete else 128 + stop.number


def _is_confirmed(amount: Amount) -> bool:
    """Ask at a terminal whether to go on."""
    if sys.stdin is None or not sys.stdin.isatty():
        print(
            f"This would remove {_tell(amount)} for good."
            " Say --yes to do it, or --dry-run to look.",
            file=sys.stderr,
        )
        return False
    print(f"This removes {_tell(amount)} for good. Go on? [y/N] ", end="", file=sys.stderr)
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("Nothing was removed.", file=sys.stderr)
    return False


def _tell(amount: Amount) -> str:
    text = (
        f"{amount.conversations:,} conversations with {amount.messages:,} messages"
        f" ({amount.bytes / 1e6:,.1f} MB of text)"
    )
    if amount.oldest_at and amount.newest_at:
        text += f", from {amount.oldest_at[:10]} to {amount.newest_at[:10]}"
    if amount.live:
        text += f", of which {amount.live:,} go on at the moment"
    return text


def _report(amount: Amount, done: Purged | None, *, as_json: bool) -> None:
    if as_json:
        chosen = {
            "conversations": amount.conversations,
            "messages": amount.messages,
            "bytes": amount.bytes,
            "live": amount.live,
            "oldest_at": amount.oldest_at,
            "newest_at": amount.newest_at,
        }
        told = {"is_dry_run": done is None, "chosen": chosen}
        print(orjson.dumps(told | (done.as_dict() if done else {})).decode())
    elif done is None:
        print(f"Would remove {_tell(amount)}.")
    else:
        for line in _describe(amount, done):
            print(line)
    sys.stdout.flush()


def _describe(amount: Amount, done: Purged) -> list[str]:
    if not done.is_complete:
        return [
            "Interrupted. Say it again to remove the rest;"
            " `observatory purge --compact` ends what has begun."
        ]
    lines = [f"Removed {_tell(amount)}."]
    if done.spared:
        lines = [
            f"Of {_tell(amount)}: {done.spared:,} were taken out of the trash, went on or were"
            f" removed by others meanwhile; removed the other {done.removed:,}, with what they"
            " started."
        ]
    if not done.is_log_empty:
        lines.append("Somebody reads, so the write-ahead log keeps some of it: run it again.")
    if not done.is_compacted:
        lines.append("What was free space before may hold older copies: --compact leaves none.")
    if done.replaced:
        lines.append(f"These may have it, and were left alone: {', '.join(done.replaced)}.")
    return lines
