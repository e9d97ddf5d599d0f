"""Who has the database open: told by the locks that SQLite itself takes, whatever the program is.

A connection in WAL mode holds a shared lock on the file from its first statement to its end, also
while it is idle. Such locks belong to a process, and are gone when it closes *any* descriptor of
the file: nothing here may be called while this process has the database open through SQLite.

Source: https://sqlite.org/src/file/src/os_unix.c, "Posix Advisory Locking"; ``man 2 fcntl``.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from observatory.errors import DatabaseInUse

_FIRST = 0x40000000 + 2
_LENGTH = 510
# struct flock, where the order of its fields is known.
_LAYOUT = {"linux": "hhqqi4x", "darwin": "qqihh"}.get(sys.platform)


def find_user(path: str | Path) -> int | None:
    """Return the id of a process that has the database open, 0 when it is not told, or ``None``.

    Raises:
        OSError: The file can not be opened by this user.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _find_holder(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def unused(path: str | Path) -> Iterator[None]:
    """Run a block while no other process can have the database open.

    Raises:
        DatabaseInUse: One has; the message names it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, _LENGTH, _FIRST)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            raise DatabaseInUse(str(path), describe_process(_find_holder(descriptor))) from None
        yield
    finally:
        os.close(descriptor)


def describe_process(number: int | None) -> str:
    """Return which process it is, in words, with its command line where the system tells."""
    if not number:
        return "Another process"
    try:
        line = Path(f"/proc/{number}/cmdline").read_bytes()
    except OSError:
        return f"Process {number}"
    words = line.decode("utf-8", "replace").replace("\0", " ").strip()
    shown = "".join(c if c.isprintable() else "?" for c in words)
    return f"Process {number} ({shown[:80]})" if shown else f"Process {number}"


def _find_holder(descriptor: int) -> int | None:
    if _LAYOUT is None:
        return None
    if sys.platform == "darwin":
        asked = struct.pack(_LAYOUT, _FIRST, _LENGTH, 0, fcntl.F_WRLCK, os.SEEK_SET)
        _, _, holder, kind, _ = struct.unpack(
            _LAYOUT, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)[: len(asked)]
        )
    else:
        asked = struct.pack(_LAYOUT, fcntl.F_WRLCK, os.SEEK_SET, _FIRST, _LENGTH, 0)
        kind, _, _, _, holder = struct.unpack(
            _LAYOUT, fcntl.fcntl(descriptor, fcntl.F_GETLK, asked)
        )
    # In another container its id is not told, or is that of nobody here.
    return None if kind == fcntl.F_UNLCK else max(0, int(holder))
