"""Which transcript files there are below the folders and files that were named."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from observatory.timestamps import format_timestamp

SUFFIX = ".jsonl"
_LAST_SECOND = datetime(9998, 12, 31, tzinfo=UTC).timestamp()
_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file as the file system tells of it; ``modified_ns`` counts nanoseconds from 1970."""

    path: str
    size: int
    modified_ns: int
    inode: int
    device: int


def find_files(paths: Iterable[str]) -> Iterator[FoundFile]:
    """Yield the transcripts in folders and files, once each, oldest first.

    The order matters for copied conversations: the one written first keeps the messages. A link
    inside a folder is not followed, and what vanishes meanwhile is left out.
    """
    found = {file.path: file for path in paths for file in _find(os.path.abspath(path))}
    yield from sorted(found.values(), key=lambda file: (file.modified_ns, file.path))


def _find(path: str) -> Iterator[FoundFile]:
    if os.path.isfile(path):
        yield _stat(path, os.stat(path))
        return
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                        yield _stat(entry.path, entry.stat(follow_symlinks=False))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue


def modified_at(modified_ns: int) -> str:
    """Return a time of change as text: what no calendar has is the nearest that one has."""
    seconds = min(max(modified_ns / 1e9, 0.0), _LAST_SECOND)
    return format_timestamp(datetime.fromtimestamp(seconds, UTC))


def _stat(path: str, status: os.stat_result) -> FoundFile:
    return FoundFile(
        os.fsencode(path).decode("utf-8", "replace"),
        status.st_size,
        # File systems may tell numbers that SQLite's 64 bits do not hold.
        max(-_INT64, min(status.st_mtime_ns, _INT64)),
        status.st_ino & _INT64,
        status.st_dev & _INT64,
    )
