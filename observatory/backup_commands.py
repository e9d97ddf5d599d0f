"""``observatory backup`` and ``restore``: the database to a file, and back."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import orjson

from observatory.archive_files import STANDARD
from observatory.errors import BackupError
from observatory.ingest.stopping import StopSignals
from observatory.looking import look_at
from observatory.opening import build_missing_rollups
from observatory.settings import Settings, key_files
from observatory.store import audit, schema
from observatory.store.audit import OPERATOR
from observatory.store.backups import (
    Contents,
    Remembered,
    check_copy,
    check_target,
    go_on_from,
    read_contents,
    remember,
)
from observatory.store.database import (
    DatabaseError,
    close,
    configure,
    configure_for_looking,
    connect,
    copy_into,
    fold_log,
    is_interrupted,
    may_be_full,
    one_moment,
)
from observatory.store.replacing import nobody_else, put_in_place, working_folder
from observatory.store.verifying import prepare_verifying, verify_database
from observatory.store.whole_files import whole_file


def add_backup_commands(commands: Any) -> None:
    """Add these commands to those of the command line."""
    text = "write all of the database to a file, also while others write to it"
    backup = commands.add_parser("backup", help=text, description=text)
    backup.add_argument("file", type=Path, metavar="FILE")
    backup.add_argument(
        "--with-keys",
        action="store_true",
        help="copy the key files, too: to FILE.redaction_key and FILE.jwt_secret",
    )
    backup.add_argument(
        "--verify", action="store_true", help="look through the copy as `observatory verify` does"
    )
    backup.add_argument("--force", action="store_true", help="write over FILE when it is there")
    backup.add_argument("--json", action="store_true", help="print JSON")
    backup.set_defaults(command=run_backup)

    text = "put a backup in the place of the database, which is kept beside it"
    restore = commands.add_parser("restore", help=text, description=text)
    restore.add_argument("file", type=Path, metavar="FILE")
    restore.add_argument("--json", action="store_true", help="print JSON")
    restore.set_defaults(command=run_restore)


# Backup


class _Stopped(Exception):
    """A signal came."""


def run_backup(options: argparse.Namespace, settings: Settings) -> int:
    """Write a copy of the database that is whole and checked, or none."""
    with StopSignals() as stop:
        try:
            return _back_up(options, settings, stop)
        except _Stopped:
            return 128 + stop.number


def _back_up(options: argparse.Namespace, settings: Settings, stop: StopSignals) -> int:
    target: Path = options.file
    if str(target) == STANDARD:
        raise BackupError("A backup is a file: name one. `observatory export -` writes to a pipe.")
    if not target.parent.is_dir():
        raise BackupError(f"There is no folder {target.parent}; make it first.")
    check_target(target, settings.db_path, keys=key_files(settings).values())
    keys = {
        target.with_name(f"{target.name}.{name}"): path
        for name, path in key_files(settings).items()
        if options.with_keys and path.is_file()
    }
    began = time.monotonic()
    with ExitStack() as files:
        # What is begun first gets its name last: where the backup is, its keys are.
        draft = files.enter_context(whole_file(target, replaces=options.force))
        for copy, path in keys.items():
            key = files.enter_context(whole_file(copy, replaces=options.force))
            key.write_bytes(path.read_bytes())
        try:
            before = look_at(settings.db_path, lambda: _copy(target, draft, stop))
            with _blaming(target):
                contents = _check_copy(draft, target, is_deep=options.verify)
        except DatabaseError as error:
            if stop.is_requested() and is_interrupted(error):
                raise _Stopped from None
            raise
        # Nobody wrote in between: then the copy has to have exactly as much.
        after = look_at(settings.db_path, read_contents)
        if before == after and contents != after:
            raise BackupError(f"{target} has not what the database has; run it again.")
        size = draft.stat().st_size
        set_aside = _set_aside_keys(target, settings, taken=keys)
    told = {
        "file": str(target),
        "bytes": size,
        "seconds": round(time.monotonic() - began, 3),
        "is_verified": options.verify,
        **asdict(contents),
        "keys": [str(copy) for copy in keys],
        "keys_set_aside": set_aside,
    }
    _print(told, options, _describe_backup(told, settings, options))
    return 0


def _copy(target: Path, draft: Path, stop: StopSignals) -> Contents:
    """Copy the connected database, and return what it had just before."""
    contents = read_contents()
    # It may be tried again.
    os.truncate(draft, 0)
    # What fails before this is of the database's own disk.
    with _blaming(target):
        try:
            copy_into(draft, should_stop=stop.is_requested)
        finally:
            # SQLite leaves it where the disk failed, and so does who is killed.
            draft.with_name(f"{draft.name}-journal").unlink(missing_ok=True)
    return contents


@contextmanager
def _blaming(target: Path) -> Iterator[None]:
    """Say of a failure that may come from a full disk that it is the target's."""
    try:
        yield
    except DatabaseError as error:
        if not may_be_full(error):
            raise
        raise BackupError(
            f"There is no room for {target}, or its disk failed ({error}): nothing was left there."
            " Make room, or name a file elsewhere."
        ) from error


def _check_copy(draft: Path, target: Path, *, is_deep: bool) -> Contents:
    """Return what a copy has, which must be sound."""
    with _looking(draft):
        check_copy(target)
        contents = read_contents()
        if is_deep:
            schema.check_current()
            prepare_verifying()
            with one_moment():
                wrong = [check.name for check in verify_database() if check.wrong]
            if wrong:
                raise BackupError(
                    f"The database has something wrong in it ({', '.join(wrong)}), and so has the"
                    " copy, which was not kept. `observatory verify` tells more; without --verify"
                    " it is kept as it is."
                )
        return contents


@contextmanager
def _looking(path: Path) -> Iterator[None]:
    configure_for_looking(path)
    try:
        connect()
        yield
    finally:
        close()


def _set_aside_keys(target: Path, settings: Settings, *, taken: dict[Path, Path]) -> list[str]:
    """Give keys that lie beside an earlier backup, and are others by now, another name.

    A restore would put them in place. They are not removed: they may be the last copies.

    Returns:
        Their new names.
    """
    renamed = []
    for name, path in key_files(settings).items():
        saved = target.with_name(f"{target.name}.{name}")
        if saved in taken or not saved.is_file():
            continue
        if path.is_file() and path.read_bytes() == saved.read_bytes():
            continue
        other = _name_of_now(saved)
        saved.rename(other)
        renamed.append(str(other))
    return renamed


def _describe_backup(
    told: dict[str, Any], settings: Settings, options: argparse.Namespace
) -> Iterator[str]:
    yield (
        f"Wrote {told['file']}: {told['bytes']:,} bytes, {told['conversations']:,} conversations,"
        f" {told['messages']:,} messages; checked, in {told['seconds']:.1f} s."
    )
    if told["keys"]:
        yield f"Beside it are the keys: {', '.join(told['keys'])}."
    else:
        missing = [str(path) for path in key_files(settings).values() if path.is_file()]
        if missing:
            yield (
                f"Not in it are {', '.join(missing)}: keep copies of them as well (--with-keys"
                " makes them)."
            )
    if told["keys_set_aside"]:
        yield (
            f"The keys of an earlier backup are now {', '.join(told['keys_set_aside'])}, for they"
            " are not those of today."
        )
    yield (
        "It holds secrets, such as those of webhooks and the hashes of passwords: keep it where"
        " only you can read it."
    )


# Restore


def run_restore(options: argparse.Namespace, settings: Settings) -> int:
    """Put a backup in the place of the database."""
    source: Path = options.file
    if not source.is_file():
        raise BackupError(f"There is no file {source}.")
    path = settings.db_path
    if path.exists() and source.samefile(path):
        raise BackupError(f"{source} is the database itself; name a backup.")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with nobody_else(path), working_folder(path) as folder:
        known, is_known = _remember(path)
        copy = folder / path.name
        _take_copy(source, copy)
        applied, contents = _prepare(replace(settings, db_path=copy), source, known)
        kept = _name_of_now(path)
        was_there = put_in_place(copy, path, kept=kept)
        keys = _restore_keys(source, settings, suffix=kept.name.rpartition(".")[2])
    told = {
        "file": str(source),
        "database": str(path),
        "kept": str(kept) if was_there else None,
        "is_kept_readable": is_known,
        "migrations": list(applied),
        "keys": keys,
        **asdict(contents),
    }
    _print(told, options, _describe_restore(told, settings))
    return 0


def _name_of_now(path: Path) -> Path:
    """Return the name of now, which nothing has, for a file that was there."""
    name = f"{path.name}.before-{time.strftime('%Y%m%d-%H%M%S')}"
    kept, number = path.with_name(name), 1
    while os.path.lexists(kept):
        number += 1
        kept = path.with_name(f"{name}-{number}")
    return kept


def _remember(path: Path) -> tuple[Remembered, bool]:
    """Return what the database knows that is there, and whether it could be read."""
    if not path.exists() or not path.stat().st_size:
        return Remembered(), True
    try:
        return look_at(path, remember), True
    except (DatabaseError, KeyError):
        return Remembered(), False


def _take_copy(source: Path, copy: Path) -> None:
    """Copy a backup to where the database is, and check it before anything else."""
    copy.touch(mode=0o600)
    try:
        with _looking(source):
            check_copy(source)
            copy_into(copy)
    except DatabaseError as error:
        if may_be_full(error):
            raise BackupError(
                f"There is no room for it in {copy.parents[1]}; make some."
            ) from error
        raise BackupError(f"{source} can not be read: {error}. Use another backup.") from error


def _prepare(
    settings: Settings, source: Path, known: Remembered
) -> tuple[tuple[str, ...], Contents]:
    """Make a copy what the database is to be; return the migrations it took, and what it has."""
    configure(settings.db_path, synchronous="FULL")
    try:
        connect()
        applied = schema.migrate()
        schema.check_current()
        contents = read_contents()
        go_on_from(known)
        audit.note(OPERATOR, "database.restore", file=source.name)
        build_missing_rollups(settings)
    finally:
        close()
    if not fold_log(settings.db_path):
        raise BackupError("The copy could not be completed; look at the system's log.")
    return applied, contents


def _restore_keys(source: Path, settings: Settings, *, suffix: str) -> list[str]:
    """Put the keys in place that lie beside a backup, and return which those are."""
    restored = []
    for name, path in key_files(settings).items():
        saved = source.with_name(f"{source.name}.{name}")
        if not saved.is_file() or (path.is_file() and path.read_bytes() == saved.read_bytes()):
            continue
        if path.is_file():
            os.link(path, path.with_name(f"{name}.{suffix}"))
        with whole_file(path, replaces=True) as draft:
            draft.write_bytes(saved.read_bytes())
        restored.append(str(path))
    return restored


def _describe_restore(told: dict[str, Any], settings: Settings) -> Iterator[str]:
    yield (
        f"Restored {told['file']}: {told['conversations']:,} conversations,"
        f" {told['messages']:,} messages, the last of {told['updated_at'] or 'no time'}."
    )
    if told["migrations"]:
        yield f"It was of an older version; applied {', '.join(told['migrations'])}."
    if told["kept"]:
        yield f"The database as it was is {told['kept']}; remove it when you need it no more."
    if told["keys"]:
        yield f"Keys were put in place: {', '.join(told['keys'])}."
    elif not key_files(settings)["redaction_key"].is_file():
        yield (
            "There is no redaction_key, so the next start makes one: secrets that are masked from"
            " then on get other marks than before."
        )
    yield "All sign-ins have ended; accounts, keys, webhooks and budgets are those of the backup."
    if not told["is_kept_readable"]:
        yield (
            "The database that was there could not be read: look at `observatory key list` and"
            " `observatory user list` for what was revoked since the backup."
        )
    yield "The next start, or `observatory ingest`, reads what the backup lacks."


def _print(told: dict[str, Any], options: argparse.Namespace, lines: Iterator[str]) -> None:
    with suppress(BrokenPipeError):
        if options.json:
            print(orjson.dumps(told).decode(), flush=True)
        else:
            print("\n".join(lines), flush=True)
    sys.stdout.flush()
