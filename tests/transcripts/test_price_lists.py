"""Files of prices: own ones, and LiteLLM's list."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from observatory.transcripts.price_lists import PriceListError, parse_price_list
from observatory.transcripts.prices import Price, read_bundled_prices

# As LiteLLM writes it, shortened.
LITELLM: dict[str, Any] = {
    "sample_spec": {
        "input_cost_per_token": 0.0,
        "output_cost_per_token": 0.0,
        "litellm_provider": "one of https://docs.litellm.ai/docs/providers",
        "max_tokens": "LEGACY parameter.",
        "mode": "one of: chat, embedding, completion",
    },
    "1024-x-1024/dall-e-2": {
        "input_cost_per_pixel": 1.9e-08,
        "litellm_provider": "openai",
        "mode": "image_generation",
        "output_cost_per_pixel": 0.0,
    },
    "text-embedding-3-small": {
        "input_cost_per_token": 2e-08,
        "litellm_provider": "openai",
        "mode": "embedding",
        "output_cost_per_token": 0.0,
    },
    "cloudflare/@cf/google/gemma-2b-it-lora": {
        "input_cost_per_token": 0.0,
        "litellm_provider": "cloudflare",
        "mode": "chat",
        "output_cost_per_token": 0.0,
    },
    "claude-opus-4-8": {
        "cache_creation_input_token_cost": 6.25e-06,
        "cache_creation_input_token_cost_above_1hr": 1e-05,
        "cache_read_input_token_cost": 5e-07,
        "input_cost_per_token": 5e-06,
        "litellm_provider": "anthropic",
        "mode": "chat",
        "output_cost_per_token": 2.5e-05,
        "search_context_cost_per_query": {"search_context_size_high": 0.01},
        "provider_specific_entry": {"us": 1.1, "fast": 2.0},
    },
    "claude-sonnet-4-20250514": {
        "cache_creation_input_token_cost_above_200k_tokens": 7.5e-06,
        "input_cost_per_token": 3e-06,
        "input_cost_per_token_above_200k_tokens": 6e-06,
        "litellm_provider": "anthropic",
        "mode": "chat",
        "output_cost_per_token": 1.5e-05,
    },
    "dashscope/qwen-plus": {
        "input_cost_per_token": 4e-07,
        "litellm_provider": "dashscope",
        "mode": "chat",
        "output_cost_per_token": 1.2e-06,
        "tiered_pricing": [{"input_cost_per_token": 4e-07, "range": [0, 256000.0]}],
    },
    "amazon.nova-2-pro-preview-20251202-v1:0": {
        "cache_read_input_token_cost": 5.46875e-07,
        "input_cost_per_token": 2.1875e-06,
        "litellm_provider": "bedrock_converse",
        "mode": "chat",
        "output_cost_per_token": 1.75e-05,
    },
}


def parse(value: Any):
    return parse_price_list(value if isinstance(value, bytes) else json.dumps(value).encode())


def test_own_rates_are_dollars_per_million_tokens():
    rates = {
        "input": 5,
        "output": 25,
        "cache_write_5m": 6.25,
        "cache_write_1h": 10,
        "cache_read": 0.5,
        "fast_multiplier": 2,
    }
    listed = parse({"source": "a contract", "models": {"claude-opus-4-8": rates}})
    assert listed.source == "a contract"
    assert listed.prices == {"claude-opus-4-8": read_bundled_prices()["claude-opus-4-8"].price}


def test_rates_of_the_cache_have_defaults():
    [price] = parse({"models": {"m": {"input": 0.07, "output": 0}}}).prices.values()
    assert price == Price(70_000, 0, 87_500, 140_000, 7_000)


def test_litellms_list_is_read():
    listed = parse(LITELLM)
    assert listed.prices == {
        "claude-opus-4-8": read_bundled_prices()["claude-opus-4-8"].price,
        "amazon.nova-2-pro-preview-20251202-v1:0": Price(
            2_187_500, 17_500_000, 2_734_375, 4_375_000, 546_875
        ),
    }
    assert listed.by_size == ("claude-sonnet-4-20250514", "dashscope/qwen-plus")
    assert listed.other == 4


@given(st.integers(0, 10**12))
def test_what_is_written_is_what_is_meant(picodollars):
    """Numbers of JSON are decimal: 0.07 times a million is no float's business."""
    written = f"{picodollars // 10**6}.{picodollars % 10**6:06d}"
    text = f'{{"models": {{"m": {{"input": {written}, "output": 1}}}}}}'
    assert parse(text.encode()).prices["m"].input == picodollars


def own(**entry: Any) -> dict[str, Any]:
    return {"models": {"glm-5": {"input": 1, "output": 2, **entry}}}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (b"", "no JSON"),
        (b"\xff\xfe\xfd", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b'{"models": {"m": {"input": NaN, "output": 1}}}', "NaN"),
        (b'{"models": {"m": {"input": 1e99999999999999999999, "output": 1}}}', "out of range"),
        ([], "neither"),
        ({}, "neither"),
        ({"models": []}, "neither"),
        ({"glm-5": {"input": 1}}, "neither"),
        ({"models": {"glm-5": 5}}, "glm-5"),
        ({"models": {"glm-5": {"input": 1}}}, "glm-5: output is missing"),
        (own(input="1"), "glm-5: input takes a number"),
        (own(input=True), "glm-5: input takes a number"),
        (own(input=None), "glm-5: input takes a number"),
        (own(cache_read=-0.1), "glm-5: cache_read is below 0"),
        (own(output=5_000_000), "glm-5: output is above 1000000"),
        (own(output=10**400), "glm-5: output is above 1000000"),
        (own(fast_multiplier=1.5), "glm-5: fast_multiplier takes a whole number"),
        (own(fast_multiplier=0), "glm-5: fast_multiplier takes a whole number"),
        (own(cache_write=1), "glm-5: 'cache_write' is not known"),
        ({**own(), "unit": "nanodollars"}, "The file: 'unit' is not known"),
        ({**own(), "source": 5}, "source: takes"),
        ({**own(), "source": ""}, "source: takes"),
        ({"models": {"": {"input": 1, "output": 1}}}, "a model's name"),
        ({"models": {"\ud800": {"input": 1, "output": 1}}}, "a model's name"),
        ({"models": {"m" * 201: {"input": 1, "output": 1}}}, "a model's name"),
        ({"x": {"litellm_provider": "p", "input_cost_per_token": "1e-6",
                "output_cost_per_token": 1}}, "x: input_cost_per_token takes a number"),
        ({"x": {"litellm_provider": "p", "input_cost_per_token": 5,
                "output_cost_per_token": 1}}, "x: input_cost_per_token is above 1;"),
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_named(value, said):
    with pytest.raises(PriceListError) as raised:
        parse(value)
    assert said in str(raised.value)
    assert len(str(raised.value)) < 600


def test_in_own_prices_nothing_stands_twice():
    twice = b'{"models": {"m": {"input": 1, "output": 2}, "m": {"input": 3, "output": 4}}}'
    with pytest.raises(PriceListError, match="'m' stands there twice"):
        parse(twice)
    with pytest.raises(PriceListError, match="'input' stands there twice"):
        parse(b'{"models": {"m": {"input": 1, "output": 2, "input": 3}}}')
