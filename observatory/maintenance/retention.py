"""The watcher's chore that lets go of what is to be kept for a time only.

What grows is left alone, whatever its age says: something was said a short while ago, its
transcript was changed since the day that counts, or is not read to its end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

from observatory.errors import NotFound
from observatory.ingest.beside import Outcome
from observatory.ingest.discover import locate
from observatory.ingest.removing import finish_removals, forget_gone_files
from observatory.store import audit
from observatory.store import retention as store
from observatory.store.conversation_changes import trash_conversation
from observatory.store.conversation_removal import begin_removal
from observatory.store.database import writing
from observatory.store.retention import Candidate, KnownFile, Policy
from observatory.store.scopes import WHOLE
from observatory.timestamps import seconds_of

RETENTION_SECONDS = 600.0
FIRST_SECONDS = 2.0
_STEP_SECONDS = 0.2
_AGAIN_SECONDS = 0.2
_LOOKED_AT = 50


class Retention:
    """Moves to the trash, or removes, what the rules say, a little at a time.

    Args:
        days: After how many days without activity conversations of projects without a rule go to
            the trash; 0 for never.
        trash_days: For how many days they stay there; 0 for ever.
        clock: Tells the present, in Unix seconds.
    """

    def __init__(
        self, *, days: int = 0, trash_days: int = 0, clock: Callable[[], float] = time.time
    ) -> None:
        self._default = Policy(days or None)
        self._trash_days = trash_days
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self._idle_key: int | None = 0
        self._trash_key: int | None = 0 if self._trash_days else None
        self._trashed = 0
        self._removed = 0

    def __call__(self, should_give_way: Callable[[], bool]) -> Outcome | None:
        """Do some of it."""
        until = time.monotonic() + _STEP_SECONDS

        def should_end() -> bool:
            return should_give_way() or time.monotonic() > until

        while not should_end():
            if not finish_removals(should_end=should_end):
                break
            if self._idle_key is not None:
                self._let_go_of_idle(should_end)
            elif self._trash_key is not None:
                self._empty_trash(should_end)
            else:
                return self._end()
        return Outcome(None, again_seconds=_AGAIN_SECONDS)

    def _end(self) -> Outcome | None:
        trashed, removed = self._trashed, self._removed
        self._begin()
        if removed:
            forget_gone_files()
        if not trashed and not removed:
            return None
        return Outcome(f"{trashed} conversations to the trash, {removed} removed")

    def _let_go_of_idle(self, should_end: Callable[[], bool]) -> None:
        if self._default.days is None and not store.has_policies():
            self._idle_key = None
            return
        assert self._idle_key is not None
        found = store.list_idle(
            self._default, moment=self._now(), after=self._idle_key, limit=_LOOKED_AT
        )
        self._idle_key = self._let_go(found, should_end) if found else None

    def _empty_trash(self, should_end: Callable[[], bool]) -> None:
        assert self._trash_key is not None
        found = store.list_trashed(
            days=self._trash_days, moment=self._now(), after=self._trash_key, limit=_LOOKED_AT
        )
        self._trash_key = self._let_go(found, should_end) if found else None

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    def _let_go(self, found: list[Candidate], should_end: Callable[[], bool]) -> int:
        """Let go of conversations in their order until it is time to end; return the last key."""
        for candidate in found:
            if not is_growing(candidate):
                self._let_go_of(candidate)
                if should_end() or not finish_removals(should_end=should_end):
                    break
        return candidate.key

    def _let_go_of(self, candidate: Candidate) -> None:
        target = f"conversation:{candidate.id}"
        try:
            if candidate.action == store.TRASH:
                with writing():
                    trash_conversation(candidate.id, scope=WHOLE)
                    audit.note(audit.RETENTION, "conversation.trash", target=target)
                self._trashed += 1
            else:
                with writing():
                    begin_removal(candidate.id, scope=WHOLE)
                    action = "conversation.delete_permanently"
                    audit.note(audit.RETENTION, action, target=target)
                self._removed += 1
        except NotFound:
            # It went with what started it, or somebody was faster.
            return


def is_growing(candidate: Candidate) -> bool:
    """Tell whether a conversation, or what it started, goes on or may have something unread."""
    state = store.read_family(candidate.key)
    if state is None:
        return True
    before = seconds_of(candidate.before)
    return (
        state.is_live
        or state.active_at >= candidate.before
        or any(_has_changed(file, before) for file in state.files)
    )


def _has_changed(file: KnownFile, before: float) -> bool:
    """Tell whether a file that is still there was changed since a time, or since it was read."""
    try:
        status = os.stat(locate(file.path))
    except OSError:
        return False
    return (
        status.st_mtime >= before
        or status.st_size != file.size
        or status.st_mtime_ns != file.modified_ns
        or file.is_waiting
    )
