"""Sums that are read for a question equal a plain count of the rows that it is about."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from observatory.store.analytics import activity, conversations, figures, files, tools, usage
from observatory.store.analytics.periods import Period, make_period
from observatory.store.analytics.reading import Asked
from observatory.store.database import fetch_all
from observatory.store.scopes import WHOLE, Scope
from observatory.timestamps import seconds_of
from tests.transcripts_for_tests import START, Transcript

FOLDERS = ("/home/ada/engine", "/home/ada/wheel", "/srv/mill", "")
MODELS = ("claude-opus-4-5", "claude-haiku-4-5", "nobody-knows-1")
# From some days before the clocks of Europe, America and Australia are set to some days after.
DAYS = 45
ZONES = (
    "UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Lord_Howe", "Pacific/Chatham", "Africa/Cairo", "Antarctica/Troll",
)  # fmt: skip


@pytest.fixture
def archive(write, ingest) -> None:
    """Sessions that go on for weeks in several projects, with subagents in others."""
    for number in range(8):
        name = f"session-{number}"
        talk(write, Transcript(name, prefix="abcdefgh"[number], cwd=FOLDERS[number % 4]), number)
        run = Transcript(name, prefix=f"{number}f", cwd=FOLDERS[(number * 3 + 1) % 4])
        run.common |= {"isSidechain": True, "agentId": f"agent{number}"}
        talk(write, run, number + 3, f"-work/{name}/subagents/agent-agent{number}.jsonl")
    ingest()


def talk(write: Any, transcript: Transcript, number: int, path: str | None = None) -> None:
    """Write a transcript whose records are between some minutes and some days apart."""
    for turn in range(12):
        transcript.number += 801 * (number + 1) ** 2 * (turn * 7 % 5 + 1)
        transcript.prompt("go")
        name, identifier = ("Read", "Bash")[turn % 2], f"toolu_{transcript.prefix}{turn}"
        model = MODELS[(number + turn) % 3]
        parameters = {"file_path": f"/src/{number % 3}{turn % 4}.py"} if turn % 2 == 0 else {}
        transcript.tool_use(name, parameters, tool_use_id=identifier, model=model)
        transcript.number += number
        transcript.tool_result("y", tool_use_id=identifier, is_error=turn % 5 == 4)
    write(transcript, path)


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Return what is asked, with the projects by their places in a list."""
    start = START.replace(microsecond=0) + timedelta(seconds=draw(st.integers(0, DAYS * 86400)))
    hours = draw(st.sampled_from((1, 5, 24, 100, 24 * DAYS)))
    chosen = st.frozensets(st.integers(1, 3))
    return {
        "period": make_period(
            start, start + timedelta(hours=hours), ZoneInfo(draw(st.sampled_from(ZONES)))
        ),
        "hidden": draw(st.one_of(st.just(frozenset()), chosen)),
        "only": draw(st.one_of(st.none(), chosen)),
        "project_key": draw(st.one_of(st.none(), st.integers(1, 3))),
        "model": draw(st.one_of(st.none(), st.sampled_from(MODELS))),
    }


def see(asked: Asked) -> dict[int, tuple[Any, ...]]:
    """Return the rows of conversations that a question is about, by their keys."""
    rows = {
        row[0]: row
        for row in fetch_all("SELECT key, id, parent_key, project_key FROM conversations")
    }

    def is_there(key: int | None) -> bool:
        return key is None or (asked.scope.allows(rows[key][3]) and is_there(rows[key][2]))

    return {
        key: row
        for key, row in rows.items()
        if is_there(key) and asked.project_key in (None, row[3])
    }


def name_day(moment: str, period: Period) -> str:
    return datetime.fromisoformat(moment).astimezone(period.zone).date().isoformat()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(question=questions())
def test_sums_equal_a_plain_count(archive, question):
    scope = Scope(hidden=question.pop("hidden"), only=question.pop("only"))
    asked = Asked(scope=scope, **question)
    seen, period = see(asked), asked.period

    def is_asked(key: int, moment: str) -> bool:
        return key in seen and period.start <= seconds_of(moment) < period.end

    calls = [
        row
        for row in fetch_all(
            "SELECT conversation_key, created_at, model, cost_nanodollars, input_tokens"
            " + output_tokens + cache_creation_input_tokens + cache_read_input_tokens"
            " FROM api_calls"
        )
        if is_asked(row[0], row[1]) and asked.model in (None, row[2])
    ]
    total = usage.read_total(asked)
    assert total["api_calls"] == len(calls)
    assert figures.total_tokens(total) == sum(call[4] for call in calls)
    assert total["cost_nanodollars"] == sum(call[3] or 0 for call in calls)
    assert total["unpriced_calls"] == sum(call[3] is None for call in calls)
    wanted = {
        "day": Counter(name_day(call[1], period) for call in calls),
        "model": Counter(call[2] for call in calls),
        "project": Counter(seen[call[0]][3] for call in calls),
        "conversation": Counter(seen[call[0]][1] for call in calls),
    }
    names = ("date", "model", "project_id", "conversation_id")
    for (group, counted), name in zip(wanted.items(), names, strict=True):
        rows = usage.read_groups(asked, group_by=group)
        found = {named[name]: row["api_calls"] for named, row in rows if row["api_calls"]}
        assert found == counted, group

    hours = Counter()
    for call in calls:
        local = datetime.fromisoformat(call[1]).astimezone(period.zone)
        hours[local.weekday(), local.hour] += 1
    week = activity.read_week(asked)
    assert {(h["weekday"], h["hour"]): h["api_calls"] for h in week if h["api_calls"]} == hours

    messages = fetch_all(
        "SELECT conversation_key, created_at FROM messages WHERE copy_of_key IS NULL"
    )
    speaking = {key for key, moment in messages if is_asked(key, moment)}
    assert sum(conversations.count_active(asked).values()) == len(speaking)

    uses = Counter(
        (name, status)
        for key, moment, name, status in fetch_all(
            "SELECT conversation_key, started_at, name, status FROM tool_uses"
        )
        if is_asked(key, moment)
    )
    shown = Counter()
    for row in tools.read_tool_groups(asked, group_by="tool"):
        for status in ("success", "error"):
            shown[row["tool"], status] += row[f"{status}_count"]
    assert +shown == uses

    reads = Counter(
        path
        for key, moment, path in fetch_all(
            "SELECT conversation_key, started_at, path FROM tool_uses"
            " WHERE path IS NOT NULL AND status = 'success'"
        )
        if is_asked(key, moment)
    )
    for sort_by, limit in (("reads", 500), ("reads", 2), ("edits", 2)):
        listed = files.list_files(asked, path=None, sort_by=sort_by, limit=limit, offset=0)
        found = {row["path"]: row["reads"] for row in listed}
        assert found == {path: reads[path] for path in found}
        assert len(listed) == min(limit, len(reads))
        if sort_by == "reads":
            assert [*found.values()] == sorted(reads.values(), reverse=True)[:limit]


def test_the_archive_is_spread_out(archive):
    asked = Asked(make_period(START, START + timedelta(days=2 * DAYS), ZoneInfo("UTC")), WHOLE)
    assert len(see(asked)) == 16
    assert {row[3] for row in see(asked).values()} == {None, 1, 2, 3}
    days = usage.read_groups(asked, group_by="day")
    assert len([row for _, row in days if row["api_calls"]]) > 20
    last = datetime.fromtimestamp(seconds_of(days[-1][0]["from"]), UTC)
    assert last > datetime(2026, 4, 6, tzinfo=UTC)
