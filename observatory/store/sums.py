"""Sums over the whole archive."""

from __future__ import annotations

from observatory.store.database import fetch_one

_NAMES = (
    "messages",
    "tool_uses",
    "cost_nanodollars",
    "input_tokens",
    "output_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
)


def read_sums() -> dict[str, int]:
    """Return messages, tool uses, cost in nanodollars and the four kinds of tokens, over all."""
    row = fetch_one(
        "SELECT coalesce(sum(message_count), 0), coalesce(sum(tool_use_count), 0),"
        " coalesce(sum(cost_nanodollars), 0), coalesce(sum(input_tokens), 0),"
        " coalesce(sum(output_tokens), 0), coalesce(sum(cache_creation_input_tokens), 0),"
        " coalesce(sum(cache_read_input_tokens), 0) FROM conversations"
    )
    assert row is not None
    return dict(zip(_NAMES, row, strict=True))
