"""Printing reports of usage: the columns of each, and what is to be known of the figures."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from observatory.live.terminal_text import clean
from observatory.store.conversation_names import shorten_conversation_id
from observatory.terminal_tables import Column, Lines, Row
from observatory.usage_reports import Question

_LEAST_LABEL = 24
_MODEL = re.compile(r"claude-(?P<name>.+?)(?:-\d{8})?")


def print_report(name: str, report: dict[str, Any], question: Question, stream: TextIO) -> None:
    """Print a report for people: coloured and cut on a terminal, plain and whole elsewhere."""
    rows = report["rows"]
    lines = Lines(stream)
    if not rows:
        lines.add(_NOTHING["active" if question.only_active else _why_empty(question)])
    else:
        lines.add_table(_list_columns(name, question), _with_parts(rows), report["totals"])
        for note in _list_notes(report, question):
            lines.add(note)
    lines.write()


_NOTHING = {
    "active": "No block is going on.",
    "narrowed": "No usage in what was asked for.",
    "empty": "No usage yet.",
}


def _why_empty(question: Question) -> str:
    narrowed = (question.since, question.until, question.project_key)
    is_narrowed = question.only_recent or any(each is not None for each in narrowed)
    return "narrowed" if is_narrowed else "empty"


def _with_parts(rows: Sequence[Row]) -> list[Row]:
    """Return rows, each followed by what its models used."""
    return [
        each
        for row in rows
        for each in (row, *({**part, "is_part": True} for part in row.get("breakdown", ())))
    ]


def _list_columns(name: str, question: Question) -> list[Column]:
    zone = question.zone
    if name == "tools":
        return _TOOL_COLUMNS
    models = [] if question.has_breakdown or name == "models" else [_MODELS]
    labels = {
        "daily": [_label("Date", lambda row: str(row["date"]))],
        "weekly": [_label("Week", lambda row: str(row["date"]))],
        "monthly": [_label("Month", lambda row: str(row["date"]))],
        "models": [_label("Model", lambda row: str(row["model"]), least=12)],
        "session": _SESSION_COLUMNS,
        "blocks": [
            _label("Block", lambda row: _local(row["start_at"], zone)),
            _label("Status", lambda row: _describe_status(row, question), dropped=3),
        ],
    }
    return [*labels[name], *models, *_USAGE_COLUMNS]


def _label(
    name: str, cell: Callable[[Row], str], *, dropped: int = 0, least: int | None = None
) -> Column:
    """Return a column of texts, the first of which names the sums and what models used."""

    def make(row: Row) -> str:
        if row.get("is_total"):
            return "" if dropped else "Total"
        if row.get("is_part"):
            return "" if dropped else f"  {_short_model(row['model'])}"
        return clean(cell(row))

    if least is None and not dropped:
        # Days and sessions fit in; a model that is named below them may be of any length.
        least = _LEAST_LABEL
    return Column(name, make, dropped, least, is_number=False)


def _short_model(name: str) -> str:
    found = _MODEL.fullmatch(name)
    return clean(found["name"] if found else name)


def _describe_models(row: Row) -> str:
    return "\n".join(_short_model(model) for model in row.get("models", ()))


def _number(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,}"


def _describe_cost(row: Row) -> str:
    """Return a cost in dollars; ``?`` is what no price is known of."""
    return _dollars(row["cost_microdollars"], is_complete=row["cost_complete"])


def _dollars(microdollars: int | None, *, is_complete: bool) -> str:
    """Return microdollars as dollars and cents; ``?`` is what no price is known of."""
    if microdollars is None:
        return "?"
    return f"{microdollars / 1e6:,.2f}" + ("" if is_complete else "+?")


_MODELS = Column("Models", _describe_models, dropped=6, least=12, is_number=False)
_USAGE_COLUMNS = [
    Column("Input", _number("input_tokens"), dropped=5),
    Column("Output", _number("output_tokens"), dropped=4),
    Column("Cache Create", _number("cache_creation_input_tokens"), dropped=8),
    Column("Cache Read", _number("cache_read_input_tokens"), dropped=8),
    Column("Total Tokens", _number("total_tokens"), dropped=2),
    Column("Cost (USD)", _describe_cost),
]


def _describe_session(row: Row) -> str:
    mark = " (subagent)" if row["kind"] == "subagent" else ""
    return f"{shorten_conversation_id(row['conversation_id'])}{mark}"


_SESSION_COLUMNS = [
    _label("Session", _describe_session),
    _label("Project", lambda row: row["project_name"] or "", dropped=9, least=10),
    _label("Title", lambda row: row["title"] or "", dropped=7, least=16),
]


def _describe_milliseconds(name: str) -> Callable[[Row], str]:
    def make(row: Row) -> str:
        return "" if row[name] is None else f"{row[name] / 1000:,.1f} s"

    return make


def _describe_share(row: Row) -> str:
    return "" if row["success_rate"] is None else f"{100 * row['success_rate']:.1f} %"


_TOOL_COLUMNS = [
    _label("Tool", lambda row: str(row["tool"]), least=16),
    Column("Uses", _number("uses")),
    Column("Errors", _number("error_count"), dropped=1),
    Column("Rejected", _number("rejected_count"), dropped=4),
    Column("Success", _describe_share, dropped=2),
    Column("Median", _describe_milliseconds("p50_ms"), dropped=3),
    Column("p95", _describe_milliseconds("p95_ms"), dropped=5),
    Column("Longest", _describe_milliseconds("max_ms"), dropped=6),
]


def _local(moment: str, zone: ZoneInfo) -> str:
    return datetime.fromisoformat(moment).astimezone(zone).strftime("%Y-%m-%d %H:%M")


def _describe_minutes(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _describe_status(row: Row, question: Question) -> str:
    if row["is_active"]:
        return f"active, {_describe_minutes(_seconds(row['end_at']) - question.now)} left"
    if row["first_activity_at"] is None:
        return ""
    first, last = row["first_activity_at"], row["last_activity_at"]
    return _describe_minutes(_seconds(last) - _seconds(first))


def _list_notes(report: dict[str, Any], question: Question) -> list[str]:
    """Return what is to be known of the figures, in lines."""
    notes = [
        line
        for row in report["rows"]
        if row.get("is_active")
        for line in _describe_burning(row, question)
    ]
    unpriced = report.get("unpriced_models", ())
    if unpriced:
        listed = ", ".join(
            f"{clean(model['model'])} ({model['total_tokens']:,} tokens)" for model in unpriced
        )
        notes.append(f"? No price is known of {listed}.")
    if report["totals"].get("usage_quality") == "undercounted":
        tokens = report["totals"]["undercounted_output_tokens"]
        notes.append(
            f"Output is more than that: {tokens:,} of these tokens are of answers whose final count"
            " Claude Code, before 2.1.60, did not write down."
        )
    return notes


def _describe_burning(row: Row, question: Question) -> list[str]:
    """Return how fast the block that goes on is used up, and what it comes to."""
    rate, projection = row["burn_rate"], row["projection"]
    if rate is None:
        return []
    is_complete = row["cost_complete"]
    lines = [
        f"Burn rate: {rate['tokens_per_minute']:,.0f} tokens a minute,"
        f" {_dollars(rate['microdollars_per_hour'], is_complete=is_complete)} USD an hour."
    ]
    if projection is not None:
        lines.append(
            f"At that rate: {projection['total_tokens']:,} tokens and"
            f" {_dollars(projection['cost_microdollars'], is_complete=is_complete)} USD"
            f" by {_local(row['end_at'], question.zone)}."
        )
    return lines
