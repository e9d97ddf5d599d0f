"""What models cost: prices with the day from which each holds, and the cost of a response.

Rates are whole picodollars per token, for some published rates are no whole nanodollars; the cost
of a response is whole nanodollars, so that sums are exact and rounded once, when shown.

Source: docs/transcript-format.md, "Tokens and cost".
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import lru_cache
from hashlib import blake2b
from importlib import resources
from typing import Any, NamedTuple

from observatory.transcripts.usage import TokenUsage

# The day from which a price holds that has no beginning.
ALWAYS = "0001-01-01"
PICODOLLARS_PER_NANODOLLAR = 1000
# No response costs more than this: sums of what a hostile transcript says stay within 64 bits.
MAX_CALL_NANODOLLARS = 10**13
# A dollar for a token.
MAX_RATE_PICODOLLARS = 10**12
MAX_FAST_MULTIPLIER = 1000
_DATE_TAIL = re.compile(r"-20\d{6}$")
_REMEMBERED = 10_000


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs, in picodollars per token."""

    input: int
    output: int
    cache_write_5m: int
    cache_write_1h: int
    cache_read: int
    fast_multiplier: int = 1


class ModelPrice(NamedTuple):
    """The price that a name has from a day on, in UTC, and who says so."""

    model: str
    valid_from: str
    price: Price
    source: str


class CallCost(NamedTuple):
    """What a response cost, in nanodollars.

    ``total`` is the sum of the four parts and of web searches. ``uncached`` is what it would have
    cost had all that was written to the cache, or read from it, been plain input.
    """

    total: int
    input: int
    output: int
    cache_write: int
    cache_read: int
    uncached: int


class PriceBook:
    """The bundled prices, which always hold, and above them own ones, each from a day on.

    It does not change, but for what it remembers of what it was asked.
    """

    def __init__(self, own: Iterable[ModelPrice] = ()) -> None:
        self._own: dict[str, list[ModelPrice]] = {}
        for row in sorted(own, key=lambda row: (row.model, row.valid_from)):
            self._own.setdefault(row.model, []).append(row)
        self._found: dict[tuple[str, str], ModelPrice | None] = {}

    def find(self, model: str, day: str) -> ModelPrice | None:
        """Return the price of a model on a day, or ``None``: a price is never guessed.

        The name is looked up as it is, then without its date, then among the aliases; first among
        the own prices that hold on the day, then in the bundled table.

        Args:
            model: As the transcript names it.
            day: ``YYYY-MM-DD`` in UTC; a time in the one text form begins with it.
        """
        asked = (model, day)
        if asked in self._found:
            return self._found[asked]
        if len(self._found) >= _REMEMBERED:
            # Transcripts can name any number of models.
            self._found.clear()
        found = self._found[asked] = self._look_up(names_of(model), day)
        return found

    def _look_up(self, names: tuple[str, ...], day: str) -> ModelPrice | None:
        for name in names:
            rows = self._own.get(name, ())
            place = bisect_right(rows, day, key=lambda row: row.valid_from)
            if place:
                return rows[place - 1]
        bundled = read_bundled_prices()
        return next((bundled[name] for name in names if name in bundled), None)

    def cost(self, model: str, day: str, usage: TokenUsage) -> CallCost | None:
        """Return what a response cost, or ``None`` when its model has no price on that day."""
        found = self.find(model, day)
        return None if found is None else cost_of(usage, found.price)

    def list_prices(self) -> list[ModelPrice]:
        """Return all prices, own and bundled, in no order."""
        own = (row for rows in self._own.values() for row in rows)
        return [*own, *read_bundled_prices().values()]

    def days_of_change(self, model: str) -> list[str]:
        """Return the days on which the price of a model may change, in order, after the first."""
        own = (row.valid_from for name in names_of(model) for row in self._own.get(name, ()))
        return sorted({*own} - {ALWAYS})


def names_of(model: str) -> tuple[str, ...]:
    """Return the names under which the price of a model is looked up, in order."""
    alias = read_price_table()["aliases"].get(model)
    names = (model, _DATE_TAIL.sub("", model), *([alias] if alias else ()))
    return tuple(dict.fromkeys(names))


def cost_of(usage: TokenUsage, price: Price) -> CallCost:
    """Return what a response cost at a price.

    Sums are rounded as they grow, in the order input, output, cache write, cache read, and each
    part is the difference of two: so the parts add up to the whole, each is within a nanodollar of
    its own value, and what has no tokens costs nothing.
    """
    times = price.fast_multiplier if usage.is_fast else 1
    written_5m, written_1h = (
        usage.cache_creation_5m_input_tokens,
        usage.cache_creation_1h_input_tokens,
    )
    grown = usage.input_tokens * price.input * times
    given = _nanodollars(grown)
    grown += usage.output_tokens * price.output * times
    said = _nanodollars(grown)
    grown += (written_5m * price.cache_write_5m + written_1h * price.cache_write_1h) * times
    written = _nanodollars(grown)
    grown += usage.cache_read_input_tokens * price.cache_read * times
    read = _nanodollars(grown)
    searches = usage.web_search_requests and (
        usage.web_search_requests * read_price_table()["web_search_nanodollars_per_request"]
    )
    prompt = usage.input_tokens + written_5m + written_1h + usage.cache_read_input_tokens
    plain = (prompt * price.input + usage.output_tokens * price.output) * times
    return CallCost(
        total=min(read + searches, MAX_CALL_NANODOLLARS),
        input=given,
        output=said - given,
        cache_write=written - said,
        cache_read=read - written,
        uncached=min(_nanodollars(plain) + searches, MAX_CALL_NANODOLLARS),
    )


def _nanodollars(picodollars: int) -> int:
    half = PICODOLLARS_PER_NANODOLLAR // 2
    return min((picodollars + half) // PICODOLLARS_PER_NANODOLLAR, MAX_CALL_NANODOLLARS)


@lru_cache(maxsize=1)
def read_price_table() -> dict[str, Any]:
    """Return the bundled price table: ``as_of``, ``source``, ``models``, ``aliases``."""
    text = resources.files(__package__).joinpath("prices.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return table


@lru_cache(maxsize=1)
def read_bundled_prices() -> dict[str, ModelPrice]:
    """Return the prices of the bundled table by name."""
    return {name: _bundled(name, rates) for name, rates in read_price_table()["models"].items()}


def _bundled(name: str, rates: dict[str, int]) -> ModelPrice:
    picodollars = {
        kind: rate if kind == "fast_multiplier" else rate * PICODOLLARS_PER_NANODOLLAR
        for kind, rate in rates.items()
    }
    return ModelPrice(name, ALWAYS, Price(**picodollars), "bundled")


def hash_prices(rows: Iterable[ModelPrice]) -> int:
    """Return a number of 63 bits that is another one when any of some prices is."""
    return _hash([(row.model, row.valid_from, *astuple(row.price)) for row in sorted(rows)])


def fingerprint(own_hash: int) -> int:
    """Return a number of 63 bits for all that decides costs: the bundled table, and own prices.

    Args:
        own_hash: What ``hash_prices`` returned for these, or 0 when there never were any.
    """
    table = read_price_table()
    decides = [table[name] for name in ("models", "aliases", "web_search_nanodollars_per_request")]
    return _hash([own_hash, *decides])


def _hash(value: Any) -> int:
    digest = blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=8).digest()
    # 0 stands for calls that were priced before there were such numbers.
    return (int.from_bytes(digest) >> 1) or 1
