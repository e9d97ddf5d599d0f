"""Uploaded transcripts: kept beside the database, whole or not at all.

``uploads/<content>/<session>.jsonl``, where the folder is named by the content's SHA-256: the same
content is one file, and other content under the same name does not touch it. While an upload
arrives it lies in ``uploads/.incoming/<random>/``, a folder that its writer has locked; the kernel
drops the lock of a dead writer, so what it left can be told from what is arriving.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from observatory.errors import TooLarge
from observatory.store.database import uploads_folder
from observatory.transcripts.lines import parse_objects, read_lines

_INCOMING = ".incoming"
_BODY = "body"
_SUFFIXES = (".jsonl", ".ndjson")
_MAX_STEM_BYTES = 200
_NAMING_LINES = 50


def stored_uploads(database_path: str | Path) -> list[str]:
    """Return the paths of all uploads that arrived whole."""
    found = uploads_folder(database_path).glob("[!.]*/*.jsonl")
    return sorted(str(path) for path in found if path.is_file() and not path.is_symlink())


def is_upload(path: str, *, database_path: str | Path) -> bool:
    """Tell whether a path is that of an upload: whole, for nobody writes to it any more."""
    folder = Path(path).parent
    return folder.parent == uploads_folder(database_path) and not folder.name.startswith(".")


def read_stem(filename: str) -> str | None:
    """Return the name of the session in a client's name for its file, or ``None`` if it has none.

    Folders before it and the endings ``.jsonl`` and ``.gz`` are no part of it.
    """
    name = filename.replace("\\", "/").rsplit("/", 1)[-1]
    stem = "".join(c for c in name if c.isprintable()).strip()
    stem = _strip_ending(_strip_ending(stem, (".gz",)), _SUFFIXES)
    stem = stem.encode("utf-8", "ignore")[:_MAX_STEM_BYTES].decode("utf-8", "ignore")
    return stem.strip().lstrip(".") or None


def _strip_ending(name: str, endings: tuple[str, ...]) -> str:
    for ending in endings:
        if name.lower().endswith(ending):
            return name[: -len(ending)]
    return name


class Incoming:
    """An upload that arrives."""

    def __init__(self, folder: Path, root: Path) -> None:
        self._folder = folder
        self._root = root
        self._hash = hashlib.sha256()
        self.size = 0

    def take(self, pieces: Iterable[bytes], *, max_bytes: int) -> None:
        """Write pieces to the disk as they come.

        Raises:
            TooLarge: They are more than ``max_bytes``.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with os.fdopen(os.open(self._folder / _BODY, flags, 0o600), "wb") as stream:
            for piece in pieces:
                self.size += len(piece)
                if self.size > max_bytes:
                    raise TooLarge(max_bytes)
                self._hash.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())

    @property
    def path(self) -> str:
        """The path of what has come, until it is published."""
        return str(self._folder / _BODY)

    def read_name(self) -> str:
        """Return the name of the session that the first records say, or else one of its content."""
        return self._session_id() or f"upload-{self._digest[:12]}"

    @property
    def _digest(self) -> str:
        return self._hash.hexdigest()[:32]

    def publish(self, stem: str) -> str:
        """Give the file its place and return its path; known content keeps the one it has.

        Args:
            stem: The name of the session.
        """
        digest, name = self._digest, f"{stem}.jsonl"
        os.rename(self._folder / _BODY, self._folder / name)
        _fsync_folder(self._folder)
        target = self._root / digest
        try:
            os.rename(self._folder, target)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            known = next(iter(sorted(target.glob("*.jsonl"))), None)
            if known is not None:
                return str(known)
            os.rename(self._folder / name, target / name)
        _fsync_folder(self._root)
        return str(target / name)

    def _session_id(self) -> str | None:
        """Return the session that the first records say they belong to."""
        with (self._folder / _BODY).open("rb") as stream:
            for line in read_lines(stream.read, max_line_bytes=1024 * 1024):
                if line.number > _NAMING_LINES:
                    break
                for record in parse_objects(line)[0]:
                    session_id = record.get("sessionId")
                    if isinstance(session_id, str) and read_stem(session_id):
                        return read_stem(session_id)
        return None


@contextmanager
def receiving(database_path: str | Path) -> Iterator[Incoming]:
    """Yield a place for an upload to arrive at; what was not published by the end is removed."""
    root = uploads_folder(database_path)
    incoming = root / _INCOMING
    for parent in (root, incoming):
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    remove_leftovers(database_path)
    folder, lock = _new_locked_folder(incoming)
    try:
        yield Incoming(folder, root)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def remove_leftovers(database_path: str | Path) -> None:
    """Remove what uploads left behind whose process died."""
    with (
        suppress(FileNotFoundError),
        os.scandir(uploads_folder(database_path) / _INCOMING) as found,
    ):
        for entry in found:
            with suppress(OSError):
                lock = _lock_folder(entry.path)
                try:
                    shutil.rmtree(entry.path, ignore_errors=True)
                finally:
                    os.close(lock)


def remove_upload(path: str, *, database_path: str | Path) -> bool:
    """Remove a stored upload with its folder; tell whether the path was one."""
    if not is_upload(path, database_path=database_path):
        return False
    file = Path(path)
    with suppress(FileNotFoundError):
        file.unlink()
    with suppress(OSError):
        file.parent.rmdir()
    _fsync_folder(file.parent.parent)
    return True


def _new_locked_folder(incoming: Path) -> tuple[Path, int]:
    """Return a new folder and the descriptor that holds its lock."""
    while True:
        folder = incoming / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        # Another upload, looking for leftovers, may have got hold of it before its lock.
        with suppress(BlockingIOError, FileNotFoundError):
            return folder, _lock_folder(folder)


def _lock_folder(folder: str | Path) -> int:
    """Return a descriptor that holds the lock of a folder that is there.

    Raises:
        BlockingIOError: A living process holds it.
        FileNotFoundError: It was removed meanwhile.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.stat(folder)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
