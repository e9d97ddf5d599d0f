"""Tokens of a response."""

from __future__ import annotations

import pytest

from observatory.transcripts.usage import (
    TokenUsage,
    parse_usage,
    usage_quality,
)


def test_writes_without_a_split_live_five_minutes():
    usage = parse_usage({"cache_creation_input_tokens": 7})
    assert (usage.cache_creation_5m_input_tokens, usage.cache_creation_1h_input_tokens) == (7, 0)


def test_nulls_and_nonsense_count_as_nothing():
    values = {"input_tokens": None, "output_tokens": "9", "cache_read_input_tokens": -4}
    assert parse_usage({**values, "cache_creation": None, "server_tool_use": []}) == TokenUsage()


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
