"""What went wrong: tools that failed, and answers that the API did not give."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics.figures import share
from observatory.store.analytics.over_time import list_times, read_times
from observatory.store.analytics.reading import Asked, read_sums
from observatory.store.analytics.usage import time_of
from observatory.store.rollup_tables import TOOLS, USAGE

# What went wrong; to be interrupted or refused is no error of a tool.
_STATUSES = ("error", "rejected", "interrupted")


def read_errors(asked: Asked) -> list[dict[str, Any]]:
    """Return how often which tool went wrong in which way, the most frequent first."""
    rows = read_sums(TOOLS, asked, by=("tool", "status", "category"), measures=("uses",))
    uses: dict[str, int] = {}
    for tool, _, _, number in rows:
        uses[tool] = uses.get(tool, 0) + number
    return [
        {
            "tool": tool,
            "status": status,
            "category": category or status,
            "count": number,
            "share_of_uses": share(number, uses[tool]),
        }
        for tool, status, category, number in sorted(rows, key=lambda r: (-r[3], r[:3]))
        if status in _STATUSES
    ]


def read_errors_over_time(asked: Asked, *, unit: str) -> list[dict[str, Any]]:
    """Return how much went wrong in each hour, day, week or month, in order.

    Raises:
        InvalidParameter: There are too many of them.
    """
    times = list_times(asked, unit, USAGE)
    found = [{**time_of(bucket), "tool_uses": 0, **dict.fromkeys(_KINDS, 0)} for bucket in times]
    for place, status, uses in read_times(
        TOOLS, asked, unit, times, by=("status",), measures=("uses",)
    ):
        found[place]["tool_uses"] += uses
        if status in _STATUSES:
            found[place][f"tool_{status}"] += uses
    for place, *numbers in read_times(USAGE, asked, unit, times, measures=_OF_MESSAGES):
        found[place].update(zip(_OF_MESSAGES, numbers, strict=True))
    return found


_OF_MESSAGES = ("api_errors", "retries", "interruptions")
_KINDS = (*(f"tool_{status}" for status in _STATUSES), *_OF_MESSAGES)


def read_error_total(asked: Asked) -> dict[str, Any]:
    """Return how much went wrong in a period."""
    total: dict[str, Any] = {"tool_uses": 0, **dict.fromkeys(_KINDS, 0)}
    for status, uses in read_sums(TOOLS, asked, by=("status",), measures=("uses",)):
        total["tool_uses"] += uses
        if status in _STATUSES:
            total[f"tool_{status}"] += uses
    for row in read_sums(USAGE, asked, measures=_OF_MESSAGES):
        total.update(zip(_OF_MESSAGES, row, strict=True))
    return {**total, "tool_error_rate": share(total["tool_error"], total["tool_uses"])}
