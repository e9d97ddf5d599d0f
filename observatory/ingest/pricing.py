"""What model calls cost, by the prices that the archive has at the moment."""

from __future__ import annotations

from collections.abc import Iterable

from observatory.store.archive import ApiCallRow
from observatory.store.prices import OwnPrice, list_own_prices, read_own_hash
from observatory.transcripts.prices import ModelPrice, Price, PriceBook
from observatory.transcripts.usage import TokenUsage

# The last book that was asked for, with the hash of its own prices: it knows nothing else of the
# database that it was read from.
_last: tuple[int, PriceBook] = (0, PriceBook())


def read_book() -> PriceBook:
    """Return the prices as they are now; in a transaction, as they are until its end.

    It costs one small query, and reads the prices only when they are others than last time.
    """
    global _last
    own_hash = read_own_hash()
    known, book = _last
    if known != own_hash:
        book = PriceBook(as_model_prices(list_own_prices()))
        _last = (own_hash, book)
    return book


def as_model_prices(rows: Iterable[OwnPrice]) -> list[ModelPrice]:
    """Return rows of own prices as a price book takes them."""
    return [
        ModelPrice(
            row.model,
            row.valid_from,
            Price(
                input=row.input,
                output=row.output,
                cache_write_5m=row.cache_write_5m,
                cache_write_1h=row.cache_write_1h,
                cache_read=row.cache_read,
                fast_multiplier=row.fast_multiplier,
            ),
            row.source,
        )
        for row in rows
    ]


def price_call(row: ApiCallRow, book: PriceBook) -> None:
    """Set what a model call cost, on the day when it was made; what its client reported stays."""
    usage = TokenUsage(
        row.input_tokens,
        row.output_tokens,
        row.cache_creation_input_tokens,
        row.cache_read_input_tokens,
        row.cache_creation_5m_input_tokens,
        row.cache_creation_1h_input_tokens,
        row.web_search_requests,
        bool(row.is_fast),
    )
    cost = None if row.is_cost_reported else book.cost(row.model, row.created_at[:10], usage)
    if not row.is_cost_reported:
        row.cost_nanodollars = cost.total if cost else None
    row.input_cost_nanodollars = cost.input if cost else None
    row.output_cost_nanodollars = cost.output if cost else None
    row.cache_write_cost_nanodollars = cost.cache_write if cost else None
    row.cache_read_cost_nanodollars = cost.cache_read if cost else None
    row.uncached_cost_nanodollars = cost.uncached if cost else None
