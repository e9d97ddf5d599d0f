"""Measure each report on a year of conversations: python -m tests.bench.analytics [MESSAGES ...]

Reports are asked for in this process, through the whole application, and made anew each time: none
is kept. Periods differ from one question to the next.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import orjson

from observatory.store.database import close, writing
from observatory.store.rollup_building import verify_rollups
from tests.api.keyed import KeyedApp
from tests.bench.analytics_rows import make_database
from tests.bench.figures import Figure, Target, format_table, make_figure
from tests.bench.inside import find_share, make_once, open_inside, thirds
from tests.bench.machine import describe_machine, list_versions, read_load_average
from tests.bench.run import BUILD

_ROUNDS = 30
_YEAR = "from=2025-11-01&to=2026-10-{day}"
_MONTH = "from=2026-10-{first}&to=2026-10-31"
_ZONE = "timezone=America/New_York"
# Without a period it is the last 30 days; the database ends with October 2026.
QUESTIONS = {
    "overview, 30 days": f"overview?{_MONTH}&limit=5",
    "overview, a year": f"overview?{_YEAR}&limit=5",
    "token-usage by day, 30 days, New York": f"token-usage?{_MONTH}&{_ZONE}",
    "token-usage by hour, 30 days": f"token-usage?{_MONTH}&group_by=hour",
    "token-usage by day, a year": f"token-usage?{_YEAR}",
    "token-usage by day, a year, New York": f"token-usage?{_YEAR}&{_ZONE}",
    "token-usage by day, a year, Kathmandu": f"token-usage?{_YEAR}&timezone=Asia/Kathmandu",
    "token-usage by day and model, a year": f"token-usage?{_YEAR}&breakdown=model",
    "costs by month, a year, New York": f"costs?{_YEAR}&{_ZONE}&group_by=month&compare=previous",
    "costs by project, a year": f"costs?{_YEAR}&group_by=project",
    "costs by conversation, 30 days": f"costs?{_MONTH}&group_by=conversation",
    "costs by conversation, a year": f"costs?{_YEAR}&group_by=conversation",
    "costs of a project by day, a year": f"costs?{_YEAR}&project=/home/ada/project3",
    "tools, 30 days": f"tools?{_MONTH}",
    "tools, a year": f"tools?{_YEAR}",
    "tools by day, 30 days": f"tools?{_MONTH}&group_by=day",
    "tools/slowest, 30 days": f"tools/slowest?{_MONTH}",
    "tools/slowest, a year": f"tools/slowest?{_YEAR}",
    "models, a year": f"models?{_YEAR}",
    "activity, 30 days, New York": f"activity?{_MONTH}&{_ZONE}",
    "activity, a year, New York": f"activity?{_YEAR}&{_ZONE}",
    "blocks, 30 days": f"blocks?{_MONTH}",
    "errors, a year": f"errors?{_YEAR}",
    "errors by week, a year": f"errors?{_YEAR}&group_by=week",
    "files, 30 days": f"files?{_MONTH}",
    "files, a year": f"files?{_YEAR}",
    "subagents, 30 days": f"subagents?{_MONTH}",
    "subagents, a year": f"subagents?{_YEAR}",
    "compare, 30 days": f"compare?{_MONTH}",
}
_TARGET = Target(at_most=10.0)


def main(arguments: list[str]) -> int:
    """Measure, print the tables, write the JSON."""
    report = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "versions": list_versions(),
        "load_average": read_load_average(),
        "rounds": _ROUNDS,
        "figures": {},
    }
    for messages in map(int, arguments or ["200000"]):
        figures = list(measure(messages))
        print(f"\n{messages} messages\n{format_table(figures)}")
        report["figures"][str(messages)] = [figure.as_dict() for figure in figures]
    output = BUILD / f"analytics-{datetime.now(UTC):%Y-%m-%dT%H-%M-%S}.json"
    output.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2))
    print(f"\nwritten to {output}")
    return 0


def measure(messages: int) -> Iterator[Figure]:
    """Yield p50 and p95 of each report, for who sees all."""
    client = open_inside(make_reports_database(messages))
    for name, question in QUESTIONS.items():
        times = list(_ask(client, question))
        label = f"report of {messages:,}: {name}"
        yield make_figure(f"{label}, p50", thirds(times), "ms", target=_TARGET)
        yield Figure(f"{label}, p95", find_share(times, 0.95), "ms")
    close()


def make_reports_database(messages: int) -> Path:
    """Return the path of a database of so many messages, made unless it is there."""

    def make(path: Path) -> Iterator[str]:
        yield from make_database(path, messages=messages)
        yield str(verify_rollups())

    return make_once(f"analytics-{messages}.db", make)


def _ask(client: KeyedApp, question: str) -> Iterator[float]:
    for number in range(_ROUNDS + 3):
        day = 10 + number % 20
        address = "/api/analytics/" + question.format(day=day, first=f"{1 + number % 3:02d}")
        # Another revision: nothing that was kept is current.
        with writing():
            pass
        started = time.perf_counter()
        client.get(address)
        took = (time.perf_counter() - started) * 1000
        if number >= 3:
            yield took


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
