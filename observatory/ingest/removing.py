"""Removing conversations for good together with the uploads that they were read from.

Uploads go as soon as a conversation is hidden, before its rows do: what is interrupted in between
is ended later from the rows that are left.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from observatory.ingest.discover import locate
from observatory.ingest.uploads import remove_upload
from observatory.store.conversation_removal import begin_removal, list_removals, remove_some
from observatory.store.database import database
from observatory.store.scopes import Scope
from observatory.store.transcript_files import (
    delete_file,
    find_files_of,
    list_files_without_rows,
)


def remove_conversation(conversation_id: str, *, scope: Scope, revision: int | None = None) -> None:
    """Remove a conversation, what it started and their uploads, all of it.

    Raises:
        NotFound: There is none.
        PreconditionFailed: It was changed after that revision.
    """
    keys = begin_removal(conversation_id, scope=scope, revision=revision)
    for key in reversed(keys):
        _remove(key, should_end=lambda: False)


def finish_removals(*, should_end: Callable[[], bool] = lambda: False) -> bool:
    """Go on with removals that have begun; tell whether they are done.

    Args:
        should_end: Asked after each short transaction.
    """
    return all(_remove(key, should_end=should_end) for key in list_removals())


def _remove(key: int, *, should_end: Callable[[], bool]) -> bool:
    for _, path in find_files_of(key):
        remove_upload(path, database_path=database.database)
    while remove_some(key):
        if should_end():
            return False
    return True


def forget_gone_files() -> int:
    """Forget files of which nothing is left, neither in the archive nor on the disk.

    Their names tell of projects and sessions.

    Returns:
        How many there were.
    """
    gone = [key for key, path in list_files_without_rows() if not os.path.lexists(locate(path))]
    for key in gone:
        delete_file(key)
    return len(gone)
