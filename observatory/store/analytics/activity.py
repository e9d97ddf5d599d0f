"""When things happen: by the hour of the week, and how conversations go."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.conversations import count_active
from observatory.store.analytics.periods import list_offsets
from observatory.store.analytics.reading import WEEK_HOUR, Asked, clip, read_sums
from observatory.store.analytics.usage import read_total
from observatory.store.rollup_tables import USAGE

_SAID = ("messages", "prompts")
_USED = (
    "api_calls", "unpriced_calls", "unpriced_tokens", "input_tokens", "output_tokens",
    "cache_creation_input_tokens", "cache_read_input_tokens", "cost_nanodollars",
)  # fmt: skip


def read_week(asked: Asked) -> list[dict[str, Any]]:
    """Return what happened in each of the 168 hours of the week, by the clock of the zone.

    Weekdays count from 0, Monday. Hours in which nothing happened are there, too. A model narrows
    what was used, not what was said.
    """
    found = _read_hours(asked, (*_SAID, *_USED))
    if asked.model is not None:
        said = _read_hours(asked.of_all_models(), _SAID)
        found = [{**used, **of_all} for used, of_all in zip(found, said, strict=True)]
    return [_hour(number, row) for number, row in enumerate(found)]


def _read_hours(asked: Asked, measures: tuple[str, ...]) -> list[dict[str, int]]:
    """Return sums by the hour of the week, in order."""
    period = clip(asked.period, USAGE, asked)
    hours = [dict.fromkeys(measures, 0) for _ in range(168)]
    if period is not None:
        segments = list_offsets(period)
        for hour, *numbers in read_sums(
            USAGE, asked, by=(WEEK_HOUR,), measures=measures, segments=segments, only=asked.only
        ):
            hours[hour] = dict(zip(measures, numbers, strict=True))
    return hours


def _hour(number: int, row: dict[str, int]) -> dict[str, Any]:
    return {
        "weekday": number // 24,
        "hour": number % 24,
        "messages": row["messages"],
        "prompts": row["prompts"],
        "api_calls": row["api_calls"],
        "total_tokens": figures.total_tokens(row),
        **figures.cost_of(row),
    }


def read_activity(asked: Asked) -> dict[str, Any]:
    """Return how much happened, and how conversations went.

    A model narrows the responses alone: people do not prompt a model, nor is a session of one.
    """
    total = read_total(asked.of_all_models())
    api_calls = total["api_calls"] if asked.model is None else read_total(asked)["api_calls"]
    active = count_active(asked)
    return {
        "active_conversations": sum(active.values()),
        "active_sessions": active["session"],
        "active_subagents": active["subagent"],
        "started_sessions": total["sessions"],
        "started_subagents": total["subagents"],
        "messages": total["messages"],
        "prompts": total["prompts"],
        "api_calls": api_calls,
        "interruptions": total["interruptions"],
        "responses_per_prompt": _ratio(api_calls, total["prompts"]),
        "prompts_per_session": _ratio(total["prompts"], active["session"]),
    }


def _ratio(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None
