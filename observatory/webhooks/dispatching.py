"""From events to deliveries, and from deliveries to receivers.

One thread looks for new events and gives out what is due, a few others send. What is to be sent
stands in the database before it is sent, and stays there until its end is written: whatever kills
the process, each event reaches its receivers at least once, under the same id.
"""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import orjson
from orjson import Fragment

from observatory import __version__
from observatory.errors import DatabaseReplaced
from observatory.log import log
from observatory.store import webhook_deliveries as deliveries
from observatory.store import webhooks as hooks
from observatory.store.database import (
    DatabaseError,
    Reading,
    close,
    connect,
    fetch_one,
    is_busy,
    waiting_at_most,
    writing,
)
from observatory.store.events import Bounds, Event, make_bodies, read_bounds, read_events
from observatory.store.webhook_deliveries import Delivery
from observatory.store.webhooks import Webhook
from observatory.timestamps import format_timestamp, seconds_of
from observatory.webhooks.addresses import Network, UrlRefused, parse_networks, parse_url
from observatory.webhooks.retrying import delay_after
from observatory.webhooks.sending import Attempt, Outcome, Resolve, resolve
from observatory.webhooks.signing import (
    DELIVERY_HEADER,
    EVENT_HEADER,
    SIGNATURE_HEADER,
    TIMESTAMP_HEADER,
    sign,
)

SENDERS = 4
POLL_SECONDS = 0.2
# After so many that were given up in a row nobody seems to be there.
MAX_DEAD_IN_A_ROW = 20
_BATCH = 500
_LEAST_BATCH = 50
_MOST_ROWS = 5000
_STOP_SECONDS = 1.5
_AFTER_FAILURE_SECONDS = 1.0
# A disk that is full for hours is not told of each second.
_LONGEST_AFTER_FAILURE_SECONDS = 30.0
# So long the thread that must see its stop waits for the lock of the database.
_PATIENCE_MS = 1000
# What was sent and could not be written is sent again, but not at once.
_AFTER_UNWRITTEN_SECONDS = 10.0
_TIDY_SECONDS = 600.0
# A clock that goes back by more was set: what is due by it is looked at anew.
_SET_BACK_SECONDS = 1.0
_GONE = 410
_FAR = float("inf")


@dataclass(slots=True)
class _Work:
    """A delivery that a sender is to begin, or has begun."""

    webhook: Webhook
    delivery: Delivery
    attempt: Attempt | None = None


@dataclass(slots=True)
class _Desk:
    """What the threads share; ``changed`` guards it and tells of changes."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    waiting: deque[_Work] = field(default_factory=deque)
    # By the webhook: one delivery of each is under way at most, so they are begun in order.
    under_way: dict[int, _Work] = field(default_factory=dict)
    # Whose last attempt failed: they do not get all senders.
    failing: set[int] = field(default_factory=set)
    is_stopping: bool = False
    has_news: bool = False


def run_dispatcher(
    stop: threading.Event,
    *,
    allowed_networks: Sequence[str] = (),
    poll_seconds: float = POLL_SECONDS,
    clock: Callable[[], float] = time.time,
    chance: Callable[[], float] = random.random,
    resolver: Resolve = resolve,
) -> None:
    """Send events to webhooks until an event is set; it returns within two seconds then.

    It uses a connection to the configured database of its own, and so does each of its threads.
    One may run for a database at a time: two would send everything twice.

    Args:
        stop: Set it to end.
        allowed_networks: Networks that may be sent to though they are not public.
        poll_seconds: How often to look for something new.
        clock: The present, in Unix time.
        chance: Random numbers from 0 to 1.
        resolver: Says which addresses a name means.
    """
    _Dispatcher(
        allowed=parse_networks(allowed_networks),
        poll_seconds=poll_seconds,
        clock=clock,
        chance=chance,
        resolver=resolver,
    ).run(stop)


class _Dispatcher:
    def __init__(
        self,
        *,
        allowed: Sequence[Network],
        poll_seconds: float,
        clock: Callable[[], float],
        chance: Callable[[], float],
        resolver: Resolve,
    ) -> None:
        self._allowed = allowed
        self._poll_seconds = poll_seconds
        self._clock = clock
        self._chance = chance
        self._resolver = resolver
        self._desk = _Desk()
        self._data_version = -1
        self._pause_seconds = _AFTER_FAILURE_SECONDS
        # When it was looked last, by the clock.
        self._moment = 0.0
        self._next_due = 0.0
        self._next_tidy = 0.0
        # The webhook that was served least recently comes first.
        self._turns: dict[int, int] = {}
        self._turn = 0

    def run(self, stop: threading.Event) -> None:
        """Do the work until ``stop`` is set."""
        threads = [
            threading.Thread(target=self._send_all, name=f"webhook-sender-{number}", daemon=True)
            for number in range(SENDERS)
        ]
        for thread in threads:
            thread.start()
        try:
            while not stop.is_set():
                self._look_safely(stop)
                with self._desk.changed:
                    if not self._desk.has_news:
                        self._desk.changed.wait(self._poll_seconds)
        finally:
            self._stop_senders(threads)
            close()

    def _look_safely(self, stop: threading.Event) -> None:
        try:
            connect()
            self._look(stop)
            self._pause_seconds = _AFTER_FAILURE_SECONDS
        except Exception as error:
            # The database is busy, or can not be used at the moment; and whatever else it is, what
            # is not written is still to do.
            seconds = _AFTER_FAILURE_SECONDS
            if isinstance(error, DatabaseError) and is_busy(error):
                log.debug("webhooks_wait_for_the_database")
            else:
                seconds = self._pause_seconds
                self._pause_seconds = min(seconds * 2, _LONGEST_AFTER_FAILURE_SECONDS)
                log.error("webhooks_failed", retry_seconds=seconds, exc_info=error)
            self._data_version = -1
            stop.wait(seconds)

    def _look(self, stop: threading.Event) -> None:
        """Do what there is to do now; most times that is to see that nothing changed."""
        with self._desk.changed:
            has_news, self._desk.has_news = self._desk.has_news, False
        version = fetch_one("PRAGMA data_version")
        assert version is not None
        moment = self._clock()
        if moment < self._moment - _SET_BACK_SECONDS:
            self._next_tidy = 0.0
        self._moment = moment
        if moment >= self._next_tidy:
            self._next_tidy = moment + _TIDY_SECONDS
            self._tidy(stop)
            self._next_due = moment
        if version[0] != self._data_version:
            # Asked before what it tells of is read: what comes in between is looked at again.
            self._data_version = version[0]
            active = hooks.list_active_webhooks()
            has_more = True
            while has_more and not stop.is_set():
                has_more = bool(active) and self._take_events(active)
                active = hooks.list_active_webhooks()
                self._give_out(active)
        elif has_news or moment >= self._next_due:
            self._give_out(hooks.list_active_webhooks())

    # From events to deliveries

    def _take_events(self, active: list[Webhook]) -> bool:
        """Make the deliveries of the next events; return whether there may be more."""
        latest = read_bounds().latest
        if all(webhook.position == latest for webhook in active):
            return False
        moment = self._now()
        with waiting_at_most(_PATIENCE_MS), writing(moves=None):
            # Anew: what was changed or deleted before the lock was ours is not undone.
            active = hooks.list_active_webhooks()
            bounds = read_bounds()
            starts = {webhook.key: _start(webhook, bounds) for webhook in active}
            if not starts:
                return False
            # Writers wait meanwhile: the more webhooks, the fewer events at once.
            limit = max(_LEAST_BATCH, min(_BATCH, _MOST_ROWS // len(active)))
            batch = read_events(min(starts.values()), limit=limit)
            end = bounds.latest if batch.is_last else batch.position
            for webhook in active:
                start = starts[webhook.key]
                if start < end:
                    self._note_events(webhook, batch.events, start=start, moment=moment)
                if webhook.position != max(start, end):
                    lost = moment if start != webhook.position else None
                    hooks.move_webhook(webhook.key, position=max(start, end), missed_events_at=lost)
        return not batch.is_last

    def _note_events(
        self, webhook: Webhook, events: Sequence[Event], *, start: int, moment: str
    ) -> None:
        wanted = [
            (event.id, event.type)
            for event in events
            if event.id > start and webhook.wanted.takes(event) and event.is_there(webhook.scope)
        ]
        if not wanted:
            return
        deliveries.insert_deliveries(webhook.key, wanted, moment=moment)
        given_up = deliveries.give_up_oldest(webhook.key, moment=moment)
        if given_up:
            log.warning("webhook_deliveries_given_up", webhook=webhook.key, number=given_up)

    # From deliveries to senders

    def _give_out(self, active: list[Webhook]) -> None:
        """Give what is due to senders that are free."""
        moment = self._now()
        self._next_due = _FAR
        keys = {webhook.key for webhook in active}
        self._turns = {key: turn for key, turn in self._turns.items() if key in keys}
        with self._desk.changed:
            self._desk.failing &= keys
        active.sort(key=lambda webhook: self._turns.get(webhook.key, 0))
        for webhook in active:
            with self._desk.changed:
                is_under_way = webhook.key in self._desk.under_way
                has_sender = self._has_sender(webhook)
            if is_under_way or not has_sender:
                # It is looked at again when a sender is done.
                continue
            found = deliveries.find_next(webhook.key, moment=moment)
            if isinstance(found, str):
                self._next_due = min(self._next_due, seconds_of(found))
            elif found is not None:
                self._turn += 1
                self._turns[webhook.key] = self._turn
                with self._desk.changed:
                    work = _Work(webhook, found)
                    self._desk.under_way[webhook.key] = work
                    self._desk.waiting.append(work)
                    self._desk.changed.notify_all()

    def _has_sender(self, webhook: Webhook) -> bool:
        """Tell whether a sender is free; one is kept for those who do not fail."""
        number = len(self._desk.under_way)
        if webhook.key not in self._desk.failing:
            return number < SENDERS
        failing = sum(key in self._desk.failing for key in self._desk.under_way)
        return number < SENDERS and failing < SENDERS - 1

    def _tidy(self, stop: threading.Event) -> None:
        while hooks.has_webhooks() and not stop.is_set():
            with waiting_at_most(_PATIENCE_MS), writing(moves=None):
                changed = deliveries.tidy(datetime.fromtimestamp(self._clock(), UTC))
            if not changed:
                return

    def _stop_senders(self, threads: Sequence[threading.Thread]) -> None:
        with self._desk.changed:
            self._desk.is_stopping = True
            for work in self._desk.under_way.values():
                if work.attempt is not None:
                    work.attempt.stop()
            self._desk.changed.notify_all()
        until = time.monotonic() + _STOP_SECONDS
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))

    # Senders

    def _send_all(self) -> None:
        """Send what is given out until the end."""
        try:
            while (work := self._next_work()) is not None:
                has_failed = True
                try:
                    connect()
                    has_failed = self._send(work)
                except DatabaseError as error:
                    log.error("webhooks_failed", webhook=work.webhook.key, exc_info=error)
                    self._pause()
                except Exception as error:
                    log.error("webhook_sender_failed", webhook=work.webhook.key, exc_info=error)
                    self._give_up_safely(work)
                finally:
                    self._finish(work, has_failed=has_failed)
        finally:
            close()

    def _next_work(self) -> _Work | None:
        with self._desk.changed:
            while not self._desk.waiting and not self._desk.is_stopping:
                self._desk.changed.wait()
            if self._desk.is_stopping:
                return None
            work = self._desk.waiting.popleft()
            work.attempt = Attempt(allowed=self._allowed, resolver=self._resolver)
            return work

    def _pause(self) -> None:
        with self._desk.changed:
            self._desk.changed.wait_for(
                lambda: self._desk.is_stopping, timeout=_AFTER_UNWRITTEN_SECONDS
            )

    def _finish(self, work: _Work, *, has_failed: bool) -> None:
        with self._desk.changed:
            key = work.webhook.key
            self._desk.under_way.pop(key, None)
            if has_failed:
                self._desk.failing.add(key)
            else:
                self._desk.failing.discard(key)
            self._desk.has_news = True
            self._desk.changed.notify_all()

    def _give_up_safely(self, work: _Work) -> None:
        """Try again later what failed here: at once it would fail for ever."""
        try:
            self._note(work, Outcome(None, "internal_error"), moment=self._clock())
        except (DatabaseError, DatabaseReplaced) as error:
            log.error("webhooks_failed", webhook=work.webhook.key, exc_info=error)

    def _send(self, work: _Work) -> bool:
        """Make one attempt; return whether it failed."""
        webhook, delivery = work.webhook, work.delivery
        sent_at = self._clock()
        event = _read_event(webhook, delivery)
        if isinstance(event, str):
            with writing(moves=None):
                deliveries.drop(delivery, reason=event, moment=_text(sent_at))
            return False
        body = orjson.dumps(
            {
                "delivery_id": delivery.id,
                "webhook_id": webhook.key,
                "event": Fragment(event),
                "sent_at": _text(sent_at),
            }
        )
        timestamp = int(sent_at)
        headers = {
            "User-Agent": f"claude-code-observatory/{__version__}",
            EVENT_HEADER: delivery.event_type,
            DELIVERY_HEADER: delivery.id,
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: sign(body, secret=webhook.secret, timestamp=timestamp),
        }
        assert work.attempt is not None
        outcome = work.attempt.send(webhook.url, body, headers, moment=sent_at)
        if not outcome.was_stopped:
            self._note(work, outcome, moment=sent_at)
        return outcome.error is not None

    def _note(self, work: _Work, outcome: Outcome, *, moment: float) -> None:
        """Write what came of an attempt, and what follows from it."""
        webhook, delivery = work.webhook, work.delivery
        text = _text(moment)
        status, again = deliveries.DELIVERED, None
        if outcome.error is not None:
            delay = delay_after(
                delivery.attempts + 1, chance=self._chance(), retry_after=outcome.retry_after
            )
            if outcome.status == _GONE:
                delay = None
            status = deliveries.DEAD if delay is None else deliveries.PENDING
            again = None if delay is None else _text(self._clock() + delay)
        switched_off = None
        with writing(moves=None):
            is_ours = deliveries.note_attempt(
                delivery,
                status=status,
                moment=text,
                next_attempt_at=again,
                answer_status=outcome.status,
                error=outcome.error,
            )
            if outcome.error is None:
                hooks.note_delivered(webhook.key, moment=text)
            elif status == deliveries.DEAD and is_ours:
                in_a_row = hooks.note_dead(webhook.key)
                if outcome.status == _GONE:
                    switched_off = "gone"
                elif in_a_row >= MAX_DEAD_IN_A_ROW:
                    switched_off = "failing"
                if switched_off is not None:
                    hooks.switch_off_webhook(webhook.key, reason=switched_off, moment=text)
        _log(webhook, delivery, outcome, status=status)
        if switched_off is not None:
            log.warning("webhook_switched_off", webhook=webhook.key, reason=switched_off)

    def _now(self) -> str:
        return _text(self._clock())


def _text(moment: float) -> str:
    return format_timestamp(datetime.fromtimestamp(moment, UTC))


def _start(webhook: Webhook, bounds: Bounds) -> int:
    """Return the id behind which a webhook goes on: where it was, unless that is lost."""
    if not bounds.has_gap_after(webhook.position):
        return webhook.position
    return bounds.latest if webhook.position > bounds.latest else bounds.oldest - 1


def _read_event(webhook: Webhook, delivery: Delivery) -> bytes | str:
    """Return what a delivery says, as it is now; or why it says nothing any more.

    Returns:
        JSON; or ``event_expired``, or ``gone`` for what was removed or hidden since.
    """
    if delivery.event_id is None:
        return orjson.dumps(
            {
                "id": None,
                "type": deliveries.TEST_TYPE,
                "created_at": delivery.created_at,
                "conversation_id": None,
                "project_path": None,
                "data": {},
            }
        )
    # Event and body are of one moment: what is removed in between is not told of in part.
    reading = Reading()
    try:
        events = read_events(delivery.event_id - 1, limit=1, until=delivery.event_id).events
        if not events and delivery.event_id < read_bounds().oldest:
            return "event_expired"
        if not events or not events[0].is_there(webhook.scope):
            return "gone"
        return make_bodies(events)[0]
    finally:
        reading.close()


def _log(webhook: Webhook, delivery: Delivery, outcome: Outcome, *, status: str) -> None:
    try:
        origin = parse_url(webhook.url).origin
    except UrlRefused:
        origin = None
    level = "debug" if outcome.error is None else "warning" if status == "dead" else "info"
    getattr(log, level)(
        "webhook_delivery",
        webhook=webhook.key,
        delivery=delivery.id,
        address=origin,
        status=status,
        attempt=delivery.attempts + 1,
        answer=outcome.status,
        error=outcome.error,
    )
