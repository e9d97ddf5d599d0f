"""The folder in which the workers of a server share what they count: one per server, gone with it.

Each has files of its own. What those that ended have counted is added up in one, or each restart
of a worker would make scrapes slower and take memory.

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
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# The variable by which prometheus-client is told of it.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
PREFIX = "observatory-metrics-"
_DRAFT_PREFIX = "observatory-starting-"
_LOCK = "lock"
# Held together by who reads the files, alone by who puts some of them in the place of others.
_FILES_LOCK = "files.lock"
_SUMMED_KINDS = ("counter", "histogram")
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


@contextmanager
def reading(folder: Path) -> Iterator[None]:
    """Have the files of a folder stay as they are while a block runs."""
    with _locked(folder, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder / _FILES_LOCK, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def add_up(folder: Path, ended: Iterable[int]) -> bool:
    """Put what processes have counted that ended into one file, and remove theirs.

    Args:
        folder: Where the files are.
        ended: The numbers of the processes.

    Returns:
        Whether it was done; else somebody reads, and it is to be tried another time: who waits
        for workers must not wait for one of them.
    """
    with suppress(BlockingIOError), _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
        for kind in _SUMMED_KINDS:
            _add_up(folder, kind, [folder / f"{kind}_{pid}.db" for pid in ended])
        return True
    return False


def _add_up(folder: Path, kind: str, paths: list[Path]) -> None:
    # Only here, because it is to be imported when the folder is known.
    from prometheus_client.mmap_dict import MmapedDict

    found = [path for path in paths if path.exists()]
    if not found:
        return
    kept, draft = folder / f"{kind}_ended.db", folder / f"{kind}_ended.draft"
    sums: Counter[str] = Counter()
    for path in (kept, *found):
        if path.exists() and path.stat().st_size:
            for key, value, _, _ in MmapedDict.read_all_values_from_file(str(path)):
                sums[key] += value
    draft.unlink(missing_ok=True)
    written = MmapedDict(str(draft))
    for key, value in sums.items():
        written.write_value(key, value, 0.0)
    written.close()
    draft.rename(kept)
    for path in found:
        path.unlink()
