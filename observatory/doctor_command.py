"""``observatory doctor``: looks for everything that can be wrong, and says what mends it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import orjson

from observatory.doctor.contents import check_contents, check_sqlite, has_admin
from observatory.doctor.files import (
    check_database_file,
    check_modes,
    check_owners,
    check_room,
    find_barrier,
)
from observatory.doctor.findings import ERROR, OK, WARNING, Finding, error, ok
from observatory.doctor.processes import (
    check_descriptors,
    check_exposure,
    check_port,
    check_users,
    check_watcher,
)
from observatory.doctor.transcripts import check_inotify, check_transcripts
from observatory.live.terminal_text import clean
from observatory.settings import (
    MIN_SECRET_BYTES,
    Settings,
    claude_homes,
    key_files,
    read_usable_settings,
)

_EXIT_WRONG = 1
_MARKS = {"ok": "ok   ", "warning": "WARN ", "error": "ERROR"}


def add_doctor_command(commands: Any) -> None:
    """Add this command to those of the command line."""
    text = "look for everything that can be wrong, and say what mends it; nothing is written"
    doctor = commands.add_parser("doctor", help=text, description=text)
    doctor.add_argument(
        "--deep", action="store_true", help="look at all of the database, however long it takes"
    )
    doctor.add_argument("--json", action="store_true", help="print JSON")
    doctor.set_defaults(command=run_doctor, takes_wrong_settings=True)


def run_doctor(options: argparse.Namespace) -> int:
    """Say how everything is; exit code 1 when something does not work."""
    settings, problems = read_usable_settings()
    found = [*_check_settings(problems), *_check_all(settings, is_deep=options.deep)]
    is_well = not any(finding.level == ERROR for finding in found)
    if options.json:
        told = {"is_well": is_well, "findings": [asdict(finding) for finding in found]}
        print(orjson.dumps(told).decode())
    else:
        print("\n".join(_describe(found)))
    sys.stdout.flush()
    return 0 if is_well else _EXIT_WRONG


def _check_settings(problems: dict[str, str]) -> Iterator[Finding]:
    for name, problem in problems.items():
        yield error(
            "settings",
            f"{name} {problem}; what follows is with its default.",
            f"Set {name} as docs/configuration.md says.",
        )
    if not problems:
        yield ok("settings", "all can be used")


def _check_all(settings: Settings, *, is_deep: bool) -> Iterator[Finding]:
    path = settings.db_path
    yield check_sqlite()
    barrier = find_barrier(path)
    if barrier is not None:
        yield error(
            "database",
            f"This user may not look into {barrier}.",
            "Run this as the user that runs the server, or let this one in.",
        )
    else:
        yield from _check_database(settings, is_deep=is_deep)
    yield from check_inotify(settings.transcripts_dirs, mode=settings.watch_mode)
    yield check_descriptors(max_streams=settings.max_streams)


def _check_database(settings: Settings, *, is_deep: bool) -> Iterator[Finding]:
    path = settings.db_path
    # Before SQLite opens it here: closing another descriptor would drop SQLite's locks.
    yield from check_users(path)
    files = list(check_database_file(path))
    yield from files
    is_readable = files[0].level == OK
    keys = key_files(settings)
    yield from check_modes(path, keys, is_database=is_readable, least_key_bytes=MIN_SECRET_BYTES)
    if is_readable:
        yield from check_owners(path, keys)
    yield from check_room(path)
    if is_readable:
        yield from check_contents(path, is_deep=is_deep)
    yield check_watcher(path, is_wanted=settings.ingest_on_start)
    yield from check_transcripts(settings.transcripts_dirs, claude_homes(), path)
    yield check_port(settings.host, settings.port, path)
    if settings.metrics_port:
        yield check_port(settings.metrics_host, settings.metrics_port, path, setting="METRICS_PORT")
    yield check_exposure(settings.host, has_admin=has_admin(path) if is_readable else False)


def _describe(found: list[Finding]) -> Iterator[str]:
    width = max(len(finding.name) for finding in found)
    for finding in found:
        yield f"{_MARKS[finding.level]}  {finding.name:<{width}}  {clean(finding.message)}"
        if finding.mend:
            yield f"{'':<{width + 9}}-> {clean(finding.mend)}"
    errors = sum(finding.level == ERROR for finding in found)
    warnings = sum(finding.level == WARNING for finding in found)
    yield f"{errors} errors, {warnings} warnings." if errors or warnings else "All is well."
