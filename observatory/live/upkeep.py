"""What the watcher does for events now and then: ends, sums up, and lets go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from time import monotonic

from observatory import timestamps
from observatory.metrics import CHECKPOINTS
from observatory.store.budget_checks import Span, check_budgets
from observatory.store.database import read_wal_salt, writing
from observatory.store.event_notes import (
    bring_back_activity,
    end_conversations,
    find_quiet_conversations,
    has_later_activity,
    note_analytics,
)
from observatory.store.events import (
    expire_events,
    find_last,
    find_oldest_time,
    read_bounds,
)
from observatory.store.totals import read_totals
from observatory.timestamps import format_timestamp

KEEP_FOR = timedelta(days=7)
KEEP = 100_000
END_SECONDS = 5.0
ANALYTICS_SECONDS = 10.0
BUDGET_SECONDS = 3.0
EXPIRE_SECONDS = 30.0
CHECKPOINT_SECONDS = 5.0
# The log is begun anew after 4,000 pages: so often it is not within those seconds.
_MOST_STEPS = 10_000
_EXPIRE_FOR_SECONDS = 0.25


def end_quiet_conversations() -> None:
    """Note which conversations ended: nothing was said in them for a while."""
    moment = datetime.now(UTC)
    if has_later_activity(moment):
        # The clock was set back; they would go on until it is that late again.
        with writing(moves=None):
            bring_back_activity(moment)
    quiet = find_quiet_conversations(moment)
    if quiet:
        with writing(moves=None):
            end_conversations(quiet)


class AnalyticsNotes:
    """Notes which projects have other numbers than when that was noted last."""

    def __init__(self) -> None:
        self._position: int | None = None

    def __call__(self) -> None:
        """Note it, if anything happened."""
        if self._position is None:
            self._position = find_last("analytics_update")
        if read_bounds().latest == self._position:
            return
        with writing(moves=None):
            note_analytics(self._position)
            latest = read_bounds().latest
        # Not before that is kept: what a full disk refuses is noted the next time.
        self._position = latest


class BudgetChecks:
    """Tells which budgets crossed a threshold."""

    def __init__(self) -> None:
        self._revision = -1
        self._span = Span(0.0, 0.0)

    def __call__(self) -> None:
        """Tell it, if anything changed in the archive or a period ended."""
        moment = timestamps.present()
        revision = read_totals()["revision"]
        if revision == self._revision and self._span.holds(moment):
            return
        self._span = check_budgets(moment)
        # Not before that: what a full disk refuses is told the next time.
        self._revision = revision


class CheckpointCount:
    """Counts how often the write-ahead log was begun anew, by whichever process."""

    def __init__(self) -> None:
        self._salt: int | None = None

    def __call__(self) -> None:
        """Count it since the last time."""
        salt = read_wal_salt()
        if salt is not None and self._salt is not None:
            steps = (salt - self._salt) % 2**32
            # A log that was made anew has another number, and may have been begun anew since.
            CHECKPOINTS.inc(steps if steps < _MOST_STEPS else 1)
        self._salt = self._salt if salt is None else salt


def let_go_of_old_events() -> None:
    """Delete events that are too old or too many, as many as a short while allows."""
    before = format_timestamp(datetime.now(UTC) - KEEP_FOR)
    until = monotonic() + _EXPIRE_FOR_SECONDS
    bounds = read_bounds()
    oldest = find_oldest_time()
    if oldest is None or (bounds.latest - bounds.oldest < KEEP and oldest >= before):
        return
    while monotonic() < until:
        with writing(moves=None):
            if not expire_events(before=before, keep=KEEP):
                return
