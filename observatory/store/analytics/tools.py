"""Tools: how often they were used, how that went, how long it took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from observatory.store.analytics.figures import tool_figures
from observatory.store.analytics.over_time import list_times, read_times
from observatory.store.analytics.periods import UNITS, as_text
from observatory.store.analytics.reading import (
    PROJECT,
    Asked,
    name_projects,
    read_sums,
)
from observatory.store.analytics.usage import time_of
from observatory.store.database import fetch_all
from observatory.store.rollup_tables import TOOLS
from observatory.store.scopes import Scope

GROUPS = ("tool", *UNITS, "project")
_OUTCOME = ("status", "category")


def read_tool_groups(
    asked: Asked, *, group_by: str, tool: str | None = None
) -> list[dict[str, Any]]:
    """Return what tools did by what it is of.

    Times are in order; all else begins with the most used.

    Args:
        asked: Of what.
        group_by: One of GROUPS.
        tool: Only of this one.

    Raises:
        InvalidParameter: There are too many units of time.
    """
    only = {} if tool is None else {"tool": tool}
    if group_by in UNITS:
        times = list_times(asked, group_by, TOOLS)
        rows = read_times(
            TOOLS, asked, group_by, times, by=_OUTCOME, measures=TOOLS.measures, only=only
        )
        found = _gather(rows)
        nothing: tuple[dict[str, int], dict[Any, int]] = (dict.fromkeys(TOOLS.measures, 0), {})
        return [
            {**time_of(bucket), **tool_figures(*found.get(place, nothing))}
            for place, bucket in enumerate(times)
        ]
    by = PROJECT if group_by == "project" else "tool"
    gathered = _gather(read_sums(TOOLS, asked, by=(by, *_OUTCOME), only=only))
    projects = name_projects(gathered) if by == PROJECT else {}
    return [
        {**(projects[name] if by == PROJECT else _name(name)), **tool_figures(*figures)}
        for name, figures in sorted(gathered.items(), key=lambda e: (-e[1][0]["uses"], e[0]))
    ]


def read_tool_total(asked: Asked, *, tool: str | None = None) -> dict[str, Any]:
    """Return what all tools did together."""
    only = {} if tool is None else {"tool": tool}
    rows = read_sums(TOOLS, asked, by=_OUTCOME, only=only)
    gathered = _gather([("all", *row) for row in rows])
    return tool_figures(*gathered.get("all", (dict.fromkeys(TOOLS.measures, 0), {})))


def _gather(
    rows: Iterable[tuple[Any, ...]],
) -> dict[Any, tuple[dict[str, int], dict[tuple[str, str], int]]]:
    """Return measures over all outcomes, and uses by outcome, by the first of a row's columns."""
    gathered: dict[Any, tuple[dict[str, int], dict[tuple[str, str], int]]] = {}
    for name, status, category, *numbers in rows:
        measures, outcomes = gathered.setdefault(name, (dict.fromkeys(TOOLS.measures, 0), {}))
        for measure, value in zip(TOOLS.measures, numbers, strict=True):
            if measure in TOOLS.largest:
                measures[measure] = max(measures[measure], value)
            else:
                measures[measure] += value
        outcomes[status, category] = numbers[0]
    return gathered


def _name(tool: str) -> dict[str, Any]:
    """Return a tool's name, and the MCP server that it is of."""
    parts = tool.split("__", 2)
    is_remote = len(parts) == 3 and parts[0] == "mcp"
    return {"tool": tool, "server": parts[1] if is_remote else None}


_SLOWEST = """
    SELECT t.name, t.execution_time_ms, t.status, t.started_at, t.tool_use_id, c.id, m.id, p.path
    FROM tool_uses t INDEXED BY tool_uses_by_duration
    JOIN conversations c ON c.key = t.conversation_key AND c.deleted_at IS NULL
    LEFT JOIN messages m ON m.key = t.message_key
    LEFT JOIN projects p ON p.key = c.project_key
    WHERE t.execution_time_ms >= 1000 AND t.message_key IS NOT NULL
        AND t.started_at >= :start AND t.started_at < :end{more}
    ORDER BY t.execution_time_ms DESC LIMIT :limit
"""


def _and_result_there(scope: Scope) -> str:
    """Return what leaves out uses whose result stands in nothing that is there, with its AND."""
    if scope.is_whole:
        return ""
    stands = " OR ".join(
        "EXISTS (SELECT 1 FROM messages r JOIN conversations o ON o.key = r.conversation_key"
        f" WHERE r.{key} = t.result_message_key{scope.and_there('o')})"
        for key in ("key", "copy_of_key")
    )
    return f" AND (t.result_message_key IS NULL OR {stands})"


def list_slowest(asked: Asked, *, tool: str | None, limit: int) -> list[dict[str, Any]]:
    """Return the tool uses that took the longest, of those of a second and more."""
    more = asked.and_there("c") + _and_result_there(asked.scope)
    parameters: dict[str, Any] = {
        "start": as_text(asked.period.start),
        "end": as_text(asked.period.end),
        "limit": limit,
    }
    if tool is not None:
        more += " AND t.name = :tool"
        parameters["tool"] = tool
    names = (
        "tool", "execution_time_ms", "status", "started_at", "tool_use_id", "conversation_id",
        "message_id", "project_path",
    )  # fmt: skip
    rows = fetch_all(_SLOWEST.format(more=more), parameters)
    return [dict(zip(names, row, strict=True)) for row in rows]
