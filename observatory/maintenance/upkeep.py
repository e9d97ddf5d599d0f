"""Chores of the watcher for the database file: each is short, or done in steps that are."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from observatory.ingest.beside import Outcome
from observatory.log import log
from observatory.store import audit, idempotency, maintenance, search
from observatory.store import webhook_deliveries as deliveries
from observatory.store.database import file_sizes, writing
from observatory.store.one_time_tokens import expire_tokens
from observatory.store.sessions import expire_sign_ins
from observatory.store.stream_tickets import expire_tickets
from observatory.store.totals import read_totals
from observatory.timestamps import format_timestamp, seconds_of

Clock = Callable[[], float]
GiveWay = Callable[[], bool]

TRUNCATE_BYTES = 32 * 1024 * 1024
_PATIENCE_MS = 20
# What SQLite moves for a row of this table alone is not worth one more.
_FEW_PAGES = 16

STATISTICS_SECONDS = 60.0
_STATISTICS_EVERY_SECONDS = 6 * 3600.0
# So many new messages are another archive to the query planner.
_MANY_MESSAGES = 20_000

MERGE_SECONDS = 30.0
# Of fewer segments FTS5 itself takes care.
MANY_SEGMENTS = 8
_MERGED_PAGES = 100
_STEP_SECONDS = 0.1
_AGAIN_SECONDS = 0.5

EXPIRE_SECONDS = 60.0
_ROWS_AT_ONCE = 1000

CHECK_SECONDS = 60.0
CHECK_EVERY_SECONDS = 24 * 3600.0
CALM_SECONDS = 600.0
_LONGEST_CHECK_SECONDS = 600.0
_LISTED_PROBLEMS = 3


class Checkpoints:
    """Takes the write-ahead log into the file, and cuts it when it has grown."""

    def __init__(self, *, truncate_bytes: int = TRUNCATE_BYTES) -> None:
        self._truncate_bytes = truncate_bytes
        self._pages = 0

    def __call__(self) -> Outcome | None:
        """Do it, without waiting for anybody who reads."""
        found = maintenance.checkpoint(
            truncate_bytes=self._truncate_bytes, patience_ms=_PATIENCE_MS
        )
        # A log whose pages were all moved begins anew.
        is_same = found.moved_pages >= self._pages
        is_news = found.moved_pages - (self._pages if is_same else 0) > _FEW_PAGES
        self._pages = 0 if found.is_truncated else found.moved_pages
        _, wal_bytes = file_sizes()
        if found.is_truncated:
            return Outcome("cut the log to nothing")
        if wal_bytes > self._truncate_bytes:
            # Somebody reads, and needs what is in the log.
            left = found.log_pages - found.moved_pages
            return Outcome(f"the log is large, a reader needs it ({left} pages)", is_good=False)
        if not is_news:
            return None
        return Outcome(f"{found.moved_pages} of {found.log_pages} pages are in the file")


class Statistics:
    """Lets SQLite look at its tables now and then, and after much was read."""

    def __init__(self, *, clock: Clock = time.time) -> None:
        self._clock = clock
        self._messages: int | None = None
        self._waiting: list[str] = []
        self._done = 0

    def __call__(self, should_give_way: GiveWay) -> Outcome | None:
        """Do it, a table at a time, unless there is something to read."""
        if not self._waiting:
            if should_give_way() or not self._is_due():
                return None
            self._waiting, self._done = maintenance.list_stale_tables(), 0
        until = time.monotonic() + _STEP_SECONDS
        while self._waiting and time.monotonic() < until:
            if should_give_way():
                break
            maintenance.analyze(self._waiting.pop(0))
            self._done += 1
        if self._waiting:
            return Outcome(None, again_seconds=_AGAIN_SECONDS)
        self._messages = _read_newest_message()
        return Outcome(f"looked at {self._done} tables", next_seconds=_STATISTICS_EVERY_SECONDS)

    def _is_due(self) -> bool:
        if _is_over("statistics", _STATISTICS_EVERY_SECONDS, self._clock):
            return True
        if self._messages is None:
            self._messages = _read_newest_message()
        return _read_newest_message() - self._messages >= _MANY_MESSAGES


def _read_newest_message() -> int:
    return read_totals()["indexed_message_key"]


def _is_over(name: str, seconds: float, clock: Clock) -> bool:
    """Tell whether some upkeep was done last so long ago, or never, or in what is to come."""
    last = maintenance.find_last_run(name)
    return last is None or not 0 <= clock() - seconds_of(last) < seconds


class SearchMerges:
    """Merges the pieces of the search index, in steps, when they are many."""

    def __init__(self, *, many_segments: int = MANY_SEGMENTS) -> None:
        self._many = many_segments
        # So many are left when FTS5 finds nothing to merge in them.
        self._settled = 0
        self._before = 0

    def __call__(self, should_give_way: GiveWay) -> Outcome | None:
        """Do some of it."""
        segments = search.count_spare_segments()
        if not self._before and (segments < self._many or segments == self._settled):
            return None
        self._before = self._before or search.count_segments()
        until = time.monotonic() + _STEP_SECONDS
        while not should_give_way():
            if not search.merge_segments(pages=_MERGED_PAGES):
                return self._end()
            if time.monotonic() >= until:
                break
        return Outcome(None, again_seconds=_AGAIN_SECONDS)

    def _end(self) -> Outcome:
        before, self._before = self._before, 0
        self._settled = search.count_spare_segments()
        return Outcome(f"{before} segments are {search.count_segments()}")


class Expiry:
    """Deletes what is kept for a time that is over."""

    def __init__(self, *, audit_log_days: int = 0, clock: Clock = time.time) -> None:
        self._audit_log_days = audit_log_days
        self._clock = clock

    def __call__(self) -> Outcome | None:
        """Delete some of it; more of it a little later."""
        moment = datetime.fromtimestamp(self._clock(), UTC)
        text = format_timestamp(moment)
        deleted = {
            "answers": _delete(lambda limit: idempotency.expire_answers(moment, limit=limit)),
            "sign-ins": _delete(lambda limit: expire_sign_ins(text, limit=limit)),
            "tickets": _delete(lambda limit: expire_tickets(text, limit=limit)),
            "tokens": _delete(lambda limit: expire_tokens(text, limit=limit)),
            "deliveries": _delete(lambda limit: deliveries.expire_done(moment, limit=limit)),
        }
        if self._audit_log_days:
            before = format_timestamp(moment - timedelta(days=self._audit_log_days))
            deleted["audit lines"] = _delete(
                lambda limit: audit.expire_entries(before=before, limit=limit)
            )
        told = ", ".join(f"{count} {name}" for name, count in deleted.items() if count)
        if not told:
            return None
        has_more = any(count >= _ROWS_AT_ONCE for count in deleted.values())
        return Outcome(f"deleted {told}", again_seconds=_AGAIN_SECONDS if has_more else None)


def _delete(expire: Callable[[int], int]) -> int:
    with writing(moves=None):
        return expire(_ROWS_AT_ONCE)


class DailyCheck:
    """Looks for damage in the file once a day, a table at a time, when nothing was written lately.

    What there is to read ends it at once; it goes on with that table at the next calm moment.
    """

    def __init__(self, *, clock: Clock = time.time, calm_seconds: float = CALM_SECONDS) -> None:
        self._clock = clock
        self._calm_seconds = calm_seconds
        self._revision = -1
        self._calm_since = 0.0
        self._waiting: list[str] | None = None
        self._checked = 0
        self._passed_over = 0
        self._problems: list[str] = []

    def __call__(self, should_give_way: GiveWay) -> Outcome | None:
        """Check what is left, if it is time."""
        revision = maintenance.read_revision()
        moment = self._clock()
        if revision != self._revision or moment < self._calm_since:
            self._revision, self._calm_since = revision, moment
        if moment - self._calm_since < self._calm_seconds:
            return None
        return self._go_on(should_give_way)

    def _go_on(self, should_give_way: GiveWay) -> Outcome | None:
        if self._waiting is None:
            if not _is_over("quick_check", CHECK_EVERY_SECONDS, self._clock):
                return None
            self._waiting = maintenance.list_tables_to_check()
            self._checked, self._passed_over, self._problems = 0, 0, []
        until = time.monotonic() + _LONGEST_CHECK_SECONDS

        def should_end() -> bool:
            return (
                should_give_way()
                or time.monotonic() > until
                # As long as it reads, what others write stays in the log.
                or file_sizes()[1] > TRUNCATE_BYTES
            )

        while self._waiting:
            found = maintenance.check_table(self._waiting[0], should_end=should_end)
            if found is not None:
                self._problems += found
                self._checked += 1
            elif time.monotonic() > until:
                self._passed_over += 1
            else:
                return None
            self._waiting.pop(0)
        return self._end()

    def _end(self) -> Outcome:
        self._waiting = None
        if not self._problems:
            result = f"{self._checked} tables are sound"
            if self._passed_over:
                result += f", {self._passed_over} took too long"
            return Outcome(result, next_seconds=CHECK_EVERY_SECONDS)
        log.error("database_damaged", problems=len(self._problems))
        listed = "; ".join(problem[:100] for problem in self._problems[:_LISTED_PROBLEMS])
        return Outcome(
            f"damaged, {len(self._problems)} problems: {listed}",
            is_good=False,
            next_seconds=CHECK_EVERY_SECONDS,
        )
