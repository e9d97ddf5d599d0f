"""Files that are there whole or not at all, and for their owner only."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from observatory.errors import BackupError


@contextmanager
def whole_file(path: Path, *, replaces: bool) -> Iterator[Path]:
    """Yield the path of an empty file, which gets its name when the block ends well.

    It is on the disk then, with the mode 0600. What a killed process left of such a file is taken
    over by the next one.

    Args:
        path: The name that it gets.
        replaces: Whether it takes the place of what is there by that name.

    Raises:
        BackupError: There is such a file, or a folder or a device, which nothing replaces; or
            another process writes it at the moment.
    """
    if path.exists() and not path.is_file():
        raise BackupError(f"{path} is no file that can be replaced; name another one.")
    if not replaces and os.path.lexists(path):
        raise BackupError(f"{path} is there already; name another file, or use --force.")
    draft = path.with_name(f".{path.name}.partial")
    descriptor = os.open(draft, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another process writes {path} at the moment.") from None
        try:
            os.ftruncate(descriptor, 0)
            os.fchmod(descriptor, 0o600)
            yield draft
            os.fsync(descriptor)
            if replaces:
                draft.replace(path)
            else:
                # Unlike a renaming, this fails when somebody was faster.
                os.link(draft, path)
                draft.unlink()
            sync_folder(path.parent)
        except FileExistsError:
            draft.unlink(missing_ok=True)
            raise BackupError(f"{path} is there already; name another file.") from None
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Have what is in a file on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
