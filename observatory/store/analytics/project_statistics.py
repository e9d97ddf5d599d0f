"""What was done in one project lately."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from observatory.store.analytics import figures
from observatory.store.analytics.conversations import count_active
from observatory.store.analytics.periods import list_offsets, make_period
from observatory.store.analytics.reading import WEEK_HOUR, Asked, clip, read_sums
from observatory.store.analytics.usage import read_total
from observatory.store.rollup_tables import TOOLS, USAGE
from observatory.store.scopes import Scope

WINDOWS = {
    "last_24_hours": timedelta(hours=24),
    "last_7_days": timedelta(days=7),
    "last_30_days": timedelta(days=30),
}
MOST_USED = 5
PEAKS = 3


def read_statistics(
    project_key: int, *, scope: Scope, zone: ZoneInfo, now: datetime
) -> dict[str, Any]:
    """Return what was done lately, by which tools the most, and at which hours of the day.

    Args:
        project_key: In which project.
        scope: What is there for who asks.
        zone: Whose clock tells the hours of the day.
        now: The end of each window, which is stretched to whole hours.
    """
    asked = {
        name: Asked(make_period(now - span, now, zone), scope, project_key)
        for name, span in WINDOWS.items()
    }
    longest = asked["last_30_days"]
    return {
        "statistics": {name: _read_window(window) for name, window in asked.items()},
        "most_used_tools": _list_most_used(longest),
        "peak_hours": _list_peaks(longest),
    }


def _read_window(asked: Asked) -> dict[str, Any]:
    total = read_total(asked)
    [(uses, failures)] = read_sums(TOOLS, asked, measures=("uses", "failures"))
    return {
        "active_conversations": sum(count_active(asked).values()),
        "messages": total["messages"],
        "prompts": total["prompts"],
        "tool_uses": uses,
        "errors": failures,
        "total_tokens": figures.total_tokens(total),
        **figures.cost_of(total),
    }


def _list_most_used(asked: Asked) -> list[dict[str, Any]]:
    rows = read_sums(TOOLS, asked, by=("tool",), measures=("uses", "failures"))
    rows.sort(key=lambda row: (-row[1], row[0]))
    return [
        {"tool": tool, "uses": uses, "errors": failures}
        for tool, uses, failures in rows[:MOST_USED]
    ]


def _list_peaks(asked: Asked) -> list[dict[str, int]]:
    """Return the hours of the day with the most messages, the first of them first."""
    period = clip(asked.period, USAGE, asked)
    if period is None:
        return []
    messages: dict[int, int] = {}
    for hour, number in read_sums(
        USAGE, asked, by=(WEEK_HOUR,), measures=("messages",), segments=list_offsets(period)
    ):
        messages[hour % 24] = messages.get(hour % 24, 0) + number
    largest = sorted(messages.items(), key=lambda item: (-item[1], item[0]))[:PEAKS]
    return [{"hour": hour, "messages": number} for hour, number in largest if number]
