"""The reports of ``observatory usage``: those of the API, over all that there is by default."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from observatory.store.analytics import blocks, conversations, figures, tools, usage
from observatory.store.analytics.conversation_models import read_models_of
from observatory.store.analytics.figures import Numbers
from observatory.store.analytics.periods import (
    Period,
    Segment,
    begin_unit,
    end_unit,
    make_period,
)
from observatory.store.analytics.reading import Asked, find_bounds, read_sums
from observatory.store.database import Reading
from observatory.store.rollup_tables import DAY_SECONDS, MONTH, TOOLS, USAGE, Sums
from observatory.store.rollups import begin_month, end_month
from observatory.store.scopes import WHOLE

Rows = list[dict[str, Any]]
RECENT_SECONDS = 3 * DAY_SECONDS
# So much is asked at once, which is less than a report may have rows of.
_LONGEST_SECONDS = 1000 * DAY_SECONDS
_EVERY_CONVERSATION = -1


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks at a command line.

    Attributes:
        zone: Of the days.
        now: The present time in Unix seconds.
        since: The first day, or ``None`` for the first with anything.
        until: The last day, or ``None`` for today.
        project_key: Only of this project.
        has_breakdown: Whether rows tell what each model used.
        is_ascending: The order, or ``None`` for that of the report.
        only_active: Of blocks: only the one that goes on.
        only_recent: Of blocks: only those of the last three days.
    """

    zone: ZoneInfo
    now: float
    since: date | None = None
    until: date | None = None
    project_key: int | None = None
    has_breakdown: bool = False
    is_ascending: bool | None = None
    only_active: bool = False
    only_recent: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """One report.

    Attributes:
        name: What the API calls it.
        group_by: What a row is of.
        read: Returns its rows, in its own order.
        is_ascending: Whether that begins with the earliest, or the least.
        sums: Which sums it is read from.
    """

    name: str
    group_by: str
    read: Callable[[Asked, Question], Rows]
    is_ascending: bool = False
    sums: Sums = USAGE


def make_report(name: str, question: Question) -> dict[str, Any]:
    """Return one of REPORTS as of one moment, in the shape that the API gives it."""
    report = REPORTS[name]
    moment = Reading()
    try:
        asked = _ask(question, report.sums)
        rows = report.read(asked, question)
        if question.is_ascending is not None and question.is_ascending != report.is_ascending:
            rows.reverse()
        made: dict[str, Any] = {
            "report": report.name,
            "period": asked.period.document(),
            "group_by": report.group_by,
            "rows": rows,
            "totals": _total(report, asked, rows),
        }
        if report.sums is USAGE:
            made["unpriced_models"] = _keep_named(usage.read_unpriced(asked), rows)
    finally:
        moment.close()
    return made


def _ask(question: Question, sums: Sums) -> Asked:
    zone, since, until = question.zone, question.since, question.until
    hour = Period(int(question.now), int(question.now) + 1, zone)
    first, last = find_bounds(sums, Asked(hour, WHOLE, question.project_key)) or (
        hour.start,
        hour.end,
    )
    start = datetime.fromtimestamp(first, zone) if since is None else _midnight(since, zone)
    if until is None:
        # What says that it is of a time to come is told, too.
        end = datetime.fromtimestamp(max(last, hour.end), zone)
    else:
        end = _midnight(until + timedelta(days=1), zone)
    if end <= start:
        # It ends before there is anything, or begins after all that.
        start, end = (end - timedelta(days=1), end) if until else (start, start + timedelta(days=1))
    return Asked(make_period(start, end, zone), WHOLE, question.project_key)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _total(report: Report, asked: Asked, rows: Rows) -> dict[str, Any]:
    if report.sums is TOOLS:
        return tools.read_tool_total(asked)
    if report.name == "blocks":
        return _add_up(rows)
    return figures.usage_figures(usage.read_total(asked))


def _add_up(rows: Rows) -> dict[str, Any]:
    """Return figures of usage over rows that have them."""
    total = figures.usage_figures(dict.fromkeys(USAGE.measures, 0))
    for name, value in total.items():
        if isinstance(value, int) and not isinstance(value, bool):
            total[name] = sum(row[name] or 0 for row in rows)
    if rows and all(row["cost_microdollars"] is None for row in rows):
        total["cost_microdollars"] = None
    total["cost_complete"] = not total["unpriced_calls"]
    total["usage_quality"] = "undercounted" if total["undercounted_calls"] else "exact"
    prompt = total["total_tokens"] - total["output_tokens"]
    total["cache_hit_rate"] = figures.share(total["cache_read_input_tokens"], prompt)
    return total


def _keep_named(unpriced: Rows, rows: Rows) -> Rows:
    """Return the models without a price that rows tell of."""
    named = {model for row in rows for model in (row.get("models") or [row.get("model")])}
    return [model for model in unpriced if model["model"] in named]


def _by_time(unit: str) -> Callable[[Asked, Question], Rows]:
    def read(asked: Asked, question: Question) -> Rows:
        found: dict[str, tuple[dict[str, Any], dict[str, Numbers]]] = {}
        for period in _stretches(asked, unit):
            part = asked.over(period)
            for names, numbers in usage.read_groups(part, group_by=unit, breakdown="model"):
                model = names.pop("model")
                found.setdefault(names["date"], (names, {}))[1][model] = numbers
        return [_row(names, models, question) for names, models in found.values()]

    return read


def _stretches(asked: Asked, unit: str) -> list[Period]:
    """Return parts of a period that are not too long, and have all that there is in it.

    A clock that was wrong once makes a long period, of which hardly any day has something.
    """
    whole, zone = asked.period, asked.period.zone
    if whole.end - whole.start <= _LONGEST_SECONDS:
        return [whole]
    stretches: list[Period] = []
    for start in _find_beginnings(asked, unit):
        end = end_unit(unit, start, zone)
        last = stretches[-1] if stretches else None
        if last and last.end == start and end - last.start <= _LONGEST_SECONDS:
            stretches[-1] = Period(last.start, end, zone)
        else:
            stretches.append(Period(start, end, zone))
    cut = [Period(max(p.start, whole.start), min(p.end, whole.end), zone) for p in stretches]
    return [period for period in cut if period.start < period.end]


def _find_beginnings(asked: Asked, unit: str) -> Iterable[int]:
    """Return when the units of time begin that can have something, by months that do."""
    period = asked.period
    months = read_sums(
        USAGE,
        asked,
        by=("start",),
        measures=("api_calls",),
        segments=[_months(period)],
    )
    days = {
        day
        for month, calls in months
        if calls
        for day in range(month - DAY_SECONDS, end_month(month) + 2 * DAY_SECONDS, DAY_SECONDS)
    }
    return sorted({begin_unit(unit, max(day, 0), period.zone) for day in days})


def _months(period: Period) -> Segment:
    return Segment(0, MONTH, begin_month(period.start), end_month(begin_month(period.end)))


def _by_conversation(asked: Asked, question: Question) -> Rows:
    found = conversations.list_conversation_sums(asked, limit=_EVERY_CONVERSATION)
    models = read_models_of((names["conversation_id"] for names, _ in found), asked.period)
    return [_row(names, models.get(names["conversation_id"], {}), question) for names, _ in found]


def _row(names: dict[str, Any], models: dict[str, Numbers], question: Question) -> dict[str, Any]:
    row = {**names, "models": sorted(models), **figures.usage_figures(figures.add(models.values()))}
    if question.has_breakdown:
        row["breakdown"] = [
            {"model": model, **figures.usage_figures(models[model])}
            for model in sorted(models, key=lambda m: (-models[m]["cost_nanodollars"], m))
        ]
    return row


def _blocks(asked: Asked, question: Question) -> Rows:
    rows = blocks.list_blocks(asked, now=question.now)
    if question.only_active:
        rows = [row for row in rows if row["is_active"]]
    if question.only_recent:
        earliest = datetime.fromtimestamp(question.now - RECENT_SECONDS, asked.period.zone)
        rows = [
            row
            for row in rows
            if row["is_active"] or datetime.fromisoformat(row["start_at"]) >= earliest
        ]
    return rows[::-1]


def _models(asked: Asked, question: Question) -> Rows:
    return usage.read_models(asked)


def _tools(asked: Asked, question: Question) -> Rows:
    return tools.read_tool_groups(asked, group_by="tool")


REPORTS = {
    "daily": Report("token-usage", "day", _by_time("day"), is_ascending=True),
    "weekly": Report("token-usage", "week", _by_time("week"), is_ascending=True),
    "monthly": Report("token-usage", "month", _by_time("month"), is_ascending=True),
    "session": Report("token-usage", "conversation", _by_conversation),
    "blocks": Report("blocks", "block", _blocks, is_ascending=True),
    "models": Report("models", "model", _models),
    "tools": Report("tools", "tool", _tools, sums=TOOLS),
}
