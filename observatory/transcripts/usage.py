"""Token usage of one model response.

Source: docs/transcript-format.md, "Tokens and cost".
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

SYNTHETIC_MODEL = "<synthetic>"
NANODOLLARS_PER_DOLLAR = 1_000_000_000
_NUMBERS = re.compile(r"\d+")
# No response has more; sums over millions of them stay within 64 bits.
_MAX_TOKENS = 2**40


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
