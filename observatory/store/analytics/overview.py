"""The whole at a glance."""

from __future__ import annotations

from typing import Any

from observatory.store.analytics import figures
from observatory.store.analytics.activity import read_activity
from observatory.store.analytics.reading import Asked
from observatory.store.analytics.tools import read_tool_groups
from observatory.store.analytics.usage import read_rows, read_total

_TOOL = ("tool", "uses", "error_count", "success_rate", "p50_ms")


def read_overview_total(asked: Asked) -> dict[str, Any]:
    """Return tokens, costs and how much happened in a period."""
    total = read_total(asked)
    return {
        **read_activity(asked),
        **figures.usage_figures(total),
        **figures.cost_figures(total),
    }


def read_overview(asked: Asked, *, limit: int) -> dict[str, list[dict[str, Any]]]:
    """Return the days of a period, and the first few models, projects and tools.

    Raises:
        InvalidParameter: There are too many days.
    """
    found = {
        group: read_rows(
            asked, group_by=group, measures=figures.FOR_USAGE, make=figures.usage_figures_of
        )
        for group in ("day", "model", "project")
    }
    tools = read_tool_groups(asked, group_by="tool")[:limit]
    return {
        "rows": found["day"],
        "models": found["model"][:limit],
        "projects": found["project"][:limit],
        "tools": [{name: tool[name] for name in _TOOL} for tool in tools],
    }
