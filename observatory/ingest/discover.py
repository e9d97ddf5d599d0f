"""Which transcript files there are below the folders and files that were named."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from observatory.timestamps import format_timestamp

SUFFIX = ".jsonl"
SIDECAR_SUFFIX = ".meta.json"
_LAST_SECOND = datetime(9998, 12, 31, tzinfo=UTC).timestamp()
_INT64 = 2**63 - 1
# How Python holds the bytes of a name that are not UTF-8, and how text_path writes them.
_UNDECODED = re.compile("[\udc80-\udcff]|%(?=[89A-F][0-9A-F]|25)")
_ESCAPED = re.compile("%([89A-F][0-9A-F]|25)")


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One file as the file system tells of it.

    ``path`` names it in the archive, ``location`` opens it; they differ when a name is not UTF-8.
    ``modified_ns`` and ``changed_ns`` count nanoseconds from 1970; the latter no program can set.
    ``has_sidecar`` tells whether a file that describes it lies beside it.
    """

    path: str
    location: str
    size: int
    modified_ns: int
    changed_ns: int
    inode: int
    device: int
    has_sidecar: bool = False


def find_files(
    paths: Iterable[str], *, on_problem: Callable[[str, str], None] = lambda path, reason: None
) -> list[FoundFile]:
    """Return the transcripts in folders and files, once each, oldest first.

    The order matters for copied conversations: the one written first keeps the messages. A link
    inside a folder is not followed, and what vanishes meanwhile is left out.

    Args:
        paths: Folders, and files of any name.
        on_problem: Told of each path that can not be looked at, and why.
    """
    found: dict[str, FoundFile] = {}
    for path in paths:
        root = os.path.abspath(locate_given(path))
        real = os.path.realpath(root)
        for file in _find(root, on_problem):
            # The same folder can be named twice, by a link as well; the first name is kept.
            found.setdefault(real + file.location.removeprefix(root), file)
    return sorted(found.values(), key=lambda file: (file.modified_ns, file.path))


def find_file(location: str, paths: Iterable[str]) -> FoundFile | None:
    """Return the transcript at a place, named as ``find_files`` of these paths would name it.

    Args:
        location: Where it is, by whatever way that leads there.
        paths: Folders and files, in their order.

    Returns:
        ``None`` when ``find_files`` would not find it.
    """
    folder, name = os.path.split(location)
    real = os.path.join(os.path.realpath(folder), name)
    for path in paths:
        root = os.path.abspath(locate_given(path))
        real_root = os.path.realpath(root)
        if root == location or real == real_root:
            return _look_at(root, os.stat)
        if real.startswith(os.path.join(real_root, "")):
            is_named = name.endswith(SUFFIX)
            return _look_at(root + real.removeprefix(real_root), os.lstat) if is_named else None
    return None


def look_again(file: FoundFile) -> FoundFile | None:
    """Return what the file system tells of a file now, or ``None`` when it is gone."""
    return _look_at(file.location, os.stat)


def _look_at(path: str, look: Callable[[str], os.stat_result]) -> FoundFile | None:
    try:
        status = look(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    sidecar = os.path.splitext(path)[0] + SIDECAR_SUFFIX
    return _stat(path, status, has_sidecar=os.path.exists(sidecar))


def _find(path: str, on_problem: Callable[[str, str], None]) -> Iterator[FoundFile]:
    if os.path.isfile(path):
        sidecar = os.path.splitext(path)[0] + SIDECAR_SUFFIX
        yield _stat(path, os.stat(path), has_sidecar=os.path.exists(sidecar))
        return
    folders = [path]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as scanned:
                entries = list(scanned)
        except FileNotFoundError:
            continue
        except OSError as error:
            on_problem(text_path(folder), error.strerror or "can not be read")
            continue
        sidecars = {entry.name for entry in entries if entry.name.endswith(SIDECAR_SUFFIX)}
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.name.endswith(SUFFIX) and entry.is_file(follow_symlinks=False):
                    has_sidecar = entry.name.removesuffix(SUFFIX) + SIDECAR_SUFFIX in sidecars
                    status = entry.stat(follow_symlinks=False)
                    yield _stat(entry.path, status, has_sidecar=has_sidecar)
            except FileNotFoundError:
                continue
            except OSError as error:
                on_problem(text_path(entry.path), error.strerror or "can not be read")


def text_path(path: str) -> str:
    """Return a path as text that can be stored and sent: bytes that are no UTF-8 become ``%XX``.

    A ``%`` that could be taken for one of those becomes ``%25``, so that no two paths are one.
    """
    return _UNDECODED.sub(
        lambda found: "%25" if found[0] == "%" else f"%{ord(found[0]) - 0xDC00:02X}", path
    )


def locate(path: str) -> str:
    """Return the path that opens what ``text_path`` named."""
    if "%" not in path:
        return path
    return _ESCAPED.sub(
        lambda found: "%" if found[1] == "25" else chr(0xDC00 + int(found[1], 16)), path
    )


def locate_given(path: str) -> str:
    """Return the path that opens what somebody named: as it is, or as ``text_path`` writes it."""
    return path if os.path.lexists(path) else locate(path)


def modified_at(modified_ns: int) -> str:
    """Return a time of change as text: what no calendar has is the nearest that one has."""
    seconds = min(max(modified_ns / 1e9, 0.0), _LAST_SECOND)
    return format_timestamp(datetime.fromtimestamp(seconds, UTC))


def _stat(path: str, status: os.stat_result, *, has_sidecar: bool) -> FoundFile:
    return FoundFile(
        text_path(path),
        path,
        status.st_size,
        # File systems may tell numbers that SQLite's 64 bits do not hold.
        max(-_INT64, min(status.st_mtime_ns, _INT64)),
        max(-_INT64, min(status.st_ctime_ns, _INT64)),
        status.st_ino & _INT64,
        status.st_dev & _INT64,
        has_sidecar,
    )
