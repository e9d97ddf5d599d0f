"""Tokens and what they cost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.transcripts.usage import (
    TokenUsage,
    cost_nanodollars,
    find_price,
    parse_usage,
    read_price_table,
    usage_quality,
)


def test_the_example_of_the_format_description():
    usages = (
        TokenUsage(2, 351, 2745, 36720, 0, 2745),
        TokenUsage(input_tokens=1_000_000),
    )
    costs = [cost_nanodollars("claude-opus-4-6", usage) for usage in usages]
    assert costs == [2 * 5000 + 351 * 25000 + 2745 * 10000 + 36720 * 500, 5_000_000_000]


def test_writes_without_a_split_live_five_minutes():
    usage = parse_usage({"cache_creation_input_tokens": 7})
    assert (usage.cache_creation_5m_input_tokens, usage.cache_creation_1h_input_tokens) == (7, 0)


def test_nulls_and_nonsense_count_as_nothing():
    values = {"input_tokens": None, "output_tokens": "9", "cache_read_input_tokens": -4}
    assert parse_usage({**values, "cache_creation": None, "server_tool_use": []}) == TokenUsage()


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
    assert (find_price(model) is not None) == is_priced


def test_fast_costs_more_and_searches_cost_extra():
    usage = TokenUsage(input_tokens=10, web_search_requests=3, is_fast=True)
    assert cost_nanodollars("claude-opus-5", usage) == 2 * 10 * 5000 + 3 * 10_000_000


@pytest.mark.parametrize(
    ("version", "stop_reason", "quality"),
    [
        ("2.1.59", None, "undercounted"),
        ("1.0.17", None, "undercounted"),
        ("2.1.59", "end_turn", "exact"),
        ("2.1.60", None, "exact"),
        ("2.2.0", None, "exact"),
        (None, None, "exact"),
        ("dev", None, "exact"),
    ],
)
def test_versions_that_wrote_only_an_estimate(version, stop_reason, quality):
    assert usage_quality(version, stop_reason) == quality


@given(st.integers(0, 10**9), st.integers(0, 10**9))
def test_costs_add_up_exactly(one, other):
    both = cost_nanodollars("claude-haiku-4-5", TokenUsage(cache_read_input_tokens=one + other))
    parts = [
        cost_nanodollars("claude-haiku-4-5", TokenUsage(cache_read_input_tokens=n))
        for n in (one, other)
    ]
    assert both == sum(part or 0 for part in parts)


def test_one_hour_writes_cost_twice_the_input():
    for name, price in read_price_table()["models"].items():
        assert price["cache_write_1h"] == 2 * price["input"], name


def test_the_bundled_prices_are_those_of_the_list(shared):
    import json

    listed = json.loads((shared / "prices.json").read_text())
    ours = read_price_table()
    assert ours["aliases"] == listed["aliases"]
    assert set(ours["models"]) == set(listed["models"])
    for name, price in listed["models"].items():
        for kind in ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"):
            assert ours["models"][name][kind] == round(price[kind] * 1000), name
