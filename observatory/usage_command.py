"""``observatory usage``: tokens and costs by day, session, model and tool, in a terminal.

It needs no server and no key. Where a watcher follows the transcripts the archive is current, and
is asked at once; else what is new is read before that.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from observatory.catching_up import open_for_reading_in, read_new
from observatory.command_names import UnknownName, find_the_project
from observatory.errors import LockHeld
from observatory.ingest.discover import text_path
from observatory.live.terminal_text import escape_json
from observatory.local_zone import find_local_zone, find_zone
from observatory.opening import build_missing_rollups, open_existing_database
from observatory.settings import Settings, read_zone_variable
from observatory.store.projects import find_project
from observatory.store.watcher_status import read_watcher_status
from observatory.usage_reports import REPORTS, Question, make_report
from observatory.usage_tables import print_report

EXIT_USAGE = 2
EXIT_PARTIAL = 3
# How long somebody waits for figures while another process reads.
WAIT_SECONDS = 5.0
_DAY = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})")
_FIRST, _LAST = date(1970, 1, 2), date(9998, 12, 30)
_WITH_BREAKDOWN = ("daily", "weekly", "monthly", "session")


def add_usage_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "print tokens and costs by day, week, month, session, block, model or tool"
    parser = commands.add_parser("usage", help=text, description=text)
    parser.add_argument(
        "report",
        nargs="?",
        choices=tuple(REPORTS),
        default="daily",
        help="daily (if nothing is said), weekly, monthly; session: each conversation; blocks:"
        " five hours each, as limits are counted; models; tools",
    )
    parser.add_argument("--since", type=_day, metavar="DAY", help="from a day on: 20260131")
    parser.add_argument("--until", type=_day, metavar="DAY", help="to a day, with that day")
    parser.add_argument(
        "-z", "--timezone", type=_zone, metavar="ZONE", help="of the days; by default the local one"
    )
    parser.add_argument("-p", "--project", metavar="PATH", help="of one project: path or name")
    parser.add_argument(
        "-b", "--breakdown", action="store_true", help="tell what each model used, below each row"
    )
    parser.add_argument("--order", choices=("asc", "desc"), help="earliest or least first, or last")
    parser.add_argument("--active", action="store_true", help="of blocks: the one that goes on")
    parser.add_argument("--recent", action="store_true", help="of blocks: the last three days'")
    parser.add_argument(
        "--no-ingest", "--offline", action="store_true", help="do not read what is new before that"
    )
    parser.add_argument("--json", action="store_true", help="print JSON, as the API answers")
    parser.set_defaults(command=run_usage)


def _day(text: str) -> date:
    wrong = argparse.ArgumentTypeError(f"takes a day, such as 20260131 or 2026-01-31, not {text!r}")
    found = _DAY.fullmatch(text)
    if found is None or text.count("-") == 1:
        raise wrong
    try:
        day = date(*map(int, found.groups()))
    except ValueError:
        raise wrong from None
    if not _FIRST <= day <= _LAST:
        raise wrong
    return day


def _zone(text: str) -> ZoneInfo:
    zone = find_zone(text)
    if zone is None:
        wrong = f"takes the name of a time zone, such as Europe/Berlin or UTC, not {text!r}"
        raise argparse.ArgumentTypeError(wrong)
    return zone


def run_usage(options: argparse.Namespace, settings: Settings) -> int:
    """Print a report of all that there is, or of what is asked for."""
    if sys.stdout is None:
        # Nobody reads, and the number of the output may be that of another file by now.
        return 0
    problem = _find_problem(options)
    if problem is not None:
        print(problem, file=sys.stderr)
        return EXIT_USAGE
    code = _open(options, settings)
    if code not in (0, EXIT_PARTIAL):
        return code
    try:
        question = _make_question(options)
    except UnknownName as error:
        print(error, file=sys.stderr)
        return EXIT_USAGE
    report = make_report(options.report, question)
    if options.json:
        print(escape_json(orjson.dumps(report)).decode())
    else:
        print_report(options.report, report, question, sys.stdout)
    sys.stdout.flush()
    return code


def _find_problem(options: argparse.Namespace) -> str | None:
    """Return what is wrong with options that are each right, or ``None``."""
    if (options.active or options.recent) and options.report != "blocks":
        return "--active and --recent are of `observatory usage blocks`."
    if options.breakdown and options.report not in _WITH_BREAKDOWN:
        return f"--breakdown is of {', '.join(_WITH_BREAKDOWN)}."
    if options.since and options.until and options.until < options.since:
        return f"--until {options.until} lies before --since {options.since}."
    return None


def _make_question(options: argparse.Namespace) -> Question:
    """Return what is asked.

    Raises:
        UnknownName: There is no such project, or more than one.
    """
    project = None if options.project is None else find_project(find_the_project(options.project))
    return Question(
        zone=options.timezone or _read_local_zone(),
        now=time.time(),
        since=options.since,
        until=options.until,
        project_key=project,
        has_breakdown=options.breakdown,
        is_ascending=None if options.order is None else options.order == "asc",
        only_active=options.active,
        only_recent=options.recent,
    )


def _read_local_zone() -> ZoneInfo:
    zone = find_local_zone(read_zone_variable())
    if zone is None:
        told = "This machine's time zone has no name; days are those of UTC. --timezone sets one."
        print(told, file=sys.stderr)
    return zone or ZoneInfo("UTC")


def _open(options: argparse.Namespace, settings: Settings) -> int:
    """Open the database, with all in it that is new, and return the exit code so far."""
    if options.no_ingest:
        open_existing_database(settings)
        build_missing_rollups(settings)
        return 0
    folders = [str(folder) for folder in settings.transcripts_dirs]
    missing = [folder for folder in folders if not os.path.exists(folder)]
    if missing:
        print(f"No transcripts in {', '.join(missing)} yet.", file=sys.stderr)
    open_for_reading_in(settings)
    if _is_current(settings):
        return 0
    try:
        summary, ended_by = read_new(settings, wait_seconds=WAIT_SECONDS)
    except LockHeld as error:
        told = f"{error.holder} reads transcripts just now; what it has not read yet is missing."
        print(told, file=sys.stderr)
        return 0
    if not summary.is_complete:
        return 128 + ended_by
    return EXIT_PARTIAL if summary.has_failures else 0


def _is_current(settings: Settings) -> bool:
    """Tell whether a watcher follows all folders, and has read what there is."""
    status = read_watcher_status(settings.db_path)
    followed = {folder.path for folder in status.folders}
    folders = {text_path(os.path.abspath(folder)) for folder in settings.transcripts_dirs}
    return status.state == "running" and not status.waiting_files and folders <= followed
