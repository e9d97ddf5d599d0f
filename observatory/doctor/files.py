"""Files of an installation: where they are, who may read them, and whether there is room."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from collections.abc import Iterator
from pathlib import Path

from observatory.doctor.findings import Finding, error, ok, warning
from observatory.ingest.mounts import MOUNTS, find_filesystem, is_silent
from observatory.store.database import log_path, uploads_folder
from observatory.store.locks import is_held
from observatory.store.replacing import list_replaced, list_working_folders
from observatory.store.watcher_status import watcher_status_path

_LARGE_LOG_BYTES = 256 * 1024 * 1024
_LEAST_FREE_BYTES = 512 * 1024 * 1024
_LEAST_FREE_FILES = 100
# These are of use only when they are long enough.
_SECRETS = ("redaction_key", "jwt_secret")


def find_barrier(path: Path) -> Path | None:
    """Return the folder on the way to a file that this user may not look into, or ``None``."""
    folders = Path(os.path.abspath(path)).parents
    return next(
        (each for each in reversed(folders) if each.is_dir() and not os.access(each, os.X_OK)),
        None,
    )


def check_database_file(path: Path) -> Iterator[Finding]:
    """Yield how the file of the database and its folder are."""
    folder = path.parent
    if not folder.is_dir():
        yield warning(
            "database", f"There is no folder {folder} yet.", "`observatory serve` makes it."
        )
        return
    if not path.exists():
        yield warning("database", f"There is no {path} yet.", "`observatory serve` makes it.")
        return
    if not path.is_file():
        yield error("database", f"{path} is no file.", "Name another one in DB_PATH.")
        return
    if not path.stat().st_size:
        yield warning("database", f"{path} is empty.", "`observatory serve` begins it.")
        return
    if not os.access(path, os.R_OK):
        yield error(
            "database",
            f"This user may not read {path}.",
            "Run this as the user that runs the server, or let this one in.",
        )
        return
    if not _is_sqlite(path):
        yield error(
            "database",
            f"{path} is no SQLite database, or its beginning is damaged.",
            "Name the database in DB_PATH. If this was it, `observatory restore FILE` puts a backup"
            " in its place; without one move it away, and `observatory ingest` reads the"
            " transcripts anew.",
        )
        return
    yield ok("database", f"{path}, {path.stat().st_size:,} bytes")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        yield error(
            "writable",
            f"The disk of {folder} can only be read: serving and reading would fail.",
            "The system's log (`dmesg`) tells why, if it was not meant so; have it written to again"
            " (`mount -o remount,rw`), or name another place in DB_PATH.",
        )
    elif not (os.access(path, os.W_OK) and os.access(folder, os.W_OK)):
        yield error(
            "writable",
            f"This user may not write to {path} and its folder: serving and reading would fail.",
            f"Run the Observatory as the owner, or `chown` {folder} and what is in it.",
        )
    else:
        yield ok("writable", "this user may write to it and its folder")
    yield _check_log(path)
    yield from check_file_system(folder)
    yield from _check_left_over(path)


def check_file_system(folder: Path, *, mounts: Path = MOUNTS) -> Iterator[Finding]:
    """Yield whether a folder lies where SQLite can not share memory between processes."""
    kind = find_filesystem(str(folder), mounts=mounts)
    if is_silent(kind):
        yield warning(
            "file system",
            f"{folder} lies on {kind}: SQLite's locks and the memory that processes share may not"
            " hold there, which damages databases.",
            "Move it to a local disk: `observatory backup`, another DB_PATH, `observatory"
            " restore`.",
        )


def _check_left_over(path: Path) -> Iterator[Finding]:
    """Yield which whole copies of the database lie beside it, which nobody uses."""
    try:
        is_at_work = is_held(path, "ingest")
    except PermissionError:
        is_at_work = True
    if not is_at_work:
        for folder in list_working_folders(path):
            yield warning(
                "left over",
                f"{folder} was left by a restore or compact that was killed; it may have a copy"
                " of the database.",
                f"`observatory compact` removes it, or do so: `rm -r {shlex.quote(str(folder))}`",
            )
    kept = list_replaced(path)
    if kept:
        size = sum(file.stat().st_size for file in kept)
        yield ok("replaced", f"{len(kept)} databases that restores replaced have {size:,} bytes")


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(16) == b"SQLite format 3\0"


def _check_log(path: Path) -> Finding:
    log = log_path(path)
    try:
        size = log.stat().st_size
    except OSError:
        return ok("write-ahead log", "there is none: nobody has it open")
    if size > max(_LARGE_LOG_BYTES, path.stat().st_size // 2):
        return warning(
            "write-ahead log",
            f"It has {size:,} bytes, so somebody reads for long, or it was never taken in.",
            "End long readers (`observatory verify`, `observatory tail`), or start the server"
            " again; `observatory compact` empties it.",
        )
    return ok("write-ahead log", f"{size:,} bytes")


def check_owners(path: Path, keys: dict[str, Path]) -> Iterator[Finding]:
    """Yield whether all that belongs to a database has its owner.

    What root makes beside it, as by a command that was run as root, the server can not write.
    """
    owner = path.stat().st_uid
    beside = [log_path(path), Path(f"{os.path.realpath(path)}-shm"), watcher_status_path(path)]
    files = [*beside, *keys.values(), *sorted(path.parent.glob(f"{path.name}.*.lock"))]
    others = [file for file in files if file.exists() and file.stat().st_uid != owner]
    if others:
        names = " ".join(shlex.quote(str(file)) for file in others)
        yield error(
            "owner",
            f"The database belongs to {_user_name(owner)}, and to others {names}: the server may"
            " not get at them.",
            f"`chown --reference={shlex.quote(str(path))} {names}`",
        )
    elif os.geteuid() == 0 and owner != 0:
        name = _user_name(owner)
        yield warning(
            "owner",
            f"The database belongs to {name}, and this is root: what root makes beside it, the"
            " server can not write.",
            f"Run commands as {name} (`runuser -u {name} observatory ...`).",
        )
    else:
        yield ok("owner", f"all that belongs to it has one owner, {_user_name(owner)}")


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)


def check_modes(
    path: Path, keys: dict[str, Path], *, is_database: bool, least_key_bytes: int
) -> Iterator[Finding]:
    """Yield whether others may read what is secret, and whether the keys can be used.

    Args:
        path: The database.
        keys: The files of keys, by name.
        is_database: Whether there is one; what lies beside another file is none of ours.
        least_key_bytes: What a server takes for a key at least.
    """
    wrong = []
    files = [*keys.values(), watcher_status_path(path)]
    if is_database:
        files += [path, log_path(path), Path(f"{os.path.realpath(path)}-shm")]
    for file in files:
        mode = _mode(file)
        if mode is not None and mode & 0o077:
            wrong.append((file, mode, 0o600))
    uploads = uploads_folder(path)
    mode = _mode(uploads)
    if mode is not None and mode & 0o077:
        wrong.append((uploads, mode, 0o700))
    folder = _mode(path.parent) if is_database else None
    if folder is not None and folder & 0o022:
        wrong.append((path.parent, folder, 0o700))
    for file, mode, wanted in wrong:
        yield error(
            "permissions",
            f"{file} has the mode {mode:04o}: others may get at it.",
            f"`chmod {wanted:04o} {file}`",
        )
    if not wrong:
        yield ok("permissions", "only the owner may read the database and the keys")
    for name, key in keys.items():
        if key.exists() and not os.access(key, os.R_OK):
            yield error("keys", f"This user may not read {key}.", f"`chown` {key}.")
        elif name in _SECRETS and key.is_file() and _is_short(key, least_key_bytes):
            yield error(
                "keys",
                f"{key} has less than {least_key_bytes} bytes: nothing starts with it.",
                f"Put it back from where the backup is, or remove it (`rm {shlex.quote(str(key))}`)"
                " and the next start makes another one.",
            )
        elif name == "redaction_key" and is_database and not key.exists():
            yield warning(
                "keys",
                f"There is no {key}: the next start makes one, and masked secrets get other"
                " marks than before.",
                "Put it back from where the backup is, if there was one.",
            )


def _is_short(key: Path, least_bytes: int) -> bool:
    return len(key.read_bytes().strip()) < least_bytes


def _mode(file: Path) -> int | None:
    try:
        return stat.S_IMODE(file.stat().st_mode)
    except OSError:
        return None


def check_room(path: Path) -> Iterator[Finding]:
    """Yield whether there is room on the disks of the database and of uploads."""
    size = path.stat().st_size if path.exists() else 0
    seen = set()
    for name, folder in (("database", path.parent), ("uploads", uploads_folder(path))):
        there = next((each for each in (folder, *folder.parents) if each.is_dir()), None)
        if there is None or there.stat().st_dev in seen:
            continue
        seen.add(there.stat().st_dev)
        status = os.statvfs(there)
        free = status.f_bavail * status.f_frsize
        wanted = max(_LEAST_FREE_BYTES, size // 10)
        told = f"{free:,} bytes are free on the disk of {folder}"
        # Some file systems have no such number.
        if status.f_files and status.f_favail < _LEAST_FREE_FILES:
            yield error(
                "disk",
                f"Only {status.f_favail:,} more files can be made on the disk of {folder}"
                " (inodes).",
                "Delete files there, however small: what needs a new one fails.",
            )
        elif free < wanted // 5:
            yield error("disk", f"Only {told}.", "Make room: what can not be written waits.")
        elif free < wanted:
            yield warning("disk", f"Only {told}.", "Make room before it is full.")
        elif name == "database" and free < size * 11 // 10:
            yield warning(
                "disk",
                f"{told}: too few for `observatory compact`, a restore, or a backup there.",
                "Make room, or put backups elsewhere.",
            )
        else:
            yield ok("disk", told)
