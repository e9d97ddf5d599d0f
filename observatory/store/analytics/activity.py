"""When things happen: by the hour of the week, and how conversations go."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.conversations import count_active
from observatory.store.analytics.periods import list_offsets
from observatory.store.analytics.reading import WEEK_HOUR, Asked, clip, read_sums
from observatory.store.analytics.usage import read_total
from observatory.store.rollup_tables import USAGE

_HEAT = (
    "messages", "prompts", "api_calls", "input_tokens", "output_tokens",
    "cache_creation_input_tokens", "cache_read_input_tokens", "cost_nanodollars",
)  # fmt: skip


def read_week(asked: Asked) -> list[dict[str, Any]]:
    """Return what happened in each of the 168 hours of the week, by the clock of the zone.

    Weekdays count from 0, Monday. Hours in which nothing happened are there, too.
    """
    period = clip(asked.period, USAGE, asked)
    found: dict[int, tuple[int, ...]] = {}
    if period is not None:
        only = {} if asked.model is None else {"model": asked.model}
        rows = read_sums(
            USAGE, asked, by=(WEEK_HOUR,), measures=_HEAT, segments=list_offsets(period), only=only
        )
        found = {row[0]: row[1:] for row in rows}
    return [
        _hour(number, dict(zip(_HEAT, found.get(number, (0,) * len(_HEAT)), strict=True)))
        for number in range(168)
    ]


def _hour(number: int, row: dict[str, int]) -> dict[str, Any]:
    return {
        "weekday": number // 24,
        "hour": number % 24,
        "messages": row["messages"],
        "prompts": row["prompts"],
        "api_calls": row["api_calls"],
        "total_tokens": figures.total_tokens(row),
        "cost_microdollars": figures.microdollars(row["cost_nanodollars"]),
    }


def read_activity(asked: Asked) -> dict[str, Any]:
    """Return how much happened, and how conversations went."""
    total = read_total(asked)
    active = count_active(asked)
    return {
        "active_conversations": sum(active.values()),
        "active_sessions": active["session"],
        "active_subagents": active["subagent"],
        "started_sessions": total["sessions"],
        "started_subagents": total["subagents"],
        "messages": total["messages"],
        "prompts": total["prompts"],
        "api_calls": total["api_calls"],
        "interruptions": total["interruptions"],
        "responses_per_prompt": _ratio(total["api_calls"], total["prompts"]),
        "prompts_per_session": _ratio(total["prompts"], active["session"]),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None
