"""Token usage of one model response, and what it cost.

Source: docs/transcript-format.md, "Tokens and cost". Costs are whole nanodollars: every list price
is a whole number of nanodollars per token, so that sums are exact and rounded once, when shown.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

SYNTHETIC_MODEL = "<synthetic>"
NANODOLLARS_PER_DOLLAR = 1_000_000_000
_DATE_TAIL = re.compile(r"-20\d{6}$")
_NUMBERS = re.compile(r"\d+")
_MAX_TOKENS = 2**53


class TokenUsage(NamedTuple):
    """Tokens of one assistant response, as reported by the API.

    Lines that share ``message.id`` repeat the same response: count it once, from its last line.
    ``cache_creation_input_tokens`` is the sum of the 5-minute and the 1-hour writes.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_creation_input_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_5m_input_tokens: int = 0
    cache_creation_1h_input_tokens: int = 0
    web_search_requests: int = 0
    is_fast: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in nanodollars per token."""

    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    fast_multiplier: int = 1


def count(value: object) -> int:
    """Return a token count as a whole number from 0 on; anything else counts as 0."""
    if type(value) is int and 0 < value < _MAX_TOKENS:
        return value
    return 0


def parse_usage(usage: dict[str, Any]) -> TokenUsage:
    """Return the token counts of a ``message.usage`` object.

    Clients before the split by lifetime wrote 5-minute cache entries only.
    """
    written = count(usage.get("cache_creation_input_tokens"))
    split = usage.get("cache_creation")
    if isinstance(split, dict):
        written_5m = count(split.get("ephemeral_5m_input_tokens"))
        written_1h = count(split.get("ephemeral_1h_input_tokens"))
    else:
        written_5m, written_1h = written, 0
    server_tools = usage.get("server_tool_use")
    searches = server_tools.get("web_search_requests") if isinstance(server_tools, dict) else 0
    return TokenUsage(
        count(usage.get("input_tokens")),
        count(usage.get("output_tokens")),
        written,
        count(usage.get("cache_read_input_tokens")),
        written_5m,
        written_1h,
        count(searches) if searches else 0,
        usage.get("speed") == "fast",
    )


@lru_cache(maxsize=1)
def read_price_table() -> dict[str, Any]:
    """Return the bundled price table: ``as_of``, ``source``, ``models``, ``aliases``."""
    text = resources.files(__package__).joinpath("prices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@lru_cache(maxsize=1024)
def find_price(model: str) -> Price | None:
    """Return the price of a model, or ``None``: a price is never guessed.

    The name is looked up as it is, then without its date, then among the aliases.
    """
    table = read_price_table()
    for name in (model, _DATE_TAIL.sub("", model), table["aliases"].get(model)):
        if name in table["models"]:
            return Price(**table["models"][name])
    return None


def cost_nanodollars(model: str, usage: TokenUsage) -> int | None:
    """Return what a response cost, or ``None`` when the model has no known price."""
    price = find_price(model)
    if price is None:
        return None
    cost = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_creation_5m_input_tokens * price.cache_write_5m
        + usage.cache_creation_1h_input_tokens * price.cache_write_1h
        + usage.cache_read_input_tokens * price.cache_read
    )
    if usage.is_fast:
        cost *= price.fast_multiplier
    if usage.web_search_requests:
        per_search: int = read_price_table()["web_search_nanodollars_per_request"]
        cost += usage.web_search_requests * per_search
    return cost


@lru_cache(maxsize=1024)
def _is_before_final_usage(version: str) -> bool:
    """Tell whether a client version may have written only the first estimate of a response."""
    numbers = [int(n[:9]) for n in _NUMBERS.findall(version)[:3]]
    return bool(numbers) and numbers < [2, 1, 60]


def usage_quality(version: str | None, stop_reason: str | None) -> str:
    """Return ``undercounted`` when the output tokens can not be final, else ``exact``.

    Source: docs/transcript-format.md, "Tokens and cost": up to 2.1.5x a transcript often has
    only the numbers of the response's start, recognised by a missing stop
    reason. Input and cache numbers are right.
    """
    if stop_reason is None and version is not None and _is_before_final_usage(version):
        return "undercounted"
    return "exact"
