"""Printing reports of usage as tables, that fit the terminal without cutting a number off."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TextIO
from zoneinfo import ZoneInfo

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from observatory.live.terminal_text import clean, cut, measure
from observatory.store.conversation_names import shorten_conversation_id
from observatory.usage_reports import Question

Row = dict[str, Any]
_GAP = 3
_UNLIMITED = 100_000
_MODEL = re.compile(r"claude-(?P<name>.+?)(?:-\d{8})?")


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Attributes:
        name: What stands above it.
        cell: Makes the text of a row; of several lines, if need be.
        dropped: Where not all columns fit, those with the largest number go first; 0 stay.
        least: How narrow a text may be cut; numbers are never cut.
    """

    name: str
    cell: Callable[[Row], str]
    dropped: int = 0
    least: int | None = None
    is_number: bool = True


def print_report(name: str, report: dict[str, Any], question: Question, stream: TextIO) -> None:
    """Print a report for people: coloured and cut on a terminal, plain and whole elsewhere."""
    rows = report["rows"]
    lines = Lines(stream)
    if not rows:
        lines.add(_NOTHING["active" if question.only_active else _why_empty(question)])
    else:
        lines.add_table(_list_columns(name, question), rows, report["totals"])
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


class Lines:
    """What is to be printed, made for a stream and written in one piece."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_terminal = stream.isatty()
        found = Console(file=stream)
        self._width = found.width if self._is_terminal else _UNLIMITED
        # Made apart, so that nothing is printed of what fails, and letters that the stream can
        # not write are replaced.
        self._made = io.StringIO()
        self._colors = found.color_system if self._is_terminal and not found.no_color else None

    def add(self, text: str) -> None:
        """Add a line, which a terminal breaks where it is too long."""
        self._print(Text(text), self._width)

    def add_table(self, columns: Sequence[Column], rows: Sequence[Row], totals: Row) -> None:
        """Add rows and below them their sums."""
        cells = [[column.cell(row).split("\n") for column in columns] for row in _with_parts(rows)]
        last = [column.cell({**totals, "is_total": True}).split("\n") for column in columns]
        kept, widths = _fit(columns, [*cells, last], self._width)
        table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, show_footer=True)
        for place in kept:
            column, width = columns[place], widths[place]
            table.add_column(
                Text(column.name.replace(" ", "\n"), style="bold"),
                Text(_cell(last[place], width), style="bold"),
                justify="right" if column.is_number else "left",
                width=width,
                no_wrap=True,
                overflow="crop",
            )
        for row, part in zip(cells, _with_parts(rows), strict=True):
            texts = [Text(_cell(row[place], widths[place])) for place in kept]
            table.add_row(*texts, style="dim" if "is_part" in part else None)
        needed = sum(widths[place] for place in kept) + _GAP * (len(kept) - 1)
        self._print(table, max(needed, self._width))

    def _print(self, what: Any, width: int) -> None:
        Console(
            file=self._made,
            width=min(width, _UNLIMITED),
            force_terminal=self._is_terminal,
            color_system=self._colors,  # type: ignore[arg-type]
            no_color=self._colors is None,
            markup=False,
            highlight=False,
            emoji=False,
        ).print(what)

    def write(self) -> None:
        """Write all lines, without blanks at their ends."""
        encoding = self._stream.encoding or "utf-8"
        for line in self._made.getvalue().splitlines():
            text = line if self._is_terminal else line.rstrip()
            self._stream.write(text.encode(encoding, "replace").decode(encoding) + "\n")


def _cell(lines: Sequence[str], width: int) -> str:
    return "\n".join(cut(line, width) for line in lines)


def _with_parts(rows: Sequence[Row]) -> list[Row]:
    """Return rows, each followed by what its models used."""
    return [
        each
        for row in rows
        for each in (row, *({**part, "is_part": True} for part in row.get("breakdown", ())))
    ]


def _fit(
    columns: Sequence[Column], rows: Sequence[Sequence[Sequence[str]]], width: int
) -> tuple[list[int], list[int]]:
    """Return the places of the columns that fit into a width, and how wide each is."""
    widths = [
        max(
            *(len(word) for word in column.name.split(" ")),
            *(measure(line) for row in rows for line in row[place]),
        )
        for place, column in enumerate(columns)
    ]
    least = [
        natural if column.least is None else min(natural, column.least)
        for column, natural in zip(columns, widths, strict=True)
    ]
    kept = list(range(len(columns)))

    def needed(of: list[int]) -> int:
        return sum(of[place] for place in kept) + _GAP * (len(kept) - 1)

    while needed(least) > width and any(columns[place].dropped for place in kept):
        largest = max(columns[place].dropped for place in kept)
        kept = [place for place in kept if columns[place].dropped != largest]
    for place in kept:
        excess = max(0, needed(widths) - width)
        widths[place] -= min(excess, widths[place] - least[place])
    return kept, widths


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

    return Column(name, make, dropped, least, is_number=False)


def _short_model(name: str) -> str:
    found = _MODEL.fullmatch(name)
    return clean(found["name"] if found else name)


def _describe_models(row: Row) -> str:
    return "\n".join(_short_model(model) for model in row.get("models", ()))


def _number(name: str) -> Callable[[Row], str]:
    return lambda row: f"{row[name]:,}"


def describe_cost(row: Row) -> str:
    """Return a cost in dollars; ``?`` is what no price is known of."""
    if row["cost_microdollars"] is None:
        return "?"
    return dollars(row["cost_microdollars"]) + ("" if row["cost_complete"] else "+?")


def dollars(microdollars: int) -> str:
    """Return microdollars as dollars and cents."""
    return f"{microdollars / 1e6:,.2f}"


_MODELS = Column("Models", _describe_models, dropped=6, least=12, is_number=False)
_USAGE_COLUMNS = [
    Column("Input", _number("input_tokens"), dropped=5),
    Column("Output", _number("output_tokens"), dropped=4),
    Column("Cache Create", _number("cache_creation_input_tokens"), dropped=8),
    Column("Cache Read", _number("cache_read_input_tokens"), dropped=8),
    Column("Total Tokens", _number("total_tokens"), dropped=2),
    Column("Cost (USD)", describe_cost),
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
    more = "" if row["cost_complete"] else "+?"
    lines = [
        f"Burn rate: {rate['tokens_per_minute']:,.0f} tokens a minute,"
        f" {dollars(rate['microdollars_per_hour'])}{more} USD an hour."
    ]
    if projection is not None:
        lines.append(
            f"At that rate: {projection['total_tokens']:,} tokens and"
            f" {dollars(projection['cost_microdollars'])}{more} USD"
            f" by {_local(row['end_at'], question.zone)}."
        )
    return lines
