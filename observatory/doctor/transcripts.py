"""Transcripts: whether they can be read, what waits, and what Claude Code is about to delete."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import orjson

from observatory.doctor.findings import Finding, error, ok, warning
from observatory.errors import ObservatoryError
from observatory.ingest.discover import FoundFile, find_files
from observatory.ingest.mounts import choose_mode
from observatory.ingest.reading import is_unchanged
from observatory.looking import look_at
from observatory.store.database import DatabaseError
from observatory.store.transcript_files import FileState, read_states

# Source: https://code.claude.com/docs/en/settings, ``cleanupPeriodDays``.
_KEPT_DAYS = 30
_MANAGED = (
    Path("/etc/claude-code/managed-settings.json"),
    Path("/Library/Application Support/ClaudeCode/managed-settings.json"),
)
_DAY_SECONDS = 86400
_FUTURE_SECONDS = 300
_NAMED_AT_MOST = 3


def check_transcripts(
    folders: Sequence[Path], homes: Sequence[Path], database: Path
) -> Iterator[Finding]:
    """Yield how the folders of transcripts are, and what of them is not read yet.

    Args:
        folders: Where transcripts are.
        homes: Folders of Claude Code itself, with its settings.
        database: What they are read into; it need not be there.
    """
    problems: list[str] = []
    there = [folder for folder in folders if folder.exists()]
    for folder in folders:
        if folder not in there:
            yield warning(
                "transcripts",
                f"There is no {folder} yet.",
                "Claude Code makes it; or name other folders in TRANSCRIPTS_DIR.",
            )
    found = find_files(
        map(str, there), on_problem=lambda path, reason: problems.append(f"{path}: {reason}")
    )
    problems += [file.path for file in found if not os.access(file.location, os.R_OK)]
    if problems:
        yield error(
            "transcripts",
            f"{len(problems):,} files and folders can not be read, such as"
            f" {', '.join(problems[:_NAMED_AT_MOST])}.",
            "Run the watcher as a user that may read them, or let this one in.",
        )
    elif there:
        yield ok("transcripts", f"{len(found):,} files in {', '.join(map(str, there))}")
    yield from _check_times(found)
    unread = _find_unread(found, database)
    if unread is not None:
        yield from _check_unread(unread, homes)


def _find_unread(found: Sequence[FoundFile], database: Path) -> list[FoundFile] | None:
    """Return what the archive lacks, or ``None`` where that can not be read."""
    states: dict[str, FileState] = {}
    if database.exists() and database.stat().st_size:
        try:
            states = look_at(database, read_states)
        except (DatabaseError, ObservatoryError):
            return None
    return [file for file in found if not is_unchanged(file, states.get(file.path))]


def _check_times(found: Sequence[FoundFile]) -> Iterator[Finding]:
    newest = max((max(file.modified_ns, file.changed_ns) for file in found), default=0) / 1e9
    ahead = newest - time.time()
    if ahead > _FUTURE_SECONDS:
        yield warning(
            "clock",
            f"A transcript was written {ahead / 60:,.0f} minutes in the future, by this clock.",
            "Set the clock (`timedatectl`), of this machine or of the one that has the files.",
        )
    else:
        yield ok("clock", "no transcript is of the future")


def _check_unread(unread: Sequence[FoundFile], homes: Sequence[Path]) -> Iterator[Finding]:
    """Yield what waits, and what of that is going to be deleted before it is read."""
    size = sum(file.size for file in unread)
    if unread:
        yield warning(
            "unread",
            f"{len(unread):,} transcripts with {size:,} bytes are new or have changed.",
            "`observatory ingest` reads them, as does the watcher.",
        )
    else:
        yield ok("unread", "everything there is was read")
    for home in homes:
        days, where = read_period(home)
        if days is None:
            yield warning("cleanup", where, "Mend that file.")
            continue
        prefix = os.path.join(os.path.realpath(home), "")
        ages = [
            (time.time() - file.modified_ns / 1e9) / _DAY_SECONDS
            for file in unread
            if os.path.realpath(file.location).startswith(prefix)
        ]
        old = sum(age > days * 2 / 3 for age in ages)
        told = f"Claude Code deletes transcripts after {days:g} days ({where})"
        if days == 0:
            yield error(
                "cleanup",
                f"{where} says cleanupPeriodDays 0, with which Claude Code keeps no transcripts.",
                "Set it to 365 or more, and let the watcher run.",
            )
        elif old:
            yield error(
                "cleanup",
                f"{told}: {old:,} that are not read have two thirds of that behind them.",
                f"`observatory ingest` now; then set cleanupPeriodDays in {home}/settings.json to"
                " 365 or more, and let the watcher run.",
            )
        else:
            yield ok("cleanup", f"{told}; none that old is unread")


def read_period(home: Path, managed: Sequence[Path] = _MANAGED) -> tuple[float | None, str]:
    """Return after how many days transcripts are deleted, and where that is said.

    What administrators say in ``managed`` goes before what the user says.
    """
    for path in managed:
        days, where = _read_said(path)
        if days is None or where == str(path):
            return days, where
    return _read_said(home / "settings.json")


def _read_said(path: Path) -> tuple[float | None, str]:
    try:
        said = orjson.loads(path.read_bytes())
        days = said.get("cleanupPeriodDays", _KEPT_DAYS)
    except FileNotFoundError:
        return _KEPT_DAYS, "its default"
    except OSError as failure:
        return None, f"{path} can not be read: {failure.strerror}."
    except (ValueError, AttributeError):
        return None, f"{path} is no JSON object."
    if isinstance(days, bool) or not isinstance(days, int | float) or days < 0:
        return None, f"cleanupPeriodDays in {path} is no number of days."
    return days, str(path) if "cleanupPeriodDays" in said else "its default"


def check_inotify(
    folders: Sequence[Path], *, mode: str, limits: Path = Path("/proc/sys/fs/inotify")
) -> Iterator[Finding]:
    """Yield whether the system lets as many folders be followed as there are."""
    try:
        watches = int((limits / "max_user_watches").read_text())
        instances = int((limits / "max_user_instances").read_text())
    except (OSError, ValueError):
        return
    followed = [
        str(folder)
        for folder in folders
        if folder.is_dir() and choose_mode(str(folder), mode=mode) == "events"
    ]
    number = sum(1 for folder in followed for _ in os.walk(folder))
    if number > watches * 8 // 10 or len(followed) > instances // 2:
        yield warning(
            "inotify",
            f"{number:,} folders are to be followed, and this user may follow {watches:,}, by"
            f" {instances:,} programs.",
            f"`sysctl fs.inotify.max_user_watches={max(524_288, 4 * number)}`; until then changes"
            " are looked for, which is slower.",
        )
    else:
        yield ok("inotify", f"{number:,} folders of {watches:,} that may be followed")
