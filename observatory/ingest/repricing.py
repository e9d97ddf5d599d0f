"""Model calls priced anew: after other prices, or an upgrade with another bundled table.

It goes in short transactions of some hundred calls, by conversations, and notes in each how far it
came: what was interrupted goes on with the next ingest. Only rows that change are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from observatory.ingest.pricing import read_book
from observatory.store.counters import refresh_conversations
from observatory.store.database import writing
from observatory.store.prices import (
    ALL_PRICED,
    Costs,
    StoredCall,
    count_calls,
    list_conversations_to_price,
    read_calls,
    read_pricing_state,
    set_priced,
    update_costs,
)
from observatory.store.rollups import refresh_rollups
from observatory.transcripts.prices import PriceBook, fingerprint
from observatory.transcripts.usage import TokenUsage

BATCH_CALLS = 500
# Clients wrote what a response cost up to mid-2025.
_LAST_REPORTED_DAY = "2025-08-31"


@dataclass(slots=True)
class Repriced:
    """What pricing anew did.

    ``calls`` is how many it looked at, ``changed_calls`` and ``changed_conversations`` how many
    have another cost now; ``nanodollars`` is how much more they cost in all.
    """

    calls: int = 0
    changed_calls: int = 0
    changed_conversations: int = 0
    nanodollars: int = 0
    is_complete: bool = True

    def add(self, changes: Sequence[tuple[StoredCall, Costs]]) -> set[int]:
        """Count some changes, and return the conversations whose numbers are others."""
        dearer = [(call, costs) for call, costs in changes if call.costs.total != costs.total]
        keys = {call.conversation_key for call, _ in dearer}
        self.changed_calls += len(dearer)
        self.changed_conversations += len(keys)
        self.nanodollars += sum((new.total or 0) - (call.costs.total or 0) for call, new in dearer)
        return keys


def finish_pricing(
    *,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    should_stop: Callable[[], bool] = lambda: False,
    batch_calls: int = BATCH_CALLS,
) -> Repriced:
    """Price the calls that were not priced with the prices of now. For the holder of ``ingest``.

    When all were, it costs one small query.

    Args:
        on_progress: Told how many calls are done, of how many.
        should_stop: When it turns true this ends after the batch at hand; the next one goes on.
        batch_calls: About so many calls are priced in one transaction.
    """
    done = Repriced()
    state = read_pricing_state()
    wanted = fingerprint(state.own_prices)
    key = state.priced_key if state.priced_with == wanted else 0
    if key == ALL_PRICED:
        return done
    total = count_calls(after=key)
    while key != ALL_PRICED:
        if done.calls and should_stop():
            done.is_complete = False
            break
        with writing(moves="revision" if total else None):
            key = _price_batch(key, wanted, done, batch_calls)
        if total:
            on_progress(done.calls, total)
    return done


def are_prices_applied() -> bool:
    """Tell whether all calls were priced with the prices of now."""
    state = read_pricing_state()
    return state.priced_with == fingerprint(state.own_prices) and state.priced_key == ALL_PRICED


def _price_batch(key: int, wanted: int, done: Repriced, batch_calls: int) -> int:
    """Price the next calls, and return the key up to which all are priced then."""
    keys = list_conversations_to_price(after=key, calls=batch_calls)
    if keys:
        calls = read_calls(keys)
        changes = find_changes(calls, read_book())
        update_costs((call.key, costs) for call, costs in changes)
        done.calls += len(calls)
        changed = done.add(changes)
        if changed:
            refresh_conversations(changed)
        # Of others only the parts of costs, which sums have too.
        refresh_rollups({call.conversation_key for call, _ in changes} - changed)
    key = keys[-1] if keys else ALL_PRICED
    set_priced(priced_with=wanted, priced_key=key)
    return key


def foresee_pricing(book: PriceBook, *, batch_calls: int = BATCH_CALLS) -> Repriced:
    """Return what pricing all calls with a book would change, and change nothing."""
    foreseen = Repriced()
    key = 0
    while keys := list_conversations_to_price(after=key, calls=batch_calls):
        calls = read_calls(keys)
        foreseen.calls += len(calls)
        foreseen.add(find_changes(calls, book))
        key = keys[-1]
    return foreseen


def find_changes(calls: Sequence[StoredCall], book: PriceBook) -> list[tuple[StoredCall, Costs]]:
    """Return those calls that cost something else by a book, each with what it costs."""
    priced = ((call, _costs(call, book)) for call in calls)
    return [(call, costs) for call, costs in priced if costs != call.costs]


def _costs(call: StoredCall, book: PriceBook) -> Costs:
    usage = TokenUsage._make(call.usage)
    old = call.costs
    if old.is_reported or _looks_reported(call, usage):
        return Costs(old.total, None, None, None, None, None, 1)
    cost = book.cost(call.model, call.created_at[:10], usage)
    if cost is None:
        return Costs(None, None, None, None, None, None, 0)
    return Costs(*cost, 0)


_BUNDLED = PriceBook()


def _looks_reported(call: StoredCall, usage: TokenUsage) -> bool:
    """Tell whether a cost without parts, from before these were kept, is the client's word.

    It was not noted then. Such a cost differs from that of the bundled table.
    """
    if call.costs.total is None or call.costs.uncached is not None:
        return False
    bundled = _BUNDLED.cost(call.model, call.created_at[:10], usage)
    if bundled is None:
        return True
    return bundled.total != call.costs.total and call.created_at[:10] <= _LAST_REPORTED_DAY
