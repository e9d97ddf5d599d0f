"""Prices of the operator's own, and the costs of model calls that follow from prices."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from observatory.store.database import execute_many, fetch_all
from observatory.store.totals import set_total

# Above every key: all calls were priced.
ALL_PRICED = 2**63 - 1


class OwnPrice(NamedTuple):
    """A row of ``prices``, in the order of its columns: rates are picodollars per token."""

    model: str
    valid_from: str
    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    fast_multiplier: int
    source: str
    created_at: str


class PricingState(NamedTuple):
    """What calls were priced with: hashes, and up to which conversation that is so."""

    own_prices: int
    priced_with: int
    priced_key: int


class Costs(NamedTuple):
    """What a model call cost, in nanodollars, in the order of ``COST_COLUMNS``.

    ``total`` is ``None`` without a known price; the others are so too when the client reported it.
    """

    total: int | None
    input: int | None
    output: int | None
    cache_write: int | None
    cache_read: int | None
    uncached: int | None
    is_reported: int


COST_COLUMNS = (
    "cost_nanodollars",
    "input_cost_nanodollars",
    "output_cost_nanodollars",
    "cache_write_cost_nanodollars",
    "cache_read_cost_nanodollars",
    "uncached_cost_nanodollars",
    "is_cost_reported",
)


class StoredCall(NamedTuple):
    """What decides the cost of a model call, and what it is said to have cost."""

    key: int
    conversation_key: int
    model: str
    created_at: str
    usage: tuple[int, ...]
    costs: Costs


class ModelDay(NamedTuple):
    """What one model did on one day; of ``calls`` the client reported what some cost."""

    model: str
    day: str
    calls: int
    reported_calls: int
    tokens: int
    cost_nanodollars: int


USAGE_COLUMNS = (
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "cache_creation_5m_input_tokens",
    "cache_creation_1h_input_tokens",
    "web_search_requests",
    "is_fast",
)
_CALLS = (
    f"SELECT key, conversation_key, model, created_at, {', '.join(USAGE_COLUMNS)},"
    f" {', '.join(COST_COLUMNS)} FROM api_calls"
    " WHERE conversation_key IN (SELECT value FROM json_each(?)) ORDER BY conversation_key, key"
)
_SET_COSTS = (
    f"UPDATE api_calls SET {', '.join(f'{column} = ?' for column in COST_COLUMNS)} WHERE key = ?"
)


def list_own_prices() -> list[OwnPrice]:
    """Return all own prices, by name and day."""
    return [
        OwnPrice(*row)
        for row in fetch_all(
            f"SELECT {', '.join(OwnPrice._fields)} FROM prices ORDER BY model, valid_from"
        )
    ]


def replace_own_prices(
    rows: Iterable[OwnPrice], *, removed: Iterable[tuple[str, str]], own_prices: int
) -> None:
    """Set some own prices and remove others, inside a transaction.

    Args:
        rows: One of the same model and day takes the place of what was there.
        removed: Models and days of those that go, before the others come.
        own_prices: The hash of all that there are then.
    """
    execute_many("DELETE FROM prices WHERE model = ? AND valid_from = ?", list(removed))
    names = OwnPrice._fields
    execute_many(
        f"INSERT INTO prices ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        " ON CONFLICT (model, valid_from) DO UPDATE SET "
        + ", ".join(f"{name} = excluded.{name}" for name in names[2:]),
        list(rows),
    )
    set_total("own_prices", own_prices)


def read_own_hash() -> int:
    """Return the number that is another one when own prices are; 0 when there never were any."""
    return read_pricing_state().own_prices


def read_pricing_state() -> PricingState:
    """Return what calls were priced with."""
    rows = dict(
        fetch_all(
            "SELECT name, value FROM totals"
            " WHERE name IN ('own_prices', 'priced_with', 'priced_key')"
        )
    )
    return PricingState(**rows)


def set_priced(*, priced_with: int, priced_key: int) -> None:
    """Note with what the calls of all conversations up to a key were priced."""
    set_total("priced_with", priced_with)
    set_total("priced_key", priced_key)


def list_conversations_to_price(*, after: int, calls: int) -> list[int]:
    """Return the next conversations with model calls, in order, of about so many calls together."""
    keys: list[int] = []
    counted = 0
    for key, count in fetch_all(
        "SELECT conversation_key, count(*) FROM api_calls WHERE conversation_key > ?"
        " GROUP BY conversation_key ORDER BY conversation_key LIMIT ?",
        (after, calls),
    ):
        if keys and counted + count > calls:
            break
        keys.append(key)
        counted += count
    return keys


def read_calls(conversation_keys: Iterable[int]) -> list[StoredCall]:
    """Return the model calls of some conversations."""
    rows = fetch_all(_CALLS, (json.dumps(list(conversation_keys)),))
    last = 4 + len(USAGE_COLUMNS)
    return [
        StoredCall(row[0], row[1], row[2], row[3], row[4:last], Costs(*row[last:])) for row in rows
    ]


def update_costs(costs: Iterable[tuple[int, Costs]]) -> None:
    """Set what model calls cost, by their keys."""
    execute_many(_SET_COSTS, [(*each, key) for key, each in costs])


def count_calls(*, after: int) -> int:
    """Return how many model calls belong to conversations above a key."""
    [(number,)] = fetch_all("SELECT count(*) FROM api_calls WHERE conversation_key > ?", (after,))
    return int(number)


def sum_costs() -> int:
    """Return what all model calls cost, in nanodollars."""
    [(number,)] = fetch_all("SELECT coalesce(sum(cost_nanodollars), 0) FROM api_calls")
    return int(number)


def list_model_days() -> list[ModelDay]:
    """Return what each model did on each day (UTC), by name and day."""
    return [
        ModelDay(*row)
        for row in fetch_all(
            "SELECT model, substr(created_at, 1, 10) AS day, count(*), sum(is_cost_reported),"
            " sum(input_tokens + output_tokens + cache_creation_input_tokens"
            " + cache_read_input_tokens), coalesce(sum(cost_nanodollars), 0)"
            " FROM api_calls GROUP BY model, day ORDER BY model, day"
        )
    ]
