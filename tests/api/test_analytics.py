"""Reports: what they count, in whose days, for whom, and in which form."""

from __future__ import annotations

import csv
import io
import itertools
import json
from typing import Any

import pytest

from observatory.store.database import execute, writing
from observatory.store.projects import change_project
from observatory.store.scopes import WHOLE, Scope
from tests.api.asking import ask, check_refusal
from tests.api.people import bare, make_person
from tests.api.sessions import SESSION, numbered
from tests.api.viewers import project_key, sign_in
from tests.transcripts_for_tests import Transcript

BASE = "/api/analytics"
USAGE = {"input_tokens": 10, "output_tokens": 20, "cache_read_input_tokens": 70}
MARCH = {"from": "2026-03-01", "to": "2026-03-31"}


@pytest.fixture
def say(write, ingest):
    """Ingests a conversation that has one response at each of some times."""

    def one(
        number: int, *times: str, model: str = "claude-opus-4-5", cwd: str = "/home/ada/engine",
        usage: dict[str, Any] = USAGE, **answer: Any,
    ) -> str:  # fmt: skip
        transcript = numbered(number, cwd=cwd)
        for place, time in enumerate(times):
            transcript.prompt("go on", timestamp=time)
            transcript.answer(
                "done", timestamp=time, model=model, usage=usage,
                message_id=f"msg_{number}_{place}", **answer,
            )  # fmt: skip
        write(transcript)
        ingest()
        return transcript.session_id

    return one


def rows_of(client: Any, report: str, **params: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ask(client, f"{BASE}/{report}", **{**MARCH, **params})["rows"]
    return rows


# In whose days


def test_a_day_is_that_of_the_zone(client, say):
    say(1, "2026-03-10T23:30:00.000Z", "2026-03-11T00:30:00.000Z", "2026-03-11T18:20:00.000Z")
    in_utc = rows_of(client, "token-usage")
    assert {r["date"]: r["api_calls"] for r in in_utc} == {"2026-03-10": 1, "2026-03-11": 2}
    in_berlin = rows_of(client, "token-usage", timezone="Europe/Berlin")
    assert {r["date"]: r["api_calls"] for r in in_berlin} == {"2026-03-11": 3}
    # There it is 5:45 hours later: 18:20 is five past midnight.
    in_kathmandu = rows_of(client, "token-usage", timezone="Asia/Kathmandu")
    assert {r["date"]: r["api_calls"] for r in in_kathmandu} == {"2026-03-11": 2, "2026-03-12": 1}


def test_days_on_which_the_clock_is_set_have_other_lengths(client, say):
    say(1, "2026-03-28T23:30:00.000Z", "2026-03-29T21:30:00.000Z", "2026-03-29T22:30:00.000Z")
    rows = rows_of(client, "token-usage", timezone="Europe/Berlin")
    assert [(r["date"], r["from"], r["to"], r["api_calls"]) for r in rows] == [
        ("2026-03-29", "2026-03-28T23:00:00.000Z", "2026-03-29T22:00:00.000Z", 2),
        ("2026-03-30", "2026-03-29T22:00:00.000Z", "2026-03-30T22:00:00.000Z", 1),
    ]


def test_weeks_begin_on_monday_and_months_are_whole(client, say):
    say(1, "2026-03-01T12:00:00.000Z", "2026-03-02T12:00:00.000Z", "2026-03-31T12:00:00.000Z")
    weeks = rows_of(client, "token-usage", group_by="week")
    assert [(r["date"], r["api_calls"]) for r in weeks if r["api_calls"]] == [
        ("2026-02-23", 1), ("2026-03-02", 1), ("2026-03-30", 1),
    ]  # fmt: skip
    [month] = rows_of(client, "token-usage", group_by="month")
    assert (month["date"], month["api_calls"]) == ("2026-03", 3)


def test_rows_over_time_have_no_gaps(client, say):
    say(1, "2026-03-10T12:00:00.000Z", "2026-03-13T12:00:00.000Z")
    rows = rows_of(client, "token-usage")
    assert [(r["date"][-2:], r["api_calls"]) for r in rows] == [
        ("10", 1), ("11", 0), ("12", 0), ("13", 1),
    ]  # fmt: skip
    assert all(a["to"] == b["from"] for a, b in itertools.pairwise(rows))


def test_a_time_without_an_offset_is_of_the_zone(client, say):
    say(1, "2026-03-10T06:30:00.000Z", "2026-03-10T07:30:00.000Z")
    span = {"from": "2026-03-10T03:00", "to": "2026-03-10T04:00", "timezone": "America/New_York"}
    data = ask(client, f"{BASE}/token-usage", **span)
    assert data["totals"]["api_calls"] == 1
    assert data["period"] == {
        "from": "2026-03-10T07:00:00.000Z",
        "to": "2026-03-10T08:00:00.000Z",
        "timezone": "America/New_York",
    }


def test_without_a_period_it_is_the_last_thirty_days(client):
    data = ask(client, f"{BASE}/token-usage")
    start, end = data["period"]["from"], data["period"]["to"]
    assert start.endswith("T00:00:00.000Z")
    assert start < end
    assert data["rows"] == []
    assert data["totals"]["total_tokens"] == 0


@pytest.mark.parametrize(
    ("field", "params"),
    [
        ("timezone", {"timezone": "Mars/Olympus"}),
        ("timezone", {"timezone": "/etc/passwd"}),
        ("from", {"from": "20260301"}),
        ("from", {"from": "0001-01-01"}),
        ("to", {"to": "9999-12-31T23:59:59Z"}),
        ("to", {"from": "2026-03-02", "to": "2026-03-01"}),
        ("group_by", {"group_by": "year"}),
        ("format", {"format": "xml"}),
        ("compare", {"compare": "next"}),
        ("limit", {"limit": "0"}),
        ("breakdown", {"group_by": "project", "breakdown": "model"}),
    ],
)
def test_what_is_wrong_is_named(client, field, params):
    answer = client.get(f"{BASE}/token-usage", params, expect_errors=True)
    assert list(check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]) == [field]


def test_too_many_rows_are_refused_with_a_way_out(client, say):
    say(1, "2025-01-01T12:00:00.000Z", "2026-03-01T12:00:00.000Z")
    span = {"from": "2025-01-01", "to": "2026-03-31", "group_by": "hour"}
    answer = client.get(f"{BASE}/token-usage", span, expect_errors=True)
    message = check_refusal(answer, 400, "VALIDATION_ERROR")["details"]["fields"]["group_by"]
    assert "longer units" in message[0]
    ask(client, f"{BASE}/token-usage", **{**span, "group_by": "day"})


def test_while_sums_are_built_a_report_is_asked_for_again(client, say):
    say(1, "2026-03-10T12:00:00.000Z")
    with writing():
        execute("UPDATE totals SET value = 0 WHERE name = 'rollups_version'")
    answer = client.get(f"{BASE}/costs", expect_errors=True)
    check_refusal(answer, 503, "NOT_READY")
    assert answer.headers["Retry-After"] == "10"


# Tokens and costs


def test_costs_by_what_they_are_for_and_what_caching_saved(client, say):
    say(1, "2026-03-10T12:00:00.000Z", usage={
        "input_tokens": 1000, "output_tokens": 100, "cache_read_input_tokens": 10_000,
        "cache_creation_input_tokens": 400,
        "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 100},
    })  # fmt: skip
    [row] = rows_of(client, "costs")
    # Opus 4.5: $5 in, $25 out, $6.25 and $10 written, $0.50 read, for a million tokens.
    assert row["input_cost_microdollars"] == 5000
    assert row["output_cost_microdollars"] == 2500
    assert row["cache_write_cost_microdollars"] == 300 * 6.25 + 100 * 10
    assert row["cache_read_cost_microdollars"] == 5000
    assert row["cost_microdollars"] == 15_375
    assert row["uncached_cost_microdollars"] == (1000 + 10_000 + 400) * 5 + 2500
    assert row["cache_savings_microdollars"] == 59_500 - 15_375
    [row] = rows_of(client, "token-usage")
    assert row["cache_hit_rate"] == round(10_000 / 11_400, 6)


def test_what_has_no_known_price_is_unknown(client, say):
    say(1, "2026-03-10T12:00:00.000Z", model="glm-5")
    say(2, "2026-03-11T12:00:00.000Z")
    data = ask(client, f"{BASE}/costs", **MARCH)
    unknown, known = data["rows"]
    assert unknown["cost_microdollars"] is None
    assert unknown["input_cost_microdollars"] is None
    assert (unknown["unpriced_calls"], unknown["unpriced_tokens"]) == (1, 100)
    assert known["cost_complete"] is True
    assert data["totals"]["cost_complete"] is False
    assert data["totals"]["cost_microdollars"] == known["cost_microdollars"] > 0
    assert data["unpriced_models"] == [{"model": "glm-5", "api_calls": 1, "total_tokens": 100}]
    models = rows_of(client, "models")
    assert {r["model"]: r["cost_microdollars"] for r in models}["glm-5"] is None


def test_undercounted_output_is_told(client, write, ingest):
    transcript = Transcript(SESSION, version="2.1.30")
    transcript.answer("hi", stop_reason=None, usage={"input_tokens": 5, "output_tokens": 3})
    write(transcript)
    ingest()
    [row] = rows_of(client, "token-usage")
    assert row["usage_quality"] == "undercounted"
    assert (row["undercounted_calls"], row["undercounted_output_tokens"]) == (1, 3)


def test_groups_and_breakdowns_add_up(client, say):
    say(1, "2026-03-10T12:00:00.000Z", "2026-03-11T12:00:00.000Z")
    say(2, "2026-03-10T13:00:00.000Z", model="claude-haiku-4-5", cwd="/home/ada/other")
    for group in ("model", "project", "conversation", "day"):
        rows = rows_of(client, "token-usage", group_by=group)
        assert sum(r["total_tokens"] for r in rows) == 300, group
    by_model = rows_of(client, "token-usage", breakdown="model")
    assert [(r["date"], r["model"]) for r in by_model] == [
        ("2026-03-10", "claude-haiku-4-5"),
        ("2026-03-10", "claude-opus-4-5"),
        ("2026-03-11", "claude-opus-4-5"),
    ]
    projects = rows_of(client, "token-usage", group_by="project")
    assert [r["project_path"] for r in projects] == ["/home/ada/engine", "/home/ada/other"]
    only = {"model": "claude-haiku-4-5"}
    assert ask(client, f"{BASE}/token-usage", **MARCH, **only)["totals"]["api_calls"] == 1
    only = {"project": "/home/ada/other"}
    assert ask(client, f"{BASE}/token-usage", **MARCH, **only)["totals"]["api_calls"] == 1


def test_an_unknown_project_is_not_found(client):
    answer = client.get(f"{BASE}/costs", {"project": "/nowhere"}, expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")


def test_the_previous_period_is_as_long(client, say):
    say(1, "2026-02-10T12:00:00.000Z", "2026-03-10T12:00:00.000Z", "2026-03-11T12:00:00.000Z")
    data = ask(client, f"{BASE}/token-usage", compare="previous", **MARCH)
    assert data["previous"]["period"]["from"] == "2026-01-29T00:00:00.000Z"
    assert data["previous"]["period"]["to"] == "2026-03-01T00:00:00.000Z"
    assert data["previous"]["totals"]["api_calls"] == 1
    assert data["previous"]["change"]["api_calls"] == 1.0
    assert data["previous"]["change"]["web_search_requests"] is None


def test_what_is_in_the_trash_does_not_count(client, say):
    one = say(1, "2026-03-10T12:00:00.000Z")
    say(2, "2026-03-10T12:00:00.000Z")
    client.delete(f"/api/conversations/{one}")
    assert rows_of(client, "token-usage")[0]["api_calls"] == 1
    client.post(f"/api/conversations/{one}/restore")
    assert rows_of(client, "token-usage")[0]["api_calls"] == 2
    client.delete(f"/api/conversations/{one}?permanent=true")
    assert rows_of(client, "token-usage")[0]["api_calls"] == 1


def test_a_conversation_over_the_end_of_a_period_counts_in_part(client, say):
    say(1, "2026-03-10T10:30:00.000Z", "2026-03-10T12:30:00.000Z")
    span = {"from": "2026-03-10T12:00Z", "to": "2026-03-10T13:00Z", "group_by": "conversation"}
    [row] = ask(client, f"{BASE}/token-usage", **span)["rows"]
    assert row["api_calls"] == 1


# Tools, errors, files


@pytest.fixture
def tools(client, write, ingest) -> None:
    """A session that ran tools: ten quick ones, one slow, one failed, one refused, two edits."""
    transcript = Transcript(SESSION)

    def run(name: str, seconds: int, parameters: dict[str, Any], **result: Any) -> None:
        number = transcript.number
        use = f"toolu_{number}"
        transcript.tool_use(name, parameters, tool_use_id=use)
        transcript.number += seconds
        transcript.tool_result(result.pop("text", "ok"), tool_use_id=use, **result)

    transcript.prompt("go")
    for _ in range(10):
        run("Bash", 1, {"command": "ls"})
    run("Bash", 500, {"command": "make"})
    run("Bash", 1, {"command": "false"}, text="Exit code 1", is_error=True)
    refused = "The user doesn't want to proceed with this tool use."
    run("Edit", 1, {"file_path": "/a.py"}, text=refused, is_error=True)
    run("Edit", 1, {"file_path": "/a.py"})
    run("Edit", 1, {"file_path": "/a.py"})
    run("Read", 1, {"file_path": "/a.py"})
    run("mcp__github__get_issue", 1, {"n": 1})
    write(transcript)
    ingest()


def test_tools_tell_how_often_how_well_and_how_long(client, tools):
    bash, edit, _, mcp = rows_of(client, "tools")
    assert (bash["tool"], bash["uses"], bash["server"]) == ("Bash", 12, None)
    assert (bash["success_count"], bash["error_count"]) == (11, 1)
    assert bash["error_categories"] == {"exit_code": 1}
    assert bash["success_rate"] == round(11 / 12, 6)
    assert 1500 <= bash["p50_ms"] <= 2500
    assert bash["max_ms"] == 501_000
    assert (edit["rejected_count"], edit["success_count"], edit["success_rate"]) == (1, 2, 1.0)
    assert mcp["server"] == "github"
    assert rows_of(client, "tools", tool="Read")[0]["uses"] == 1
    assert rows_of(client, "tools", group_by="day")[0]["uses"] == 17
    slowest = rows_of(client, "tools/slowest", limit=1)
    assert [(r["tool"], r["execution_time_ms"]) for r in slowest] == [("Bash", 501_000)]
    assert slowest[0]["conversation_id"] == SESSION


def test_totals_of_one_tool_are_those_of_its_row(client, tools):
    query = {"from": "2020-01-01", "tool": "Bash", "compare": "previous"}
    data = client.get("/api/analytics/tools", query).json["data"]
    [row] = data["rows"]
    assert data["totals"] == {name: row[name] for name in data["totals"]}
    assert data["previous"]["totals"]["uses"] == 0


def test_errors_tell_what_went_wrong(client, tools):
    data = ask(client, f"{BASE}/errors", **MARCH)
    assert [(r["tool"], r["status"], r["category"], r["count"]) for r in data["rows"]] == [
        ("Bash", "error", "exit_code", 1),
        ("Edit", "rejected", "rejected", 1),
    ]
    assert data["totals"]["tool_error"] == 1
    [day] = rows_of(client, "errors", group_by="day")
    assert (day["tool_uses"], day["tool_error"], day["tool_rejected"]) == (17, 1, 1)


def test_files_tell_what_was_edited_again(client, tools):
    data = ask(client, f"{BASE}/files?path=/a.py", **MARCH)
    [row] = data["rows"]
    assert (row["path"], row["reads"], row["edits"], row["reworks"]) == ("/a.py", 1, 2, 1)
    assert (row["conversations"], row["editing_conversations"]) == (1, 1)
    [conversation] = data["conversations"]
    assert (conversation["conversation_id"], conversation["edits"]) == (SESSION, 2)
    assert ask(client, f"{BASE}/files?path=/b.py", **MARCH)["rows"] == []


def test_a_path_of_which_nothing_is_left_is_forgotten(client, tools):
    client.delete(f"/api/conversations/{SESSION}?permanent=true")
    assert execute("DELETE FROM file_paths") == 0


# Activity, blocks, subagents, comparison


def test_the_week_is_by_the_clock_of_the_zone(client, say):
    # A Sunday: in New York it is still Saturday evening.
    say(1, "2026-03-08T02:30:00.000Z", "2026-03-08T15:30:00.000Z")
    data = ask(client, f"{BASE}/activity", timezone="America/New_York", **MARCH)
    busy = {(r["weekday"], r["hour"]) for r in data["rows"] if r["api_calls"]}
    # Clocks were set to summer time between the two.
    assert busy == {(5, 21), (6, 11)}
    assert len(data["rows"]) == 168
    assert data["totals"]["responses_per_prompt"] == 1.0
    assert data["totals"]["active_sessions"] == 1
    assert data["longest"][0]["duration_seconds"] == 13 * 3600


def test_blocks_hold_five_hours_from_the_first_response_on(client, say):
    say(1, "2026-03-10T08:40:00.000Z", "2026-03-10T12:50:00.000Z", "2026-03-10T13:10:00.000Z")
    late, early = rows_of(client, "blocks")
    assert (early["start_at"], early["api_calls"]) == ("2026-03-10T08:00:00.000Z", 2)
    assert early["last_activity_at"] == "2026-03-10T12:50:00.000Z"
    assert early["burn_rate"]["tokens_per_minute"] == round(200 / 250, 3)
    assert (late["start_at"], late["api_calls"]) == ("2026-03-10T13:00:00.000Z", 1)
    assert late["is_active"] is False
    assert late["projection"] is None


def test_subagents_are_told_as_a_tree(client, subagent):
    tree = ask(client, f"{BASE}/subagents", conversation=SESSION)["tree"]
    [child] = tree["subagents"]
    assert child["conversation_id"] == subagent
    own, below = tree["own"], child["total"]
    assert tree["total"]["total_tokens"] == own["total_tokens"] + below["total_tokens"]
    [row] = rows_of(client, "subagents")
    assert (row["conversation_id"], row["subagent_count"]) == (SESSION, 1)
    assert row["total"] == tree["total"]
    answer = client.get(f"{BASE}/subagents?conversation=nope", expect_errors=True)
    check_refusal(answer, 404, "NOT_FOUND")


def test_two_projects_are_compared(client, say):
    say(1, "2026-03-10T12:00:00.000Z", "2026-03-11T12:00:00.000Z")
    say(2, "2026-03-10T13:00:00.000Z", cwd="/home/ada/other")
    sides = {"project": "/home/ada/engine", "against_project": "/home/ada/other"}
    data = ask(client, f"{BASE}/compare", **MARCH, **sides)
    assert (data["this"]["api_calls"], data["against"]["api_calls"]) == (2, 1)
    assert data["this"]["period"] == data["against"]["period"]
    assert data["change"]["api_calls"] == 1.0
    spans = {"against_from": "2026-02-01", "against_to": "2026-02-28"}
    data = ask(client, f"{BASE}/compare", **MARCH, **spans)
    assert data["against"]["period"]["from"] == "2026-02-01T00:00:00.000Z"
    assert data["against"]["api_calls"] == 0


# Forms


def test_rows_as_csv_and_as_lines_of_json(client, say):
    say(1, "2026-03-10T12:00:00.000Z", model="=cmd()")
    query = {**MARCH, "group_by": "model"}
    answer = client.get(f"{BASE}/token-usage", {**query, "format": "csv"})
    assert answer.content_type == "text/csv"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="token-usage.csv"'
    [row] = csv.DictReader(io.StringIO(answer.text))
    assert (row["model"], row["total_tokens"], row["cost_microdollars"]) == ("'=cmd()", "100", "")
    answer = client.get(f"{BASE}/token-usage", query, headers={"Accept": "application/x-ndjson"})
    [line] = answer.text.splitlines()
    assert json.loads(line) == rows_of(client, "token-usage", group_by="model")[0]
    assert "Accept" in answer.headers["Vary"]


def test_each_form_has_a_tag_of_its_own(client, say):
    say(1, "2026-03-10T12:00:00.000Z")
    as_json = client.get(f"{BASE}/costs", MARCH)
    headers = {"If-None-Match": as_json.headers["ETag"]}
    assert client.get(f"{BASE}/costs", MARCH, headers=headers).status_int == 304
    as_csv = client.get(f"{BASE}/costs", MARCH, headers={**headers, "Accept": "text/csv"})
    assert (as_csv.status_int, as_csv.content_type) == (200, "text/csv")


def test_a_report_is_made_anew_when_something_changed(client, say):
    say(1, "2026-03-10T12:00:00.000Z")
    assert rows_of(client, "token-usage")[0]["api_calls"] == 1
    assert rows_of(client, "token-usage")[0]["api_calls"] == 1
    say(2, "2026-03-10T12:00:00.000Z")
    assert rows_of(client, "token-usage")[0]["api_calls"] == 2


# For whom


def test_titles_and_files_are_for_who_may_read(client, say):
    one = say(1, "2026-03-10T12:00:00.000Z")
    query = {**MARCH, "group_by": "conversation"}
    reader = ask(client, f"{BASE}/costs", **query)["rows"][0]
    assert reader["title"] == "go on"
    analyst = make_person(client, "analyst")
    answer = bare(client).get(f"{BASE}/costs", query, headers=analyst.headers)
    [row] = answer.json["data"]["rows"]
    assert (row["title"], row["conversation_id"]) == (None, one)
    refused = bare(client).get(f"{BASE}/files", headers=analyst.headers, expect_errors=True)
    check_refusal(refused, 403, "FORBIDDEN")


def test_what_is_hidden_is_in_no_sum(client, say):
    say(1, "2026-03-10T12:00:00.000Z")
    say(2, "2026-03-10T13:00:00.000Z", cwd="/home/ada/secret")
    with writing():
        change_project(project_key("/home/ada/secret"), scope=WHOLE, visibility="listed")
    hidden = project_key("/home/ada/secret")
    member = sign_in(Scope(hidden=frozenset({hidden})))
    assert ask(member, f"{BASE}/token-usage", **MARCH)["totals"]["api_calls"] == 1
    assert ask(client, f"{BASE}/token-usage", **MARCH)["totals"]["api_calls"] == 2
    limited = sign_in(Scope(only=frozenset({hidden})))
    assert ask(limited, f"{BASE}/token-usage", **MARCH)["totals"]["api_calls"] == 1
    nobody = sign_in(Scope(only=frozenset()))
    assert ask(nobody, f"{BASE}/overview", **MARCH)["totals"]["api_calls"] == 0
