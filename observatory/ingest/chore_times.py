"""When the watcher's chores are due, and how they went."""

from __future__ import annotations

import time
from collections.abc import Sequence

from observatory.ingest.beside import Chore, LongChore, Outcome
from observatory.log import log
from observatory.store.database import TRY_MS, DatabaseError, waiting_at_most
from observatory.store.maintenance import list_failed, record_run

# What fails is tried again later and later, up to this.
_LONGEST_PAUSE_SECONDS = 600.0

AnyChore = Chore | LongChore


class ChoreTimes:
    """The chores of a watcher, each with the moment when it is due."""

    def __init__(self, chores: Sequence[AnyChore]) -> None:
        self._due = {
            chore.name: time.monotonic()
            + (chore.interval_seconds if chore.first_seconds is None else chore.first_seconds)
            for chore in chores
        }
        self._chores = chores
        self._failures: dict[str, int] = {}
        # Of those whose row says that they failed, maybe in an earlier process.
        self._told_failed: set[str] | None = None

    def moments(self) -> list[float]:
        """Return when chores are due, by ``time.monotonic``."""
        return list(self._due.values())

    def due(self) -> list[AnyChore]:
        """Return the chores that are due."""
        moment = time.monotonic()
        return [chore for chore in self._chores if self._due[chore.name] <= moment]

    def note_failure(self, chore: AnyChore, error: Exception) -> Outcome:
        """Return the outcome of a chore that failed; its next try is later than the last one."""
        times = self._failures[chore.name] = min(self._failures.get(chore.name, 0) + 1, 20)
        pause = max(
            chore.interval_seconds,
            min(chore.interval_seconds * 2**times, _LONGEST_PAUSE_SECONDS),
        )
        reason = f"failed: {type(error).__name__}"
        if isinstance(error, DatabaseError):
            # SQLite's own words hold names of tables and no values, but where a function is
            # given something wrong.
            reason = f"{reason} ({str(error)[:200]})"
        return Outcome(reason, again_seconds=pause, is_good=False)

    def note_success(self, chore: AnyChore, outcome: Outcome | None) -> None:
        """Forget that a chore failed before."""
        self._failures.pop(chore.name, None)

    def keep(self, chore: AnyChore, outcome: Outcome | None, *, seconds: float) -> None:
        """Note when a chore is due again, and keep what is to be told of it."""
        outcome = outcome or Outcome(None)
        again = outcome.again_seconds
        delay = chore.interval_seconds if again is None else again
        self._due[chore.name] = time.monotonic() + delay
        try:
            result = outcome.result
            if result is None and chore.name in self._find_told_failed():
                result = "went well again"
            if result is None:
                return
            # It is lost while another writer has the lock for longer.
            with waiting_at_most(TRY_MS):
                record_run(
                    chore.name,
                    duration_ms=round(seconds * 1000),
                    result=result,
                    is_good=outcome.is_good,
                    next_seconds=outcome.next_seconds or delay,
                )
        except DatabaseError as error:
            log.warning("chore_not_kept", name=chore.name, reason=type(error).__name__)
            return
        told = self._find_told_failed()
        (told.discard if outcome.is_good else told.add)(chore.name)

    def _find_told_failed(self) -> set[str]:
        if self._told_failed is None:
            self._told_failed = set(list_failed())
        return self._told_failed
