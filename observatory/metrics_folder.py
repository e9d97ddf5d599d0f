"""The folder in which the workers of a server share what they count: one per server, gone with it.

Whoever is in use holds a lock in it, which the kernel drops with the last of a server's processes,
however they end. So what servers that were killed left behind is told from what is in use, also
where process numbers mean something else, as in containers that share memory.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

PREFIX = "observatory-metrics-"
_DRAFT_PREFIX = "observatory-starting-"
_LOCK = "lock"
_PID = re.compile(rf"{PREFIX}(\d+)-")


def find_place() -> Path:
    """Return where such folders are made: in memory where that can be."""
    memory = Path("/dev/shm")  # noqa: S108
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def make_folder(place: Path) -> Path:
    """Make the folder of this process and of its forks, and remove what was left of others."""
    remove_leftovers(place)
    draft = Path(tempfile.mkdtemp(prefix=_DRAFT_PREFIX, dir=place))
    # It stays open as long as this process and its forks live; other programs do not get it.
    descriptor = os.open(draft / _LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    # Only now has it a name by which others look for leftovers.
    folder = place / f"{PREFIX}{os.getpid()}-{draft.name.removeprefix(_DRAFT_PREFIX)}"
    return draft.rename(folder)


def remove_leftovers(place: Path) -> None:
    """Remove the folders of servers that do not live any more."""
    for folder in place.glob(f"{PREFIX}*"):
        # What can not be looked at is somebody else's.
        with suppress(OSError):
            status = folder.lstat()
            is_ours = folder.is_dir() and not folder.is_symlink() and status.st_uid == os.getuid()
            if is_ours and _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return _is_left_of_older_version(folder)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _is_left_of_older_version(folder: Path) -> bool:
    """Tell it of a folder without a lock, by the number of its process."""
    match = _PID.match(folder.name)
    if match is None:
        return False
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
