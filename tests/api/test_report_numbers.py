"""Numbers of reports: what is unknown, what is of a period, what is of a model."""

from __future__ import annotations

import pytest

from observatory.store.counters import refresh_conversations
from observatory.store.database import execute, fetch_all, writing
from tests.api.asking import ask
from tests.transcripts_for_tests import Transcript

UNKNOWN = "nobody-knows-1"
MARCH = {"from": "2026-03-01", "to": "2026-03-31"}
FIRST = "11111111-1111-4111-8111-111111111111"


def session(name: str = FIRST, prefix: str = "a", *, model: str = "claude-opus-4-5") -> Transcript:
    transcript = Transcript(name, prefix=prefix)
    transcript.prompt("go")
    transcript.answer("gone", model=model)
    transcript.answer("again", model=model)
    return transcript


def test_an_hour_of_the_week_without_a_known_price_costs_null(client, write, ingest):
    write(session(model=UNKNOWN))
    ingest()
    rows = ask(client, "/api/analytics/activity", **MARCH)["rows"]
    [row] = [row for row in rows if row["api_calls"]]
    assert row["cost_microdollars"] is None
    assert row["cost_complete"] is False
    assert {row["cost_microdollars"] for row in rows if not row["api_calls"]} == {0}


def test_the_pace_of_a_block_without_a_known_price_is_unknown(client, write, ingest):
    write(session(model=UNKNOWN))
    ingest()
    [block] = ask(client, "/api/analytics/blocks", **MARCH)["rows"]
    assert block["cost_microdollars"] is None
    assert block["burn_rate"]["tokens_per_minute"] > 0
    assert block["burn_rate"]["microdollars_per_hour"] is None


def test_a_model_without_a_known_price_has_no_share_of_costs(client, write, ingest):
    write(session(model=UNKNOWN))
    write(session("other", "b"))
    ingest()
    rows = ask(client, "/api/analytics/models", **MARCH)["rows"]
    shares = {row["model"]: row["share_of_cost"] for row in rows}
    assert shares == {"claude-opus-4-5": 1.0, UNKNOWN: None}


def test_a_change_of_what_is_unknown_is_null(client, write, ingest):
    write(session(model=UNKNOWN))
    ingest()
    data = ask(client, "/api/analytics/compare", **MARCH)
    assert data["this"]["cost_microdollars"] is None
    assert data["change"]["cost_microdollars"] is None
    assert data["change"]["api_calls"] is None


def test_a_tree_whose_parents_go_in_a_circle_is_answered(client, write, ingest):
    write(session())
    write(session("other", "b"))
    ingest()
    keys = [key for (key,) in fetch_all("SELECT key FROM conversations ORDER BY key")]
    with writing():
        execute("UPDATE conversations SET parent_key = ? WHERE key = ?", keys)
        execute("UPDATE conversations SET parent_key = ? WHERE key = ?", keys[::-1])
        refresh_conversations(keys)
    data = ask(client, "/api/analytics/subagents", conversation=FIRST)
    assert [below["conversation_id"] for below in data["tree"]["subagents"]] == ["other"]
    assert data["tree"]["subagents"][0]["subagents"] == []


def test_a_session_is_active_only_when_something_was_said(client, write, ingest):
    transcript = session()
    transcript.number += 40 * 86400
    transcript.prompt("back again")
    write(transcript)
    ingest()
    active = {}
    for month, days in (("03", 31), ("04", 30)):
        span = {"from": f"2026-{month}-01", "to": f"2026-{month}-{days}"}
        active[month] = ask(client, "/api/analytics/activity", **span)["totals"]
    between = {"from": "2026-03-10", "to": "2026-03-20"}
    nothing = ask(client, "/api/analytics/activity", **between)["totals"]
    assert [active[month]["active_sessions"] for month in ("03", "04")] == [1, 1]
    assert nothing["active_conversations"] == nothing["messages"] == 0


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata", "America/New_York"])
def test_without_a_beginning_a_period_has_thirty_days(client, zone):
    data = ask(client, "/api/analytics/overview", to="2026-03-05", timezone=zone)
    wanted = {"from": "2026-02-04", "to": "2026-03-05", "timezone": zone}
    assert data["period"] == ask(client, "/api/analytics/overview", **wanted)["period"]


def test_days_are_cut_to_the_period_and_not_to_what_is_in_them(client, write, ingest):
    write(session())
    ingest()
    asked = {"from": "2026-03-01", "to": "2026-03-31", "timezone": "Asia/Kolkata"}
    for report in ("token-usage", "errors", "tools"):
        if report == "tools":
            continue
        [row] = ask(client, f"/api/analytics/{report}", **asked, group_by="day")["rows"]
        assert row["date"] == "2026-03-04"
        assert row["from"] == "2026-03-03T18:30:00.000Z"
        assert row["to"] == "2026-03-04T18:30:00.000Z"
    cut = {"from": "2026-03-04T10:00", "to": "2026-03-04T12:00", "timezone": "Asia/Kolkata"}
    [row] = ask(client, "/api/analytics/token-usage", **cut)["rows"]
    assert [row["from"], row["to"]] == ["2026-03-04T04:30:00.000Z", "2026-03-04T06:30:00.000Z"]


def test_what_people_did_is_told_of_all_models(client, write, ingest):
    transcript = session()
    transcript.answer("small", model="claude-haiku-4-5")
    write(transcript)
    ingest()
    whole = ask(client, "/api/analytics/activity", **MARCH)["totals"]
    small = ask(client, "/api/analytics/activity", **MARCH, model="claude-haiku-4-5")["totals"]
    assert small["api_calls"] == 1
    assert small["responses_per_prompt"] == 1
    same = ("prompts", "messages", "started_sessions", "active_sessions", "prompts_per_session")
    assert [small[name] for name in same] == [whole[name] for name in same]
    assert whole["prompts"] == 1


def test_the_other_period_is_as_long_as_this_one(client):
    march = {"from": "2026-03-01", "to": "2026-03-31"}
    data = ask(client, "/api/analytics/compare", **march, against_from="2025-03-01")
    assert data["against"]["period"]["from"] == "2025-03-01T00:00:00.000Z"
    assert data["against"]["period"]["to"] == "2025-04-01T00:00:00.000Z"
    data = ask(client, "/api/analytics/compare", **march, against_to="2025-03-31")
    assert data["against"]["period"]["from"] == "2025-03-01T00:00:00.000Z"


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"])
@pytest.mark.parametrize("unit", ["hour", "day", "week", "month"])
@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00.000Z", "9998-12-31T23:59:59.999Z"])
def test_all_time_is_from_1970_to_9998(client, write, ingest, moment, unit, zone):
    transcript = Transcript()
    transcript.prompt("go", timestamp=moment)
    transcript.answer("gone", timestamp=moment)
    write(transcript)
    ingest()
    span = {"from": "1970-01-01", "to": "9998-12-31", "timezone": zone}
    data = ask(client, "/api/analytics/costs", **span, group_by=unit, compare="previous")
    assert data["totals"]["api_calls"] == sum(row["api_calls"] for row in data["rows"])
    if zone == "UTC":
        assert data["totals"]["api_calls"] == 1
    for report in ("overview", "blocks", "activity", "tools", "errors", "files", "subagents"):
        ask(client, f"/api/analytics/{report}", **span)
