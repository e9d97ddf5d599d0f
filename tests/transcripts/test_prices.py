"""What tokens cost, and from when on."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.transcripts.prices import (
    ALWAYS,
    MAX_CALL_NANODOLLARS,
    MAX_FAST_MULTIPLIER,
    MAX_RATE_PICODOLLARS,
    ModelPrice,
    Price,
    PriceBook,
    cost_of,
    fingerprint,
    hash_prices,
    read_bundled_prices,
    read_price_table,
)
from observatory.transcripts.usage import TokenUsage

DAY = "2026-03-04"
SEARCH = read_price_table()["web_search_nanodollars_per_request"]
BUNDLED = PriceBook()
RATES = st.integers(0, 10**9)
PRICES = st.builds(Price, RATES, RATES, RATES, RATES, RATES, st.integers(1, 6))
COUNTS = st.integers(0, 10**7)
USAGES = st.builds(
    TokenUsage, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, st.integers(0, 9), st.booleans()
)


def own(model: str, valid_from: str, rate: int = 1) -> ModelPrice:
    return ModelPrice(model, valid_from, Price(rate, rate, rate, rate, rate), "ours")


def total(model: str, usage: TokenUsage) -> int | None:
    cost = BUNDLED.cost(model, DAY, usage)
    return cost.total if cost else None


def test_the_example_of_the_format_description():
    usages = (
        TokenUsage(2, 351, 2745, 36720, 0, 2745),
        TokenUsage(input_tokens=1_000_000),
    )
    costs = [total("claude-opus-4-6", usage) for usage in usages]
    assert costs == [2 * 5000 + 351 * 25000 + 2745 * 10000 + 36720 * 500, 5_000_000_000]


def test_a_cost_has_parts_and_what_it_would_have_been_without_a_cache():
    usage = TokenUsage(2, 351, 2745, 36720, 0, 2745, web_search_requests=1)
    cost = BUNDLED.cost("claude-opus-4-6", DAY, usage)
    assert cost is not None
    assert cost[1:5] == (2 * 5000, 351 * 25000, 2745 * 10000, 36720 * 500)
    assert cost.uncached == (2 + 2745 + 36720) * 5000 + 351 * 25000 + SEARCH


@pytest.mark.parametrize(
    ("model", "is_priced"),
    [
        ("claude-opus-4-5-20251101", True),
        ("claude-opus-4-20250514", True),
        ("claude-sonnet-4-0", True),
        ("claude-opus-4-6-thinking", False),
        ("glm-5", False),
        ("", False),
    ],
)
def test_names_are_exact_or_dated_or_aliases_and_never_guessed(model, is_priced):
    assert (BUNDLED.find(model, DAY) is not None) == is_priced


def test_fast_costs_more_and_searches_cost_extra():
    usage = TokenUsage(input_tokens=10, web_search_requests=3, is_fast=True)
    assert total("claude-opus-5", usage) == 2 * 10 * 5000 + 3 * 10_000_000


@given(PRICES, USAGES)
def test_the_parts_and_searches_are_the_whole(price, usage):
    cost = cost_of(usage, price)
    assert all(type(number) is int and number >= 0 for number in cost)
    assert sum(cost[1:5]) + usage.web_search_requests * SEARCH == cost.total
    times = price.fast_multiplier if usage.is_fast else 1
    exact = (
        usage.input_tokens * price.input,
        usage.output_tokens * price.output,
        usage.cache_creation_5m_input_tokens * price.cache_write_5m
        + usage.cache_creation_1h_input_tokens * price.cache_write_1h,
        usage.cache_read_input_tokens * price.cache_read,
    )
    for part, picodollars in zip(cost[1:5], exact, strict=True):
        assert abs(part * 1000 - picodollars * times) <= 1000
        assert picodollars or not part


@given(PRICES, USAGES, st.integers(0, 5), st.integers(0, 1000))
def test_more_tokens_never_cost_less(price, usage, kind, more):
    place = (0, 1, 3, 4, 5, 6)[kind]
    larger = TokenUsage(*usage[:place], usage[place] + more, *usage[place + 1 :])
    assert cost_of(larger, price).total >= cost_of(usage, price).total
    assert cost_of(larger, price).uncached >= cost_of(usage, price).uncached


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_costs_at_bundled_prices_add_up_exactly(one, other):
    both, *parts = (
        total("claude-haiku-4-5", TokenUsage(cache_read_input_tokens=n))
        for n in (one + other, one, other)
    )
    assert both == sum(part or 0 for part in parts)


def test_no_cost_is_too_large_for_the_database():
    rate = MAX_RATE_PICODOLLARS
    price = Price(rate, rate, rate, rate, rate, MAX_FAST_MULTIPLIER)
    most = 2**53
    cost = cost_of(TokenUsage(most, most, most, most, most, most, most, True), price)
    assert (cost.total, cost.uncached) == (MAX_CALL_NANODOLLARS, MAX_CALL_NANODOLLARS)
    assert sum(cost[1:5]) == MAX_CALL_NANODOLLARS
    assert 900_000 * cost.total < 2**63


def test_an_own_price_holds_from_its_day_on():
    book = PriceBook([own("glm-5", "2026-03-05", 2), own("glm-5", "2026-03-01", 1)])
    found = [
        book.find("glm-5", day)
        for day in ("2026-02-28", "2026-03-01", "2026-03-04", "2026-03-05", "2030-01-01")
    ]
    assert [row.price.input if row else None for row in found] == [None, 1, 1, 2, 2]


def test_before_an_own_price_the_bundled_one_holds():
    book = PriceBook([own("claude-opus-5", "2026-03-05")])
    before, after = (book.find("claude-opus-5", day) for day in ("2026-03-04", "2026-03-05"))
    assert before == read_bundled_prices()["claude-opus-5"]
    assert after and after.source == "ours"


def test_an_own_price_is_looked_up_by_all_names_before_the_bundled_table():
    dated, alias = "claude-opus-4-5-20251101", "claude-opus-4.8"
    book = PriceBook([own("claude-opus-4-5", ALWAYS), own("claude-opus-4-8", ALWAYS, 3)])
    found = [book.find(name, DAY) for name in (dated, alias)]
    assert [row.model if row else None for row in found] == ["claude-opus-4-5", "claude-opus-4-8"]
    exact = PriceBook([own("claude-opus-4-5", ALWAYS), own(dated, ALWAYS, 7)]).find(dated, DAY)
    assert exact and exact.price.input == 7


def test_any_number_of_names_can_be_asked_for():
    book = PriceBook([own("glm-5", ALWAYS)])
    assert not any(book.find(f"model-{number}", DAY) for number in range(25_000))
    assert book.find("glm-5", DAY)


def test_a_fingerprint_tells_other_prices():
    prices = [own("a", ALWAYS), own("b", "2026-01-01")]
    hashes = {
        hash_prices(rows)
        for rows in (
            [], prices, [own("a", ALWAYS, 2), prices[1]], [prices[0], own("b", "2026-01-02")],
        )
    }  # fmt: skip
    assert len(hashes) == 4
    assert hash_prices(reversed(prices)) == hash_prices(prices)
    assert len({fingerprint(number) for number in (0, *hashes)}) == 5
    assert all(0 < fingerprint(number) < 2**63 for number in hashes)


def test_one_hour_writes_cost_twice_the_input():
    for name, price in read_price_table()["models"].items():
        assert price["cache_write_1h"] == 2 * price["input"], name


def test_the_bundled_prices_are_those_of_the_list(shared):
    listed = json.loads((shared / "prices.json").read_text())
    ours = read_price_table()
    assert ours["aliases"] == listed["aliases"]
    assert set(ours["models"]) == set(listed["models"])
    for name, price in listed["models"].items():
        for kind in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"):
            assert ours["models"][name][kind] == round(price[kind] * 1000), name
